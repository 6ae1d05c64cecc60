"""Settings of every test: offline, quiet, few threads, nothing written but temporary files."""

import atexit
import os
import shutil
import tempfile

import pytest

# Before anything imports these libraries. `HF_HUB_OFFLINE=0` lets tests marked `hub` reach the Hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Caches of their own: what a user has downloaded must not decide a test. Worker processes of one
# run inherit the folder and share it; the process that made it removes it.
if "JUKEBOX_TEST_CACHE" not in os.environ:
    cache = tempfile.mkdtemp(prefix="jukebox-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JUKEBOX_TEST_CACHE"] = cache
os.environ["HF_HOME"] = os.environ["JUKEBOX_TEST_CACHE"]
os.environ["XDG_CACHE_HOME"] = os.environ["JUKEBOX_TEST_CACHE"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` need one."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")

"""Where the golden data is, and how to read it: numbers that the original implementation produced.

The set is the folder that `JUKEBOX_GOLDEN` names; without it, `../shared/golden` beside the
checkout if that exists, else the small subset committed under `tests/golden/`. All sets have one
layout and one meaning of names, but not one size: read sizes, settings and windows from the
metadata, and list what is there with `golden_stems`. Checkpoints and outputs of different sets do
not belong together, so nothing is ever taken from two of them.
"""

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
COMMITTED_SUBSET = TESTS / "golden"


def find_golden_root() -> Path:
    """The folder of the set in use; `FileNotFoundError` if `JUKEBOX_GOLDEN` names no folder."""
    named = os.environ.get("JUKEBOX_GOLDEN")
    if named:
        root = Path(named).expanduser().resolve()
        if not root.is_dir():
            raise FileNotFoundError(
                f"JUKEBOX_GOLDEN should name a folder of golden data, got {named!r}"
            )
        return root
    beside = TESTS.parent.parent / "shared" / "golden"
    return beside if beside.is_dir() else COMMITTED_SUBSET


GOLDEN_ROOT = find_golden_root()


# What the committed subset is too small for; whatever else it lacks has been lost.
ONLY_IN_LARGER_SETS = (
    "fullsize/transformers*",
    "openai/*_lyrics/*",
    "priors/*_train",
    "representations/batch*",
    "representations/chunked*",
    "sampling/*_partial",
    "sampling/1b_lyrics_*",
    "small/small_*_train",
    "small/vqvae_eval*",
    "text/artist_genre_ids*",
    "text/ids*",
    "text/labels*",
    "transformers/*",
    "vqvae/train_*",
)


def _check_lost(path: str) -> None:
    """Fail if the committed subset lacks what it should have: a skip would look like a success."""
    larger = any(fnmatch(path, pattern) for pattern in ONLY_IN_LARGER_SETS)
    if GOLDEN_ROOT == COMMITTED_SUBSET and not larger:
        pytest.fail(f"the golden data that travels with the checkout has lost {path}")


def golden(path: str) -> Path:
    """One file or folder of the set, such as `"openai/5b/vqvae.pth.tar"`.

    What only larger sets have is skipped in others; what the committed subset has lost fails.
    """
    found = GOLDEN_ROOT / path
    if not found.exists():
        _check_lost(path)
        pytest.skip(f"the golden set in use has no {path}")
    return found


def golden_stems(pattern: str) -> list[str]:
    """The stems of this set's `.json` files that match: `golden_stems("priors/*_forward")`.

    Sorted, for `pytest.mark.parametrize`; empty if only larger sets have some, then pytest skips
    the test; fails if the committed subset has lost them.
    """
    found = list(GOLDEN_ROOT.glob(f"{pattern}.json"))
    if not found:
        _check_lost(pattern)
    return sorted(file.relative_to(GOLDEN_ROOT).with_suffix("").as_posix() for file in found)


def load_json(path: str) -> Any:
    """One JSON file of the set, such as `"misc/window_starts.json"`; skips if it is not there."""
    return json.loads(golden(path).read_text(encoding="utf-8"))


def load_golden(stem: str) -> tuple[dict[str, Any], Any]:
    """The tensors and the metadata of one stem, such as `"vqvae/eval"`; skips if it is not there.

    Tensors are float32, uint8, or int64: integers lie on disk as int32, and indices must be int64.
    The metadata is a dict, except that `text/timing_bins` has a list of cases.
    """
    import torch
    from safetensors.torch import load_file

    stored = load_file(golden(f"{stem}.safetensors"))
    tensors = {
        name: tensor.long() if tensor.dtype == torch.int32 else tensor
        for name, tensor in stored.items()
    }
    return tensors, load_json(f"{stem}.json")

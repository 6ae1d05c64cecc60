"""Where the CPU seconds of the main job go, one level after the other: one line of JSON.

    ENVIRONMENT/bin/python tests/benchmarks/stages.py FOLDER

Runs by itself, with the package of whichever environment runs it, so that builds can be compared.
The stages do not overlap: what is decoded for previews, seams and pasts is "decoding and encoding".
"""

import contextlib
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

BEGUN = time.process_time()
SECONDS = {"imports": 0.0}
_inner: list[float] = []


def _timed(owner: Any, name: str, stage: Callable[..., str]) -> None:
    """Count the seconds of a function, without those of others that it calls and are counted."""
    function = getattr(owner, name)

    @wraps(function)
    def counted(*args: Any, **named: Any) -> Any:
        started = time.process_time()
        _inner.append(0.0)
        try:
            return function(*args, **named)
        finally:
            spent, within = time.process_time() - started, _inner.pop()
            key = stage(*args)
            SECONDS[key] = SECONDS.get(key, 0.0) + spent - within
            if _inner:
                _inner[-1] += spent

    setattr(owner, name, counted)


def main() -> None:
    """See the module."""
    from jukebox_cli.main import main as command
    from jukebox_hf.generation import session_work as work

    # Found by way of each other: modules have other names in other builds. The plain network, where
    # there is one, is what decodes: its wrapper would import transformers for nothing.
    codecs = importlib.import_module("jukebox_hf.vqvae")
    codec: Any = getattr(codecs, "VQVAENetwork", None) or codecs.JukeboxVQVAE
    generation: Any = vars(work)["Generation"]
    sampler: Any = vars(sys.modules[generation.__module__])["LevelSampler"]
    SECONDS["imports"] = time.process_time() - BEGUN
    _timed(sampler, "sample", lambda one, *_: f"level {one.prior.config.level}")
    _timed(generation, "_load_prior", lambda *_: "reading")
    _timed(generation, "_align", lambda *_: "aligning words")
    for name in ("decode", "encode"):
        _timed(codec, name, lambda *_: "decoding and encoding")
    _timed(work.SessionWork, "_save", lambda *_: "writing")
    _timed(work, "save_audio", lambda *_: "writing")
    Path("song.txt").write_text("We sing a song of summer rain\n", encoding="utf-8")
    line = ["generate", "--genre", "rock", "--lyrics", "song.txt", "--seed", "1", "-q"]
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
        command([*line, "-o", sys.argv[1]])
    whole = time.process_time() - BEGUN
    SECONDS["all else"] = whole - sum(SECONDS.values())
    found = {name: round(seconds, 2) for name, seconds in sorted(SECONDS.items())}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"cpu_seconds": round(whole, 2), "peak_bytes": peak, **found}))


if __name__ == "__main__":
    main()

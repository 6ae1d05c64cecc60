"""Walks blocks of a page as a reader would, in this process, which imports torch once.

    python -m tests.readme_walk < steps.json

Steps are `{"language": ..., "code": ...}`, run in this folder in their order: lines of `jukebox`
commands (`&&` joins them) by the command's own `main`, Python as a program of its own. It ends with
the first step that fails, and says which that was and how long each took.
"""

import json
import shlex
import sys
import time
from typing import Any

from jukebox_cli.main import main


def run_line(line: str) -> None:
    """Run the commands of a line; `RuntimeError` if one fails."""
    for command in line.split(" && "):
        program, *arguments = shlex.split(command, comments=True)
        assert program == "jukebox", command
        try:
            main(arguments)
        except SystemExit as ending:
            if ending.code:
                raise RuntimeError(f"`{command}` ended with {ending.code}") from None


def run_step(step: dict[str, Any]) -> None:
    """Run a block."""
    if step["language"] == "python":
        exec(compile(step["code"], "README.md", "exec"), {"__name__": "__main__"})
        return
    for line in step["code"].splitlines():
        begun, cpu = time.monotonic(), time.process_time()
        run_line(line)
        spent = f"{time.monotonic() - begun:.1f} s, {time.process_time() - cpu:.1f} CPU s"
        print(f"[{spent}] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for step in json.load(sys.stdin):
        run_step(step)

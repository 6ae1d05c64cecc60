"""Walks blocks of a page as a reader would.

    python -m tests.readme_walk [PROGRAM] < steps.json

Steps are `{"language": ..., "code": ...}`, run in this folder in their order. Lines of `jukebox`
commands (`&&` joins them) are run by the command's own `main`, in this process, which imports torch
once, and so is Python; with PROGRAM, an installed `jukebox`, every command is a process of it, and
Python runs under the interpreter beside it. It ends with the first step that fails, and says which
that was and how long each took.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def run_program(program: str | Path, *arguments: str) -> int:
    """Run a program as an installed one, without the packages of this checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([program, *arguments], check=False, env=env).returncode


def run_command(arguments: list[str], program: str | None) -> int:
    """Run a command and return how it ended."""
    if program is not None:
        return run_program(program, *arguments)
    from jukebox_cli.main import main

    try:
        main(arguments)
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


def run_line(line: str, program: str | None) -> None:
    """Run the commands of a line; `RuntimeError` if one fails."""
    for command in line.split(" && "):
        name, *arguments = shlex.split(command, comments=True)
        assert name == "jukebox", command
        ended = run_command(arguments, program)
        if ended:
            raise RuntimeError(f"`{command}` ended with {ended}")


def run_python(code: str, program: str | None) -> None:
    """Run a block of Python."""
    if program is None:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    elif run_program(Path(program).with_name("python"), "-c", code):
        raise RuntimeError(f"this failed:\n{code}")


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that ended under it."""
    return sum(os.times()[:4])


def run_step(step: dict[str, Any], program: str | None = None) -> None:
    """Run a block."""
    python = step["language"] == "python"
    for part in [step["code"]] if python else step["code"].splitlines():
        begun, cpu = time.monotonic(), cpu_seconds()
        (run_python if python else run_line)(part, program)
        spent = f"{time.monotonic() - begun:.1f} s, {cpu_seconds() - cpu:.1f} CPU s"
        print(f"[{spent}] {'Python' if python else part}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for step in json.load(sys.stdin):
        run_step(step, sys.argv[1] if len(sys.argv) > 1 else None)

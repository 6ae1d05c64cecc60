"""README holds: marked blocks run as they stand, and every command it names takes those options.

A fenced `bash` or `python` block is run if the line before it is `<!-- runnable -->`. All marked
blocks run in order, in one fresh folder, offline; `prepare` puts the files there that README speaks
of, and `STAND_INS` replaces what would need a network or hours.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
import soundfile

from jukebox_cli.evaluate_music import music
from jukebox_cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md")
BLOCK = re.compile(
    r"^(?P<marker><!-- runnable -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# Text in a marked block -> what the test runs instead.
STAND_INS: dict[str, str] = {}


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    language: str
    code: str
    runnable: bool


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, found["language"], found["code"], found["marker"] is not None)
        for found in BLOCK.finditer(text)
    ]


def prepare(folder: Path) -> None:
    """The files that README speaks of."""
    (folder / "songs").mkdir()
    for name, hertz in {"bass_1": 55, "bass_2": 80, "flute_1": 700, "flute_2": 900}.items():
        wave = np.sin(2 * np.pi * hertz * np.arange(6 * 8000) / 8000)
        soundfile.write(folder / "songs" / f"{name}.wav", 0.3 * wave, 8000)
    (folder / "song.txt").write_text("I sing the body electric,\nand so on\n", encoding="utf-8")


def run_block(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as a reader would, stopping at its first error."""
    code = block.code
    for text, stand_in in STAND_INS.items():
        code = code.replace(text, stand_in)
    commands = str(Path(sys.executable).parent)
    shells = {"bash": [shutil.which("bash") or "bash", "-euo", "pipefail", "-c"]}
    return subprocess.run(
        [*shells.get(block.language, [sys.executable, "-c"]), code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=300,
        env={**os.environ, "PATH": commands + os.pathsep + os.environ["PATH"]},
    )


def command_lines(block: Block) -> list[list[str]]:
    """The words of every `jukebox` command in a shell block."""
    lines = block.code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if "jukebox" in line]
    return [line for line in words if line and line[0] == "jukebox"]


@pytest.mark.parametrize("page", PAGES)
def test_marked_blocks_run(page: str, tmp_path: Path) -> None:
    marked = [block for block in blocks(page) if block.runnable]
    assert marked or page != "README.md"
    prepare(tmp_path)
    for block in marked:
        assert block.language in ("bash", "python"), block
        result = run_block(block, tmp_path)
        assert result.returncode == 0, f"{block.code}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    for block in blocks(page):
        if block.language not in ("bash", "console", "sh"):
            continue
        for words in command_lines(block):
            check_command(words)


def check_command(words: list[str]) -> None:
    """A command line names a command that exists, and only options that it has."""
    command: click.Command = main
    options = {"--help", "--version"}
    if words[1:3] == ["evaluate", "music"]:  # a command of its own, though not of a group
        command, words = click.Group(commands={"music": music}), ["jukebox", *words[2:]]
    for position, word in enumerate(words[1:], start=1):
        if word in ("|", ">", ">>", "&&", ";"):
            return
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            assert word.partition("=")[0] in options, f"{shlex.join(words)}: no option {word}"
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            assert inner is not None, f"{shlex.join(words[: position + 1])}: no such command"
            command = inner
            options = {
                "--help",
                *(
                    name
                    for option in command.params
                    for name in [*option.opts, *option.secondary_opts]
                ),
            }


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{page} links to {target}"

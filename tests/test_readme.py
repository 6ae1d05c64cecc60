"""README holds: marked blocks run as they stand, and every command it names takes those options.

A fenced `bash` or `python` block is run if the line before it is `<!-- runnable -->`. All marked
blocks run in order, in one fresh folder, offline; `prepare` puts the files there that README speaks
of. The slow test walks all blocks, in a home where nothing is: `SHORTER` says what runs instead of
what would take minutes, `LEFT_OUT` which lines do not run, and why.
"""

import json
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

# Text of a line or of a block of Python -> what the walk runs instead: the same with less music,
# and the built-in model in place of one that would have to be fetched.
SHORTER = {
    "--genre strings": "--genre strings --seconds 1",
    "--genre jazz --seconds 30": "--genre jazz --seconds 2",
    "--seconds 10 --from 0:22": "--seconds 0.5 --from 0:01",
    "--primer-end 8 --seconds 30": "--primer-end 1 --seconds 2",
    "2@0-8 finished:3@5-9 finished:2@12-": "2@0-1 finished:3@0.5-1 finished:2@1.5-",
    "--from 0:07 --to 0:09 --candidates 32": "--from 0:01 --to 0:01.5 --candidates 2",
    "info jukebox-1b": "info demo-22k",
    "search beatles --model jukebox-1b": "search rock --model demo-22k",
    "seconds=20, takes=2, seed=7": "seconds=1, takes=1, seed=7",
    "-o runs/mine ": "-o runs/mine --steps 2 ",
    "--model runs/mine/final --seconds 20": "--model runs/mine/final --seconds 1 --to-level 2",
    "--model jukebox-1b --dataset SONGS --lora -o runs/my-lora": (
        "--model demo-22k --dataset SONGS --lora -o runs/my-lora --steps 2"
    ),
    "--model jukebox-1b --adapter 2=my-peft-lora": (
        "--model demo-22k --adapter 2=runs/my-lora/final/adapter_prior_2 --seconds 1 --to-level 2"
    ),
    'dataset="SONGS", output="runs/from-python"': (
        'dataset="SONGS", output="runs/from-python", steps=3, unquantized_steps=1'
    ),
}
# Beginnings of lines that do not run -> why.
LEFT_OUT = {
    "make ": "sets up an environment, which needs a network",
    "pip install": "needs a network",
    'eval "$(_JUKEBOX_COMPLETE': "is for a shell; it is run as a marked block",
    "jukebox generate --model openai/": "fetches gigabytes",
    "jukebox convert": "needs the released weights; tests/hub/test_convert_openai.py has stand-ins",
    "jukebox train ": "takes minutes; tests/training/test_walkthrough.py runs these lines",
    "jukebox encode --dataset SONGS --model runs/": "as the line before it",
    "jukebox generate --model runs/system": "as the line before it",
    "jukebox push": "needs an account on the Hub; tests/hub has a server for it",
    "jukebox pull": "as the lines before it",
    "jukebox info me/": "as the lines before it",
}


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
    tune = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * 22050) / 22050)
    for name in ("riff.mp3", "song.flac"):
        soundfile.write(folder / name, tune, 22050)
    shutil.copytree(folder / "songs", folder / "SONGS", dirs_exist_ok=True)
    (folder / "song.txt").write_text("I sing the body electric,\nand so on\n", encoding="utf-8")


def run_block(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as a reader would, stopping at its first error."""
    commands = str(Path(sys.executable).parent)
    shells = {"bash": [shutil.which("bash") or "bash", "-euo", "pipefail", "-c"]}
    return subprocess.run(
        [*shells.get(block.language, [sys.executable, "-c"]), block.code],
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


def steps_of(page: str) -> list[dict[str, str]]:
    """What the walk runs; `AssertionError` for a replacement that replaces nothing any more."""
    used: set[str] = set()

    def shortened(text: str) -> str:
        for long, short in SHORTER.items():
            if long in text:
                used.add(long)
                text = text.replace(long, short)
        return text

    steps = []
    for block in blocks(page):
        code = block.code.replace("\\\n", " ")
        if block.language == "bash":
            lines = [line for line in code.splitlines() if line.strip()]
            skipped = {
                line: start for line in lines for start in LEFT_OUT if line.startswith(start)
            }
            used |= set(skipped.values())
            code = "\n".join(line for line in lines if line not in skipped)
        steps.append({"language": block.language, "code": shortened(code)})
    assert {*SHORTER, *LEFT_OUT} == used
    return [step for step in steps if step["code"].strip()]


def test_every_line_is_walked_or_named_with_the_reason() -> None:
    steps = steps_of("README.md")
    assert {step["language"] for step in steps} == {"bash", "python"}
    for step in steps:
        for line in step["code"].splitlines() if step["language"] == "bash" else ():
            assert line.startswith("jukebox "), f"{line}: say in LEFT_OUT why it is not run"
    reasons = [start for start in LEFT_OUT if not start.startswith("jukebox")]
    lines = [line for block in blocks("README.md") for line in block.code.splitlines()]
    walked = [line for step in steps for line in step["code"].splitlines()]
    assert len(walked) > 0.6 * (len(lines) - len(reasons))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_block_works_in_an_empty_home_with_an_empty_cache(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    home, folder = tmp_path / "home", tmp_path / "here"
    for one in (home, folder):
        one.mkdir()
    prepare(folder)
    caches = ("HF_HOME", "XDG_CACHE_HOME", "JUKEBOX_TEST_CACHE", "JUKEBOX_GOLDEN")
    program = os.environ.get("JUKEBOX_PROGRAM")  # an installed one, such as that of a wheel
    result = subprocess.run(
        [sys.executable, "-m", "tests.readme_walk", *([program] if program else [])],
        input=json.dumps(steps_of("README.md")),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name not in caches},
            "HOME": str(home),
            "USERPROFILE": str(home),
            "PYTHONPATH": str(ROOT),
        },
    )
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    print(result.stderr)
    assert list((folder / "made").iterdir())
    assert (folder / "runs" / "mine" / "final" / "jukebox.json").is_file()


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

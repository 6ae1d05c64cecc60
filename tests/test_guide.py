"""The guide and the API reference are whole, and what they say works."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import click

import jukebox_hf
from jukebox_cli.main import main
from model_cards.guide.build import PACKAGES, build
from tests.test_readme import ROOT, blocks, check_command, command_lines, prepare

GUIDE = "model_cards/guide"
PAGES = [f"{GUIDE}/{name}.md" for name in ("musician", "fine_tuner", "researcher", "maintainer")]


def test_every_public_name_and_command_is_in_it_and_nothing_comes_from_elsewhere(
    tmp_path: Path,
) -> None:
    with warnings.catch_warnings():
        # of named tuples, whose types it finds for reading only
        warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
        # of the keys that `Wanted` has from another module: typed dictionaries know no parents
        warnings.filterwarnings("ignore", "Cannot determine where .*Wanted", UserWarning)
        build(tmp_path)
    page = (tmp_path / "jukebox_hf.html").read_text(encoding="utf-8")
    assert [name for name in jukebox_hf.__all__ if f'id="{name}"' not in page] == []
    for package in PACKAGES:
        assert (tmp_path / f"jukebox_hf/{package}.html").is_file()
    folder = tmp_path / "jukebox_model_cards/guide"
    commands = (folder / "commands.html").read_text(encoding="utf-8")
    for name in main.list_commands(click.Context(main)):
        assert f"Usage: jukebox {name} " in commands
    assert "Usage: jukebox evaluate music " in commands
    for written in PAGES:
        text = (folder / Path(written).with_suffix(".html").name).read_text(encoding="utf-8")
        assert len(text) > len((ROOT / written).read_text(encoding="utf-8"))
    for path in tmp_path.rglob("*.html"):
        loaded = re.findall(r'(?:src=|<link[^>]*href=)"(https?:[^"]*)"', path.read_text("utf-8"))
        assert loaded == [], path


def test_its_examples_run_one_after_another_in_one_folder(tmp_path: Path) -> None:
    runnable = [one for page in PAGES for one in blocks(page) if one.runnable]
    assert {one.page for one in runnable} >= set(PAGES[:3])
    assert {one.language for one in runnable} == {"python"}
    prepare(tmp_path)
    code = "\n".join(f"exec({one.code!r}, {{'__name__': '__main__'}})" for one in runnable)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "sketches").iterdir())


def test_its_commands_and_options_exist() -> None:
    lines = [words for page in PAGES for one in blocks(page) for words in command_lines(one)]
    assert len(lines) > 10
    for words in lines:
        check_command(words)

"""A Space with a studio: its three files, and their way to a server that speaks like the Hub."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_cli.studio.space import space_files
from jukebox_hf.version import __version__
from tests.hub.hub_client import HubServer


def front_matter(card: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_the_files_name_model_licence_and_version() -> None:
    files = space_files("me/my-band-studio", "me/my-band", {"license": "cc-by-4.0"})
    assert sorted(files) == ["Dockerfile", "README.md", "requirements.txt"]
    front = front_matter(files["README.md"])
    assert front["sdk"] == "docker"
    assert front["app_port"] == 7860
    assert front["models"] == ["me/my-band"]
    assert front["license"] == "cc-by-4.0"
    assert len(str(front["short_description"])) <= 60  # the Hub refuses more
    command = json.loads(re.search(r"^CMD (.*)$", files["Dockerfile"], re.MULTILINE)[1])  # type: ignore[index]
    assert command == ["jukebox", "studio", "/home/user/pieces", "--model", "me/my-band"]
    assert files["requirements.txt"] == f"jukebox-hf[studio]=={__version__}\n"


def test_the_command_of_the_recipe_is_one_that_exists() -> None:
    files = space_files("me/x", None, {})
    assert "models" not in front_matter(files["README.md"])
    command = json.loads(re.search(r"^CMD (.*)$", files["Dockerfile"], re.MULTILINE)[1])  # type: ignore[index]
    result = CliRunner().invoke(main, [*command[1:], "--help"])
    assert result.exit_code == 0


def test_a_folder_of_this_machine_is_no_model_for_a_space(tiny_model: Path) -> None:
    result = CliRunner().invoke(
        main, ["studio", "--push-to-hub", "me/x", "--model", str(tiny_model)]
    )
    assert result.exit_code == 1
    assert "push it first (jukebox push" in result.stderr


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.stop()


@pytest.mark.hub
def test_a_space_is_made_by_one_command_and_keeps_its_owners_words(
    hub: HubServer, tiny_model: Path, tmp_path: Path
) -> None:
    hub.put_folder("ada/band", tiny_model)
    environment = hub.environment(tmp_path / "home", "ada")
    command = [sys.executable, "-m", "jukebox_hf", "studio", "--push-to-hub", "ada/band-studio"]
    for _ in range(2):
        done = subprocess.run(
            [*command, "--model", "ada/band"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("/spaces/ada/band-studio")
    assert "Its README.md stays as it was" in done.stderr
    assert ("which is not published yet" in done.stderr) == ("dev" in __version__)
    commits = [one for one in hub.log() if "/commit/" in one["path"] and "spaces" in one["path"]]
    assert len(commits) == 1  # the second time nothing was different

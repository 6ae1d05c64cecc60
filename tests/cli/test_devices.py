"""Every command that takes --device refuses one that is not there, before it makes anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
import yaml
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf.training.settings import TrainingSettings
from tests.training.song_runs import encoded, labelled_songs, song_settings

# What there is in DIR is made below.
COMMANDS = {
    "generate": ["--model", "DIR/model", "-o", "DIR/new"],
    "continue": ["DIR/session", "--seconds", "1", "-o", "DIR/new"],
    "upsample": ["DIR/session", "-o", "DIR/new"],
    "edit": ["DIR/session", "-o", "DIR/new"],
    "infill": ["DIR/session", "--from", "0.05", "--to", "0.1", "-o", "DIR/new"],
    "resume": ["DIR/unfinished"],
    "sessions export": ["DIR/session", "-o", "DIR/new"],
    "encode": ["DIR/songs/song_0.wav", "--model", "DIR/model", "-o", "DIR/new.safetensors"],
    "encode --dataset": ["DIR/songs", "--model", "DIR/model", "-o", "DIR/new"],
    "embed": ["DIR/songs/song_0.wav", "--model", "DIR/model", "-o", "DIR/new"],
    "decode": ["DIR/a.codes.safetensors", "--model", "DIR/model", "-o", "DIR/new.wav"],
    "train vqvae": ["--config", "DIR/codec.yaml", "-o", "DIR/new"],
    "train prior": [
        *("--dataset", "DIR/codes", "--model", "DIR/model", "--level", "2", "-o", "DIR/new"),
    ],
    "finetune": ["--model", "DIR/model", "--dataset", "DIR/songs", "-o", "DIR/new"],
    "evaluate": ["DIR/model", "--dataset", "DIR/songs"],
}
# Its page says so: the device is asked for by each request.
LATER = {"studio"}


def commands_with_device(command: click.Command, name: str = "") -> Iterator[str]:
    """Names of all commands that take --device."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            assert found is not None
            yield from commands_with_device(found, f"{name} {inner}".strip())
    elif any("--device" in option.opts for option in command.params):
        yield name


def test_all_commands_with_a_device_are_tried() -> None:
    assert (
        set(commands_with_device(main))
        == {name.removesuffix(" --dataset") for name in COMMANDS} | LATER
    )


@pytest.fixture(scope="module")
def work(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with something for every command."""
    folder = tmp_path_factory.mktemp("devices")
    (folder / "model").symlink_to(tiny_model)
    songs = labelled_songs(folder / "songs", 3)
    encoded(songs, tiny_model, folder / "codes")
    settings = song_settings("vqvae", folder / "unused", songs, device="auto").to_dict()
    settings.pop("output")
    (folder / "codec.yaml").write_text(yaml.safe_dump(settings))
    assert TrainingSettings.load(folder / "codec.yaml").device == "auto"
    model = ["--model", str(folder / "model"), "--device", "cpu", "-q"]
    for arguments in (
        ["generate", "--seconds", "0.2", "--to-level", "2", "-o", folder / "session", *model],
        ["encode", songs / "song_0.wav", "-o", folder / "a.codes.safetensors", *model],
    ):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    shutil.copytree(folder / "session", folder / "unfinished")
    record = folder / "unfinished" / "session.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    return folder


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_device_that_is_not_there_is_refused(name: str, device: str, work: Path) -> None:
    there = torch.cuda if device == "cuda" else torch.backends.mps
    if there.is_available():
        pytest.skip(f"this machine has {device}")
    before = sorted(work.iterdir())
    arguments = [text.replace("DIR", str(work)) for text in COMMANDS[name]]
    result = CliRunner().invoke(main, [*name.split(), *arguments, "--device", device])
    assert result.exit_code == 1, result.output
    assert "choose --device cpu or auto" in result.stderr
    assert sorted(work.iterdir()) == before

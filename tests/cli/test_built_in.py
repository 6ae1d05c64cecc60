"""The model that comes with the package, where no other one is named."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf import JukeboxPipeline
from jukebox_hf.generation.session import Session
from jukebox_hf.hub import System

USED = (
    "Using demo-22k, the small demo that comes with the package; choose a larger model with "
    "--model, such as openai/jukebox-1b-lyrics.\n"
)
QUICK = ("--seconds", "0.2", "--to-level", "2", "--seed", "1", "--device", "cpu")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_generate_uses_it_and_says_so_in_one_line(built_in: Path, tmp_path: Path) -> None:
    result = run("generate", *QUICK, "-o", tmp_path / "song")
    assert result.exit_code == 0, result.output
    assert result.stderr.count(USED) == 1
    named = run("generate", *QUICK, "--model", built_in, "-o", tmp_path / "other")
    assert "the small demo" not in named.stderr
    quiet = run("generate", *QUICK, "-q", "-o", tmp_path / "quiet")
    assert quiet.stderr == ""


@pytest.mark.parametrize(
    ("given", "genre", "note"),
    [
        ("Rock 'n' Roll", "rock", "genre \"Rock 'n' Roll\" is 'rock' to this model"),
        ("Drum & Bass", "jazz", "'Drum & Bass' is not a genre of this model; using 'jazz'"),
        ("japanese folk", "folk", "'japanese folk' is not a genre of this model; using 'folk'"),
    ],
)
def test_words_for_genres_lead_to_its_genres_and_that_is_said(
    built_in: Path, tmp_path: Path, given: str, genre: str, note: str
) -> None:
    result = run("generate", *QUICK, "--genre", given, "-o", tmp_path / "song")
    assert result.stderr.count(note) == 1, result.stderr
    labels = Session.open(tmp_path / "song").take(1).labels
    assert {level.genre_name for level in labels.values()} == {genre}


def test_what_it_makes_of_lyrics_is_said_to_who_gives_some(built_in: Path, tmp_path: Path) -> None:
    lyrics = tmp_path / "song.txt"
    lyrics.write_text("la la la")
    result = run("generate", *QUICK, "--lyrics", lyrics, "-o", tmp_path / "sung")
    assert result.stderr.count("Note: lyrics are hummed, not sung\n") == 1
    assert "hummed" not in run("generate", *QUICK, "-o", tmp_path / "played").stderr


def test_a_session_goes_on_where_the_package_is_at_another_place(
    built_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "song"
    run("generate", *QUICK, "-o", folder)
    record = json.loads((folder / "session.json").read_text())
    assert record["model"]["source"] == "built-in"
    assert str(built_in) not in json.dumps(record)
    audio = next(folder.glob("*.flac"))
    expected = audio.read_bytes()
    audio.unlink()

    elsewhere = tmp_path / "elsewhere"
    shutil.move(built_in, elsewhere)
    monkeypatch.setattr("jukebox_hf.hub.built_in.FOLDER", elsewhere)
    result = run("resume", folder)
    assert result.exit_code == 0, result.output
    assert audio.read_bytes() == expected
    longer = run("continue", folder, "--seconds", "0.1", "-o", tmp_path / "longer")
    assert longer.exit_code == 0, longer.output


def test_another_version_of_it_does_not_go_on_with_its_sessions(
    built_in: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "song"
    run("generate", *QUICK, "-o", folder)
    next(folder.glob("*.flac")).unlink()
    monkeypatch.setattr("jukebox_hf.hub.built_in.FOLDER", tiny_model)
    result = run("resume", folder)
    assert result.exit_code == 1
    assert "was begun with another prior_2" in result.stderr
    assert "give the model that it was begun with as --model" in result.stderr
    assert run("resume", folder, "--model", built_in).exit_code == 0


def test_other_commands_use_it_too(built_in: Path, tmp_path: Path) -> None:
    song = next(Path(run("generate", *QUICK, "-o", tmp_path / "a").stdout.strip()).parent.glob("*"))
    audio = next(song.parent.glob("*.flac"))
    codes = tmp_path / "a.codes.safetensors"
    for arguments in (
        ["encode", audio, "-o", codes],
        ["decode", codes, "-o", tmp_path / "b.wav"],
        ["upsample", codes, "-o", tmp_path / "c", "--to-level", "0"],
        ["info"],
        ["labels"],
    ):
        result = run(*arguments)
        assert result.stderr.startswith(USED) or arguments[0] == "upsample", result.stderr


def test_labels_shows_aliases(built_in: Path) -> None:
    lines = run("labels").stdout.splitlines()
    assert lines[-2:] == ["alias\tdrum and bass\tjazz", "alias\trock'n'roll\trock"]
    found = run("labels", "search", "drum", "--json", "-q")
    assert json.loads(found.stdout)["aliases"] == [
        {"name": "drum and bass", "genre": "jazz", "is_same": False}
    ]


def test_info_shows_it(built_in: Path) -> None:
    result = run("info")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("demo-22k\n")
    assert "  note       lyrics are hummed, not sung\n" in result.stdout


@pytest.mark.parametrize("command", [["generate"], ["labels"], ["info"]])
def test_without_it_one_sentence_says_what_to_do(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jukebox_hf.hub.built_in.FOLDER", tmp_path / "none")
    result = run(*command)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the model that comes with the package is missing in this installation; name "
        "another (--model): a folder, or a repository on the Hub such as "
        "openai/jukebox-1b-lyrics\n"
    )


def test_it_is_what_python_gets_without_a_name(built_in: Path, tmp_path: Path) -> None:
    for name in ("LICENSE", "ATTRIBUTION.md"):
        (built_in / name).write_text("by others")
    pipeline = JukeboxPipeline.from_pretrained(device="cpu")
    assert pipeline.system.is_built_in
    copy = pipeline.save_pretrained(tmp_path / "copy")
    assert not System.open(copy).is_built_in
    assert System.open(copy).manifest.notes == pipeline.system.manifest.notes
    for name in ("LICENSE", "ATTRIBUTION.md"):  # they go where the weights go
        assert (copy / name).read_text() == "by others"
    assert System.open(built_in).is_built_in


def test_where_to_listen_is_said_while_it_is_made(
    built_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_SECONDS", "INTERVAL_SECONDS"):
        monkeypatch.setattr(f"jukebox_hf.generation.preview.{name}", 0.0)
    monkeypatch.setattr("jukebox_hf.generation.sampling.CODES_PER_REPORT", 4)
    result = run("generate", *QUICK, "-o", tmp_path / "song")
    path = tmp_path / "song" / "preview" / "01.wav"
    told = f"Listen already: {path} (it grows, and gets finer level by level)\n"
    assert result.stderr.count(told) == 1
    assert result.stderr.index(told) < result.stderr.index("Level 2 is done")
    several = run("generate", *QUICK, "--takes", "2", "-o", tmp_path / "songs")
    assert f"Listen already: {tmp_path / 'songs' / 'preview'} (it grows" in several.stderr

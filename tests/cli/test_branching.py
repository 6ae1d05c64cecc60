"""`jukebox continue`, `upsample` and `sessions` as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.codes import load_codes
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_record import ParentRecord


def run(*arguments: str | Path, **options: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def done(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that must work, and return its record."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sketch(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two takes that stopped at the top level."""
    folder = tmp_path_factory.mktemp("sketches") / "sketch"
    done(
        "generate",
        "--model",
        tiny_model,
        "--genre",
        "rock",
        "--seconds",
        "0.3",
        "--takes",
        "2",
        "--seed",
        "4",
        "--to-level",
        "2",
        "--temperature",
        "2=0.9",
        "-o",
        folder,
        "-q",
    )
    return folder


def test_continuing_adds_music_in_several_ways(sketch: Path, tmp_path: Path) -> None:
    record = done(
        "continue",
        sketch,
        "--take",
        "2",
        "--seconds",
        "0.2",
        "--takes",
        "3",
        "-o",
        tmp_path / "c",
        "-q",
    )
    assert record["takes"] == [1, 2, 3]
    assert record["seed"] != 4
    session = Session.open(tmp_path / "c")
    parent = Session.open(sketch)
    assert session.record.parent == ParentRecord(
        id=parent.record.id, source=sketch.name, action="continue", takes=[2, 2, 2]
    )
    assert parent.record.id != session.record.id
    assert session.settings.to_level == 2
    assert session.settings.levels[2].temperature == 0.9
    before = Session.open(sketch).codes(2)
    assert before is not None
    length = before.levels[2].shape[1]
    tails = set()
    for number in (1, 2, 3):
        codes = session.codes(number)
        assert codes is not None
        assert torch.equal(codes.levels[2][:, :length], before.levels[2])
        tails.add(tuple(codes.levels[2][0, length:].tolist()))
        assert session.take(number).prompt.genre == "rock"
    assert len(tails) == 3


def test_continuing_from_a_cut_with_other_words(sketch: Path, tmp_path: Path) -> None:
    done(
        "continue",
        sketch,
        "--take",
        "1",
        "--seconds",
        "0.2",
        "--from",
        "0.15",
        "--genre",
        "jazz",
        "--seed",
        "9",
        "-o",
        tmp_path / "c",
        "-q",
    )
    session = Session.open(tmp_path / "c")
    take = session.take(1)
    assert take.existing[2] == 9  # 0.15 s are 9.4 codes
    assert take.seconds == pytest.approx(9 * 128 / 8000 + 0.2, abs=128 / 8000)
    assert take.prompt.genre == "jazz"
    assert session.settings.seed == 9


def test_kept_takes_are_continued(sketch: Path, tmp_path: Path) -> None:
    assert done("sessions", "keep", sketch, "2")["kept"] == [2]
    record = done("continue", sketch, "--seconds", "0.1", "-o", tmp_path / "c", "-q")
    assert record["takes"] == [1]
    parent = Session.open(tmp_path / "c").record.parent
    assert parent is not None
    assert parent.takes == [2]
    done("sessions", "keep", sketch, "1,2")


def test_interrupted_continuation_goes_on_with_the_same_command(
    sketch: Path, tmp_path: Path
) -> None:
    arguments = ("continue", sketch, "--take", "1", "--seconds", "0.2", "-o", tmp_path / "c", "-q")
    first = done(*arguments)
    session = Session.open(tmp_path / "c")
    session.record.complete = False
    session._write()
    assert done(*arguments) == first
    result = run(*arguments, "--from", "0.1")
    assert result.exit_code == 1
    assert "holds a session with other settings" in result.stderr


def test_upsampling_finishes_chosen_takes(sketch: Path, tiny_model: Path, tmp_path: Path) -> None:
    record = done("upsample", sketch, "--takes", "2", "-o", tmp_path / "u", "-q")
    assert record["takes"] == [2]
    assert record["seed"] == 4
    done(
        "generate",
        "--model",
        tiny_model,
        "--genre",
        "rock",
        "--seconds",
        "0.3",
        "--takes",
        "2",
        "--seed",
        "4",
        "--temperature",
        "2=0.9",
        "-o",
        tmp_path / "g",
        "-q",
    )
    name = "02_rock_4.flac"
    assert (tmp_path / "u" / name).read_bytes() == (tmp_path / "g" / name).read_bytes()


def test_upsampling_and_continuing_a_codes_file(
    sketch: Path, tiny_model: Path, tmp_path: Path
) -> None:
    files = done("sessions", "export", sketch, "--codes", "-o", tmp_path / "codes", "-q")["files"]
    assert len(files) == 2
    record = done("upsample", files[0], "--model", tiny_model, "-o", tmp_path / "u", "-q")
    assert soundfile.info(record["audio"][0]).frames == 18 * 128
    record = done(
        "continue",
        files[0],
        "--model",
        tiny_model,
        "--seconds",
        "0.1",
        "--to-level",
        "2",
        "-o",
        tmp_path / "c",
        "-q",
    )
    assert soundfile.info(record["audio"][0]).frames == (18 * 128 + 800) // 128 * 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--take", "7", "--seconds", "1"), "has no take 7; it has 1, 2"),
        (("--seconds", "1", "--from", "9"), "it cannot be continued from 9"),
        (("--seconds", "70"), "this prior is for pieces of less than 60 seconds, got 70.29"),
    ],
)
def test_continuing_what_is_not_there_is_refused(
    arguments: tuple[str, ...], message: str, sketch: Path, tmp_path: Path
) -> None:
    result = run("continue", sketch, *arguments, "-o", tmp_path / "c")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "c").exists()


def test_finished_takes_cannot_be_upsampled(sketch: Path, tmp_path: Path) -> None:
    result = run("upsample", sketch, "--to-level", "2", "-o", tmp_path / "u")
    assert result.exit_code == 1
    assert "there is nothing to sample" in result.stderr


def test_neither_session_nor_codes(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    result = run("continue", tmp_path / "x.txt", "--seconds", "1", "--model", "m")
    assert result.exit_code == 1
    assert "is not a codes file" in result.stderr
    result = run("upsample", tmp_path)
    assert "is not a session" in result.stderr


# --- sessions ---


def test_sessions_are_listed(sketch: Path) -> None:
    result = run("sessions", "list", sketch.parent)
    assert result.exit_code == 0
    assert result.stdout == f"{sketch}\tcomplete\t2 x 0.288 s\tseed 4\n"
    (record,) = done("sessions", "list", sketch.parent)["sessions"]
    assert record["seed"] == 4
    assert [take["number"] for take in record["takes"]] == [1, 2]


def test_folder_without_sessions(tmp_path: Path) -> None:
    result = run("sessions", "list", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "There are no sessions" in result.stderr


def test_session_is_shown(sketch: Path) -> None:
    text = run("sessions", "show", sketch).stdout
    assert "seed      4" in text
    assert "level 2   temperature 0.9, hop fraction 0.25" in text
    assert "take 1    rock, 0.288 s" in text
    assert done("sessions", "show", sketch)["format_version"] == 1


def test_export_in_other_formats(sketch: Path, tmp_path: Path) -> None:
    arguments = ("sessions", "export", sketch, "--takes", "1", "--format", "wav", "-o")
    files = done(*arguments, tmp_path / "out")["files"]
    assert files == [str(tmp_path / "out" / "01_rock_4.wav")]
    result = run(*arguments, tmp_path / "out")
    assert result.exit_code == 1
    assert "exists; choose another name" in result.stderr
    assert run(*arguments, tmp_path / "out", "--overwrite").exit_code == 0


def test_exported_codes_are_those_of_the_session(sketch: Path, tmp_path: Path) -> None:
    (file,) = done("sessions", "export", sketch, "--takes", "2", "--codes", "-o", tmp_path)["files"]
    expected = Session.open(sketch).codes(2)
    assert expected is not None
    assert torch.equal(load_codes(file).levels[2], expected.levels[2])


def test_renders_are_finishes_of_one_take_with_names_by_level(
    sketch: Path, tiny_model: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    done("upsample", sketch, "--takes", "1", "-o", once, "--to-level", "1")
    wide = tmp_path / "wide"
    wanted = ["--takes", "1", "--renders", "3", "--to-level", "1", "--genre", "1=punk"]
    record = done("upsample", sketch, *wanted, "-o", wide)
    assert record["takes"] == [1, 2, 3]
    session = Session.open(wide)
    assert session.record.parent is not None
    assert session.record.parent.takes == [1, 1, 1]
    assert session.take(2).labels[1].genre_name == "punk"
    assert session.take(2).labels[2].genre_name == "rock"
    plain = done("upsample", sketch, *wanted[:-2], "-o", tmp_path / "plain")
    found = [Session.open(plain["session"]).codes(number) for number in (1, 2, 3)]
    levels = [codes.levels for codes in found if codes is not None]
    expected = Session.open(once).codes(1)
    assert expected is not None
    assert torch.equal(levels[0][1], expected.levels[1])
    assert all(torch.equal(one[2], expected.levels[2]) for one in levels)
    assert not torch.equal(levels[0][1], levels[1][1])
    punk = session.codes(1)
    assert punk is not None
    assert not torch.equal(punk.levels[1], expected.levels[1])
    refused = run("upsample", sketch, *wanted[:-1], "0=punk").output
    assert "given for level 0, but the levels that are sampled are 1, 2" in refused

    out = tmp_path / "out"
    delays = ["--stereo", "3,1,2", "--delay", "0.02,0,0.04"]
    (file,) = done("sessions", "export", wide, *delays, "--format", "wav", "-o", out)["files"]
    stereo, rate = soundfile.read(file, dtype="float32")
    left, centre, right = (
        soundfile.read(wide / str(session.take(number).audio), dtype="float32")[0]
        for number in (3, 1, 2)
    )
    late = round(0.02 * rate)
    assert stereo.shape == (len(centre), 2)
    expected_left = (left[:-late] + centre[late:]) / 2
    assert abs(stereo[late:, 0] - expected_left).max() < 1e-6
    expected_right = (right[: -2 * late] + centre[2 * late :]) / 2
    assert abs(stereo[2 * late :, 1] - expected_right).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--stereo", "1,2"], "'1,2' is not 3 numbers"),
        (["--stereo", "1,2,9"], "has no take 9"),
        (["--delay", "0,0,0"], "--delay goes with --stereo"),
        (["--stereo", "1,2,1", "--codes"], "--stereo names its takes, and writes audio"),
        (["--stereo", "1,2,1", "--delay", "0,0,2"], "from 0 to 1 seconds"),
    ],
)
def test_stereo_of_what_makes_no_sense_is_refused(
    sketch: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    result = run("sessions", "export", sketch, *options, "-o", tmp_path / "out")
    assert result.exit_code != 0
    assert expected in result.output

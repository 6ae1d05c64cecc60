"""`jukebox generate` and `jukebox resume` as a user meets them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.audio import ffmpeg
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_work import SessionWork

QUICK = ("--seconds", "0.2", "--to-level", "2")


def run(*arguments: str | Path, **options: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def generate(model: Path, *arguments: str | Path, **options: Any) -> Result:
    return run("generate", "--model", model, "--device", "cpu", *arguments, **options)


def made(result: Result) -> dict[str, Any]:
    """The record that `--json` printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_music_is_made_and_its_path_printed(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "song"
    result = generate(
        tiny_model,
        "--genre",
        "rock",
        "--artist",
        "ada",
        "--seconds",
        "0.2",
        "--seed",
        "3",
        "-o",
        folder,
    )
    assert result.exit_code == 0, result.output
    path = folder / "01_ada_rock_3.flac"
    assert result.stdout == f"{path}\n"
    assert soundfile.info(path).frames == 1536
    assert f"Session: {folder}" in result.stderr
    assert "Level 0 is done: 192 codes." in result.stderr
    assert "%|" not in result.stderr  # bars are for terminals


def test_plan_is_said_before_the_work(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(tiny_model, *QUICK, "--takes", "2", "-o", tmp_path / "song")
    said = result.stderr
    assert re.search(r"2 takes of 0\.192 s, seed \d+, on cpu in float32 \(eager\)", said)
    assert re.search(r"Level 2: 2 windows, 24 codes, 2 at once\.", said)
    assert re.search(r"Memory: .* needed, .* available\. Disk: ", said)
    assert "Time: about" not in said  # to measure it would cost more than it tells
    assert said.index("Memory:") < said.index("Level 2 is done")


def test_without_output_a_new_folder_is_made(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (made(generate(tiny_model, *QUICK, "--seed", "5", "--json")) for _ in range(2))
    assert re.fullmatch(r"jukebox_\d{8}_\d{6}_seed_5(_\d+)?", first["session"])
    assert first["session"] != second["session"]
    assert (tmp_path / first["session"] / "01_5_level_2.flac").is_file()


def test_a_folder_named_like_a_music_file_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(tiny_model, "-o", tmp_path / "song.mp3")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "expected a folder for the session" in said
    assert f"-o {tmp_path / 'song'} --format mp3" in said
    assert not (tmp_path / "song.mp3").exists()


def test_music_has_the_format_asked_for_and_keeps_it(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ("--seconds", "0.2", "--to-level", "2", "--seed", "3", "-o", tmp_path / "s")
    result = generate(tiny_model, *arguments, "--format", "ogg")
    assert result.exit_code == 0, result.output
    (path,) = map(Path, result.stdout.split())
    assert path.suffix == ".ogg"
    assert soundfile.info(path).format == "OGG"
    path.unlink()
    again = run("resume", tmp_path / "s")
    assert again.exit_code == 0, again.output
    assert path.is_file()
    other = generate(tiny_model, *arguments, "--format", "wav")
    assert "audio_format is 'ogg' there and 'wav' here" in other.stderr
    more = run("continue", tmp_path / "s", "--seconds", "0.2", "-o", tmp_path / "more")
    assert more.stdout.endswith(".ogg\n"), more.output


def test_a_format_that_cannot_be_written_is_refused_before_the_work(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ffmpeg.FFmpegMissingError("no FFmpeg")

    monkeypatch.setattr(ffmpeg, "check_installed", missing)
    result = generate(tiny_model, "--format", "m4a", "--seconds", "0.2", "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert "take.m4a cannot be written: no FFmpeg" in result.stderr
    assert not (tmp_path / "s").exists()


def test_the_same_command_says_how_to_go_on_with_what_it_left_unfinished(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("--seconds", "0.2", "--to-level", "2", "--genre", "rock")
    first = generate(tiny_model, *arguments, "-o", "first")
    assert first.exit_code == 0, first.output
    said = "first holds the same unfinished; to go on with it instead: jukebox resume first\n"
    assert said not in generate(tiny_model, *arguments).stderr  # it is complete
    next((tmp_path / "first").glob("*.flac")).unlink()
    assert said in generate(tiny_model, *arguments).stderr
    assert said not in generate(tiny_model, *arguments, "--takes", "2").stderr
    assert said not in generate(tiny_model, *arguments, "--seed", "1").stderr


def test_same_command_gives_the_same_music_and_another_seed_does_not(
    tiny_model: Path, tmp_path: Path
) -> None:
    files = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        generate(tiny_model, *QUICK, "--seed", str(seed), "-o", folder, "-q")
        files.append(Session.open(folder).codes(1))
    assert all(codes is not None for codes in files)
    first, again, other = (codes.levels[2].tolist() for codes in files if codes is not None)
    assert first == again != other


def test_quiet_says_nothing_but_the_result(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(tiny_model, *QUICK, "-q", "-o", tmp_path / "s")
    assert result.stderr == ""
    assert result.stdout.endswith("level_2.flac\n")


def test_dry_run_prints_the_plan_and_writes_nothing(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    result = generate(tiny_model, "--seconds", "0.5", "--dry-run", "-o", folder)
    assert result.exit_code == 0
    assert "Time: about" in result.stdout
    record = made(generate(tiny_model, "--seconds", "0.5", "--dry-run", "--json"))
    assert [level["codes"] for level in record["levels"]] == [31, 124, 496]
    assert record["memory_bytes"] < record["available_bytes"]
    assert not folder.exists()


def test_complete_session_is_left_alone_and_printed_again(tiny_model: Path, tmp_path: Path) -> None:
    arguments = (*QUICK, "--genre", "jazz", "-o", tmp_path / "s")
    first = generate(tiny_model, *arguments)
    stamp = Path(first.stdout.strip()).stat().st_mtime_ns
    again = generate(tiny_model, *arguments)  # without the seed: the recorded one
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert "is complete already" in again.stderr
    assert Path(first.stdout.strip()).stat().st_mtime_ns == stamp


def test_audio_that_was_deleted_is_made_again(tiny_model: Path, tmp_path: Path) -> None:
    first = generate(tiny_model, *QUICK, "-o", tmp_path / "s")
    path = Path(first.stdout.strip())
    content = path.read_bytes()
    path.unlink()
    assert run("resume", tmp_path / "s", "-q").stdout == first.stdout
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--genre", "rock"), "genre of take 1 is not given there and 'rock' here"),
        (("--seed", "6"), "seed is 5 there and 6 here"),
        (("--temperature", "2=0.5"), r"temperature of level 2 is 0\.99 there and 0\.5 here"),
        (("--takes", "2"), "take 2 is not given there"),
        (("--precision", "bfloat16"), "precision is 'float32' there and 'bfloat16' here"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    arguments: tuple[str, ...], message: str, tiny_model: Path, tmp_path: Path
) -> None:
    generate(tiny_model, *QUICK, "--seed", "5", "-o", tmp_path / "s")
    result = generate(tiny_model, *QUICK, *arguments, "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert re.search(
        rf"^Error: .*s holds a session with other settings: .*{message}", result.stderr
    )


def test_folder_with_other_things_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    result = generate(tiny_model, *QUICK, "-o", tmp_path)
    assert result.exit_code == 1
    assert "is not empty and holds no session; choose a new folder" in result.stderr


# --- what is asked for ---


def test_lyrics_from_a_file_and_what_cannot_be_sung(lyric_model: Path, tmp_path: Path) -> None:
    lyrics = tmp_path / "song.txt"
    lyrics.write_text("“I sing” \N{EN DASH} the body électric 🎸\n", encoding="utf-8")
    result = generate(lyric_model, *QUICK, "--lyrics", lyrics, "-o", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert re.search(r"Note: .*lyrics: .*é sung as e", result.stderr)
    assert re.search(r"Note: .*left out 1 character that cannot be sung: 🎸", result.stderr)
    record = Session.open(tmp_path / "s").record
    text = record.takes[0].labels[2].lyric_text
    assert text == '"I sing" - the body electric \n'


def test_lyrics_from_standard_input_and_timed_ones(lyric_model: Path, tmp_path: Path) -> None:
    result = generate(lyric_model, *QUICK, "--lyrics", "-", "-o", tmp_path / "a", input="La la\nla")
    assert result.exit_code == 0, result.output
    labels = Session.open(tmp_path / "a").record.takes[0].labels[2]
    assert labels.lyric_text == "La la\nla"
    timed = tmp_path / "song.lrc"
    timed.write_text("[00:00.00]one two\n[00:00.50]three\n", encoding="utf-8")
    result = generate(lyric_model, *QUICK, "--lyrics", timed, "-o", tmp_path / "b")
    assert result.exit_code == 0, result.output
    labels = Session.open(tmp_path / "b").record.takes[0].labels[2]
    assert labels.lyric_text == "one two\nthree"
    assert labels.lyric_seconds[0] == 0.0
    again = generate(lyric_model, *QUICK, "--lyrics", timed, "-o", tmp_path / "b")
    assert "is complete already" in again.stderr


def test_names_the_model_does_not_know_are_said(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(tiny_model, *QUICK, "--artist", "adda", "-o", tmp_path / "s")
    assert result.exit_code == 0
    assert "Note: artist 'adda' is not known to this prior" in result.stderr
    assert "closest: 'ada'" in result.stderr


def test_lyrics_for_a_model_that_reads_none_are_said(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(tiny_model, *QUICK, "--lyrics", "-", "-o", tmp_path / "s", input="words")
    assert "Note: this model does not read lyrics; they are left out" in result.stderr


def write_tone(path: Path, seconds: float, rate: int, channels: int) -> Path:
    time_axis = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_axis)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
    return path


def test_primers_of_any_format_are_continued_in_turn(tiny_model: Path, tmp_path: Path) -> None:
    primers = [
        write_tone(tmp_path / "a.mp3", 0.5, 48000, 2),
        write_tone(tmp_path / "b.ogg", 0.3, 22050, 1),
    ]
    result = generate(
        tiny_model,
        *QUICK,
        "--primer",
        primers[0],
        "--primer",
        primers[1],
        "--primer-start",
        "0.1",
        "--primer-end",
        "0.2",
        "--takes",
        "3",
        "-o",
        tmp_path / "s",
    )
    assert result.exit_code == 0, result.output
    takes = Session.open(tmp_path / "s").record.takes
    assert [take.existing[2] for take in takes] == [6, 6, 6]  # 0.1 s are 6.25 codes
    names = [take.prompt.primer.name for take in takes]
    assert names == ["a.mp3", "b.ogg", "a.mp3"]


def test_one_line_per_take_from_a_prompts_file(tiny_model: Path, tmp_path: Path) -> None:
    write_tone(tmp_path / "begin.wav", 0.1, 8000, 1)
    (tmp_path / "words.txt").write_text("la", encoding="utf-8")
    lines = [
        {"genre": "rock", "seconds": 0.2},
        {"artist": "bo", "lyrics": "oh", "primer": "begin.wav"},
        {"lyrics_file": "words.txt"},
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    result = generate(
        tiny_model,
        "--prompts",
        prompts,
        "--seconds",
        "0.3",
        "--genre",
        "jazz",
        "--to-level",
        "2",
        "-o",
        tmp_path / "s",
    )
    assert result.exit_code == 0, result.output
    asked = [take.prompt for take in Session.open(tmp_path / "s").record.takes]
    assert [one.genre for one in asked] == ["rock", "jazz", "jazz"]
    assert [one.seconds for one in asked] == [0.2, 0.3, 0.3]
    assert [one.lyrics for one in asked] == [None, "oh", "la"]
    assert asked[1].primer.name == "begin.wav"


def test_prompts_hold_every_sign_that_json_allows(tiny_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    line = json.dumps({"lyrics": "a\u2028b\x85c"}, ensure_ascii=False)
    prompts.write_text(line, encoding="utf-8")
    result = generate(tiny_model, "--prompts", prompts, "--dry-run")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: expected one JSON object per line"),
        ("[]", "line 1: expected an object"),
        ('{"gener": "rock"}', "line 1: unknown setting 'gener'. Did you mean 'genre'?"),
        ('{"seconds": "long"}', "line 1: seconds must be a number, got 'long'"),
        ('{"genre": 3}', "line 1: genre must be text, got 3"),
        ('{"lyrics": "a", "lyrics_file": "b"}', "line 1: give lyrics or lyrics_file, not both"),
        ('{"seconds": -1}', "line 1: seconds must be above 0 and at most 1000000, got -1"),
        ("", "holds no prompts"),
        ('{"lyrics_file": "../secret.txt"}', "must be below the folder of the prompts file"),
        ('{"lyrics_file": "/dev/zero"}', "must be below the folder of the prompts file"),
        ('{"primer": "../a.wav"}', "primer must be below the folder of the prompts file"),
        ('{"primer": "/etc/passwd"}', "primer must be below the folder of the prompts file"),
        ('{"primer": "a.wav"}', "a.wav"),
        ('{"a":' * 20_000, "expected one JSON object per line"),
    ],
)
def test_prompts_that_make_no_sense_are_named(
    line: str, message: str, tiny_model: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(line + "\n", encoding="utf-8")
    result = generate(tiny_model, "--prompts", prompts, "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "s").exists()


def test_settings_per_level_reach_the_session(tiny_model: Path, tmp_path: Path) -> None:
    result = generate(
        tiny_model,
        "--seconds",
        "0.2",
        "--temperature",
        "0.9",
        "--temperature",
        "0=0.8",
        "--top-k",
        "2=5",
        "--hop-fraction",
        "1=0.25",
        "--chains",
        "0=2",
        "--to-level",
        "1",
        "--dry-run",
    )
    assert result.exit_code == 1
    assert "temperature is given for level 0, but the levels that are sampled are 1, 2" in (
        result.stderr
    )
    generate(
        tiny_model,
        "--seconds",
        "0.2",
        "--temperature",
        "0.9",
        "--temperature",
        "1=0.8",
        "--top-k",
        "2=5",
        "--hop-fraction",
        "1=0.25",
        "--to-level",
        "1",
        "-o",
        tmp_path / "s",
    )
    levels = Session.open(tmp_path / "s").settings.levels
    assert (levels[2].temperature, levels[1].temperature) == (0.9, 0.8)
    assert (levels[2].top_k, levels[1].top_k) == (5, None)
    assert (levels[2].hop_fraction, levels[1].hop_fraction) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seconds", "0.001"), "are less than one code of the top level"),
        (("--seconds", "70"), "the prior of level 2 knows songs of less than 60 seconds"),
        (("--seconds", "1", "--total-seconds", "0.6"), "but the song that it is part of lasts 0.6"),
        (
            ("--total-seconds", "0.3", "--seconds", "0.2"),
            "this prior is for pieces of at least 0.5 seconds, got 0.30",
        ),
        (("--to-level", "3"), "there is no level 3; choose --to-level from 0"),
        (("--temperature", "0"), "temperature must be above 0"),
        (("--top-k", "3", "--top-p", "0.5"), "top_k and top_p exclude each other"),
        (("--hop-fraction", "2"), "hop_fraction must be above 0 and at most 1"),
        (("--chains", "0"), "chains must be a whole number from 1 to 65,536, or auto, got 0"),
    ],
)
def test_impossible_requests_are_refused_before_weights_are_read(
    arguments: tuple[str, ...],
    message: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jukebox_hf.hub import System

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(System, "load_prior_network", refuse)
    monkeypatch.setattr(System, "load_vqvae_network", refuse)
    result = generate(tiny_model, *arguments, "-o", tmp_path / "s")
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_primer_longer_than_the_piece_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    primer = write_tone(tmp_path / "a.wav", 0.5, 8000, 1)
    result = generate(tiny_model, "--seconds", "0.2", "--primer", primer, "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert "the primer lasts 0.50 seconds, longer than the piece of 0.19 seconds" in result.stderr
    result = generate(
        tiny_model, "--seconds", "2", "--primer", primer, "--primer-end", "3", "-o", tmp_path / "s"
    )
    assert "the primer ends at 0.50 seconds, but is to be used up to 3" in result.stderr


def test_file_that_is_no_audio_is_refused_as_primer(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio", encoding="utf-8")
    result = generate(tiny_model, "--primer", tmp_path / "a.wav", "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: take 1: ")
    assert "a.wav" in result.stderr


def test_missing_model_and_missing_files(tiny_model: Path, tmp_path: Path) -> None:
    result = run("generate", "--model", tmp_path / "none", "--genre", "rock")
    assert result.exit_code == 1
    assert "none" in result.stderr
    for option in ("--primer", "--prompts"):
        result = generate(tiny_model, option, tmp_path / "none")
        assert result.exit_code == 2
        assert "does not exist" in result.stderr
    result = generate(tiny_model, "--lyrics", tmp_path / "none.txt")
    assert result.exit_code == 1
    assert "none.txt: No such file or directory" in result.stderr


def test_folder_that_cannot_be_made_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = generate(tiny_model, *QUICK, "-o", tmp_path / "file" / "s")
    assert result.exit_code == 1
    assert "file" in result.stderr
    assert result.stderr.count("\n") == 1


# --- interruptions ---


def test_interruption_is_clean_and_says_how_to_go_on(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--seconds", "0.3", "--seed", "3", "--to-level", "1")
    generate(tiny_model, *arguments, "-o", tmp_path / "whole")
    save = SessionWork._save
    calls = 0

    def interrupted(self: SessionWork, *rest: Any) -> None:
        nonlocal calls
        save(self, *rest)
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SessionWork, "_save", interrupted)
    folder = tmp_path / "s"
    result = generate(tiny_model, *arguments, "-o", folder)
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr.endswith(f"Interrupted. Go on with: jukebox resume {folder}\n")
    monkeypatch.undo()
    resumed = run("resume", folder, "--device", "cpu")
    assert resumed.exit_code == 0, resumed.output
    name = "01_3_level_1.flac"
    assert resumed.stdout == f"{folder / name}\n"
    assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_same_command_goes_on_with_an_interrupted_session(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ("--seconds", "0.3", "--to-level", "1", "-o", tmp_path / "s")
    generate(tiny_model, *arguments)
    session = Session.open(tmp_path / "s")
    session.record.complete = False
    session._write()
    result = generate(tiny_model, *arguments)
    assert result.exit_code == 0, result.output
    assert "Going on with" in result.stderr


def test_session_in_use_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    from jukebox_hf.locks import locked

    generate(tiny_model, *QUICK, "-o", tmp_path / "s")
    session = Session.open(tmp_path / "s")
    session.record.complete = False
    session._write()
    with locked(tmp_path / "s"):
        result = run("resume", tmp_path / "s")
    assert result.exit_code == 1
    assert "is being worked on by another process" in result.stderr


def test_resume_needs_a_session(tmp_path: Path) -> None:
    result = run("resume", tmp_path)
    assert result.exit_code == 1
    assert "is not a session: it has no session.json" in result.stderr
    assert run("resume", tmp_path / "none").exit_code == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_real_process_is_interrupted_and_resumed(
    number: signal.Signals, tiny_model: Path, tmp_path: Path
) -> None:
    arguments = ["--model", str(tiny_model), "--device", "cpu", "--seconds", "1.5", "--seed", "1"]
    folder = tmp_path / "s"
    command = [sys.executable, "-m", "jukebox_hf"]
    process = subprocess.Popen(
        [*command, "generate", *arguments, "-o", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("codes/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, said
        assert "Go on with: jukebox resume" in said
    assert run("resume", folder, "-q").exit_code == 0
    generate(tiny_model, "--seconds", "1.5", "--seed", "1", "-o", tmp_path / "whole", "-q")
    for name in ("codes/take_01.safetensors", "01_1.flac"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

"""`jukebox encode` and `jukebox decode`: audio to codes and back, and what is said of mistakes."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.audio import audio_info, load_audio, read_tags, save_audio
from jukebox_hf.codes import Codes, load_codes, save_codes
from jukebox_hf.hub.system import System
from tests.audio.sounds import needs_ffmpeg, noisy_sweep
from tests.tiny import SAMPLING_RATE, tiny_system


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec of the same measures with other codebooks."""
    return tiny_system(tmp_path_factory.mktemp("model") / "other", seed=1)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """1.5 seconds in stereo at twice the model's rate."""
    rate = 2 * SAMPLING_RATE
    return save_audio(tmp_path / "Söng.flac", noisy_sweep(rate * 3 // 2, rate, 2), rate).path


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object, input: bytes | None = None) -> Result:
    words = [str(one) for one in arguments]
    return CliRunner().invoke(main, words, prog_name="jukebox", input=input)


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def whole(model: Path, song: Path, **part: Any) -> tuple[torch.Tensor, ...]:
    """Codes of all levels, without sections."""
    audio = load_audio(song, SAMPLING_RATE, **part)
    return System.open(model).load_vqvae(dtype=torch.float32).encode(audio[None])


# --- encode -------------------------------------------------------------------------------------


def test_a_file_becomes_the_codes_of_all_levels(model: Path, song: Path) -> None:
    result = succeed("encode", song, "--model", model)
    assert result.stdout == "Söng.codes.safetensors\n"
    assert (
        "1.50 seconds of audio became codes: 1,500 at level 0, 375 at level 1, 93 at level 2."
        in result.stderr
    )
    codes = load_codes("Söng.codes.safetensors")
    for level, expected in enumerate(whole(model, song)):
        assert torch.equal(codes.levels[level], expected)
    assert (codes.hop_lengths, codes.sampling_rate) == ((8, 32, 128), SAMPLING_RATE)
    assert codes.fingerprint == System.open(model).vqvae_config().codebook_fingerprint
    assert codes.origin == {"source": "Söng.flac", "model": model.name}


def test_a_bare_codec_will_do(model: Path, song: Path) -> None:
    succeed("encode", song, "--model", model / "vqvae", "-o", "a.safetensors")
    succeed("encode", song, "--model", model, "-o", "b.safetensors")
    found, expected = load_codes("a.safetensors"), load_codes("b.safetensors")
    assert all(torch.equal(found.levels[level], expected.levels[level]) for level in range(3))


def test_a_part_and_some_levels(model: Path, song: Path) -> None:
    arguments = ("--levels", "2,0", "--start", "0:00.25", "--end", 1)
    result = succeed("encode", song, "--model", model, *arguments, "--json", "-q")
    record = json.loads(result.stdout)
    assert record["num_codes"] == {"0": 750, "2": 46}
    assert record["codes"] == "Söng.codes.safetensors"
    assert record["duration_seconds"] == 0.75
    assert result.stderr == ""
    codes = load_codes(record["codes"])
    assert record["fingerprint"] == codes.fingerprint
    expected = whole(model, song, start_seconds=0.25, end_seconds=1.0)
    assert list(codes.levels) == [0, 2]
    assert torch.equal(codes.levels[0], expected[0])
    assert torch.equal(codes.levels[2], expected[2])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing.wav",), 1, "there is no audio file missing.wav"),
        (("notes.txt",), 1, "notes.txt is a text file, expected an audio file"),
        (("Söng.flac", "--levels", 3), 1, "this codec has levels 0 to 2, got 3"),
        (("Söng.flac", "--start", 9), 1, "lasts 1.50 seconds, but its part from 9 seconds on"),
        (("Söng.flac", "--start", 1, "--end", 1), 2, "--end 1 must be after --start 1"),
        (("Söng.flac", "--end", "soon"), 2, "'soon' is not a duration"),
        (("Söng.flac", "--end", 0.01), 1, "less than the 0.0160 of one code at level 2"),
        (("Söng.flac", "-o", "missing/x"), 1, "missing does not exist"),
        (("Söng.flac", "-o", "notes.txt"), 1, "notes.txt exists; choose another name"),
    ],
)
def test_mistakes_are_found_before_weights_are_read(
    model: Path,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    code: int,
    message: str,
) -> None:
    Path("notes.txt").write_text("not a song")
    monkeypatch.setattr(System, "load_vqvae_network", None)
    before = sorted(os.listdir())
    result = run("encode", *arguments, "--model", model)
    assert result.exit_code == code
    assert message in result.stderr
    assert sorted(os.listdir()) == before


def test_existing_codes_are_replaced_only_when_asked(model: Path, song: Path) -> None:
    succeed("encode", song, "--model", model, "--end", 1)
    assert run("encode", song, "--model", model).exit_code == 1
    assert load_codes("Söng.codes.safetensors").duration_seconds(0) == 1
    succeed("encode", song, "--model", model, "--overwrite")
    assert load_codes("Söng.codes.safetensors").duration_seconds(0) == 1.5


def test_audio_on_standard_input_becomes_the_codes_of_the_file(model: Path, song: Path) -> None:
    succeed("encode", song, "--model", model, "-o", "a.safetensors")
    piped = run("encode", "-", "--model", model, "-o", "b.safetensors", input=song.read_bytes())
    assert (piped.exit_code, piped.stdout) == (0, "b.safetensors\n")
    found, expected = load_codes("b.safetensors"), load_codes("a.safetensors")
    assert all(torch.equal(found.levels[level], expected.levels[level]) for level in range(3))
    assert found.origin["source"] == "standard input"
    refused = run("encode", "-", "--model", model, "-o", "c.safetensors", input=b"not a song")
    assert refused.exit_code == 1
    assert refused.stderr.endswith("Error: standard input is a text file, expected an audio file\n")


def test_several_files_become_a_file_of_codes_each(model: Path, song: Path) -> None:
    Path("notes.txt").write_text("not a song")
    shutil.copy(song, "other.flac")
    arguments = ("encode", song, "notes.txt", "other.flac", "--model", model, "-o", "codes")
    result = run(*arguments, "--json")
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert record["failed"] == [
        {"audio": "notes.txt", "reason": "notes.txt is a text file, expected an audio file"}
    ]
    assert [Path(one["codes"]).name for one in record["files"]] == sorted(os.listdir("codes"))
    first, second = (load_codes(one["codes"]) for one in record["files"])
    for level, expected in enumerate(whole(model, song)):
        assert torch.equal(first.levels[level], expected)
        assert torch.equal(second.levels[level], expected)
    assert "exists; choose another name" in run(*arguments).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-",), "say -o FILE for its codes"),
        (("a.wav", "-"), "say -o FILE for its codes"),
        (("-", "-"), "standard input can be read once"),
        (
            ("a.wav", "b/a.flac"),
            "the codes of a.wav and b/a.flac would both be a.codes.safetensors",
        ),
        (("a.wav", "b.wav", "-o", "notes.txt"), "notes.txt is a file; of several files the codes"),
        ((), "give audio files, - for audio on standard input, or --dataset DIR_OR_REPO"),
    ],
)
def test_files_whose_codes_would_have_no_place_are_refused(
    arguments: tuple[str, ...], message: str
) -> None:
    Path("notes.txt").touch()
    result = run("encode", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace(os.sep, "/")


@needs_ffmpeg
def test_formats_of_ffmpeg(model: Path, song: Path) -> None:
    path = save_audio("x.m4a", load_audio(song, 16000), 16000).path
    succeed("encode", path, "--model", model)
    assert load_codes("x.codes.safetensors").duration_seconds(0) == pytest.approx(1.5, abs=0.1)


# --- decode -------------------------------------------------------------------------------------


@pytest.fixture
def codes_file(model: Path, song: Path) -> Path:
    succeed("encode", song, "--model", model, "-o", "x.safetensors", "-q")
    return Path("x.safetensors")


def test_codes_become_audio_again(model: Path, codes_file: Path) -> None:
    codec = System.open(model).load_vqvae(dtype=torch.float32)
    codes = load_codes(codes_file)
    result = succeed("decode", codes_file, "--model", model)
    assert result.stdout == "x_level_0.flac\n"
    for level in range(3):
        succeed("decode", codes_file, "--model", model, "--level", level, "-o", f"{level}.wav")
        expected = codec.decode(codes.levels[level], level)[0].clamp(-1, 1)
        found = load_audio(f"{level}.wav", SAMPLING_RATE)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    flac, wav = (load_audio(name, SAMPLING_RATE) for name in ("x_level_0.flac", "0.wav"))
    torch.testing.assert_close(flac, wav, rtol=0, atol=1e-6)


def test_standard_output_takes_the_sound_and_nothing_else(
    model: Path, codes_file: Path, tmp_path: Path
) -> None:
    succeed("decode", codes_file, "--model", model, "--level", 2, "-o", "2.wav")
    piped = succeed("decode", codes_file, "--model", model, "--level", 2, "-o", "-")
    with soundfile.SoundFile(io.BytesIO(piped.stdout_bytes)) as sound:
        assert (sound.format, sound.samplerate) == ("WAV", SAMPLING_RATE)
        found = sound.read(dtype="float32")
    assert np.array_equal(found, soundfile.read("2.wav", dtype="float32")[0])
    assert not (tmp_path / "-").exists()
    refused = run("decode", codes_file, "--model", model, "-o", "-", "--json")
    assert (refused.exit_code, "leave out --json" in refused.stderr) == (2, True)


def test_precision_is_that_of_the_weights(model: Path, codes_file: Path) -> None:
    succeed("decode", codes_file, "--model", model, "--precision", "bfloat16", "-o", "16.wav")
    succeed("decode", codes_file, "--model", model, "-o", "32.wav")
    difference = load_audio("16.wav", SAMPLING_RATE) - load_audio("32.wav", SAMPLING_RATE)
    assert 1e-6 < difference.abs().max() < 0.1


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_every_format_with_tags(model: Path, codes_file: Path, suffix: str) -> None:
    result = succeed(
        "decode", codes_file, "--model", model / "vqvae", "-o", f"y.{suffix}", "--json"
    )
    record = json.loads(result.stdout)
    (take,) = record["takes"]
    assert (take["audio"], take["sampling_rate"], take["duration_seconds"]) == (
        f"y.{suffix}",
        SAMPLING_RATE,
        1.5,
    )
    assert take["unwritten_tags"] == []
    assert audio_info(f"y.{suffix}").duration_seconds == 1.5
    assert (
        f"model: {model.name}; codes of Söng.flac, decoded" in read_tags(f"y.{suffix}")["comment"]
    )


def test_every_take_is_a_file_and_generated_ones_say_so(model: Path) -> None:
    codes = torch.randint(16, (3, 40), generator=torch.Generator().manual_seed(0))
    fingerprint = System.open(model).vqvae_config().codebook_fingerprint
    origin = {"source": "jukebox generate", "seed": "7", "model": "tiny"}
    save_codes("c.safetensors", Codes({1: codes}, (8, 32, 128), SAMPLING_RATE, fingerprint, origin))
    result = succeed("decode", "c.safetensors", "--model", model, "-o", "t.flac")
    assert result.stdout.splitlines() == ["t_1.flac", "t_2.flac", "t_3.flac"]
    codec = System.open(model).load_vqvae(dtype=torch.float32)
    for number in range(3):
        expected = codec.decode(codes[number : number + 1], 1)[0].clamp(-1, 1)
        found = load_audio(f"t_{number + 1}.flac", SAMPLING_RATE)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert "generated by jukebox_hf; model: tiny; seed: 7" in read_tags("t_2.flac")["comment"]
    piped = run("decode", "c.safetensors", "--model", model, "-o", "-")
    assert (piped.exit_code, piped.stdout) == (1, "")
    assert "holds 3 takes, but standard output takes one; give -o FILE" in piped.stderr
    again = run("decode", "c.safetensors", "--model", model, "-o", "t.flac")
    assert (again.exit_code, "t_1.flac exists" in again.stderr) == (1, True)


def test_codes_of_another_codec_are_refused(
    other: Path, codes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System, "load_vqvae_network", None)  # without reading weights
    result = run("decode", codes_file, "--model", other)
    assert result.exit_code == 1
    assert "made with another codec: their codebooks' fingerprint is sha256:" in result.stderr


def test_the_fingerprint_is_also_that_of_the_weights(
    other: Path, codes_file: Path, tmp_path: Path
) -> None:
    """A config that has lost it does not let foreign codes through."""
    shutil.copytree(other, tmp_path / "nameless")
    path = tmp_path / "nameless" / "vqvae" / "config.json"
    config = json.loads(path.read_text())
    del config["codebook_fingerprint"]
    path.write_text(json.dumps(config))
    result = run("decode", codes_file, "--model", tmp_path / "nameless" / "vqvae")
    assert result.exit_code == 1
    assert "made with another codec" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.safetensors",), "there is no codes file missing.safetensors"),
        (("Söng.flac",), "Söng.flac is not a codes file, or it is damaged"),
        (("x.safetensors", "--level", 5), "holds no codes of level 5; it has level 0, 1, 2"),
        (("x.safetensors", "-o", "x.xyz"), "expected one of .wav, .flac"),
        (("x.safetensors", "-o", "Söng.flac"), "Söng.flac exists; choose another name"),
        (("x.safetensors", "-o", "missing/x.wav"), "missing does not exist"),
        (("empty.safetensors",), "holds no codes yet"),
        (("rate.safetensors",), "at 22050 Hz, but this model has (8, 32, 128) at 8000 Hz"),
        (("large.safetensors",), "level 2 holds code 99, but this model's codebooks have 16 codes"),
    ],
)
def test_mistakes_in_decoding(
    model: Path,
    codes_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    hops = (8, 32, 128)
    one = torch.tensor([[1]])
    save_codes("empty.safetensors", Codes({2: one[:, :0]}, hops, SAMPLING_RATE))
    save_codes("rate.safetensors", Codes({2: one}, hops, 22050))
    save_codes("large.safetensors", Codes({2: one * 99}, hops, SAMPLING_RATE))
    monkeypatch.setattr(System, "load_vqvae_network", None)
    before = sorted(os.listdir())
    result = run("decode", *arguments, "--model", model)
    assert result.exit_code == 1
    assert message in result.stderr
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_help_says_what_comes_out(command: str) -> None:
    result = succeed(command, "--help")
    assert "Prints" in result.stdout
    assert "(the model" in result.stdout

"""Writing audio files: what comes back, what is reported, what is refused."""

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.audio import (
    WRITABLE_FORMATS,
    AudioTags,
    audio_info,
    check_output_path,
    load_audio,
    read_tags,
    resample,
    save_audio,
    writing,
)

from .sounds import hide_ffmpeg, needs_ffmpeg, noisy_sweep

WITHOUT_FFMPEG = ("wav", "flac", "ogg", "opus", "mp3")
ALL_FORMATS = (
    *WITHOUT_FFMPEG,
    *(pytest.param(name, marks=needs_ffmpeg) for name in ("m4a", "aac")),
)
TAGS = AudioTags(
    title="Tïtle ☃ 坂本龍一",
    artist='Ärtist; & <b> "quoted"',
    genre="Rock",
    album="Demos",
    generated=True,
    model="somebody/jukebox-1b",
    seed=2**63,
    licence="openai-noncommercial",
    comment="a comment\nof two lines\0, and one that is far longer than thirty bytes: é",
)


def test_the_list_of_formats() -> None:
    assert (*WITHOUT_FFMPEG, "m4a", "aac") == WRITABLE_FORMATS


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_lossless_formats_keep_24_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    audio = noisy_sweep(3000, channels=channels)
    report = save_audio(tmp_path / f"x.{suffix}", audio, 44100)
    loaded = load_audio(report.path, 44100, mono=False)
    assert loaded.shape == audio.shape
    assert (loaded - audio).abs().max() < 2**-22
    assert (report.sampling_rate, report.num_samples, report.clipped_samples) == (44100, 3000, 0)
    assert report.peak == audio.abs().max()


@pytest.mark.parametrize("suffix", ALL_FORMATS)
@pytest.mark.parametrize("rate", [8000, 22050, 37000, 44100, 96000])
def test_every_format_at_every_rate(tmp_path: Path, suffix: str, rate: int) -> None:
    time = torch.arange(rate) / rate
    audio = 0.5 * torch.sin(2 * torch.pi * 440 * time)
    report = save_audio(tmp_path / f"x.{suffix}", audio, rate)
    info = audio_info(report.path)
    assert info.sampling_rate == report.sampling_rate
    assert report.sampling_rate == rate or suffix not in ("wav", "flac", "ogg")
    loaded = load_audio(report.path, report.sampling_rate)
    late = 1024 if suffix == "aac" else 0
    surplus = loaded.shape[1] - report.num_samples
    assert 0 <= surplus <= ({"m4a": 2048, "aac": 3072}.get(suffix, 0))
    expected = resample(audio, rate, report.sampling_rate)
    middle = slice(report.num_samples // 3, report.num_samples // 2)
    error = (loaded[0, late:][middle] - expected[middle]).abs().max()
    assert error < {"wav": 1e-6, "flac": 1e-6}.get(suffix, 0.05)


@pytest.mark.parametrize("suffix", ALL_FORMATS)
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_a_level_survives_writing(tmp_path: Path, suffix: str, rate: int) -> None:
    """To 0.02 dB (Vorbis 0.1), also where the sound fills the whole range."""
    time = torch.arange(rate) / rate
    loud = 0.9 if suffix in ("m4a", "aac") else 0.999  # FFmpeg's encoder keeps below 0.95
    for peak in (loud, 0.1):
        audio = peak * torch.sin(2 * torch.pi * 440 * time)
        report = save_audio(tmp_path / f"{peak}.{suffix}", audio, rate)
        found = load_audio(report.path, report.sampling_rate)[0]
        middle = found[len(found) // 4 : len(found) * 3 // 4]
        level = float(middle.square().mean().sqrt()) / (peak / 2**0.5)
        assert abs(20 * math.log10(level)) < (0.11 if suffix == "ogg" else 0.02)


@pytest.mark.parametrize("suffix", WITHOUT_FFMPEG)
def test_lossy_lengths_are_exact(tmp_path: Path, suffix: str) -> None:
    for num_samples in (1, 100, 24001):
        audio = noisy_sweep(num_samples, 24000, channels=2)
        report = save_audio(tmp_path / f"x.{suffix}", audio, 24000, overwrite=True)
        assert load_audio(report.path, 24000, mono=False).shape == (2, num_samples)


@pytest.mark.parametrize("suffix", ALL_FORMATS)
def test_parts_make_the_file_of_the_whole_and_are_asked_for_as_they_are_written(
    tmp_path: Path, suffix: str
) -> None:
    audio = 1.2 * noisy_sweep(150_001, 22050, channels=2)
    whole = save_audio(tmp_path / f"whole.{suffix}", audio, 22050)
    for cuts in ([1, 70_000], [65_536], [40, 41, 42, 149_999]):
        beginnings = []

        def parts(cuts: list[int] = cuts, beginnings: list[int] = beginnings) -> Iterator[Any]:
            for start, stop in itertools.pairwise([0, *cuts, audio.shape[1]]):
                beginnings.append(start)
                yield audio[:, start:stop]

        report = save_audio(tmp_path / f"parts.{suffix}", parts(), 22050, overwrite=True)
        assert report._replace(path=whole.path) == whole
        assert beginnings == [0, *cuts]
        if suffix in ("wav", "flac"):
            assert report.path.read_bytes() == whole.path.read_bytes()
        else:
            rate = report.sampling_rate
            one, other = (load_audio(each.path, rate, mono=False) for each in (whole, report))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    sound = noisy_sweep(1000)

    def failing() -> Iterator[Any]:
        yield sound
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        save_audio(tmp_path / "x.flac", failing(), 44100)
    with pytest.raises(ValueError, match="same channels, got 1 and 2"):
        save_audio(tmp_path / "x.flac", iter([sound, noisy_sweep(10, channels=2)]), 44100)
    with pytest.raises(ValueError, match="not finite"):
        save_audio(tmp_path / "x.mp3", iter([sound, sound * float("nan")]), 44100)
    with pytest.raises(ValueError, match="at least one sample, got no parts"):
        save_audio(tmp_path / "x.wav", iter([]), 44100)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_long_ogg_does_not_crash(tmp_path: Path) -> None:
    """libvorbis overflows the stack when more than a minute of stereo comes in one call."""
    script = (
        "import sys, torch\n"
        "from jukebox_hf.audio import save_audio\n"
        "save_audio(sys.argv[1], torch.rand(2, 44100 * 100) - 0.5, 44100)\n"
    )
    path = tmp_path / "long.ogg"
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=True)
    assert audio_info(path).duration_seconds == 100


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_tags_come_back(tmp_path: Path, suffix: str) -> None:
    report = save_audio(tmp_path / f"x.{suffix}", noisy_sweep(2000, 24000), 24000, tags=TAGS)
    assert report.unwritten_tags == ()
    found = read_tags(report.path)
    assert {name: found[name] for name in TAGS.fields()} == TAGS.fields()
    assert found["comment"].startswith(
        "generated by jukebox_hf; model: somebody/jukebox-1b; seed: 9223372036854775808; "
        "licence: openai-noncommercial; a comment of two lines , and one"
    )
    assert "jukebox_hf" in found["software"]
    assert load_audio(report.path, 24000).shape == (1, 2000)  # tags are not audio


@needs_ffmpeg
def test_tags_of_the_other_formats(tmp_path: Path) -> None:
    report = save_audio(tmp_path / "x.m4a", noisy_sweep(20000), 44100, tags=TAGS)
    assert report.unwritten_tags == ()
    assert read_tags(report.path)["title"] == TAGS.title
    report = save_audio(tmp_path / "x.aac", noisy_sweep(20000), 44100, tags=TAGS)
    assert report.unwritten_tags == ("title", "artist", "genre", "album", "comment")


def test_no_tags_are_no_tags(tmp_path: Path) -> None:
    assert AudioTags().fields() == {}
    assert AudioTags(title="  \n ", comment="").fields() == {}
    save_audio(tmp_path / "x.flac", noisy_sweep(100), 44100)
    assert set(read_tags(tmp_path / "x.flac")) == {"software"}


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_too_loud_is_clipped_and_counted(tmp_path: Path, suffix: str) -> None:
    audio = torch.tensor([0.0, 1.0, -1.0, 1.5, -3.0, 0.25])
    report = save_audio(tmp_path / f"x.{suffix}", audio, 44100)
    assert (report.clipped_samples, report.peak) == (2, 3.0)
    expected = torch.tensor([[0.0, 1.0, -1.0, 1.0, -1.0, 0.25]])
    torch.testing.assert_close(load_audio(report.path, 44100), expected, atol=2**-22, rtol=0)
    assert audio.tolist() == [0.0, 1.0, -1.0, 1.5, -3.0, 0.25]  # the caller's is the caller's


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    audio = torch.zeros(1, 100)
    audio[0, 50] = value
    with pytest.raises(ValueError, match="not finite numbers"):
        save_audio(tmp_path / "x.wav", audio, 44100)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_type_is_written(tmp_path: Path, dtype: torch.dtype) -> None:
    audio = torch.tensor([[0.5, -0.25]], dtype=dtype, requires_grad=True)
    save_audio(tmp_path / "x.wav", audio, 44100)
    assert load_audio(tmp_path / "x.wav", 44100).tolist() == [[0.5, -0.25]]


@pytest.mark.parametrize(
    ("name", "audio", "rate", "message"),
    [
        ("x.xyz", torch.zeros(5), 44100, r"extension '\.xyz'; expected one of \.wav, \.flac, "),
        ("x", torch.zeros(5), 44100, "extension ''; expected one of"),
        ("x.wav", torch.zeros(1, 1, 5), 44100, r"got shape \(1, 1, 5\)"),
        ("x.wav", torch.zeros(1, 0), 44100, "at least one sample"),
        (
            "x.wav",
            torch.zeros(5, dtype=torch.int16),
            44100,
            "floating-point numbers, got torch.int16",
        ),
        ("x.wav", [0.0], 44100, "an array of floating-point numbers, got list"),
        ("x.wav", torch.zeros(44100, 2), 44100, r"at most 8 channels.*\(44100, 2\); transpose"),
        ("x.mp3", torch.zeros(6, 100), 44100, "at most 2 channels"),
        ("x.wav", torch.zeros(5), 0, "sampling rate must be a positive integer, got 0"),
        ("x.flac", torch.zeros(5), 10_000_000, r"cannot write .* with 1 channels at 10000000 Hz: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, name: str, audio: Any, rate: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_audio(tmp_path / name, audio, rate)
    assert os.listdir(tmp_path) == []


def test_a_wav_beyond_its_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LARGEST_WAV_BYTES", 299)
    with pytest.raises(ValueError, match=r"larger than the 4 GB that wav allows; choose flac"):
        save_audio(tmp_path / "x.wav", torch.zeros(100), 44100)
    save_audio(tmp_path / "x.flac", torch.zeros(100), 44100)


def test_nothing_is_overwritten_silently(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_text("precious")
    for attempt in (
        lambda: save_audio(path, torch.zeros(5), 44100),
        lambda: check_output_path(path),
    ):
        with pytest.raises(FileExistsError, match=r"exists; choose another name, or say overwrite"):
            attempt()
    assert path.read_text() == "precious"
    check_output_path(path, overwrite=True)
    save_audio(path, torch.zeros(5), 44100, overwrite=True)
    assert load_audio(path, 44100).shape == (1, 5)
    assert os.listdir(tmp_path) == ["x.wav"]


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
        check_output_path(tmp_path / "missing" / "x.wav")
    with pytest.raises(ValueError, match="expected one of"):
        check_output_path(tmp_path / "x.txt")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        check_output_path(tmp_path / "folder.wav", overwrite=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"x.{suffix}"
    save_audio(path, torch.zeros(5000), 44100)
    before = path.read_bytes()
    real = writing.write_atomically

    def on_a_full_disk(target: Any, write: Any, **options: Any) -> None:
        def write_to_full(temporary: Path) -> None:
            temporary.symlink_to("/dev/full")
            write(temporary)

        real(target, write_to_full, **options)

    monkeypatch.setattr(writing, "write_atomically", on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_audio(path, noisy_sweep(100_000), 44100, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_without_ffmpeg_only_its_formats_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ffmpeg(monkeypatch)
    for suffix in WITHOUT_FFMPEG:
        save_audio(tmp_path / f"x.{suffix}", torch.zeros(500), 44100)
    with pytest.raises(ValueError, match=r"install it with `apt install ffmpeg`.*or choose wav"):
        save_audio(tmp_path / "x.m4a", torch.zeros(500), 44100)
    with pytest.raises(ValueError, match=r'this format needs FFmpeg: run `pip install "jukebox'):
        check_output_path(tmp_path / "x.m4a")

"""Reading audio files whole, in part, and as exact windows; and what is said of bad ones."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from jukebox_hf.audio import AudioReader, audio_info, load_audio, mix_down, read_tags, resample

from .sounds import hide_ffmpeg, needs_ffmpeg, noisy_sweep, write_file


@pytest.fixture
def stereo(tmp_path: Path) -> tuple[Path, Tensor]:
    """Two seconds at 48 kHz, in a file of floats that keeps them exactly."""
    audio = noisy_sweep(96000, 48000, channels=2)
    return write_file(tmp_path / "stereo.wav", audio, 48000, subtype="FLOAT"), audio


def test_audio_info_tells_what_the_header_says(stereo: tuple[Path, Tensor]) -> None:
    assert audio_info(stereo[0]) == (2.0, 48000, 2, "wav")


@pytest.mark.parametrize(
    ("name", "format_name", "options"),
    [
        ("x.flac", "flac", {}),
        ("x.ogg", "ogg", {}),
        ("x.mp3", "mp3", {}),
        ("x.opus", "opus", {"format": "OGG", "subtype": "OPUS"}),
        ("no suffix", "flac", {"format": "FLAC"}),
        ("wrong.mp3", "wav", {"format": "WAV"}),
    ],
)
def test_the_content_decides_not_the_name(
    tmp_path: Path, name: str, format_name: str, options: dict[str, str]
) -> None:
    path = write_file(tmp_path / name, noisy_sweep(24000, 24000), 24000, **options)
    info = audio_info(path)
    assert (info.format, info.sampling_rate, info.channels) == (format_name, 24000, 1)
    assert load_audio(path, 24000).shape == (1, 24000)


def test_without_a_rate_a_file_keeps_its_own(stereo: tuple[Path, Tensor]) -> None:
    path = stereo[0]
    rate = audio_info(path).sampling_rate
    assert torch.equal(load_audio(path), load_audio(path, rate))
    part = load_audio(path, start_seconds=0.5, end_seconds=1.0, mono=False)
    assert torch.equal(part, load_audio(path, rate, mono=False)[:, rate // 2 : rate])
    at_file = load_audio(path, cut="file", end_seconds=0.5)
    assert at_file.shape == (1, rate // 2)
    for given in ({"quality": "HQ"}, {"cut": "file", "quality": "HQ", "round_up": True}):
        with pytest.raises(ValueError, match=f"^{list(given)[-1]} has no effect where nothing"):
            load_audio(path, **given)  # type: ignore[arg-type]


def test_channels_are_averaged_or_kept(stereo: tuple[Path, Tensor]) -> None:
    path, audio = stereo
    assert torch.equal(load_audio(path, 48000, mono=False), audio)
    assert torch.equal(load_audio(path, 48000), audio.mean(dim=0, keepdim=True))
    assert torch.equal(mix_down(audio), audio.mean(dim=0, keepdim=True))
    with pytest.raises(ValueError, match=r"\(channels, samples\)"):
        mix_down(audio[0])


def test_resampled_while_reading(stereo: tuple[Path, Tensor]) -> None:
    path, audio = stereo
    expected = resample(audio.mean(dim=0, keepdim=True), 48000, 44100)
    assert torch.equal(load_audio(path, 44100), expected)
    assert load_audio(path, 44100).dtype == torch.float32


def test_a_part_equals_the_same_part_of_the_whole(stereo: tuple[Path, Tensor]) -> None:
    whole = load_audio(stereo[0], 44100)
    part = load_audio(stereo[0], 44100, start_seconds=0.25, end_seconds=1.5)
    assert torch.equal(part, whole[:, 11025:66150])
    assert torch.equal(load_audio(stereo[0], 44100, start_seconds=1.9), whole[:, 83790:])
    assert load_audio(stereo[0], 44100, start_seconds=1.9, end_seconds=60).shape == (1, 4410)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (2.0, None, r"lasts 2\.00 seconds, but its part from 2 seconds on was asked for"),
        (-1.0, None, "start_seconds must be 0 or more"),
        (float("nan"), None, "start_seconds must be 0 or more"),
        (1.0, 1.0, r"end_seconds must be more than start_seconds \(1\), got 1\.0"),
        (0.0, float("inf"), "end_seconds must be more"),
    ],
)
def test_impossible_parts_are_refused(
    stereo: tuple[Path, Tensor], start: float, end: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_audio(stereo[0], 44100, start_seconds=start, end_seconds=end)


def test_one_sample_is_enough(tmp_path: Path) -> None:
    path = write_file(tmp_path / "one.wav", torch.full((1, 1), 0.5), 8000, subtype="FLOAT")
    assert load_audio(path, 8000).tolist() == [[0.5]]
    assert load_audio(path, 44100).shape == (1, 6)  # 5.5125 samples, rounded


def test_windows_lie_exactly_where_they_should(stereo: tuple[Path, Tensor]) -> None:
    whole = load_audio(stereo[0], 44100, mono=False)
    with AudioReader(stereo[0], 44100, mono=False) as reader:
        assert (reader.num_samples, reader.channels) == (88200, 2)
        for offset in (0, 1, 12345, 50_000, 3, 88199):
            audio, missing = reader.read(offset, 1000)
            found = min(1000, 88200 - offset)
            assert missing == 1000 - found
            assert torch.equal(audio[:, :found], whole[:, offset : offset + found])
            assert not audio[:, found:].any()
        assert reader.read(10**7, 5) == (pytest.approx(torch.zeros(2, 5)), 5)
        with pytest.raises(ValueError, match="must be 0 or more, got -1 and 5"):
            reader.read(-1, 5)


def test_blocks_are_the_whole(stereo: tuple[Path, Tensor]) -> None:
    whole = load_audio(stereo[0], 44100)
    with AudioReader(stereo[0], 44100) as reader:
        assert torch.equal(torch.cat(list(reader.blocks(10_007)), dim=1), whole)
        part = torch.cat(list(reader.blocks(5000, offset=100, stop=20_100)), dim=1)
        assert torch.equal(part, whole[:, 100:20_100])
        with pytest.raises(ValueError, match="num_samples must be 1 or more"):
            next(reader.blocks(0))


def test_a_header_that_promises_too_much_is_believed_no_further_than_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_file(tmp_path / "x.flac", noisy_sweep(44100), 44100)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # 36 bits of the length in samples
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert load_audio(path, 44100).shape == (1, 44100)
    assert "ends after 1.00 seconds, although its header promises" in caplog.text
    assert "seconds are missing" in caplog.text
    with AudioReader(path, 22050) as reader:
        assert reader.read(22000, 100)[1] == 50
        assert sum(block.shape[1] for block in reader.blocks(7000)) == 22050


def test_a_cut_off_flac_gives_what_comes_before_the_cut(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.flac", noisy_sweep(44100), 44100)
    whole = load_audio(path, 44100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with AudioReader(path, 44100) as reader:
        assert torch.equal(reader.read(0, 4000).audio, whole[:, :4000])
        assert 0.3 < reader.num_samples / 44100 < 0.7
        found = reader.read_available(0, 44100)
        assert torch.equal(found, whole[:, : reader.num_samples])
        assert "ends after" in reader.notes[0]


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    audio = torch.zeros(1, 1000)
    audio[0, 500] = torch.nan
    path = write_file(tmp_path / "x.wav", audio, 44100, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"not finite numbers, the first at 0\.01 seconds"):
        load_audio(path, 44100)


@pytest.mark.parametrize("read", [audio_info, lambda p: load_audio(p, 44100), read_tags])
class TestWhatIsNotAudio:
    def test_missing_files_and_folders(self, tmp_path: Path, read: object) -> None:
        with pytest.raises(FileNotFoundError, match=r"there is no audio file .*x\.wav"):
            read(tmp_path / "x.wav")  # type: ignore[operator]
        with pytest.raises(IsADirectoryError, match="is not a file"):
            read(tmp_path)  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"is empty \(0 bytes\)"),
            ("Grüße, das ist kein Lied\n".encode() * 100, "is a text file"),
            (b"#EXTM3U\nhttp://example.com/a.ts\n", "is a text file"),
        ],
    )
    def test_empty_files_and_text(
        self, tmp_path: Path, read: object, content: bytes, message: str
    ) -> None:
        path = tmp_path / "x.mp3"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read(path)  # type: ignore[operator]

    @pytest.mark.parametrize("suffix", ["wav", "raw", "m4a", "bin"])
    @pytest.mark.parametrize("has_ffmpeg", [False, pytest.param(True, marks=needs_ffmpeg)])
    def test_rubbish(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        read: object,
        suffix: str,
        has_ffmpeg: bool,
    ) -> None:
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(np.random.default_rng(0).bytes(3000))
        if not has_ffmpeg:
            hide_ffmpeg(monkeypatch)
        with pytest.raises(ValueError, match="cannot be read") as caught:
            read(path)  # type: ignore[operator]
        message = str(caught.value)
        assert "\n" not in message
        assert ('pip install "jukebox-hf[formats]"' in message) is not has_ffmpeg
        assert ("install it with `apt install ffmpeg`" in message) is not has_ffmpeg
        assert "Errno" not in message


def test_files_without_samples_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((0, 1)), 44100)
    with pytest.raises(ValueError, match="holds no samples"):
        load_audio(tmp_path / "x.wav", 44100)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001])
def test_absurd_sampling_rates_are_damage(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((10, 1)), rate)
    with pytest.raises(ValueError, match=f"sampling rate of {rate} Hz, expected 1000 to 1000000"):
        load_audio(tmp_path / "x.wav", 44100)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every file can be read here")
def test_unreadable_files_are_an_os_error(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.wav", noisy_sweep(100), 44100)
    path.chmod(0)
    with pytest.raises(PermissionError):
        load_audio(path, 44100)

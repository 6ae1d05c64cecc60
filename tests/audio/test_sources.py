"""Any run of samples of a file equals the same run of a full decode, whatever was read before."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from jukebox_hf.audio import mp3
from jukebox_hf.audio.sources import VORBIS_TAIL, SoundFileSource, open_source
from jukebox_hf.audio.splicing import Spliced

from .sounds import decode_at_once, noisy_sweep, write_file

LOW = {"bitrate_mode": "CONSTANT", "compression_level": 0.99}  # 32 kbit/s: long bit reservoirs
FILES = {
    "wav": ("x.wav", 44100, 2, {}),
    "flac": ("x.flac", 96000, 2, {"subtype": "PCM_24"}),
    "mp3, low bit rate": ("x.mp3", 44100, 1, LOW),
    "mp3, low bit rate, stereo": ("x.mp3", 48000, 2, LOW),
    "mp3, high bit rate": ("x.mp3", 44100, 2, {"bitrate_mode": "CONSTANT", "compression_level": 0}),
    "mp3, variable bit rate": ("x.mp3", 44100, 1, {"bitrate_mode": "VARIABLE"}),
    "mp3, MPEG-2": ("x.mp3", 22050, 1, LOW),
    "mp3, MPEG-2.5": ("x.mp3", 8000, 1, LOW),
    "ogg": ("x.ogg", 44100, 1, {"subtype": "VORBIS"}),
    "ogg, stereo": ("x.ogg", 22050, 2, {"subtype": "VORBIS"}),
    "opus": ("x.opus", 48000, 1, {"format": "OGG", "subtype": "OPUS"}),
    "five point one": ("x.wav", 8000, 6, {"subtype": "FLOAT"}),
}


def as_counted(path: Path) -> Path | BytesIO:
    """What a full decode is to read: of an mp3 perhaps with its frames counted."""
    if path.suffix != ".mp3":
        return path
    with path.open("rb") as file:
        layout = mp3.survey(file)
        if layout is None or not layout.parts:
            return path
        (part,) = layout.parts
        return BytesIO(Spliced(file, part.pieces).read())


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_every_run_of_samples_is_exact(
    tmp_path: Path, name: str, on_disk: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    file_name, rate, channels, options = FILES[name]
    path = write_file(
        tmp_path / file_name, noisy_sweep(4 * rate + 5, rate, channels), rate, **options
    )  # type: ignore[arg-type]
    whole = decode_at_once(as_counted(path))
    generator = np.random.default_rng(1)
    content = path.read_bytes()
    if not on_disk:
        path.unlink()
    open_content = None if on_disk else lambda: BytesIO(content)
    with open_source(path, open_content) as source:  # type: ignore[attr-defined]
        assert (source.sampling_rate, source.channels) == (rate, channels)
        assert source.num_samples == len(whole)
        position = 0
        for turn in range(12):  # jumps, reads on, and the end of the file
            start = position if turn % 4 == 1 else int(generator.integers(0, len(whole)))
            start = len(whole) - 700 if turn % 4 == 3 else start
            samples = source.read(start, 1500)
            expected = whole[start : start + 1500]
            position = start + len(samples)
            assert samples.shape == expected.shape
            np.testing.assert_allclose(samples, expected, atol=2e-6)
    assert capfd.readouterr().err == ""  # the decoders say nothing


@pytest.mark.parametrize("name", FILES)
def test_overlapping_reads_are_exact_and_do_not_go_back(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_name, rate, channels, options = FILES[name]
    path = write_file(tmp_path / file_name, noisy_sweep(2 * rate, rate, channels), rate, **options)
    whole = decode_at_once(as_counted(path))
    with SoundFileSource(path) as source:
        source.read(rate // 2, 100)
        opened: list[int] = []
        real = source._open
        monkeypatch.setattr(source, "_open", lambda: opened.append(1) or real())
        for start in range(rate // 2, len(whole), rate // 7):
            for length in (rate // 5, 50):  # on, and back
                expected = whole[start : start + length]
                np.testing.assert_allclose(source.read(start, length), expected, atol=2e-6)
        assert not opened


def test_the_last_page_of_a_long_ogg_is_exact(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.ogg", noisy_sweep(VORBIS_TAIL + 88200), 44100, subtype="VORBIS")
    whole = decode_at_once(path)
    with SoundFileSource(path) as source:
        for start in (len(whole) - 900, 60_000, len(whole) - 1, 100, len(whole) - 20_000):
            np.testing.assert_array_equal(source.read(start, 1000), whole[start : start + 1000])


@pytest.mark.parametrize("rate", [44100, 22050])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_that_does_not_count_its_frames_is_read_whole(
    tmp_path: Path, rate: int, channels: int
) -> None:
    sound = noisy_sweep(6 * rate, rate, channels)
    sound[:, : 3 * rate] *= 0.001  # the first half needs fewer bits than the second
    path = write_file(tmp_path / "x.mp3", sound, rate, bitrate_mode="VARIABLE")
    assert as_counted(path) == path
    content = path.read_bytes()
    second_frame = content.index(b"\xff\xfb" if rate == 44100 else b"\xff\xf3", 4)
    headless = tmp_path / "headless.mp3"
    headless.write_bytes(content[second_frame:])
    assert abs(len(decode_at_once(headless)) - 6 * rate) > 5000  # what soundfile makes of it
    whole = decode_at_once(as_counted(headless))
    frame = 1152 if rate == 44100 else 576
    assert len(whole) % frame == 0  # all that the frames hold, as players have it
    assert 0 < len(whole) - 6 * rate < 3000  # the encoder's delay and the last frame
    # and the music stands where it does with the frame, behind the encoder's delay
    reference = decode_at_once(path)[:, 0]
    late = np.correlate(whole[: 5 * frame, 0], reference[frame : 2 * frame]).argmax() - frame
    assert late in (1105, 576 + 529)
    with open_source(headless) as source:  # type: ignore[attr-defined]
        assert source.num_samples == len(whole)
        for start in (0, 5 * rate, 3 * rate, len(whole) - 50):
            np.testing.assert_allclose(
                source.read(start, 999), whole[start : start + 999], atol=1e-6
            )


def test_frames_are_counted_past_tags_and_damage(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.mp3", noisy_sweep(88200), 44100, bitrate_mode="VARIABLE")
    content = path.read_bytes()
    frames = content[content.index(b"\xff\xfb", 4) :]
    (tmp_path / "plain.mp3").write_bytes(frames)
    plain = open_source(tmp_path / "plain.mp3").num_samples
    tag = b"ID3\x03\x00\x00\x00\x00\x02\x00" + bytes(256)
    (tmp_path / "tagged.mp3").write_bytes(tag + frames + b"TAG" + bytes(125))
    assert open_source(tmp_path / "tagged.mp3").num_samples == plain
    (tmp_path / "dirty.mp3").write_bytes(
        frames[:20_000] + b"\xff\xfa rubbish \xff" + frames[20_000:]
    )
    assert abs(open_source(tmp_path / "dirty.mp3").num_samples - plain) <= 2 * 1152


def test_reading_past_the_end_gives_what_is_there(tmp_path: Path, sound: Tensor) -> None:
    path = write_file(tmp_path / "x.wav", sound, 44100)
    with SoundFileSource(path) as source:
        assert source.read(sound.shape[1] - 3, 100).shape == (3, 1)
        assert source.read(sound.shape[1], 100).shape == (0, 1)
        assert source.read(10**9, 100).shape == (0, 1)


@pytest.fixture
def sound() -> Tensor:
    return noisy_sweep(5000)

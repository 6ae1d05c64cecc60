"""The files people have: lengths that lie, joined and cut songs, damage, absurd levels.

Every file is made here from sound that is known, so that what is read can be compared with it.
"""

import logging
import re
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from jukebox_hf.audio import AudioReader, audio_info, load_audio
from jukebox_hf.audio.flac import _checksums_16, _parse_frame, _read_opening
from jukebox_hf.audio.splicing import Content

from .sounds import cut_without_encoding, noisy_sweep, transcode, write_file

RATE = 44100
SECONDS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song in every format that soundfile writes."""
    folder = tmp_path_factory.mktemp("songs")
    sound = noisy_sweep(SECONDS * RATE, channels=2)
    sound[:, : 3 * RATE] *= 0.1  # at a variable bit rate: fewer bits than the rest
    write_file(folder / "song.wav", sound, RATE, subtype="PCM_16")
    write_file(folder / "song.flac", sound, RATE)
    write_file(folder / "song.ogg", sound, RATE, subtype="VORBIS")
    write_file(
        folder / "song.opus", noisy_sweep(SECONDS * 48000), 48000, format="OGG", subtype="OPUS"
    )
    write_file(folder / "song.mp3", sound, RATE, bitrate_mode="VARIABLE", compression_level=0.5)
    write_file(folder / "mono.mp3", noisy_sweep(2 * 22050, 22050), 22050, bitrate_mode="CONSTANT")
    return folder


def frames_of_mp3(content: bytes) -> bytes:
    """The frames behind the one that counts them."""
    first = content.index(b"\xff\xfb")
    return content[content.index(b"\xff\xfb", first + 4) :]


def tag(size: int) -> bytes:
    """An ID3v2 tag."""
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


def check_parts(path: Path, rate: int = 22050) -> Tensor:
    """A part of a file is that slice of the whole; gives the whole."""
    whole = load_audio(path, rate)
    length = whole.shape[1] / rate
    with AudioReader(path, rate, warns=False) as reader:
        assert reader.num_samples == whole.shape[1]
        for start in (0.7 * length, 0.2, 0.45 * length, length - 0.6):
            first = round(start * rate)
            wanted = whole[:, first : first + rate // 2]
            found = reader.read_available(first, rate // 2)
            torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)
            alone = load_audio(path, rate, start_seconds=start, end_seconds=start + 0.5)
            torch.testing.assert_close(
                alone, whole[:, first : first + alone.shape[1]], atol=2e-6, rtol=0
            )
    assert audio_info(path).duration_seconds == pytest.approx(length, abs=1e-4)
    return whole


def notes(path: Path) -> str:
    """What is said of a file that is read to its end."""
    with AudioReader(path, 22050, warns=False) as reader:
        for _ in reader.blocks(22050):
            pass
        return "\n".join(reader.notes)


# --- mp3 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prepare",
    [
        lambda frames, head: frames,
        lambda frames, head: tag(300) + tag(5000) + frames,
        lambda frames, head: tag(300) + b"rubbish" * 27 + frames,
        lambda frames, head: tag(50) + frames + b"APETAGEX" + bytes(24) + b"TAG" + bytes(125),
        lambda frames, head: head(flags=0) + frames,
        lambda frames, head: head(count=0) + frames,
        lambda frames, head: head(count=40) + frames,
    ],
    ids=[
        "bare frames",
        "two tags",
        "rubbish behind a tag",
        "tags at the end",
        "a header without a count",
        "a header that counts none",
        "a header that counts too few",
    ],
)
def test_all_of_an_mp3_is_read(
    folder: Path, tmp_path: Path, prepare: Callable[..., bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    content = (folder / "song.mp3").read_bytes()
    frames = frames_of_mp3(content)

    def head(flags: int | None = None, count: int | None = None) -> bytes:
        opening = bytearray(content[content.index(b"\xff\xfb") : -len(frames)])
        at = opening.index(b"Xing") + 4
        if flags is not None:
            opening[at : at + 4] = struct.pack(">I", flags)
        if count is not None:
            opening[at + 4 : at + 8] = struct.pack(">I", count)
        return bytes(opening)

    path = tmp_path / "x.mp3"
    path.write_bytes(prepare(frames, head))
    whole = check_parts(path)
    assert SECONDS <= whole.shape[1] / 22050 < SECONDS + 0.1
    assert "missing" not in notes(path)
    assert capfd.readouterr().err == ""  # of the decoder


def test_a_counted_mp3_is_read_without_the_encoders_delay(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.mp3").read_bytes()
    (tmp_path / "x.mp3").write_bytes(tag(100) + tag(200) + content)
    whole = load_audio(tmp_path / "x.mp3", RATE)
    assert torch.equal(whole, load_audio(folder / "song.mp3", RATE))
    assert whole.shape[1] == SECONDS * RATE


def test_an_mp3_with_less_than_its_header_counts_says_how_much_is_missing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = (folder / "song.mp3").read_bytes()
    path = tmp_path / "x.mp3"
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        found = load_audio(path, RATE)
    seconds = found.shape[1] / RATE
    assert f"{path}: it ends after " in caplog.text
    assert f"{8.05 - seconds:.0f}." in caplog.text
    assert "seconds are missing" in caplog.text


def test_joined_and_changing_mp3s_are_read_to_the_end(folder: Path, tmp_path: Path) -> None:
    song, mono = ((folder / name).read_bytes() for name in ("song.mp3", "mono.mp3"))
    path = tmp_path / "x.mp3"
    path.write_bytes(mono + tag(400) + song + song)
    whole = check_parts(path, RATE)
    alone = load_audio(folder / "song.mp3", RATE)
    assert whole.shape[1] == 2 * RATE + 2 * SECONDS * RATE
    torch.testing.assert_close(
        whole[:, 2 * RATE :], torch.cat([alone, alone], 1), atol=1e-6, rtol=0
    )
    assert "all became 44100 Hz with 2 channels" in notes(path)
    stereo = load_audio(path, RATE, mono=False)
    assert torch.equal(stereo[0, : 2 * RATE], stereo[1, : 2 * RATE])


@pytest.mark.parametrize("damage", [bytes(6000), np.random.default_rng(3).bytes(6000)])
def test_an_mp3_is_read_on_behind_a_hole(
    folder: Path, tmp_path: Path, damage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((folder / "song.mp3").read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(damage)] = damage
    path = tmp_path / "x.mp3"
    path.write_bytes(content)
    whole = check_parts(path)
    assert SECONDS - 1 < whole.shape[1] / 22050 < SECONDS - 0.2
    found = load_audio(path, RATE)
    end = load_audio(folder / "song.mp3", RATE)[0, -RATE:]
    behind = found[0, -RATE - 4000 :]  # with what the encoder added at the end
    at = int(np.correlate(behind.numpy(), end[:5000].numpy()).argmax())
    torch.testing.assert_close(behind[at : at + RATE], end, atol=1e-4, rtol=0)
    assert found.abs().max() < 1  # nothing was decoded from the wrong bits
    said = notes(path)
    assert "bytes after " in said
    assert "were left out, about 0." in said
    assert capfd.readouterr().err == ""


# --- FLAC --------------------------------------------------------------------------------------


def test_a_cut_flac_has_its_parts_where_they_are(folder: Path, tmp_path: Path) -> None:
    path = cut_without_encoding(folder / "song.flac", tmp_path / "x.flac", 3.0)
    whole = check_parts(path, RATE)
    original = load_audio(folder / "song.flac", RATE)
    assert torch.equal(whole, original[:, -whole.shape[1] :])
    assert whole.shape[1] > 4.8 * RATE
    with pytest.raises(ValueError, match="lasts 4"):
        load_audio(path, RATE, start_seconds=5.1)
    assert notes(path) == ""


def test_joined_flacs_are_read_to_the_end(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.flac").read_bytes()
    path = tmp_path / "x.flac"
    path.write_bytes(content + content)
    original = load_audio(folder / "song.flac", RATE)
    assert torch.equal(check_parts(path, RATE), torch.cat([original, original], dim=1))


@pytest.mark.parametrize("num_bytes", [1, 30_000])
def test_damage_in_a_flac_becomes_silence_of_its_length(
    folder: Path, tmp_path: Path, num_bytes: int
) -> None:
    content = bytearray((folder / "song.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + num_bytes] = bytes(b ^ 0x5A for b in content[middle:][:num_bytes])
    path = tmp_path / "x.flac"
    path.write_bytes(content)
    original = load_audio(folder / "song.flac", RATE)
    whole = check_parts(path, RATE)
    assert whole.shape == original.shape
    different = (whole != original)[0].nonzero()[:, 0]
    lost = (int(different[-1]) - int(different[0])) / RATE
    assert 0.05 < lost < 1
    place = int(different[0]) / RATE
    said = notes(path)
    assert "are damaged; silence stands in their place" in said
    assert float(said.split(": ")[1].split()[0]) == pytest.approx(lost, abs=0.02)
    assert float(said.split(" after ")[1].split()[0]) == pytest.approx(place, abs=0.02)


def test_a_flac_that_does_not_say_how_long_it_is(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "song.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path = tmp_path / "x.flac"
    path.write_bytes(content)
    assert torch.equal(check_parts(path, RATE), load_audio(folder / "song.flac", RATE))
    assert notes(path) == ""


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize(
    "behind", [b"TAG" + bytes(125), b"ID3\x03\0\0\0\0\x02\0" + bytes(256), bytes(range(256)) * 40]
)
def test_what_stands_behind_a_flac_costs_no_sound(
    folder: Path, tmp_path: Path, behind: bytes, says_length: bool
) -> None:
    content = bytearray((folder / "song.flac").read_bytes())
    if not says_length:
        content[21] &= 0xF0
        content[22:26] = bytes(4)
    original = load_audio(folder / "song.flac", RATE)
    path = tmp_path / "x.flac"
    for times in (1, 2):
        path.write_bytes((content + behind) * times)
        assert torch.equal(check_parts(path, RATE), torch.cat([original] * times, dim=1))
        assert notes(path) == ""


def test_a_flac_without_a_length_says_that_its_last_frame_is_not_whole(
    folder: Path, tmp_path: Path
) -> None:
    content = bytearray((folder / "song.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path = tmp_path / "x.flac"
    path.write_bytes(content[:-100])
    lost = SECONDS - check_parts(path, RATE).shape[1] / RATE
    assert 0 < lost < 0.2
    assert re.search(
        rf"its last [\d,]+ bytes are not whole and were left out, about {lost:.2f} s", notes(path)
    )


def test_checksums_of_frames_are_those_of_the_encoder(folder: Path) -> None:
    with (folder / "song.flac").open("rb") as file:
        content = Content(file)
        opening = _read_opening(content, 0)
        assert opening is not None
        info, start = opening
        frames = [_parse_frame(content, at, info) for at in range(start, start + 60_000)]
        starts = [frame.start for frame in frames if frame is not None]
        assert len(starts) > 3
        data = [content.at(a, b - a) for a, b in pairwise(starts)]
        assert set(_checksums_16(data)) == {0}
        assert _checksums_16([data[0][:100] + b"\x01" + data[0][101:]]) != [0]


# --- Ogg ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["song.ogg", "song.opus"])
class TestOgg:
    def test_cut(self, folder: Path, tmp_path: Path, name: str) -> None:
        path = cut_without_encoding(folder / name, tmp_path / name, 3.1)
        whole = check_parts(path)
        assert 4.3 < whole.shape[1] / 22050 <= 4.95
        original = load_audio(folder / name, 22050)
        torch.testing.assert_close(whole[:, -30_000:], original[:, -30_000:], atol=2e-3, rtol=0)
        assert notes(path) == ""

    def test_joined(self, folder: Path, tmp_path: Path, name: str) -> None:
        cut = cut_without_encoding(folder / name, tmp_path / f"cut_{name}", 3.1)
        path = tmp_path / name
        path.write_bytes((folder / name).read_bytes() + cut.read_bytes())
        original, rest = load_audio(folder / name, 48000), load_audio(cut, 48000)
        rate = audio_info(path).sampling_rate
        assert audio_info(path).duration_seconds < 14
        whole = check_parts(path, rate)
        expected = torch.cat([load_audio(folder / name, rate), load_audio(cut, rate)], dim=1)
        torch.testing.assert_close(whole, expected, atol=2e-6, rtol=0)
        assert original.shape[1] > rest.shape[1]

    def test_hole(self, folder: Path, tmp_path: Path, name: str) -> None:
        content = bytearray((folder / name).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 6000] = bytes(6000)
        path = tmp_path / name
        path.write_bytes(content)
        original, whole = load_audio(folder / name, 22050), check_parts(path)
        assert abs(original.shape[1] - whole.shape[1]) < 0.02 * 22050
        end = min(original.shape[1], whole.shape[1])
        late = slice(end - 22050, end - 2000)
        torch.testing.assert_close(whole[:, late], original[:, late], atol=2e-3, rtol=0)
        said = notes(path)
        assert "are damaged; silence stands in their place" in said

    def test_cut_off(self, folder: Path, tmp_path: Path, name: str) -> None:
        content = (folder / name).read_bytes()
        pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
        path = tmp_path / name
        path.write_bytes(content[: pages[-1] - 10])  # in the middle of a page
        assert 1 < check_parts(path).shape[1] / 22050 < SECONDS
        assert "are not whole and were left out, about " in notes(path)
        path.write_bytes(content + b"TAG" + bytes(125))
        assert notes(path) == ""


# --- wav and others ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 1000, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 44])
def test_sizes_in_a_wav_are_not_believed(folder: Path, tmp_path: Path, size: int) -> None:
    content = bytearray((folder / "song.wav").read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = struct.pack("<I", size)
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    assert torch.equal(check_parts(path, RATE), load_audio(folder / "song.wav", RATE))
    assert notes(path) == ""


def test_titles_behind_the_sound_of_a_wav_are_no_sound(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.wav").read_bytes()
    chunk = b"LIST" + struct.pack("<I", 100_000) + bytes(100_000)
    path = tmp_path / "x.wav"
    path.write_bytes(content + chunk)
    assert load_audio(path, RATE).shape == (1, SECONDS * RATE)


def test_joined_wavs_are_read_to_the_end(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.wav").read_bytes()
    path = tmp_path / "x.wav"
    path.write_bytes(content + content)
    original = load_audio(folder / "song.wav", RATE)
    assert torch.equal(check_parts(path, RATE), torch.cat([original, original], dim=1))


def test_sound_in_two_chunks_of_a_wav_is_read_to_the_end(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.wav").read_bytes()
    at = content.index(b"data") + 8
    half = at + (len(content) - at) // 2 // 4 * 4
    chunks = [content[at:half], content[half:]]
    path = tmp_path / "x.wav"
    sound = b"".join(b"data" + struct.pack("<I", len(chunk)) + chunk for chunk in chunks)
    path.write_bytes(content[: at - 8] + sound)
    assert torch.equal(check_parts(path, RATE), load_audio(folder / "song.wav", RATE))


def test_a_chunk_of_odd_size_may_lack_its_last_byte(folder: Path, tmp_path: Path) -> None:
    content = (folder / "song.wav").read_bytes()
    at = content.index(b"data")
    title = b"LIST" + struct.pack("<I", 15) + b"INFOINAM\x03\0\0\0one"
    path = tmp_path / "x.wav"
    path.write_bytes(content[:at] + title + content[at:])
    assert torch.equal(check_parts(path, RATE), load_audio(folder / "song.wav", RATE))
    path.write_bytes(content[:at] + title + b"\0" + content[at:])
    assert torch.equal(load_audio(path, RATE), load_audio(folder / "song.wav", RATE))


@pytest.mark.parametrize("subtype", ["PCM_16", "IMA_ADPCM", "GSM610"])
def test_bytes_per_second_of_a_wav_are_not_believed(tmp_path: Path, subtype: str) -> None:
    path = write_file(tmp_path / "x.wav", noisy_sweep(4 * 8000, 8000), 8000, subtype=subtype)
    content = path.read_bytes()
    at = content.index(b"fmt ") + 16
    content = content[:at] + struct.pack("<I", 7) + content[at + 4 :]
    path.write_bytes(content[: len(content) // 2])
    assert load_audio(path, 8000).shape[1] == pytest.approx(2 * 8000, abs=1100)
    ends, promised, missing = map(float, re.findall(r"\d+\.\d+", notes(path).split(": ", 1)[1]))
    assert (ends, promised, missing) == pytest.approx((2, 4, 2), abs=0.2)


def test_mp3_in_a_wav_is_as_long_as_what_comes_out(folder: Path, tmp_path: Path) -> None:
    frames = frames_of_mp3((folder / "song.mp3").read_bytes())
    chunk = struct.pack("<HHIIHHHHIHHH", 0x55, 2, RATE, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(chunk)) + chunk
    body += b"fact" + struct.pack("<II", 4, (SECONDS + 3) * RATE)
    body += b"data" + struct.pack("<I", len(frames)) + frames
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert check_parts(path).shape[1] / 22050 == pytest.approx(SECONDS, abs=0.1)
    assert notes(path) == ""


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "caf", "rf64"])
def test_what_is_missing_at_the_end_is_said_in_seconds(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    write_file(path, noisy_sweep(4 * RATE), RATE, format=suffix.upper())
    assert notes(path) == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    assert load_audio(path, RATE).shape[1] == pytest.approx(RATE, abs=3000)
    said = notes(path)
    assert "it ends after 1.00 seconds, although its header promises 4.00" in said or (
        "it ends after 0.9" in said
    )
    assert "seconds are missing" in said


def test_a_wav_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """Its size has lost its upper bits; the file has holes, so that it takes no room."""
    path = tmp_path / "x.wav"
    write_file(path, noisy_sweep(1000, 48000, channels=2), 48000, subtype="FLOAT")
    head = path.read_bytes()
    end = noisy_sweep(48000, 48000, channels=2, seed=5)
    size = 4_400_000_000 // 8 * 8
    try:
        with path.open("r+b") as file:
            file.seek(head.index(b"data") + 4)
            file.write(struct.pack("<I", size & 0xFFFFFFFF))
            file.seek(head.index(b"data") + 8 + size - 48000 * 8)
            file.write(end.numpy().T.astype("<f4").tobytes())
    except OSError as error:
        pytest.skip(f"no such large file here: {error}")
    seconds = size / 8 / 48000
    assert audio_info(path).duration_seconds == pytest.approx(seconds)
    with AudioReader(path, 48000, mono=False) as reader:
        assert torch.equal(reader.read_available(size // 8 - 48000, 48000), end)
        assert reader.notes == ()


KINDS = sorted(
    (container, subtype)
    for container in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(container)
    if soundfile.check_format(container, subtype)
    and container not in ("RAW", "SD2", "MPEG")  # headerless; a file of its own beside
)


@pytest.mark.parametrize(("container", "subtype"), KINDS, ids=["-".join(kind) for kind in KINDS])
def test_a_part_is_that_slice_in_all_that_soundfile_writes(
    tmp_path: Path, container: str, subtype: str
) -> None:
    rate = 8000
    path = tmp_path / f"x.{container.lower()}"
    try:
        length = 12 * rate if container == "XI" else 2 * rate  # its rate is always 44100 Hz
        write_file(path, noisy_sweep(length, rate), rate, format=container, subtype=subtype)
    except (soundfile.LibsndfileError, AssertionError) as error:
        pytest.skip(f"libsndfile does not write it after all: {error}")
    check_parts(path, rate)


def test_gsm_has_no_seeking_and_is_read_from_the_start(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.wav", noisy_sweep(3 * 8000, 8000), 8000, subtype="GSM610")
    assert load_audio(path, 22050, start_seconds=1.0).shape[1] / 22050 == pytest.approx(2, abs=0.1)
    check_parts(path)


# --- levels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "subtype"), [(16, "FLOAT"), (24, "FLOAT"), (32, "DOUBLE")])
def test_floats_in_units_of_integers_are_scaled_back(
    tmp_path: Path, bits: int, subtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    sound = noisy_sweep(3 * RATE)
    sound[:, :RATE] *= 1e-4  # what comes first is no measure
    path = write_file(tmp_path / "x.wav", sound * 2.0 ** (bits - 1), RATE, subtype=subtype)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(load_audio(path, RATE), sound, atol=1e-6, rtol=0)
    assert f"{path}: its samples are floats in the units of {bits}-bit integers" in caplog.text
    check_parts(path, RATE)


def test_faint_sound_in_units_of_integers_is_no_loud_sound(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x.wav", 40 * noisy_sweep(RATE), RATE, subtype="FLOAT")
    assert load_audio(path, RATE).abs().max() < 0.01


def test_a_click_does_not_make_a_song_one_of_integers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = noisy_sweep(3 * RATE)
    sound[0, RATE : RATE + 5] = 30_000
    path = write_file(tmp_path / "x.wav", sound, RATE, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(load_audio(path, RATE), sound)
    assert f"{path}: it reaches 3e+04 times full scale" in caplog.text


def test_loud_floats_are_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound = 10 * noisy_sweep(RATE)
    path = write_file(tmp_path / "x.wav", sound, RATE, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(load_audio(path, RATE), sound)
    assert f"{path}: it reaches {sound.abs().max():.3g} times full scale" in caplog.text


def test_silence_and_channels_that_cancel_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = noisy_sweep(RATE)
    opposite = write_file(tmp_path / "o.wav", torch.cat([sound, -sound]), RATE, subtype="FLOAT")
    silent = write_file(tmp_path / "s.wav", torch.zeros(2, RATE), RATE)
    with caplog.at_level(logging.WARNING):
        load_audio(opposite, RATE)
        load_audio(silent, RATE)
        load_audio(opposite, RATE, mono=False)
    first, second = caplog.messages
    assert "o.wav: its channels cancel each other out" in first
    assert "s.wav: it is silent, there is nothing to hear" in second


def test_a_reader_that_does_not_warn_keeps_its_notes(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = (folder / "song.wav").read_bytes()
    path = tmp_path / "x.wav"
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING), AudioReader(path, 22050, warns=False) as reader:
        (note,) = reader.notes
    assert note == (
        f"{path}: it ends after 4.00 seconds, although its header promises 8.00: "
        "4.00 seconds are missing"
    )
    assert caplog.messages == []


def test_songs_inside_tables_are_looked_through_as_files_are(folder: Path, tmp_path: Path) -> None:
    from io import BytesIO

    path = cut_without_encoding(folder / "song.flac", tmp_path / "x.flac", 3.0)
    content = path.read_bytes()
    whole = load_audio(path, 22050)
    with AudioReader("cell.flac", 22050, open_content=lambda: BytesIO(content)) as reader:
        assert reader.num_samples == whole.shape[1]
        found = reader.read_available(50_000, 5000)
        torch.testing.assert_close(found, whole[:, 50_000:55_000], atol=1e-6, rtol=0)


def test_an_mp3_in_a_video_is_left_to_ffmpeg(tmp_path: Path) -> None:
    path = transcode(noisy_sweep(RATE), tmp_path / "x.avi", RATE, "mp3")
    assert audio_info(path).format == "avi"
    check_parts(path)

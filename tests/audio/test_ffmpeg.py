"""The formats of FFmpeg, as the package `av` and as programs: the same sound, and safely."""

import importlib
import os
import re
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from jukebox_hf.audio import (
    AudioReader,
    AudioTags,
    audio_info,
    ffmpeg,
    load_audio,
    read_tags,
    save_audio,
)
from jukebox_hf.audio.sources import open_source

from .sounds import (
    cut_without_encoding,
    hide_library,
    hide_programs,
    needs_library,
    needs_programs,
    noisy_sweep,
    transcode,
)

WAYS = [
    pytest.param("library", marks=needs_library),
    pytest.param("programs", marks=[needs_programs, pytest.mark.ffmpeg]),
]
KINDS = [
    ("x.m4a", "aac", None),
    ("alac.m4a", "alac", None),
    ("x.aac", "aac", "adts"),
    ("x.wma", "wmav2", None),
    ("x.mkv", "aac", None),
    ("x.webm", "libopus", None),
    ("x.mp4", "aac", None),
    ("x.ac3", "ac3", None),
    ("x.tta", "tta", None),
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One way to FFmpeg, the other hidden; the lengths that the other found are forgotten."""
    (hide_programs if request.param == "library" else hide_library)(monkeypatch)
    monkeypatch.setattr(ffmpeg, "_COUNTED", {})
    return str(request.param)


@pytest.mark.parametrize(("name", "codec", "container"), KINDS)
@needs_library
def test_a_part_is_that_slice_of_the_whole(
    tmp_path: Path, way: str, name: str, codec: str, container: str | None
) -> None:
    sound = noisy_sweep(3 * 48000, 48000, channels=2)
    path = transcode(sound, tmp_path / name, 48000, codec, container=container)
    info = audio_info(path)
    assert (info.sampling_rate, info.channels) == (48000, 2)
    assert info.duration_seconds == pytest.approx(3.0, abs=0.1)
    whole = load_audio(path, 44100)
    assert whole.shape[1] == pytest.approx(info.duration_seconds * 44100, abs=1)
    reference = float(sound.mean(0).square().mean().sqrt())
    assert float(whole.square().mean().sqrt()) == pytest.approx(reference, rel=0.1)
    for start in (0.5, 0.0, 2.1):
        part = load_audio(path, 44100, start_seconds=start, end_seconds=start + 0.5)
        first = round(start * 44100)
        torch.testing.assert_close(part, whole[:, first : first + 22050], atol=1e-6, rtol=0)


@needs_library
@pytest.mark.parametrize("name", ["x.mkv", "x.m4a"])
def test_what_was_cut_without_encoding_begins_at_its_own_beginning(
    tmp_path: Path, way: str, name: str
) -> None:
    source = transcode(noisy_sweep(4 * 44100), tmp_path / f"source_{name}", 44100, "aac")
    path = cut_without_encoding(source, tmp_path / name, 1.5)
    whole = load_audio(path, 44100)
    assert 2.3 < whole.shape[1] / 44100 < 2.6
    part = load_audio(path, 44100, start_seconds=1, end_seconds=1.5)
    torch.testing.assert_close(part, whole[:, 44100 : 44100 + 22050], atol=1e-6, rtol=0)


@needs_library
def test_24_bits_are_kept_to_the_last(tmp_path: Path, way: str) -> None:
    integers = torch.tensor([[-(2**23), -3, -2, -1, 0, 1, 2, 3, 2**23 - 1]]).repeat(1, 600)
    exact = integers / 2.0**23
    path = transcode(exact, tmp_path / "x.m4a", 44100, "alac", sample_format="s32p")
    assert torch.equal(load_audio(path, 44100)[:, : exact.shape[1]], exact)


@needs_library
def test_bare_aac_has_the_length_that_it_has(tmp_path: Path, way: str) -> None:
    sound = noisy_sweep(6 * 44100)
    sound[:, 44100:] *= 0  # far fewer bits than at the beginning, from which lengths are guessed
    path = transcode(sound, tmp_path / "x.aac", 44100, "aac", container="adts")
    assert audio_info(path).duration_seconds == pytest.approx(6.0, abs=0.1)
    content = path.read_bytes()
    path.write_bytes(content + content)
    assert audio_info(path).duration_seconds == pytest.approx(12.0, abs=0.2)


@needs_library
def test_damage_is_skipped_and_said(tmp_path: Path) -> None:
    path = transcode(noisy_sweep(4 * 44100), tmp_path / "x.aac", 44100, "aac", container="adts")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    source = open_source(path)
    lost = 4.05 - source.num_samples / 44100
    assert 0.05 < lost < 1
    (note,) = source.notes
    assert "are damaged and were left out" in note
    assert float(note.split()[0]) == pytest.approx(lost, abs=0.15)
    assert 1 < float(note.split(" from ")[1].split()[0]) < 3


@needs_library
def test_what_a_header_promises_in_vain_is_said_in_seconds(tmp_path: Path, way: str) -> None:
    path = transcode(
        noisy_sweep(6 * 44100), tmp_path / "x.m4a", 44100, "aac", options={"movflags": "faststart"}
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = open_source(path)
    assert 2 < source.num_samples / 44100 < 4
    assert any("although its header promises 6.0" in note for note in source.notes)


@needs_library
def test_a_video_without_sound_is_refused(tmp_path: Path, way: str) -> None:
    av = importlib.import_module("av")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"silent\.mp4 cannot be read .* holds no sound"):
        load_audio(path, 44100)


@pytest.mark.parametrize("suffix", ["m4a", "aac"])
def test_written_and_read_again(tmp_path: Path, way: str, suffix: str) -> None:
    sound = noisy_sweep(48000, channels=2)
    tags = AudioTags(title="Tïtle 坂本", artist="-i;|x", genre="Rock")
    report = save_audio(tmp_path / f"x.{suffix}", sound, 44100, tags=tags)
    assert report.unwritten_tags == (() if suffix == "m4a" else ("title", "artist", "genre"))
    if suffix == "m4a":
        assert read_tags(report.path)["title"] == "Tïtle 坂本"
    found = load_audio(report.path, 44100)
    assert found.shape[1] == pytest.approx(48000, abs=3100)
    level = float(sound.mean(0).square().mean().sqrt())
    assert float(found.square().mean().sqrt()) == pytest.approx(level, rel=0.05)


def test_names_that_look_like_addresses_are_files(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.m4a").write_bytes(b"\0\0\0\x20ftypM4A nothing")
    for name in (
        "concat:secret.m4a",
        "subfile,,start,0,end,9,,:secret.m4a",
        "-i.m4a",
        "http:x.m4a",
    ):
        report = save_audio("plain.m4a", noisy_sweep(22050), 44100, overwrite=True)
        os.replace(report.path, name)
        assert load_audio(name, 44100).shape[1] == pytest.approx(22050, abs=3000)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#\xff\xfe\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsong.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\n#\xff\xfe\nfile song.ts\n",
    ],
    ids=["HLS", "concat"],
)
@needs_library
def test_playlists_in_disguise_open_nothing(tmp_path: Path, way: str, content: bytes) -> None:
    transcode(noisy_sweep(44100), tmp_path / "song.ts", 44100, "aac")
    (tmp_path / "x.m4a").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as audio"):
        load_audio(tmp_path / "x.m4a", 44100)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for FFmpeg")
@pytest.mark.parametrize("stands_still", ["ffprobe", "ffmpeg"])
def test_ffmpeg_that_stands_still_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands_still: str
) -> None:
    hide_library(monkeypatch)
    monkeypatch.setattr(ffmpeg, "_COUNTED", {})
    monkeypatch.setattr(ffmpeg, "SILENT_SECONDS", 0.5)
    programs = {
        "ffprobe": 'echo \'{"streams": [{"sample_rate": "44100", "channels": 1}], "format": {}}\'',
        "ffmpeg": "true",
        stands_still: "exec sleep 60",
    }
    for name, line in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A \xff\xff")
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"x\.m4a"):
        load_audio(tmp_path / "x.m4a", 44100)
    assert time.monotonic() - begun < 20


@needs_library
@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.wma", "wmav2"), ("x.flv", "aac"), ("x.ts", "aac"), ("x.webm", "libopus")],
)
def test_a_hole_between_packets_is_said_once_and_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    hide_programs(monkeypatch)
    sound = noisy_sweep(6 * 48000, 48000) if codec == "libopus" else noisy_sweep(6 * 44100)
    rate = 48000 if codec == "libopus" else 44100
    path = transcode(sound, tmp_path / name, rate, codec)
    whole = load_audio(path, 22050).shape[1] / 22050
    with AudioReader(path, 22050, warns=False) as reader:
        assert not reader.notes
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    content[at : at + 8000] = np.random.default_rng(0).bytes(8000)
    path.write_bytes(content)
    lost = whole - load_audio(path, 22050).shape[1] / 22050
    assert lost > 0.3
    with AudioReader(path, 22050, warns=False) as reader:
        (note,) = reader.notes
    found = re.search(r"(\d+\.\d\d) seconds from (\d\.\d\d) seconds on are damaged", note)
    assert found is not None, note
    assert float(found[1]) == pytest.approx(lost, abs=0.1)
    assert 1.5 < float(found[2]) < 3.5


@needs_library
def test_a_wma_that_was_cut_off_says_how_much_is_missing(tmp_path: Path, way: str) -> None:
    path = transcode(noisy_sweep(6 * 44100), tmp_path / "x.wma", 44100, "wmav2")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with AudioReader(path, 22050, warns=False) as reader:
        assert "although its header promises 6.0" in reader.notes[-1]


@needs_library
@pytest.mark.parametrize(("codec", "container"), [("aac", "adts"), ("aac", "ipod")])
def test_what_is_called_mp3_and_is_not_is_left_to_ffmpeg_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], codec: str, container: str
) -> None:
    path = transcode(noisy_sweep(8 * 44100), tmp_path / "x.mp3", 44100, codec, container=container)
    assert load_audio(path, 22050).shape[1] / 22050 == pytest.approx(8, abs=0.1)
    assert capfd.readouterr().err == ""  # libmpg123 would complain there


@needs_library
def test_what_was_read_is_not_kept(tmp_path: Path, way: str) -> None:
    """Memory does not grow with the file: only what the last read gave is held."""
    path = transcode(noisy_sweep(20 * 22050, 22050), tmp_path / "x.m4a", 22050, "aac")
    source = open_source(path)
    assert isinstance(source, ffmpeg.DecodedSource)
    for start in range(0, source.num_samples - 30_000, 20_000):
        source.read(max(0, start - 2048), 22_000)
        assert len(source._recent) < 22_000 + 2 * ffmpeg.BLOCK_SAMPLES
    source.close()

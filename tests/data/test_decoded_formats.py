"""Formats that only FFmpeg reads are decoded once, and read exactly from then on."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from jukebox_hf.audio import load_audio, save_audio
from jukebox_hf.data import ClipDataset, open_songs
from tests.audio.sounds import hide_ffmpeg, needs_ffmpeg, noisy_sweep, transcode


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "music"
    folder.mkdir()
    transcode(noisy_sweep(3 * 44100, channels=2), folder / "a.m4a", 44100, "aac")
    return folder


@needs_ffmpeg
def test_clips_of_m4a_are_exact_and_decoded_once(music: Path, tmp_path: Path) -> None:
    whole = load_audio(music / "a.m4a", 22050, mono=True)
    (song,) = open_songs(music).songs
    assert song.path == music / "a.m4a"
    (decoded,) = (tmp_path / "cache" / "jukebox_hf" / "decoded").iterdir()
    written = decoded.stat().st_mtime_ns
    dataset = ClipDataset([song], sampling_rate=22050, clip_samples=5000, shift=True)
    for item in range(len(dataset)):
        clip = dataset[item]
        offset = clip["offset_samples"]
        expected = whole[:, offset : offset + 5000]
        assert (clip["audio"] - expected).abs().max() < 1e-6
    assert whole.shape[1] == clip["total_samples"]
    open_songs(music)
    assert decoded.stat().st_mtime_ns == written


@needs_ffmpeg
def test_changed_file_is_decoded_again(music: Path, tmp_path: Path) -> None:
    open_songs(music)
    transcode(noisy_sweep(2 * 44100), music / "a.m4a", 44100, "aac")
    (song,) = open_songs(music).songs
    assert song.duration_seconds == pytest.approx(2.0, abs=0.1)


@needs_ffmpeg
def test_m4a_inside_a_table_is_decoded_too(music: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    content = (music / "a.m4a").read_bytes()
    Dataset.from_dict({"audio": [{"bytes": content, "path": "x.m4a"}]}).save_to_disk(tmp_path / "t")
    (song,) = open_songs(tmp_path / "t").songs
    assert song.name == "x.m4a"
    with song.open(44100) as reader:
        whole = load_audio(music / "a.m4a", 44100)
        assert (reader.read(1000, 500).audio - whole[:, 1000:1500]).abs().max() < 1e-6


def test_missing_ffmpeg_skips_the_song_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ffmpeg(monkeypatch)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "music").mkdir()
    save_audio(tmp_path / "music" / "a.wav", noisy_sweep(44100), 44100)
    (tmp_path / "music" / "b.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A \xff\xff")
    found = open_songs(tmp_path / "music")
    assert [song.name for song in found.songs] == ["a.wav"]
    assert "jukebox-hf[formats]" in found.skipped[0].reason


@needs_ffmpeg
def test_what_is_wrong_with_a_decoded_song_is_said_every_time(music: Path) -> None:
    transcode(noisy_sweep(8 * 44100), music / "b.mka", 44100, "aac")
    content = (music / "b.mka").read_bytes()
    (music / "b.mka").write_bytes(content[: len(content) // 2])
    first = [note for note in open_songs(music).notes if note.startswith("b.mka: ")]
    assert len(first) == 1
    assert "seconds" in first[0]
    assert [note for note in open_songs(music).notes if note.startswith("b.mka: ")] == first

"""Clips are exact pieces of songs, the same whoever reads them, and damage is never fatal."""

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from jukebox_hf.audio import load_audio
from jukebox_hf.data import ClipDataset, Songs, measure_bandwidth, open_songs
from jukebox_hf.data.song_reading import blend_channels
from tests.data.song_files import RATE, damage, make_sound, write_song, write_songs


@pytest.fixture
def songs(tmp_path: Path) -> Songs:
    """Five minutes of nothing in particular: formats, rates and channels of all kinds."""
    write_song(tmp_path / "a.wav", 5.0, rate=RATE, channels=1, seed=1)
    write_song(tmp_path / "b.flac", 4.0, rate=3 * RATE, channels=2, seed=2)
    write_song(tmp_path / "c.ogg", 6.0, rate=8000, channels=2, seed=3)
    write_song(tmp_path / "d.mp3", 5.0, rate=44100, channels=2, seed=4)
    write_song(tmp_path / "e.opus", 4.0, rate=48000, channels=1, seed=5)
    write_song(tmp_path / "f.wav", 4.0, rate=1999, channels=6, seed=6)
    write_song(tmp_path / "g.wav", 0.5, seed=7)
    return open_songs(tmp_path)


def clips(songs: Songs, **changes: object) -> ClipDataset:
    settings = {"sampling_rate": RATE, "clip_samples": 2000, **changes}
    return ClipDataset(songs.songs, **settings)  # type: ignore[arg-type]


def test_clips_are_the_same_samples_of_the_whole_song(songs: Songs) -> None:
    dataset = clips(songs, shift=True)
    assert [song.name for song in dataset.skipped] == []
    whole = [load_audio(song.path, RATE) for song in songs.songs if song.path is not None]
    seen = set()
    for item in range(len(dataset)):
        clip = dataset[item]
        song, offset = clip["song"], clip["offset_samples"]
        assert clip["audio"].shape == (1, 2000)
        assert clip["audio"].dtype == torch.float32
        assert clip["total_samples"] == whole[song].shape[1]
        tolerance = 0 if songs.songs[song].native_rate == RATE else 1e-6  # of resampling
        expected = whole[song][:, offset : offset + 2000]
        assert (clip["audio"] - expected).abs().max() <= tolerance, songs.songs[song].name
        seen.add(songs.songs[song].name)
    assert seen == {"a.wav", "b.flac", "c.ogg", "d.mp3", "e.opus", "f.wav", "g.wav"}


def test_clips_are_spread_over_whole_songs_once(songs: Songs) -> None:
    dataset = clips(songs)
    total = sum(song.num_samples(RATE) for song in songs.songs)
    assert len(dataset) == total // 2000
    places = [
        (dataset[item]["song"], dataset[item]["offset_samples"]) for item in range(len(dataset))
    ]
    assert len(set(places)) == len(places)
    for (song, offset), (next_song, next_offset) in pairwise(places):
        assert next_song > song or next_offset >= offset + 1000


def test_songs_shorter_than_a_clip_are_skipped_and_all_of_them_refused(songs: Songs) -> None:
    dataset = clips(songs, clip_samples=3 * RATE)
    assert [song.name for song in dataset.skipped] == ["g.wav"]
    assert "a clip takes 3.00" in dataset.skipped[0].reason
    with pytest.raises(ValueError, match=r"no song is as long as a clip of 7\.00 seconds"):
        clips(songs, clip_samples=7 * RATE)


def test_channels_are_blended_in_one_random_proportion_per_clip(tmp_path: Path) -> None:
    sound = np.repeat([[0.5, -0.25]], 40 * RATE, axis=0).astype(np.float32)
    write_song(tmp_path / "a.wav", sound=sound, subtype="FLOAT")
    songs = open_songs(tmp_path)
    halves = clips(songs)
    assert torch.allclose(halves[3]["audio"], torch.tensor(0.125))
    blended = clips(songs, blend_channels=True)
    shares = []
    for item in range(len(blended)):
        audio = blended[item]["audio"]
        assert audio.max() - audio.min() < 1e-6
        shares.append((float(audio[0, 0]) + 0.25) / 0.75)
    assert 0 <= min(shares) < 0.1
    assert 0.9 < max(shares) < 1
    assert abs(np.mean(shares) - 0.5) < 0.1
    blended.set_epoch(1)
    assert not torch.allclose(blended[3]["audio"], clips(songs, blend_channels=True)[3]["audio"])


def test_mono_and_surround_are_not_blended() -> None:
    audio = torch.from_numpy(make_sound(0.1, channels=6)).T
    assert torch.equal(blend_channels(audio[:1], 0.9), audio[:1])
    assert torch.equal(blend_channels(audio, 0.9), audio.mean(0, keepdim=True))
    assert torch.equal(blend_channels(audio[:2], 1.0), audio[:1])


def test_items_are_pure_whoever_loads_them(songs: Songs) -> None:
    dataset = clips(songs, shift=True, blend_channels=True, seed=5)
    dataset.set_epoch(3)
    alone = [dataset[item]["audio"] for item in reversed(range(len(dataset)))][::-1]
    again = clips(songs, shift=True, blend_channels=True, seed=5)
    again.set_epoch(3)
    loader = DataLoader(again, batch_size=4, num_workers=2)
    batches = torch.cat([batch["audio"] for batch in loader])
    assert torch.equal(batches, torch.stack(alone))
    again.set_epoch(4)
    assert not torch.equal(again[0]["audio"], alone[0])


def test_song_damaged_in_the_middle_is_replaced_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_songs(tmp_path, [20.0, 20.0])
    write_song(tmp_path / "torn.wav", 20.0, subtype="FLOAT")
    songs = open_songs(tmp_path)
    path = tmp_path / "torn.wav"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40000] = b"\xff" * 40000  # not a number
    path.write_bytes(content)
    dataset = clips(songs)
    with caplog.at_level(logging.INFO):
        items = [dataset[item] for item in range(len(dataset))]
    assert all(clip["audio"].isfinite().all() for clip in items)
    (listed,) = dataset.unreadable()
    assert listed.name == "torn.wav"
    assert len(caplog.records) == 1
    assert "torn.wav" in caplog.text
    torn = [item for item, clip in enumerate(items) if clip["song"] == 2]
    assert 0 < len(torn) < 40
    repeated = clips(songs)
    assert all(torch.equal(repeated[i]["audio"], clip["audio"]) for i, clip in enumerate(items))
    loader = DataLoader(clips(songs), batch_size=10, num_workers=1)
    assert sum(len(batch["song"]) for batch in loader) == len(items)
    assert isinstance(loader.dataset, ClipDataset)
    assert [song.name for song in loader.dataset.unreadable()] == ["torn.wav"]


def test_dataset_that_vanishes_is_an_error_at_last(tmp_path: Path) -> None:
    write_songs(tmp_path, [3.0, 3.0])
    dataset = clips(open_songs(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"hardly any song can be read, the last one was song_\d"):
        dataset[0]


def test_bandwidth_is_that_of_the_clips(tmp_path: Path) -> None:
    write_songs(tmp_path, [3.0, 2.0], channels=2)
    songs = open_songs(tmp_path).songs
    found = measure_bandwidth(songs, sampling_rate=RATE, clip_samples=4096)
    whole = [load_audio(song.path, RATE, mono=False).double() for song in songs if song.path]
    dataset = ClipDataset(songs, sampling_rate=RATE, clip_samples=4096)
    places = [(clip["song"], clip["offset_samples"]) for clip in map(dataset.__getitem__, range(4))]
    pieces = [whole[song][:, offset : offset + 4096] for song, offset in places]
    samples = torch.cat([piece.flatten() for piece in pieces]).numpy()
    norms = []
    window = np.pad(np.hanning(1537)[:-1], 256)
    for piece in pieces:
        mono = np.pad(piece.mean(0).numpy(), 1024, mode="reflect")
        frames = [mono[i : i + 2048] * window for i in range(0, len(mono) - 2047, 256)]
        norms.append(np.linalg.norm(np.abs(np.fft.rfft(frames))))
    assert found.l1 == pytest.approx(np.abs(samples).mean(), rel=1e-6)
    assert found.l2 == pytest.approx(samples.var(), rel=1e-6)
    assert found.spectral == pytest.approx(np.mean(norms), rel=1e-5)


def test_bandwidth_reads_no_more_than_asked_for_spread_over_all_songs(tmp_path: Path) -> None:
    for number, level in enumerate((0.1, 0.2, 0.3, 0.4)):
        sound = np.full((10 * RATE, 1), level, np.float32)
        write_song(tmp_path / f"{number}.wav", sound=sound, subtype="FLOAT")
    songs = open_songs(tmp_path).songs
    found = measure_bandwidth(songs, sampling_rate=RATE, clip_samples=4000, seconds=8.0)
    assert found.l1 == pytest.approx(0.25, rel=1e-6)
    with pytest.raises(ValueError, match="no song is as long as a clip"):
        measure_bandwidth(songs, sampling_rate=RATE, clip_samples=11 * RATE)


def test_silence_in_place_of_damage_is_no_example(tmp_path: Path) -> None:
    write_song(tmp_path / "whole.flac", 20.0)
    damage(write_song(tmp_path / "torn.flac", 20.0, seed=1), 0.5)
    songs = open_songs(tmp_path)
    assert not songs.notes  # it does not show before the middle is read
    dataset = clips(songs)
    sounds = [dataset[item]["audio"] for item in range(len(dataset))]
    assert all(audio.abs().max() > 0.01 for audio in sounds)
    assert [song.name for song in dataset.unreadable()] == ["torn.flac"]

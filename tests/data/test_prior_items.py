"""Windows of codes for priors: from a cache or from audio, the same codes, labels and lyrics."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from jukebox_hf.data import (
    AudioPriorDataset,
    CodeDataset,
    CodeSongs,
    Songs,
    encode_dataset,
    open_codes,
    open_songs,
    split_songs,
)
from jukebox_hf.data.regions import encodable_samples, encoding_margin
from jukebox_hf.labels import LYRIC_CHARACTERS, JukeboxLabels, JukeboxProcessor
from jukebox_hf.vqvae import JukeboxVQVAE
from tests.data.song_files import RATE, tiny_codec, write_song

LYRICS = "".join(chr(ord("a") + number % 26) for number in range(400))


class Music(NamedTuple):
    songs: Songs
    codec: JukeboxVQVAE
    codes: CodeSongs


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Music:
    """Songs of all lengths and rates; some barely longer than a window and the codec's margin.

    The codec computes in double precision, so that rounding decides between no two codes.
    """
    folder = tmp_path_factory.mktemp("music")
    write_song(folder / "a.wav", 3.0, rate=RATE, seed=1)
    write_song(folder / "b.flac", 4.003, rate=11025, channels=2, seed=2)
    write_song(folder / "c.ogg", 2.5, rate=8000, channels=2, seed=3)
    write_song(folder / "d.wav", 0.26, seed=4)
    write_song(folder / "e.wav", 0.05, seed=5)
    (folder / "metadata.csv").write_text(
        "file_name,artist,genre,lyrics\n"
        f"a.wav,Anna,rock,{LYRICS}\nb.flac,Nobody,jazz,\nc.ogg,,,\nd.wav,,unheard of,\ne.wav,,,\n"
    )
    (folder / "b.lrc").write_text("[00:01.00]one\n[00:02.00]two two two\n[00:03.00]three\n")
    codec = tiny_codec().double()
    songs = open_songs(folder)
    encode_dataset(songs.songs, codec, folder / "codes")
    return Music(songs, codec, open_codes(folder / "codes"))


def processor(window_samples: int, **changes: Any) -> JukeboxProcessor:
    settings: dict[str, Any] = {
        "artists": {"unknown": 0, "anna": 1},
        "genres": {"unknown": 0, "rock": 1, "jazz": 2},
        "lyric_characters": LYRIC_CHARACTERS["v3"],
        "lyric_length": 8,
        "sampling_rate": RATE,
        "window_samples": window_samples,
    }
    return JukeboxProcessor(**{**settings, **changes})


LEVELS = [(2, 32, None), (1, 64, 2), (0, 64, 2), (1, 24, None)]


@pytest.mark.parametrize(("level", "length", "ratio"), LEVELS)
def test_codes_from_cache_are_codes_on_the_fly(
    music: Music, level: int, length: int, ratio: int | None
) -> None:
    settings: dict[str, Any] = {
        "level": level,
        "context_length": length,
        "upper_ratio": ratio,
        "processor": processor(length * music.codec.config.hop_lengths[level]),
        "shift": True,
        "seed": 7,
    }
    cached = CodeDataset(music.codes, **settings)
    direct = AudioPriorDataset(music.songs.songs, music.codec, **settings)
    assert len(cached) == len(direct) > 10
    assert cached.skipped == direct.skipped
    for epoch in (0, 3):
        cached.set_epoch(epoch)
        direct.set_epoch(epoch)
        expected = default_collate([cached[item] for item in range(len(cached))])
        batch = default_collate([direct[item] for item in range(len(direct))])
        found = direct.encode(music.codec, batch)
        assert found.keys() == expected.keys()
        for name in ("codes", "upper_codes", "lyric_tokens", "song"):
            if name in expected:
                assert torch.equal(found[name], expected[name]), name
        for mine, theirs in zip(found["labels"], expected["labels"], strict=True):
            assert torch.equal(mine, theirs)
        assert found["codes"].unique().numel() > 8


def test_in_single_precision_hardly_a_code_differs(music: Music, tmp_path: Path) -> None:
    codec = tiny_codec()
    encode_dataset(music.songs.songs, codec, tmp_path / "codes")
    settings: dict[str, Any] = {"level": 0, "context_length": 64, "upper_ratio": 2}
    cached = CodeDataset(open_codes(tmp_path / "codes"), **settings)
    direct = AudioPriorDataset(music.songs.songs, codec, **settings)
    expected = default_collate([cached[item] for item in range(len(cached))])
    found = direct.encode(codec, default_collate([direct[item] for item in range(len(direct))]))
    for name in ("codes", "upper_codes"):
        assert (found[name] == expected[name]).double().mean() > 0.999


@pytest.mark.parametrize(("level", "length", "ratio"), LEVELS)
def test_windows_are_runs_of_their_songs_codes(
    music: Music, level: int, length: int, ratio: int | None
) -> None:
    hop_length = music.codec.config.hop_lengths[level]
    dataset = CodeDataset(
        music.codes,
        level=level,
        context_length=length,
        upper_ratio=ratio,
        processor=processor(length * hop_length),
        shift=True,
    )
    for item in range(len(dataset)):
        example = dataset[item]
        song, labels = example["song"], example["labels"]
        assert isinstance(labels, JukeboxLabels)
        start = int(labels.offset_samples) // hop_length
        assert start * hop_length == int(labels.offset_samples)
        assert torch.equal(example["codes"], music.codes.codes(song, level, start, start + length))
        assert example["codes"].shape == (length,)
        assert int(labels.total_samples) == music.songs.songs[song].num_samples(RATE)
        if ratio is not None:
            assert start % ratio == 0
            upper = music.codes.codes(song, level + 1)[start // ratio :][: length // ratio]
            assert torch.equal(example["upper_codes"], upper)
        else:
            assert "upper_codes" not in example


def test_margin_of_the_codec_is_enough_and_needed(music: Music) -> None:
    """A part read with the margin has the codes of the whole; without it, other ones."""
    codec = music.codec
    with music.songs.songs[0].open(RATE) as reader:
        audio = reader.read(0, encodable_samples(3 * RATE, codec.config.hop_lengths)).audio[None]
    whole = codec.encode(audio)
    for level, hop_length in enumerate(codec.config.hop_lengths):
        margin = encoding_margin(codec, [level])
        assert margin % hop_length == 0
        start, stop = 4000, 4000 + 64 * hop_length
        (part,) = codec.encode(audio[..., start - margin : stop + margin], [level])
        expected = whole[level][:, start // hop_length : stop // hop_length]
        skip = margin // hop_length
        assert torch.equal(part[:, skip:-skip], expected)
        (bare,) = codec.encode(audio[..., start:stop], [level])
        assert not torch.equal(bare, expected)


def test_labels_and_lyrics_are_those_of_the_window(music: Music) -> None:
    dataset = CodeDataset(
        music.codes, level=2, context_length=32, processor=processor(512), shift=False
    )
    by_song: dict[int, list[Any]] = {}
    for item in range(len(dataset)):
        by_song.setdefault(dataset[item]["song"], []).append(dataset[item])
    reader = processor(512)
    for example in by_song[0]:
        assert (int(example["labels"].artist), example["labels"].genres.tolist()) == (1, [1])
        offset = int(example["labels"].offset_samples)
        centre = min(max(int(len(LYRICS) * (offset + 256) / (3 * RATE)), 4), len(LYRICS) - 4)
        assert reader.lyric_text(example["lyric_tokens"]) == LYRICS[centre - 4 : centre + 4]
    texts = [reader.lyric_text(example["lyric_tokens"]) for example in by_song[1]]
    assert (texts[0], texts[-1]) == ("one\ntwo ", "wo\nthree")
    for example in by_song[1]:
        assert (int(example["labels"].artist), example["labels"].genres.tolist()) == (0, [2])
    assert all(example["lyric_tokens"].eq(0).all() for example in by_song[2])
    assert dataset.notes == (
        "1 artist name unknown to the prior: Nobody",
        "1 genre name unknown to the prior: unheard of",
    )


def test_priors_without_labels_or_lyrics_are_told_nothing(music: Music) -> None:
    plain = CodeDataset(music.codes, level=2, context_length=32)
    assert plain[0].keys() == {"codes", "song"}
    mute = processor(512, lyric_characters="", lyric_length=0)
    labelled = CodeDataset(music.codes, level=2, context_length=32, processor=mute)
    assert labelled[0].keys() == {"codes", "labels", "song"}
    nameless = processor(512, artists=None, genres=None)
    lyrical = CodeDataset(music.codes, level=2, context_length=32, processor=nameless)
    assert lyrical[0].keys() == {"codes", "lyric_tokens", "song"}


def test_songs_that_do_not_fit_are_skipped_with_the_reason(music: Music) -> None:
    limited = processor(512, min_total_seconds=0.2, max_total_seconds=4.0)
    dataset = CodeDataset(music.codes, level=2, context_length=32, processor=limited)
    reasons = dict(dataset.skipped)
    assert reasons.keys() == {"b.flac", "e.wav"}
    assert "less than 4 seconds" in reasons["b.flac"]
    assert "at least 0.2 seconds" in reasons["e.wav"]
    seen = {dataset.songs[dataset[item]["song"]].name for item in range(len(dataset))}
    assert seen == {"a.wav", "c.ogg", "d.wav"}
    short = dict(CodeDataset(music.codes, level=2, context_length=128).skipped)
    assert short["d.wav"] == "too short: 0.26 seconds, the prior's window takes 0.51"
    with pytest.raises(ValueError, match=r"no song is as long as the prior's window of 8\.19 sec"):
        CodeDataset(music.codes, level=2, context_length=2048)
    with pytest.raises(
        ValueError, match=r"takes none of the 5 songs: a.wav: .* at least 60 seconds"
    ):
        CodeDataset(
            music.codes,
            level=2,
            context_length=32,
            processor=processor(512, min_total_seconds=60.0),
        )


def test_genre_of_too_many_words_costs_only_its_song(music: Music) -> None:
    v2 = processor(512, dialect="v2")
    dataset = CodeDataset(music.codes, level=2, context_length=32, processor=v2)
    (skipped,) = [song for song in dataset.skipped if song.name == "d.wav"]
    assert "has 2 words" in skipped.reason


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"level": 3}, "level must be from 0 to 2, got 3"),
        ({"level": 2, "upper_ratio": 2}, "level 2 is the top level"),
        ({"upper_ratio": 4}, "upper_ratio must be 2 at level 1"),
        ({"upper_ratio": 2, "context_length": 63}, "divide context_length, got 2 and 63"),
        (
            {"processor": processor(100)},
            "windows of 100 samples, but here they have 4000 Hz and 512",
        ),
    ],
)
def test_settings_that_contradict_are_refused(
    music: Music, changes: dict[str, Any], match: str
) -> None:
    settings: dict[str, Any] = {"level": 1, "context_length": 64, **changes}
    with pytest.raises(ValueError, match=match):
        CodeDataset(music.codes, **settings)
    with pytest.raises(ValueError, match=match):
        AudioPriorDataset(music.songs.songs, music.codec, **settings)


class Settings(NamedTuple):
    level: int = 1
    codebook_size: int = 32
    hop_length: int = 8
    sampling_rate: int = RATE
    codebook_fingerprint: str | None = None
    is_upsampler: bool = True
    upper_ratio: int = 2


def test_codes_of_another_codec_are_refused(music: Music, tmp_path: Path) -> None:
    codes = music.codes
    codes.check(Settings())
    codes.check(Settings(codebook_fingerprint=music.codec.fingerprint()))
    codes.check(Settings(level=2, hop_length=16, is_upsampler=False, upper_ratio=1))
    for wrong, match in [
        ({"codebook_fingerprint": "sha256:" + "0" * 64}, "their codebook fingerprint is sha256:"),
        ({"hop_length": 4}, "their hop length is 8, the prior's 4; encode the songs again"),
        ({"sampling_rate": 1}, "sampling rate"),
        ({"codebook_size": 1}, "codebook size"),
        ({"upper_ratio": 4}, "codes per upper code is 2, the prior's 4"),
        ({"level": 3}, "holds codes of the levels 0, 1, 2, but level 3 is needed"),
        ({"level": 2, "hop_length": 16}, "but level 3 is needed"),
    ]:
        with pytest.raises(ValueError, match=match):
            codes.check(Settings(**wrong))  # type: ignore[arg-type]
    encode_dataset(music.songs.songs[:1], music.codec, tmp_path / "codes", levels=[1])
    with pytest.raises(ValueError, match=r"levels 1, but level 2 is needed; .* with --levels"):
        open_codes(tmp_path / "codes").check(Settings())


def test_split_of_codes_is_the_split_of_the_songs(music: Music) -> None:
    train, held_out = music.codes.split(0.4, seed=3)
    expected = split_songs(music.songs.songs, 0.4, seed=3)
    for codes, songs in zip((train, held_out), expected, strict=True):
        assert [song.name for song in codes.songs] == [song.name for song in songs]
        for number, song in enumerate(codes.songs):
            original = [stored.name for stored in music.codes.songs].index(song.name)
            assert torch.equal(codes.codes(number, 1), music.codes.codes(original, 1))
    assert len(train) + len(held_out) == 5


def test_parts_of_codes_are_copied_out_of_the_file_alone(music: Music) -> None:
    whole = music.codes.codes(0, 0)
    assert torch.equal(music.codes.codes(0, 0, 10, 20), whole[10:20])
    assert music.codes.codes(0, 0, 20, 20).numel() == 0
    for start, stop in [(-1, 5), (5, 4), (0, len(whole) + 1)]:
        with pytest.raises(IndexError, match="there are 3000 codes"):
            music.codes.codes(0, 0, start, stop)


def test_workers_and_copies_see_the_same_items(music: Music) -> None:
    settings: dict[str, Any] = {"level": 1, "context_length": 64, "upper_ratio": 2, "shift": True}
    dataset = CodeDataset(music.codes, **settings)
    alone = default_collate([dataset[item] for item in range(len(dataset))])
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset)) < 20000  # the codes stay on disk
    loader = DataLoader(copy, batch_size=5, num_workers=2)
    batches: list[dict[str, Tensor]] = list(loader)
    for name in ("codes", "upper_codes"):
        assert torch.equal(torch.cat([batch[name] for batch in batches]), alone[name])


def test_blended_windows_of_stereo_have_codes_of_their_own(music: Music) -> None:
    settings: dict[str, Any] = {"level": 2, "context_length": 32}
    plain = AudioPriorDataset(music.songs.songs, music.codec, **settings)
    blended = AudioPriorDataset(music.songs.songs, music.codec, **settings, blend_channels=True)
    changed = [
        not torch.equal(plain[item]["audio"], blended[item]["audio"]) for item in range(len(plain))
    ]
    stereo = [
        plain.songs[plain[item]["song"]].name in ("b.flac", "c.ogg") for item in range(len(plain))
    ]
    assert changed == stereo

"""Labels and lyrics equal those of the original, on its own tables where the set has them."""

import functools
import hashlib
from typing import Any

import pytest
import torch

from jukebox_hf.labels import (
    LYRIC_CHARACTERS,
    Dialect,
    JukeboxProcessor,
    LyricAlphabet,
    Vocabulary,
    genre_keys,
    normalise_name,
    read_ids,
)
from tests.golden_data import golden, golden_stems, load_golden, load_json


@functools.cache
def released_ids(dialect: str, kind: str) -> dict[str, int]:
    """A table of the release: never part of this repository, so only some sets have it."""
    return read_ids(golden(f"text/ids/{dialect}_{kind}_ids.txt"))


def released_processor(
    dialect: Dialect, *, genre_slots: int, lyric_length: int, window_samples: int
) -> JukeboxProcessor:
    return JukeboxProcessor(
        artists=released_ids(dialect, "artist"),
        genres=released_ids(dialect, "genre"),
        dialect=dialect,
        genre_slots=genre_slots,
        lyric_characters=LYRIC_CHARACTERS[dialect] if lyric_length else "",
        lyric_length=lyric_length,
        window_samples=window_samples,
    )


def row_of(
    processor: JukeboxProcessor, piece: Any, *, total: int, offset: int, **how: Any
) -> list[int]:
    """One label row in the original's order: timing, artist, genres, lyric tokens."""
    window = processor.window([piece], total_samples=total, offset_samples=offset, **how)
    labels, tokens = window.labels, window.lyric_tokens
    assert labels is not None
    timing = [*labels.total_samples.tolist(), *labels.offset_samples.tolist()]
    names = [*labels.artist.tolist(), *labels.genres[0].tolist()]
    return [
        *timing,
        processor.window_samples,
        *names,
        *([] if tokens is None else tokens[0].tolist()),
    ]


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_lyrics_become_the_same_symbols(dialect: Dialect) -> None:
    content = load_json("text/lyrics_tokens.json")
    alphabet = LyricAlphabet(LYRIC_CHARACTERS[dialect])
    assert alphabet.vocabulary_size == content["n_vocab"][dialect]
    for row in content["rows"]:
        expected = row[dialect]
        text, notes = alphabet.explain(row["input"])
        assert text == expected["clean"]
        assert list(alphabet.encode(text)) == expected["ids"]
        assert alphabet.decode(expected["ids"]) == expected["clean"]
        assert bool(notes) == (text != row["input"].replace("\r\n", "\n"))


@pytest.mark.parametrize("name", ["v2_artist", "v2_genre", "v3_artist", "v3_genre"])
def test_tables_are_read_completely(name: str) -> None:
    table = load_json("text/artist_genre_ids.json")["tables"][name]
    ids = released_ids(*name.split("_"))
    assert len(ids) == table["keys"]
    assert max(ids.values()) == table["max_id"]
    assert len(set(ids.values())) == table["distinct_ids"]
    lines = "\n".join(f"{key};{ids[key]}" for key in sorted(ids))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert digest == table["sha256_of_sorted_key_semicolon_id_lines"]


def test_names_are_spelt_as_the_original_spells_them() -> None:
    rows = load_json("text/artist_genre_ids.json")["rows"]
    for row in rows["artists"]:
        assert normalise_name(row["input"], "v2") == row["v2_key"]
    for row in rows["genres"]:
        assert list(genre_keys(row["input"], "v2")) == row["v2_words"]


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_names_are_found_as_the_original_finds_them(dialect: Dialect) -> None:
    rows = load_json("text/artist_genre_ids.json")["rows"]
    processor = released_processor(dialect, genre_slots=5, lyric_length=0, window_samples=1)
    for row in rows["artists"]:
        piece = processor.resolve(artist=row["input"])
        assert piece.artist_id == row[dialect], row["input"]
        known = normalise_name(row["input"], dialect) in processor.artists
        assert bool(piece.notes) != (known or not row["input"].strip())
    for row in rows["genres"]:
        assert list(processor.resolve(genre=row["input"]).genre_ids) == row[dialect], row["input"]


@pytest.mark.parametrize("dialect", ["v2", "v3"])
@pytest.mark.parametrize("kind", ["artist", "genre"])
def test_rows_are_called_what_the_original_calls_them(dialect: Dialect, kind: str) -> None:
    names = load_json("text/artist_genre_ids.json")["reverse_names"][dialect][f"{kind}s"]
    vocabulary = Vocabulary(released_ids(dialect, kind), dialect=dialect, kind=kind)
    assert {row: vocabulary.name(int(row)) for row in names} == names


def test_label_rows_equal_those_of_the_original() -> None:
    for case in load_json("text/labels.json"):
        processor = released_processor(
            "v3" if case["v3"] else "v2",
            genre_slots=case["max_genre_words"],
            lyric_length=case["n_tokens"],
            window_samples=case["sample_length"],
        )
        piece = processor.resolve(case["artist"], case["genre"], case["lyrics"])
        total, offset = case["total_length"], case["offset"]
        row = row_of(processor, piece, total=total, offset=offset, match_2020_rounding=False)
        assert row == case["y"]
        described = case["describe"]
        assert (piece.artist_name, piece.genre_name) == (described["artist"], described["genre"])
        assert processor.lyric_text(row[4 + case["max_genre_words"] :]) == described["lyrics"]
        for window in case["windows"]:
            start = window["y_head"][1]
            row = row_of(processor, piece, total=total, offset=start)
            assert row == [*window["y_head"], *window["y_tokens"]]
            seen = processor.window([piece], total_samples=total, offset_samples=start)
            if window["lyric_index_range"] is not None:
                assert seen.lyric_indices is not None
                ends = seen.lyric_indices[0, [0, -1]].tolist()
                assert ends == window["lyric_index_range"]


def settings_of(model: str, level: int) -> dict[str, Any]:
    """The original's settings of one prior of the golden set."""
    name = f"prior_{model}" if level == 2 else f"upsampler_level_{level}"
    config = load_json("manifest_openai.json")["configs"][name]
    hps = load_json(f"fullsize/hps_{config['base']}.json")
    return {**hps, **config["overrides"]}


def hop_length(level: int) -> int:
    hps = load_json("fullsize/hps_vqvae.json")
    hop = 1
    for stride, times in list(zip(hps["strides_t"], hps["downs_t"], strict=True))[: level + 1]:
        hop *= stride**times
    return hop


@pytest.mark.parametrize("stem", golden_stems("sampling/*"))
def test_labels_and_lyric_windows_of_whole_runs(stem: str) -> None:
    tensors, meta = load_golden(stem)
    for level in range(3):
        hps = settings_of(meta["model"], level)
        processor = released_processor(
            "v3" if hps["labels_v3"] else "v2",
            genre_slots=hps["max_bow_genre_size"],
            lyric_length=hps["n_tokens"],
            window_samples=hps["n_ctx"] * hop_length(level),
        )
        pieces = [processor.resolve(m["artist"], m["genre"], m["lyrics"]) for m in meta["metas"]]
        totals = [m["total_length"] for m in meta["metas"]]
        offsets = [m["offset"] for m in meta["metas"]]
        rows = [
            row_of(processor, piece, total=total, offset=offset, match_2020_rounding=False)
            for piece, total, offset in zip(pieces, totals, offsets, strict=True)
        ]
        assert torch.equal(torch.tensor(rows), tensors[f"labels_y_l{level}"])
        for window in meta["windows"]:
            if window["level"] != level or not processor.reads_lyrics:
                continue
            seen = processor.window(pieces, total_samples=totals, offset_samples=window["offset"])
            spans = [None if span is None else list(span) for span in seen.lyric_spans]
            assert spans == window["first_last_lyric_index"]


@pytest.mark.parametrize("stem", golden_stems("sampling/*"))
def test_whole_lyrics_of_runs_become_the_same_symbols(stem: str) -> None:
    meta = load_json(f"{stem}.json")
    dialect: Dialect = "v3" if settings_of(meta["model"], 2)["labels_v3"] else "v2"
    alphabet = LyricAlphabet(LYRIC_CHARACTERS[dialect])
    texts = [alphabet.clean(one["lyrics"]) for one in meta["metas"]]
    assert texts == meta["clean_lyrics"]
    assert [list(alphabet.encode(text)) for text in texts] == meta["full_tokens"]

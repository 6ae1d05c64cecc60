"""The processor of a prior: what was asked for, what the prior gets, and what is said about it."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

from jukebox_hf.labels import (
    LYRIC_CHARACTERS,
    JukeboxLabels,
    JukeboxProcessor,
    ResolvedLabels,
    TimedLyrics,
    TimedSegment,
    parse_lrc,
)
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior


def test_each_dialect_resolves_its_own_way(v2: JukeboxProcessor, v3: JukeboxProcessor) -> None:
    two = v2.resolve("Céline Dion", "Blues/Rock")
    assert (two.artist_id, two.genre_ids, two.notes) == (2, (2, 1), ())
    assert (two.artist_name, two.genre_name) == ("c_line_dion", "blues_rock")
    three = v3.resolve("Céline Dion", "Blues Rock")
    assert (three.artist_id, three.genre_ids, three.notes) == (2, (1,), ())
    assert v3.resolve("Gabriel Faur ").artist_id == 5
    assert v3.resolve("Gabriel Faur").artist_id == 0


def test_nothing_given_is_unknown_in_silence(v2: JukeboxProcessor, v3: JukeboxProcessor) -> None:
    for processor in (v2, v3):
        for nothing in (None, "", " "):
            labels = processor.resolve(nothing, nothing)
            assert (labels.artist_id, labels.genre_ids, labels.notes) == (0, (0,), ())


def test_labels_without_names_are_those_of_nothing_given(
    v2: JukeboxProcessor, v3: JukeboxProcessor
) -> None:
    for processor in (v2, v3):
        place = {"total_samples": 30 * processor.sampling_rate, "offset_samples": 7}
        given = [processor.resolve("Céline Dion", "Rock"), processor.resolve(None, "Blues Rock")]
        nothing = processor.resolve()
        assert [one.has_names for one in (*given, nothing)] == [True, True, False]
        labels, expected = (
            processor.window([*given, given[0]], **place).labels,
            processor.window([nothing, nothing, given[0]], **place).labels,
        )
        assert labels is not None
        assert expected is not None
        found = labels.without_names(torch.tensor([True, True, False]))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_unknown_names_are_never_silent(v2: JukeboxProcessor, v3: JukeboxProcessor) -> None:
    labels = v2.resolve("Abbba", "hip hopp rock")
    assert (labels.artist_id, labels.genre_ids) == (0, (4, 0, 1))
    assert labels.notes == (
        "artist 'Abbba' is not known to this prior, which takes it for 'unknown'; closest: 'abba'",
        "genre 'hopp' is not known to this prior, which takes it for 'unknown'; closest: 'hop'",
    )
    assert len(v2.resolve("東京事変", "🎸").notes) == 2
    (note,) = v3.resolve("abba", "Pop Rock").notes
    assert note.startswith("genre 'Pop Rock' is not known")


def test_too_many_genre_words_are_refused(v2: JukeboxProcessor) -> None:
    with pytest.raises(
        ValueError, match=r"has 4 words \(a, b, c, d\), but this prior takes at most 3"
    ):
        v2.resolve(genre="a b c d")


@pytest.mark.parametrize("bad", [1, ["abba"], b"abba", float("nan")])
def test_labels_must_be_text(v2: JukeboxProcessor, bad: object) -> None:
    for name in ("artist", "genre", "lyrics"):
        with pytest.raises(ValueError, match=f"{name} must be text, got"):
            v2.resolve(**{name: bad})  # type: ignore[arg-type]


def test_a_window_has_everything_the_prior_reads(v2: JukeboxProcessor) -> None:
    pieces = [v2.resolve("abba", "pop", "abc"), v2.resolve("x", "hip hop", "a" * 5 + "b" * 5)]
    window = v2.window(pieces, total_samples=[3000, 5000], offset_samples=[0, 3999])
    labels = window.labels
    assert labels is not None
    assert labels.artist.tolist() == [1, 0]
    assert labels.genres.tolist() == [[3, -1, -1], [4, 5, -1]]
    assert labels.total_samples.tolist() == [3000, 5000]
    assert labels.offset_samples.tolist() == [0, 3999]
    assert window.lyric_tokens is not None
    assert window.lyric_indices is not None
    assert window.lyric_tokens.tolist() == [[0] * 5 + [27, 28, 29], [27] * 3 + [28] * 5]
    assert window.lyric_indices.tolist() == [[-1] * 5 + [0, 1, 2], list(range(2, 10))]
    assert window.lyric_spans == ((0, 2), (2, 9))
    for tensor in (*labels, window.lyric_tokens, window.lyric_indices):
        assert tensor.dtype == torch.int64


def test_a_batch_equals_its_pieces_one_by_one(v3: JukeboxProcessor) -> None:
    pieces = [v3.resolve("abba", "pop", "la " * 50), v3.resolve(), v3.resolve("x", None, "b" * 9)]
    totals, offsets = [3000, 6000, 59999], [2000, 10, 30000]
    together = v3.window(pieces, total_samples=totals, offset_samples=offsets)
    for row, (piece, total, offset) in enumerate(zip(pieces, totals, offsets, strict=True)):
        alone = v3.window([piece], total_samples=total, offset_samples=offset)
        assert together.labels is not None
        assert alone.labels is not None
        assert all(map(torch.equal, together.labels.select([row]), alone.labels))
        for name in ("lyric_tokens", "lyric_indices"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name)[0])
        assert together.lyric_spans[row] == alone.lyric_spans[0]


def test_an_upsampler_gets_labels_of_any_length_and_no_lyrics(upsampler: JukeboxProcessor) -> None:
    window = upsampler.window(
        [upsampler.resolve("abba", "rock", "words")], total_samples=10, offset_samples=5
    )
    assert window.lyric_tokens is None
    assert window.lyric_spans == (None,)
    assert set(window.inputs()) == {"labels"}
    assert not upsampler.reads_lyrics


def test_a_prior_without_labels_gets_none() -> None:
    bare = JukeboxProcessor()
    assert not bare.has_labels
    assert bare.resolve("abba", "rock", "words") == ResolvedLabels(0, (), "", "")
    window = bare.window([bare.resolve()] * 2, total_samples=100, offset_samples=0)
    assert window.labels is None
    assert dict(window.inputs()) == dict(bare()) == {}
    with pytest.raises(ValueError, match="this prior has no labels"):
        bare.add_artists(["abba"])


def test_timed_lyrics_are_seen_when_they_are_sung(v3: JukeboxProcessor) -> None:
    # Nothing but "a" for 50 seconds, then everything else at once.
    lyrics = parse_lrc("[00:00]" + "a" * 10 + "\n[00:50]" + "b" * 10 + "\n[00:52]" + "c" * 10)
    timed, guessed = v3.resolve(lyrics=lyrics), v3.resolve(lyrics=lyrics.text)
    assert timed.lyric_text == guessed.lyric_text
    assert timed.lyric_seconds is not None
    texts = []
    for piece in (timed, guessed):
        window = v3.window([piece], total_samples=6000, offset_samples=4600)  # middle: 51 s
        assert window.lyric_tokens is not None
        texts.append(v3.lyric_text(window.lyric_tokens[0]))
    assert texts == ["bbbbbbbb", "bcccccc"] or texts[0] == "b" * 8
    assert texts[0] != texts[1]


def test_timed_lyrics_of_nothing_are_no_lyrics(v3: JukeboxProcessor) -> None:
    for lyrics in (TimedLyrics(()), TimedLyrics((TimedSegment(1.0, "😀"),)), ""):
        window = v3.window([v3.resolve(lyrics=lyrics)], total_samples=3000, offset_samples=0)
        assert window.lyric_spans == (None,)
        assert window.lyric_tokens is not None
        assert not window.lyric_tokens.any()


def test_lengths_that_the_prior_was_not_made_for_are_refused() -> None:
    processor = JukeboxProcessor(min_total_seconds=17.84, max_total_seconds=600.0)
    processor.check_total(786_744)  # exactly the minimum of the released 1b model
    processor.check_total(26_459_998)
    with pytest.raises(
        ValueError, match=r"pieces of at least 17.84 seconds, got 17.84 \(786743 samp"
    ):
        processor.check_total(786_743)
    with pytest.raises(ValueError, match=r"pieces of less than 600 seconds, got 600\.00"):
        processor.check_total(26_459_999)  # rounds up to the maximum in float32
    for nonsense in (0, -5, 2**40):
        with pytest.raises(ValueError, match="longer than 0 seconds and less than 13 hours"):
            processor.check_total(nonsense)


@pytest.mark.parametrize("offset", [-1, 3000, 2**40])
def test_windows_must_start_inside_the_piece(v3: JukeboxProcessor, offset: int) -> None:
    with pytest.raises(
        ValueError, match=r"inside the piece of 30.00 seconds \(3000 samples\), got"
    ):
        v3.window([v3.resolve()], total_samples=3000, offset_samples=offset)


def test_lists_must_fit_the_batch(v3: JukeboxProcessor) -> None:
    with pytest.raises(ValueError, match="total_samples must have one entry per piece, 1, got 2"):
        v3.window([v3.resolve()], total_samples=[3000, 3000], offset_samples=0)
    with pytest.raises(ValueError, match="lists must have one entry per piece, got lengths"):
        v3(["a", "b"], ["c"], total_seconds=30)


def test_calling_it_gives_the_arguments_of_the_prior(v3: JukeboxProcessor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs = v3(["ABBA", None], "pop", ["la", "lo"], total_seconds=30.0, offset_samples=[0, 7])
    labels = inputs["labels"]
    assert isinstance(labels, JukeboxLabels)
    assert labels.artist.tolist() == [1, 0]
    assert labels.genres.tolist() == [[2], [2]]
    assert labels.total_samples.tolist() == [3000, 3000]
    assert labels.offset_samples.tolist() == [0, 7]
    assert [v3.lyric_text(row) for row in inputs["lyric_tokens"]] == ["la", "lo"]
    on_meta = inputs.to("meta")
    assert on_meta["labels"].artist.is_meta
    assert on_meta["lyric_tokens"].is_meta
    assert not labels.artist.is_meta


def test_numbers_may_come_as_tensors_or_arrays(v3: JukeboxProcessor) -> None:
    expected = v3(["abba"] * 2, total_samples=[3000, 4000])
    for totals in (torch.tensor([3000, 4000]), np.array([3000, 4000])):
        got = v3(["abba"] * 2, total_samples=totals)  # type: ignore[arg-type]
        assert torch.equal(got["labels"].total_samples, expected["labels"].total_samples)
    v3("abba", total_samples=torch.tensor(3000))  # type: ignore[arg-type]


def test_calling_it_warns_of_what_was_not_taken_as_given(v3: JukeboxProcessor) -> None:
    with pytest.warns(UserWarning, match="artist 'Abbba' is not known") as caught:
        v3(["Abbba", "Abbba"], total_seconds=30)
    assert len(caught) == 1
    with pytest.raises(ValueError, match="as total_samples or as total_seconds"):
        v3("abba")
    with pytest.raises(ValueError, match="as total_samples or as total_seconds"):
        v3("abba", total_samples=3000, total_seconds=30)
    with pytest.raises(ValueError, match="must be a number of seconds, got nan"):
        v3("abba", total_seconds=float("nan"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dialect": "v4"}, "dialect must be one of v2, v3, got 'v4'"),
        ({"dialect": None}, "dialect must be one of"),
        ({"genre_slots": 0}, "genre_slots must be from 1 to"),
        ({"genre_slots": True}, "genre_slots must be a whole number, got True"),
        ({"sampling_rate": 44100.0}, "sampling_rate must be a whole number"),
        ({"window_samples": 2**40}, "window_samples must be from 1 to"),
        (
            {"window_samples": 2**70},
            "window_samples must be from 1 to 2147483647, got a far larger",
        ),
        ({"min_total_seconds": -1}, "min_total_seconds must be a number of seconds"),
        ({"min_total_seconds": "1"}, "min_total_seconds must be a number of seconds"),
        ({"max_total_seconds": float("inf")}, "max_total_seconds must be a number of seconds"),
        ({"min_total_seconds": 9, "max_total_seconds": 9}, "min_total_seconds must be below"),
        ({"lyric_characters": "abc"}, "lyric_length must be even, and 0 exactly if"),
        ({"lyric_length": 8}, "lyric_length must be even, and 0 exactly if"),
        ({"lyric_characters": "abc", "lyric_length": 7}, "lyric_length must be even"),
        ({"lyric_characters": "aa", "lyric_length": 8}, "lyric characters must be different"),
        ({"lyric_characters": ["a"], "lyric_length": 8}, "lyric_characters must be text"),
        ({"lyric_characters": "a", "lyric_length": 2**31}, "lyric_length must be from 0 to"),
        ({"artists": {"abba": 1}}, "both artists and genres or neither, got 1 artists and 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JukeboxProcessor(**settings)  # type: ignore[arg-type]


def test_new_artists_are_appended_and_old_ids_kept(v2: JukeboxProcessor) -> None:
    before = dict(v2.artists)
    assert v2.add_artists(["Earth, Wind & Fire", "ABBA", "earth wind fire"]) == [5, 1, 5]
    assert v2.add_artists(["Björk", "Mø"], first_id=40) == [40, 41]
    assert {**before, "earth_wind_fire": 5, "bj_rk": 40, "m": 41} == dict(v2.artists)
    assert v2.resolve("Earth Wind Fire").notes == ()


def test_new_genres_are_words_in_v2_and_phrases_in_v3(
    v2: JukeboxProcessor, v3: JukeboxProcessor
) -> None:
    assert v2.add_genres(["Lo-Fi Pop", "rock"], first_id=9) == [(9, 10, 3), (1,)]
    assert v2.resolve(genre="pop, lo fi").genre_ids == (3, 9, 10)
    assert v3.add_genres(["Lo-Fi; Pop", "POP", "シティポップ"]) == [(3,), (2,), (4,)]
    assert v3.resolve(genre="シティポップ").genre_ids == (4,)
    with pytest.raises(ValueError, match="has 4 words"):
        v2.add_genres(["new", "one two three four"])
    assert "new" not in v2.genres


def test_names_of_which_nothing_is_left_are_refused(
    v2: JukeboxProcessor, v3: JukeboxProcessor
) -> None:
    for processor, name in ((v2, "東京事変"), (v2, "!!!"), (v2, ""), (v3, " ")):
        for add in (processor.add_artists, processor.add_genres):
            with pytest.raises(ValueError, match="keeps nothing of it"):
                add(["good", name])
        assert "good" not in processor.artists
    with pytest.raises(ValueError, match="expected a list of names, got the text 'abba'"):
        v2.add_artists("abba")


def tiny_config(**changes: object) -> JukeboxPriorConfig:
    fields: dict[str, object] = {
        "hop_length": 10,
        "sampling_rate": 100,
        "context_length": 100,
        "num_rows": 4,
        "artist_count": 6,
        "genre_count": 3,
        "genre_slots": 1,
        "timing_bins": 4,
        "min_total_seconds": 5.0,
        "attention_pattern": "factored_prime_dense",
        "lyrics": "sequence",
        "lyric_length": 8,
        "lyric_vocab_size": 79,
    }
    return JukeboxPriorConfig(**{**fields, **changes})


def test_a_processor_belongs_to_its_prior(v3: JukeboxProcessor) -> None:
    v3.check(tiny_config())
    v3.check(tiny_config(artist_count=99))  # spare rows, as in the released v2 table
    changes = {
        "artist ids go up to 5, but the prior's table has 5 rows": {"artist_count": 5},
        "genre ids go up to 2, but the prior's table has 1 rows": {"genre_count": 1},
        "genre_slots is 1 here and 5 in the prior": {"genre_slots": 5},
        "lyric_length is 8 here and 16 in the prior": {"lyric_length": 16, "context_length": 96},
        "lyric_vocab_size is 79 here and 80 in the prior": {"lyric_vocab_size": 80},
        "window_samples is 1000 here and 2000 in the prior": {"hop_length": 20},
        "sampling_rate is 100 here and 50 in the prior": {"sampling_rate": 50},
        "min_total_seconds is 5.0 here and 1.0 in the prior": {"min_total_seconds": 1.0},
        "max_total_seconds is 600.0 here and 60.0 in the prior": {"max_total_seconds": 60.0},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match="does not belong to this prior: .*" + message):
            v3.check(tiny_config(**change))
    v3.add_artists(["new"])
    with pytest.raises(ValueError, match="artist ids go up to 6, but the prior's table has 6 rows"):
        v3.check(tiny_config())


def test_a_processor_is_made_for_its_prior(v3: JukeboxProcessor) -> None:
    made = JukeboxProcessor.for_prior(
        tiny_config(),
        artists=v3.artists,
        genres=v3.genres,
        dialect="v3",
        lyric_characters=LYRIC_CHARACTERS["v3"],
    )
    assert made == v3
    bare = JukeboxProcessor.for_prior(JukeboxPriorConfig())
    assert not bare.has_labels
    assert not bare.reads_lyrics
    with pytest.raises(ValueError, match="it has no artists, but the prior has a table of 6"):
        JukeboxProcessor.for_prior(tiny_config(), lyric_characters=LYRIC_CHARACTERS["v3"])


def test_what_it_gives_is_what_the_prior_takes(v3: JukeboxProcessor) -> None:
    torch.manual_seed(0)
    prior = JukeboxPrior(tiny_config(width=8, attention_width=8, mlp_width=8, depth=3)).eval()
    inputs = v3(["abba", None], "pop", "la la la", total_seconds=30, offset_samples=[0, 500])
    with torch.no_grad():
        output = prior(torch.randint(0, 2048, (2, 100)), **inputs)
    assert output.logits.shape[0] == 2


def test_a_processor_travels_to_worker_processes(v2: JukeboxProcessor) -> None:
    v2.artists.closest("abb")
    for copied in (copy.deepcopy(v2), pickle.loads(pickle.dumps(v2))):
        assert copied == v2
        assert copied.resolve("x", "rock", "é") == v2.resolve("x", "rock", "é")
    changed = copy.deepcopy(v2)
    changed.add_artists(["new"])
    assert changed != v2
    assert "JukeboxProcessor(Vocabulary(7 artist names, v2)" in repr(v2)


def test_a_hundred_thousand_characters_are_no_trouble(v3: JukeboxProcessor) -> None:
    lyrics = ("La la “la” é 😀\n" * 10_000)[:100_000]
    piece = v3.resolve(lyrics=lyrics)
    window = v3.window([piece] * 8, total_samples=59_000, offset_samples=[*range(0, 56_000, 7000)])
    assert len(piece.lyric_ids) == len(piece.lyric_text) > 90_000
    assert all(span is not None for span in window.lyric_spans)

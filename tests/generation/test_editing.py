"""Edits: codes are copied, sound is that of the sources, and what makes no sense is refused."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.generation import JukeboxPipeline, Part, Request, Session
from jukebox_hf.generation.alignment_files import load_words, save_words
from jukebox_hf.generation.chains import FADE_STFT
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.making import decode_joined
from jukebox_hf.generation.word_times import SungWord
from jukebox_hf.hub import System
from jukebox_hf.locks import locked
from jukebox_hf.vqvae import JukeboxVQVAE

HOPS = (8, 32, 128)
RATE = 8000
SONG = Path("song")


@pytest.fixture(scope="module")
def pipeline(tiny: System) -> JukeboxPipeline:
    return JukeboxPipeline(tiny, device="cpu")


@pytest.fixture(scope="module")
def codec(tiny: System) -> JukeboxVQVAE:
    return tiny.load_vqvae()


@pytest.fixture(scope="module")
def song(pipeline: JukeboxPipeline, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Two finished takes of 1.6 s, with seams in levels 1 and 0."""
    wanted = {"seconds": 1.6, "genre": "rock", "seed": 3, "takes": 2, "chains": {1: 2, 0: 3}}
    return finish(pipeline.begin(tmp_path_factory.mktemp("song") / "song", Request.new(wanted)))


@pytest.fixture(scope="module")
def sketch(pipeline: JukeboxPipeline, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A take that stopped at the top level."""
    wanted = {"seconds": 0.8, "seed": 5, "to_level": 2, "offset_seconds": 1.0}
    folder = tmp_path_factory.mktemp("sketch") / "sketch"
    return finish(pipeline.begin(folder, Request.new(wanted)))


def finish(session: Session) -> Session:
    for _ in session.run(device="cpu", previews=False):
        pass
    return Session.open(session.folder)


def codes_of(session: Session, number: int = 1) -> JoinedCodes:
    codes = session.joined_codes(number)
    assert codes is not None
    return codes


def sound(codec: JukeboxVQVAE, session: Session, number: int, level: int) -> Tensor:
    return decode_joined(codec, level, codes_of(session, number).level(level))[0]


@pytest.mark.parametrize(
    "bounds",
    [
        [(1, 0.4, 1.3)],  # trim
        [(1, 0.0, 0.6), (1, 0.9, 1.6)],  # cut
        [(2, 0.2, 0.7), (2, 0.2, 0.7)],  # loop
        [(2, 0.8, 1.6), (1, 0.0, 0.5), (2, 0.0, 0.4)],  # move, merge
        [(1, 0.0, 0.016), (2, 0.3, 0.316), (1, 0.6, 1.2)],  # single codes
    ],
)
def test_codes_are_copied_and_sound_as_before_away_from_joins(
    pipeline: JukeboxPipeline,
    codec: JukeboxVQVAE,
    song: Session,
    tmp_path: Path,
    bounds: list[tuple[int, float, float]],
) -> None:
    parts = [Part(song.folder, *bound) for bound in bounds]
    made = finish(pipeline.begin(tmp_path / "s", Request.edit(parts, {}, codec)))
    assert made.complete
    assert len(made.audio_paths) == 1
    spans = [(number, round(a * RATE / 128), round(b * RATE / 128)) for number, a, b in bounds]
    for level, hop in enumerate(HOPS):
        scale = 128 // hop
        expected = [
            codes_of(song, number).levels[level][:, first * scale : end * scale]
            for number, first, end in spans
        ]
        assert torch.equal(codes_of(made).levels[level], torch.cat(expected, dim=1))
        sources = [
            sound(codec, song, number, level)[first * 128 : end * 128]
            for number, first, end in spans
        ]
        same = torch.ones(sum(map(len, sources)), dtype=torch.bool)
        fade = round(0.03 * RATE) // 2 + FADE_STFT
        # At an end the decoder hears other neighbours, and a seam just beyond it is not there.
        halo = max(codec.decoding_halo(level) * hop, 2 * fade)
        if spans[0][1] > 0:  # the decoder heard something before it
            same[:halo] = False
        if spans[-1][2] * 128 < 1.6 * RATE:
            same[-halo:] = False
        place = 0
        for left, right in itertools.pairwise(spans):
            place += (left[2] - left[1]) * 128
            before = halo if left[2] * 128 >= 1.6 * RATE else fade  # it heard nothing there
            after = halo if right[1] == 0 else fade
            same[max(place - before, 0) : place + after] = False
        assert level == 2 or same.float().mean() > 0.25
        audio = sound(codec, made, 1, level)
        torch.testing.assert_close(audio[same], torch.cat(sources)[same], rtol=0, atol=5e-7)


@pytest.fixture(scope="module")
def copy(song: Session, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The same music at another place."""
    return Session.open(shutil.copytree(song.folder, tmp_path_factory.mktemp("copy") / "song"))


def test_parts_that_follow_each_other_are_one_part(codec: JukeboxVQVAE, song: Session) -> None:
    cuts = (None, 0.25, 0.53, 0.9, None)
    parts = [Part(song.folder, 1, *bounds) for bounds in itertools.pairwise(cuts)]
    parts.insert(3, Part(song.folder, 2, 0.53, 0.9))  # another take, and what it pushes apart
    found = Request.edit(parts, {"snap_seconds": 0.0}, codec).parent
    assert found is not None
    takes = [part["take"] for part in found.details["parts"]]
    assert takes == [1, 2, 1]
    assert len(found.details["joins"]) == 2
    one, same = (
        Request.edit(parts[:3], {}, codec),
        Request.edit([Part(song.folder, 1, None, 0.9)], {}, codec),
    )
    assert one.parent == same.parent
    assert one.prompts[1].offset_seconds == same.prompts[1].offset_seconds
    assert isinstance(one.prompts[1].primer, JoinedCodes)
    assert isinstance(same.prompts[1].primer, JoinedCodes)
    for level in range(3):
        found_codes, codes = (
            one.prompts[1].primer.level(level),
            same.prompts[1].primer.level(level),
        )
        assert torch.equal(found_codes.codes, codes.codes)
        assert found_codes.seams == codes.seams


def test_two_parts_of_equal_music_are_that_music(
    codec: JukeboxVQVAE, song: Session, copy: Session
) -> None:
    """Cuts anywhere, also beside seams of chains, change nothing but within their fades."""
    whole = sound(codec, song, 1, 0)
    for cut in (0.25, 0.53, 0.56, 1.1):
        parts = [Part(song.folder, 1, None, cut), Part(copy.folder, 1, cut, None)]
        codes = Request.edit(parts, {}, codec).prompts[1].primer
        assert isinstance(codes, JoinedCodes)
        found = decode_joined(codec, 0, codes.level(0))[0]
        join, reach = round(cut * RATE / 128) * 128, 2 * (120 + FADE_STFT)
        for part in (slice(0, join - reach), slice(join + reach, None)):
            torch.testing.assert_close(found[part], whole[part], rtol=0, atol=5e-7)


def test_an_edit_of_an_edit_and_its_continuation_keep_every_seam(
    pipeline: JukeboxPipeline, codec: JukeboxVQVAE, song: Session, tmp_path: Path
) -> None:
    parts = [Part(song.folder, 1, 0.0, 0.8), Part(song.folder, 2, 0.4, 1.2)]
    once = finish(pipeline.begin(tmp_path / "once", Request.edit(parts, {}, codec)))
    again = Request.edit([Part(once.folder, None, 0.4, None)], {}, codec)
    twice = finish(pipeline.begin(tmp_path / "twice", again))
    more = finish(pipeline.begin(tmp_path / "more", Request.more(twice.folder, {"seconds": 0.5})))
    for level in (0, 1):
        seams = [seam.code for seam in codes_of(once).level(level).seams]
        cut = round(0.4 * RATE / 128) * 128 // HOPS[level]
        expected = [code - cut for code in seams if code > cut]
        for session in (twice, more):
            found = [seam.code for seam in codes_of(session).level(level).seams]
            assert found[: len(expected)] == expected
    end = len(sound(codec, twice, 1, 0)) - codec.decoding_halo(0) * 8 - FADE_STFT
    torch.testing.assert_close(
        sound(codec, more, 1, 0)[:end], sound(codec, twice, 1, 0)[:end], rtol=0, atol=5e-7
    )


def test_a_join_is_moved_to_where_both_sides_are_most_alike(
    codec: JukeboxVQVAE, song: Session
) -> None:
    """Both sides are one piece, 0.048 s apart: there they are equal."""
    parts = [Part(song.folder, 1, 0.0, 0.64), Part(song.folder, 1, 0.64 - 0.048, 1.4)]
    unmoved, moved = (
        Request.edit(parts, {"snap_seconds": snap}, codec).parent for snap in (0, 0.1)
    )
    assert unmoved is not None
    assert moved is not None
    (before,), (after,) = unmoved.details["joins"], moved.details["joins"]
    assert before["moved_seconds"] == 0
    assert 0 < abs(after["moved_seconds"]) <= 0.1
    assert after["likeness"] > before["likeness"]


def test_equal_sides_stay_where_they_are(codec: JukeboxVQVAE, song: Session, copy: Session) -> None:
    parts = [Part(song.folder, 1, 0.0, 0.64), Part(copy.folder, 1, 0.64, 1.4)]
    parent = Request.edit(parts, {"snap_seconds": 0.2}, codec).parent
    assert parent is not None
    (join,) = parent.details["joins"]
    assert (join["moved_seconds"], join["likeness"]) == (0, 1)


def test_an_interrupted_edit_goes_on_and_another_is_refused(
    pipeline: JukeboxPipeline, codec: JukeboxVQVAE, song: Session, tmp_path: Path
) -> None:
    parts = [Part(song.folder, 1, 0.0, 0.6), Part(song.folder, 2, 0.9, 1.6)]
    request = Request.edit(parts, {}, codec)
    begun = pipeline.begin(tmp_path / "s", request)
    assert not Session.open(begun.folder).complete
    again = pipeline.begin(tmp_path / "s", Request.edit(parts, {}, codec))
    assert again.record.id == begun.record.id
    made = finish(again)
    assert made.complete
    whole = sound(codec, made, 1, 0)
    expected = decode_joined(codec, 0, request.prompts[1].primer.level(0))[0]  # type: ignore[union-attr]
    torch.testing.assert_close(whole, expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"fade_seconds is 0.03 there and 0.1 here"):
        pipeline.begin(tmp_path / "s", Request.edit(parts, {"fade_seconds": 0.1}, codec))
    with pytest.raises(ValueError, match="primer of take 1 is"):
        pipeline.begin(tmp_path / "s", Request.edit(parts[::-1], {}, codec))


@pytest.mark.parametrize(
    ("bounds", "timing", "expected"),
    [
        ([(0.2, 0.5)], None, 1.2),
        ([(0.2, 0.5)], "new", 0.0),
        ([(0.2, 0.5), (0.1, 0.3)], None, 0.0),
        ([(0.2, 0.5), (0.1, 0.3)], "keep", 1.2),
    ],
)
def test_one_stretch_keeps_its_time_in_the_song(
    codec: JukeboxVQVAE, sketch: Session, bounds: Any, timing: str | None, expected: float
) -> None:
    parts = [Part(sketch.folder, 1, *bound) for bound in bounds]
    prompt = Request.edit(parts, {"timing": timing}, codec).prompts[1]
    assert prompt.offset_seconds == pytest.approx(expected, abs=0.01)
    assert prompt.total_seconds == pytest.approx(4.0)


def test_levels_that_not_all_parts_have_are_left_out_and_that_is_said(
    pipeline: JukeboxPipeline, codec: JukeboxVQVAE, song: Session, sketch: Session, tmp_path: Path
) -> None:
    request = Request.edit([Part(song.folder, 1), Part(sketch.folder)], {}, codec)
    assert request.notes == (
        "level 0 and level 1 left out, which sketch does not have (`jukebox upsample`)",
    )
    made = finish(pipeline.begin(tmp_path / "s", request))
    assert list(codes_of(made).levels) == [2]
    assert made.record.notes == list(request.notes)
    finer = finish(pipeline.begin(tmp_path / "finer", Request.finer(made.folder, {})))
    assert sorted(codes_of(finer).levels) == [0, 1, 2]


def test_words_are_cut_and_moved_with_their_sound(
    pipeline: JukeboxPipeline, codec: JukeboxVQVAE, song: Session, tmp_path: Path
) -> None:
    words = [
        SungWord("Sing", 0, 0.1, 0.3, 0.5),
        SungWord("to", 5, 0.3, 0.5, 0.5),
        SungWord("me", 9, 0.9, 1.2, 0.5),
    ]
    path = song.folder / "take.words.json"
    save_words(path, words)
    entry, labels = song.take(1), song.take(1).labels
    entry.alignment = [path.name]
    entry.labels = {2: replace(labels[2], lyric_text="Sing to\n me")}
    song.record.save(song.folder)
    try:
        parts = [Part(song.folder, 1, 0.8, 1.6), Part(song.folder, 1, 0.0, 0.45)]
        once = finish(pipeline.begin(tmp_path / "once", Request.edit(parts, {}, codec)))
        twice = Request.edit([Part(once.folder)], {}, codec)
    finally:
        entry.alignment, entry.labels = [], labels
        song.record.save(song.folder)
    text, lrc, page = once.record.takes[0].alignment
    assert page.endswith(".karaoke.html")
    found = load_words(once.folder / text)
    assert [word.text for word in found] == ["me", "Sing", "to"]
    assert [word.start_seconds for word in found] == pytest.approx([0.1, 0.9, 1.1], abs=0.01)
    assert [word.first for word in found] == [0, 3, 8]
    lines = (once.folder / lrc).read_text().splitlines()
    assert [line.split(">")[1].split(" ")[0] for line in lines] == ["me", "Sing"]
    codes = twice.prompts[1].primer
    assert isinstance(codes, JoinedCodes)
    assert [word.text for word in codes.words] == ["me", "Sing", "to"]
    assert codes.lyrics == "me\nSing to"
    assert "lyrics of what is made of this later have to be given again" in twice.notes


@pytest.mark.parametrize(
    ("part", "wanted", "expected"),
    [
        (Part(SONG), {}, r"song has takes 1, 2; say which, as in song:1"),
        (Part(SONG, 3), {}, r"song has no take 3; it has 1, 2"),
        (
            Part(SONG, 1, 0.5, 2.0),
            {},
            r"song:1@0.5-2 ends at 2 s, but that take lasts 1.60 s",
        ),
        (
            Part(SONG, 1, 1.9),
            {},
            r"song:1@1.9- begins at 1.9 s, but that take lasts 1.60 s",
        ),
        (
            Part(SONG, 1, 1.6),
            {},
            r"nothing is left of song:1@1.6-: a part lasts at least 0.0160",
        ),
        (Part(SONG, 1), {"fade_seconds": 2}, "a fade lasts from 0 to 1 seconds, got 2"),
        (Part(SONG, 1), {"snap_seconds": 11}, "a join is moved by 0 to 10 seconds, got 11"),
        (Part(SONG, 1), {"timing": "later"}, "timing must be keep or new, got 'later'"),
        (Part(SONG, 1), {"fede": 1}, "unknown setting 'fede'"),
    ],
)
def test_parts_that_make_no_sense_are_refused(
    codec: JukeboxVQVAE, song: Session, part: Part, wanted: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        Request.edit([replace(part, source=song.folder)], wanted, codec)


def test_a_part_ends_after_it_begins_and_there_is_one() -> None:
    with pytest.raises(ValueError, match="song:2@3-2: a part must end after it begins"):
        Part(SONG, 2, 3.0, 2.0)


def test_no_parts_are_refused(codec: JukeboxVQVAE) -> None:
    with pytest.raises(ValueError, match="an edit needs at least one part"):
        Request.edit([], {}, codec)


def test_a_session_that_is_being_worked_on_is_refused(codec: JukeboxVQVAE, song: Session) -> None:
    with locked(song.folder), pytest.raises(ValueError, match="song is being worked on by"):
        Request.edit([Part(song.folder, 1)], {}, codec)


def test_codes_of_another_codec_are_refused(
    codec: JukeboxVQVAE, song: Session, tmp_path: Path
) -> None:
    codes = song.codes(1)
    assert codes is not None
    other = replace(codes, fingerprint="sha256:other")
    save_codes(tmp_path / "other.safetensors", other)
    with pytest.raises(ValueError, match="was made with another codec than"):
        Request.edit([Part(song.folder, 1), Part(tmp_path / "other.safetensors")], {}, codec)
    with pytest.raises(ValueError, match="the codes were made with another codec"):
        Request.edit([Part(tmp_path / "other.safetensors")], {}, codec)


def test_parts_without_a_common_level_are_refused(
    codec: JukeboxVQVAE, sketch: Session, tmp_path: Path
) -> None:
    codes = sketch.codes(1)
    assert codes is not None
    path = tmp_path / "fine.safetensors"
    fine = Codes({0: torch.zeros(1, 64).long()}, codes.hop_lengths, RATE)
    save_codes(path, fine)
    with pytest.raises(ValueError, match="no level is complete in all parts: sketch has 2; fine"):
        Request.edit([Part(sketch.folder), Part(path)], {}, codec)

"""Infilling: only the stretch is new, the best candidates fill it, interrupted or not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.codes import save_codes
from jukebox_hf.generation import JukeboxPipeline, Request, Session
from jukebox_hf.generation.chains import FADE_STFT
from jukebox_hf.generation.holes import score
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.making import Generation, decode_joined
from jukebox_hf.hub import System
from jukebox_hf.locks import locked

HOPS = (8, 32, 128)
RATE = 8000
WANTED: dict[str, Any] = {
    "take": 1,
    "from_seconds": 0.4,
    "to_seconds": 0.64,
    "candidates": 4,
    "takes": 2,
    "seed": 9,
}


@pytest.fixture(scope="module")
def pipeline(tiny: System) -> JukeboxPipeline:
    return JukeboxPipeline(tiny, device="cpu")


@pytest.fixture(scope="module")
def song(pipeline: JukeboxPipeline, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Two finished takes of 1.28 s, with seams in levels 1 and 0."""
    wanted = {"seconds": 1.28, "genre": "rock", "seed": 3, "takes": 2, "chains": {1: 2, 0: 3}}
    return finish(pipeline.begin(tmp_path_factory.mktemp("song") / "song", Request.new(wanted)))


@pytest.fixture(scope="module")
def infilled(
    pipeline: JukeboxPipeline, song: Session, tmp_path_factory: pytest.TempPathFactory
) -> Session:
    request = Request.infill(song.folder, WANTED)
    return finish(pipeline.begin(tmp_path_factory.mktemp("infilled") / "s", request))


def finish(session: Session) -> Session:
    for _ in session.run(device="cpu", previews=False):
        pass
    return Session.open(session.folder)


def codes_of(session: Session, number: int = 1) -> JoinedCodes:
    codes = session.joined_codes(number)
    assert codes is not None
    return codes


@pytest.mark.parametrize(
    ("bounds", "begin", "removed", "length"),
    [
        ({"from_seconds": 0.4, "to_seconds": 0.64}, 25, 15, 15),
        ({"from_seconds": 0.4, "insert_seconds": 0.16}, 25, 0, 10),
        ({"from_seconds": 0, "insert_seconds": 0.16}, 0, 0, 10),
        ({"from_seconds": 0.16, "to_seconds": 0.72}, 10, 35, 35),  # several windows
    ],
)
def test_outside_the_stretch_nothing_changes_at_any_level(
    pipeline: JukeboxPipeline,
    song: Session,
    tmp_path: Path,
    bounds: dict[str, float],
    begin: int,
    removed: int,
    length: int,
) -> None:
    wanted = {"take": 1, "candidates": 2, "seed": 9, **bounds}
    made = finish(pipeline.begin(tmp_path / "s", Request.infill(song.folder, wanted)))
    assert made.complete
    found, old = codes_of(made), codes_of(song)
    for level, hop in enumerate(HOPS):
        scale = 128 // hop
        new, before = found.levels[level][0], old.levels[level][0]
        end = (begin + length) * scale
        assert len(new) == len(before) + (length - removed) * scale
        assert torch.equal(new[: begin * scale], before[: begin * scale])
        assert torch.equal(new[end:], before[(begin + removed) * scale :])
        hole = before[begin * scale : (begin + removed) * scale]
        assert not torch.equal(new[begin * scale : end], hole)


def test_sound_outside_the_stretch_is_as_it_was(infilled: Session, song: Session) -> None:
    codec = infilled.open_system().load_vqvae()
    for level in (0, 1):
        hop = HOPS[level]
        new, old = (
            decode_joined(codec, level, codes_of(session).level(level))[0]
            for session in (infilled, song)
        )
        reach = max(codec.decoding_halo(level) * hop, 240) + FADE_STFT
        for part in (slice(0, 25 * 128 - reach), slice(40 * 128 + reach, None)):
            torch.testing.assert_close(new[part], old[part], rtol=0, atol=5e-7)
        seams = codes_of(infilled).level(level).seams
        assert any(0 <= 40 * 128 - seam.code * hop <= 240 for seam in seams)


def test_the_best_candidates_fill_it_and_candidates_do_not_depend_on_each_other(
    tiny: System, pipeline: JukeboxPipeline, infilled: Session, song: Session
) -> None:
    plan = pipeline.plan(Request.infill(song.folder, {**WANTED, "candidates": 6, "to_level": 2}))
    generation = Generation(plan, device="cpu", batch_sizes={2: 1})
    for _ in generation:
        pass
    old = codes_of(song).levels[2][0]
    made = {row.candidate: row.codes[25 - row.run.begin :] for row in generation.chains[1, 2]}
    take = plan.take(1)
    scores = {
        number: score(
            tiny.load_prior(2),
            tiny.processor(2),
            torch.cat([old[:25], codes, old[40:]]),
            len(old) - 40,
            take.labels[2],
            total_samples=take.total_samples,
            offset_samples=0,
        )
        for number, codes in made.items()
    }
    order = sorted(scores, key=scores.__getitem__)
    assert [generation.chosen[number].candidate for number in (1, 2)] == order[:2]
    assert generation.chosen[1].bits == pytest.approx(scores[order[0]], abs=1e-5)
    first_four = [number for number in order if number is not None and number <= 4]
    for take_number, number in zip((1, 2), first_four, strict=False):
        kept = codes_of(infilled, take_number).levels[2][0]
        assert torch.equal(kept[25:40], made[number])
        entry = infilled.take(take_number).candidate
        assert entry is not None
        assert entry.number == number
        assert entry.bits == pytest.approx(scores[number], abs=1e-3)


def test_scores_are_the_bits_of_what_follows(tiny: System, song: Session) -> None:
    """Of a whole window, they are the prior's own loss."""
    prior, processor = tiny.load_prior(2), tiny.processor(2)
    codes = codes_of(song).levels[2][0][:40]
    labels = processor.resolve("ada", "rock", None)
    found = score(prior, processor, codes, 32, labels, total_samples=32000, offset_samples=0)
    seen = processor.window([labels], total_samples=32000, offset_samples=8 * 128)
    with torch.inference_mode():
        expected = prior(codes[None, 8:], **seen.inputs()).music_loss
    assert found == pytest.approx(float(expected), abs=1e-5)


def test_interrupted_anywhere_it_goes_on_to_the_same(
    pipeline: JukeboxPipeline, infilled: Session, song: Session, tmp_path: Path
) -> None:
    session = pipeline.begin(tmp_path / "s", Request.infill(song.folder, WANTED))
    for _ in range(40):
        for _ in session.run(device="cpu", previews=False):
            break  # after every batch of windows
        session = Session.open(session.folder)
        if session.complete:
            break
    assert session.complete
    for number in (1, 2):
        new, whole = codes_of(session, number), codes_of(infilled, number)
        for level in range(3):
            assert torch.equal(new.levels[level], whole.levels[level])
            assert new.level(level).seams == whole.level(level).seams
        assert session.take(number).candidate == infilled.take(number).candidate
    assert [path.read_bytes() for path in session.audio_paths] == [
        path.read_bytes() for path in infilled.audio_paths
    ]


def test_the_same_request_goes_on_and_another_is_refused(
    pipeline: JukeboxPipeline, infilled: Session, song: Session
) -> None:
    again = pipeline.begin(infilled.folder, Request.infill(song.folder, WANTED))
    assert again.record.id == infilled.record.id
    with pytest.raises(ValueError, match="candidates is 4 there and 8 here"):
        pipeline.plan(Request.infill(song.folder, {**WANTED, "candidates": 8}), going_on=again)
    with pytest.raises(ValueError, match=r"codes is .* there and .* here"):
        pipeline.plan(Request.infill(song.folder, {**WANTED, "take": 2}), going_on=again)


def test_a_sketch_is_infilled_at_the_levels_that_it_has(
    pipeline: JukeboxPipeline, tmp_path: Path
) -> None:
    wanted = {"seconds": 1.0, "seed": 5, "to_level": 2}
    sketch = finish(pipeline.begin(tmp_path / "sketch", Request.new(wanted)))
    request = Request.infill(sketch.folder, {"from_seconds": 0.3, "to_seconds": 0.4})
    assert request.notes == (
        "levels 0 and 1 are not there in full, and left out (`jukebox upsample`)",
    )
    made = finish(pipeline.begin(tmp_path / "s", request))
    assert list(codes_of(made).levels) == [2]
    finer = finish(pipeline.begin(tmp_path / "finer", Request.finer(made.folder, {})))
    assert sorted(codes_of(finer).levels) == [0, 1, 2]


def test_an_infilled_piece_is_continued_and_infilled_again_with_its_seams(
    pipeline: JukeboxPipeline, infilled: Session, tmp_path: Path
) -> None:
    more = finish(
        pipeline.begin(
            tmp_path / "more", Request.more(infilled.folder, {"seconds": 0.3, "numbers": [1]})
        )
    )
    wanted = {"take": 1, "from_seconds": 0.8, "to_seconds": 0.96, "candidates": 2}
    again = finish(pipeline.begin(tmp_path / "again", Request.infill(infilled.folder, wanted)))
    for level in (0, 1):
        seams = codes_of(infilled).level(level).seams
        assert codes_of(more).level(level).seams[: len(seams)] == seams
        kept = [seam.code for seam in seams if seam.code * HOPS[level] < 0.8 * RATE]
        assert [seam.code for seam in codes_of(again).level(level).seams][: len(kept)] == kept


def test_a_stretch_beyond_what_the_prior_sees_is_said(
    pipeline: JukeboxPipeline, song: Session
) -> None:
    """The tiny top prior sees 32 codes of 16 ms; 25 of them are the end that is scored."""
    wanted = {"take": 1, "from_seconds": 0.1, "to_seconds": 0.88}
    plan = pipeline.plan(Request.infill(song.folder, wanted))
    (note,) = [text for text in plan.notes if "longer than what the prior sees" in text]
    assert "the stretch of 0.784 s" in note
    assert note.endswith("candidates are judged by their last 0.112 s")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"take": 3}, "song has no take 3; it has 1, 2"),
        ({"take": None}, "song has takes 1, 2; say which"),
        ({"to_seconds": 2}, "the stretch ends at 2 s, but take 1 lasts 1.28 s"),
        (
            {"from_seconds": 3, "to_seconds": 4},
            "the stretch begins at 3 s, but take 1 lasts 1.28 s",
        ),
        ({"from_seconds": 0.64}, "must end after it begins, got 0.64 to 0.64 s"),
        ({"to_seconds": 1.28}, "nothing follows the stretch in take 1, which lasts 1.28 s"),
        ({"from_seconds": 0.4, "to_seconds": 0.401}, "must last at least 0.0160 s"),
        ({"to_seconds": None}, "give either where the stretch ends .* or how much to put in"),
        ({"insert_seconds": 1}, "give either where the stretch ends .* or how much to put in"),
        ({"from_seconds": None}, "from_seconds is missing"),
        ({"candidates": 2000}, "candidates must be 1 to 1000, got 2000"),
        ({"takes": 5}, "takes are the best of the candidates: give 1 to 4"),
        ({"form_seconds": 5}, "unknown setting 'form_seconds'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    song: Session, wanted: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        Request.infill(song.folder, {**WANTED, **wanted})


def test_a_session_that_is_being_worked_on_is_refused(song: Session) -> None:
    with locked(song.folder), pytest.raises(ValueError, match="song is being worked on by"):
        Request.infill(song.folder, WANTED)


def test_codes_without_the_top_level_are_refused(song: Session, tmp_path: Path) -> None:
    codes = song.codes(1)
    assert codes is not None
    del codes.levels[2]
    save_codes(tmp_path / "fine.safetensors", codes)
    with pytest.raises(ValueError, match="take 1 has no codes of level 2, the top"):
        Request.infill(tmp_path / "fine.safetensors", WANTED)


def test_a_damaged_record_of_a_stretch_is_one_sentence(infilled: Session, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(infilled.folder, folder)
    record = json.loads((folder / "session.json").read_text(encoding="utf-8"))

    def refused(message: str, **changes: Any) -> None:
        content = {**record, "hole": {**record["hole"], **changes}}
        (folder / "session.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            Session.open(folder).restore_plan(infilled.open_system())

    refused("a hole must end after it begins, got 128", begin=512, end=128)
    refused("a hole must be in levels that are there", codes={"7": record["hole"]["codes"]["2"]})
    fine = {"0": record["hole"]["codes"]["0"]}
    refused("a hole must be in all levels that are made", codes=fine, chains=[])
    chains = [{**record["hole"]["chains"][0], "runs": [[0, 5], [2, 9], [4, 10]]}]
    refused("s, the piece with a hole: a chain of .* is none of a piece", chains=chains)

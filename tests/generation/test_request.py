"""Requests from plain values: what is given is taken, what means nothing is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.generation import (
    JukeboxPipeline,
    PriorShelf,
    Request,
    Session,
    empty_trash,
    remove_session,
    rename_session,
    restore_session,
    session_folders,
)
from jukebox_hf.generation.plan import make_plan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.generation.windows import chain_runs
from jukebox_hf.hub import System
from jukebox_hf.locks import locked
from jukebox_hf.sampling_settings import SETTINGS


@pytest.fixture
def pipeline(tiny: System) -> JukeboxPipeline:
    return JukeboxPipeline(tiny, device="cpu")


def finish(session: Session, **options: Any) -> Session:
    for _ in session.run(device="cpu", previews=False, **options):
        pass
    return Session.open(session.folder)


@pytest.mark.parametrize("name", ["temprature", "top_q", "sead", "artits"])
def test_a_misspelt_setting_is_refused_wherever_settings_are_given(
    name: str, tiny: System, pipeline: JukeboxPipeline, tmp_path: Path
) -> None:
    source = tmp_path / "s"
    finish(pipeline.begin(source, Request.new({"seconds": 0.2, "to_level": 2})))
    prompts = {1: Prompt(seconds=0.2)}
    given: dict[str, Any] = {name: 0.5}
    for ask in (
        lambda: Request.new(given),
        lambda: Request.more(source, {"seconds": 1, **given}),
        lambda: Request.finer(source, given),
        lambda: Request(prompts=prompts, sampling=given),
        lambda: make_plan(tiny, prompts, seed=1, precision="float32", **given),
    ):
        with pytest.raises(ValueError, match=f"unknown setting '{name}'. (Did you mean|Known)"):
            ask()
    with pytest.raises(TypeError, match=name):
        pipeline.generate(**given)


def test_what_is_not_given_is_left_to_others(pipeline: JukeboxPipeline, tmp_path: Path) -> None:
    nothing = dict.fromkeys(["artist", "seed", "precision", "top_p"])
    first = Request.new({"genre": "rock", "seconds": 0.2, "takes": 2, "to_level": 2, **nothing})
    assert first.prompts == dict.fromkeys((1, 2), Prompt(genre="rock", seconds=0.2))
    assert (first.seed, first.sampling) == (None, {})
    plan = pipeline.plan(first)
    session = finish(pipeline.begin(tmp_path / "s", first, plan=plan))
    assert session.settings == plan.settings

    more = Request.more(tmp_path / "s", {"seconds": 0.2, "takes": 2, "numbers": [2]})
    assert list(more.prompts) == [1, 2]
    assert more.to_level == 2
    assert more.parent is not None
    assert (more.parent.id, more.parent.takes) == (session.record.id, [2, 2])
    assert pipeline.plan(more).settings.seed != session.settings.seed
    finer = Request.finer(tmp_path / "s", {"numbers": [1], "genre": "jazz"})
    assert finer.prompts[1].genre == "jazz"
    assert pipeline.plan(finer).settings.seed == session.settings.seed


def test_the_same_request_goes_on_and_another_is_refused(
    pipeline: JukeboxPipeline, tmp_path: Path
) -> None:
    wanted = {"genre": "rock", "seconds": 0.2, "to_level": 2}
    first = pipeline.begin(tmp_path / "s", Request.new(wanted))
    assert pipeline.begin(tmp_path / "s", Request.new(wanted)).record.id == first.record.id
    with pytest.raises(ValueError, match="genre of take 1 is 'rock' there and 'jazz' here"):
        pipeline.begin(tmp_path / "s", Request.new({**wanted, "genre": "jazz"}))


def test_priors_on_a_shelf_make_the_same_music(tiny: System, tmp_path: Path) -> None:
    pipeline, shelf = JukeboxPipeline(tiny, device="cpu"), PriorShelf()
    request = Request.new({"genre": "rock", "seconds": 0.2, "seed": 3})
    alone = finish(pipeline.begin(tmp_path / "alone", request))
    for name in ("first", "second"):
        session = finish(pipeline.begin(tmp_path / name, request), shelf=shelf)
        for level, codes in alone.codes(1).levels.items():  # type: ignore[union-attr]
            assert torch.equal(session.codes(1).levels[level], codes)  # type: ignore[union-attr]
    assert len(shelf._priors) == 3
    shelf.clear()
    assert not shelf._priors


@pytest.mark.parametrize("chains", [10**6, 10**9])
def test_absurdly_many_chains_are_cut_at_once_to_what_fits(chains: int) -> None:
    whole = chain_runs(10**5, 40, context=1024, stride=512, overlap=64)
    runs = chain_runs(10**5, chains, context=1024, stride=512, overlap=64)
    assert len(runs) >= len(whole)
    assert all(run.length >= 1024 for run in runs)


def test_chains_are_as_many_as_before_the_bound() -> None:
    """The bound leaves out only counts that were never taken: runs shorter than a context."""
    for total in range(16, 200, 4):
        for overlap in (0, 2, 4):
            sizes = {"context": 16, "stride": 8, "overlap": overlap}
            most = len(chain_runs(total, total, **sizes))
            assert len(chain_runs(total, 10**9, **sizes)) == most
            for chains in range(1, 30):
                runs = chain_runs(total, chains, **sizes)
                assert len(runs) <= min(chains, most)
                assert len(runs) == 1 or min(run.length for run in runs) >= 16


def test_level_settings_are_known_by_name() -> None:
    assert {"temperature", "top_k", "top_p", "guidance", "chains"} < set(SETTINGS)


def test_the_part_of_a_primer_is_for_the_lines_that_have_one(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"primer": "a.wav"}\n{"genre": "rock"}\n', encoding="utf-8")
    cut = {"prompts": path, "primer_start_seconds": 1.5}
    assert [one.primer_start_seconds for one in Request.new(cut).prompts.values()] == [1.5, 0]
    for line in ("{}", '{"primer_start_seconds": 1.5}'):
        path.write_text(line, encoding="utf-8")
        with pytest.raises(ValueError, match="no primer to take a part of with primer_start_sec"):
            Request.new(cut)


# --- folders ---


def test_sessions_are_renamed_removed_and_taken_back(
    pipeline: JukeboxPipeline, tmp_path: Path
) -> None:
    request = Request.new({"seconds": 0.2, "to_level": 2})
    folder = pipeline.begin(tmp_path / "a", request).folder
    other = pipeline.begin(tmp_path / "b", request).folder
    number = Session.open(folder).record.id
    folder = rename_session(folder, "song")
    assert Session.open(folder).record.id == number
    with pytest.raises(FileExistsError, match="choose another name"):
        rename_session(other, "song")
    for name in ("../x", ".hidden", "a/b", ""):
        with pytest.raises(ValueError, match="cannot be the name of a folder"):
            rename_session(folder, name)
    with locked(folder), pytest.raises(OSError, match="is being worked on"):
        remove_session(folder)
    binned = remove_session(folder)
    assert session_folders(tmp_path) == [other]
    assert restore_session(binned) == folder
    assert finish(Session.open(folder)).complete
    with pytest.raises(FileNotFoundError, match="is not a session"):
        remove_session(tmp_path)


def test_the_bin_holds_sessions_of_one_name_and_empties_nothing_else(
    pipeline: JukeboxPipeline, tmp_path: Path
) -> None:
    request = Request.new({"seconds": 0.2, "to_level": 2})
    for _ in range(2):
        remove_session(pipeline.begin(tmp_path / "a", request).folder)
    (tmp_path / ".trash" / "mine.txt").write_text("mine")
    assert [path.name for path in empty_trash(tmp_path)] == ["a", "a_2"]
    assert [path.name for path in (tmp_path / ".trash").iterdir()] == ["mine.txt"]


def test_a_bin_that_is_a_link_is_not_followed(pipeline: JukeboxPipeline, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    here = tmp_path / "here"
    request = Request.new({"seconds": 0.2, "to_level": 2})
    pipeline.begin(elsewhere / "precious", request)
    folder = pipeline.begin(here / "a", request).folder
    (here / ".trash").symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link"):
        remove_session(folder)
    assert empty_trash(here) == []
    assert Session.is_at(elsewhere / "precious")

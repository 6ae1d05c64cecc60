"""Plans: what is adapted, what is refused, and what a plan says it costs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.codes import Codes
from jukebox_hf.generation.estimate import Work, describe_plan, estimate_costs, level_work
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.plan import make_plan
from jukebox_hf.generation.settings import (
    GenerationSettings,
    Prompt,
    PromptRecord,
    primer_record,
)
from jukebox_hf.hub import System
from jukebox_hf.labels import parse_lrc
from jukebox_hf.records import from_json, to_json
from jukebox_hf.sampling_settings import LevelSettings, at_level, level_settings
from jukebox_hf.words import format_seconds
from tests.generation.making import plan_of
from tests.tiny import tiny_system

RATE = 8000


def test_lengths_come_from_the_model_where_none_are_given(tiny: System) -> None:
    (take,) = plan_of(tiny, {1: Prompt()}).takes
    assert take.num_samples == 62 * 128  # 1 second in whole top codes
    assert take.total_samples == 4 * RATE
    assert take.offset_samples == 0


def test_total_length_grows_with_the_piece_where_none_is_given(tiny: System) -> None:
    (take,) = plan_of(tiny, {1: Prompt(seconds=6.4)}).takes
    assert take.total_samples == take.num_samples == 400 * 128
    (take,) = plan_of(tiny, {1: Prompt(seconds=1, offset_seconds=5)}).takes
    assert take.total_samples == take.offset_samples + take.num_samples


def test_lengths_are_exact_in_samples(tiny: System) -> None:
    for samples in range(128, 128 * 40, 128):
        prompt = Prompt(seconds=samples / RATE, total_seconds=32001 / RATE)
        (take,) = plan_of(tiny, {1: prompt}).takes
        assert (take.num_samples, take.total_samples) == (samples, 32001)


@pytest.mark.parametrize(
    ("samples", "codes"), [(128, 1), (126, 1), (254, 2), (255, 2), (256, 2), (381, 2)]
)
def test_primer_a_little_short_of_a_code_is_padded(samples: int, codes: int, tiny: System) -> None:
    (take,) = plan_of(tiny, {1: Prompt(primer=torch.rand(1, samples))}).takes
    assert take.existing == {2: codes, 1: 4 * codes, 0: 16 * codes}
    assert take.primer_audio is not None
    assert take.primer_audio.shape == (1, 128 * codes)


def test_primer_shorter_than_a_code_is_refused(tiny: System) -> None:
    with pytest.raises(ValueError, match=r"take 1: a primer needs at least 0\.0160 seconds"):
        plan_of(tiny, {1: Prompt(primer=torch.rand(1, 100))})


def codes_of(tiny: System, **changes: Any) -> Codes:
    config = tiny.vqvae_config()
    values: dict[str, Any] = {
        "levels": {2: torch.zeros(1, 20, dtype=torch.int64)},
        "hop_lengths": config.hop_lengths,
        "sampling_rate": config.sampling_rate,
        "fingerprint": config.codebook_fingerprint,
    }
    return Codes(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_lengths": (8, 32, 64)}, "made with hop lengths"),
        ({"sampling_rate": 44100}, "at 44100 Hz, but this model has"),
        ({"fingerprint": "sha256:0123"}, "made with another codec"),
        ({"levels": {2: torch.full((1, 20), 99)}}, "level 2 holds code 99"),
        ({"levels": {2: torch.zeros(2, 20, dtype=torch.int64)}}, "got codes of 2"),
    ],
)
def test_codes_of_another_model_are_refused(
    changes: dict[str, Any], message: str, tiny: System
) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(tiny, {1: Prompt(primer=codes_of(tiny, **changes))})


def test_only_levels_that_are_missing_are_sampled(tiny: System) -> None:
    plan = plan_of(tiny, {1: Prompt(primer=codes_of(tiny)), 2: Prompt(seconds=0.32)})
    numbers = {level.level: [t.number for t in plan.takes_at(level.level)] for level in plan.levels}
    assert numbers == {2: [2], 1: [1, 2], 0: [1, 2]}


def test_full_pieces_leave_nothing_to_do(tiny: System) -> None:
    with pytest.raises(ValueError, match="there is nothing to sample"):
        plan_of(tiny, {1: Prompt(primer=codes_of(tiny))}, to_level=2)


def test_model_without_lower_priors_stops_where_it_can(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    manifest = (folder / "jukebox.json").read_text(encoding="utf-8")
    import json

    content = json.loads(manifest)
    del content["components"]["prior_0"]
    (folder / "jukebox.json").write_text(json.dumps(content), encoding="utf-8")
    system = System.open(folder)
    plan = plan_of(system, {1: Prompt(seconds=0.2)})
    assert plan.settings.to_level == 1
    assert "priors down to level 1 only" in plan.notes[0]
    with pytest.raises(ValueError, match="has no prior for level 0, only prior_1, prior_2"):
        plan_of(system, {1: Prompt(seconds=0.2)}, to_level=0)
    del content["components"]["prior_2"]
    (folder / "jukebox.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="begin with codes of that level"):
        plan_of(System.open(folder), {1: Prompt(seconds=0.2)}, to_level=1)


def test_notes_name_each_thing_once_and_where(tiny: System) -> None:
    prompts = dict.fromkeys((1, 2), Prompt(artist="adda", lyrics="la", seconds=0.2))
    notes = plan_of(tiny, prompts).notes
    assert len(notes) == 2
    assert notes[0].startswith("artist 'adda' is not known")
    assert notes[1] == "this model does not read lyrics; they are left out"


# --- settings ---


def test_settings_come_from_the_command_then_the_model_then_us() -> None:
    defaults = {"temperature": {"2": 0.9}, "hop_fraction": {"2": 0.25}, "chains": {"0": 3}}
    given = {"temperature": {None: 0.7}, "hop_fraction": None}
    top = level_settings(2, 3, defaults, given)
    assert top == LevelSettings(temperature=0.7, hop_fraction=0.25)
    assert level_settings(2, 3, {}, {}).hop_fraction == 0.125
    assert level_settings(0, 3, defaults, {}) == LevelSettings(hop_fraction=0.5, chains=3)


def test_chains_for_all_levels_leave_the_top_whole(tiny: System) -> None:
    def chains(given: Any) -> list[Any]:
        return [level.settings.chains for level in plan_of(tiny, 1, chains=given).levels]

    assert chains(3) == [1, 3, 3]
    assert chains({None: 3, 0: 2}) == [1, 3, 2]
    assert chains({2: 4}) == [4, 1, 1]
    assert chains("auto") == [1, "auto", "auto"]


def test_automatic_chains_follow_from_the_length(tiny: System) -> None:
    counts = {}
    for seconds in (0.4, 1.0, 4.0):
        plan = plan_of(tiny, {1: Prompt(seconds=seconds)}, chains="auto")
        counts[seconds] = [len(level.runs(plan.takes[0])) for level in plan.levels]
    assert counts == {0.4: [1, 1, 3], 1.0: [1, 1, 7], 4.0: [1, 7, 16]}


def test_top_k_takes_the_place_of_an_earlier_top_p() -> None:
    defaults = {"top_p": {"2": 0.9}}
    assert level_settings(2, 3, defaults, {"top_k": 5}).top_p is None
    assert level_settings(2, 3, defaults, {}).top_p == 0.9
    with pytest.raises(ValueError, match="level 2: top_k and top_p exclude each other"):
        level_settings(2, 3, {}, {"top_k": 5, "top_p": 0.5})


@pytest.mark.parametrize(
    ("values", "expected"), [(None, 1), (3, 3), ({2: 5}, 5), ({None: 4}, 4), ({1: 6}, 1)]
)
def test_value_of_one_level(values: Any, expected: int) -> None:
    assert at_level(values, 2, 1) == expected


def test_settings_and_prompts_survive_json(tiny: System) -> None:
    import json

    settings = plan_of(tiny, 1, chains={0: 2}, top_k=4).settings
    stored = json.loads(json.dumps(to_json(settings)))
    assert from_json(GenerationSettings, stored, "x") == settings
    lyrics = parse_lrc("[00:01.00]one two\n[00:02.50]three\n")
    for prompt in (Prompt(genre="rock", seconds=2), Prompt(lyrics=lyrics), Prompt(lyrics="la")):
        stored = json.loads(json.dumps(to_json(prompt.to_record())))
        assert Prompt.restore(from_json(PromptRecord, stored, "x")) == prompt


def test_primers_are_told_apart_by_their_content(tmp_path: Path) -> None:
    first, second = torch.rand(1, 10), torch.rand(1, 10)
    assert primer_record(first) == primer_record(first.clone())
    assert primer_record(first) != primer_record(second)
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
    hashes = [primer_record(tmp_path / name).sha256 for name in "abc"]  # type: ignore[union-attr]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": 0}, "seconds must be above 0"),
        ({"offset_seconds": -1}, "offset_seconds must be 0 or more"),
        ({"primer_start_seconds": 2, "primer_end_seconds": 1}, "must end after it starts"),
    ],
)
def test_senseless_prompts_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prompt(**values)


# --- what it costs ---


@pytest.mark.parametrize("chains", [1, {1: 2}])
def test_work_of_a_plan_is_what_is_done(chains: Any, tiny: System) -> None:
    prompts = {1: Prompt(seconds=0.4), 2: Prompt(seconds=0.4), 3: Prompt(seconds=0.3)}
    plan = plan_of(tiny, prompts, to_level=1, chains=chains)
    generation = Generation(plan, batch_sizes={2: 2, 1: 2})
    reports = list(generation)
    for level in plan.levels:
        own = [report for report in reports if report.level == level.level]
        work = level_work(plan, level, 2)
        assert work.codes == sum(w.new for report in own for w in report.windows)
        assert work.windows == sum(len(report.windows) for report in own)
        if chains == 1:
            assert work.passes == len(own)
            assert work.steps == sum(report.windows[0].new for report in own)


def test_estimate_says_what_a_plan_costs(tiny: System) -> None:
    plan = plan_of(tiny, 2, seconds=0.5)
    device = torch.device("cpu")
    costs = estimate_costs(plan, device)
    assert [level.level for level in costs.levels] == [2, 1, 0]
    assert costs.seconds is not None
    assert 0 < costs.seconds < 60
    assert costs.memory_bytes == max(level.memory_bytes for level in costs.levels)
    text = describe_plan(plan, costs, device)
    assert text.startswith("model: 2 takes of 0.496 s, seed 7, on cpu in float32 (eager).")
    assert "Level 0: 60 windows, 992 codes, 2 at once, about " in text
    assert estimate_costs(plan, device, calibrate=False).seconds is None


def test_estimate_warns_where_memory_is_short(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUKEBOX_MEMORY_LIMIT", "1kB")
    plan = plan_of(tiny)
    costs = estimate_costs(plan, torch.device("cpu"), calibrate=False)
    text = describe_plan(plan, costs, torch.device("cpu"))
    assert "available, which may not be enough" in text


def test_work_counts_rows_and_steps(tiny: System) -> None:
    plan = plan_of(tiny, 3, seconds=0.512)  # 32 top codes: one window
    assert level_work(plan, plan.levels[0], 2) == Work(
        rows=3, windows=3, codes=96, passes=2, steps=64, prefilled=0
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.04 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (90000, "25 h 0 min"),
    ],
)
def test_durations_for_reading(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_nothing_to_make(tiny: System) -> None:
    with pytest.raises(ValueError, match="there is nothing to make"):
        make_plan(tiny, {}, seed=0, precision="float32")

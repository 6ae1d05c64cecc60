"""Music does not depend on how it was made: batches, interruptions, chains elsewhere."""

import itertools
import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.codes import Codes
from jukebox_hf.generation import memory
from jukebox_hf.generation.chains import FADE_SECONDS, FADE_STFT
from jukebox_hf.generation.level_sampler import LevelSampler, Row, TakePiece, next_batch
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.plan import LevelPlan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.generation.windows import Run
from jukebox_hf.hub import System
from jukebox_hf.labels import JukeboxProcessor
from jukebox_hf.prior.bound_steps import BoundSteps
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.network import PriorNetwork
from tests.generation.making import assert_same_codes, make, plan_of

LEVELS = (2, 1, 0)


def test_a_piece_has_the_length_asked_for_at_every_level(tiny: System) -> None:
    codes = make(tiny, plan_of(tiny, seconds=0.6))[1]
    assert [len(codes[level]) for level in LEVELS] == [37, 148, 592]


def test_batch_of_five_equals_five_single_takes(tiny: System) -> None:
    together = make(tiny, plan_of(tiny, 5, seconds=0.3))
    prompt = plan_of(tiny, 1, seconds=0.3).takes[0].prompt
    for number in range(1, 6):
        alone = make(tiny, plan_of(tiny, {number: prompt}))
        assert_same_codes(alone, {number: together[number]})
    assert len({tuple(together[number][0].tolist()) for number in together}) == 5


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batch_size_does_not_matter(tiny: System, size: int) -> None:
    plan = plan_of(tiny, 3, to_level=1)
    whole = make(tiny, plan)
    assert_same_codes(make(tiny, plan, batch_sizes=dict.fromkeys(range(3), size)), whole)


@pytest.mark.parametrize("chains", [1, {1: 2}])
def test_interrupted_equals_uninterrupted(tiny: System, chains: Any) -> None:
    """Stopped after every single batch of windows, each time gone on with by another object."""
    prompts = {
        1: Prompt(seconds=0.6, primer=torch.rand(1, 1500) - 0.5),
        2: Prompt(genre="jazz", seconds=0.6),
        3: Prompt(seconds=0.9),
    }
    plan = plan_of(tiny, prompts, chains=chains, to_level=1)
    whole = Generation(plan)
    reports = list(whole)
    state: dict[str, Any] = {}
    steps = 0
    while True:
        part = Generation(plan, **state)
        if next(iter(part), None) is None:
            break
        steps += 1
        state = {
            "codes": part.codes,
            "chains": {
                key: [row.codes[: row.done] for row in rows] for key, rows in part.chains.items()
            },
            "seams": part.seams,
            "batch_sizes": part.batch_sizes,
        }
    assert steps == len(reports)
    assert_same_codes(part.codes, whole.codes)
    assert part.seams == whole.seams
    for number in prompts:
        assert torch.equal(part.decode(number, 1), whole.decode(number, 1))


def test_takes_of_different_lengths_and_primers_share_batches_where_they_can(tiny: System) -> None:
    prompts = {
        1: Prompt(seconds=0.6),
        2: Prompt(seconds=0.9),
        3: Prompt(seconds=0.6, primer=torch.rand(2, 2000) - 0.5),
    }
    together = make(tiny, plan_of(tiny, prompts, to_level=1))
    for number, prompt in prompts.items():
        alone = make(tiny, plan_of(tiny, {number: prompt}, to_level=1))
        assert_same_codes(alone, {number: together[number]})


def test_primer_is_encoded_and_kept(tiny: System) -> None:
    audio = torch.rand(1, 1285) - 0.5
    plan = plan_of(tiny, {1: Prompt(seconds=0.3, primer=audio)})
    generation = Generation(plan)
    for _ in generation:
        pass
    expected = generation.codec.encode(audio[None, :, :1280])
    for level, codes in enumerate(expected):
        assert torch.equal(generation.codes[1][level][: codes.shape[1]], codes[0])


def test_upsampling_given_codes_equals_making_all_at_once(tiny: System) -> None:
    plan = plan_of(tiny, 2, seconds=0.3)
    whole = make(tiny, plan)
    config = tiny.vqvae_config()
    for given in ([2], [2, 1], [1]):
        codes = Codes(
            {level: whole[2][level][None] for level in given},
            config.hop_lengths,
            config.sampling_rate,
        )
        prompt = Prompt(genre="rock", artist="ada", total_seconds=4.0, primer=codes)
        made = make(tiny, plan_of(tiny, {2: prompt}))
        assert torch.equal(made[2][0], whole[2][0])


def test_short_piece_is_made_too(tiny: System) -> None:
    """Shorter than one window of any level; the upsamplers' windows are padded."""
    for seconds in (0.016, 0.1):
        codes = make(tiny, plan_of(tiny, {1: Prompt(seconds=seconds)}))[1]
        samples = int(seconds * 8000) // 128 * 128
        assert [len(codes[level]) for level in LEVELS] == [samples // hop for hop in (128, 32, 8)]


def test_seed_and_take_and_settings_matter(tiny: System) -> None:
    def top(**settings: Any) -> Tensor:
        return make(tiny, plan_of(tiny, to_level=2, **settings))[1][2]

    first = top()
    assert torch.equal(first, top())
    assert not torch.equal(first, top(seed=8))
    assert not torch.equal(first, top(temperature=0.3))
    assert not torch.equal(first, top(top_k=1))


def test_runs_in_16_bit(tiny: System) -> None:
    for precision in ("bfloat16", "float16"):
        codes = make(tiny, plan_of(tiny, seconds=0.2, precision=precision))
        assert len(codes[1][0]) == 192


def test_reports_say_what_happened(lyrical: System) -> None:
    prompts = {1: Prompt(lyrics="La la la la la la", seconds=0.6), 2: Prompt(seconds=0.6)}
    generation = Generation(plan_of(lyrical, prompts, to_level=1))
    reports = list(generation)
    assert [r.level for r in reports if r.level_done] == [2, 1]
    made: Counter[tuple[int, int]] = Counter()
    for report in reports:
        for window in report.windows:
            made[window.take, report.level] += window.new
            assert (window.lyric_span is not None) == (report.level == 2 and window.take == 1)
        assert report.codes_done <= report.codes_total
    assert made == {
        (take, level): len(generation.codes[take][level]) for take in prompts for level in (2, 1)
    }


def test_progress_is_reported_within_a_window(tiny: System) -> None:
    seen: list[tuple[int, int, int]] = []
    make(tiny, plan_of(tiny, 2, to_level=2), on_codes=lambda *now: seen.append(now))
    assert seen[0] == (2, 0, 74)
    assert (2, 32, 74) in seen  # sixteen codes of either take
    assert all(level == 2 and done <= total for level, done, total in seen)


def test_given_codes_are_read_in_one_pass_and_each_code_is_one_step(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    lengths: list[int] = []

    def count(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            if name == "prefill":
                lengths.append(args[0].shape[1])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    count(PriorNetwork, "prefill")
    count(PriorNetwork, "condition")
    count(BoundSteps, "step")
    generation = Generation(plan_of(tiny, 3, to_level=1))
    reports = list(generation)
    assert calls["prefill"] == calls["condition"] == len(reports)
    assert lengths == [report.windows[0].given for report in reports]
    assert calls["step"] == sum(report.windows[0].new - 1 for report in reports)


def test_every_prior_is_built_once_and_its_processor_read_once(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice with the one without memory, whose sizes are asked for before anything is loaded."""
    built: Counter[int] = Counter()
    read: Counter[int] = Counter()
    build, read_processor = PriorNetwork.__init__, System._read_processor

    def building(self: PriorNetwork, config: JukeboxPriorConfig, **options: Any) -> None:
        built[config.level] += 1
        build(self, config, **options)

    def reading(self: System, level: int) -> JukeboxProcessor:
        read[level] += 1
        return read_processor(self, level)

    monkeypatch.setattr(PriorNetwork, "__init__", building)
    monkeypatch.setattr(System, "_read_processor", reading)
    system = System.open(tiny.source)
    make(system, plan_of(system, 2, seconds=0.2))
    assert all(built[level] <= 2 for level in range(3)), built
    assert set(built) == set(read) == {0, 1, 2}
    assert set(read.values()) == {1}


def test_one_prior_is_resident_at_a_time(tiny: System, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[PriorNetwork]] = []
    original = System.load_prior_network

    def load(self: System, level: int, **options: Any) -> PriorNetwork:
        assert all(one() is None for one in loaded)
        prior = original(self, level, **options)
        loaded.append(weakref.ref(prior))
        return prior

    monkeypatch.setattr(System, "load_prior_network", load)
    make(tiny, plan_of(tiny, seconds=0.2))
    assert len(loaded) == 3


# --- chains ---


def test_codes_inside_a_chain_equal_a_sequential_run_with_the_same_start(tiny: System) -> None:
    plan = plan_of(tiny, 2, seconds=1.2, chains={1: 3})
    generation = Generation(plan)
    for report in generation:
        if report.level == 1 and report.level_done:
            break
    level = next(one for one in plan.levels if one.level == 1)
    take = plan.takes[1]
    assert len(generation.chains[2, 1]) == 3
    prior = tiny.load_prior(1)
    for row in generation.chains[2, 1]:
        piece = TakePiece(
            take.labels[1], take.total_samples, take.offset_samples, generation.codes[2][2]
        )
        sampler = LevelSampler(
            prior,
            tiny.processor(1),
            level.settings,
            seed=plan.settings.seed,
            pieces={2: piece},
            batch_size=1,
        )
        alone = Row.start(2, row.run, torch.zeros(0, dtype=torch.int64))
        alone.past = row.past
        while batch := next_batch([alone], level.context, level.stride, 1):
            sampler.sample(batch)
        assert torch.equal(alone.codes, row.codes)


def test_past_of_chains_is_the_sound_of_the_level_above(tiny: System) -> None:
    generation = Generation(plan_of(tiny, seconds=1.2, chains={1: 3}, to_level=1))
    for _ in generation:
        pass
    first, *others = generation.chains[1, 1]
    assert first.run.past == 0
    audio = generation.codec.decode(generation.codes[1][2][None], 2)
    codes = generation.codec.encode(audio, [1])[0][0]
    for row in others:
        assert row.run.past == 8  # a quarter of the context
        assert torch.equal(row.past, codes[row.run.begin - 8 : row.run.begin])


def test_only_the_opening_of_the_first_chain_is_sampled_apart_from_the_others(
    tiny: System,
) -> None:
    plan = plan_of(tiny, 2, seconds=1.2, chains={1: 3}, to_level=1)
    reports = [report for report in Generation(plan) if report.level == 1]
    assert [(window.chain, window.given, window.new) for window in reports[0].windows] == [
        (0, 0, 8),
        (0, 0, 8),
    ]
    assert all(len(report.windows) == 6 for report in reports[1:])


def test_cold_chains_begin_with_nothing(tiny: System) -> None:
    plan = plan_of(tiny, seconds=1.2, chains={1: 3}, to_level=1, chain_starts="cold")
    generation = Generation(plan)
    reports = [report for report in generation if report.level == 1]
    begins = [row.run.begin for row in generation.chains[1, 1]]
    assert [window[1:5] for window in reports[0].windows] == [
        (chain, begin, 0, 32) for chain, begin in enumerate(begins)
    ]
    assert all(row.past is None for row in generation.chains[1, 1])


def test_chains_are_spliced_where_the_seams_say(tiny: System) -> None:
    generation = Generation(plan_of(tiny, seconds=0.6, chains={0: 4}))
    for _ in generation:
        pass
    rows, seams = generation.chains[1, 0], generation.seams[1, 0]
    assert len(rows) == 4
    assert len(seams) == 3
    codes = generation.codes[1][0]
    cuts = [0, *(seam.code for seam in seams), len(codes)]
    for row, (first, end) in zip(rows, itertools.pairwise(cuts), strict=True):
        assert row.run.begin <= first < end <= row.run.end
        expected = row.codes[first - row.run.begin : end - row.run.begin]
        assert torch.equal(codes[first:end], expected)
    assert all(-1 <= seam.likeness <= 1 for seam in seams)


def test_audio_of_chains_is_cross_faded_at_seams_only(tiny: System) -> None:
    generation = Generation(plan_of(tiny, seconds=0.6, chains={0: 2}))
    for _ in generation:
        pass
    (seam,) = generation.seams[1, 0]
    audio = generation.decode(1, 0)[0]
    left, right = generation.chains[1, 0]
    hop = 8
    reach = generation.codec.decoding_halo(0) * hop + round(FADE_SECONDS * 8000) + FADE_STFT
    assert audio.shape == (len(generation.codes[1][0]) * hop,)
    for row, inside in ((left, slice(0, seam.code)), (right, slice(seam.code, None))):
        codes = generation.codes[1][0].clone()
        codes[row.run.begin : row.run.end] = row.codes
        own = generation.codec.decode(codes[None], 0)[0, 0]
        far = slice(
            inside.start * hop + (reach if row is right else 0),
            (inside.stop * hop - reach) if inside.stop else None,
        )
        torch.testing.assert_close(audio[far], own[far], rtol=0, atol=1e-5)


# --- memory ---


def test_memory_formulas_are_exact_for_weights_and_cache(lyrical: System) -> None:
    for level in range(3):
        for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            prior = lyrical.load_prior(level, dtype=dtype)
            found = memory.prior_memory(prior.config, precision, "cpu")
            assert found.weights == memory.module_bytes(prior)
            assert found.cache * 3 == prior.new_cache(3).num_bytes()


def test_batch_is_halved_when_memory_runs_out(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tiny, 5, to_level=2)
    whole = make(tiny, plan)
    config = tiny.prior_config(2)
    needed = memory.prior_memory(config, "float32", "cpu")
    monkeypatch.setenv(memory.LIMIT_VARIABLE, str(needed.total(2)))
    generation = Generation(plan, batch_sizes={2: 5})
    sizes = [len(report.windows) for report in generation]
    assert generation.batch_sizes[2] == 2
    assert max(sizes) == 2
    assert_same_codes(generation.codes, whole)


def test_batch_size_comes_from_free_memory(tiny: System, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tiny, 5, to_level=2)
    needed = memory.prior_memory(tiny.prior_config(2), "float32", "cpu")
    limit = int(needed.total(3) / memory.USED_SHARE) + 1
    monkeypatch.setenv(memory.LIMIT_VARIABLE, str(limit))
    generation = Generation(plan)
    assert max(len(report.windows) for report in generation) == 3


def test_no_room_for_a_single_window_is_an_error(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "1kB")
    with pytest.raises(torch.OutOfMemoryError, match="not even one window of level 2"):
        make(tiny, plan_of(tiny, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000", 1000), ("2kB", 2000), ("1.5 GB", 1_500_000_000), ("3MiB", 3 * 2**20), ("", None)],
)
def test_memory_limit_is_read(
    text: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.LIMIT_VARIABLE, text)
    assert memory.memory_limit() == expected


def test_unreadable_memory_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "plenty")
    with pytest.raises(ValueError, match="must be an amount such as 6GB"):
        memory.memory_limit()


def test_logits_that_are_no_numbers_end_the_run(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(
        self: BoundSteps, tokens: Tensor, position: int, positions: Tensor | None, logits: Tensor
    ) -> None:
        logits.fill_(float("nan"))

    monkeypatch.setattr(BoundSteps, "step", broken)
    with pytest.raises(ValueError, match="not numbers"):
        make(tiny, plan_of(tiny))


def test_next_batch_takes_rows_that_have_had_least(tiny: System) -> None:
    level = LevelPlan.of(tiny.prior_config(2), plan_of(tiny).settings.levels[2])
    rows = [Row.start(take, Run(0, 64), torch.zeros(0, dtype=torch.int64)) for take in range(1, 4)]
    first = next_batch(rows, level.context, level.stride, 2)
    assert [entry.row.take for entry in first] == [1, 2]
    for entry in first:
        entry.row.done += entry.window.new
    assert [e.row.take for e in next_batch(rows, level.context, level.stride, 2)] == [3]

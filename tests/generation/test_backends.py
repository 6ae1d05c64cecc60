"""However steps run, they choose the same codes, and nothing is compiled twice."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.generation.backends import (
    STEPS_PER_GRAPH,
    WARM_UP_STEPS,
    CompiledBackend,
    GraphBackend,
    Step,
    StepState,
    make_backend,
)
from jukebox_hf.generation.noise import uniform_noise
from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.generation.weights import loading_dtype, prepare
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.quantization import compile_options
from jukebox_hf.sampling_settings import LevelSettings
from tests.prior.tiny_priors import inputs, tiny_prior

# torch 2.13 warns of itself when its compiler is first imported (torch/utils/mkldnn.py).
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")

CPU = torch.device("cpu")
WINDOWS = 2
HALF = 12  # of the context of these priors


def sample_windows(sampler: WindowSampler, batch: int = 2, windows: int = WINDOWS) -> Tensor:
    """Codes (batch, time) of a window from nothing, and of others that each begin with half."""
    prior, length = sampler.prior, sampler.prior.config.context_length
    _, given = inputs(prior, batch)
    given = {name: value.to(prior.device) for name, value in given.items()}
    with torch.inference_mode():
        conditioning = prior.condition(**given)
    codes = torch.zeros(batch, 0, dtype=torch.int64, device=prior.device)
    for _ in range(windows):
        primer = codes[:, -HALF:]
        noise = torch.stack(
            [
                uniform_noise(
                    seed=3, take=take, level=0, start=codes.shape[1], count=length - primer.shape[1]
                )
                for take in range(batch)
            ]
        )
        codes = torch.cat([codes, sampler.sample(primer, noise, conditioning)], dim=1)
    return codes


def sampler_of(prior: JukeboxPrior, backend: str, batch: int = 2, **settings: Any) -> WindowSampler:
    return WindowSampler(prior, LevelSettings(**settings), batch, backend=backend)


def test_a_window_is_what_the_whole_pass_predicts() -> None:
    """Greedy codes are the likeliest of `forward`, each given the ones before it."""
    prior = tiny_prior("upsampler")
    codes = sample_windows(sampler_of(prior, "eager", top_k=1), windows=1)
    _, given = inputs(prior, 2)
    with torch.inference_mode():
        assert torch.equal(prior(codes, **given).logits.argmax(-1), codes)


@pytest.mark.parametrize("name", ["upsampler", "lyrics_encoder", "lyrics_sequence"])
def test_a_step_is_one_graph_and_is_recorded_once(name: str) -> None:
    """No graph breaks (`fullgraph`), no second recording for other positions and windows."""
    prior = tiny_prior(name)
    expected = sample_windows(sampler_of(prior, "eager"))
    sampler = sampler_of(prior, "eager")
    sampler.backend = CompiledBackend(sampler._make_step(), compiler="eager")
    assert torch.equal(sample_windows(sampler), expected)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(sample_windows(sampler), expected)


def one_step(precision: str, rows: int, compiler: str | None) -> Tensor:
    """Logits after one step of a prior with 4 to 16 bits; a compiler of torch's, or none."""
    prior = tiny_prior("upsampler", width=64, attention_width=64, mlp_width=128)
    packed = compiler is None
    prior = prepare(prior.to(loading_dtype(precision)), precision, CPU, packed=packed, rows=rows)
    sampler = sampler_of(prior, "eager", rows)
    if compiler is not None:
        options = compile_options(prior)
        assert bool(options) == (precision == "int4")
        if compiler == "eager":  # knows none
            options = {}
        step = sampler._make_step()
        sampler.backend = CompiledBackend(step, compiler=compiler, options=options)
    codes, given = inputs(prior, rows)
    with torch.inference_mode():
        conditioning = prior.condition(**given)
        sampler.sample(codes[:, :HALF], torch.full((rows, 2), 0.5), conditioning)
    return sampler.buffers.logits.clone()


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("compiler", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_few_rows_are_multiplied_alike_eagerly_and_compiled(
    precision: str, rows: int, compiler: str
) -> None:
    """Compiled for a CPU, few rows have a product of their own."""
    eager, compiled = one_step(precision, rows, None), one_step(precision, rows, compiler)
    tolerance = {"float16": 0.01, "bfloat16": 0.05, "int8": 0.05, "int4": 0.05}[precision]
    assert (eager - compiled).norm() < tolerance * (eager - eager.mean()).norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upsampler", "lyrics_encoder", "lyrics_sequence"])
def test_compiled_steps_choose_the_same_codes(name: str) -> None:
    prior = tiny_prior(name)
    for settings in ({}, {"top_k": 5}, {"top_p": 0.9, "temperature": 0.8}):
        expected = sample_windows(sampler_of(prior, "eager", **settings))
        assert torch.equal(sample_windows(sampler_of(prior, "compiled", **settings)), expected)


def test_more_batch_sizes_than_torch_compiles_by_default() -> None:
    """Over two priors, ten compilations of what is one function in the source."""
    for seed in (0, 1):
        prior = tiny_prior("plain", depth=1, seed=seed)
        eager, compiled = (sampler_of(prior, "eager", 5) for _ in range(2))
        compiled.backend = CompiledBackend(compiled._make_step(), compiler="eager")
        for batch in range(1, 6):
            expected = sample_windows(eager, batch, windows=1)
            assert torch.equal(sample_windows(compiled, batch, windows=1), expected)


class GraphsWithoutGpu(GraphBackend):
    """Graph backend whose graphs are steps in a loop; `flaw` is what each does besides."""

    def __init__(self, step: Step, flaw: Callable[[StepState], None]) -> None:
        super().__init__(step)
        self.step, self.flaw = step, flaw
        self.replays = 0

    def _capture(self, state: StepState) -> Any:
        state.position.fill_(WARM_UP_STEPS + 1)

        def replay() -> None:
            self.replays += 1
            for _ in range(STEPS_PER_GRAPH):
                self.step(state)
            self.flaw(state)

        return SimpleNamespace(replay=replay)


def no_flaw(state: StepState) -> None:
    pass


def shift_position(state: StepState) -> None:
    state.position.sub_(1)


def scale_logits(state: StepState) -> None:
    state.logits.mul_(1.2)


def fail_to_capture(state: StepState) -> None:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("flaw", [no_flaw, shift_position, scale_logits, fail_to_capture])
def test_graphs_are_used_only_where_they_do_what_eager_steps_do(
    flaw: Callable[[StepState], None], caplog: pytest.LogCaptureFixture
) -> None:
    prior = tiny_prior("upsampler")
    expected = [sample_windows(sampler_of(prior, "eager"), batch) for batch in (2, 1)]
    sampler = sampler_of(prior, "eager")
    sampler.backend = backend = GraphsWithoutGpu(sampler._make_step(), flaw)
    assert torch.equal(sample_windows(sampler), expected[0])
    assert torch.equal(sample_windows(sampler, 1), expected[1])
    if flaw is no_flaw:
        assert backend.replays > 2  # one per batch size compares
        assert not caplog.records
    else:
        assert backend.replays <= 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "they run eagerly" in caplog.text


def test_no_room_for_a_graph_is_no_reason_to_run_eagerly() -> None:
    """The batch is halved instead."""

    def too_large(state: StepState) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    sampler = sampler_of(tiny_prior("upsampler"), "eager")
    sampler.backend = GraphsWithoutGpu(sampler._make_step(), too_large)
    with pytest.raises(torch.OutOfMemoryError):
        sample_windows(sampler)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["upsampler", "lyrics_encoder", "lyrics_sequence"])
@pytest.mark.parametrize("backend", ["compiled", "graph"])
def test_backends_on_a_gpu_choose_the_same_codes(
    name: str, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    prior = tiny_prior(name).to("cuda")
    expected = [sample_windows(sampler_of(prior, "eager"), batch) for batch in (2, 1)]
    sampler = sampler_of(prior, backend)
    assert torch.equal(sample_windows(sampler), expected[0])
    assert torch.equal(sample_windows(sampler), expected[0])
    assert torch.equal(sample_windows(sampler, 1), expected[1])  # another graph, other windows
    assert not caplog.records  # graphs were not given up


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_graphs_in_16_bit_stay_close(dtype: torch.dtype) -> None:
    prior = tiny_prior("upsampler").to("cuda", dtype)
    codes, given = inputs(prior, 2)
    given = {name: value.to("cuda") for name, value in given.items()}
    logits = []
    for backend in ("eager", "graph"):
        sampler = sampler_of(prior, backend)
        with torch.inference_mode():
            conditioning = prior.condition(**given)
            sampler.sample(codes[:, :HALF].to("cuda"), torch.rand(2, 1), conditioning)
            state = sampler.backend.prepare(sampler._narrow(2, conditioning))
            state.position.fill_(HALF)
            state.uniform.fill_(0.5)
            sampler.backend.run(state, STEPS_PER_GRAPH)
        logits.append(state.logits.float().clone())
    spread = (logits[0] - logits[0].mean()).norm()
    assert (logits[0] - logits[1]).norm() < 0.05 * spread


def test_backends_that_cannot_run_are_refused() -> None:
    for name, message in (("graph", "needs a CUDA device"), ("none", "backend must be one of")):
        with pytest.raises(ValueError, match=message):
            make_backend(name, lambda state: None, torch.device("cpu"))

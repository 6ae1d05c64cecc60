"""Priors in every precision: what is loaded, and what memory it takes."""

from pathlib import Path

import pytest
import torch

from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.devices import (
    DEFAULT_BACKEND,
    ONE_THREAD_WIDTH,
    check_backend,
    sampling_threads,
)
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.memory import module_bytes, prior_memory
from jukebox_hf.generation.settings import GenerationSettings
from jukebox_hf.generation.weights import load_for_sampling, loading_dtype, samples_bound
from jukebox_hf.hub.system import System
from jukebox_hf.prior import kernels
from jukebox_hf.prior.attention import Linear
from jukebox_hf.prior.quantization import Float16Linear, Int4Linear, Int8Linear, PackedLinear
from jukebox_hf.prior.sizes import Float32Products
from tests.generation.making import plan_of
from tests.tiny import tiny_prior, tiny_prior_config, tiny_processor, tiny_system, tiny_vqvae

CPU = torch.device("cpu")
WIDE = {"width": 64, "attention_width": 64, "mlp_width": 64}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> System:
    """A model whose layers are wide enough for weights of 4 bits."""
    from jukebox_hf.hub import save_system

    prior = tiny_prior(0, **WIDE)
    folder = save_system(
        tmp_path_factory.mktemp("model") / "wide",
        vqvae=tiny_vqvae(),
        priors={0: prior},
        processors={0: tiny_processor(prior.config)},
    )
    return System.open(folder)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_prior_loads_in_every_precision(
    wide: System, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "processor_maker", lambda: "GenuineIntel")
    prior = load_for_sampling(wide, 0, precision=precision, device=CPU)
    layer = prior.decoder.layers[1].mlp.expand
    packed = PackedLinear if PackedLinear.is_supported() else Linear
    half = Float16Linear if Float16Linear.is_supported() else Linear
    kinds = {"int8": Int8Linear, "int4": Int4Linear, "bfloat16": packed, "float16": half}
    assert type(layer) is kinds.get(precision, Linear)
    assert prior.output.weight.dtype == torch.float32
    assert not prior.training
    if type(layer) not in (
        PackedLinear,
        Float16Linear,
    ):  # those hold their weights where nobody can count them
        assert prior_memory(prior.config, precision, CPU).weights == module_bytes(prior)


def test_fewer_bits_are_fewer_bytes() -> None:
    config = tiny_prior_config(0, **WIDE)
    sizes = [prior_memory(config, precision, CPU).weights for precision in PRECISIONS]
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3] > sizes[4]


def test_quantized_weights_are_loaded_in_half_the_memory() -> None:
    assert loading_dtype("int4") == loading_dtype("int8") == torch.float16
    with pytest.raises(ValueError, match="precision must be one of"):
        loading_dtype("int3")


def test_quantized_on_the_way_equals_quantized_there(wide: System) -> None:
    """Rounding to float16 first costs next to nothing beside rounding to 8 bits."""
    exact = wide.load_prior(0, dtype=torch.float32)
    ours = load_for_sampling(wide, 0, precision="int8", device=CPU)
    layer, linear = ours.decoder.layers[0].mlp.expand, exact.decoder.layers[0].mlp.expand
    direct = Int8Linear(linear).unpacked().float()
    both = layer.unpacked().float()
    error = [(one - linear.weight).norm() / linear.weight.norm() for one in (direct, both)]
    assert error[1] < 1.02 * error[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int3"}, "precision must be one of float32, .*, got 'int3'"),
        ({"backend": "magic"}, "backend must be one of eager, compiled, graph, got 'magic'"),
    ],
)
def test_unknown_ways_to_run_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationSettings(seed=1, to_level=0, levels={}, **{"precision": "float32", **settings})


def test_graphs_need_cuda() -> None:
    with pytest.raises(ValueError, match="needs a CUDA device, and this is cpu"):
        check_backend("graph", CPU)
    check_backend("graph", torch.device("cuda"))


def test_the_default_is_what_has_been_run_everywhere() -> None:
    assert DEFAULT_BACKEND == "eager"
    for device in ("cpu", "cuda", "mps"):
        check_backend(DEFAULT_BACKEND, torch.device(device))


@pytest.mark.parametrize(
    ("device", "width", "threads"),
    [("cpu", ONE_THREAD_WIDTH - 1, 1), ("cpu", ONE_THREAD_WIDTH, 2), ("cuda", 64, 2)],
)
def test_small_priors_are_sampled_by_one_thread(device: str, width: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with sampling_threads(torch.device(device), width):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_lyric_encoder_is_quantized_too(tmp_path: Path) -> None:
    system = System.open(tiny_system(tmp_path / "model", "encoder"))
    prior = load_for_sampling(system, 2, precision="int8", device=CPU)
    assert prior.lyric_encoder is not None
    assert isinstance(prior.lyric_encoder.transformer.layers[0].mlp.expand, Int8Linear)
    assert prior.lyric_encoder.projection.weight.dtype == prior.decoder.dtype


def test_sessions_of_narrow_weights_begin_with_float32_between_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert samples_bound("int4", "eager", cpu)
    assert not samples_bound("float32", "eager", cpu)
    assert not samples_bound("int4", "compiled", cpu)
    assert not samples_bound("float16", "eager", torch.device("cuda"))


def test_float32_is_laid_out_by_the_rows_of_a_level_and_older_sessions_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "processor_maker", lambda: "AuthenticAMD")
    tiny = System.open(tiny_system(tmp_path / "model"))

    def layout(takes: int, float32: Float32Products | None = None) -> str:
        generation = Generation(plan_of(tiny, takes, to_level=2), float32=float32)
        linear = generation._load_prior(2).decoder.layers[1].mlp.expand
        if isinstance(linear, PackedLinear):
            return "packed"
        return "transposed" if linear.weight.t().is_contiguous() else "plain"

    # these weights are none of float16's values
    assert [layout(takes) for takes in (1, 2)] == ["transposed", "packed"]
    assert [layout(takes, "transposed") for takes in (1, 2)] == ["transposed", "packed"]
    assert layout(1, "packed") == "packed"
    assert layout(1, "plain") == "plain"

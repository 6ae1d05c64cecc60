"""What is counted from shapes is what the networks take, in every precision."""

import copy

import pytest
import torch
from torch import nn

from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.fitting import memory_needs
from jukebox_hf.generation.memory import module_bytes, prior_memory
from jukebox_hf.generation.weights import prepare
from jukebox_hf.hub import System, built_in_model
from jukebox_hf.hub.architecture import expected_shapes
from jukebox_hf.hub.cards.model_facts import gather_facts
from jukebox_hf.layers import hollow
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.presets import PRIOR_PRESETS
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.sizes import cached_numbers, weight_bytes
from jukebox_hf.vqvae.network import VQVAENetwork
from jukebox_hf.vqvae.vqvae_config import PRESETS, VQVAEConfig
from tests.prior.tiny_priors import ARCHITECTURES

WIDE = {"width": 64, "attention_width": 64, "mlp_width": 128}  # wide enough for 4 bits
CONFIGS = {name: PriorConfig.preset(name) for name in PRIOR_PRESETS} | {
    f"tiny {name}": PriorConfig(**{**fields, **WIDE}) for name, fields in ARCHITECTURES.items()
}


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_and_cache_of_a_prior_are_counted_exactly(name: str) -> None:
    config = CONFIGS[name]
    with hollow():
        prior = PriorNetwork(config)
    encoder_length = config.lyric_length if config.lyrics == "encoder" else 0
    cache = prior.decoder.cache_shapes(1, encoder_length)
    assert cached_numbers(config) == sum(torch.Size(shape).numel() for shape in cache)
    shapes = expected_shapes(config)
    found = {precision: weight_bytes(shapes, precision) for precision in PRECISIONS}
    held = {"float32": module_bytes(prior)}
    nn.Module.to(prior, torch.float16)
    held["float16"] = held["bfloat16"] = module_bytes(prior)
    for precision, one in (("int8", copy.deepcopy(prior)), ("int4", prior)):
        one.tie()  # without memory, a copy shares nothing
        held[precision] = module_bytes(prepare(one, precision, torch.device("meta")))
    assert found == held
    assert held["float32"] > held["float16"] > held["int8"] > held["int4"]


def test_headers_of_files_tell_what_a_model_needs() -> None:
    system = System.open(built_in_model())
    facts = gather_facts(system)
    assert set(facts.shapes) == set(system.manifest.components)
    for name, shapes in facts.shapes.items():
        assert shapes == expected_shapes(facts.components[name].config), name
    told = memory_needs(facts.codec, facts.priors, shapes=facts.shapes)
    assert told == memory_needs(facts.codec, facts.priors)
    for config in facts.priors:
        assert prior_memory(config, "int4", "cuda").cache == 2 * cached_numbers(
            config
        )  # float16 there
        assert prior_memory(config, "int4", "cpu").cache == 4 * cached_numbers(config)


@pytest.mark.parametrize("changes", [{}, {"use_codebook": False}])
@pytest.mark.parametrize("name", PRESETS)
def test_a_codec_is_counted_exactly(name: str, changes: dict[str, bool]) -> None:
    config = VQVAEConfig.preset(name, **changes)
    with hollow():
        held = module_bytes(VQVAENetwork(config))
    (need, *_) = memory_needs(config, [])
    without_decoding = memory_needs(config, [], shapes={"vqvae": {"a": (1,)}})[0].num_bytes - 4
    assert need.num_bytes - without_decoding == held


def test_precisions_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"precision must be one of float32, .* got 'int3'"):
        weight_bytes({}, "int3")

"""Names of tensors: every one of the released and golden checkpoints gets one of ours."""

import pytest

from jukebox_hf.hub.architecture import expected_shapes
from jukebox_hf.hub.conversion.tensor_names import (
    is_linear_weight,
    openai_targets,
    transformers_targets,
)
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from tests.golden_data import load_json
from tests.hub.checkpoints import FAMILIES, paths_of, port_name, state_of

RELEASED = {
    "5b/vqvae.pth.tar": "vqvae",
    "5b/prior_level_0.pth.tar": "upsampler_level_0",
    "5b/prior_level_1.pth.tar": "upsampler_level_1",
    "5b/prior_level_2.pth.tar": "5b",
    "5b_lyrics/prior_level_2.pth.tar": "5b_lyrics",
    "1b_lyrics/prior_level_2.pth.tar": "1b_lyrics",
}


def config_of(preset: str) -> JukeboxVQVAEConfig | JukeboxPriorConfig:
    if preset == "vqvae":
        return JukeboxVQVAEConfig.preset(preset)
    return JukeboxPriorConfig.preset(preset)


@pytest.mark.parametrize("file", RELEASED)
def test_every_released_tensor_is_one_of_ours_with_its_shape(file: str) -> None:
    entries = load_json("fullsize/openai_checkpoint_entries.json")[file]
    targets = openai_targets(entries)
    assert set(targets) == set(entries)
    shapes = {
        target.name: tuple(entries[name][0][:: -1 if target.transposed else 1])
        for name, target in targets.items()
    }
    expected = expected_shapes(config_of(RELEASED[file]))
    statistics = {name for name in expected if name.endswith(("sums", "counts", "initialized"))}
    tied = {"output.weight"} - set(expected)
    assert {name for name in shapes if name not in tied} == set(expected) - statistics
    assert all(shapes[name] == expected[name] for name in set(expected) - statistics)


@pytest.mark.parametrize("system", ["1b_lyrics", "5b_lyrics"])
def test_every_tensor_of_the_port_is_the_one_of_the_release(system: str) -> None:
    released = load_json("fullsize/openai_checkpoint_entries.json")
    entries = load_json("fullsize/transformers_entries.json")[system]
    files = {
        "vqvae.": "5b/vqvae.pth.tar",
        "priors.0.": f"{system}/prior_level_2.pth.tar",
        "priors.1.": "5b/prior_level_1.pth.tar",
        "priors.2.": "5b/prior_level_0.pth.tar",
    }
    for prefix, file in files.items():
        shapes = {
            name.removeprefix(prefix): shape
            for name, shape in entries.items()
            if name.startswith(prefix)
        }
        ours = {target: shapes[name] for name, target in transformers_targets(shapes).items()}
        theirs = {
            target: released[file][name][0]
            for name, target in openai_targets(released[file]).items()
        }
        assert ours == theirs


@pytest.mark.parametrize("family", FAMILIES)
def test_both_origins_lead_to_the_same_name(family: str) -> None:
    for path in paths_of(family):
        names = list(state_of(path))
        openai = openai_targets(names)
        port = transformers_targets([port_name(name) for name in names])
        assert [openai[name] for name in names] == [port[port_name(name)] for name in names]


def test_residual_stacks_may_go_by_either_name() -> None:
    name = "conditioner_blocks.0.cond.model.1.0.{}.7.model.3.weight"
    with_blocks, with_model = (
        openai_targets([name.format(part)])[name.format(part)] for part in ("blocks", "model")
    )
    assert with_blocks == with_model
    assert with_blocks.name == (
        "upper_conditioner.upsampler.stages.0.residual.blocks.7.pointwise.weight"
    )


def test_a_layer_with_keys_of_the_lyrics_has_queries_of_its_own() -> None:
    layer = "prior.transformer._attn_mods.{}.attn.{}.w"
    names = [layer.format(3, "c_attn"), layer.format(4, "c_attn"), layer.format(4, "c_enc_kv")]
    assert [target.name for target in openai_targets(names).values()] == [
        "decoder.layers.3.attention.qkv.weight",
        "decoder.layers.4.attention.query.weight",
        "decoder.layers.4.attention.key_value.weight",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "prior.transformer._attn_mods.0.attn.c_attn.w.extra",
        "encoders.0.level_blocks.0.model.00.0.weight",
        "decoders.0.level_blocks.0.model.0.0.model.0.model.1.weight",  # stages begin at 1
        "conditioner_blocks.1.x_emb.weight",
        "model.prior.x_emb.weight",
        "",
    ],
)
def test_other_names_are_left_out(name: str) -> None:
    assert openai_targets([name]) == {}


def test_only_linear_weights_are_transposed() -> None:
    names = ["prior.x_out.weight", "prime_state_proj.w", "prime_state_proj.b", "prior.x_emb.weight"]
    targets = openai_targets(names)
    assert [targets[name].transposed for name in names] == [False, True, False, False]
    assert is_linear_weight("decoder.layers.0.mlp.expand.weight")
    assert not is_linear_weight("output.weight")

"""JukeboxPrior: cached sampling equals scoring, saving keeps bits, and misuse is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

import jukebox_hf  # noqa: F401  registers the Auto classes
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.presets import PRIOR_PRESETS
from tests.prior.tiny_priors import ARCHITECTURES, inputs, tiny_prior

NAMES = sorted(ARCHITECTURES)
PARAMETER_COUNTS = {
    "5b": 5_060_452_800,
    "5b_lyrics": 5_640_506_800,
    "1b_lyrics": 942_643_200,
    "upsampler_level_0": 981_298_176,
    "upsampler_level_1": 981_298_176,
    "small_prior": 160_814_080,
    "small_upsampler": 218_015_232,
    "small_labelled_prior": 162_170_880,
    "small_single_enc_dec_prior": 160_547_840,
    "small_sep_enc_dec_prior": 168_633_280,
}

RUNTIME = {"_name_or_path": "", "dtype": None}  # what a config learns from being loaded


def cached_logits(prior: JukeboxPrior, codes: Tensor, given: dict[str, Any], chunk: int) -> Tensor:
    """Logits at every code of the window, which goes into the cache `chunk` codes at a time."""
    length = prior.config.context_length
    tokens = prior.to_tokens(codes)
    conditioning = prior.condition(**given)
    cache = prior.new_cache(len(codes))
    logits = [prior.prefill(tokens[:, :0], conditioning, cache)]
    position = 0
    while position < length - 1:
        step = min(chunk, length - 1 - position)
        if step == 1:
            at = torch.tensor(position + 1)
            logits.append(prior.step(tokens[:, position], at, conditioning, cache))
        else:
            piece = tokens[:, position : position + step]
            logits.append(prior.prefill(piece, conditioning, cache, start=position))
        position += step
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_cached_logits_equal_parallel_logits(name: str, batch: int) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, batch)
    parallel = prior(codes, **given).logits
    assert torch.equal(prior.window_logits(codes, **given), parallel)
    length, row = prior.config.context_length, prior.config.row_length
    for chunk in (1, 7, row, row + 1, length - 1):
        predicted = [0, *range(chunk, length - 1, chunk), length - 1]
        cached = cached_logits(prior, codes, given, chunk)
        torch.testing.assert_close(cached, parallel[:, predicted], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_one_cache_serves_window_after_window(name: str) -> None:
    prior = tiny_prior(name)
    cache = prior.new_cache(2)
    for seed in (1, 2):
        codes, given = inputs(prior, 2, seed=seed)
        conditioning = prior.condition(**given)
        tokens = prior.to_tokens(codes)
        prior.prefill(tokens[:, :9], conditioning, cache)
        logits = prior.step(tokens[:, 9], torch.tensor([10]), conditioning, cache)
        fresh = prior.new_cache(2)
        torch.testing.assert_close(
            logits, prior.prefill(tokens[:, :10], conditioning, fresh), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_no_code_sees_itself_or_later_ones(name: str) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, 1)
    before = prior(codes, **given).logits
    for changed in (0, 5, prior.config.context_length - 1):
        other = codes.clone()
        other[:, changed] = (other[:, changed] + 1) % prior.config.codebook_size
        after = prior(other, **given).logits
        assert torch.equal(after[:, : changed + 1], before[:, : changed + 1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_16_bit_logits_stay_close_to_float32(name: str, dtype: torch.dtype) -> None:
    """Within 6 % (bfloat16) or 1 % (float16) of the logits' own spread, root mean square."""
    prior = tiny_prior(name)
    codes, given = inputs(prior, 2)
    expected = prior(codes, **given).logits
    prior.to(dtype)
    logits = prior(codes, **given).logits
    assert logits.dtype == torch.float32
    error = (logits - expected).square().mean().sqrt() / expected.std()
    assert error < {torch.bfloat16: 0.06, torch.float16: 0.01}[dtype]
    cached = cached_logits(prior, codes, given, 1)
    error = (cached - expected).square().mean().sqrt() / expected.std()
    assert error < {torch.bfloat16: 0.06, torch.float16: 0.01}[dtype]


def test_16_bits_reach_linear_weights_only() -> None:
    for name in ("lyrics_encoder", "upsampler"):
        prior = tiny_prior(name).to(torch.bfloat16)
        for key, parameter in prior.named_parameters():
            linear = ".attention." in key or ".mlp." in key or "lyric_encoder.projection" in key
            assert parameter.dtype == (torch.bfloat16 if linear else torch.float32), key


@pytest.mark.parametrize("shard_size", ["50GB", "10KB"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_is_bit_equal(
    name: str, dtype: torch.dtype, shard_size: str, tmp_path: Path
) -> None:
    prior = tiny_prior(name).to(dtype)
    prior.save_pretrained(tmp_path, max_shard_size=shard_size)
    loaded, report = JukeboxPrior.from_pretrained(tmp_path, dtype=dtype, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert {**loaded.config.to_dict(), **RUNTIME} == {**prior.config.to_dict(), **RUNTIME}
    expected = prior.state_dict()
    for key, tensor in loaded.state_dict().items():
        assert tensor.dtype == expected[key].dtype, key
        assert torch.equal(tensor, expected[key]), key
    codes, given = inputs(prior, 1)
    assert torch.equal(loaded(codes, **given).logits, prior(codes, **given).logits)


@pytest.mark.parametrize("device_map", ["auto", "cpu"])
def test_a_device_map_loads_the_same_model(device_map: str, tmp_path: Path) -> None:
    prior = tiny_prior("lyrics_encoder")
    prior.save_pretrained(tmp_path)
    codes, given = inputs(prior, 1)
    loaded = JukeboxPrior.from_pretrained(tmp_path, device_map=device_map)
    assert torch.equal(loaded(codes, **given).logits, prior(codes, **given).logits)


def test_auto_classes_find_the_prior(tmp_path: Path) -> None:
    tiny_prior("top").save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is JukeboxPriorConfig
    assert type(AutoModel.from_pretrained(tmp_path)) is JukeboxPrior


@pytest.mark.parametrize("name", sorted(PRIOR_PRESETS))
def test_released_sizes_have_their_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        prior = JukeboxPrior(JukeboxPriorConfig.preset(name))
    assert sum(parameter.numel() for parameter in prior.parameters()) == PARAMETER_COUNTS[name]


def test_cache_memory_equals_its_formula() -> None:
    """performance.md counts 2 x keys kept x attention width x bytes, summed over the layers."""
    for name in NAMES:
        prior = tiny_prior(name)
        config = prior.config
        kept = {
            "row": config.row_length,
            "column": config.sequence_length,
            "previous_row": 2 * config.row_length,
            "dense": config.sequence_length,
            "prime": config.prime_length,
            "cross": config.lyric_length,
        }
        keys = sum(kept[kind] for kind in config.layer_kinds)
        expected = 3 * 2 * keys * config.attention_width * 2
        assert prior.new_cache(3, dtype=torch.float16).num_bytes() == expected


@pytest.mark.parametrize("name", ["upsampler", "lyrics_encoder", "lyrics_sequence"])
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        prior = tiny_prior(name).train()
        if checkpointing:
            enable = getattr(prior, "activation_checkpointing_enable", None)  # transformers >= 5.20
            (enable or prior.gradient_checkpointing_enable)()
        codes, given = inputs(prior, 2)
        prior(codes, **given).loss.backward()
        gradients.append({key: p.grad for key, p in prior.named_parameters()})
    for key, gradient in gradients[0].items():
        assert gradient is not None, key
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_come_from_the_layers_below_alone(name: str) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, 2)
    below = prior(codes, **given, hidden_layers=[1])
    assert below.logits is None
    calls = []
    prior.decoder.layers[1].register_forward_hook(lambda *_: calls.append(1))
    (again,) = prior(codes, **given, hidden_layers=[1]).hidden_states
    assert not calls
    assert torch.equal(again, below.hidden_states[0])
    assert again.shape == (2, prior.config.sequence_length, prior.config.width)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_all_layers_come_from_one_pass_in_the_order_asked_for(name: str) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, 2)
    wanted = list(range(prior.config.depth, 0, -1))
    calls = []
    for layer in prior.decoder.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    together = prior(codes, **given, hidden_layers=wanted).hidden_states
    assert len(calls) == prior.config.depth
    for layer, states in zip(wanted, together, strict=True):
        assert torch.equal(states, prior(codes, **given, hidden_layers=[layer]).hidden_states[0])


@pytest.mark.parametrize("name", [name for name in NAMES if "upsampler" not in name])
@torch.inference_mode()
def test_states_of_fewer_codes_are_the_first_ones_of_a_window(name: str) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, 2)
    deepest = [prior.config.depth]
    (whole,) = prior(codes, **given, hidden_layers=deepest).hidden_states
    for length in range(1, codes.shape[1] + 1):
        (some,) = prior(codes[:, :length], **given, hidden_layers=deepest).hidden_states
        assert some.shape[1] == prior.config.lyric_prefix_length + length
        torch.testing.assert_close(some, whole[:, : some.shape[1]], rtol=1e-5, atol=1e-5)


def test_an_upsampler_takes_as_many_upper_codes_as_its_codes_need() -> None:
    prior = tiny_prior("upsampler")
    codes, given = inputs(prior, 1)
    upper = given.pop("upper_codes")
    short = prior(codes[:, :9], **given, upper_codes=upper[:, :3], hidden_layers=[2])
    assert short.hidden_states[0].shape == (1, 9, prior.config.width)
    with pytest.raises(ValueError, match="upper_codes must be 3 long, got 6"):
        prior(codes[:, :9], **given, upper_codes=upper, hidden_layers=[2])


def test_gradients_flow_from_states_to_the_layers_below() -> None:
    prior = tiny_prior("top")
    codes, given = inputs(prior, 2)
    prior(codes[:, :7], **given, hidden_layers=[2]).hidden_states[0].square().mean().backward()
    used = [any(p.grad is not None for p in layer.parameters()) for layer in prior.decoder.layers]
    assert used == [True, True, False, False, False, False]


@pytest.mark.parametrize("name", ["row_column", "lyrics_encoder", "upsampler"])
@torch.inference_mode()
def test_a_prior_of_few_layers_reads_no_more_and_has_the_same_states(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its residual scale stays that of all layers."""
    prior = tiny_prior(name)
    prior.save_pretrained(tmp_path)
    few, report = JukeboxPrior.from_pretrained(tmp_path, num_layers=2, output_loading_info=True)
    assert not any(report.values()), report
    assert "UNEXPECTED" not in "".join(capfd.readouterr())
    assert len(few.decoder.layers) == 2
    codes, given = inputs(prior, 2)
    expected = prior(codes, **given, hidden_layers=[1, 2]).hidden_states
    for ours, theirs in zip(
        few.eval()(codes, **given, hidden_layers=[1, 2]).hidden_states, expected, strict=True
    ):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=r"layers 1 to 2, the first of \d+, got layer 3"):
        few(codes, **given, hidden_layers=[3])
    with pytest.raises(ValueError, match="states only: pass hidden_layers"):
        few(codes, **given)
    with pytest.raises(ValueError, match="cannot be saved"):
        few.save_pretrained(tmp_path / "few")


@pytest.mark.parametrize("name", ["lyrics_encoder", "lyrics_sequence"])
@torch.inference_mode()
def test_alignment_is_a_share_of_attention(name: str) -> None:
    prior = tiny_prior(name)
    codes, given = inputs(prior, 2)
    alignment = prior(codes, **given, alignment=True).alignment
    config = prior.config
    assert alignment.shape == (2, config.heads, config.context_length, config.lyric_length)
    assert (alignment >= 0).all()
    assert (alignment.sum(-1) <= 1 + 1e-5).all()
    assert torch.equal(prior.align(codes, **given), alignment)


def test_losses_are_weighted_by_length_and_fraction() -> None:
    for name in ("lyrics_encoder", "lyrics_sequence"):
        prior = tiny_prior(name)
        out = prior(*inputs(prior, 2)[:1], **inputs(prior, 2)[1])
        config = prior.config
        symbols = config.lyric_length + config.context_length
        expected = (
            0.4 * config.lyric_length * out.lyric_loss + config.context_length * out.music_loss
        ) / symbols
        torch.testing.assert_close(out.loss, expected)


def test_a_new_prior_predicts_almost_evenly() -> None:
    torch.manual_seed(0)
    prior = JukeboxPrior(
        JukeboxPriorConfig(**{**ARCHITECTURES["lyrics_encoder"], "init_scale": 0.1})
    )
    codes, given = inputs(prior, 4)
    uniform = torch.tensor(prior.config.codebook_size).log2()
    assert abs(prior.eval()(codes, **given).music_loss - uniform) < 0.6
    cross = prior.decoder.layers[3].attention
    assert not cross.output.weight.any()  # cross-attention starts by adding nothing
    assert prior.decoder.layers[0].attention.output.weight.any()


def test_dropout_acts_in_training_only() -> None:
    prior = tiny_prior("plain", residual_dropout=0.5, attention_dropout=0.5, embedding_dropout=0.5)
    codes, _ = inputs(prior, 2)
    assert torch.equal(prior(codes).logits, prior(codes).logits)
    prior.train()
    assert not torch.equal(prior(codes).logits, prior(codes).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda codes, given: (codes[:, :-1], given), "codes must be 24 long, got 23"),
        (lambda codes, given: (codes + 20, given), "codes must be from 0 to 19"),
        (lambda codes, given: (codes.float(), given), "codes must be int64"),
        (lambda codes, given: (codes[0], given), r"shape \(batch, time\)"),
        (lambda codes, given: (codes, {**given, "upper_codes": None}), "needs upper_codes"),
        (
            lambda codes, given: (codes, {**given, "upper_codes": codes}),
            "upper_codes must be 6 long, got 24",
        ),
        (
            lambda codes, given: (codes, {**given, "lyric_tokens": codes}),
            "was built without lyric_tokens",
        ),
        (lambda codes, given: (codes, {**given, "labels": None}), "needs labels"),
        (
            lambda codes, given: (codes, {**given, "hidden_layers": [7]}),
            "layers 1 to 6, got layer 7",
        ),
        (
            lambda codes, given: (codes, {**given, "hidden_layers": [0]}),
            "layers 1 to 6, got layer 0",
        ),
        (lambda codes, given: (codes, {**given, "hidden_layers": []}), "at least one layer"),
        (
            lambda codes, given: (codes[:, :0], {**given, "hidden_layers": [1]}),
            "codes must be 1 to 24 long, got 0",
        ),
        (lambda codes, given: (codes, {**given, "alignment": True}), "no alignment_layer"),
    ],
)
def test_wrong_inputs_are_refused(change: Any, message: str) -> None:
    prior = tiny_prior("upsampler")
    codes, given = change(*inputs(prior, 1))
    with pytest.raises(ValueError, match=message):
        prior(codes, **given)


def test_prefill_of_a_whole_window_is_refused() -> None:
    prior = tiny_prior("plain")
    codes, given = inputs(prior, 1)
    with pytest.raises(ValueError, match="leaves nothing to predict"):
        prior.prefill(codes, prior.condition(**given), prior.new_cache(1))


def test_lyric_symbols_in_place_of_codes_become_code_zero() -> None:
    prior = tiny_prior("lyrics_sequence")
    tokens = torch.tensor([[0, 10, 11, 30]])
    assert prior.to_codes(tokens).tolist() == [[0, 0, 0, 19]]
    assert prior.to_tokens(torch.tensor([[0, 19]])).tolist() == [[11, 30]]

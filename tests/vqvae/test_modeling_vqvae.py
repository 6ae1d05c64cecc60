"""The codec as its users meet it: shapes, chunks, precision, saving, mistakes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig
from jukebox_hf.vqvae.chunks import chunks
from tests.golden_data import golden
from tests.vqvae.codecs import noise, tiny_codec, tiny_config


def state(codec: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in codec.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype, name
        assert torch.equal(tensor, other[name]), name


# --- what it is made of


@pytest.mark.parametrize(
    ("preset", "parameters", "codebook_values"),
    [("vqvae", 1_485_763, 393_216), ("small_vqvae", 586_050, 131_072)],
)
def test_presets_have_the_released_sizes(preset: str, parameters: int, codebook_values: int):
    with torch.device("meta"):
        codec = JukeboxVQVAE(JukeboxVQVAEConfig.preset(preset))
    assert sum(parameter.numel() for parameter in codec.parameters()) == parameters
    vectors = [level.codebook.vectors for level in codec.levels]
    assert sum(table.numel() for table in vectors) == codebook_values


def test_released_levels_reach_as_far_as_the_paper_says():
    with torch.device("meta"):
        codec = JukeboxVQVAE(JukeboxVQVAEConfig())
    # "about 2 seconds, 120 ms and 480 ms": what one code sees, that is both halos and itself.
    reach = [
        2 * codec.encoding_halo(level) * hop / codec.config.sampling_rate
        for level, hop in enumerate(codec.config.hop_lengths)
    ]
    assert reach == pytest.approx([2.083, 0.116, 0.477], abs=0.002)


def test_nothing_lies_directly_on_the_model():
    codec = tiny_codec()
    assert not list(codec.parameters(recurse=False))
    assert not list(codec.buffers(recurse=False))


def test_new_models_are_drawn_as_torch_draws_convolutions():
    config = tiny_config(zero_init=True)
    codec = JukeboxVQVAE(config)
    for name, parameter in codec.named_parameters():
        if ".pointwise." in name:
            assert not parameter.any()
        elif name.endswith("downsample.weight"):
            bound = 1 / math.sqrt(parameter.shape[1] * parameter.shape[2])
            assert 0.5 * bound < parameter.abs().max() <= bound
    assert not any(level.codebook.initialized for level in codec.levels)


# --- encoding and decoding


@pytest.mark.parametrize("samples", [16, 31, 64, 77])
def test_lengths_are_whole_codes(samples: int):
    codec = tiny_codec()
    codes = codec.encode(noise(3, 1, samples))
    for level, hop_length in enumerate(codec.config.hop_lengths):
        assert codes[level].shape == (3, samples // hop_length)
        assert codes[level].dtype == torch.int64
        audio = codec.decode(codes[level], level)
        assert audio.shape == (3, 1, samples // hop_length * hop_length)
        assert audio.dtype == torch.float32
        assert not audio.requires_grad


def test_only_the_levels_asked_for_are_run():
    codec, audio = tiny_codec(), noise(2, 1, 64)
    everything = codec.encode(audio)
    ran = []
    for level, module in enumerate(codec.levels):
        module.encoder.register_forward_hook(lambda *_, level=level: ran.append(level))
    top, bottom = codec.encode(audio, levels=[2, 0])
    assert ran == [2, 0]
    assert torch.equal(top, everything[2])
    assert torch.equal(bottom, everything[0])
    assert codec.encode(audio, levels=[]) == ()


def test_latents_before_and_after_quantization():
    codec, audio = tiny_codec(), noise(2, 1, 64)
    for level, codes in enumerate(codec.encode(audio)):
        before = codec.encode_latents(audio, level)
        assert before.shape == (2, codes.shape[1], codec.config.codebook_dim)
        assert before.requires_grad
        assert torch.equal(codec.quantize(before, level), codes)
        after = codec.embed_codes(codes, level)
        assert torch.equal(after, codec.levels[level].codebook.vectors[codes])
        with torch.no_grad():
            assert torch.equal(codec.decode_latents(after, level), codec.decode(codes, level))


def test_codes_of_any_integer_type_are_decoded():
    codec = tiny_codec()
    codes = torch.tensor([[0, 3, 15]])
    for dtype in (torch.int16, torch.int32, torch.uint8):
        assert torch.equal(codec.decode(codes.to(dtype), 1), codec.decode(codes, 1))


def test_encoding_and_decoding_never_move_the_codebooks():
    codec = tiny_codec().train()
    before = state(codec)
    for level, codes in enumerate(codec.encode(noise(2, 1, 64))):
        codec.decode(codes, level)
        codec.quantize(codec.encode_latents(noise(2, 1, 64), level), level)
    codec.eval()(noise(2, 1, 64))
    assert_same(state(codec), before)


def test_inference_mode_is_fine():
    codec = tiny_codec()
    with torch.inference_mode():
        codes = codec.encode(noise(1, 1, 64))
        assert codec.decode(codes[0], 0).isfinite().all()
        assert codec(noise(1, 1, 64)).loss.isfinite()


# --- chunks

CHUNKED: list[dict[str, Any]] = [
    {},
    {"strides": (4, 2, 2), "depths": (2, 3, 1), "dilation_cycle": 2},
    {"downsamplings": (2, 1), "strides": (2, 4), "widths": (4, 5), "depths": (1, 4)},
    {"reverse_decoder_dilation": False, "dilation_growth": 2, "scale_residual": True},
]


@pytest.mark.parametrize("changes", CHUNKED)
@pytest.mark.parametrize("samples", [35, 127, 384])
def test_chunks_give_what_the_whole_gives(changes: dict, samples: int):
    """In float64, where nothing can hide in rounding, and with cuts of every phase."""
    codec = tiny_codec(**changes)
    audio = noise(2, 1, samples)
    codec.double()
    whole = codec.encode(audio)
    for level, hop_length in enumerate(codec.config.hop_lengths):
        decoded = codec.decode(whole[level], level)
        for chunk_codes in (1, 3, 16, 1000):
            seconds = (chunk_codes + 0.5) * hop_length / codec.config.sampling_rate
            (codes,) = codec.encode(audio, levels=[level], chunk_seconds=seconds)
            assert torch.equal(codes, whole[level])
            chunked = codec.decode(codes, level, chunk_seconds=seconds)
            torch.testing.assert_close(chunked, decoded, rtol=0, atol=1e-7)
            parts = list(codec.decode_parts(codes, level, chunk_seconds=seconds))
            assert len(parts) == -(-codes.shape[1] // chunk_codes)
            assert torch.equal(torch.cat(parts, dim=-1), chunked)


def test_chunks_are_equal_to_a_millionth_in_float32():
    codec, audio = tiny_codec(), noise(1, 1, 2001)
    whole = codec.encode(audio)
    for level, codes in enumerate(codec.encode(audio, chunk_seconds=1.0)):
        assert torch.equal(codes, whole[level])
        decoded = codec.decode(codes, level)
        chunked = codec.decode(codes, level, chunk_seconds=1.0)
        torch.testing.assert_close(chunked, decoded, rtol=0, atol=1e-6)


def test_latents_at_the_cuts_are_those_of_the_whole():
    """Codes might agree by luck: compare what is quantized, at every cut."""
    codec = tiny_codec().double()
    audio = noise(1, 1, 501).double()
    for level, hop_length in enumerate(codec.config.hop_lengths):
        whole = codec.encode_latents(audio, level)
        time = whole.shape[1]
        for chunk in chunks(time, 5, codec.encoding_halo(level)):
            stop = audio.shape[-1] if chunk.read_stop == time else chunk.read_stop * hop_length
            part = codec.encode_latents(audio[..., chunk.read_start * hop_length : stop], level)
            first = chunk.start - chunk.read_start
            torch.testing.assert_close(
                part[:, first : first + chunk.stop - chunk.start],
                whole[:, chunk.start : chunk.stop],
                rtol=0,
                atol=1e-6,
            )


def test_what_is_held_at_once_does_not_grow_with_the_length():
    codec = tiny_codec()
    longest: dict[str, int] = {"encoder": 0, "decoder": 0}

    def watch(name: str, tensor: Tensor, dim: int) -> None:
        longest[name] = max(longest[name], tensor.shape[dim])

    codec.levels[1].encoder.register_forward_pre_hook(lambda _, args: watch("encoder", args[0], 2))
    codec.levels[1].decoder.register_forward_pre_hook(lambda _, args: watch("decoder", args[0], 1))
    (codes,) = codec.encode(noise(1, 1, 20_003), levels=[1], chunk_seconds=0.8)
    codec.decode(codes, 1, chunk_seconds=0.8)
    assert 0 < longest["encoder"] < (10 + 2 * codec.encoding_halo(1) + 1) * 8
    assert 0 < longest["decoder"] <= 10 + 2 * codec.decoding_halo(1)


# --- training


def test_the_output_has_one_entry_per_level_and_the_sum_of_the_losses():
    codec = tiny_codec(
        spectral_weight=0.5,
        multispectral_weight=2.0,
        log_spectral_weight=3.0,
        commitment_weight=0.25,
    )
    audio = noise(2, 1, 77)
    output = codec.train()(audio)
    losses = output.losses
    assert all(part.shape == (3,) and part.isfinite().all() for part in losses)
    expected = losses.waveform + 0.5 * losses.spectral + 2 * losses.multispectral
    expected = (expected + 3 * losses.log_spectral + 0.25 * losses.commitment).sum()
    torch.testing.assert_close(output.loss, expected)
    assert all(metric.shape == (3,) and metric.isfinite().all() for metric in output.metrics)
    assert not any(metric.requires_grad for metric in output.metrics)
    assert [tuple(one.shape) for one in output.reconstructions] == [
        (2, 1, 76),
        (2, 1, 72),
        (2, 1, 64),
    ]
    assert [tuple(codes.shape) for codes in output.codes] == [(2, 38), (2, 9), (2, 4)]
    assert output["loss"] is output.loss


def test_in_eval_mode_the_output_is_what_encoding_and_decoding_give():
    codec, audio = tiny_codec(), noise(2, 1, 64)
    output = codec(audio)
    for level, codes in enumerate(codec.encode(audio)):
        assert torch.equal(output.codes[level], codes)
        torch.testing.assert_close(output.reconstructions[level], codec.decode(codes, level))
    assert output.metrics.l2.shape == (3,)
    assert output.metrics.entropy is None


def test_training_can_leave_codebooks_alone_and_a_caller_can_move_them():
    codec, audio = tiny_codec().train(), noise(2, 1, 64)
    before = state(codec)
    output = codec(audio, learn=False)
    assert_same(state(codec), before)
    assert output.metrics.entropy is None
    for level, module in enumerate(codec.levels):
        torch.testing.assert_close(output.latents[level], codec.encode_latents(audio, level))
        assert not output.latents[level].requires_grad
        generator = torch.Generator().manual_seed(level)
        module.codebook(output.latents[level], learn=True, generator=generator)
        expected = tiny_codec().levels[level].codebook
        generator = torch.Generator().manual_seed(level)
        expected(tiny_codec().encode_latents(audio, level), learn=True, generator=generator)
        assert_same(state(module.codebook), state(expected))


def test_training_can_begin_without_quantizing():
    codec, audio = tiny_codec().train(), noise(2, 1, 64)
    before = state(codec)
    output = codec(audio, quantize=False)
    assert output.codes is None
    assert not output.losses.commitment.any()
    for level in range(3):
        decoded = codec.decode_latents(output.latents[level], level)
        torch.testing.assert_close(output.reconstructions[level], decoded)
    assert_same(state(codec), before)


def test_every_parameter_gets_a_gradient_and_codebooks_get_none():
    codec = tiny_codec().train()
    codec(noise(2, 1, 64)).loss.backward()
    for name, parameter in codec.named_parameters():
        assert parameter.grad.any(), name
    for level in codec.levels:
        assert not any(buffer.requires_grad for buffer in level.codebook.buffers())


def test_training_moves_the_codebooks_and_fits_the_audio():
    codec, audio = tiny_codec(multispectral_weight=0.1).train(), noise(4, 1, 64)
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(15):
        output = codec(audio, generator=generator)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(level.codebook.initialized for level in codec.levels)


def test_recomputing_activations_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        codec = tiny_codec().train()
        if recompute:
            enable = getattr(codec, "activation_checkpointing_enable", None)
            (enable or codec.gradient_checkpointing_enable)()
            assert (
                codec.levels[0]
                .encoder.blocks[0]
                .stages[0]
                .residual.blocks[0]
                .gradient_checkpointing
            )
        generator = torch.Generator().manual_seed(0)
        codec(noise(2, 1, 64), generator=generator).loss.backward()
        gradients.append({name: one.grad for name, one in codec.named_parameters()})
        gradients[-1].update(state(codec))
    assert_same(gradients[0], gradients[1])


def test_the_same_generator_gives_the_same_training():
    states = []
    for seed in (1, 1, 2):
        codec = tiny_codec().train()
        codec(noise(2, 1, 64), generator=torch.Generator().manual_seed(seed))
        states.append(state(codec))
    assert_same(states[0], states[1])
    assert not torch.equal(
        states[0]["levels.0.codebook.vectors"], states[2]["levels.0.codebook.vectors"]
    )


def test_restoring_counts_the_codes_of_a_step():
    codec = tiny_codec()
    codec.restore_codebooks(samples_per_step=512)
    for level, hop_length in zip(codec.levels, codec.config.hop_lengths, strict=True):
        assert torch.equal(level.codebook.counts, torch.full((16,), 512 / hop_length / 16))


def test_without_codebooks_it_is_a_plain_autoencoder():
    codec, audio = tiny_codec(use_codebook=False).train(), noise(2, 1, 64)
    output = codec(audio)
    assert output.codes is None
    assert not output.losses.commitment.any()
    latents = codec.encode_latents(audio, 1)
    assert torch.equal(codec.decode_latents(latents, 1), output.reconstructions[1])
    output.loss.backward()
    assert not list(codec.buffers())
    assert codec.fingerprint() is None
    for call in (
        lambda: codec.encode(audio),
        lambda: codec.decode(torch.zeros(1, 2, dtype=torch.long), 0),
        lambda: codec.quantize(latents, 1),
    ):
        with pytest.raises(ValueError, match="use_codebook=False, so it has no codes"):
            call()


# --- precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_weights_keep_float32_codebooks_and_are_close(dtype: torch.dtype):
    codec, audio = tiny_codec(), noise(2, 1, 64)
    exact = {level: codec.encode_latents(audio, level) for level in range(3)}
    codebooks = [level.codebook.vectors.clone() for level in codec.levels]
    codec.to(dtype)
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
    for level, module in enumerate(codec.levels):
        assert module.encoder.blocks[0].output.weight.dtype == dtype
        assert torch.equal(module.codebook.vectors, codebooks[level])
        latents = codec.encode_latents(audio, level)
        assert latents.dtype == torch.float32
        torch.testing.assert_close(latents, exact[level], rtol=0, atol=tolerance)
        codes = codec.quantize(latents, level)
        assert torch.equal(codec.encode(audio, [level])[0], codes)
        assert codec.decode(codes, level).dtype == torch.float32
    output = codec.train()(audio.to(dtype))
    assert output.loss.dtype == torch.float32
    assert output.loss.isfinite()


def test_autocast_trains():
    codec = tiny_codec().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = codec(noise(2, 1, 64))
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(one.grad.isfinite().all() for one in codec.parameters())


def test_autocast_changes_no_code():
    codec, audio = tiny_codec(), noise(2, 1, 384)
    expected = codec.encode(audio)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = codec.encode(audio)
        decoded = codec.decode(codes[0], 0)
    for ours, theirs in zip(codes, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(decoded, codec.decode(codes[0], 0))


def test_shapes_can_be_computed_without_memory():
    with torch.device("meta"):
        codec = JukeboxVQVAE(JukeboxVQVAEConfig())
        latents = codec.encode_latents(torch.empty(1, 1, 44100), 2)
    assert latents.shape == (1, 344, 64)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_codes_and_trains_alike():
    codec, audio = tiny_codec(), noise(2, 1, 384)
    expected = codec.encode(audio)
    trained = tiny_codec().train()(audio, generator=torch.Generator().manual_seed(0))
    codec.cuda()
    for chunk_seconds in (None, 1.0):
        codes = codec.encode(audio, chunk_seconds=chunk_seconds)  # audio stays on the CPU
        for ours, theirs in zip(codes, expected, strict=True):
            assert torch.equal(ours, theirs)
    output = codec.train()(audio.cuda(), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(output.loss.cpu(), trained.loss, rtol=1e-3, atol=0)


# --- saving and loading


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("max_shard_size", ["5GB", "4KB"])
@pytest.mark.parametrize("device_map", [None, "auto", "cpu"])
def test_saved_and_loaded_is_bit_equal(
    tmp_path, dtype: str, max_shard_size: str, device_map: str | None
):
    codec = tiny_codec().train()
    codec(noise(2, 1, 64))  # so that every statistic is something
    codec.eval().to(getattr(torch, dtype))
    codec.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "4KB")
    loaded, report = JukeboxVQVAE.from_pretrained(
        tmp_path, dtype="auto", device_map=device_map, output_loading_info=True
    )
    assert not any(report.values()), report
    assert_same(state(loaded), state(codec))
    assert loaded.dtype == getattr(torch, dtype)
    assert loaded.config.codebook_fingerprint == codec.fingerprint() == loaded.fingerprint()
    codes = codec.encode(noise(2, 1, 64))
    for one, other in zip(codes, loaded.encode(noise(2, 1, 64)), strict=True):
        assert torch.equal(one, other)


def test_the_auto_classes_know_it(tmp_path):
    import jukebox_hf  # noqa: F401 (registers)

    tiny_codec().save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), JukeboxVQVAEConfig)
    assert isinstance(AutoModel.from_pretrained(tmp_path), JukeboxVQVAE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loading_in_16_bits_leaves_codebooks_alone(tmp_path, dtype: torch.dtype):
    codec = tiny_codec()
    codec.save_pretrained(tmp_path)
    loaded = JukeboxVQVAE.from_pretrained(tmp_path, dtype=dtype)
    assert loaded.levels[0].decoder.output.weight.dtype == dtype
    for ours, theirs in zip(codec.levels, loaded.levels, strict=True):
        assert_same(state(ours.codebook), state(theirs.codebook))
    assert loaded.fingerprint() == codec.fingerprint()


@pytest.mark.parametrize("offload_buffers", [False, True])
def test_levels_can_wait_on_disk(tmp_path, offload_buffers: bool):
    codec, audio = tiny_codec(), noise(2, 1, 64)
    codec.save_pretrained(tmp_path / "codec")
    loaded = JukeboxVQVAE.from_pretrained(
        tmp_path / "codec",
        device_map={"levels.0": "cpu", "levels.1": "disk", "levels.2": "cpu"},
        offload_folder=tmp_path / "offloaded",
        offload_buffers=offload_buffers,
    )
    assert loaded.levels[1].decoder.output.weight.is_meta
    assert loaded.levels[1].codebook.vectors.is_meta == offload_buffers
    for level, codes in enumerate(codec.encode(audio)):
        assert torch.equal(loaded.encode(audio, [level])[0], codes)
        assert torch.equal(loaded.decode(codes, level), codec.decode(codes, level))
    torch.testing.assert_close(loaded(audio).loss, codec(audio).loss)


def rewrite(folder, change) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_training_never_wipes_a_codebook_loaded_without_statistics(tmp_path):
    codec = tiny_codec()
    codec.save_pretrained(tmp_path)

    def vectors_only(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            if name.endswith(("sums", "counts", "initialized")):
                del tensors[name]

    rewrite(tmp_path, vectors_only)
    loaded = JukeboxVQVAE.from_pretrained(tmp_path).train()
    output = loaded(noise(2, 1, 64))
    for level, (ours, theirs) in enumerate(zip(codec.levels, loaded.levels, strict=True)):
        expected = ours.codebook.vectors[output.codes[level]]
        quantized = ours.codebook(codec.encode_latents(noise(2, 1, 64), level))
        assert torch.equal(quantized.codes, output.codes[level])
        assert torch.equal(quantized.vectors, expected)
        assert theirs.codebook.initialized
        assert theirs.codebook.counts.sum() == pytest.approx(output.codes[level].numel())


def test_what_is_missing_is_drawn_and_what_is_there_stays(tmp_path):
    codec = tiny_codec()
    codec.save_pretrained(tmp_path)
    name = "levels.1.decoder.output"
    rewrite(tmp_path, lambda tensors: tensors.pop(f"{name}.bias"))
    loaded, report = JukeboxVQVAE.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == {f"{name}.bias"}
    ours, theirs = state(codec), state(loaded)
    assert theirs.pop(f"{name}.bias").isfinite().all()
    ours.pop(f"{name}.bias")
    assert_same(ours, theirs)


def test_the_fingerprint_is_that_of_the_saved_codebooks(tmp_path):
    codec, other = tiny_codec(), tiny_codec()
    other.levels[1].codebook.vectors[0, 0] += 1
    assert codec.fingerprint() != other.fingerprint()
    codec.save_pretrained(tmp_path, state_dict=other.state_dict())
    config = JukeboxVQVAEConfig.from_pretrained(tmp_path)
    assert config.codebook_fingerprint == other.fingerprint()


# --- mistakes


def silence(*shape: int) -> Tensor:
    return torch.zeros(*shape)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (silence(1, 2, 64), r"mono, \(batch, 1, samples\), got shape \(1, 2, 64\); mix channels"),
        (silence(64), r"got shape \(64,\)"),
        (silence(1, 64), r"got shape \(1, 64\)"),
        (silence(0, 1, 64), r"got shape \(0, 1, 64\)"),
        (silence(1, 1, 15), "one code of level 2 takes 16 samples, but the audio has only 15"),
        (silence(1, 1, 0), "one code of level 0 takes 2 samples, but the audio has only 0"),
        (silence(1, 1, 64).long(), "floating point in .-1, 1., got torch.int64"),
        (torch.full((1, 1, 64), math.nan), "some are NaN or infinite"),
        (torch.full((1, 1, 64), -math.inf), "some are NaN or infinite"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "forward"])
def test_audio_that_makes_no_sense_is_refused(method: str, audio: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        getattr(tiny_codec(), method)(audio)


def test_short_audio_is_fine_for_the_levels_that_it_fills():
    codec = tiny_codec()
    assert codec.encode(silence(1, 1, 15), levels=[0, 1])[1].shape == (1, 1)
    with pytest.raises(ValueError, match="one code of level 2 takes 16 samples"):
        codec.encode_latents(silence(1, 1, 15), 2)


def test_forward_says_how_long_audio_must_be_for_its_losses():
    with pytest.raises(ValueError, match="need at least 17 samples"):
        tiny_codec()(silence(1, 1, 16))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.tensor([[0, 16]]), "from 0 to 15, but these reach from 0 to 16"),
        (torch.tensor([[-1, 3]]), "from 0 to 15, but these reach from -1 to 3"),
        (torch.tensor([[0.0, 1.0]]), "codes should be integers, got torch.float32"),
        (torch.tensor([[True]]), "codes should be integers, got torch.bool"),
        (torch.tensor([1, 2]), r"\(batch, time\) with at least one code, got \(2,\)"),
        (torch.zeros(1, 0, dtype=torch.long), r"at least one code, got \(1, 0\)"),
    ],
)
@pytest.mark.parametrize("method", ["decode", "embed_codes"])
def test_codes_that_make_no_sense_are_refused(method: str, codes: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        getattr(tiny_codec(), method)(codes, 1)


@pytest.mark.parametrize("level", [3, -1, "1", 1.0, None, True])
def test_levels_that_do_not_exist_are_refused(level: Any):
    codec = tiny_codec()
    for call in (
        lambda: codec.decode(torch.tensor([[0]]), level),
        lambda: codec.encode(silence(1, 1, 64), levels=[level]),
        lambda: codec.encode_latents(silence(1, 1, 64), level),
    ):
        with pytest.raises(ValueError, match=r"from 0 \(finest\) to 2, got"):
            call()


def test_one_level_must_still_be_a_list():
    with pytest.raises(ValueError, match=r"levels should be a list such as \[2\], got 2"):
        tiny_codec().encode(silence(1, 1, 64), levels=2)


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan])
def test_chunks_must_have_a_length(seconds: float):
    codec = tiny_codec()
    with pytest.raises(ValueError, match="chunk_seconds must be positive"):
        codec.encode(silence(1, 1, 64), chunk_seconds=seconds)
    with pytest.raises(ValueError, match="chunk_seconds must be positive"):
        codec.decode(torch.tensor([[0]]), 0, chunk_seconds=seconds)


def test_latents_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, time, 4\), got shape \(1, 4, 9\)"):
        tiny_codec().quantize(silence(1, 4, 9), 0)
    with pytest.raises(ValueError, match=r"\(batch, time, 4\), got shape \(1, 4, 9\)"):
        tiny_codec().decode_latents(silence(1, 4, 9), 0)


def test_repositories_of_the_former_port_name_the_command_that_converts():
    with pytest.raises(ValueError, match="jukebox convert"):
        JukeboxVQVAEConfig(model_type="jukebox_vqvae")
    with pytest.raises(ValueError, match="jukebox convert"):
        JukeboxVQVAE.from_pretrained(golden("transformers/1b_lyrics"))


def test_arrays_of_any_rate_are_encoded_like_the_sound_that_they_are():
    codec = tiny_codec()
    rate = codec.config.sampling_rate
    stereo = noise(2, 1, 64)[:, 0]  # (channels, samples)
    expected = codec.encode(stereo.mean(dim=0)[None, None])
    found = codec.encode(stereo.numpy(), sampling_rate=rate)
    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, codec.encode(stereo, sampling_rate=rate), expected))
    twice = codec.encode(stereo.numpy(), sampling_rate=2 * rate)
    assert [codes.shape[1] for codes in twice] == [codes.shape[1] // 2 for codes in expected]
    assert torch.equal(codec.decode(found[0].numpy(), 0), codec.decode(found[0], 0))
    with pytest.raises(ValueError, match=f"say sampling_rate=..., such as {rate}"):
        codec.encode(stereo.numpy())
    with pytest.raises(ValueError, match=r"codes should be integers, got torch\.float32"):
        codec.decode(np.zeros((1, 4), np.float32), 0)

"""The codec's config: presets, contradictions, and what comes back from disk."""

import dataclasses
import math
import re

import pytest

from jukebox_hf.vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig
from tests.golden_data import load_json

FIELDS = {field.name: field.default for field in dataclasses.fields(VQVAEConfig)}


def test_presets_are_the_released_codecs():
    assert JukeboxVQVAEConfig.preset("vqvae").hop_lengths == (8, 32, 128)
    small = JukeboxVQVAEConfig.preset("small_vqvae", commitment_weight=1.0)
    assert small.hop_lengths == (32, 256)
    assert small.num_levels == 2
    assert small.sampling_rate == 22050
    assert small.commitment_weight == 1.0
    assert small.multispectral_stft_sizes == (2048, 1024, 512)


def test_the_default_is_what_the_release_trained():
    hps = load_json("fullsize/hps_vqvae.json")
    config = JukeboxVQVAEConfig()
    multipliers = hps["hvqvae_multipliers"]
    assert config.sampling_rate == hps["sr"]
    assert config.downsamplings == tuple(hps["downs_t"])
    assert config.strides == tuple(hps["strides_t"])
    assert config.widths == tuple(factor * hps["width"] for factor in multipliers)
    assert config.depths == tuple(factor * hps["depth"] for factor in multipliers)
    assert config.codebook_size == hps["l_bins"]
    assert config.codebook_dim == hps["emb_width"]
    assert config.dilation_growth == hps["dilation_growth_rate"]
    assert config.codebook_decay == hps["l_mu"]
    assert config.commitment_weight == hps["commit"]
    assert config.waveform_loss == hps["loss_fn"]
    assert (config.lmix_l1, config.lmix_l2, config.lmix_linf) == (
        hps["lmix_l1"],
        hps["lmix_l2"],
        hps["lmix_linf"],
    )
    assert config.linf_samples == hps["linf_k"]
    assert (config.spectral_weight, config.multispectral_weight) == (
        hps["spectral"],
        hps["multispectral"],
    )
    assert config.revival_threshold == hps["revival_threshold"]


def test_unknown_presets_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"'small_vqvea'. Did you mean 'small_vqvae'"):
        JukeboxVQVAEConfig.preset("small_vqvea")


def test_a_saved_config_comes_back_equal(tmp_path):
    config = JukeboxVQVAEConfig.preset(
        "small_vqvae", codebook_fingerprint="sha256:" + "0" * 64, dilation_cycle=3
    )
    config.save_pretrained(tmp_path)
    loaded = JukeboxVQVAEConfig.from_pretrained(tmp_path)
    for name in FIELDS:
        assert getattr(loaded, name) == getattr(config, name)
        assert type(getattr(loaded, name)) is type(getattr(config, name))


def test_every_field_is_documented():
    documented = re.findall(r"^        (\w+): ", JukeboxVQVAEConfig.__doc__, flags=re.MULTILINE)
    assert set(documented) == set(FIELDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (2, 3, 2)}, r"strides must be even, got \(2, 3, 2\)"),
        ({"strides": (2, 2)}, r"strides needs one entry per level.*got 2 \(2, 2\), and 3"),
        ({"downsamplings": ()}, "at least one"),
        ({"widths": (8, 0, 8)}, r"widths must be positive, got \(8, 0, 8\)"),
        ({"depths": (1, -1, 1)}, "depths must be positive"),
        ({"downsamplings": (0, 2, 2)}, "downsamplings must be positive"),
        ({"multispectral_stft_sizes": (512,)}, "one entry per resolution"),
        ({"stft_window_length": 4096}, "window of 4096 samples for an FFT of 2048"),
        ({"multispectral_stft_window_lengths": (1200, 600, 600)}, "600 samples for an FFT of 512"),
        ({"codebook_size": 0}, "codebook_size must be positive, got 0"),
        ({"codebook_size": 40000}, "codebook_size must be at most 32768, got 40000"),
        ({"codebook_decay": 1.0}, "codebook_decay must be at least 0 and below 1, got 1.0"),
        ({"commitment_weight": -1}, "commitment_weight must be at least 0, got -1"),
        ({"commitment_weight": math.nan}, "commitment_weight must be of ordinary size, got nan"),
        ({"bandwidth_l2": 0.0}, "bandwidth_l2 must be positive, got 0"),
        ({"dilation_cycle": 0}, "dilation_cycle must be positive, or None, got 0"),
        ({"conv_multiplier": 0.01}, "conv_multiplier 0.01 leaves no channels of width 64"),
        ({"lmix_l2": 0, "lmix_linf": 0}, "needs a positive lmix_l1, lmix_l2 or lmix_linf"),
        ({"waveform_loss": "huber"}, "waveform_loss.*huber"),
        ({"sampling_rate": "44100"}, "sampling_rate.*expected int, got str"),
        ({"codebook_fingerprint": "abc"}, "'sha256:' and 64 hexadecimal digits, got 'abc'"),
        ({"codebok_size": 3}, "unknown setting 'codebok_size'. Did you mean 'codebook_size'"),
    ],
)
def test_contradictions_are_one_clear_value_error(changes: dict, message: str):
    for kind in (VQVAEConfig, JukeboxVQVAEConfig):
        with pytest.raises(ValueError, match=message):
            kind(**changes)

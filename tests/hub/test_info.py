"""What a model is and needs, from configs and headers."""

from pathlib import Path

import pytest

from jukebox_hf.generation.fitting import memory_needs
from jukebox_hf.hub import System, TrainingFacts, save_training_facts
from jukebox_hf.hub.cards.model_facts import gather_facts
from jukebox_hf.hub.cards.summary import info_lines, info_record
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from tests.tiny import tiny_prior, tiny_system


def test_everything_is_told_without_reading_weights(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model", "encoder", licence="CC0-1.0", name="tiny")
    save_training_facts(folder / "prior_1", TrainingFacts(steps=3))
    weights = folder / "prior_2" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1000:] = b"\xff" * 1000  # values do not matter
    weights.write_bytes(data)
    facts = gather_facts(System.open(folder))
    record = info_record(facts)
    top = record["components"]["prior_2"]
    prior = tiny_prior(2, "encoder")
    assert top["parameters"] == sum(parameter.numel() for parameter in prior.parameters())
    assert top["dtypes"] == {"float32": top["parameters"]}
    assert top["window_seconds"] == 0.512
    assert (top["min_total_seconds"], top["max_total_seconds"]) == (0.5, 60.0)
    assert (top["artists"], top["genres"], top["lyric_length"]) == (3, 4, 8)
    assert record["components"]["prior_1"]["training"]["steps"] == 3
    assert record["components"]["vqvae"]["hop_lengths"] == [8, 32, 128]
    assert record["licence"] == "CC0-1.0"
    assert not record["noncommercial"]
    text = "\n".join(info_lines(facts))
    for words in (
        "tiny",
        "8,000 Hz",
        "up to 60 s; under 0.5 s",
        "3 artists, 4 genres",
        "upsampler",
    ):
        assert words in text


def test_a_damaged_training_file_is_a_note(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    (folder / "prior_0" / "training.json").write_text("[]")
    (note,) = gather_facts(System.open(folder)).notes
    assert "training.json: expected a JSON object" in note


def test_config_and_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    config = tiny_prior(0, width=32).config
    config.codebook_fingerprint = System.open(folder).vqvae_config().codebook_fingerprint
    config.save_pretrained(folder / "prior_0")
    with pytest.raises(ValueError, match="its settings contradict its tensors: width 32"):
        gather_facts(System.open(folder))


def test_memory_of_a_released_model_is_in_proportion() -> None:
    prior = JukeboxPriorConfig.preset("1b_lyrics")
    needs = {need.precision: need for need in memory_needs(JukeboxVQVAEConfig(), [prior])}
    # 1.0 billion parameters take 4, 2 and about 1 bytes each; codec and cache stand beside them
    assert 4.5e9 < needs["float32"].num_bytes < 6e9
    assert 2.2e9 < needs["float16"].num_bytes < 3.5e9
    assert needs["float32"].gpu_gibibytes == 6
    assert needs["int8"].num_bytes < needs["float16"].num_bytes < needs["float32"].num_bytes
    assert all(need.num_bytes > 0 for need in memory_needs(JukeboxVQVAEConfig(), []))

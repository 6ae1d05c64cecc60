"""The config of a prior: layer patterns, derived sizes, and contradictions."""

from collections import Counter
from typing import Any

import pytest

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.prior_config import (
    ATTENTION_PATTERNS,
    ORIGINAL_ATTENTION_ORDERS,
    PriorConfig,
)
from tests.prior.tiny_priors import ARCHITECTURES, BASE, LABELS, LYRICS, TIMING


def original_kind(order: int, layer: int) -> str:
    """architecture.md 3.5, layer by layer, by the original's numbers for kinds."""
    words = {0: "dense", 1: "row", 2: "column", 3: "previous_row", 6: "cross", 7: "prime"}
    cycle = (1, 2, 3)
    third = layer % 3
    number = {
        0: lambda: 0,
        1: lambda: (1, 2)[layer % 2],
        2: lambda: cycle[third],
        6: lambda: (1, 2, 3, 6)[layer % 4],
        7: lambda: (*cycle * 5, 6)[layer % 16],
        8: lambda: (*cycle * 3, 6)[layer % 10],
        9: lambda: (1, 2, 3, 0)[layer % 4],
        10: lambda: (*cycle * 3, *(*cycle * 3, 6) * 7)[layer % 79],
        11: lambda: (6, 6, 0)[third] if layer % 16 == 15 else cycle[third],
        12: lambda: (7, 7, 0)[third] if layer % 16 == 15 else cycle[third],
    }[order]()
    return words[number]


@pytest.mark.parametrize("order", sorted(ORIGINAL_ATTENTION_ORDERS))
def test_patterns_are_the_originals(order: int) -> None:
    cycle = ATTENTION_PATTERNS[ORIGINAL_ATTENTION_ORDERS[order]]
    ours = [cycle[layer % len(cycle)] for layer in range(200)]
    assert ours == [original_kind(order, layer) for layer in range(200)]


def test_the_released_layouts() -> None:
    one_b = JukeboxPriorConfig.preset("1b_lyrics")
    assert Counter(one_b.layer_kinds) == {
        "row": 22,
        "column": 23,
        "previous_row": 23,
        "prime": 3,
        "dense": 1,
    }
    assert one_b.prime_length == 448
    assert (one_b.sequence_length, one_b.row_length) == (6528, 102)
    assert one_b.vocabulary_size == 2127
    five_b = JukeboxPriorConfig.preset("5b_lyrics")
    crossing = [i for i, kind in enumerate(five_b.layer_kinds) if kind == "cross"]
    assert crossing == [18, 28, 38, 48, 58, 68, 78]
    assert JukeboxPriorConfig.preset("upsampler_level_1").window_samples == 262_144


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_rows": 5}, "num_rows must divide the sequence of 24 positions, got 5"),
        ({"heads": 3}, "heads must divide attention_width"),
        ({"depth": 10**12}, "depth must be at most 4096"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"attention_pattern": "rows"}, "unknown attention pattern 'rows'; known: dense"),
        ({"attention_pattern": "factored_cross_4"}, "cross-attention layers, which need lyrics"),
        ({"attention_pattern": "factored_prime_dense", "depth": 16}, "need lyrics='sequence'"),
        ({"genre_count": 3}, "need artist_count"),
        ({"artist_count": 3}, "labels need genre_count and genre_slots"),
        ({"timing_bins": 3}, "need artist_count"),
        ({"min_total_seconds": 700}, "min_total_seconds must be below"),
        ({"upper_downsamplings": 4}, "context_length must be a multiple of 16"),
        ({"upper_downsamplings": 1, "upper_stride": 3}, "upper_stride must be even"),
        ({**LABELS, **TIMING, "upper_downsamplings": 1}, "an upsampler takes artist, genre and"),
        ({"lyric_length": 8}, "must be 0 with lyrics='none'"),
        ({**LYRICS, "lyrics": "sequence"}, "lyrics='sequence' needs labels"),
        ({**LYRICS, **LABELS, "lyrics": "encoder"}, "needs a pattern with cross-attention"),
        ({**LYRICS, "lyrics": "encoder", "lyric_length": 7}, "lyric_length must be even"),
        ({"alignment_layer": 1}, "go together"),
        ({"alignment_layer": 1, "alignment_head": 0}, "a column layer and does not see the lyrics"),
        ({"codebook_fingerprint": "abc"}, "64 hexadecimal digits"),
        ({"embedding_dropout": 1.0}, "embedding_dropout must be in"),
        ({"depht": 3}, "unknown setting 'depht'. Did you mean 'depth'?"),
        ({"depth": "3"}, "'depth' expected int, got str"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    for kind in (PriorConfig, JukeboxPriorConfig):
        with pytest.raises(ValueError, match=message):
            kind(**{**BASE, **changes})


def test_a_config_of_the_former_port_names_the_command() -> None:
    for kind in (PriorConfig, JukeboxPriorConfig):
        with pytest.raises(ValueError, match="jukebox convert"):
            kind(model_type="jukebox_prior", hidden_size=3)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean '5b_lyrics'"):
        JukeboxPriorConfig.preset("5b_lyric")


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_saving_keeps_every_field(name: str, tmp_path: Any) -> None:
    config = JukeboxPriorConfig(**ARCHITECTURES[name])
    config.save_pretrained(tmp_path)
    assert JukeboxPriorConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()

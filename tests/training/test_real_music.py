"""Training on real music does what it should; takes half an hour on a CPU, and the music.

python -m model_cards.recipe.fetch_music --output music --packages miceamaze zaz-data ...
JUKEBOX_MUSIC=music pytest -m slow tests/training/test_real_music.py
"""

import os
from pathlib import Path

import pytest

from tests.training.real_music import measure, report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("JUKEBOX_MUSIC" not in os.environ, reason="JUKEBOX_MUSIC names no music"),
    pytest.mark.timeout(7200),
]


def test_real_music_is_learnt(tmp_path: Path) -> None:
    codecs, prior = measure(Path(os.environ["JUKEBOX_MUSIC"]), tmp_path)
    print("\n".join(report(codecs, prior)))
    trained = codecs["trained"]
    for level, found in enumerate(trained.levels):
        decibels = found.spectral_convergence_db
        assert decibels < codecs["untrained"].levels[level].spectral_convergence_db - 2
        assert decibels < codecs["constant codebook"].levels[level].spectral_convergence_db - 2
        restarted = codecs["restarts"].levels[level]
        assert restarted.used_share > codecs["no restarts"].levels[level].used_share
    assert prior.bits_per_code < prior.unigram_bits - 0.5
    assert prior.wrong_label_bits is not None
    assert prior.bits_per_code < prior.wrong_label_bits

"""A larger conditioner begins as what it was, and learns with all of its channels."""

from pathlib import Path

import pytest
import torch

from jukebox_hf.hub import System
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from model_cards.recipe import widen_conditioner
from model_cards.recipe.widen_conditioner import widen
from tests.tiny import tiny_prior, tiny_system


@pytest.fixture
def prior() -> JukeboxPrior:
    """An upsampler whose conditioner adds to what it reads."""
    return tiny_prior(0)


def conditioning(prior: JukeboxPrior) -> torch.Tensor:
    """What the conditioner says of some codes: (1, context_length, width)."""
    assert prior.upper_conditioner is not None
    config = prior.config
    length = config.context_length // config.upper_ratio
    codes = torch.arange(length)[None] % config.codebook_size
    return prior.upper_conditioner(codes)


def test_it_computes_what_it_did_and_all_of_it_learns(prior: JukeboxPrior) -> None:
    wider = widen(prior, width=40, depth=4, cycle=2)
    assert wider.config.conditioner_width == 40
    assert wider.num_parameters() > prior.num_parameters()
    torch.testing.assert_close(conditioning(wider), conditioning(prior))
    optimizer = torch.optim.SGD(wider.upper_conditioner.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in wider.upper_conditioner.named_parameters()}
    for _ in range(3):  # what begins at nothing passes a gradient on from the second step on
        optimizer.zero_grad()
        conditioning(wider).square()[..., ::2].sum().backward()
        optimizer.step()
    for name, value in wider.upper_conditioner.named_parameters():
        if value.ndim == 3:  # rectified linear units that are silent here do not learn
            changed = (value != before[name]).flatten(1).any(1).float().mean()
            assert changed > 0.3, (name, changed)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"width": 2, "depth": 4, "cycle": 2}, "expected no less, got 2 and 4"),
        ({"width": 40, "depth": 4, "cycle": 1}, "would get other dilations"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    prior: JukeboxPrior, asked: dict[str, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        widen(prior, **asked)


def test_a_top_prior_has_no_conditioner() -> None:
    with pytest.raises(ValueError, match="level 2 has no conditioner"):
        widen(tiny_prior(2), width=40, depth=4)


def test_the_script_writes_a_model_to_start_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_system(tmp_path / "model")
    asked = ["--model", str(model), "--width", "48", "--depth", "4", "--cycle", "2"]
    output = tmp_path / "wider"
    assert not widen_conditioner.main([*asked, "--level", "1", "--output", str(output)])
    system = System.open(output)
    before = System.open(model)
    assert system.prior_config(1).conditioner_width == 48
    assert system.prior_config(0) == before.prior_config(0)
    assert system.manifest.generation == before.manifest.generation
    assert system.load_vqvae().fingerprint() == before.load_vqvae().fingerprint()
    assert widen_conditioner.main([*asked, "--level", "3", "--output", str(tmp_path / "none")]) == 1
    assert "has no prior of level 3" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()

"""A model whose upsampler hears more of the level above, to be trained on from there.

    python -m model_cards.recipe.widen_conditioner --model demo-22k --level 0 --width 256 \\
        --depth 6 --cycle 3 --output runs/wide_bottom

The convolutions that read the codes above run once a window, so a wider and deeper stack of them
costs a sample almost no time. The new channels and blocks begin such that the prior computes what
it did before (Chen et al. 2016, arXiv:1511.05641): what was there takes nothing from what is new,
and a new block adds nothing; training changes both. Everything else of the model is the same.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from jukebox_hf.convnet import ResidualShape
from jukebox_hf.hub import System
from jukebox_hf.hub.saving import save_system
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from model_cards.recipe.scripts import script, script_parser

STACK = "upper_conditioner.upsampler."


def widen(prior: JukeboxPrior, *, width: int, depth: int, cycle: int | None = None) -> JukeboxPrior:
    """The same prior with a larger conditioner; seeds torch's generator with 0.

    Args:
        prior: an upsampler, in float32.
        width, depth: of its conditioner, not less than they are.
        cycle: after how many blocks dilations begin anew; None: they grow to the end.

    Raises:
        ValueError: for a prior of the top level, a smaller conditioner, or one whose blocks that
            are there would get other dilations or another scale.
    """
    config = prior.config
    if not config.is_upsampler:
        raise ValueError(f"level {config.level} has no conditioner, since none is above it")
    if width < config.conditioner_width or depth < config.conditioner_depth:
        raise ValueError(
            f"the conditioner has width {config.conditioner_width} and depth "
            f"{config.conditioner_depth}; expected no less, got {width} and {depth}"
        )
    if config.conditioner_scale_residual and depth != config.conditioner_depth:
        raise ValueError("the conditioner's blocks are scaled by their number, which must stay")
    changed = {
        "conditioner_width": width,
        "conditioner_depth": depth,
        "conditioner_dilation_cycle": cycle,
    }
    torch.manual_seed(0)
    wider = JukeboxPrior(JukeboxPriorConfig(**{**config.to_dict(), **changed}))
    dilations, wanted = _dilations(config), _dilations(wider.config)
    if wanted[: len(dilations)] != dilations:
        raise ValueError(
            f"blocks that are there would get other dilations: {dilations} before, {wanted} now; "
            "give another --cycle"
        )
    before = prior.state_dict()
    weights = {
        name: _grown(name, tensor, before.get(name)) for name, tensor in wider.state_dict().items()
    }
    wider.load_state_dict(weights)
    return wider


def _dilations(config: JukeboxPriorConfig) -> list[int]:
    """Of the conditioner's blocks, the same in every stage."""
    return ResidualShape(
        config.conditioner_depth,
        config.conditioner_dilation_growth,
        config.conditioner_dilation_cycle,
    ).dilations


def _grown(name: str, new: Tensor, old: Tensor | None) -> Tensor:
    """A tensor of the larger prior: `old` in its first channels, which take nothing from others."""
    if old is None:  # a new block, which adds nothing
        return torch.zeros_like(new) if ".pointwise." in name else new
    if not name.startswith(STACK) or old.shape == new.shape:
        return old
    grown = new.clone()
    if new.ndim == 1:
        grown[: len(old)] = old
        return grown
    outputs, inputs = (1, 0) if ".upsample." in name else (0, 1)
    grown.narrow(outputs, 0, old.shape[outputs]).zero_()
    kept = grown.narrow(outputs, 0, old.shape[outputs]).narrow(inputs, 0, old.shape[inputs])
    kept.copy_(old)
    return grown


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser("widen_conditioner", __doc__)
    parser.add_argument("--model", required=True, help="folder of a whole model")
    parser.add_argument("--level", type=int, required=True, help="of the upsampler")
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--depth", type=int, required=True, help="residual blocks of each stage")
    parser.add_argument("--cycle", type=int, help="blocks after which dilations begin anew")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    return parser.parse_args(arguments)


@script
def main(arguments: list[str]) -> None:
    given = parse_arguments(arguments)
    system = System.open(given.model)
    priors = {level: system.load_prior(level, dtype=torch.float32) for level in system.prior_levels}
    if given.level not in priors:
        raise ValueError(f"{given.model} has no prior of level {given.level}")
    priors[given.level] = widen(
        priors[given.level], width=given.width, depth=given.depth, cycle=given.cycle
    )
    save_system(
        given.output,
        vqvae=system.load_vqvae(dtype=torch.float32),
        priors=priors,
        processors={level: system.processor(level) for level in priors},
        generation=system.manifest.generation,
        licence=system.licence,
    )
    print(given.output)


if __name__ == "__main__":
    sys.exit(main())

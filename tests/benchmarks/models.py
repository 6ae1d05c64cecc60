"""Seeded random priors of several sizes, and samplers that stand in the middle of a window."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.generation.weights import loading_dtype, prepare
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.kernels import float32_products
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.sampling_settings import LevelSettings

# depth x width; contexts and rows as in the released upsamplers. `released_*` are those priors
# without conditioner and lyrics, for a GPU.
SIZES: dict[str, dict[str, Any]] = {
    "4x256": {"depth": 4, "width": 256},
    "12x512": {"depth": 12, "width": 512},
    "24x1024": {"depth": 24, "width": 1024},
    "released_upsampler": {"depth": 72, "width": 1920},
    "released_5b": {"depth": 79, "width": 4800, "heads": 8},
}
CONTEXT, NUM_ROWS, CODEBOOK = 8192, 128, 2048


def config_of(size: str, *, context: int = CONTEXT) -> JukeboxPriorConfig:
    """A prior with factored attention only: no labels, lyrics or conditioner."""
    shape = {"heads": 1, **SIZES[size]}
    return JukeboxPriorConfig(
        level=0,
        codebook_size=CODEBOOK,
        hop_length=8,
        sampling_rate=44100,
        context_length=context,
        num_rows=NUM_ROWS,
        attention_width=shape["width"] // 4,
        mlp_width=shape["width"],
        attention_pattern="factored",
        **shape,
    )


@torch.no_grad()
def random_prior(
    size: str,
    precision: str,
    device: torch.device,
    *,
    seed: int = 0,
    packed: bool = True,
    rows: int | None = None,
) -> JukeboxPrior:
    """A prior with random weights, as a generation loads it for steps of `rows`; None: for none."""
    with torch.device("meta"):
        prior = JukeboxPrior(config_of(size))
    dtype = loading_dtype(precision)
    nn.Module.to(prior, dtype)
    prior.to_empty(device=device)
    prior.tie_weights()
    generator = torch.Generator(device).manual_seed(seed)
    for parameter in prior.parameters():
        parameter.normal_(std=0.02, generator=generator)
    products = "plain" if rows is None else float32_products()
    return prepare(prior.eval(), precision, device, packed=packed, float32=products, rows=rows)


def steps_at(
    prior: JukeboxPrior, place: str, *, batch: int, backend: str, steps: int
) -> Callable[[], None]:
    """A function that samples `steps` codes in the middle or at the end of a window.

    Keys and values of the positions before are random: what they are costs nothing.
    """
    context = prior.config.context_length
    position = {"middle": context // 2, "end": context - steps - 1}[place]
    sampler = WindowSampler(prior, LevelSettings(), batch, backend=backend)
    with torch.inference_mode():
        conditioning = prior.condition()
        state = sampler.backend.prepare(sampler._narrow(batch, conditioning))
        for layer in state.cache.layers:
            layer.both.normal_()
        state.uniform.uniform_()

    def run() -> None:
        with torch.inference_mode():
            state.position.fill_(position)
            sampler.backend.run(state, steps)

    return run


def step_bytes(prior: JukeboxPrior) -> int:
    """Bytes of weights that one step reads: the layers and the output layer."""
    config = prior.config
    each = {torch.float32: 4, torch.float16: 2, torch.bfloat16: 2}[prior.decoder.dtype]
    total = config.vocabulary_size * config.width * 4
    for layer in prior.decoder.layers.modules():
        if hasattr(layer, "in_features") and hasattr(layer, "compute_dtype"):
            weights = layer.in_features * layer.out_features
            kind = type(layer).__name__
            narrow = {"Int8Linear": 1.0, "Int4Linear": 0.5 + 4 / 64, "Float16Linear": 2.0}
            per_weight = narrow.get(kind, each)
            total += round(weights * per_weight)
    return total

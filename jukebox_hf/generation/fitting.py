"""How much memory a model takes in each precision, and how large a GPU has to be for it.

Configs go in, and shapes of tensors where they are known; nothing is read or loaded, and what has
shapes needs no torch. Priors run one after the other, the codec stays beside.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from jukebox_hf.generation.choices import DECODED_SECONDS, PRECISIONS
from jukebox_hf.generation.memory import USED_SHARE, prior_memory
from jukebox_hf.hub.architecture import Shapes, expected_shapes
from jukebox_hf.hub.manifest import VQVAE, prior_name
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.sizes import FLOAT32_BYTES
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

LIVE_SIGNALS = 4  # of a residual block: its input, two intermediate results and their sum
GPU_GIBIBYTES = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141, 180)


class Need(NamedTuple):
    """What one take of music needs in one precision of the priors.

    Attributes:
        precision: of the priors; the codec is float32 always.
        num_bytes: the most at once, on a GPU.
        gpu_gibibytes: memory of the smallest usual GPU that has room; `None` if none has.
    """

    precision: str
    num_bytes: int
    gpu_gibibytes: int | None


def memory_needs(
    vqvae: VQVAEConfig | None,
    priors: Iterable[PriorConfig],
    *,
    shapes: Mapping[str, Shapes] = MappingProxyType({}),
) -> list[Need]:
    """What a model needs, precision by precision.

    `shapes` of all tensors of components ("vqvae", "prior_0", ...), as headers of files tell them.
    """
    codec = decoding = 0
    if vqvae is not None:
        codec = _codec_bytes(shapes.get(VQVAE) or expected_shapes(vqvae))
        decoding = _decoding_bytes(vqvae)
    configs = {prior_name(config.level): config for config in priors}
    needs = []
    for precision in PRECISIONS:
        sampling = [
            prior_memory(config, precision, "cuda", shapes=shapes.get(name)).total(1)
            for name, config in configs.items()
        ]
        needed = codec + max([decoding, *sampling])
        fitting = [size for size in GPU_GIBIBYTES if needed <= size * 2**30 * USED_SHARE]
        needs.append(Need(precision, needed, fitting[0] if fitting else None))
    return needs


def _codec_bytes(shapes: Shapes) -> int:
    """Of float32, beside which a codebook has a flag."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    flags = sum(size for name, size in sizes.items() if name.endswith(".initialized"))
    return (sum(sizes.values()) - flags) * FLOAT32_BYTES + flags


def _decoding_bytes(config: VQVAEConfig) -> int:
    """Signals that are alive while a stretch of audio is decoded at the finest level."""
    samples = DECODED_SECONDS * config.sampling_rate
    return round(LIVE_SIGNALS * config.widths[0] * samples * FLOAT32_BYTES)

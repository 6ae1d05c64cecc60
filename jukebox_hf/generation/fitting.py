"""How much memory a model takes in each precision, and how large a GPU has to be for it.

Configs go in; nothing is read or loaded. Priors run one after the other, the codec stays beside.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.making import DECODED_SECONDS
from jukebox_hf.generation.memory import USED_SHARE, module_bytes, prior_memory
from jukebox_hf.layers import hollow
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.network import VQVAENetwork

FLOAT32_BYTES = 4
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
    vqvae: JukeboxVQVAEConfig | None, priors: Iterable[JukeboxPriorConfig]
) -> list[Need]:
    """What a model needs, precision by precision."""
    codec, decoding = (0, 0) if vqvae is None else (_codec_bytes(vqvae), _decoding_bytes(vqvae))
    configs = list(priors)
    needs = []
    for precision in PRECISIONS:
        sampling = [prior_memory(config, precision, "cuda").total(1) for config in configs]
        needed = codec + max([decoding, *sampling])
        fitting = [size for size in GPU_GIBIBYTES if needed <= size * 2**30 * USED_SHARE]
        needs.append(Need(precision, needed, fitting[0] if fitting else None))
    return needs


def _codec_bytes(config: JukeboxVQVAEConfig) -> int:
    with hollow():
        return module_bytes(VQVAENetwork(config))


def _decoding_bytes(config: JukeboxVQVAEConfig) -> int:
    """Signals that are alive while a stretch of audio is decoded at the finest level."""
    samples = DECODED_SECONDS * config.sampling_rate
    return round(LIVE_SIGNALS * config.widths[0] * samples * FLOAT32_BYTES)

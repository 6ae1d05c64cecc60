"""How much memory a prior takes, counted from its config and the shapes of its tensors.

Nothing is built and torch is not needed: shapes are known from the headers of a file, or from
`hub.architecture.expected_shapes`. `quantization` and `step_buffers` make what is counted here.
"""

import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from jukebox_hf.prior.prior_config import LayerKind, PriorConfig

# How steps multiply with float32 weights: as they are, (out_features, in_features); in oneDNN's own
# order ("packed"); so, but for single rows the other way round in memory ("transposed"); or so, but
# kept in float16 where that loses nothing ("halved").
Float32Products = Literal["plain", "packed", "transposed", "halved"]
# The linear layers, by the ends of their names: their weights have the precision of the prior, all
# other tensors are float32 always.
LINEAR_LAYERS = (
    ".attention.qkv",
    ".attention.query",
    ".attention.key_value",
    ".attention.output",
    ".mlp.expand",
    ".mlp.contract",
    "lyric_encoder.projection",
)
LAYER = re.compile(r"\.layers\.(\d+)\.")  # of a transformer: what is rounded to 8 or 4 bits
GROUP_SIZE = 64  # inputs that share a scale and an offset, in 4 bits
# Bytes of a number in each precision; of 8 and 4 bits those of all that is not rounded to them.
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 2, "int4": 2}
FLOAT32_BYTES = 4


class Layout(NamedTuple):
    """How a transformer's sequence is folded, and which part of it prime layers see."""

    sequence_length: int
    row_length: int
    prime_length: int

    @property
    def num_rows(self) -> int:
        """Rows of the folded sequence."""
        return self.sequence_length // self.row_length


def kept_positions(kind: LayerKind, layout: Layout, encoder_length: int) -> tuple[int, ...]:
    """Shape of the positions whose keys and values a layer of this kind keeps."""
    return {
        "row": (layout.row_length,),
        "column": (layout.row_length, layout.num_rows),
        "previous_row": (2, layout.row_length),
        "dense": (layout.sequence_length,),
        "prime": (layout.prime_length,),
        "cross": (encoder_length,),
    }[kind]


def cached_numbers(config: PriorConfig) -> int:
    """Numbers that the keys and values of one window are."""
    layout = Layout(config.sequence_length, config.row_length, config.prime_length)
    encoder_length = config.lyric_length if config.lyrics == "encoder" else 0
    kept = (kept_positions(kind, layout, encoder_length) for kind in config.layer_kinds)
    return 2 * config.attention_width * sum(map(math.prod, kept))


def fits_kernels(in_features: int, out_features: int) -> bool:
    """Whether the CPU's kernels for 4 bits take such a layer: others crash or are refused."""
    return in_features % GROUP_SIZE == 0 and out_features % 16 == 0


def is_rounded_to_4_bits(layer: int, in_features: int, out_features: int) -> bool:
    """Whether a linear layer is, in int4; it is rounded to 8 bits otherwise.

    `layer` is that of the transformer, from 0: rounding costs most in the first.
    """
    return layer > 0 and fits_kernels(in_features, out_features)


def weight_bytes(shapes: Mapping[str, tuple[int, ...]], precision: str) -> int:
    """Bytes of the weights of a prior, as it samples in a precision.

    Args:
        shapes: of all tensors, by name, shared ones once.
        precision: one of `ITEM_BYTES`; `ValueError` for others.
    """
    if precision not in ITEM_BYTES:
        raise ValueError(f"precision must be one of {', '.join(ITEM_BYTES)}, got {precision!r}")
    return sum(_tensor_bytes(name, shape, precision) for name, shape in shapes.items())


def _tensor_bytes(name: str, shape: tuple[int, ...], precision: str) -> int:
    size = math.prod(shape)
    if not name.rpartition(".")[0].endswith(LINEAR_LAYERS):
        return size * FLOAT32_BYTES
    item_bytes = ITEM_BYTES[precision]
    layer = LAYER.search(name)
    if layer is None or len(shape) != 2 or precision not in ("int8", "int4"):
        return size * item_bytes
    out_features, in_features = shape
    if precision == "int4" and is_rounded_to_4_bits(int(layer[1]), in_features, out_features):
        groups = in_features // GROUP_SIZE * out_features
        return size // 2 + groups * 2 * item_bytes  # two to a byte; a scale and an offset
    return size + out_features * item_bytes  # and a scale for every output

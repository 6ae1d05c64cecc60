"""What is asked of an embedder: layers, how audio is read, what becomes of the states.

Words and numbers of a user go in; `EmbeddingSettings` come out, checked against the configs of a
model before any weight is read.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jukebox_hf.audio.resampling import QUALITIES, Quality
from jukebox_hf.prior.prior_config import PriorConfig

Pool = Literal["none", "mean"]
TimingKind = Literal["fixed", "true"]
Normalize = Literal["file", "window", "none"]
Span = Literal["whole", "first", "adjacent"]

POOLS: tuple[Pool, ...] = ("none", "mean")
TIMINGS: tuple[TimingKind, ...] = ("fixed", "true")
NORMALIZATIONS: tuple[Normalize, ...] = ("file", "window", "none")
SPANS: tuple[Span, ...] = ("whole", "first", "adjacent")


@dataclass(frozen=True)
class EmbeddingSettings:
    """What is computed of each file. The defaults embed whole songs of any length.

    Args:
        layers: which, counted from 1; None: the one in the middle (36 of the released 72).
        rate: frames per second; None: every state, at the rate of the codes.
        pool: "mean" gives one vector per layer and file, or per layer and window.
        window_seconds, stride_seconds: cut a file into pieces, each embedded by itself; what is
            left at its end is dropped. The stride defaults to the window.
        start_seconds, end_seconds: the part of every file; None: to its end.
        timing: what the prior is told about length and place: "fixed", the same for every window
            (62 s and 0 for the released models, as music research does), or "true".
        normalize: divide by the largest absolute sample of the part that is read ("file"), of each
            piece ("window"), or not at all. None: "window" with `window_seconds`, else "file".
        span: how a piece longer than the context is covered. "whole": windows every
            `hop_fraction` of the context, the last one ending with the piece. "first": the first
            context only. "adjacent": windows side by side, each encoded by itself, the last padded
            with zeros, as Sheet Sage does.
        hop_fraction: see `span`; more than 0, at most 1.
        resampler: see `jukebox_hf.audio.resample`.
        round_to_16_bit: write and read each piece as 16-bit audio first, as EDGE does.
    """

    layers: tuple[int, ...] | None = None
    rate: float | None = None
    pool: Pool = "none"
    window_seconds: float | None = None
    stride_seconds: float | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None
    timing: TimingKind = "fixed"
    normalize: Normalize | None = None
    span: Span = "whole"
    hop_fraction: float = 0.5
    resampler: Quality = "HQ"
    round_to_16_bit: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("pool", POOLS),
            ("timing", TIMINGS),
            ("normalize", (None, *NORMALIZATIONS)),
            ("span", SPANS),
            ("resampler", QUALITIES),
        ):
            if getattr(self, name) not in allowed:
                words = ", ".join(str(word) for word in allowed if word is not None)
                raise ValueError(f"{name} must be one of {words}, got {getattr(self, name)!r}")
        for name in ("rate", "window_seconds", "stride_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be more than 0, got {value!r}")
        if not 0 < self.hop_fraction <= 1:
            raise ValueError(f"hop_fraction must be in (0, 1], got {self.hop_fraction!r}")
        if self.span != "whole" and self.hop_fraction != EmbeddingSettings.hop_fraction:
            raise ValueError(
                f"hop_fraction has no effect with span {self.span!r}; leave it out, or take 'whole'"
            )
        if self.stride_seconds is not None and self.window_seconds is None:
            raise ValueError("a stride needs a window; give the window's length, too")
        if not 0 <= self.start_seconds < math.inf:
            raise ValueError(f"start_seconds must be 0 or more, got {self.start_seconds!r}")
        if self.end_seconds is not None and not self.start_seconds < self.end_seconds < math.inf:
            raise ValueError(
                f"end_seconds must be after start_seconds, got {self.start_seconds:g} and "
                f"{self.end_seconds:g}"
            )
        if self.layers is not None:
            object.__setattr__(self, "layers", check_layer_list(self.layers))
        if self.window_seconds is not None and self.span == "adjacent":
            raise ValueError("adjacent windows are those of the context; leave window_seconds out")

    @classmethod
    def like(cls, tool: str | None = None, **changes: Any) -> "EmbeddingSettings":
        """What a tool of music research computes, with changes; None: the defaults.

        Raises:
            ValueError: for a tool that is not known here.
        """
        if tool is not None and tool not in TOOLS:
            raise ValueError(f"like must be one of {', '.join(TOOLS)}, got {tool!r}")
        return cls(**{**(TOOLS[tool] if tool is not None else {}), **changes})

    @property
    def normalization(self) -> Normalize:
        """`normalize`, or what stands for it."""
        if self.normalize is not None:
            return self.normalize
        return "window" if self.window_seconds is not None else "file"

    @property
    def has_pieces(self) -> bool:
        """Whether files are cut into pieces that are embedded by themselves."""
        return self.window_seconds is not None

    @property
    def stride(self) -> float:
        """Seconds from piece to piece."""
        assert self.window_seconds is not None
        return self.window_seconds if self.stride_seconds is None else self.stride_seconds

    def for_prior(self, config: PriorConfig) -> "EmbeddingSettings":
        """These settings with the layers named, if that prior can do what they ask for.

        Raises:
            ValueError: for a layer that it lacks, a rate above that of its codes, or a window that
                is longer than its context or shorter than a code.
        """
        layers = self.layers if self.layers is not None else (-(-config.depth // 2),)
        for layer in layers:
            if not 1 <= layer <= config.depth:
                raise ValueError(
                    f"the prior of level {config.level} has layers 1 to {config.depth}, "
                    f"got layer {layer}"
                )
        code_rate = config.sampling_rate / config.hop_length
        if self.rate is not None and self.rate > code_rate:
            raise ValueError(
                f"the rate must be at most {code_rate:g} per second, which is that of the codes, "
                f"got {self.rate:g}"
            )
        if self.window_seconds is not None:
            codes = int(self.window_seconds * config.sampling_rate) // config.hop_length
            longest = config.window_seconds
            if codes > config.context_length:
                raise ValueError(
                    f"a window of {self.window_seconds:g} s is longer than the context of this "
                    f"prior, {longest:.4g} s; without a window, songs of any length are embedded"
                )
            if codes < 1:
                raise ValueError(
                    f"a window of {self.window_seconds:g} s is less than one code "
                    f"({1 / code_rate:.3g} s)"
                )
        return replace(self, layers=layers)


# What tools of music research compute; see the fields of `EmbeddingSettings`.
TOOLS: dict[str, dict[str, Any]] = {
    "jukemirlib": {"layers": (36,), "span": "first"},
    "edge": {
        "layers": (66,),
        "span": "first",
        "rate": 30,
        "window_seconds": 5.0,
        "stride_seconds": 2.5,
        "round_to_16_bit": True,
    },
    "jukemir": {"layers": (36,), "span": "first", "pool": "mean", "resampler": "kaiser_best"},
    "sheetsage": {
        "layers": (53,),
        "span": "adjacent",
        "timing": "true",
        "resampler": "kaiser_best",
    },
}


def check_layer_list(layers: Sequence[int]) -> tuple[int, ...]:
    """The layers as a tuple; `ValueError` for none, one below 1 and one that is named twice."""
    try:
        found = tuple(operator.index(layer) for layer in layers)
    except TypeError:
        raise ValueError(f"layers must be whole numbers, got {layers!r:.80}") from None
    if not found:
        raise ValueError("layers must name at least one layer, got none")
    for layer in found:
        if layer < 1:
            raise ValueError(f"layers count from 1, got layer {layer}")
        if found.count(layer) > 1:
            raise ValueError(f"layer {layer} is named more than once; name each once")
    return found


def parse_layers(text: str, depth: int) -> tuple[int, ...]:
    """Layers from `36`, `36,53,66`, `1-72` or `all`, for a prior of `depth` layers.

    >>> parse_layers("1,3-5", 6), parse_layers("all", 3)
    ((1, 3, 4, 5), (1, 2, 3))

    Raises:
        ValueError: for other text, one that `check_layer_list` refuses, or too deep a range.
    """
    if text.strip() == "all":
        return tuple(range(1, depth + 1))
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        numbers = (first, last) if dash else (first,)
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise ValueError(
                f"{text!r:.80} names no layers; give them as in 36, 36,53,66, 1-72 or all"
            )
        low, high = int(numbers[0]), int(numbers[-1])
        if high > depth or low > high:
            raise ValueError(f"the prior has layers 1 to {depth}, got {part.strip()}")
        found += range(low, high + 1)
    return check_layer_list(found)

"""What defines a prior: its codes, its transformer, and everything that conditions it.

One class for every level and every released architecture; `PriorConfig.preset` names them. Models
of transformers have it as a `JukeboxPriorConfig`.
"""

import difflib
import re
from typing import Any, Literal, Self

from jukebox_hf.plain_config import PlainConfig
from jukebox_hf.prior.presets import PRIOR_PRESETS
from jukebox_hf.strictness import plain_config

LayerKind = Literal["row", "column", "previous_row", "dense", "cross", "prime"]

# Far more layers than any model has: what a damaged config may not exceed.
MAX_REPEATS = 4096

_CYCLE: tuple[LayerKind, ...] = ("row", "column", "previous_row")
_LONG = _CYCLE * 16
# Every pattern repeats its layers until the transformer is deep enough.
ATTENTION_PATTERNS: dict[str, tuple[LayerKind, ...]] = {
    "dense": ("dense",),
    "row_column": ("row", "column"),
    "factored": _CYCLE,
    "factored_dense": (*_CYCLE, "dense"),
    "factored_cross_4": (*_CYCLE, "cross"),
    "factored_cross_10": (*_CYCLE * 3, "cross"),
    "factored_cross_16": (*_CYCLE * 5, "cross"),
    "factored_cross_79": (*_CYCLE * 3, *(*_CYCLE * 3, "cross") * 7),
    # The cycle of three runs on under every sixteenth layer, so these two start over after 48.
    "factored_cross_dense": (*_LONG[:15], "cross", *_LONG[16:31], "cross", *_LONG[32:47], "dense"),
    "factored_prime_dense": (*_LONG[:15], "prime", *_LONG[16:31], "prime", *_LONG[32:47], "dense"),
}
# The numbers that the original release used for the patterns above (`attn_order`). Its 3, 4 and 5
# (summaries) never had a way to sample and stand in no released model.
ORIGINAL_ATTENTION_ORDERS: dict[int, str] = {
    0: "dense",
    1: "row_column",
    2: "factored",
    6: "factored_cross_4",
    7: "factored_cross_16",
    8: "factored_cross_10",
    9: "factored_dense",
    10: "factored_cross_79",
    11: "factored_cross_dense",
    12: "factored_prime_dense",
}


@plain_config
class PriorConfig(PlainConfig):
    """Architecture of one prior. The defaults are a small unconditioned prior.

    Codes:
        level: which level's codes it predicts; 0 is the finest.
        codebook_size: how many different codes there are.
        hop_length: audio samples per code.
        sampling_rate: of the audio behind the codes, in Hz.
        codebook_fingerprint: of the VQ-VAE whose codes it was trained on; `None` if unknown.
    Transformer:
        context_length: codes it sees at once (a window).
        width, depth, heads: residual width, number of layers, attention heads per layer.
        attention_width: width of queries, keys and values over all heads.
        mlp_width: hidden width of the feed-forward part.
        num_rows: rows into which the sequence is folded for factored attention.
        attention_pattern: a name in `ATTENTION_PATTERNS`.
        scale_residual: multiply each layer's contribution by 1 / depth.
        zero_init_output: start with attention and feed-forward outputs at zero.
        init_scale: factor on the standard deviations of initial weights.
        embedding_dropout, attention_dropout, residual_dropout: probabilities, in training only.
        tie_word_embeddings: the output layer shares the code embedding's weights.
        condition_after_transformer: add the per-position conditioning once more before the output.
    Labels (0 artists: none, and a learned start vector takes their place):
        artist_count, genre_count: rows of the two tables.
        genre_slots: most genre words of one piece; their embeddings are added up.
        timing_bins: rows of each timing table (total length, absolute and relative position);
            0: no timing.
        min_total_seconds, max_total_seconds: allowed length of a whole piece, maximum excluded.
    Upper codes (0 downsamplings: none, as at the top level):
        upper_downsamplings, upper_stride: the level above has `upper_stride ** upper_downsamplings`
            times fewer codes.
        conditioner_width, conditioner_depth: its width, and residual blocks per stage.
        conditioner_dilation_growth, conditioner_dilation_cycle: `growth ** (block % cycle)` is the
            dilation of a block.
        conditioner_scale_residual: multiply its residual branches by 1 / sqrt(depth).
        conditioner_conv_multiplier: hidden over outer width in its residual blocks.
    Lyrics:
        lyrics: "none", "encoder" (an encoder and cross-attention) or "sequence" (lyrics before the
            codes in one sequence).
        lyric_length, lyric_vocab_size: symbols seen at once, and how many different ones there are.
        lyric_loss_fraction: weight of the lyric part in the loss.
        lyric_encoder_*: as the transformer's fields, for `lyrics="encoder"`.
        alignment_layer, alignment_head: whose attention follows the words; `None` if none does.
    """

    model_type = "jukebox_hf_prior"

    level: int = 0
    codebook_size: int = 2048
    hop_length: int = 8
    sampling_rate: int = 44100
    codebook_fingerprint: str | None = None

    context_length: int = 1024
    width: int = 128
    depth: int = 3
    heads: int = 1
    attention_width: int = 32
    mlp_width: int = 128
    num_rows: int = 16
    attention_pattern: str = "factored"
    scale_residual: bool = False
    zero_init_output: bool = False
    init_scale: float | int = 1.0
    embedding_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    residual_dropout: float | int = 0.0
    tie_word_embeddings: bool = True
    condition_after_transformer: bool = True

    artist_count: int = 0
    genre_count: int = 0
    genre_slots: int = 0
    timing_bins: int = 0
    min_total_seconds: float | int = 0.0
    max_total_seconds: float | int = 600.0

    upper_downsamplings: int = 0
    upper_stride: int = 2
    conditioner_width: int = 128
    conditioner_depth: int = 3
    conditioner_dilation_growth: int = 1
    conditioner_dilation_cycle: int | None = None
    conditioner_scale_residual: bool = False
    conditioner_conv_multiplier: float | int = 1.0

    lyrics: Literal["none", "encoder", "sequence"] = "none"
    lyric_length: int = 0
    lyric_vocab_size: int = 0
    lyric_loss_fraction: float | int = 0.0
    lyric_encoder_width: int = 128
    lyric_encoder_depth: int = 3
    lyric_encoder_heads: int = 1
    lyric_encoder_attention_width: int = 32
    lyric_encoder_mlp_width: int = 128
    lyric_encoder_num_rows: int = 16
    lyric_encoder_attention_pattern: str = "factored"
    lyric_encoder_init_scale: float | int = 1.0
    alignment_layer: int | None = None
    alignment_head: int | None = None

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """The config of a released or small prior by name, with some fields replaced.

        Raises:
            ValueError: for an unknown name, naming the nearest.
        """
        if name not in PRIOR_PRESETS:
            nearest = difflib.get_close_matches(name, PRIOR_PRESETS, n=1)
            hint = (
                f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(PRIOR_PRESETS)}"
            )
            raise ValueError(f"no prior preset is called {name!r}; {hint}")
        return cls(**{**PRIOR_PRESETS[name], **overrides})

    @property
    def lyric_prefix_length(self) -> int:
        """Lyric symbols that stand before the codes in the transformer's own sequence."""
        return self.lyric_length if self.lyrics == "sequence" else 0

    @property
    def sequence_length(self) -> int:
        """Positions of the transformer: codes, and lyrics where they share the sequence."""
        return self.lyric_prefix_length + self.context_length

    @property
    def row_length(self) -> int:
        """Positions in a row of the folded sequence."""
        return self.sequence_length // self.num_rows

    @property
    def prime_length(self) -> int:
        """Keys of a "prime" layer: the lyrics rounded up to a multiple of `num_rows`, one at least.

        For the released 1b model 448: the 384 lyric positions and the first 64 codes. The weights
        were trained this way.
        """
        return (self.lyric_prefix_length // self.num_rows + 1) * self.num_rows

    @property
    def vocabulary_size(self) -> int:
        """Symbols of the transformer: codes, after the lyric symbols if they share the sequence."""
        return self.codebook_size + (self.lyric_vocab_size if self.lyrics == "sequence" else 0)

    @property
    def layer_kinds(self) -> tuple[LayerKind, ...]:
        """Attention kind of each layer."""
        return _layer_kinds(self.attention_pattern, self.depth)

    @property
    def lyric_encoder_layer_kinds(self) -> tuple[LayerKind, ...]:
        """Attention kind of each layer of the lyric encoder."""
        return _layer_kinds(self.lyric_encoder_attention_pattern, self.lyric_encoder_depth)

    @property
    def has_labels(self) -> bool:
        """Whether artist and genre start the sequence."""
        return self.artist_count > 0

    @property
    def has_timing(self) -> bool:
        """Whether every position knows where in the piece it stands."""
        return self.timing_bins > 0

    @property
    def is_upsampler(self) -> bool:
        """Whether the codes of the level above condition this prior."""
        return self.upper_downsamplings > 0

    @property
    def upper_ratio(self) -> int:
        """Codes of this level per code of the level above; 1 if there is none."""
        return int(self.upper_stride**self.upper_downsamplings)

    @property
    def window_samples(self) -> int:
        """Audio samples that one window covers."""
        return self.context_length * self.hop_length

    @property
    def window_seconds(self) -> float:
        """Audio that it sees at once."""
        return self.window_samples / self.sampling_rate

    def validate_architecture(self) -> None:
        """Raise `ValueError` where fields contradict each other."""
        self._require_positive(
            "codebook_size hop_length sampling_rate context_length width depth heads "
            "attention_width mlp_width num_rows upper_stride conditioner_width conditioner_depth "
            "conditioner_dilation_growth"
        )
        self._require_not_negative(
            "level artist_count genre_count genre_slots timing_bins upper_downsamplings "
            "lyric_length lyric_vocab_size lyric_loss_fraction init_scale min_total_seconds"
        )
        for name in ("depth", "lyric_encoder_depth", "upper_downsamplings", "conditioner_depth"):
            if getattr(self, name) > MAX_REPEATS:
                raise ValueError(f"{name} must be at most {MAX_REPEATS}, got {getattr(self, name)}")
        for name in ("embedding_dropout", "attention_dropout", "residual_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        self._validate_fingerprint()
        self._validate_transformer(
            "",
            self.sequence_length,
            self.num_rows,
            self.attention_width,
            self.heads,
            self.layer_kinds,
        )
        self._validate_labels()
        self._validate_upper_codes()
        self._validate_lyrics()
        self._validate_alignment()

    def _require_positive(self, names: str) -> None:
        for name in names.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def _require_not_negative(self, names: str) -> None:
        for name in names.split():
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def _validate_fingerprint(self) -> None:
        fingerprint = self.codebook_fingerprint
        if fingerprint is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", fingerprint):
            raise ValueError(
                "codebook_fingerprint must be 'sha256:' and 64 hexadecimal digits, got "
                f"{fingerprint!r}"
            )

    def _validate_transformer(
        self,
        prefix: str,
        length: int,
        num_rows: int,
        attention_width: int,
        heads: int,
        kinds: tuple[LayerKind, ...],
    ) -> None:
        if length % num_rows:
            raise ValueError(
                f"{prefix}num_rows must divide the sequence of {length} positions, got {num_rows}"
            )
        if attention_width % heads:
            raise ValueError(
                f"{prefix}heads must divide {prefix}attention_width, got {heads} and "
                f"{attention_width}"
            )
        if "cross" in kinds and (prefix or self.lyrics != "encoder"):
            raise ValueError(
                f"{prefix}attention_pattern has cross-attention layers, which need "
                f"lyrics='encoder' and stand in the decoder only; got lyrics={self.lyrics!r}"
            )
        if "prime" in kinds and (prefix or self.lyrics != "sequence"):
            raise ValueError(
                f"{prefix}attention_pattern has prime layers, which need lyrics='sequence'; "
                f"got lyrics={self.lyrics!r}"
            )

    def _validate_labels(self) -> None:
        if self.has_labels and not (self.genre_count and self.genre_slots):
            raise ValueError(
                "labels need genre_count and genre_slots of at least 1 beside artist_count, got "
                f"{self.artist_count=}, {self.genre_count=}, {self.genre_slots=}"
            )
        if not self.has_labels and (self.genre_count or self.genre_slots or self.has_timing):
            raise ValueError(
                "genre_count, genre_slots and timing_bins need artist_count of at least 1; set all "
                "of them to 0 for a prior without labels"
            )
        if not self.min_total_seconds < self.max_total_seconds:
            raise ValueError(
                "min_total_seconds must be below max_total_seconds, got "
                f"{self.min_total_seconds} and {self.max_total_seconds}"
            )

    def _validate_upper_codes(self) -> None:
        if not self.is_upsampler:
            return
        if self.upper_stride < 2 or self.upper_stride % 2:
            raise ValueError(f"upper_stride must be even, got {self.upper_stride}")
        if self.context_length % self.upper_ratio:
            raise ValueError(
                f"context_length must be a multiple of {self.upper_ratio} (codes per upper code), "
                f"got {self.context_length}"
            )
        if self.has_timing or self.lyrics != "none":
            raise ValueError(
                "an upsampler takes artist, genre and upper codes only: timing_bins must be 0 and "
                f"lyrics 'none', got {self.timing_bins} and {self.lyrics!r}"
            )
        cycle = self.conditioner_dilation_cycle
        if cycle is not None and cycle < 1:
            raise ValueError(f"conditioner_dilation_cycle must be at least 1 or None, got {cycle}")
        if int(self.conditioner_conv_multiplier * self.conditioner_width) < 1:
            raise ValueError(
                f"conditioner_conv_multiplier {self.conditioner_conv_multiplier} leaves no channels"
            )

    def _validate_lyrics(self) -> None:
        if self.lyrics == "none":
            if self.lyric_length or self.lyric_vocab_size:
                raise ValueError(
                    "lyric_length and lyric_vocab_size must be 0 with lyrics='none', got "
                    f"{self.lyric_length} and {self.lyric_vocab_size}"
                )
            return
        self._require_positive("lyric_length lyric_vocab_size")
        if self.lyric_length % 2:
            raise ValueError(f"lyric_length must be even, got {self.lyric_length}")
        if self.lyrics == "sequence":
            if not self.has_labels:
                raise ValueError("lyrics='sequence' needs labels: set artist_count and genre_count")
            if not self.tie_word_embeddings or not self.condition_after_transformer:
                raise ValueError(
                    "lyrics='sequence' needs tie_word_embeddings and condition_after_transformer"
                )
            return
        if "cross" not in self.layer_kinds:
            raise ValueError(
                "lyrics='encoder' needs a pattern with cross-attention, got "
                f"{self.attention_pattern!r}"
            )
        self._require_positive(
            "lyric_encoder_width lyric_encoder_depth lyric_encoder_heads "
            "lyric_encoder_attention_width lyric_encoder_mlp_width lyric_encoder_num_rows"
        )
        self._validate_transformer(
            "lyric_encoder_",
            self.lyric_length,
            self.lyric_encoder_num_rows,
            self.lyric_encoder_attention_width,
            self.lyric_encoder_heads,
            self.lyric_encoder_layer_kinds,
        )

    def _validate_alignment(self) -> None:
        if (self.alignment_layer is None) != (self.alignment_head is None):
            raise ValueError(
                "alignment_layer and alignment_head go together, got "
                f"{self.alignment_layer} and {self.alignment_head}"
            )
        if self.alignment_layer is None or self.alignment_head is None:
            return
        if not 0 <= self.alignment_layer < self.depth or not 0 <= self.alignment_head < self.heads:
            raise ValueError(
                f"alignment_layer must be below depth {self.depth} and alignment_head below heads "
                f"{self.heads}, got {self.alignment_layer} and {self.alignment_head}"
            )
        kind = self.layer_kinds[self.alignment_layer]
        if kind not in ("cross", "prime"):
            raise ValueError(
                f"alignment_layer {self.alignment_layer} is a {kind} layer and does not see the "
                "lyrics; choose a cross or prime layer"
            )


def _layer_kinds(pattern: str, depth: int) -> tuple[LayerKind, ...]:
    if pattern not in ATTENTION_PATTERNS:
        raise ValueError(
            f"unknown attention pattern {pattern!r}; known: {', '.join(ATTENTION_PATTERNS)}"
        )
    cycle = ATTENTION_PATTERNS[pattern]
    return tuple(cycle[layer % len(cycle)] for layer in range(depth))

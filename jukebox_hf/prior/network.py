"""PriorNetwork: a prior as torch alone has it, with all that sampling and listening to it need.

`condition`, `prefill` and `step` are the parts that sampling is made of; windows, noise and the
choice of codes are `generation`'s work. `JukeboxPrior` makes a model of transformers of it, which
takes seconds to import; the names of all tensors are the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.prior.conditioning import (
    Conditioning,
    Float32Linear,
    LabelEmbedding,
    LyricEncoder,
    TimingEmbedding,
    UpperConditioner,
)
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.sizes import Layout
from jukebox_hf.prior.step_buffers import PriorCache
from jukebox_hf.prior.transformer import Transformer, TransformerShape


class PriorNetwork(nn.Module):
    """Autoregressive sparse transformer over the codes of one level.

    Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, section 4. Linear weights of the
    transformers follow the model's dtype. Embeddings, norms, the convolutional conditioner and the
    output layer stay in float32, as in the release.
    """

    config: PriorConfig

    def __init__(self, config: PriorConfig, *, num_layers: int | None = None) -> None:
        """A prior; with `num_layers` the first so many of its layers only, for their states."""
        super().__init__()
        self.config = config
        self._build(num_layers)
        self.tie()

    def _build(self, num_layers: int | None) -> None:
        config = self.config
        self.label_embedding = LabelEmbedding(config) if config.has_labels else None
        self.timing_embedding = TimingEmbedding(config) if config.has_timing else None
        self.upper_conditioner = UpperConditioner(config) if config.is_upsampler else None
        self.lyric_encoder = LyricEncoder(config) if config.lyrics == "encoder" else None
        self.decoder = Transformer(
            TransformerShape(
                vocabulary_size=config.vocabulary_size,
                layout=Layout(config.sequence_length, config.row_length, config.prime_length),
                layer_kinds=config.layer_kinds,
                width=config.width,
                heads=config.heads,
                attention_width=config.attention_width,
                mlp_width=config.mlp_width,
                init_scale=config.init_scale,
                has_start=not config.has_labels,
                scale_residual=config.scale_residual,
                zero_init_output=config.zero_init_output,
                embedding_dropout=config.embedding_dropout,
                attention_dropout=config.attention_dropout,
                residual_dropout=config.residual_dropout,
            )
        )
        self.output = Float32Linear(config.width, config.vocabulary_size)
        if num_layers is not None:
            self.keep_layers(num_layers)

    def tie(self) -> None:
        """Let the output layer share the weights of the code embedding, if the config says so."""
        if self.config.tie_word_embeddings:
            self.output.weight = cast(nn.Parameter, self.decoder.embedding.weight)

    @property
    def tied_weights(self) -> dict[str, str]:
        """Names of tensors that are others by another name, and the names of these."""
        tied = {"output.weight": "decoder.embedding.weight"}
        return tied if self.config.tie_word_embeddings else {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the transformer's linear weights, which is the model's; the rest stays in float32."""
        return self.decoder.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.embedding.weight.device

    # --- states ---

    def iterate_layers(
        self,
        codes: Tensor,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
        num_layers: int | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Layer after layer, its number (from 1) and the states after it, none of them kept.

        For summaries of many layers in the memory of one: see `forward` for the arguments, of which
        `num_layers` is how many to run. States are (batch, time, width), in the dtype between the
        layers; with gradients, if these are on.
        """
        self._check_codes("codes", codes, self.config.codebook_size, self.config.context_length, 1)
        wanted = len(self.decoder.layers) if num_layers is None else num_layers
        self.check_layers([wanted])
        states, encoder_states = self.layer_inputs(
            codes, labels=labels, lyric_tokens=lyric_tokens, upper_codes=upper_codes
        )
        layers = self.decoder.iterate_layers(states, encoder_states=encoder_states)
        for number, hidden in layers:
            yield number, hidden
            if number == wanted:
                return

    def layer_inputs(
        self,
        codes: Tensor,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """What the first layer reads, (batch, time, width) float32, and the lyric encoder's states.

        Arguments as for `iterate_layers`.
        """
        given = self.condition(
            labels=labels,
            lyric_tokens=lyric_tokens,
            upper_codes=upper_codes,
            num_codes=codes.shape[1],
        )
        return self._read(codes, given)[-1], given.encoder_states

    def _read(self, codes: Tensor, given: Conditioning) -> tuple[Tensor, Tensor | None, Tensor]:
        """The sequence of a window, what conditions its positions, what goes into the layers."""
        sequence = self._sequence(self.to_tokens(codes), given)
        positions = self._position_conditioning(given, 0, sequence.shape[1])
        return sequence, positions, self.decoder.inputs(sequence[:, :-1], given.start, positions)

    def window_logits(
        self,
        codes: Tensor,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
    ) -> Tensor:
        """Logits of each code of a whole window, from the codes before it.

        Returns:
            (batch, context_length, vocabulary_size), float32; the correct ones are `to_tokens`'.
        """
        self._check_codes("codes", codes, self.config.codebook_size, self.config.context_length)
        given = self.condition(labels=labels, lyric_tokens=lyric_tokens, upper_codes=upper_codes)
        _, positions, states = self._read(codes, given)
        hidden = self.decoder(states, encoder_states=given.encoder_states)
        return self._logits(hidden, positions)[:, self.config.lyric_prefix_length :]

    def check_layers(self, layers: Sequence[int]) -> tuple[int, ...]:
        """The layers asked for, which count from 1; `ValueError` for one that is not there."""
        wanted, depth = tuple(layers), len(self.decoder.layers)
        for layer in wanted:
            if layer not in range(1, depth + 1):
                of = f", the first of {self.config.depth}" if depth < self.config.depth else ""
                raise ValueError(f"this prior has layers 1 to {depth}{of}, got layer {layer!r}")
        if not wanted:
            raise ValueError("hidden_layers must name at least one layer, got none")
        return wanted

    def keep_layers(self, number: int) -> None:
        """Let go of all layers after the first `number`, in place; states are all that is left.

        Raises `ValueError` for more layers than there are.
        """
        self.check_layers([number])
        del self.decoder.layers[number:]

    def _alignment(self, states: Tensor, given: Conditioning) -> Tensor:
        assert self.config.alignment_layer is not None
        return self.decoder.lyric_attention(
            states,
            self.config.alignment_layer,
            given.encoder_states,
            self.config.lyric_prefix_length,
        )

    def align(
        self,
        codes: Tensor,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
    ) -> Tensor:
        """How a window of codes attends to its lyrics, without running the layers above.

        Column `j` belongs to the symbol before lyric symbol `j`, since inputs are shifted by one.

        Returns:
            (batch, heads, context_length, lyric_length) probabilities, float32.
        """
        if self.config.alignment_layer is None:
            raise ValueError(
                "this prior has no alignment_layer: its config names no layer that follows words"
            )
        self._check_codes("codes", codes, self.config.codebook_size, self.config.context_length)
        given = self.condition(labels=labels, lyric_tokens=lyric_tokens, upper_codes=upper_codes)
        return self._alignment(self._read(codes, given)[-1], given)

    # --- sampling ---

    def condition(
        self,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
        num_codes: int | None = None,
    ) -> Conditioning:
        """Everything that conditions one window, computed once; arguments as for `forward`.

        `num_codes` is how many codes there are, if not a whole window of them.

        Raises:
            ValueError: if an input that this prior needs is missing or has a wrong shape, or one
                that it cannot use is given.
        """
        config = self.config
        self._check_presence("labels", labels, config.has_labels)
        self._check_presence("lyric_tokens", lyric_tokens, config.lyrics != "none")
        self._check_presence("upper_codes", upper_codes, config.is_upsampler)
        positions = encoder_states = None
        if self.timing_embedding is not None:
            positions = self.timing_embedding(labels, num_codes)
        if self.upper_conditioner is not None and upper_codes is not None:
            expected = -(-(num_codes or config.context_length) // config.upper_ratio)
            self._check_codes("upper_codes", upper_codes, config.codebook_size, expected)
            positions = self.upper_conditioner(upper_codes)
        if lyric_tokens is not None:
            self._check_codes(
                "lyric_tokens", lyric_tokens, config.lyric_vocab_size, config.lyric_length
            )
            if self.lyric_encoder is not None:
                encoder_states = self.lyric_encoder(lyric_tokens)
        start = self.label_embedding(labels) if self.label_embedding is not None else None
        return Conditioning(start, positions, encoder_states, lyric_tokens)

    def new_cache(
        self,
        batch_size: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> PriorCache:
        """Static buffers for `prefill` and `step`; one set serves any number of windows.

        dtype and device default to those of the transformer's linear weights, except that on a CPU
        the buffers are float32: its small 16-bit matrix products are several times slower.
        """
        device = self.device if device is None else torch.device(device)
        if dtype is None:
            dtype = torch.float32 if device.type == "cpu" else self.decoder.dtype
        return self.decoder.new_cache(batch_size, self._encoder_length, dtype, device)

    @property
    def _encoder_length(self) -> int:
        return self.config.lyric_length if self.config.lyrics == "encoder" else 0

    def prefill(
        self, tokens: Tensor, conditioning: Conditioning, cache: PriorCache, *, start: int = 0
    ) -> Tensor:
        """Take given codes into the cache in one pass.

        Args:
            tokens: (batch, n) int64 from `to_tokens`; n may be 0.
            conditioning: from `condition`, for the same batch.
            cache: buffers to fill.
            start: codes that the cache holds already, to go on in pieces.

        Returns:
            (batch, vocabulary_size) logits of code `start + n`, float32.
        """
        config = self.config
        end = start + tokens.shape[1]
        if end >= config.context_length:
            raise ValueError(
                f"prefill leaves nothing to predict: {end} codes given, context_length is "
                f"{config.context_length}"
            )
        if start and not tokens.shape[1]:
            raise ValueError("going on from a filled cache needs at least one code, got none")
        prefix = config.lyric_prefix_length
        if start == 0:
            if conditioning.encoder_states is not None:
                self.decoder.fill_encoder_cache(conditioning.encoder_states, cache)
            tokens, first = self._sequence(tokens, conditioning), 0
        else:
            first = prefix + start + 1
        positions = self._position_conditioning(conditioning, first, prefix + end + 1)
        states = self.decoder.inputs(tokens, conditioning.start, positions, start=first)
        hidden = self.decoder(states, start=first, cache=cache)[:, -1:]
        last = None if positions is None else positions[:, -1:]
        return self._logits(hidden, last).squeeze(1)

    def step(
        self, tokens: Tensor, position: Tensor, conditioning: Conditioning, cache: PriorCache
    ) -> Tensor:
        """One code in, logits of the next out: a pure function of its arguments and the buffers.

        Shapes never change and nothing waits for the device, so the same step runs eagerly,
        compiled, or as a CUDA graph. `prefill` must have come first.

        Args:
            tokens: (batch,) int64, the codes at `position - 1` as `to_tokens` gives them. Lyric
                symbols that were sampled in place of codes go in as they are.
            position: int64 tensor with one element on the device, from 1 to context_length - 1.
            conditioning: as given to `prefill`.
            cache: as filled by `prefill` and earlier steps.

        Returns:
            (batch, vocabulary_size) logits of the code at `position`, float32.
        """
        position = position.reshape(1)
        here = None
        if conditioning.positions is not None:
            here = conditioning.positions.index_select(1, position).squeeze(1)
        in_sequence = position + self.config.lyric_prefix_length
        states = self.decoder.input_at(tokens, in_sequence, here)
        hidden = self.decoder.step(states, in_sequence, cache)
        return self._logits(hidden, here)

    def to_tokens(self, codes: Tensor) -> Tensor:
        """Codes as the transformer's own symbols: after the lyric symbols, where both share it."""
        return codes + self._first_code

    def to_codes(self, tokens: Tensor) -> Tensor:
        """The inverse of `to_tokens`. A lyric symbol sampled in place of a code becomes code 0."""
        return (tokens - self._first_code).clamp(min=0)

    @property
    def _first_code(self) -> int:
        return self.config.vocabulary_size - self.config.codebook_size

    def _sequence(self, tokens: Tensor, given: Conditioning) -> Tensor:
        if self.config.lyrics != "sequence":
            return tokens
        assert given.lyric_tokens is not None
        return torch.cat([given.lyric_tokens, tokens], dim=1)

    def _position_conditioning(self, given: Conditioning, first: int, end: int) -> Tensor | None:
        """(batch, end - first, width) for these positions of the sequence; zeros at lyrics."""
        if given.positions is None:
            return None
        prefix = self.config.lyric_prefix_length
        if first >= prefix:
            return given.positions[:, first - prefix : end - prefix]
        return functional.pad(given.positions[:, : end - prefix], (0, 0, prefix - first, 0))

    def _logits(self, hidden: Tensor, position_conditioning: Tensor | None) -> Tensor:
        if self.config.condition_after_transformer and position_conditioning is not None:
            hidden = hidden + position_conditioning
        return self.output(hidden)  # type: ignore[no-any-return]

    # --- checks ---

    @staticmethod
    def _check_presence(name: str, value: Any, needed: bool) -> None:
        if needed and value is None:
            raise ValueError(f"this prior needs {name}, and none were given")
        if not needed and value is not None:
            raise ValueError(f"this prior was built without {name}; leave them out")

    @staticmethod
    def _check_codes(
        name: str, codes: Tensor, size: int, length: int, shortest: int | None = None
    ) -> None:
        if codes.dtype != torch.int64 or codes.ndim != 2:
            raise ValueError(
                f"{name} must be int64 of shape (batch, time), got {codes.dtype} of shape "
                f"{tuple(codes.shape)}"
            )
        if shortest is not None and not shortest <= codes.shape[1] <= length:
            raise ValueError(f"{name} must be {shortest} to {length} long, got {codes.shape[1]}")
        if shortest is None and codes.shape[1] != length:
            raise ValueError(f"{name} must be {length} long, got {codes.shape[1]}")
        if (
            codes.device.type == "cpu" and codes.numel()
        ):  # elsewhere the check would wait for the device
            low, high = (int(bound) for bound in codes.aminmax())
            if low < 0 or high >= size:
                raise ValueError(f"{name} must be from 0 to {size - 1}, got {low} to {high}")

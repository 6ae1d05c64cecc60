"""JukeboxPrior: which code comes next, at one level, given what conditions it.

`forward` scores a whole window of codes for training and evaluation. `condition`, `prefill` and
`step` are the parts that sampling is made of; windows, noise and the choice of codes are
`generation`'s work.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from jukebox_hf.convnet import init_convolutions
from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.pretrained import JukeboxPreTrainedModel
from jukebox_hf.prior.attention import Attention, Linear
from jukebox_hf.prior.conditioning import (
    Conditioning,
    Float32Linear,
    LabelEmbedding,
    LyricEncoder,
    TimingEmbedding,
    UpperConditioner,
)
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.step_buffers import Layout, PriorCache
from jukebox_hf.prior.transformer import (
    LayerNorm,
    TokenEmbedding,
    Transformer,
    TransformerShape,
)


@dataclass
class JukeboxPriorOutput(ModelOutput):
    """What a forward pass of `JukeboxPrior` returns. Losses are means in bits per symbol.

    loss: music and lyric loss, weighted by their lengths and `lyric_loss_fraction`.
    music_loss: bits per code.
    lyric_loss: bits per lyric symbol; `None` for a prior without lyrics.
    logits: (batch, context_length, vocabulary_size), float32. With lyrics in the sequence the
        vocabulary is lyric symbols, then codes.
    lyric_logits: (batch, lyric_length, lyric_vocab_size or vocabulary_size), float32, or `None`.
    alignment: (batch, heads, context_length, lyric_length), if asked for.
    hidden_states: (batch, time, width) float32 each. With `output_hidden_states` what goes into
        the first layer, and then the states after every layer; with `hidden_layers` those after
        each of the layers asked for, in their order, and everything else is `None`, since the
        layers above were not run. Lyrics that share the sequence come first: the last
        `codes.shape[1]` states are those of the codes.
    """

    loss: Tensor | None = None
    music_loss: Tensor | None = None
    lyric_loss: Tensor | None = None
    logits: Tensor | None = None
    lyric_logits: Tensor | None = None
    alignment: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class JukeboxPrior(JukeboxPreTrainedModel):
    """Autoregressive sparse transformer over the codes of one level.

    Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, section 4. Linear weights of the
    transformers follow the model's dtype. Embeddings, norms, the convolutional conditioner and the
    output layer stay in float32, as in the release.
    """

    config_class = JukeboxPriorConfig
    config: JukeboxPriorConfig
    base_model_prefix = ""
    main_input_name = "codes"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    attention_implementations = ("sdpa", "eager")
    _no_split_modules = ["TransformerLayer", "UpperConditioner"]  # noqa: RUF012
    _tied_weights_keys = {"output.weight": "decoder.embedding.weight"}  # noqa: RUF012
    _keep_in_fp32_modules_strict = [  # noqa: RUF012
        "embedding",
        "positions",
        "start",
        "norm",
        "upper_conditioner",
        r"^output\.",
        r"^lyric_encoder\.output\.",
    ]

    def __init__(self, config: JukeboxPriorConfig, *, num_layers: int | None = None) -> None:
        """A prior; with `num_layers` the first so many of its layers only, for their states.

        `from_pretrained(..., num_layers=36)` reads no more than those from disk.
        """
        super().__init__(config)
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
        if num_layers is not None and num_layers != config.depth:
            self.keep_layers(num_layers)
            names = [re.escape(f"decoder.layers.{n}.") for n in range(num_layers, config.depth)]
            self._keys_to_ignore_on_load_unexpected = [f"^({'|'.join(names)})"]
        self.gradient_checkpointing = False
        self.set_attn_implementation(config._attn_implementation)
        self.post_init()  # type: ignore[no-untyped-call]

    # --- training and evaluation ---

    def forward(
        self,
        codes: Tensor,
        *,
        labels: JukeboxLabels | None = None,
        lyric_tokens: Tensor | None = None,
        upper_codes: Tensor | None = None,
        alignment: bool = False,
        hidden_layers: Sequence[int] | None = None,
        output_hidden_states: bool | None = None,
    ) -> JukeboxPriorOutput:
        """Score one window, or return what layers know of it.

        Args:
            codes: (batch, context_length) int64; with `hidden_layers` any length from 1 up to that.
            labels: for a prior with labels.
            lyric_tokens: (batch, lyric_length) int64, for a prior with lyrics.
            upper_codes: (batch, context_length / upper_ratio) int64, for an upsampler; as many as
                the codes need if those are fewer.
            alignment: also return how the alignment layer attends to the lyrics.
            hidden_layers: return the states after these layers and stop after the last. Layers
                count from 1: layer k is the output of the k-th block, without any norm. The state
                at position t has seen the codes before t, never code t.
            output_hidden_states: return, beside all else, what goes into the first layer and the
                states after every layer: `depth + 1` of them. None: as the config says.

        Raises:
            ValueError: if a shape is wrong, codes are out of range, or a needed input is missing;
                for a layer that this prior lacks.
        """
        config = self.config
        if hidden_layers is not None:
            wanted = self.check_layers(hidden_layers)
            found = {
                number: states.float()
                for number, states in self.iterate_layers(
                    codes,
                    labels=labels,
                    lyric_tokens=lyric_tokens,
                    upper_codes=upper_codes,
                    num_layers=max(wanted),
                )
                if number in wanted
            }
            return JukeboxPriorOutput(hidden_states=tuple(found[number] for number in wanted))
        self._check_whole()
        self._check_codes("codes", codes, config.codebook_size, config.context_length)
        if alignment and config.alignment_layer is None:
            raise ValueError(
                "this prior has no alignment_layer: its config names no layer that follows words"
            )
        given = self.condition(labels=labels, lyric_tokens=lyric_tokens, upper_codes=upper_codes)
        sequence = self._sequence(self.to_tokens(codes), given)
        positions = self._position_conditioning(given, 0, config.sequence_length)
        states = self.decoder.inputs(sequence[:, :-1], given.start, positions)
        kept: tuple[Tensor, ...] | None = None
        if output_hidden_states or (output_hidden_states is None and config.output_hidden_states):
            layers = self.decoder.iterate_layers(states, encoder_states=given.encoder_states)
            kept = (states, *(after.float() for _, after in layers))
            hidden = kept[-1]
        else:
            hidden = self.decoder(states, encoder_states=given.encoder_states)
        return JukeboxPriorOutput(
            **self._losses(self._logits(hidden, positions), sequence, given),
            alignment=self._alignment(states, given) if alignment else None,
            hidden_states=kept,
        )

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
        num_codes = codes.shape[1]
        given = self.condition(
            labels=labels,
            lyric_tokens=lyric_tokens,
            upper_codes=upper_codes,
            num_codes=num_codes,
        )
        sequence = self._sequence(self.to_tokens(codes), given)
        end = self.config.lyric_prefix_length + num_codes
        positions = self._position_conditioning(given, 0, end)
        states = self.decoder.inputs(sequence[:, :-1], given.start, positions)
        return states, given.encoder_states

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

    def _check_whole(self) -> None:
        if len(self.decoder.layers) < self.config.depth:
            raise ValueError(
                f"this prior was loaded with {len(self.decoder.layers)} of its {self.config.depth} "
                "layers, so it has states only: pass hidden_layers, or load it without num_layers"
            )

    def _losses(self, logits: Tensor, sequence: Tensor, given: Conditioning) -> dict[str, Any]:
        config = self.config
        prefix = config.lyric_prefix_length
        music_loss = _bits(logits[:, prefix:], sequence[:, prefix:])
        if config.lyrics == "none":
            return {"loss": music_loss, "music_loss": music_loss, "logits": logits}
        if self.lyric_encoder is not None:
            assert given.encoder_states is not None
            assert given.lyric_tokens is not None
            lyric_logits = self.lyric_encoder.logits(given.encoder_states)
            lyric_loss = _bits(lyric_logits, given.lyric_tokens)
        else:
            lyric_logits = logits[:, :prefix]
            lyric_loss = _bits(lyric_logits, sequence[:, :prefix])
        symbols = config.lyric_length + config.context_length
        loss = (
            lyric_loss * (config.lyric_loss_fraction * config.lyric_length / symbols)
            + music_loss * (config.context_length / symbols)
        )  # fmt: skip
        return {
            "loss": loss,
            "music_loss": music_loss,
            "lyric_loss": lyric_loss,
            "logits": logits[:, prefix:],
            "lyric_logits": lyric_logits,
        }

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
        sequence = self._sequence(self.to_tokens(codes), given)
        positions = self._position_conditioning(given, 0, self.config.sequence_length)
        return self._alignment(self.decoder.inputs(sequence[:, :-1], given.start, positions), given)

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
        lyric_length = self.config.lyric_length if self.config.lyrics == "encoder" else 0
        return self.decoder.new_cache(batch_size, lyric_length, dtype, device)

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

    # --- what PreTrainedModel asks for ---

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """As in transformers; `ValueError` for a prior that holds some of its layers only."""
        if len(self.decoder.layers) < self.config.depth:
            raise ValueError(
                f"a prior with {len(self.decoder.layers)} of its {self.config.depth} layers cannot "
                "be saved: its config describes all of them; load it without num_layers"
            )
        super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def dtype(self) -> torch.dtype:
        """Of the transformer's linear weights, which is the model's; the rest stays in float32."""
        return self.decoder.dtype

    def set_attn_implementation(
        self, attn_implementation: str | dict[str, str], allow_all_kernels: bool = False
    ) -> None:
        """How whole windows attend: "sdpa" is torch's fused kernel, "eager" two plain products.

        The same up to rounding. Sampling's single steps have their own way in either case.
        `ValueError` for any other.
        """
        super().set_attn_implementation(attn_implementation, allow_all_kernels)
        for module in self.modules():
            if isinstance(module, Attention):
                module.is_eager = self.config._attn_implementation == "eager"

    def get_input_embeddings(self) -> nn.Module:
        """The code embedding."""
        return self.decoder.embedding

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.output

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # transformers calls this only for modules that hold tensors of their own
        if isinstance(module, TokenEmbedding):
            init.normal_(module.weight, std=module.init_std)
        elif isinstance(module, LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, Linear):
            init.normal_(module.weight, std=module.init_std)
            init.zeros_(module.bias)
        elif isinstance(module, Float32Linear):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))  # what nn.Linear itself does
        else:
            init_convolutions(module)


def _bits(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in bits: logits (batch, time, symbols), targets (batch, time)."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)


AutoConfig.register(JukeboxPriorConfig.model_type, JukeboxPriorConfig, exist_ok=True)
AutoModel.register(JukeboxPriorConfig, JukeboxPrior, exist_ok=True)

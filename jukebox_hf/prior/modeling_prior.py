"""JukeboxPrior: which code comes next, at one level, given what conditions it.

`network` has the layers and what sampling is made of. Here they become a model of transformers:
read and saved as such, trained, and scored by `forward`, a whole window of codes at a time.
"""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.layers import hollow
from jukebox_hf.pretrained import JukeboxPreTrainedModel, init_convolutions
from jukebox_hf.prior.attention import Attention, Linear
from jukebox_hf.prior.conditioning import Conditioning, Float32Linear
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.transformer import LayerNorm, TokenEmbedding


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


class JukeboxPrior(PriorNetwork, JukeboxPreTrainedModel):
    """Autoregressive sparse transformer over the codes of one level, as a model of transformers.

    What it computes and in which precision: see `PriorNetwork`.
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
        JukeboxPreTrainedModel.__init__(self, config)
        self._build(num_layers)
        if num_layers is not None and num_layers != config.depth:
            names = [re.escape(f"decoder.layers.{n}.") for n in range(num_layers, config.depth)]
            self._keys_to_ignore_on_load_unexpected = [f"^({'|'.join(names)})"]
        self.gradient_checkpointing = False
        self.set_attn_implementation(config._attn_implementation)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, network: PriorNetwork) -> Self:
        """The model of transformers that has the parts of a network, which the two then share."""
        with hollow():
            config = JukeboxPriorConfig.of(network.config)
            model = cls(config, num_layers=len(network.decoder.layers))
        for name, part in network.named_children():
            setattr(model, name, part)
        model.set_attn_implementation(model.config._attn_implementation)
        model.train(network.training)
        return model

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
        sequence, positions, states = self._read(codes, given)
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

"""What every model of this project does alike when transformers loads it.

Words that transformers' users know (`dtype`, `attn_implementation`, `quantization_config`) go in;
they mean what they mean elsewhere, or are refused in a sentence that names what there is instead.
"""

import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers import initialization as init

from jukebox_hf.convnet import PointwiseConv
from jukebox_hf.layers import CheckpointedLayer
from jukebox_hf.words import shorten

DEFAULT_DTYPE = torch.float32  # whatever is stored: what is made, or measured, depends on it


class JukeboxPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Base of the models. `attention_implementations`: those that they have, the default first."""

    attention_implementations: ClassVar[tuple[str, ...]] = ("eager",)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        dtype: torch.dtype | str | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> Self:
        """As in transformers, with two words of our own.

        Args:
            pretrained_model_name_or_path, model_args, kwargs: as in transformers.
            dtype: of the weights that may be in 16 bits; None: float32, "auto": as stored.
            quantization_config: none; see the message.

        Raises:
            ValueError: for a `quantization_config`, an `attn_implementation` that this model has
                not, and what its config refuses.
        """
        refuse_quantization(quantization_config)
        if dtype is None and kwargs.get("torch_dtype") is None:
            dtype = DEFAULT_DTYPE
        if dtype is not None:
            kwargs["dtype"] = dtype
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    def get_correct_attn_implementation(
        self, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        """The implementation to use for what was asked for; transformers asks this of its models.

        `ValueError` for one that this model has not.
        """
        known = self.attention_implementations
        if requested_attention is not None and requested_attention not in known:
            raise ValueError(
                f"attn_implementation of a {type(self).__name__} must be {' or '.join(known)}, got "
                f"{shorten(requested_attention)}"
            )
        return requested_attention or known[0]

    def set_attn_implementation(
        self, attn_implementation: str | dict[str, str], allow_all_kernels: bool = False
    ) -> None:
        """Compute attention otherwise from now on; `ValueError` for what this model has not."""
        chosen: str | None = None  # transformers has it by names of parts, of which there are none
        if isinstance(attn_implementation, dict):
            chosen = attn_implementation.get("", self.config._attn_implementation)
        else:
            chosen = attn_implementation
        self.config._attn_implementation = self.get_correct_attn_implementation(chosen)

    def _set_gradient_checkpointing(
        self,
        enable: bool = True,
        gradient_checkpointing_func: Callable[..., Any] = checkpoint,
        every_n_layers: int = 1,
    ) -> None:
        """As in transformers, which counts layers of its own class only."""
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func)
        layers = [module for module in self.modules() if isinstance(module, CheckpointedLayer)]
        for index, layer in enumerate(layers):
            layer.gradient_checkpointing = enable and index % every_n_layers == 0


def refuse_quantization(quantization_config: Any) -> None:
    """Raise `ValueError` for a `quantization_config`: ours is a precision of the pipeline."""
    if quantization_config is not None:
        raise ValueError(
            "a quantization_config is not supported; JukeboxPipeline has precision='int8' and "
            "'int4', which round the weights when they are loaded"
        )


def init_convolutions(module: nn.Module) -> None:
    """What a model's `_init_weights` calls for each module: torch's own convolution initialisation.

    Weights and biases are uniform in +-1/sqrt(fan in), what `nn.Conv1d` itself does; a
    `PointwiseConv` with `zero_init` is zero. Tensors that `from_pretrained` has loaded are left
    alone; other kinds of modules are ignored.
    """
    if not isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
        return
    assert module.bias is not None
    if isinstance(module, PointwiseConv) and module.zero_init:
        init.zeros_(module.weight)
        init.zeros_(module.bias)
        return
    bound = 1 / math.sqrt(module.weight.shape[1:].numel())
    init.kaiming_uniform_(module.weight, a=math.sqrt(5))
    init.uniform_(module.bias, -bound, bound)

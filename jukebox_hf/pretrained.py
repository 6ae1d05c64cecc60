"""What every model of this project does alike when transformers loads it.

Words that transformers' users know (`dtype`, `attn_implementation`, `quantization_config`) go in;
they mean what they mean elsewhere, or are refused in a sentence that names what there is instead.
"""

import os
from typing import Any, ClassVar, Self

import torch
from transformers import PreTrainedModel

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


def refuse_quantization(quantization_config: Any) -> None:
    """Raise `ValueError` for a `quantization_config`: ours is a precision of the pipeline."""
    if quantization_config is not None:
        raise ValueError(
            "a quantization_config is not supported; JukeboxPipeline has precision='int8' and "
            "'int4', which round the weights when they are loaded"
        )

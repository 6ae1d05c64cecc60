"""What every config of this project shares: typed fields, checked once, no unknown ones.

`strictness.checked_config` makes a subclass of `JukeboxConfig` strict. The fields themselves live
beside the models they describe.
"""

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from jukebox_hf.words import refuse_unknown, shorten

LARGEST_NUMBER = 2**53  # of fields; nothing comes near it, and floats are exact up to here
# What `PreTrainedConfig` itself accepts beside its fields, when it reads a saved config.
BASE_KEYS = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "_commit_hash",
        "_experts_implementation_internal",
        "_name_or_path",
        "attn_implementation",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "output_attentions",
        "quantization_config",
        "tie_word_embeddings",
        "torch_dtype",
    }
)
DTYPE_WORDS = ("float32", "float16", "bfloat16", "float64")
# Model types of the port that once lived in transformers; their configs are converted, not loaded.
FORMER_PORT_MODEL_TYPES = frozenset({"jukebox", "jukebox_prior", "jukebox_vqvae"})


class JukeboxConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """Base of the configs in this project. Unknown fields are refused instead of kept."""

    def __post_init__(self, **kwargs: Any) -> None:
        model_type = kwargs.get("model_type", self.model_type)
        if model_type in FORMER_PORT_MODEL_TYPES:
            raise ValueError(
                f"this is a config of the former transformers port (model type {model_type!r}); "
                "convert the repository once with `jukebox convert REPO_OR_DIR --output DIR`"
            )
        refuse_unknown(
            kwargs, {*BASE_KEYS, *(field.name for field in fields(self))}, type(self).__name__
        )
        for word in (self.dtype, kwargs.get("torch_dtype"), kwargs.get("dtype")):
            # transformers takes the word for any attribute of torch
            known = word is None or str(word).removeprefix("torch.") in DTYPE_WORDS
            if not known:
                raise ValueError(
                    f"dtype: expected one of {', '.join(DTYPE_WORDS)}, got {shorten(word)}"
                )
        self._check_numbers()
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    def _check_numbers(self) -> None:
        """Raise `ValueError` for numbers that are none or that no arithmetic can go on with."""
        for entry in fields(self):
            value = getattr(self, entry.name, None)
            for number in value if isinstance(value, (list, tuple)) else (value,):
                is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
                if is_number and not abs(number) <= LARGEST_NUMBER:
                    raise ValueError(
                        f"{entry.name} must be of ordinary size, got {shorten(number)}"
                    )

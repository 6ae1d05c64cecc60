"""What every config of this project shares: typed fields, checked once, no unknown ones.

`checked_config` turns a subclass of `JukeboxConfig` into a strict dataclass whose mistakes come out
as one plain `ValueError`. The fields themselves live beside the models they describe.
"""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from jukebox_hf.words import printable, refuse_unknown, shorten

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
MESSAGE_LIMIT = 400
DTYPE_WORDS = ("float32", "float16", "bfloat16", "float64")
# Model types of the port that once lived in transformers; their configs are converted, not loaded.
FORMER_PORT_MODEL_TYPES = frozenset({"jukebox", "jukebox_prior", "jukebox_vqvae"})

ConfigT = TypeVar("ConfigT", bound=type)


def checked_config(cls: ConfigT) -> ConfigT:
    """Class decorator: check field types on every assignment, and raise plain `ValueError`s."""
    checked: Any = strict(cls)
    checked.__init__ = _raise_inner_error(checked.__init__)
    checked.__setattr__ = _raise_inner_error(checked.__setattr__)
    return checked  # type: ignore[no-any-return]


def _raise_inner_error(method: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except StrictDataclassError as error:
            inner = error.__cause__
            name = getattr(error, "field", None)
            message = printable(str(inner) if inner is not None else str(error))
            if len(message) > MESSAGE_LIMIT:  # it holds the whole value
                message = f"{message[: MESSAGE_LIMIT // 2]} ... {message[-MESSAGE_LIMIT // 2 :]}"
            raise ValueError(f"{name}: {message}" if name else message) from None

    return wrapper


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

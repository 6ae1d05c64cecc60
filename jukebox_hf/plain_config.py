"""What every config of a network shares: typed fields, checked once, no unknown ones.

A plain config is a dataclass that `strictness.plain_config` makes strict; the fields themselves
live beside the networks they describe. Reading one needs neither torch nor transformers. The config
of transformers (`configuration.JukeboxConfig`) derives from it and adds what transformers keeps.
"""

import copy
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, ClassVar

from jukebox_hf.words import refuse_unknown, shorten

LARGEST_NUMBER = 2**53  # of fields; nothing comes near it, and floats are exact up to here
# Fields of transformers' own that a saved config may have beside ours.
TRANSFORMERS_FIELDS = frozenset(
    {
        "architectures",
        "chunk_size_feed_forward",
        "dtype",
        "id2label",
        "is_encoder_decoder",
        "label2id",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "transformers_version",
    }
)
# What it accepts beside fields, when it reads a saved config.
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


class PlainConfig:
    """Base of the configs in this project. Unknown fields are refused instead of kept.

    Attributes:
        model_type: what transformers and files call the kind of model.
        beside: what a file held for transformers beside the fields; the names are checked, most
            values are not.
    """

    model_type: ClassVar[str] = ""
    beside: Mapping[str, Any] = MappingProxyType({})

    def __post_init__(self, **beside: Any) -> None:
        self._check_given(beside)
        self.beside = beside

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)  # of transformers' config, where this is part of one

    def __eq__(self, other: object) -> bool:
        """Whether both describe the same network, whatever transformers keeps beside it."""
        if not isinstance(other, PlainConfig):
            return NotImplemented
        same_kind = self.plain_kind() is other.plain_kind()
        return same_kind and self.plain_fields() == other.plain_fields()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def plain_kind(cls) -> type["PlainConfig"]:
        """The class of the plain config that this one is, or derives from."""
        return cls

    def plain_fields(self) -> dict[str, Any]:
        """The fields of the plain config, by name, as a new dict."""
        kind: Any = self.plain_kind()
        return {entry.name: copy.copy(getattr(self, entry.name)) for entry in fields(kind)}

    def to_dict(self) -> dict[str, Any]:
        """What `config.json` holds, as plain values: the fields, and what was beside them."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.plain_fields().items()
        }
        return {**copy.deepcopy(dict(self.beside)), "model_type": self.model_type, **values}

    def _check_given(self, beside: Mapping[str, Any]) -> None:
        """Raise `ValueError` for what cannot be a config of this kind."""
        model_type = beside.get("model_type", self.model_type)
        if model_type in FORMER_PORT_MODEL_TYPES:
            raise ValueError(
                f"this is a config of the former transformers port (model type {model_type!r}); "
                "convert the repository once with `jukebox convert REPO_OR_DIR --output DIR`"
            )
        entries: Any = fields(self)  # type: ignore[arg-type]
        names = [entry.name for entry in entries]
        called = f"Jukebox{type(self).__name__.removeprefix('Jukebox')}"
        refuse_unknown(beside, {*TRANSFORMERS_FIELDS, *BASE_KEYS, *names}, called)
        for word in (getattr(self, "dtype", None), beside.get("torch_dtype"), beside.get("dtype")):
            # transformers takes the word for any attribute of torch
            known = word is None or str(word).removeprefix("torch.") in DTYPE_WORDS
            if not known:
                raise ValueError(
                    f"dtype: expected one of {', '.join(DTYPE_WORDS)}, got {shorten(word)}"
                )
        for name in names:
            self._check_numbers(name)

    def _check_numbers(self, name: str) -> None:
        """Raise `ValueError` for numbers that are none or that no arithmetic can go on with."""
        value = getattr(self, name, None)
        for number in value if isinstance(value, (list, tuple)) else (value,):
            is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            if is_number and not abs(number) <= LARGEST_NUMBER:
                raise ValueError(f"{name} must be of ordinary size, got {shorten(number)}")

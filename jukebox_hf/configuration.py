"""Configs as transformers has them: a plain config, and what transformers keeps in every config.

They are what models of transformers have, what the Auto classes find, and what writes
`config.json`. `strictness.checked_config` makes a subclass strict; fields are the plain config's.
"""

import copy
from typing import Any, Self

from transformers import PreTrainedConfig

from jukebox_hf.plain_config import PlainConfig


class JukeboxConfig(PlainConfig, PreTrainedConfig):  # type: ignore[no-untyped-call]
    """Base of the configs of models. Unknown fields are refused instead of kept."""

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_given(kwargs)
        # transformers itself looks for the word in torch
        if isinstance(self.dtype, str):
            self.dtype = self.dtype.removeprefix("torch.")
        if isinstance(kwargs.get("torch_dtype"), str):
            kwargs["torch_dtype"] = kwargs["torch_dtype"].removeprefix("torch.")
        PreTrainedConfig.__post_init__(self, **kwargs)  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, config: PlainConfig) -> Self:
        """The config of transformers with the fields of a plain one, and what its file held beside.

        One of transformers comes back as it is.
        """
        if isinstance(config, cls):
            return config
        return cls(**config.plain_fields(), **copy.deepcopy(dict(config.beside)))

    def to_dict(self) -> dict[str, Any]:
        """As in transformers."""
        return PreTrainedConfig.to_dict(self)

    @classmethod
    def plain_kind(cls) -> type[PlainConfig]:
        """The class of the plain config that this one derives from."""
        kinds: Any = cls.__mro__
        return next(kind for kind in kinds if not issubclass(kind, PreTrainedConfig))  # type: ignore[no-any-return]

"""Dataclasses whose fields are checked, on every assignment, and whose mistakes are one sentence.

What configs of models (`configuration`) and settings of training share. Nothing here needs torch or
transformers, so that a misspelt setting is refused at once.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError

from jukebox_hf.words import printable

MESSAGE_LIMIT = 400
ConfigT = TypeVar("ConfigT", bound=type)


@dataclass_transform(kw_only_default=True)
def plain_config(cls: ConfigT) -> ConfigT:
    """Class decorator: a dataclass as `checked_config` makes it, with arguments by name alone.

    `__post_init__` gets those that are no fields.
    """
    made: Any = dataclass(kw_only=True, eq=False)(cls)
    return _checked(made, accept_kwargs=True)  # type: ignore[no-any-return]


def checked_config(cls: ConfigT) -> ConfigT:
    """Class decorator: check field types on every assignment, and raise plain `ValueError`s."""
    return _checked(cls)


def _checked(cls: ConfigT, *, accept_kwargs: bool = False) -> ConfigT:
    given: Any = cls
    checked: Any = strict(accept_kwargs=accept_kwargs)(given)
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

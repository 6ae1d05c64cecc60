"""Dataclasses whose fields are checked, on every assignment, and whose mistakes are one sentence.

What configs of models (`configuration`) and settings of training share. Nothing here needs torch or
transformers, so that a misspelt setting is refused at once.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError

from jukebox_hf.words import printable

MESSAGE_LIMIT = 400
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

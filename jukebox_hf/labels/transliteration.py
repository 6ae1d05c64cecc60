"""Letters of all scripts to ASCII: how names are compared, and what is sung of lyrics.

The released models were trained on text that Unidecode had transliterated. Unidecode is under the
GPL, so it is an extra, `exact-lyrics`; where it is installed it is used. Without it anyascii (ISC
licence) does the work: the same for letters with accents, quotation marks and dashes, and for most
Cyrillic and Greek; other scripts are spelt differently (`python -m tests.labels.transliterations`
counts where).
"""

import importlib.util
import warnings
from functools import cache
from typing import Protocol

# What the default would spell otherwise in European text.
LIKE_UNIDECODE = {
    "\u2014": "--",
    "\u201a": ",",
    "\u201e": ",,",
    **dict(
        zip("\u0419\u042e\u042f\u0439\u044e\u044f", ("I", "Iu", "Ia", "i", "iu", "ia"), strict=True)
    ),
}


class _Transliterate(Protocol):
    def __call__(self, text: str, /) -> str: ...


def to_ascii(text: str) -> str:
    """The text in ASCII; characters that mean nothing there are left out."""
    return _transliterate()(text)


def is_exact() -> bool:
    """Whether text becomes what the released models were trained on: Unidecode is installed."""
    return importlib.util.find_spec("unidecode") is not None


@cache
def _transliterate() -> _Transliterate:
    if is_exact():
        return with_unidecode
    return with_anyascii


def with_unidecode(text: str, /) -> str:
    """As the released models know it; needs the extra `exact-lyrics`."""
    from unidecode import unidecode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # on lone surrogates
        return unidecode(text)


def with_anyascii(text: str, /) -> str:
    """As the default installation has it.

    As with Unidecode, each Han character is a word of its own, and Korean has no capitals.
    """
    from anyascii import anyascii

    result = []
    for char in text:
        if char in LIKE_UNIDECODE:
            result.append(LIKE_UNIDECODE[char])
        elif "\u4e00" <= char <= "\u9fff":
            result.append(f"{anyascii(char)} ")
        elif "\uac00" <= char <= "\ud7a3":
            result.append(anyascii(char).lower())
        else:
            result.append(anyascii(char))
    return "".join(result)

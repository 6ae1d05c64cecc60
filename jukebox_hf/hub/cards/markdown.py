"""Text in Markdown that is clean: whatever comes from a file is cleaned unless it says that it is.

What stands in files may be a stranger's. Templates of cards, and `markdown`, take values through
`clean`, which leaves only `Markdown` as it is; `code` and `cell` are for the places where other
signs count than in a sentence.
"""

import re
import string
from collections.abc import Iterable
from typing import Any

from jukebox_hf.hub.shareable import without_folders


class Markdown(str):
    """Text whose signs mean what they mean in Markdown."""

    __slots__ = ()


class _Cleaner(string.Formatter):
    """`str.format` that cleans values; `{:code}` stands between backticks, `{:cell}` in a table."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec in FILTERS:
            return FILTERS[format_spec](value)
        return str(super().format_field(clean(value), format_spec))


def markdown(template: str, *values: Any, **named: Any) -> Markdown:
    """A sentence around values, which are cleaned.

    >>> markdown("made by `{:code}`, *{}*", "a`b", "c_d")
    "made by `a'b`, *c\\\\_d*"
    """
    return Markdown(_Cleaner().vformat(template, values, named))


def joined(parts: Iterable[Any], between: str = ", ") -> Markdown:
    """Values one after another, each cleaned."""
    return Markdown(between.join(str(clean(part)) for part in parts))


def clean(value: Any) -> Any:
    """`Markdown`, numbers and nothing as they are; other text as `prose`."""
    if value is None or isinstance(value, (Markdown, int, float)):
        return value
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        return value
    return prose(str(value))


def code(text: str) -> Markdown:
    """Text that stands between backticks, on one line: a command may have been several.

    Nor does it name folders of the machine that it comes from.

    >>> code("jukebox train \\\\\\n  --steps `5`")
    "jukebox train --steps '5'"
    """
    text = re.sub(r"\\\s*\n", " ", without_folders(text))
    text = "".join(char if char.isprintable() else " " for char in text)
    text = text.replace("`", "'").replace("<!--", "< !--").replace("-->", "-- >")
    return Markdown(" ".join(text.split()))


def prose(text: str) -> Markdown:
    """Text that stands in a sentence, with nothing in it that Markdown or HTML would obey.

    >>> prose("a <b>*name*")
    'a &lt;b&gt;\\\\*name\\\\*'
    """
    text = code(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _unlinked(re.sub(r"([\\*_\[\]!#|~])", r"\\\1", text))


def cell(text: str) -> Markdown:
    """Text that stands in a table and is clean already, or is a name.

    >>> cell("a | b")
    'a \\\\| b'
    """
    return _unlinked(re.sub(r"([\\\[\]!|])", r"\\\1", code(text).replace("<", "&lt;")))


def _unlinked(text: str) -> Markdown:
    """Without addresses that Markdown would turn into links by itself; they read the same."""
    return Markdown(text.replace("://", ":&#47;/").replace("www.", "www&#46;"))


FILTERS = {"code": code, "cell": cell}

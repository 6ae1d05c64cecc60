"""Text in Markdown that is clean: whatever comes from a file is cleaned unless it says that it is.

What stands in files may be a stranger's. Templates of cards show values through `clean`, which
leaves only `Markdown` as it is; that comes out of filters for the places where other signs count
than in a sentence: `code`, `cell`, `link`, `shell` and `python`.
"""

import re
import shlex
from typing import Any

from jukebox_hf.hub.shareable import without_folders
from jukebox_hf.words import enumerate_words, format_bytes, format_count

ADDRESS = re.compile(r"https://[\w./:%~?&=#+@-]+")  # no sign that ends a link


class Markdown(str):
    """Text whose signs mean what they mean in Markdown."""

    __slots__ = ()


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


def link(name: str, address: str | None) -> Markdown:
    """A name in a table, with a link if that leads to an address and nowhere else.

    >>> link("so|ngs", "https://host/a"), link("songs", "javascript:alert(1)")
    ('[so\\\\|ngs](https://host/a)', 'songs')
    """
    is_address = address is not None and ADDRESS.fullmatch(address)
    return Markdown(f"[{cell(name)}]({address})") if is_address else cell(name)


def shell(text: str) -> Markdown:
    """An argument of a command in a block of code."""
    return Markdown(shlex.quote(code(text)))


def python(text: str) -> Markdown:
    """Text in Python in a block of code."""
    return Markdown(repr(str(code(text))))


def number(value: float, form: str = ",") -> str:
    """A number as Python's `format` writes it; with commas between thousands if not said.

    >>> number(44100), number(172.265625, ",.1f")
    ('44,100', '172.3')
    """
    return format(value, form)


def _unlinked(text: str) -> Markdown:
    """Without addresses that Markdown would turn into links by itself; they read the same."""
    return Markdown(text.replace("://", ":&#47;/").replace("www.", "www&#46;"))


FILTERS = {
    each.__name__: each
    for each in (
        *(code, cell, link, shell, python),  # clean, for their places
        *(number, enumerate_words, format_bytes, format_count),  # cleaned as they are shown
    )
}

"""Numbers, amounts, durations, lists and strangers' values as people read them.

Values go in, short text for one line comes out. Nothing here knows what the values mean.
"""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

MOST_COMPARED = 100  # characters of a name that is not known: a stranger's may be a book


def format_bytes(count: float) -> str:
    """Bytes for reading.

    >>> format_bytes(999), format_bytes(1_500), format_bytes(1_960_000_000), format_bytes(3e15)
    ('999 B', '1.5 kB', '1.96 GB', '3,000,000 GB')
    """
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count:.0f} B"


def format_count(count: int) -> str:
    """A large number for reading.

    >>> format_count(2_035_000), format_count(970), format_count(1_123_456_789)
    ('2.04 million', '970', '1.12 billion')
    """
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{_three_digits(count / size)} {word}"
    return f"{count:,}"


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def format_seconds(seconds: float) -> str:
    """A duration for reading.

    >>> format_seconds(0.4), format_seconds(75), format_seconds(7384)
    ('0.4 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def enumerate_words(words: Iterable[object]) -> str:
    """Words with commas, and "and" before the last.

    >>> enumerate_words([8, 32, 128]), enumerate_words(["rock"]), enumerate_words([])
    ('8, 32 and 128', 'rock', '')
    """
    texts = [str(word) for word in words]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def printable(text: str) -> str:
    """Text on one line that cannot steer a terminal: what is not printable is spelt out.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shorten(value: object, limit: int = 80) -> str:
    """A value in an error: as Python writes it, but never long, however large or deep it is.

    >>> shorten("x" * 1000, limit=20)
    "'xxxxxxx...xxxxxxxx'"
    >>> shorten({"a": [1, 2, [3, [4, [5]]]]})
    "{'a': [1, 2, [3, [...]]]}"
    """
    writer = reprlib.Repr()
    writer.maxlevel, writer.maxstring, writer.maxother = 4, limit, limit
    try:
        text = writer.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a {type(value).__name__}"
    return printable(text if len(text) <= limit else f"{text[: limit - 3]}...")


def cut(text: str, limit: int = 200) -> str:
    """A name as it stands, cut where it is longer than names are.

    >>> cut("x" * 1000, limit=6)
    'xxx...'
    """
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def refuse_unknown(
    given: Iterable[str],
    known: Iterable[str],
    source: str,
    *,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise `ValueError` for the first name in `given` that is not `known`, naming the nearest.

    `elsewhere` says by what other libraries call a setting what it is called here.

    >>> refuse_unknown(["codebok_size"], ["codebook_size"], "tiny.yaml")
    Traceback (most recent call last):
    ValueError: tiny.yaml: unknown setting 'codebok_size'. Did you mean 'codebook_size'?
    """
    names = sorted(known)
    for name in given:
        if name in names:
            continue
        if name in elsewhere:
            raise ValueError(
                f"{source}: unknown setting {shorten(name)}. Here it is {elsewhere[name]!r}"
            )
        nearest = difflib.get_close_matches(name[:MOST_COMPARED], names, n=1)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Known settings: {', '.join(names)}"
        raise ValueError(f"{source}: unknown setting {shorten(name)}. {hint}")

"""Records: dataclasses that are kept as JSON, and checked key by key when they come back.

A dataclass says what a file holds: its fields are the keys, their types what the values may be, and
fields with a default may be missing. `to_json` makes plain values of one, `from_json` checks plain
values and makes one of them. A file may come from a stranger or be damaged: whatever is wrong comes
out as a `ValueError` of one sentence with the file and the key in it.
"""

import dataclasses
import functools
import json
import math
import types
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from jukebox_hf.words import cut, refuse_unknown, shorten

Record = TypeVar("Record")

VERSION_KEY = "format_version"
# Metadata of a field that is left out of the file while it has its default.
OMIT = types.MappingProxyType({"omit": True})
# Metadata of a field that has a default in Python, but must be in the file.
REQUIRED = types.MappingProxyType({"required": True})
MAX_BYTES = 200_000_000  # an index of a million tensors is smaller
MAX_DEPTH = 64  # of nested lists and objects
LARGEST_INTEGER = 2**64 - 1  # the largest seed; above 2**1024 there would be no float
LONGEST_REASON = 300  # characters of what a dataclass says: it may show the whole value
_origin = typing.get_origin
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_json(path: Path, *, max_bytes: int = MAX_BYTES, unique: bool = False) -> dict[str, Any]:
    """The JSON object in a file.

    Raises `FileNotFoundError` if there is no such plain file, `ValueError` if it is too long, no
    JSON in UTF-8, not an object, nested absurdly deep, or, with `unique`, if a key is repeated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{path}: expected a JSON file of at most {max_bytes:,} bytes")
    return parse_json(data, str(path), unique=unique)


def parse_json(data: bytes | str, source: str, *, unique: bool = False) -> dict[str, Any]:
    """The JSON object in a text; errors as of `read_json`, beginning with `source`."""
    hook = _no_repetition if unique else None
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        content = json.loads(text, object_pairs_hook=hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: expected JSON, found something else ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected a JSON object, found {type(content).__name__}")
    _check_depth(content, source)
    return content


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        repeated = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"{shorten(repeated)} stands in it twice")
    return content


def check_version(content: Mapping[str, Any], newest: int, source: str) -> None:
    """Raise `ValueError` unless `format_version` is one from 1 to `newest`."""
    found = content.get(VERSION_KEY)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{source}: expected {VERSION_KEY} {newest}, found {shorten(found)}")
    if found > newest:
        raise ValueError(
            f"{source}: has format version {shorten(found)}, but this version of jukebox_hf reads "
            f"up to {newest}; upgrade with `pip install -U jukebox-hf`"
        )


def from_json(kind: type[Record], content: Any, source: str, *, version: int = 0) -> Record:
    """The record that plain values describe.

    Understood are text, numbers, true and false, `None`, `Literal`, lists, tuples, dicts with text
    or whole numbers as keys, dataclasses, unions of these, and `Any`. A field whose metadata has
    `"key"` has that name in the file; one with the metadata `OMIT` is not written while it has its
    default; one with `REQUIRED` may not be missing although it has a default.

    Args:
        kind: a dataclass.
        content: what `json.loads` gave.
        source: the file, or what else errors shall begin with.
        version: the newest `format_version` that is understood; 0: there is none in the file.

    Raises:
        ValueError: for a missing key, an unknown one, a value of another type, a number that is
            none or absurdly large, and what the dataclass itself refuses.
    """
    if version:
        if not isinstance(content, dict):
            raise ValueError(f"{source}: expected a JSON object, found {shorten(content)}")
        check_version(content, version, source)
        if not any(field.name == VERSION_KEY for field in _fields(kind)):
            content = {name: value for name, value in content.items() if name != VERSION_KEY}
    return typing.cast("Record", _record(kind, content, source))


def to_json(record: Any, *, version: int = 0) -> Any:
    """Plain values for `json.dumps`; with `version` they begin with it."""
    head = {VERSION_KEY: version} if version else {}
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        values = {f: getattr(record, f.name) for f in _fields(type(record))}
        return head | {_key(f): to_json(value) for f, value in values.items() if _stays(f, value)}
    if isinstance(record, Mapping):
        return head | {str(name): to_json(value) for name, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return record


# --- checks -------------------------------------------------------------------------------------


def _check_depth(content: Any, source: str) -> None:
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"{source}: expected at most {MAX_DEPTH} nested lists and objects, found more")


def _key(field: "dataclasses.Field[Any]") -> str:
    return str(field.metadata.get("key", field.name))


def _stays(field: "dataclasses.Field[Any]", value: Any) -> bool:
    """Whether a value is written: `OMIT` leaves the default out."""
    if not field.metadata.get("omit"):
        return True
    empty = field.default_factory() if callable(field.default_factory) else field.default
    return bool(value != empty)


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    if field.metadata.get("required"):
        return True
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fields(kind: Any) -> "tuple[dataclasses.Field[Any], ...]":
    return tuple(field for field in dataclasses.fields(kind) if field.init)


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _record(kind: Any, content: Any, source: str) -> Any:
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected an object, found {shorten(content)}")
    fields = _fields(kind)
    refuse_unknown(content, [_key(field) for field in fields], source)
    values = {}
    for field in fields:
        key = _key(field)
        if key in content:
            values[field.name] = _value(_types(kind)[field.name], content[key], f"{source}, {key}")
        elif _is_required(field):
            raise ValueError(f"{source}: {key} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{source}: {cut(str(error), LONGEST_REASON)}") from None


def _value(wanted: Any, value: Any, source: str) -> Any:
    """The value as the type wants it, or `ValueError`."""
    origin, arguments = _origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, source)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):
            raise ValueError(f"{source}: expected {_describe(wanted)}, found {shorten(value)}")
        return value
    if origin in (list, tuple):
        return _sequence(origin, arguments, value, source)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{source}: expected an object, found {shorten(value)}")
        return {
            _dict_key(arguments[0], name, source): _value(
                arguments[1], one, f"{source}, {shorten(name)[1:-1]}"
            )
            for name, one in value.items()
        }
    if dataclasses.is_dataclass(wanted):
        return _record(wanted, value, source)
    return _scalar(wanted, value, source)


def _scalar(wanted: Any, value: Any, source: str) -> Any:
    if wanted is type(None) and value is None:
        return None
    if wanted in (str, bool):
        fits = isinstance(value, wanted)
    elif isinstance(value, int) and not isinstance(value, bool):
        fits = wanted in (int, float) and abs(value) <= LARGEST_INTEGER
    else:
        fits = wanted is float and isinstance(value, float) and math.isfinite(value)
    if fits:
        return value
    expected = "nothing" if wanted is type(None) else _KINDS[wanted]
    raise ValueError(f"{source}: expected {expected}, found {shorten(value)}")


def _union(arguments: tuple[Any, ...], value: Any, source: str) -> Any:
    """The first of several types that fits; the error is that of the likeliest one."""
    given = [one for one in arguments if one is not type(None)]
    if value is None and len(given) < len(arguments):
        return None
    errors = []
    for one in given:
        try:
            return _value(one, value, source)
        except ValueError as error:
            errors.append(error)
    containers = [one for one in given if one not in _KINDS and _origin(one) is not Literal]
    if len(errors) == 1 or (containers and isinstance(value, (dict, list))):
        raise errors[-1]
    expected = " or ".join(_describe(one) for one in given)
    raise ValueError(f"{source}: expected {expected}, found {shorten(value)}")


def _describe(wanted: Any) -> str:
    """What a type wants, in words."""
    if _origin(wanted) is Literal:
        return " or ".join(str(one) for one in typing.get_args(wanted))
    return _KINDS.get(wanted, "a list" if _origin(wanted) in (list, tuple) else "an object")


def _sequence(origin: Any, arguments: tuple[Any, ...], value: Any, source: str) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{source}: expected a list, found {shorten(value)}")
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise ValueError(
                f"{source}: expected a list of {len(arguments)}, found {shorten(value)}"
            )
        pairs = zip(arguments, value, strict=True)
        return tuple(_value(one, own, f"{source}, {i}") for i, (one, own) in enumerate(pairs))
    return origin(_value(arguments[0], one, f"{source}, {i}") for i, one in enumerate(value))


def _dict_key(wanted: Any, name: str, source: str) -> Any:
    if wanted is not int:
        return name
    if not (name.isascii() and name.isdigit() and len(name) <= 9 and str(int(name)) == name):
        raise ValueError(f"{source}: expected a whole number as key, found {shorten(name)}")
    return int(name)

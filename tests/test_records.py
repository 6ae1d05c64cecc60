"""Records come back equal, and whatever is wrong with a file is one sentence that names the key."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from jukebox_hf.records import MAX_DEPTH, from_json, parse_json, read_json, to_json


@dataclass(frozen=True)
class Part:
    name: str
    share: float = 1.0
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Whole:
    """One field of every kind."""

    title: str
    count: int
    parts: tuple[Part, ...]
    by_level: dict[int, Part]
    kept: bool
    chains: int | Literal["auto"] = 1
    words: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    free: Any = None
    source: str = field(default="", metadata={"key": "from"})

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be at least 0, got {self.count}")
        if self.note == "":
            raise ValueError(f"note must not be empty in {self.free}")


WHOLE = Whole(
    title="a",
    count=2**64 - 1,
    parts=(Part("x", 0.5, (1, 2)), Part("y")),
    by_level={0: Part("z"), 12: Part("w", 2)},
    kept=True,
    chains="auto",
    words={"a": "b"},
    free={"deep": [1, None]},
    source="here",
)


def content(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(to_json(WHOLE, version=3))) | changes


def test_a_record_comes_back_equal() -> None:
    plain = content()
    assert next(iter(plain)) == "format_version"
    assert plain["from"] == "here"
    assert from_json(Whole, plain, "x.json", version=3) == WHOLE


def test_fields_with_a_default_may_be_missing_and_others_not() -> None:
    plain = content()
    for name in ("chains", "words", "note", "free", "from"):
        del plain[name]
    assert from_json(Whole, plain, "x.json", version=3).chains == 1
    for name in ("title", "count", "parts", "by_level", "kept"):
        less = {key: value for key, value in plain.items() if key != name}
        with pytest.raises(ValueError, match=rf"^x\.json: {name} is missing$"):
            from_json(Whole, less, "x.json", version=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": 3}, "x.json, title: expected text, found 3"),
        ({"title": None}, "x.json, title: expected text, found None"),
        ({"count": True}, "x.json, count: expected a whole number, found True"),
        ({"count": 1.5}, "x.json, count: expected a whole number, found 1.5"),
        ({"count": 2**64}, "x.json, count: expected a whole number, found 18446744073709551616"),
        ({"note": "", "free": "x" * 10**6}, "x.json: note must not be empty in xxx"),
        ({"count": -1}, "x.json: count must be at least 0, got -1"),
        ({"kept": 1}, "x.json, kept: expected true or false, found 1"),
        ({"parts": {}}, "x.json, parts: expected a list, found {}"),
        ({"parts": [3]}, "x.json, parts, 0: expected an object, found 3"),
        ({"parts": [{}]}, "x.json, parts, 0: name is missing"),
        ({"parts": [{"name": "x", "share": float("nan")}]}, "share: expected a number, found nan"),
        ({"parts": [{"name": "x", "share": 10**400}]}, "share: expected a number, found "),
        ({"parts": [{"name": "x", "span": [1]}]}, "span: expected a list of 2, found [1]"),
        ({"parts": [{"nmae": "x"}]}, "unknown setting 'nmae'. Did you mean 'name'?"),
        ({"by_level": {"one": {}}}, "by_level: expected a whole number as key, found 'one'"),
        ({"by_level": {"01": {}}}, "by_level: expected a whole number as key, found '01'"),
        ({"by_level": {"7": 1}}, "by_level, 7: expected an object, found 1"),
        ({"chains": "many"}, "chains: expected a whole number or auto, found 'many'"),
        ({"chains": []}, "chains: expected "),
        ({"titel": "x"}, "x.json: unknown setting 'titel'. Did you mean 'title'?"),
        ({"x" * 10**6: 1}, "x.json: unknown setting 'xxx"),
        ({"format_version": 4}, "has format version 4, but this version of jukebox_hf reads up"),
        ({"format_version": "3"}, "x.json: expected format_version 3, found '3'"),
        ({"format_version": True}, "x.json: expected format_version 3, found True"),
    ],
)
def test_what_is_wrong_is_one_short_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        from_json(Whole, content(**changes), "x.json", version=3)
    text = str(caught.value)
    assert len(text) < 400
    assert "\n" not in text


@pytest.mark.parametrize("other", [None, 3, [], "x"])
def test_what_is_no_object_is_said(other: Any) -> None:
    for version in (0, 3):
        with pytest.raises(ValueError, match=r"^x\.json: expected an? (JSON )?object, found"):
            from_json(Whole, other, "x.json", version=version)


def test_files_that_are_no_json_objects_are_said(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_json(path)
    for data, message in (
        (b"{", "expected JSON, found something else"),
        (b"\xff{}", "expected JSON, found something else"),
        (b"[]", "expected a JSON object, found list"),
        (b'{"a": ' * 200_000, "expected JSON, found something else"),
        (b'{"a": ' * 100 + b"1" + b"}" * 100, f"at most {MAX_DEPTH} nested lists and objects"),
        (b'{"a": ' + b"1" * 5000 + b"}", "expected JSON, found something else"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_json(path)
        assert str(caught.value).startswith(str(path))
    path.write_bytes(b'{"a": "' + b"x" * 100 + b'"}')
    assert read_json(path) == {"a": "x" * 100}
    with pytest.raises(ValueError, match="at most 50 bytes"):
        read_json(path, max_bytes=50)


def test_a_device_is_not_read() -> None:
    with pytest.raises(FileNotFoundError):
        read_json(Path("/dev/zero"))


def test_text_is_taken_too() -> None:
    assert parse_json('{"a": 1}', "x") == {"a": 1}

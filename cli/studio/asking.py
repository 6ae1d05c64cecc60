"""What the page may ask for, checked for its kind before anything else looks at it.

The JSON of a stranger goes in; a request with known names, kinds and sizes comes out, or
`ValueError` with one sentence. Whether a model can do it is the library's to say.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jukebox_hf.files import safe_file_name
from jukebox_hf.sampling_settings import SETTINGS

from ..options import parse_duration
from .page_words import label

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")
UPLOAD = re.compile(r"[0-9a-f]{32}\.(wav|flac|ogg|mp3)")
FORMS = ("flac", "wav", "mp3", "ogg", "codes")
KNOWN = frozenset(
    {"verb", "model", "name", "genre", "artist", "lyrics", "total_seconds", "offset_seconds"}
    | {"seconds", "takes", "seed", "sketch", "primer", "levels", "source", "numbers"}
    | {"from_seconds", "to_seconds", "insert_seconds", "candidates", "renders", "names"}
    | {"parts", "snap_seconds", "fade_seconds", "timing"}
)
LONGEST_TEXT = 200
LONGEST_LYRICS = 50_000
LARGEST_BODY = 2**20
MOST_CANDIDATES = 64
MOST_PARTS = 100
PART = frozenset({"piece", "take", "from", "to"})
MAX_SEED = 2**64 - 1
LARGEST = {float: 100, int: 512}  # values of settings, by their kind


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        seconds: of new music in one go.
        takes: side by side.
        upload_bytes: of a file to begin with.
        waiting: pieces of one room that wait to be made.
        edited_seconds: of a piece that is put together from parts of others.
    """

    seconds: float
    takes: int
    upload_bytes: int
    waiting: int
    edited_seconds: float


class Stereo(NamedTuple):
    """Three takes as one file in stereo: left, centre and right, and by how many seconds late."""

    takes: list[int]
    delays: list[float]


def parse_body(body: bytes) -> dict[str, Any]:
    """The object that a request carries."""
    try:
        value = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("expected an object in JSON") from None
    if not isinstance(value, dict):
        raise ValueError("expected an object in JSON")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(text)


def check_request(given: Mapping[str, Any], limits: Limits, models: list[str]) -> dict[str, Any]:
    """A request, by its verb.

    For a new piece (`make`), more of one (`continue`), its finer levels (`upsample`), parts of
    pieces one after another (`edit`), or a stretch made again (`infill`).

    `models` are the names that the page may choose from; the request names one by its place.
    """
    unknown = sorted(set(given) - KNOWN)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r:.40}")
    verb = given.get("verb")
    if verb not in ("make", "continue", "upsample", "edit", "infill"):
        raise ValueError(f"expected make, continue, upsample, edit or infill, got {verb!r:.40}")
    model = given.get("model", 0)
    if isinstance(model, bool) or not isinstance(model, int) or not 0 <= model < len(models):
        raise ValueError(f"there is no model {model!r:.40}")
    request: dict[str, Any] = {
        "verb": verb,
        "model": model,
        "name": _new_name(given.get("name")),
        "genre": _text(given, "genre", LONGEST_TEXT),
        "artist": _text(given, "artist", LONGEST_TEXT),
        "lyrics": _text(given, "lyrics", LONGEST_LYRICS),
        "total_seconds": _duration(given, "total_seconds", above=True),
        "offset_seconds": _duration(given, "offset_seconds"),
        "seed": _seed(given.get("seed")),
        "levels": _levels(given.get("levels")),
        "names": _names(given.get("names")),
        "sketch": given["sketch"] if isinstance(given.get("sketch"), bool) else None,
    }
    if verb in ("make", "continue", "infill"):
        request["takes"] = check_count(given.get("takes", 1), "takes", limits.takes)
    if verb in ("make", "continue"):
        seconds = _duration(given, "seconds", above=True)
        if seconds is None and verb == "continue":
            raise ValueError("say how many seconds of new music to make")
        if seconds is not None and seconds > limits.seconds:
            raise ValueError(
                f"this studio makes up to {limits.seconds:g} seconds in one go, got {seconds:g}"
            )
        request["seconds"] = seconds
    if verb == "make":
        request["primer"] = _primer(given.get("primer"))
    elif verb == "edit":
        request |= _edit(given)
    else:
        request["source"] = check_text(given.get("source"), "source")
        request["numbers"] = check_asked_numbers(given.get("numbers"))
    if verb == "upsample":
        request["renders"] = _renders(given.get("renders", 1), request["numbers"], limits)
    if verb in ("continue", "infill"):
        request["from_seconds"] = _duration(given, "from_seconds")
    if verb == "infill":
        request |= _stretch(given, limits)
    if request["seed"] is None and verb not in ("upsample", "edit"):
        request["seed"] = secrets.randbits(32)
    return request


def _renders(value: Any, numbers: list[int], limits: Limits) -> int:
    """In how many ways each take is finished."""
    renders = check_count(value, "ways to finish", limits.takes)
    if renders > 1 and not numbers:
        raise ValueError("say which takes to finish in several ways")
    if renders > 1 and len(set(numbers)) * renders > limits.takes:
        raise ValueError(
            f"this studio makes up to {limits.takes} takes in one go, got {len(set(numbers))} in "
            f"{renders} ways"
        )
    return renders


def sources_of(request: Mapping[str, Any]) -> list[str]:
    """The pieces that a request takes something of, each once."""
    if "parts" in request:
        return list(dict.fromkeys(part["piece"] for part in request["parts"]))
    return [request["source"]] if "source" in request else []


def _edit(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parts in order, and how they are joined."""
    parts = given.get("parts")
    if not isinstance(parts, list):
        raise ValueError(f"expected a list of parts, got {parts!r:.40}")
    if not parts:
        raise ValueError("nothing is left; a piece has at least one part")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"a piece has up to {MOST_PARTS} parts, got {len(parts):,}")
    timing = given.get("timing") or None
    if timing not in (None, "keep", "new"):
        raise ValueError(f"timing must be keep or new, got {timing!r:.40}")
    checked = [_part(part, number) for number, part in enumerate(parts, start=1)]
    return {
        "source": checked[0]["piece"],
        "parts": checked,
        "snap_seconds": _duration(given, "snap_seconds"),
        "fade_seconds": _duration(given, "fade_seconds"),
        "timing": timing,
    }


def _part(value: Any, number: int) -> dict[str, Any]:
    """A stretch of a take; no bounds are those of the take."""
    if not isinstance(value, dict) or set(value) - PART:
        raise ValueError(f"part {number}: expected piece, take, from and to, got {value!r:.40}")
    try:
        return {
            "piece": check_text(value.get("piece"), "piece"),
            "take": check_count(value.get("take"), "take", 10_000),
            "from": _duration(value, "from"),
            "to": _duration(value, "to", above=True),
        }
    except ValueError as error:
        raise ValueError(f"part {number}: {error}") from None


def _stretch(given: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """What is made again of one take, or put in there."""
    numbers = check_asked_numbers(given.get("numbers"))
    if len(numbers) != 1:
        raise ValueError("say of which take")
    found = {
        "to_seconds": _duration(given, "to_seconds", above=True),
        "insert_seconds": _duration(given, "insert_seconds", above=True),
        "candidates": check_count(given.get("candidates", 8), "tries", MOST_CANDIDATES),
    }
    begin = _duration(given, "from_seconds") or 0.0
    seconds = found["insert_seconds"] or (found["to_seconds"] or begin) - begin
    if seconds > limits.seconds:
        raise ValueError(
            f"this studio makes up to {limits.seconds:g} seconds in one go, got {seconds:g}"
        )
    return found


def _new_name(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return check_name(value)


def check_name(value: Any) -> str:
    """A name for a piece, which becomes a folder."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            "a name has letters, digits, - and _ only, begins with a letter or digit, and is at "
            "most 81 characters long"
        )
    if value != safe_file_name(value):
        raise ValueError(
            f"{value!r} cannot be the name of a folder everywhere; try {safe_file_name(value)!r}"
        )
    return value


def check_text(value: Any, name: str) -> str:
    """Some text that must be there."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text, got {value!r:.40}")
    return value


def _text(given: Mapping[str, Any], name: str, longest: int) -> str | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {value!r:.40}")
    if len(value) > longest:
        raise ValueError(f"{name} may have {longest:,} characters, got {len(value):,}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half of a character") from None
    return value if value.strip() else None


def _duration(given: Mapping[str, Any], name: str, *, above: bool = False) -> float | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    seconds = parse_duration(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        seconds = None
    if seconds is None or not 0 <= seconds < math.inf or (above and seconds == 0):
        raise ValueError(
            f"{label(name)}: {str(value)[:40]!r} is not a duration; give seconds, as in 90 or 2.5, "
            "or m:ss, as in 1:30"
        )
    return float(seconds)


def check_seconds(text: str | None, name: str, most: float) -> float:
    """Seconds in an address, from 0 to `most`."""
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= most:
        raise ValueError(f"{name} must be seconds from 0 to {most:g}, got {text!r:.40}")
    return seconds


def _seed(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:40])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise ValueError(f"seed must be a whole number from 0 to {MAX_SEED}, got {value!r:.40}")
    return value


def check_count(value: Any, name: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r:.40}")
    return value


def check_asked_numbers(value: Any) -> list[int]:
    """Numbers of takes; none stands for those that were kept, or all."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 1000:
        raise ValueError(f"expected a list of takes, got {value!r:.40}")
    return [check_count(one, "a take", 10_000) for one in value]


def check_stereo(value: Any) -> Stereo | None:
    """Which takes are left, centre and right, and how late; the library says whether they go."""
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) - {"takes", "delays"}:
        raise ValueError(f"expected takes and delays for stereo, got {value!r:.40}")
    takes = check_asked_numbers(value.get("takes"))
    delays = value.get("delays") or [0.0, 0.0, 0.0]
    if len(takes) != 3 or not isinstance(delays, list) or len(delays) != 3:
        raise ValueError("stereo takes three takes, left, centre and right, and three delays")
    return Stereo(takes, [_duration({"delay": one}, "delay") or 0.0 for one in delays])


def _primer(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not UPLOAD.fullmatch(str(value.get("file"))):
        raise ValueError("the file to begin with is not there; choose it again")
    return {
        "file": value["file"],
        "start": _duration(value, "start"),
        "end": _duration(value, "end", above=True),
    }


def _levels(value: Any) -> dict[str, dict[str, Any]]:
    """Per-level settings: by name, then by level as text, or "all"."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"expected settings by name, got {value!r:.40}")
    found: dict[str, dict[str, Any]] = {}
    for name, by_level in value.items():
        if name not in SETTINGS or SETTINGS[name].type is bool or not isinstance(by_level, dict):
            raise ValueError(f"there is no setting {name!r:.40}")
        for level, number in by_level.items():
            if number is None or number == "":
                continue
            _check_level(level)
            found.setdefault(name, {})[level] = _level_number(name, number)
    return found


def _names(value: Any) -> dict[str, dict[str, str]]:
    """Genre and artist of single levels: by name, then by level as text."""
    if value is None:
        return {}
    if not isinstance(value, dict) or set(value) - {"genre", "artist"}:
        raise ValueError(f"expected genre or artist by level, got {value!r:.40}")
    found: dict[str, dict[str, str]] = {}
    for name, by_level in value.items():
        if not isinstance(by_level, dict):
            raise ValueError(f"expected a {name} by level, got {by_level!r:.40}")
        for level in by_level:
            _check_level(level)
            text = _text(by_level, level, LONGEST_TEXT)
            if text is not None:
                found.setdefault(name, {})[level] = text
    return found


def _check_level(level: str) -> None:
    if level != "all" and not (level.isascii() and level.isdigit() and len(level) < 3):
        raise ValueError(f"{level!r:.40} is not a level")


def _level_number(name: str, value: Any) -> float | int:
    kind = SETTINGS[name]
    label, high = name.replace("_", " "), LARGEST[kind.type]
    try:
        number = float(value) if isinstance(value, (str, float)) else value
        if kind.type is int and number == int(number):
            number = int(number)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{label} must be a number, got {value!r:.40}") from None
    kind.check(label, number)
    if number > high:
        raise ValueError(f"{label} must be at most {high}, got {number:g}")
    return float(number) if kind.type is float else int(number)

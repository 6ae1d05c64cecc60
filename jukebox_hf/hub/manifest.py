"""`jukebox.json`, the file at the root of a model: which component lives where, and what suits it.

A manifest may come from a stranger. Reading it checks everything: unknown keys and other types are
refused, and no path in it can leave the folder or repository that it stands in.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub.utils._validators import validate_repo_id

from jukebox_hf.configuration import refuse_unknown
from jukebox_hf.files import write_atomically

MANIFEST_NAME = "jukebox.json"
FORMAT_VERSION = 1
MAX_BYTES = 1_000_000
# The licence of OpenAI's weights and label lists, which no SPDX identifier names.
OPENAI_LICENCE = "openai-noncommercial"
COMPONENT = re.compile(r"vqvae|prior_[0-9]")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
TEXT_LIMIT = 200
NOTED = ("artist", "genre", "lyrics")  # what of a prompt a model can have remarks on


@dataclass(frozen=True)
class ComponentReference:
    """Where a component is: in this repository, or in another one.

    Attributes:
        subfolder: below the root of the repository; `None` is the root itself.
        repo_id: another repository on the Hub; `None` is the one that the manifest stands in.
        revision: commit, tag or branch of that other repository; `None` is its newest.
    """

    subfolder: str | None = None
    repo_id: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class AdapterReference(ComponentReference):
    """A small set of weights (LoRA) for one prior of the model."""

    component: str = ""


@dataclass(frozen=True)
class Manifest:
    """What `jukebox.json` says.

    Attributes:
        components: reference by name, "vqvae" or "prior_N"; level 0 is the finest.
        generation: defaults that suit this model: per level (keys "0", "1", ...) `temperature`,
            `top_p`, `guidance`, `hop_fraction` (share of a window that is new) and `chains` (runs
            sampled in parallel); `seconds` to make, and `total_seconds`, the length of the piece
            they are part of.
        licence: an SPDX identifier, or "openai-noncommercial"; `None` if unknown.
        adapters: to be applied to the priors when they are loaded.
        name: what to call the model.
        notes: what the model makes of "artist", "genre" or "lyrics" that it is given, by name; said
            to whoever gives them. One line each.
        format_version: of the file.
    """

    components: dict[str, ComponentReference]
    generation: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None
    adapters: list[AdapterReference] = field(default_factory=list)
    name: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; what is `None` or empty is left out."""
        content = {
            "format_version": self.format_version,
            "name": self.name,
            "licence": self.licence,
            "components": {
                name: _without_none(reference) for name, reference in self.components.items()
            },
            "generation": self.generation or None,
            "notes": self.notes or None,
            "adapters": [_without_none(adapter) for adapter in self.adapters] or None,
        }
        return {key: value for key, value in content.items() if value is not None}

    @classmethod
    def from_dict(cls, content: Any, source: str = MANIFEST_NAME) -> "Manifest":
        """Check and take in a JSON object.

        Raises:
            ValueError: for anything unknown, of another type, or unsafe; begins with `source`.
        """
        content = _object(content, source)
        version = content.get("format_version")
        if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION:
            raise ValueError(
                f"{source}: has format version {version}, this program reads up to "
                f"{FORMAT_VERSION}; upgrade it (pip install --upgrade jukebox-hf)"
            )
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise ValueError(
                f"{source}: expected format_version {FORMAT_VERSION}, found {version!r}"
            )
        known = ("format_version", "name", "licence", "components", "generation", "notes")
        refuse_unknown(content, (*known, "adapters"), source)
        components = {}
        for name, reference in _object(content.get("components"), f"{source}, components").items():
            _check_component_name(name, source)
            keys = ("subfolder", "repo_id", "revision")
            components[name] = ComponentReference(
                **_reference(reference, keys, f"{source}, {name}")
            )
        if not components:
            raise ValueError(f"{source}: names no components, expected vqvae or prior_0, ...")
        adapters = content.get("adapters", [])
        if not isinstance(adapters, list):
            raise ValueError(f"{source}: expected a list of adapters, found {adapters!r:.80}")
        return cls(
            components=components,
            generation=check_generation(content.get("generation", {}), source),
            licence=_text(content.get("licence"), f"{source}, licence"),
            adapters=[_adapter(adapter, components, source) for adapter in adapters],
            name=_text(content.get("name"), f"{source}, name"),
            notes=_notes(content.get("notes", {}), f"{source}, notes"),
        )


def load_manifest(folder: Path | str) -> Manifest:
    """Read `jukebox.json` in `folder`, or the file itself.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not a valid manifest.
    """
    path = Path(folder)
    if path.is_dir():
        path = path / MANIFEST_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the manifest of a model")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: a manifest has at most {MAX_BYTES:,} bytes, this has more")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error})") from error
    return Manifest.from_dict(content, str(path))


def save_manifest(folder: Path | str, manifest: Manifest) -> Path:
    """Write `jukebox.json` into `folder`, atomically; returns its path.

    Raises:
        ValueError: if the manifest would not be accepted on reading.
    """
    text = manifest_text(manifest)
    path = Path(folder) / MANIFEST_NAME
    write_atomically(path, lambda temporary: _write_text(temporary, text))
    return path


def manifest_text(manifest: Manifest) -> str:
    """What `jukebox.json` holds; `ValueError` if it would not be accepted on reading."""
    content = manifest.to_dict()
    Manifest.from_dict(content, "the manifest to be written")
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def check_subfolder(subfolder: str, source: str) -> str:
    """Return `subfolder` if it is a plain relative path below the root.

    >>> check_subfolder("../elsewhere", "jukebox.json")
    Traceback (most recent call last):
    ValueError: jukebox.json: subfolder '../elsewhere' must be a plain path below the model's folder
    """
    parts = PurePosixPath(subfolder).parts
    plain = (
        parts
        and "/".join(parts) == subfolder
        and not subfolder.startswith(("/", "~"))
        and not any(part in (".", "..") for part in parts)
        and re.fullmatch(r"[\w.+ -]+(/[\w.+ -]+)*", subfolder)
    )
    if not plain or len(subfolder) > TEXT_LIMIT:
        raise ValueError(
            f"{source}: subfolder {subfolder[:80]!r} must be a plain path below the model's folder"
        )
    return subfolder


def check_generation(generation: Any, source: str = "generation") -> dict[str, Any]:
    """Return the generation defaults of a manifest if all of them make sense.

    Raises:
        ValueError: naming the first that does not.
    """
    source = f"{source}, generation"
    content = _object(generation, source)
    refuse_unknown(content, (*_PER_LEVEL, *_SECONDS), source)
    for name, value in content.items():
        if name in _SECONDS:
            if not (_is_number(value) and 0 < value < math.inf):
                raise ValueError(f"{source}: expected positive {name}, found {value!r:.80}")
            continue
        expectation, holds = _PER_LEVEL[name]
        for level, number in _object(value, f"{source}, {name}").items():
            if not re.fullmatch("[0-9]", level):
                raise ValueError(f"{source}, {name}: {level!r:.80} is not a level; expected 0 to 9")
            if not (_is_number(number) and holds(number)):
                raise ValueError(
                    f"{source}: expected {name} of level {level} to be {expectation}, "
                    f"found {number!r:.80}"
                )
    return content


_Check = Callable[[Any], bool]
_PER_LEVEL: dict[str, tuple[str, _Check]] = {
    "temperature": ("positive", lambda value: 0 < value < math.inf),
    "top_p": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "guidance": ("at least 0", lambda value: 0 <= value < math.inf),
    "hop_fraction": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "chains": ("an integer of at least 1", lambda value: isinstance(value, int) and value >= 1),
}
_SECONDS = ("seconds", "total_seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _object(content: Any, source: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected an object, found {content!r:.80}")
    return content


def _text(value: Any, source: str) -> str | None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= TEXT_LIMIT):
        raise ValueError(
            f"{source}: expected text of at most {TEXT_LIMIT} characters, found {value!r:.80}"
        )
    return value


def _notes(content: Any, source: str) -> dict[str, str]:
    notes = {}
    content = _object(content, source)
    refuse_unknown(content, NOTED, source)
    for name, value in content.items():
        text = _text(value, f"{source}, {name}")
        if text is None or not text.isprintable() or not text.strip():
            raise ValueError(f"{source}, {name}: expected one line of text, found {value!r:.80}")
        notes[name] = text
    return notes


def _check_component_name(name: str, source: str) -> None:
    if not COMPONENT.fullmatch(name):
        raise ValueError(
            f"{source}: unknown component {name[:80]!r}, expected vqvae or prior_0 to prior_9"
        )


def _reference(content: Any, keys: tuple[str, ...], source: str) -> dict[str, Any]:
    """The checked fields of a reference."""
    content = _object(content, source)
    refuse_unknown(content, keys, source)
    fields = {key: _text(content.get(key), f"{source}, {key}") for key in keys}
    subfolder, repo_id, revision = (fields[key] for key in ("subfolder", "repo_id", "revision"))
    if subfolder is None and repo_id is None:
        raise ValueError(f"{source}: expected a subfolder, or the repo_id of another repository")
    if subfolder is not None:
        check_subfolder(subfolder, source)
    if repo_id is not None:
        try:
            validate_repo_id(repo_id)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    if revision is not None and (
        repo_id is None or not REVISION.fullmatch(revision) or ".." in revision
    ):
        raise ValueError(
            f"{source}: revision {revision[:80]!r} should be a commit, tag or branch of repo_id"
        )
    return fields


def _adapter(
    content: Any, components: Mapping[str, ComponentReference], source: str
) -> AdapterReference:
    source = f"{source}, adapters"
    fields = _reference(content, ("component", "subfolder", "repo_id", "revision"), source)
    if fields["component"] not in components or fields["component"] == "vqvae":
        raise ValueError(
            f"{source}: expected a component among the model's priors, "
            f"found {fields['component']!r:.80}"
        )
    return AdapterReference(**fields)


def _without_none(reference: ComponentReference) -> dict[str, str]:
    return {key: value for key, value in vars(reference).items() if value is not None}

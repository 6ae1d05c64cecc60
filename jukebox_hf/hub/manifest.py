"""`jukebox.json`, the file at the root of a model: which component lives where, and what suits it.

A manifest may come from a stranger. Reading it checks everything: unknown keys and other types are
refused, and no path in it can leave the folder or repository that it stands in.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from jukebox_hf.files import write_text
from jukebox_hf.records import from_json, read_json, to_json
from jukebox_hf.sampling_settings import SETTINGS, LevelSettings
from jukebox_hf.words import refuse_unknown, shorten

MANIFEST_NAME = "jukebox.json"
FORMAT_VERSION = 1
MAX_BYTES = 1_000_000
# The licence of OpenAI's weights and label lists, which no SPDX identifier names.
WHOLE_MODEL_TYPE = "jukebox_hf"  # in the config.json beside it, by which transformers knows it
OPENAI_LICENCE = "openai-noncommercial"
VQVAE = "vqvae"
COMPONENT = re.compile(r"vqvae|prior_[0-9]")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
TEXT_LIMIT = 200
MAX_SECONDS = 1_000_000  # eleven days
FINAL = "final"  # what a training run calls the folder of its model
NOTED = ("artist", "genre", "lyrics")  # what of a prompt a model can have remarks on


Part = TypeVar("Part")
ROOT_CONFIG = json.dumps(
    {"architectures": ["JukeboxModel"], "model_type": WHOLE_MODEL_TYPE}, indent=2
)


def prior_name(level: int) -> str:
    """The name of the component that writes the codes of a level."""
    return f"prior_{level}"


def prior_level(name: str) -> int:
    """The level of a prior by its name."""
    return int(name.removeprefix("prior_"))


def in_order(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Components by name: the VQ-VAE first, then the priors from the finest."""
    return dict(sorted(parts.items(), key=lambda item: (item[0] != VQVAE, item[0])))


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", in_order(self.components))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; what is `None` or empty is left out."""
        content = _without_empty(to_json(self))
        components = {name: _without_empty(to_json(one)) for name, one in self.components.items()}
        adapters = {"adapters": [_without_empty(to_json(one)) for one in self.adapters]}
        return {**content, "components": components, **(adapters if self.adapters else {})}

    @classmethod
    def from_dict(cls, content: Any, source: str = MANIFEST_NAME) -> "Manifest":
        """Check and take in a JSON object.

        Raises:
            ValueError: for anything unknown, of another type, or unsafe; begins with `source`.
        """
        manifest = from_json(cls, content, source, version=FORMAT_VERSION)
        manifest._check(source)
        return manifest

    def _check(self, source: str) -> None:
        if not self.components:
            raise ValueError(f"{source}: names no components, expected vqvae or prior_0, ...")
        for name, reference in self.components.items():
            if not COMPONENT.fullmatch(name):
                raise ValueError(
                    f"{source}: unknown component {shorten(name)}, expected vqvae or prior_0 to "
                    "prior_9"
                )
            _check_reference(reference, f"{source}, {name}")
        for adapter in self.adapters:
            if adapter.component not in self.components or adapter.component == VQVAE:
                raise ValueError(
                    f"{source}, adapters: expected a component among the model's priors, found "
                    f"{shorten(adapter.component)}"
                )
            _check_reference(adapter, f"{source}, adapters")
        for name, value in (("licence", self.licence), ("name", self.name)):
            _check_text(value, f"{source}, {name}")
        refuse_unknown(self.notes, NOTED, f"{source}, notes")
        for name, value in self.notes.items():
            _check_text(value, f"{source}, notes, {name}")
        check_generation(self.generation, source)


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
    return Manifest.from_dict(read_json(path, max_bytes=MAX_BYTES), str(path))


def save_manifest(folder: Path | str, manifest: Manifest) -> Path:
    """Write `jukebox.json` into `folder`, atomically; returns its path.

    Beside it goes a `config.json`, which says to transformers' Auto classes that this is a model.

    Raises:
        ValueError: if the manifest would not be accepted on reading.
    """
    path = Path(folder) / MANIFEST_NAME
    write_text(path, manifest_text(manifest))
    write_text(Path(folder) / "config.json", ROOT_CONFIG)
    return path


def manifest_text(manifest: Manifest) -> str:
    """What `jukebox.json` holds; `ValueError` if it would not be accepted on reading."""
    content = manifest.to_dict()
    Manifest.from_dict(content, "the manifest to be written")
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


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
            f"{source}: subfolder {shorten(subfolder)} must be a plain path below the model's "
            "folder"
        )
    return subfolder


def check_generation(generation: Any, source: str = "generation") -> dict[str, Any]:
    """Return the generation defaults of a manifest if all of them make sense.

    Raises:
        ValueError: naming the first that does not.
    """
    source = f"{source}, generation"
    content = _object(generation, source)
    refuse_unknown(content, (*SETTINGS, *_SECONDS), source)
    levels: dict[str, dict[str, Any]] = {}
    for name, value in content.items():
        if name in _SECONDS:
            if not (_is_number(value) and 0 < value <= MAX_SECONDS):
                raise ValueError(
                    f"{source}: expected positive {name}, {MAX_SECONDS:,} at most, "
                    f"found {shorten(value)}"
                )
            continue
        for level, one in _object(value, f"{source}, {name}").items():
            if not re.fullmatch("[0-9]", level):
                raise ValueError(
                    f"{source}, {name}: {shorten(level)} is not a level; expected 0 to 9"
                )
            if one is None:
                raise ValueError(f"{source}, level {level}: expected a value of {name}, found None")
            levels.setdefault(level, {})[name] = one
    for level, settings in levels.items():
        try:
            LevelSettings(**settings)
        except ValueError as error:
            raise ValueError(f"{source}, level {level}: {error}") from None
    return content


_SECONDS = ("seconds", "total_seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _object(content: Any, source: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected an object, found {shorten(content)}")
    return content


def _check_text(text: str | None, source: str) -> None:
    if text is not None and not (text.isprintable() and text.strip() and len(text) <= TEXT_LIMIT):
        raise ValueError(
            f"{source}: expected text of at most {TEXT_LIMIT} characters on one line, "
            f"found {shorten(text)}"
        )


def _check_reference(reference: ComponentReference, source: str) -> None:
    subfolder, repo_id, revision = reference.subfolder, reference.repo_id, reference.revision
    if subfolder is None and repo_id is None:
        raise ValueError(f"{source}: expected a subfolder, or the repo_id of another repository")
    if subfolder is not None:
        check_subfolder(subfolder, source)
    if repo_id is not None:
        _check_text(repo_id, f"{source}, repo_id")
        try:
            validate_repo_id(repo_id)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    if revision is not None and (
        repo_id is None or not REVISION.fullmatch(revision) or ".." in revision
    ):
        raise ValueError(
            f"{source}: revision {shorten(revision)} should be a commit, tag or branch of repo_id"
        )


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value not in (None, {}, [], "")}

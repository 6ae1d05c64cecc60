"""Repositories of the former transformers port, converted once into the local cache."""

import hashlib
import logging
from pathlib import Path

from huggingface_hub import constants

from jukebox_hf.files import safe_file_name
from jukebox_hf.hub.conversion.former_port import MODEL_TYPE, port_files
from jukebox_hf.hub.locations import HubRepository, LocalFolder, Location
from jukebox_hf.hub.manifest import MANIFEST_NAME
from jukebox_hf.records import read_json

logger = logging.getLogger(__name__)

# Part of the names of converted models in the cache: raise it when conversion changes.
CONVERSION_VERSION = 1


def is_port_location(location: Location) -> bool:
    """Whether a folder or repository has the layout of the former port, and no manifest of ours."""
    if location.file(MANIFEST_NAME) is not None:
        return False
    config = location.file("config.json")
    return config is not None and read_json(config).get("model_type") == MODEL_TYPE


def converted_port(
    location: Location, cache_dir: Path | None
) -> tuple[LocalFolder, tuple[str, ...]]:
    """A converted copy of a repository of the former port, made unless the cache has it."""
    cache = cache_dir or Path(constants.HF_HOME)
    target = cache / "jukebox_hf" / "converted" / _cache_name(location)
    converted = LocalFolder(target, location if isinstance(location, HubRepository) else None)
    if (target / MANIFEST_NAME).is_file():
        return converted, ()
    from jukebox_hf.hub.conversion.converting import convert

    folder = location.folder(None, port_files(location))
    layout = "the layout of the former transformers port"
    logger.warning("%s has %s; converting it once to %s", location, layout, target)
    try:
        conversion = convert([folder], target)
    except FileExistsError:  # another process was faster
        if not (target / MANIFEST_NAME).is_file():
            raise
        return converted, ()
    for note in conversion.notes:
        logger.warning("%s", note)
    first = f"{location} had {layout}; it was converted to {target}"
    return converted, (first, *conversion.notes)


def _cache_name(location: Location) -> str:
    """A name for the converted copy that changes when the original does."""
    if isinstance(location, HubRepository):
        state = f"{location.repo_id}@{location.commit}"
        name = location.repo_id.replace("/", "--")
    else:
        root = location.root.resolve()
        files = sorted(path for path in root.iterdir() if path.is_file())
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        state, name = f"{root}: {stats}", root.name
    key = hashlib.sha256(f"{CONVERSION_VERSION} {state}".encode()).hexdigest()[:16]
    return f"{safe_file_name(name)}-{key}"

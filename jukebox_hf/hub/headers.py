"""What the weights of a component are, from their headers: on disk, in the cache, or on the Hub.

Of weights that are only on the Hub a few kilobytes are fetched, never the tensors.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.hub.adapters import ADAPTER_WEIGHTS, NEW_ROWS
from jukebox_hf.hub.loading import INDEX, SINGLE, check_sizes, shard_names
from jukebox_hf.hub.locations import (
    SETTINGS_FILES,
    HubRepository,
    Location,
)
from jukebox_hf.hub.tensor_files import DTYPES, Header, read_headers
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.refusals import hub_refusals
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

# What training keeps about codebooks beside the vectors; no parameters.
STATISTICS = (".codebook.sums", ".codebook.counts", ".codebook.initialized")


class StoredWeights(NamedTuple):
    """The weights of a component, or of an adapter.

    Attributes:
        headers: by name of the tensor.
        num_parameters: without the statistics of codebooks.
        num_bytes: of all tensors.
        parameters_by_dtype: by name, such as "float16", the most frequent first.
    """

    headers: dict[str, Header]
    num_parameters: int
    num_bytes: int
    parameters_by_dtype: dict[str, int]


def stored_weights(
    location: Location, subfolder: str | None, *, is_adapter: bool = False
) -> StoredWeights | None:
    """The weights of a component; `None` if they are not cached and the Hub may not be asked.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if a header is damaged.
        OSError: if the Hub refuses.
    """
    folder = location.folder(subfolder, SETTINGS_FILES)
    names = [SINGLE]
    if is_adapter:
        names = [ADAPTER_WEIGHTS]
    elif (folder / INDEX).is_file() and not (folder / SINGLE).is_file():
        names = shard_names(folder / INDEX)
    headers: dict[str, Header] = {}
    for name in names:
        found = _headers(location, folder, subfolder, name)
        if found is None:
            return None
        headers |= found
    if is_adapter and _exists(location, folder, subfolder, NEW_ROWS):
        headers |= _headers(location, folder, subfolder, NEW_ROWS) or {}
    return _count(headers)


def check_headers(weights: StoredWeights, config: VQVAEConfig | PriorConfig, source: str) -> None:
    """Raise `ValueError` unless the tensors are of the sizes that a config claims."""
    shapes = {name: header.shape for name, header in weights.headers.items()}
    check_sizes(config, shapes, source)


def _headers(
    location: Location, folder: Path, subfolder: str | None, name: str
) -> dict[str, Header] | None:
    path = folder / name
    if not path.is_file() and isinstance(location, HubRepository):
        cached = _cached(location, subfolder, name)
        if cached is None:
            return _remote_headers(location, subfolder, name)
        path = cached
    if not path.is_file():
        raise FileNotFoundError(
            f"{location}: expected weights in {_join(subfolder, name)}, found none"
        )
    return read_headers(path)


def _exists(location: Location, folder: Path, subfolder: str | None, name: str) -> bool:
    if (folder / name).is_file():
        return True
    if not isinstance(location, HubRepository) or _offline(location):
        return False
    from huggingface_hub import HfApi

    with hub_refusals(location.repo_id, location.commit):
        return bool(
            HfApi().file_exists(location.repo_id, _join(subfolder, name), revision=location.commit)
        )


def _cached(location: HubRepository, subfolder: str | None, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        location.repo_id,
        _join(subfolder, name),
        cache_dir=location.cache_dir,
        revision=location.commit,
    )
    return Path(found) if isinstance(found, str) else None


def _remote_headers(
    location: HubRepository, subfolder: str | None, name: str
) -> dict[str, Header] | None:
    if _offline(location):
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, SafetensorsParsingError

    path = _join(subfolder, name)
    try:
        with hub_refusals(location.repo_id, location.commit):
            found = HfApi().parse_safetensors_file_metadata(
                location.repo_id, path, revision=location.commit
            )
    except SafetensorsParsingError as error:
        raise ValueError(f"{location}: {path} is damaged: {error}") from error
    except HfHubHTTPError as error:  # an entry that is not there
        raise FileNotFoundError(f"{location}: expected weights in {path}, found none") from error
    headers = {}
    for key, tensor in found.tensors.items():
        shape: Any = tensor.shape
        sizes = isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)
        if tensor.dtype not in DTYPES or not sizes:
            raise ValueError(f"{location}: {path} is damaged: {key[:80]!r} has no size")
        headers[key] = Header(tuple(shape), tensor.dtype)
    return headers


def _offline(location: HubRepository) -> bool:
    from huggingface_hub import constants

    return location.local_files_only or bool(constants.HF_HUB_OFFLINE)


def _join(subfolder: str | None, name: str) -> str:
    return f"{subfolder}/{name}" if subfolder else name


def _count(headers: Mapping[str, Header]) -> StoredWeights:
    by_dtype: dict[str, int] = {}
    total = 0
    for name, header in headers.items():
        size = math.prod(header.shape)
        word, item_bytes = DTYPES[header.dtype]
        total += size * item_bytes
        if not name.endswith(STATISTICS):
            by_dtype[word] = by_dtype.get(word, 0) + size
    ordered = dict(sorted(by_dtype.items(), key=lambda item: -item[1]))
    return StoredWeights(dict(headers), sum(ordered.values()), total, ordered)

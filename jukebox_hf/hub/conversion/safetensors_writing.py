"""Weights to safetensors files, with one tensor in memory at a time.

The files and the index are what `save_pretrained` writes, so `from_pretrained` reads them.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.hub.folders import write_json
from jukebox_hf.hub.tensor_files import DTYPES, torch_dtype_of

SHARD_BYTES = 5_000_000_000
HEADER_ALIGNMENT = 8
DTYPE_NAMES = {torch_dtype_of(name): name for name in DTYPES}


class PlannedTensor(NamedTuple):
    """A tensor to be written. `read` makes it, of this shape and dtype, when its turn comes."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        """What it takes on disk."""
        return int(torch.Size(self.shape).numel()) * self.dtype.itemsize


Progress = Callable[[int], None]  # called with the bytes of each tensor that was written


def write_weights(
    folder: Path,
    tensors: Mapping[str, PlannedTensor],
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> int:
    """Write `model.safetensors`, or numbered shards and their index where that is too large.

    Returns:
        The bytes of all tensors together.
    """
    shards = plan_shards({name: tensor.num_bytes for name, tensor in tensors.items()}, shard_bytes)
    total = sum(tensor.num_bytes for tensor in tensors.values())
    if len(shards) == 1:
        write_safetensors(folder / "model.safetensors", tensors, progress)
        return total
    places: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in names}, progress)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / "model.safetensors.index.json", index)
    return total


def plan_shards(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Names per shard, in the order given; a shard is closed before it would exceed `shard_bytes`.

    >>> plan_shards({"a": 3, "b": 3, "c": 9, "d": 1}, 6)
    [['a', 'b'], ['c'], ['d']]
    """
    if shard_bytes < 1:
        raise ValueError(f"a shard needs at least 1 byte, got {shard_bytes}")
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def write_safetensors(
    path: Path, tensors: Mapping[str, PlannedTensor], progress: Progress | None = None
) -> None:
    """Write one file: first the header, then tensor after tensor.

    Raises:
        OSError: if the disk is full.
    """
    # Wide numbers first keeps every tensor aligned, as the library's own writer does.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in names:
        tensor = tensors[name]
        end = position + tensor.num_bytes
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            _write_tensor(file, tensors[name])
            if progress is not None:
                progress(tensors[name].num_bytes)
        file.flush()
        os.fsync(file.fileno())


def _write_tensor(file: BinaryIO, planned: PlannedTensor) -> None:
    tensor = planned.read()
    assert tuple(tensor.shape) == planned.shape, "a tensor differs from its plan"
    assert tensor.dtype == planned.dtype, "a tensor differs from its plan"
    data: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    file.write(data)

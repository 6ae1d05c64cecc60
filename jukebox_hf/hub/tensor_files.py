"""Tensors of a file, read one at a time: `.pth.tar` and `.bin` (zip or legacy), or safetensors.

Opening a file tells names, shapes and dtypes; the values stay on disk until `StoredTensor.read`.
Pickled files pass through torch's restricted unpickler alone (`weights_only=True`).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar, cast

from safetensors import safe_open

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Storages of a legacy file up to this size are read when it is opened, larger ones when used.
EAGER_BYTES = 1 << 16
ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
# What safetensors calls a dtype: what torch calls it, and the bytes of a number.
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
Found = TypeVar("Found")


class Header(NamedTuple):
    """One tensor: its shape, and its dtype as safetensors calls it ("F32")."""

    shape: tuple[int, ...]
    dtype: str


class StoredTensor(NamedTuple):
    """One tensor on disk. `read` returns its values; nobody may write into what it returns."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


class TensorFile(NamedTuple):
    """What one file holds: tensors by name, and beside them the plain values of a checkpoint."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    values: Mapping[str, Any]


def open_tensors(path: Path) -> TensorFile:
    """Open one checkpoint without reading its large tensors.

    Of a pickled dict that has a `model` entry (the release's files), `tensors` is that state dict
    and `values` the rest; of any other, `tensors` is the dict itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is truncated, is no checkpoint, or would run code when read.
    """
    if path.suffix == ".safetensors":
        return _opened(path, _open_safetensors)
    return _sort(path, *_opened(path, _load_pickled))


def read_headers(path: Path) -> dict[str, Header]:
    """What a safetensors file holds, by name, without torch; raises as `open_tensors`."""
    return _opened(path, lambda path: _headers(safe_open(path, framework="numpy")))


def torch_dtype_of(name: str) -> torch.dtype:
    """The dtype that safetensors calls `name`."""
    import torch

    dtype: torch.dtype = getattr(torch, DTYPES[name][0])
    return dtype


def _opened(path: Path, read: Callable[[Path], Found]) -> Found:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return read(path)
    except Exception as error:  # what damaged files make the two libraries raise has no common base
        raise ValueError(_explain(path, error)) from error


def _open_safetensors(path: Path) -> TensorFile:
    file: Any = safe_open(path, framework="pt")  # mapped into memory for as long as a reader lives
    tensors = {
        name: StoredTensor(
            header.shape, torch_dtype_of(header.dtype), partial(file.get_tensor, name)
        )
        for name, header in _headers(file).items()
    }
    return TensorFile(path, tensors, {})


def _headers(file: Any) -> dict[str, Header]:
    headers = {}
    for name in file.keys():  # noqa: SIM118 (the file is no dict)
        part = file.get_slice(name)
        headers[name] = Header(tuple(part.get_shape()), part.get_dtype())
        if headers[name].dtype not in DTYPES:
            raise ValueError(f"tensors of {headers[name].dtype} are not read")
    return headers


Lazy = Callable[["Tensor"], Callable[[], "Tensor"]]


def _load_pickled(path: Path) -> tuple[Any, Lazy]:
    """Return what the file holds, and what makes the reader of one of its tensors."""
    import torch

    with warnings.catch_warnings(), path.open("rb") as file:
        # torch 2.14 and later say that they check sparse tensors, which `_sort` refuses anyway
        warnings.filterwarnings("ignore", "Validating sparse tensor invariants", UserWarning)
        if file.read(len(ZIP_START)) == ZIP_START:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return content, lambda tensor: tensor.detach
        file.seek(0)
        skipping = _SkippingFile(file)
        content = torch.load(cast(BinaryIO, skipping), map_location="cpu", weights_only=True)
        return content, lambda tensor: _legacy_reader(path, tensor, skipping.skipped)


class _SkippingFile(io.RawIOBase):
    """A file that torch loads a legacy checkpoint from, without reading its large storages.

    Checkpoints from before torch 1.6 are no zip files, and torch cannot map them into memory:
    reading one takes as much memory as it is long, optimizer state included. This one leaves the
    memory of a large storage untouched, and notes at which address it stands and where in the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self.skipped: dict[int, int] = {}  # address in memory: position in the file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        return self.file.readline(-1 if size is None else size)

    def readinto(self, buffer: Any) -> int:
        import torch

        view = memoryview(buffer).cast("B")
        position = self.file.tell()
        if len(view) <= EAGER_BYTES or position + len(view) > self.size:
            return self.file.readinto(view)  # type: ignore[attr-defined, no-any-return]
        self.skipped[torch.frombuffer(view, dtype=torch.uint8).data_ptr()] = position
        self.file.seek(len(view), io.SEEK_CUR)
        return len(view)


def _legacy_reader(path: Path, tensor: Tensor, skipped: Mapping[int, int]) -> Callable[[], Tensor]:
    position = skipped.get(tensor.untyped_storage().data_ptr())
    if position is None:
        return tensor.detach  # small, read with the file
    start = position + int(tensor.storage_offset()) * tensor.element_size()
    return partial(_read_legacy, path, start, tensor.dtype, tensor.shape, tensor.stride())


def _read_legacy(
    path: Path, start: int, dtype: torch.dtype, shape: Sequence[int], stride: Sequence[int]
) -> Tensor:
    import torch

    steps = zip(shape, stride, strict=True)
    values = torch.empty(1 + sum((size - 1) * step for size, step in steps), dtype=dtype)
    data: Any = values.view(torch.uint8).numpy()
    with path.open("rb") as file:
        file.seek(start)
        if file.readinto(data) != values.nbytes:
            raise ValueError(f"{path}: the file ends within its tensors; fetch it again")
    return values.as_strided(tuple(shape), tuple(stride))


def _sort(path: Path, content: Any, lazy: Lazy) -> TensorFile:
    """Tell tensors from the rest, and drop what was loaded in full."""
    import torch

    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a dict of tensors, found {type(content).__name__}")
    state, values = content, {}
    if "model" in content:
        state = content["model"]
        values = {key: content[key] for key in content if key not in ("model", "opt")}
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: expected tensors under 'model', found {type(state).__name__}")
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            kind = type(value).__name__
            raise ValueError(f"{path}: expected named tensors, found {kind} under {name!r}")
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{path}: expected dense tensors, {name!r} is something else")
        tensors[name] = StoredTensor(tuple(value.shape), value.dtype, lazy(value))
    return TensorFile(path, tensors, values)


def _explain(path: Path, error: Exception) -> str:
    """One sentence on why `path` could not be read, from how it begins and from what was raised."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(128)
    expected = "expected a checkpoint (.pth.tar, .bin or .safetensors)"
    forbidden = re.search(
        r"GLOBAL (\S+) was not an allowed global|whose module (\S+) is bl", str(error)
    )
    if forbidden:
        found = forbidden.group(1) or forbidden.group(2)
        return (
            f"{path}: holds more than tensors and plain values (found {found}), and reading that "
            "could run code; it was not loaded. Save it again as a dict of tensors"
        )
    if not start:
        return f"{path}: {expected}, found an empty file"
    if start.startswith(b"version https://git-lfs"):
        return f"{path}: {expected}, found a Git LFS pointer; fetch the file itself (git lfs pull)"
    if start.startswith((ZIP_START, LEGACY_START[:5])) or path.suffix == ".safetensors":
        return (
            f"{path}: the checkpoint is damaged or incomplete ({size:,} bytes); fetch it again. "
            f"Found: {_first_sentence(error)}"
        )
    shown = start[:24].decode("ascii", errors="replace")
    return f"{path}: {expected}, found a file that begins with {shown!r}"


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return re.split(r"(?:\.\s|\n)", text)[0].strip()

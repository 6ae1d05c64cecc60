"""Checkpoints of every kind read alike, one tensor at a time; what is no checkpoint is refused."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from jukebox_hf.hub.tensor_files import EAGER_BYTES, open_tensors

LARGE = EAGER_BYTES  # numbers; four times as many bytes as are read at once


def tensors() -> dict[str, torch.Tensor]:
    """Small and large ones, of several types, some sharing memory."""
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(LARGE, generator=generator)
    return {
        "small": torch.arange(6.0).reshape(2, 3),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "large": large,
        "half": large.half(),
        "bfloat": large.bfloat16(),
        "transposed": large.reshape(256, -1).t(),
        "slice": large[1000:2000].reshape(10, 100),
    }


def save(path: Path, content: Any, *, legacy: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_tensors_come_back(tmp_path: Path, legacy: bool) -> None:
    expected = tensors()
    path = save(tmp_path / "a.pth.tar", {"model": expected, "hps": {"a": 1}}, legacy=legacy)
    found = open_tensors(path)
    assert found.values == {"hps": {"a": 1}}
    assert list(found.tensors) == list(expected)
    for name, stored in found.tensors.items():
        assert stored.shape == expected[name].shape
        assert stored.dtype == expected[name].dtype
        assert torch.equal(stored.read(), expected[name])


def test_large_tensors_of_legacy_files_stay_on_disk_until_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth.tar", {"model": tensors()}, legacy=True)
    found = open_tensors(path)
    with path.open("rb+") as file:  # what lies on disk is what will be read
        content = bytearray(file.read())
        at = content.find(tensors()["large"].numpy().tobytes())
        file.seek(at)
        file.write(torch.tensor([42.0]).numpy().tobytes())
    assert found.tensors["large"].read()[0] == 42
    assert found.tensors["transposed"].read()[0, 0] == 42  # the same memory when it was saved


def test_safetensors_come_back(tmp_path: Path) -> None:
    expected = {name: each.clone().contiguous() for name, each in tensors().items()}
    save_file(expected, tmp_path / "a.safetensors")
    found = open_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(each.read(), expected[name]) for name, each in found.tensors.items())
    assert found.tensors["bfloat"].dtype == torch.bfloat16


def test_a_plain_dict_of_tensors_is_read_as_such(tmp_path: Path) -> None:
    path = save(tmp_path / "pytorch_model.bin", {"a": torch.ones(2)}, legacy=False)
    assert list(open_tensors(path).tensors) == ["a"]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [20, 200, 5000, 0.5, -1])
def test_truncated_files_are_refused(tmp_path: Path, legacy: bool, kept: float) -> None:
    path = save(tmp_path / "a.pth.tar", {"model": tensors()}, legacy=legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else int(kept)])
    with pytest.raises(ValueError, match=r"a\.pth\.tar: the checkpoint is damaged or incomplete"):
        open_tensors(path)


def test_truncated_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        open_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"Some lyrics\nthat somebody wrote", "begins with 'Some lyrics"),
        (b"<!doctype html>", "begins with '<!doctype html>'"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (random.Random(0).randbytes(100), "begins with"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vqvae.pth.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_tensors(path)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": {"a": torch.ones(2)}, "hps": Harmful()}
    path = save(tmp_path / "a.pth.tar", content, legacy=legacy)
    with pytest.raises(ValueError, match=r"found (posix|nt)\.?\w*\), and reading that could run"):
        open_tensors(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "expected a dict of tensors, found list"),
        ({"model": torch.ones(2)}, "expected tensors under 'model', found Tensor"),
        ({"model": {"a": 1}}, "expected named tensors, found int under 'a'"),
        ({"model": {3: torch.ones(2)}}, "expected named tensors, found Tensor under 3"),
        ({"a": torch.eye(2).to_sparse()}, "expected dense tensors"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path / "a.pth.tar", content, legacy=False)
    with pytest.raises(ValueError, match=message):
        open_tensors(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_tensors(tmp_path / "nowhere.pth.tar")

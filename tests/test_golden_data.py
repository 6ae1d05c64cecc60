"""The golden data itself: it is found, complete, and carries nothing it may not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests import golden_data
from tests.golden_data import COMMITTED_SUBSET, find_golden_root, golden, golden_stems, load_golden


def test_named_set_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUKEBOX_GOLDEN", str(tmp_path))
    assert find_golden_root() == tmp_path.resolve()
    monkeypatch.setenv("JUKEBOX_GOLDEN", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="JUKEBOX_GOLDEN should name a folder"):
        find_golden_root()


def test_missing_files_skip_with_their_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(golden_data, "GOLDEN_ROOT", tmp_path)
    with pytest.raises(pytest.skip.Exception, match=r"has no vqvae/eval\.safetensors"):
        load_golden("vqvae/eval")
    assert golden_stems("priors/*") == []


def test_what_the_committed_subset_has_lost_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(golden_data, "GOLDEN_ROOT", tmp_path)
    monkeypatch.setattr(golden_data, "COMMITTED_SUBSET", tmp_path)
    for ask in (lambda: golden("vqvae/eval.json"), lambda: golden_stems("priors/*_forward")):
        with pytest.raises(pytest.fail.Exception, match="has lost"):
            ask()
    with pytest.raises(pytest.skip.Exception, match="has no text/ids"):
        golden("text/ids")
    assert golden_stems("small/small_*_train") == []


def test_what_only_larger_sets_have_is_not_in_the_committed_one() -> None:
    for pattern in golden_data.ONLY_IN_LARGER_SETS:
        assert not list(COMMITTED_SUBSET.glob(pattern)), pattern


def test_integers_come_as_indices() -> None:
    tensors, metadata = load_golden("vqvae/eval")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32, torch.int64}
    assert set(metadata["tensors"]) == set(tensors)
    assert "vqvae/eval" in golden_stems("vqvae/*")
    assert golden("vqvae").is_dir()


def test_committed_subset_is_whole() -> None:
    described = [path for path in COMMITTED_SUBSET.rglob("*.safetensors")]
    assert len(described) >= 8
    for path in described:
        metadata = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if "tensors" not in metadata:  # a list of cases
            continue
        with safe_open(path, framework="pt") as stored:
            shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
        assert shapes == {name: entry["shape"] for name, entry in metadata["tensors"].items()}


def test_committed_subset_carries_no_label_lists() -> None:
    """They are under the released weights' non-commercial licence."""
    assert not [path for path in COMMITTED_SUBSET.rglob("*") if "ids" in path.stem.split("_")]

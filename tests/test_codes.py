"""The codes file: what goes in comes back, and what is wrong is said in one sentence."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from jukebox_hf.codes import Codes, check_codes_path, load_codes, save_codes

HOPS = (8, 32, 128)


def make_codes(**changes: Any) -> Codes:
    generator = torch.Generator().manual_seed(0)
    arguments: dict[str, Any] = {
        "levels": {
            level: torch.randint(2048, (2, 1280 // hop), generator=generator)
            for level, hop in enumerate(HOPS)
        },
        "hop_lengths": HOPS,
        "sampling_rate": 44100,
        "fingerprint": "sha256:abc",
        "origin": {"source": "Café.wav", "seed": "7"},
    }
    return Codes(**{**arguments, **changes})


def write_file(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    defaults = {"format_version": "1", "hop_lengths": "[8, 32, 128]", "sampling_rate": "44100"}
    save_file(tensors, path, metadata={**defaults, **metadata})
    return path


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    codes = make_codes()
    save_codes(tmp_path / "x.safetensors", codes)
    loaded = load_codes(tmp_path / "x.safetensors")
    for level in range(3):
        assert loaded.levels[level].dtype == torch.int64
        assert torch.equal(loaded.levels[level], codes.levels[level])
    assert (loaded.hop_lengths, loaded.sampling_rate) == (HOPS, 44100)
    assert (loaded.fingerprint, loaded.origin) == (codes.fingerprint, codes.origin)
    assert (loaded.takes, loaded.num_samples(2), loaded.num_samples(0)) == (2, 1280, 1280)
    assert loaded.duration_seconds(1) == 1280 / 44100


def test_the_file_is_what_the_format_says(tmp_path: Path) -> None:
    save_codes(tmp_path / "x", make_codes())
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert sorted(file.keys()) == ["level_0", "level_1", "level_2"]
        assert file.get_tensor("level_2").dtype == torch.int16
        assert set(file.metadata()) == {
            "format_version",
            "hop_lengths",
            "sampling_rate",
            "fingerprint",
            "origin",
        }


def test_some_levels_no_fingerprint_and_empty_levels_are_fine(tmp_path: Path) -> None:
    levels = {2: torch.tensor([[3, 4]]), 1: torch.zeros(1, 0, dtype=torch.int32)}
    codes = make_codes(levels=levels, fingerprint=None, origin={})
    save_codes(tmp_path / "x", codes)
    loaded = load_codes(tmp_path / "x")
    assert list(loaded.levels) == [1, 2]
    assert loaded.fingerprint is None
    assert loaded.levels[1].shape == (1, 0)


def test_int16_range_is_whole_and_checked(tmp_path: Path) -> None:
    edges = torch.tensor([[0, 32767]])
    save_codes(tmp_path / "x", make_codes(levels={2: edges}))
    assert torch.equal(load_codes(tmp_path / "x").levels[2], edges)
    with pytest.raises(ValueError, match=r"holds code 32768, but a codes file stores 0\.\.32767"):
        save_codes(tmp_path / "x", make_codes(levels={2: torch.tensor([[32768]])}))
    assert torch.equal(load_codes(tmp_path / "x").levels[2], edges)  # the old file is intact


def test_audio_of_odd_length_is_accepted() -> None:
    lengths = {0: 1000 // 8, 1: 1000 // 32, 2: 1000 // 128}  # 1000, 992 and 896 samples
    levels = {level: torch.zeros(1, length, dtype=torch.int64) for level, length in lengths.items()}
    assert make_codes(levels=levels).num_samples(0) == 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": {}}, "at least one level"),
        ({"levels": {3: torch.zeros(1, 1, dtype=torch.int64)}}, r"levels must be 0\.\.2"),
        ({"levels": {2: torch.zeros(1, 4)}}, "must be integers, got torch.float32"),
        ({"levels": {2: torch.zeros(4, dtype=torch.int64)}}, r"\(takes, time\)"),
        ({"levels": {2: torch.zeros(0, 4, dtype=torch.int64)}}, "at least one take"),
        ({"levels": {2: torch.tensor([[-1]])}}, "must not be negative, got -1"),
        ({"levels": {2: [[1]]}}, "must be a tensor, got list"),
        (
            {"levels": {1: torch.ones(2, 4).long(), 2: torch.ones(1, 1).long()}},
            "2 at level 1 and 1 at level 2",
        ),
        (
            {"levels": {1: torch.ones(1, 8).long(), 2: torch.ones(1, 1).long()}},
            "level 1 covers 256 samples but level 2 above it only 128",
        ),
        ({"hop_lengths": ()}, "at least one level"),
        ({"hop_lengths": (128, 32, 8)}, "must grow from the finest level"),
        ({"hop_lengths": (8, 12)}, "a multiple of the one before"),
        ({"sampling_rate": 0}, "sampling_rate must be a positive integer, got 0"),
        ({"sampling_rate": 44100.0}, "sampling_rate must be a positive integer"),
        ({"origin": {"seed": 7}}, "origin must map text to text"),
        ({"fingerprint": 7}, "fingerprint must be text or None"),
    ],
)
def test_impossible_codes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_codes(**changes)


def codec(**changes: Any) -> Any:
    settings = {
        "hop_lengths": HOPS,
        "sampling_rate": 44100,
        "codebook_size": 2048,
        "codebook_fingerprint": "sha256:abc",
    }
    return SimpleNamespace(**{**settings, **changes})


def test_codes_know_their_codec() -> None:
    codes = make_codes()
    codes.check_codec(codec())
    codes.check_codec(codec(codebook_fingerprint=None))
    make_codes(fingerprint=None).check_codec(codec(), fingerprint="sha256:other")


@pytest.mark.parametrize(
    ("changes", "loaded", "message"),
    [
        ({"hop_lengths": (8, 32)}, None, r"hop lengths \(8, 32, 128\) .* this model has \(8, 32\)"),
        ({"sampling_rate": 22050}, None, "at 44100 Hz, but this model has .* at 22050 Hz"),
        ({"codebook_size": 100}, None, "this model's codebooks have 100 codes"),
        ({"codebook_fingerprint": "sha256:x"}, None, "made with another codec"),
        ({"codebook_fingerprint": None}, "sha256:x", r"sha256:abc\.\.\., this model's is sha256:x"),
    ],
)
def test_codes_of_another_codec_are_refused(
    changes: dict[str, Any], loaded: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_codes().check_codec(codec(**changes), fingerprint=loaded)


def test_codes_do_not_share_what_the_caller_passed() -> None:
    levels, origin = {2: torch.tensor([[1]])}, {"a": "b"}
    codes = make_codes(levels=levels, origin=origin)
    levels.clear()
    origin.clear()
    assert list(codes.levels) == [2]
    assert codes.origin == {"a": "b"}


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "x"
    check_codes_path(path)
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="exists; choose another name"):
        check_codes_path(path)
    check_codes_path(path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_codes_path(tmp_path / "missing" / "x")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.safetensors"):
        with pytest.raises(FileNotFoundError, match="there is no codes file"):
            load_codes(path)


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"\x00" * 64, b"\xff" * 64])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a codes file, or it is damaged"):
        load_codes(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    save_codes(tmp_path / "x", make_codes())
    whole = (tmp_path / "x").read_bytes()
    for length in [*range(0, 400, 7), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            load_codes(tmp_path / "cut")


def test_a_header_with_flipped_bytes_never_gives_an_odd_error(tmp_path: Path) -> None:
    save_codes(tmp_path / "x", make_codes())
    whole = bytearray((tmp_path / "x").read_bytes())
    for position in range(0, 500):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "y").write_bytes(damaged)
        try:
            load_codes(tmp_path / "y")
        except ValueError as error:
            assert str(tmp_path / "y") in str(error)  # noqa: PT017 (only some bytes matter)


def test_weights_are_not_codes(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "x", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="but not a codes file: expected the metadata"):
        load_codes(tmp_path / "x")


LEVEL_2 = {"level_2": torch.zeros(1, 2, dtype=torch.int16)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (LEVEL_2, {"format_version": "2"}, "has format version 2, .* reads up to 1; upgrade"),
        (LEVEL_2, {"format_version": "new"}, "format_version must be a whole number"),
        (LEVEL_2, {"format_version": "9" * 5000}, "format_version must be a whole number"),
        (LEVEL_2, {"hop_lengths": "8,32"}, "hop_lengths is not valid JSON"),
        (LEVEL_2, {"hop_lengths": "7"}, "hop_lengths must be a list of integers, got 7"),
        (LEVEL_2, {"hop_lengths": '"832"'}, "must be a list of integers, got '832'"),
        (LEVEL_2, {"hop_lengths": "[8, 32, 128.0]"}, "each hop length"),
        (LEVEL_2, {"hop_lengths": "[8]"}, r"levels must be 0\.\.0 as in hop_lengths, got 2"),
        (LEVEL_2, {"sampling_rate": "-1"}, "sampling_rate must be a whole number"),
        (LEVEL_2, {"sampling_rate": "0"}, "sampling_rate must be a positive integer"),
        (LEVEL_2, {"origin": "[1]"}, "origin must map text to text"),
        (LEVEL_2, {"origin": "[" * 100000}, "origin is not valid JSON"),
        ({"level_x": LEVEL_2["level_2"]}, {}, "expected tensors level_0, level_1"),
        ({"weight": LEVEL_2["level_2"]}, {}, "got 'weight'"),
        ({"level_2": torch.zeros(1, 2)}, {}, "level_2 must be int16, got torch.float32"),
        ({"level_2": -torch.ones(1, 2).short()}, {}, "must not be negative"),
        ({}, {}, "at least one level"),
    ],
)
def test_hostile_files_are_refused_in_one_sentence(
    tmp_path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], message: str
) -> None:
    path = write_file(tmp_path / "x", tensors, **metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_codes(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_origin_that_is_kept_readable(tmp_path: Path) -> None:
    path = write_file(tmp_path / "x", LEVEL_2, origin=json.dumps({"source": "a"}))
    assert load_codes(path).origin == {"source": "a"}


def test_same_codes_give_the_same_file(tmp_path: Path) -> None:
    """safetensors writes metadata in a random order; files that are equal should look equal."""
    codes = Codes(
        {2: torch.arange(12).reshape(2, 6)}, (8, 32, 128), 44100, "é", {"b": "ü", "a": "x"}
    )
    contents = set()
    for number in range(8):
        save_codes(tmp_path / f"{number}.safetensors", codes)
        contents.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(contents) == 1
    assert load_codes(tmp_path / "0.safetensors").origin == codes.origin

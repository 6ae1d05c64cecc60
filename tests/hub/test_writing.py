"""What is written is what the libraries write and read, and folders appear whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jukebox_hf.hub.conversion.safetensors_writing import (
    PlannedTensor,
    plan_shards,
    write_safetensors,
    write_weights,
)
from jukebox_hf.hub.folders import check_free_space, new_model_folder
from jukebox_hf.records import read_json


def planned(tensors: dict[str, torch.Tensor]) -> dict[str, PlannedTensor]:
    return {
        name: PlannedTensor(tuple(each.shape), each.dtype, lambda each=each: each)
        for name, each in tensors.items()
    }


TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "half": torch.arange(3.0).half(),
    "bfloat": torch.arange(5.0).bfloat16(),
    "flag": torch.tensor(True),
    "a": torch.ones(4),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
}


def test_the_library_reads_our_files_as_its_own(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "ours.safetensors", planned(TENSORS))
    contiguous = {name: each.contiguous() for name, each in TENSORS.items()}
    save_file(contiguous, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    loaded = load_file(tmp_path / "ours.safetensors")
    assert set(loaded) == set(TENSORS)
    assert all(torch.equal(loaded[name], each) for name, each in TENSORS.items())
    assert (tmp_path / "ours.safetensors").stat().st_size == pytest.approx(
        (tmp_path / "theirs.safetensors").stat().st_size, abs=8
    )


def test_shards_have_an_index_as_in_transformers(tmp_path: Path) -> None:
    total = write_weights(tmp_path, planned(TENSORS), shard_bytes=30)
    index = read_json(tmp_path / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == total == sum(t.nbytes for t in TENSORS.values())
    assert set(index["weight_map"]) == set(TENSORS)
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], TENSORS[name])
    assert not (tmp_path / "model.safetensors").exists()


def test_shards_are_filled_in_order() -> None:
    assert plan_shards({"a": 3, "b": 3, "c": 9, "d": 1}, 6) == [["a", "b"], ["c"], ["d"]]
    assert plan_shards({}, 6) == [[]]
    with pytest.raises(ValueError, match="at least 1 byte"):
        plan_shards({"a": 1}, 0)


def test_progress_adds_up(tmp_path: Path) -> None:
    seen: list[int] = []
    total = write_weights(tmp_path, planned(TENSORS), progress=seen.append)
    assert sum(seen) == total
    assert len(seen) == len(TENSORS)


def stop_half_way(target: Path) -> None:
    existed = target.exists()
    with new_model_folder(target, overwrite=True) as folder:
        (folder / "jukebox.json").write_text("half")
        assert target.exists() == existed
        raise KeyboardInterrupt


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "below" / "model"
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(target)
    assert list((tmp_path / "below").iterdir()) == []
    with new_model_folder(target) as folder:
        (folder / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["model"]
    assert (target / "config.json").read_text() == "{}"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from jukebox_hf.hub.folders import new_model_folder\n"
        "with new_model_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'large').touch(); print(folder, flush=True); os._exit(9)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    left = Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    assert (left / "large").exists()
    other = left.with_name(left.name.replace(".model.", ".other."))
    other.mkdir()
    with new_model_folder(tmp_path / "model") as mine:
        with new_model_folder(tmp_path / "model"):
            pass  # another one at work is left alone
        assert mine.exists()
    assert not left.exists()
    assert other.exists()


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_folder_that_is_replaced_is_there_whenever_a_process_is_killed(
    tmp_path: Path, renamed: int
) -> None:
    target = tmp_path / "model"
    with new_model_folder(target) as folder:
        (folder / "jukebox.json").write_text("old")
    code = (
        "import os, sys; from pathlib import Path; from jukebox_hf.hub import folders\n"
        "rename, done = os.rename, []\n"
        "def killed(*paths):\n"
        f"    rename(*paths); done.append(paths); len(done) == {renamed} and os._exit(9)\n"
        "os.rename = killed\n"
        "with folders.new_model_folder(Path(sys.argv[1]), overwrite=True) as folder:\n"
        "    (folder / 'jukebox.json').write_text('new')"
    )
    command = [sys.executable, "-c", code, str(target)]
    assert subprocess.run(command, check=False).returncode == 9
    assert target.exists() == (renamed == 2)
    with pytest.raises(KeyboardInterrupt), new_model_folder(target, overwrite=True):
        raise KeyboardInterrupt  # the next attempt fails too
    assert (target / "jukebox.json").read_text() == ("old" if renamed == 1 else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_existing_folder_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    with new_model_folder(target) as folder:  # an empty one is as good as none
        (folder / "jukebox.json").write_text("old")
    with pytest.raises(FileExistsError, match="pass --overwrite"), new_model_folder(target):
        pass
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(target)
    assert (target / "jukebox.json").read_text() == "old"
    with new_model_folder(target, overwrite=True) as folder:
        (folder / "jukebox.json").write_text("new")
    assert (target / "jukebox.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_other_things_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with (
        pytest.raises(FileExistsError, match="something other than a model"),
        new_model_folder(tmp_path / "photos", overwrite=True),
    ):
        pass
    (tmp_path / "file").write_text("text")
    with (
        pytest.raises(FileExistsError, match="not a folder"),
        new_model_folder(tmp_path / "file", overwrite=True),
    ):
        pass


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    check_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(OSError, match=r"needs 1,000,000,000 GB, but its disk has"):
        check_free_space(tmp_path / "not" / "yet", 10**18)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff", "[" * 100_000])
def test_json_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.json: expected (a )?JSON"):
        read_json(tmp_path / "a.json")

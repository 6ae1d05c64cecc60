"""Atomic writing leaves the old file or the new one; file names work everywhere."""

import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jukebox_hf import files
from jukebox_hf.audio import save_audio
from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.files import safe_file_name, write_atomically
from jukebox_hf.hub.folders import new_model_folder
from jukebox_hf.training.checkpoints import durable_folder


def test_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write_atomically(path, lambda temporary: temporary.write_text("one") and None)
    write_atomically(path, lambda temporary: temporary.write_text("two") and None)
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["settings.json"]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, error: BaseException, apart: bool
) -> None:
    path = tmp_path / "codes"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write, apart=apart)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["codes"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that dies half way is a fork here")
def test_what_a_killed_writer_made_beside_its_file_goes_with_it(tmp_path: Path) -> None:
    """safetensors writes under a name of its own, then renames that file."""
    path = tmp_path / "codes"

    def die(temporary: Path) -> None:
        temporary.with_name(".tmp4Zq1xY").write_text("half of the n")
        os._exit(9)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, 3.12
        child = os.fork()
    if child == 0:
        write_atomically(path, die, apart=True)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert len(os.listdir(tmp_path)) == 1
    write_atomically(
        path, lambda temporary: temporary.write_text("new") and None, sweep=True, apart=True
    )
    assert os.listdir(tmp_path) == ["codes"]
    assert path.read_text() == "new"


def test_a_failed_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "codes"
    path.write_text("old")

    def refuse(*arguments: object) -> None:
        raise PermissionError("held by another program")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="held by another program"):
        write_atomically(path, lambda temporary: temporary.write_text("new") and None)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["codes"]


def test_the_content_is_on_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), real_fsync(fd))[1])
    monkeypatch.setattr(
        os, "replace", lambda a, b: (events.append("replace"), real_replace(a, b))[1]
    )
    write_atomically(tmp_path / "x", lambda temporary: temporary.write_bytes(b"x") and None)
    assert events[:2] == ["fsync", "replace"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    script = (
        "import os, runpy, sys\n"
        "write_atomically = runpy.run_path(sys.argv[1])['write_atomically']\n"
        "def write(temporary):\n"
        "    temporary.write_text('half')\n"
        "    os._exit(9)\n"
        "write_atomically(sys.argv[2], write)\n"
    )
    command = [sys.executable, "-c", script, str(files.__file__), str(path)]
    result = subprocess.run(command, check=False)
    assert result.returncode == 9
    assert path.read_text() == "old"
    left = sorted(os.listdir(tmp_path))
    assert [name.endswith(files.PARTIAL_SUFFIX) for name in left] == [True, False]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "ours", lambda temporary: temporary.write_text("x") and None)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_tensors_are_as_readable_as_any_other_file(tmp_path: Path) -> None:
    """safetensors by itself makes files that only their owner may read."""
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    tensors = {"one": torch.ones(1)}
    write_atomically(tmp_path / "file", lambda path: save_file(tensors, path))
    with new_model_folder(tmp_path / "model") as folder:
        (folder / "part").mkdir()
        save_file(tensors, folder / "part" / "file")
    with durable_folder(tmp_path / "checkpoint") as folder:
        save_file(tensors, folder / "file")
    for name in ("file", "model/part/file", "checkpoint/file"):
        assert (tmp_path / name).stat().st_mode == usual, name


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", lambda temporary: temporary.write_text("new") and None)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    def never(temporary: Path) -> None:
        raise AssertionError("must not be called")

    with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
        write_atomically(tmp_path / "missing" / "x", never)
    with pytest.raises(IsADirectoryError, match="it is a folder, expected a file name"):
        write_atomically(tmp_path, never)
    if os.name != "nt":
        with pytest.raises(OSError, match="it is a device or a pipe"):
            write_atomically("/dev/null", never)


def test_names_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ö" * 125 + ".json")  # 255 bytes
    write_atomically(path, lambda temporary: temporary.write_text("x") and None)
    assert path.read_text() == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Céline Dion", "Céline_Dion"),
        ("AC/DC", "AC_DC"),
        ('a\\b:c*d?e"f<g>h|i', "a_b_c_d_e_f_g_h_i"),
        ("  spaces\t and\nlines ", "spaces_and_lines"),
        ("..", "untitled"),
        ("", "untitled"),
        ("???", "untitled"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("ends with dot.", "ends_with_dot"),
        ("NUL", "NUL_"),
        ("com1.wav", "com1.wav_"),
        ("坂本龍一", "坂本龍一"),
        ("left\u202eright\x00\x07", "leftright"),
        ("bad\ud800surrogate", "badsurrogate"),
        ("$(rm -rf) `x`; !", "(rm_-rf)_x"),
    ],
)
def test_safe_names(text: str, expected: str) -> None:
    assert safe_file_name(text) == expected


def test_long_names_are_cut_between_characters() -> None:
    name = safe_file_name("é" * 500, max_bytes=101)
    assert name == "é" * 50


def test_safe_names_can_be_created(tmp_path: Path) -> None:
    for number in [*range(0, 0x300), *range(0x2000, 0x2070), 0x3000]:
        name = safe_file_name(f"a{chr(number)}b")
        (tmp_path / name).touch()
        assert "/" not in name
        assert "\\" not in name
    assert safe_file_name("x", fallback="y") == "x"


# --- folders ---


def fill(folder: Path, text: str) -> None:
    with files.new_folder(folder) as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "file").write_text(text)


def test_a_folder_takes_the_place_of_another_at_once(tmp_path: Path) -> None:
    fill(tmp_path / "model", "one")
    fill(tmp_path / "model", "two")
    assert (tmp_path / "model" / "part" / "file").read_text() == "two"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_folder_that_could_not_be_filled_leaves_the_old_one(
    tmp_path: Path, error: BaseException
) -> None:
    fill(tmp_path / "model", "old")

    def begin() -> None:
        with files.new_folder(tmp_path / "model") as temporary:
            (temporary / "file").write_text("half")
            raise error

    with pytest.raises(type(error)):
        begin()
    assert (tmp_path / "model" / "part" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("rename", [1, 2])
def test_killed_between_renames_the_old_folder_comes_back(tmp_path: Path, rename: int) -> None:
    """At no moment is there neither the old folder nor the new one to be had."""
    fill(tmp_path / "model", "old")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from runpy import run_path\n"
        "files = run_path(sys.argv[1])\n"
        "count, real = 0, os.rename\n"
        "def rename(*paths):\n"
        "    global count\n"
        "    count += 1\n"
        f"    if count == {rename}:\n"
        "        os._exit(9)\n"
        "    real(*paths)\n"
        "os.rename = rename\n"
        "with files['new_folder'](sys.argv[2]) as folder:\n"
        "    (folder / 'file').write_text('new')\n"
    )
    command = [sys.executable, "-c", script, str(files.__file__), str(tmp_path / "model")]
    assert subprocess.run(command, check=False).returncode == 9
    files.sweep_leftovers(tmp_path, "model")
    assert (tmp_path / "model" / "part" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_sweeping_leaves_what_others_write(tmp_path: Path) -> None:
    machine = files._machine()
    kept = [
        "x.partial",
        ".x.partial",
        f".x.{machine}-{os.getpid()}-01234567.partial",  # a process that lives
        ".x.elsewhere-1-01234567.partial",
        ".x.01234567.partial",  # of an earlier version, maybe at work
    ]
    for name in (*kept, f".x.{machine}-999999999-01234567.partial"):
        (tmp_path / name).touch()
    files.sweep_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    files.sweep_leftovers(tmp_path, everybody=True)
    assert sorted(os.listdir(tmp_path)) == [".x.partial", "x.partial"]


@pytest.mark.parametrize("name", ["song.codes.safetensors", "song.wav"])
def test_writing_again_sweeps_what_a_killed_process_left_of_the_same_file(
    tmp_path: Path, name: str
) -> None:
    dead = f"{files._machine()}-999999999-01234567.partial"
    (tmp_path / f".{name}.{dead}").touch()
    (tmp_path / f".other.{dead}").touch()
    if name.endswith(".wav"):
        save_audio(tmp_path / name, torch.zeros(1, 100), 8000)
    else:
        save_codes(tmp_path / name, Codes({0: torch.zeros(1, 4, dtype=torch.long)}, (8,), 8000))
    assert sorted(os.listdir(tmp_path)) == [f".other.{dead}", name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_permissions_are_given_without_touching_the_mask_of_the_process(tmp_path: Path) -> None:
    shared = tmp_path / "base"
    shared.touch(mode=0o600)
    (tmp_path / "folder").mkdir()
    os.link(shared, tmp_path / "folder" / "linked")
    (tmp_path / "folder" / "own").touch(mode=0o600)
    before = os.umask(0o027)
    try:
        files.give_usual_permissions(tmp_path / "folder")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "folder" / "own").stat().st_mode) == 0o640
    assert stat.S_IMODE(shared.stat().st_mode) == 0o600, "it is somebody else's file too"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        with open("/dev/full", "w", buffering=1) as file:
            file.write("x\n")

    with pytest.raises(OSError, match=r"No space left on device: '.*target'"):
        write_atomically(tmp_path / "target", write)


def test_a_disk_that_is_full_for_safetensors_is_full_for_us(tmp_path: Path) -> None:
    """Its errors are no `OSError`, and name no file."""

    def write(_: Path) -> None:
        save_file({"a": torch.zeros(1)}, tmp_path / "none" / "a")

    with pytest.raises(OSError, match=r"target cannot be written: .*os error"):
        write_atomically(tmp_path / "target", write)
    with (
        pytest.raises(OSError, match=r"folder cannot be written: "),
        files.new_folder(tmp_path / "folder") as folder,
    ):
        write(folder)
    assert not any(tmp_path.iterdir())

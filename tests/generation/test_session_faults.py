"""Sessions that were killed, hit a full disk, or come from a stranger."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from jukebox_hf.generation import preview
from jukebox_hf.generation.alignment import load_alignment
from jukebox_hf.generation.continuing import Source, continue_prompt
from jukebox_hf.generation.plan import Plan
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import MOST_SECONDS, Prompt
from jukebox_hf.hub import System
from jukebox_hf.locks import FolderInUseError, locked
from tests.generation.making import plan_of
from tests.tiny import tiny_system

SESSIONS = Path(__file__).parent / "sessions"


def finish(session: Session, system: System) -> None:
    for _ in session.run(system, device="cpu", previews=False):
        pass


# --- killed while it begins ---


def fork_that_dies_at_replacement(number: int, run: Callable[[], object]) -> bool:
    """Run in a copy of this process that dies before its n-th file takes its place; whether."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, 3.12
        child = os.fork()
    if child == 0:
        status, count, real = 1, 0, os.replace

        def replace(*paths: str) -> None:
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            real(*paths)

        try:
            os.replace = replace  # type: ignore[assignment]
            torch.set_num_threads(1)
            run()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def beginning(system: System, kind: str, source: Path) -> Plan:
    audio = torch.rand(1, 1500, generator=torch.Generator().manual_seed(0)) - 0.5
    if kind == "words":
        return plan_of(system, 2, to_level=2)
    if kind == "primers":
        return plan_of(system, dict.fromkeys((1, 2), Prompt(seconds=0.4, primer=audio)), to_level=2)
    start = Source(source).start(1)
    again = continue_prompt(start, seconds=0.2, lyrics=None)
    return plan_of(system, dict.fromkeys((1, 2, 3), again), to_level=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to save their imports")
@pytest.mark.parametrize("kind", ["words", "primers", "codes"])
def test_a_session_that_is_killed_while_it_begins_begins_again(
    kind: str, tiny: System, tmp_path: Path
) -> None:
    """At every file that is written, and before the first."""
    source = tmp_path / "source"
    first = Session.create(source, plan_of(tiny, to_level=2), device="cpu")
    finish(first, tiny)
    plan = beginning(tiny, kind, source)
    kills = 0
    for number in range(1, 20):
        folder = tmp_path / f"s{number}"
        killed = fork_that_dies_at_replacement(
            number, lambda folder=folder: Session.create(folder, plan, device="cpu")
        )
        if not killed:
            break
        kills += 1
        assert not Session.is_at(folder)
        session = Session.create(folder, plan, device="cpu")
        session.check_same(plan)
        assert not list(folder.rglob("*.partial"))
    assert kills == {"words": 1, "primers": 3, "codes": 4}[kind]
    finish(session, tiny)


def test_other_files_are_never_taken_for_a_beginning(tiny: System, tmp_path: Path) -> None:
    for number, names in enumerate((["codes/mine"], ["session.lock", "a.txt"], ["primers/01.wav"])):
        folder = tmp_path / str(number)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("mine")
        with pytest.raises(FileExistsError, match="is not empty and holds no session"):
            Session.create(folder, plan_of(tiny), device="cpu")
        assert all((folder / name).read_text() == "mine" for name in names)


def test_two_do_not_begin_in_one_folder(tiny: System, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with locked(tmp_path / "s"), pytest.raises(FolderInUseError):
        Session.create(tmp_path / "s", plan_of(tiny), device="cpu")


# --- links, pipes: archives of strangers ---


@pytest.fixture
def valuables(tmp_path: Path) -> Path:
    """A folder with things that a session must not touch."""
    folder = tmp_path / "valuables"
    folder.mkdir()
    for name in ("notes.txt", "song.wav", "process_01.json", "take_01.safetensors", "x.partial"):
        (folder / name).write_text("mine")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize(
    "link",
    [
        "session.lock",
        "session.json",
        "preview",
        "primers",
        "codes",
        "parts",
        "anything",
        "codes/take_01.safetensors",
        "primers/02.wav",
    ],
)
def test_links_in_a_session_are_never_followed(link: str, valuables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(SESSIONS / ("begun" if "primers" in link else "chains"), folder)
    place = folder / link
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    file = "notes.txt" if "." in link else ""
    place.symlink_to(valuables / file)
    with pytest.raises(OSError, match=r"is a link, and a session's folder holds only files"):
        Session.open(folder)
    if link != "session.json":
        place.unlink()
        if link in ("codes", "primers"):
            shutil.copytree(SESSIONS / ("begun" if link == "primers" else "chains") / link, place)
            session = Session.open(folder)
            shutil.rmtree(place)
            place.symlink_to(valuables / file)
        else:
            session = Session.open(folder)
            place.unlink(missing_ok=True)
            place.symlink_to(valuables / file)
        system = System.open(SESSIONS / "model")
        for change in (lambda: finish(session, system), lambda: session.keep([1])):
            with pytest.raises(OSError, match="link"):
                change()
    assert sorted(path.read_text() for path in valuables.iterdir()) == ["mine"] * 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_in_a_session_or_a_model_is_said_and_waits_for_nobody(tmp_path: Path) -> None:
    shutil.copytree(SESSIONS / "begun", tmp_path / "s")
    os.mkfifo(tmp_path / "s" / "codes")
    with pytest.raises(OSError, match="is a pipe or a device"):
        Session.open(tmp_path / "s")
    model = tiny_system(tmp_path / "model")
    (model / "prior_2" / "model.safetensors").unlink()
    os.mkfifo(model / "prior_2" / "model.safetensors")
    system = System.open(model)
    with pytest.raises((ValueError, OSError), match=r"model\.safetensors"):
        Session.create(tmp_path / "new", plan_of(system, to_level=2), device="cpu")


def test_names_of_files_stay_in_the_folder(tmp_path: Path) -> None:
    shutil.copytree(SESSIONS / "complete", tmp_path / "s")
    path = tmp_path / "s" / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name in ("../x.flac", "/etc/passwd", "a/b.flac", "..", "", "a\\b"):
        record["takes"][0]["audio"] = name
        path.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(ValueError, match=r"session\.json.*expected the plain name of a file"):
            Session.open(tmp_path / "s")


# --- full disks, leftovers ---


def test_a_preview_that_cannot_be_written_costs_nothing_else(
    tiny: System,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(2, "no room: ")

    monkeypatch.setattr(preview.soundfile, "write", full)
    session = Session.create(tmp_path / "s", plan_of(tiny, to_level=2), device="cpu")
    for _ in session.run(tiny, device="cpu", previews=True):
        pass
    assert Session.open(tmp_path / "s").complete
    assert "no previews from here on" in caplog.text


def test_a_primer_that_cannot_be_written_is_an_error_of_the_system(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(2, "no room: ")

    plan = beginning(tiny, "primers", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("jukebox_hf.generation.session.soundfile.write", full)
        with pytest.raises(OSError, match=r"01\.wav: cannot be written, maybe the disk is full"):
            Session.create(tmp_path / "s", plan, device="cpu")
    finish(Session.create(tmp_path / "s", plan, device="cpu"), tiny)


def test_a_complete_session_has_no_previews_whatever_killed_it(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go before the record says that all is done, so nobody is left to remove them."""
    session = Session.create(tmp_path / "s", plan_of(tiny, to_level=2), device="cpu")
    seen = []
    real = type(session.record).save

    def save(record: object, folder: Path) -> None:
        real(record, folder)  # type: ignore[arg-type]
        if session.record.complete:
            seen.append((folder / "preview").exists())

    monkeypatch.setattr(type(session.record), "save", save)
    for _ in session.run(tiny, device="cpu"):
        pass
    assert seen == [False]


def test_words_come_from_the_file_whoever_made_it(lyrical: System, tmp_path: Path) -> None:
    """Killed between the codes' alignment and the record: pictures and words are the same."""
    prompts = {1: Prompt(lyrics="La la la\nla la la", seconds=0.6)}
    contents = []
    for name in ("a", "b"):
        session = Session.create(
            tmp_path / name, plan_of(lyrical, prompts, to_level=2), device="cpu"
        )
        finish(session, lyrical)
        if name == "b":
            session = Session.open(tmp_path / name)
            session.record.takes[0].audio = None
            session.record.complete = False
            session._write()
            finish(session, lyrical)
        names = Session.open(tmp_path / name).take(1).alignment
        contents.append([(tmp_path / name / file).read_bytes() for file in names])
        load_alignment(tmp_path / name / names[0])
    assert contents[0] == contents[1]


# --- absurd requests ---


@pytest.mark.parametrize(
    "name",
    ["seconds", "total_seconds", "offset_seconds", "primer_start_seconds", "primer_end_seconds"],
)
@pytest.mark.parametrize("value", [1e308, float("inf"), float("nan"), -1.0, MOST_SECONDS + 1])
def test_absurd_durations_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Prompt(**{name: value})


def test_text_that_is_no_text_is_refused() -> None:
    for name in ("artist", "genre", "lyrics"):
        with pytest.raises(ValueError, match=f"{name} must be text in UTF-8"):
            Prompt(**{name: "caf\udce9"})


def test_a_session_names_no_folder_of_this_machine(tiny: System, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    session = Session.create(folder, plan_of(tiny, to_level=2), device="cpu")
    finish(session, tiny)
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for private in (tmp_path, Path(tiny.source).parent.parent):
                assert os.fsencode(private) not in content, path.name
    assert Session.open(folder).open_system().source == str(Path(tiny.source).resolve())

"""What the studio and the verbs of its worker say of pieces, without a server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jukebox_cli.studio.app import StudioApp
from jukebox_cli.studio.asking import Limits, check_request
from jukebox_cli.studio.guard import Access
from jukebox_cli.studio.job_queue import Job
from jukebox_cli.studio.page_state import describe_state
from jukebox_cli.studio.studio import BusyError, NotThereError, Studio
from jukebox_cli.studio.worker_actions import Actions
from jukebox_cli.studio.worker_process import WorkerProcess
from jukebox_hf.generation import Session

LIMITS = Limits(seconds=60, takes=8, upload_bytes=10**6, waiting=10, edited_seconds=1)


@pytest.fixture
def studio(folder: Path) -> Studio:
    """A studio that is not open: nothing works for it."""
    return Studio(folder, [None], LIMITS, WorkerProcess("cpu"))


def edit(*parts: tuple[str, int, float | None, float | None], **more: Any) -> dict[str, Any]:
    """A request for a piece of these parts, checked."""
    fields = ("piece", "take", "from", "to")
    given = [dict(zip(fields, part, strict=True)) for part in parts]
    return check_request({"verb": "edit", "parts": given, **more}, LIMITS, [""])


def test_an_edit_is_refused_where_a_piece_is_missing_or_it_gets_too_long(studio: Studio) -> None:
    room = studio.room("")
    long = edit(*[("one", 1, None, None)] * 4)
    with pytest.raises(ValueError, match=r"puts together up to 1 seconds, got 1\.2"):
        asyncio.run(studio.plan(room, long))
    with pytest.raises(NotThereError, match="there is no piece 'three' here"):
        asyncio.run(studio.plan(room, edit(("one", 1, None, None), ("three", 1, None, None))))


def test_no_piece_goes_while_an_edit_waits_for_it(studio: Studio) -> None:
    request = edit(("one", 1, None, None), ("two", 1, 0.1, 0.2))
    studio.queue.jobs.append(Job.new("", "both", request))
    for name in ("one", "two"):
        with pytest.raises(BusyError, match=f"both waits to be made from {name}"):
            asyncio.run(studio.remove(studio.room(""), name))
    (waiting,) = [
        one
        for one in describe_state(studio, studio.room(""), None, None)["pieces"]
        if one["name"] == "both"
    ]
    assert (waiting["parent"], waiting["takes"], waiting["lengths"]) == ("one", 1, [])


def test_a_piece_that_our_own_worker_marks_can_be_gone_on_with(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = studio.folder / "one" / "session.json"
    text = record.read_text(encoding="utf-8").replace('"complete": true', '"complete": false')
    record.write_text(text, encoding="utf-8")
    monkeypatch.setattr(WorkerProcess, "pid", 7)
    with monkeypatch.context() as locked:
        locked.setattr("jukebox_cli.studio.studio.holder", lambda folder: "8 on this machine")
        with pytest.raises(BusyError, match="one is being worked on by another program"):
            studio.go_on(studio.room(""), "one")
    monkeypatch.setattr("jukebox_cli.studio.studio.holder", lambda folder: "7 on this machine")
    studio.go_on(studio.room(""), "one")
    assert studio.queue.find("", "one") is not None


def send_body(studio: Studio, path: str, most: int, **headers: str) -> tuple[int, int]:
    """Status of the answer to far more than `most` bytes, and how many of them were taken."""
    headers |= {"host": "studio", "origin": "http://studio", "x-studio": "1"}
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    scope["headers"] = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    ]
    taken = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 10**5
        return {"type": "http.request", "body": b"{" * 10**5, "more_body": taken < 5 * most}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(StudioApp(studio, Access(frozenset({"studio"}))).app(scope, receive, send))
    assert list(studio.upload_folder().iterdir()) == []
    return sent[0]["status"], taken


@pytest.mark.parametrize(("path", "most"), [("/api/upload", 10**6), ("/api/make", 2**20)])
def test_what_does_not_say_how_much_it_is_is_counted(path: str, most: int, studio: Studio) -> None:
    status, taken = send_body(studio, path, most)
    assert status == 413
    assert most < taken <= most + 10**5


def test_of_a_file_that_says_it_is_too_large_nothing_is_taken(studio: Studio) -> None:
    assert send_body(studio, "/api/upload", 10**6, content_length=str(10**6 + 1)) == (413, 0)


def test_an_edited_piece_names_its_parts_also_when_they_were_renamed(
    studio: Studio, tiny_model: Path
) -> None:
    made = Actions("cpu")
    request = edit(("one", 2, None, 0.1), ("two", 1, 0.2, None), fade_seconds=0.01)
    request["models"] = [str(tiny_model)]
    plan = made.plan(studio.folder, request, measured=False)
    assert [join["seconds"] for join in plan["joins"]] == [pytest.approx(0.1, abs=0.01)]
    made.work(
        studio.folder,
        "both",
        request,
        on_begin=lambda: None,
        on_codes=lambda level, codes, total: None,
    )
    (studio.folder / "two").rename(studio.folder / "second")
    piece = describe_state(studio, studio.room(""), "both", None)["piece"]
    parts = piece["goes_on_from"]["parts"]
    assert [(one["name"], one["take"], one["here"]) for one in parts] == [
        ("one", 2, True),
        ("second", 1, True),
    ]
    assert piece["parent"] == "one"
    assert piece["lengths"] == [[1, plan["music_seconds"]]]
    parent = Session.open(studio.folder / "both").record.parent
    assert parent is not None
    assert parent.details["fade_seconds"] == 0.01


def test_a_form_knows_the_model_of_its_piece(
    folder: Path, tiny_model: Path, lyric_model: Path
) -> None:
    """Not the first one of the studio, which is another."""
    actions = Actions("cpu")
    models: list[str | None] = [str(lyric_model), str(folder / "gone"), str(tiny_model)]
    assert actions.describe(models[0])["lyrics"] is True
    found = actions.describe_model_of(folder, "one", models)
    assert (found["lyrics"], found["index"]) == (False, 2)
    with pytest.raises(FileNotFoundError, match="its model model is not where it was"):
        actions.describe_model_of(folder, "one", models[:1])

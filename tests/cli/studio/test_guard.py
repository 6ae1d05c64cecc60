"""Who gets in: hosts, origins, tokens and rooms, and what every answer carries."""

import asyncio
from typing import Any

import pytest

from jukebox_cli.studio.guard import Access, Guard

HOST = "127.0.0.1:7860"
OWN = {"origin": f"http://{HOST}", "x-studio": "1"}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the path and the room that it was given."""
    body = f"{scope['path']} in {scope['state']['room']!r}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(
    path: str,
    *,
    method: str = "GET",
    access: Access | None = None,
    host: str = HOST,
    **headers: str,
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to a request."""
    guard = Guard(application, access or Access(frozenset({HOST})))
    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(guard(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"].decode()


def test_own_host_gets_in_and_the_answer_is_safe_to_show() -> None:
    status, headers, body = ask("/api/state")
    assert (status, body) == (200, "/api/state in ''")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:80", "", "127.0.0.1:7860.evil.example"]
)
def test_another_host_is_turned_away(host: str) -> None:
    assert ask("/", host=host)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_studio": "1"},
        {"origin": f"http://{HOST}"},
        {"origin": "http://evil.example", "x_studio": "1"},
        {"origin": "null", "x_studio": "1"},
        {"origin": f"http://{HOST}.evil.example", "x_studio": "1"},
    ],
)
def test_only_our_own_page_may_change_anything(headers: dict[str, str]) -> None:
    status, _, body = ask("/api/make", method="POST", **headers)
    assert status == 403
    assert "only the studio's own page" in body
    allowed = {"origin": OWN["origin"], "x_studio": "1"}
    assert ask("/api/make", method="POST", **allowed)[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(method: str) -> None:
    assert ask("/", method=method, origin=OWN["origin"], x_studio="1")[0] == 405


def test_a_token_is_part_of_the_path() -> None:
    access = Access(frozenset({HOST}), token="secret")
    assert ask("/k/secret/api/state", access=access)[2] == "/api/state in ''"
    assert ask("/k/secret", access=access)[1]["location"] == "/k/secret/"
    for path in ("/", "/api/state", "/k/", "/k/secre/", "/k/secret2/", "/k/SECRET/", "/k/é/"):
        status, _, body = ask(path, access=access)
        assert status == 404, path
        assert "with its token" in body


def test_every_visitor_gets_a_room_that_nobody_can_guess() -> None:
    access = Access(frozenset({HOST}), visitors=True, frames="https://huggingface.co")
    status, headers, _ = ask("/", access=access)
    assert status == 303
    place = headers["location"]
    assert place != ask("/", access=access)[1]["location"]
    room = place.strip("/").partition("/")[2]
    assert len(room) == 32
    status, headers, body = ask(f"{place}api/state", access=access)
    assert body == f"/api/state in {room!r}"
    assert "frame-ancestors https://huggingface.co" in headers["content-security-policy"]
    for path in ("/api/state", "/v/../", "/v/short/", f"/v/{room[:-1]}/x"):
        assert ask(path, access=access)[0] == 404

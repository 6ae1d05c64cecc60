"""Who may talk to the studio: a layer around the application that looks at every request first.

A request gets through if it names this server as its host (so no page elsewhere can rebind a name
to it), has the token in its path where one is asked for, and, if it changes anything, comes from
our own page. What gets through finds its room in `scope["state"]`. Headers for safety go out with
every answer.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OWN_HEADER = b"x-studio"  # no form of another site can send it
VISITOR = re.compile(r"/v/([0-9a-f]{32})(/.*)?")
SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class Access:
    """Who may come in.

    Attributes:
        hosts: values of the Host header that mean this server, in lower case.
        token: that the path begins with, as in `/k/TOKEN/`; None: nobody needs one.
        visitors: whether everybody who comes gets a room, as in `/v/ROOM/`.
        frames: whose pages may show this one inside theirs, as CSP has it.
    """

    hosts: frozenset[str]
    token: str | None = None
    visitors: bool = False
    frames: str = "'none'"


class Guard:
    """The application `app`, for those who may use it."""

    def __init__(self, app: Application, access: Access) -> None:
        self.app = app
        self.access = access
        policy = (
            "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
            f"form-action 'self'; frame-ancestors {access.frames}"
        )
        self.headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", ())}
                added = [*self.headers, (b"cache-control", b"no-store")]
                message["headers"] = [
                    *message.get("headers", ()),
                    *(header for header in added if header[0] not in present),
                ]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send_safely, *refusal)
            return
        room, path = self._room(scope["path"])
        if room is None:
            if self.access.visitors and scope["path"] == "/" and scope["method"] in SAFE_METHODS:
                place = f"/v/{secrets.token_hex(16)}/"
                await _answer(send_safely, 303, "", [(b"location", place.encode())])
            else:
                await _answer(send_safely, 404, self._where())
            return
        if not path:
            place = scope["path"] + "/"
            await _answer(send_safely, 308, "", [(b"location", place.encode())])
            return
        inner = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        inner["state"] = {**scope.get("state", {}), "room": room}
        await self.app(inner, receive, send_safely)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is refused whatever it asks for; None if it is not."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host not in self.access.hosts:
            return 403, "this studio does not go by that name; use the address that it printed"
        if scope["method"] in SAFE_METHODS:
            return None
        if scope["method"] != "POST":
            return 405, "expected GET or POST"
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin not in (f"http://{host}", f"https://{host}") or OWN_HEADER not in headers:
            return 403, "only the studio's own page may change anything"
        return None

    def _room(self, path: str) -> tuple[str | None, str]:
        """The room that a path leads to, and the path in it; None for a path that leads nowhere."""
        if self.access.visitors:
            found = VISITOR.fullmatch(path)
            return (found[1], found[2] or "") if found else (None, path)
        if self.access.token is None:
            return "", path
        _, _, rest = path.partition("/k/")
        token, slash, inner = rest.partition("/")
        if path.startswith("/k/") and hmac.compare_digest(
            token.encode(), self.access.token.encode()
        ):
            return "", slash + inner
        return None, path

    def _where(self) -> str:
        if self.access.token is not None:
            return "open the whole address that the studio printed, with its token"
        return "there is nothing here"


async def _answer(
    send: Send, status: int, sentence: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps({"error": sentence}).encode() if sentence else b""
    kind = [(b"content-type", b"application/json")] if body else []
    length = [(b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [*kind, *length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})

"""What the page can ask its server: addresses, and what stands behind each.

Requests come in that `guard` let through; JSON, sounds and the files of the page go out. An error
is one sentence, `{"error": ...}`, with a status that says whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .asking import (
    FORMS,
    LARGEST_BODY,
    check_asked_numbers,
    check_name,
    check_request,
    check_seconds,
    check_stereo,
    check_text,
    parse_body,
)
from .guard import Access, Application, Guard
from .page_state import describe_state
from .page_words import for_the_page
from .pieces import Sound, SoundCut, find_sound
from .studio import BusyError, NotThereError, Room, Studio

PAGE = Path(__file__).parent / "page"
LONGEST_UPLOAD_SECONDS = 300.0
LONGEST_PART_SECONDS = 60.0
MOST_SECONDS = 24 * 3600.0
Handler = Callable[[Request], Awaitable[Response]]


class TooLargeError(ValueError):
    """More came than is taken."""


class StudioApp:
    """The addresses of a studio."""

    def __init__(self, studio: Studio, access: Access) -> None:
        self.studio = studio
        self._uploading = False
        piece = "/api/pieces/{name}"
        routes = [
            Route("/api/state", self._clean(self.state)),
            Route("/api/models/{index:int}", self._clean(self.model)),
            Route("/api/plan", self._clean(self.plan), methods=["POST"]),
            Route("/api/make", self._clean(self.make), methods=["POST"]),
            Route("/api/upload", self._clean(self.upload), methods=["POST"]),
            Route(f"{piece}/takes/{{number:int}}/sound", self._clean(self.sound)),
            Route(f"{piece}/takes/{{number:int}}/part", self._clean(self.sound_part)),
            Route(f"{piece}/model", self._clean(self.model_of)),
            Route(f"{piece}/stop", self._clean(self.stop), methods=["POST"]),
            Route(f"{piece}/go-on", self._clean(self.go_on), methods=["POST"]),
            Route(f"{piece}/keep", self._clean(self.keep), methods=["POST"]),
            Route(f"{piece}/rename", self._clean(self.rename), methods=["POST"]),
            Route(f"{piece}/remove", self._clean(self.remove), methods=["POST"]),
            Route("/api/removed/{name}/restore", self._clean(self.restore), methods=["POST"]),
            Route(f"{piece}/export", self._clean(self.export), methods=["POST"]),
            Route(f"{piece}/download", self._clean(self.download), methods=["POST"]),
            Route("/api/exports/{place}/{file}", self._clean(self.exported)),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ]
        inner = Starlette(routes=routes, lifespan=self._lifespan)
        self.app: Application = Guard(inner, access)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        await self.studio.open()
        yield
        await self.studio.close()

    @staticmethod
    def _clean(handler: Handler) -> Handler:
        """A handler whose expected errors are one sentence in JSON."""

        @wraps(handler)
        async def wrapper(request: Request) -> Response:
            try:
                return await handler(request)
            except NotThereError as error:
                return _json({"error": str(error)}, 404)
            except TooLargeError as error:
                return _json({"error": str(error)}, 413)
            except BusyError as error:
                return _json({"error": str(error)}, 409)
            except ValueError as error:
                return _json({"error": str(error)}, 400)
            except ClientDisconnect:
                return _json({"error": "the page went away"}, 400)
            except OSError as error:
                return _json({"error": error.strerror or str(error)}, 500)

        return wrapper

    def _room(self, request: Request) -> Room:
        return self.studio.room(request.scope["state"]["room"])

    # --- questions ---

    async def state(self, request: Request) -> Response:
        """All that the page shows; `?piece=NAME` is open there, `?since=VERSION` is known there."""
        asked = request.query_params
        room = self._room(request)
        return _json(describe_state(self.studio, room, asked.get("piece"), asked.get("since")))

    async def model(self, request: Request) -> Response:
        """Genres, artists and habits of a model."""
        return _json(await self.studio.describe(request.path_params["index"]))

    async def model_of(self, request: Request) -> Response:
        """The same of the model that a piece was made with."""
        room, name = self._room(request), request.path_params["name"]
        return _json(await self.studio.describe_model_of(room, name))

    async def plan(self, request: Request) -> Response:
        """What a request would take."""
        wanted = check_request(await _body(request), self.studio.limits, self._models())
        return _json(await self.studio.plan(self._room(request), wanted))

    def _sound(self, request: Request) -> Sound:
        piece = self.studio.piece(self._room(request), request.path_params["name"])
        found = find_sound(piece, request.path_params["number"])
        if found is None:
            raise NotThereError("there is nothing to hear of that take yet")
        return found

    async def sound_part(self, request: Request) -> Response:
        """A part of a take's audio, `?from=SECONDS&seconds=SECONDS`: long ones are never whole."""
        asked = request.query_params
        begin = check_seconds(asked.get("from"), "from", MOST_SECONDS)
        seconds = check_seconds(asked.get("seconds"), "seconds", LONGEST_PART_SECONDS)
        cut = await asyncio.to_thread(SoundCut, self._sound(request), begin, seconds)
        length = {"Content-Length": str(cut.num_bytes)}
        return StreamingResponse(cut.blocks(), headers=length, media_type="audio/wav")

    async def sound(self, request: Request) -> Response:
        """A take's audio: whole, since a snapshot may change while it is read."""
        found = self._sound(request)
        if found.finished:
            return FileResponse(found.path, media_type=found.media_type)
        return Response(found.path.read_bytes(), media_type=found.media_type)

    async def exported(self, request: Request) -> Response:
        """A file that was exported."""
        place, file = request.path_params["place"], request.path_params["file"]
        path = self.studio.exports.find(place, file)
        if path is None:
            raise NotThereError("that file is not there any more; export it again")
        return FileResponse(path, filename=path.name)

    # --- changes ---

    async def make(self, request: Request) -> Response:
        """Put a piece into the queue."""
        wanted = check_request(await _body(request), self.studio.limits, self._models())
        return _json({"piece": await self.studio.add(self._room(request), wanted)}, 202)

    async def stop(self, request: Request) -> Response:
        """Stop making a piece, or take it out of the queue."""
        await self.studio.stop(self._room(request), request.path_params["name"])
        return _json({})

    async def go_on(self, request: Request) -> Response:
        """Go on with a piece."""
        self.studio.go_on(self._room(request), request.path_params["name"])
        return _json({}, 202)

    async def keep(self, request: Request) -> Response:
        """Mark takes as the good ones."""
        numbers = check_asked_numbers((await _body(request)).get("numbers"))
        await self.studio.keep(self._room(request), request.path_params["name"], numbers)
        return _json({"kept": numbers})

    async def rename(self, request: Request) -> Response:
        """Give a piece another name."""
        name = check_name((await _body(request)).get("name"))
        piece = request.path_params["name"]
        return _json({"piece": await self.studio.rename(self._room(request), piece, name)})

    async def remove(self, request: Request) -> Response:
        """Put a piece into the bin; the answer says by which name it comes back."""
        piece = request.path_params["name"]
        return _json({"removed": await self.studio.remove(self._room(request), piece)})

    async def restore(self, request: Request) -> Response:
        """Take a piece out of the bin."""
        name = request.path_params["name"]
        return _json({"piece": await self.studio.restore(self._room(request), name)})

    async def export(self, request: Request) -> Response:
        """Write takes to a file; the answer says where it can be fetched."""
        given = await _body(request)
        form = check_text(given.get("format"), "format")
        if form not in FORMS:
            raise ValueError(f"expected one of {', '.join(FORMS)}, got {form[:40]!r}")
        numbers, stereo = (
            check_asked_numbers(given.get("numbers")),
            check_stereo(given.get("stereo")),
        )
        if stereo is not None and form == "codes":
            raise ValueError("stereo is made of sound, not of codes; choose a format of sound")
        room, name = self._room(request), request.path_params["name"]
        return _json({"file": await self.studio.export(room, name, numbers, form, stereo)})

    async def download(self, request: Request) -> Response:
        """Pack a whole piece; the answer says where it can be fetched."""
        name = request.path_params["name"]
        return _json({"file": await self.studio.download(self._room(request), name)})

    async def upload(self, request: Request) -> Response:
        """Take a sound file to begin with: the body as it is, counted while it comes."""
        if self._uploading:
            raise BusyError("another file is being uploaded; wait a moment")
        self._uploading = True
        path = self.studio.upload_folder() / secrets.token_hex(16)
        try:
            await self._receive(request, path)
            found = await self.studio.check_upload(path)
        finally:
            path.unlink(missing_ok=True)  # it has another name if it is of use
            self._uploading = False
        return _json(found)

    async def _receive(self, request: Request, path: Path) -> None:
        most = self.studio.limits.upload_bytes
        declared = request.headers.get("content-length", "0")
        too_large = f"the file is larger than {most // 10**6} MB, which is the most that is taken"
        if declared.isdigit() and int(declared) > most:
            raise TooLargeError(too_large)
        received, began = 0, time.monotonic()
        with path.open("wb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > most:
                    raise TooLargeError(too_large)
                if time.monotonic() - began > LONGEST_UPLOAD_SECONDS:
                    raise ValueError("the upload took too long")
                file.write(chunk)

    def _models(self) -> list[str]:
        return [name or "" for name in self.studio.models]


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise TooLargeError("the request is too large")
    return parse_body(body)


def _json(value: Mapping[str, Any], status: int = 200) -> Response:
    text = json.dumps(for_the_page(value), ensure_ascii=False, allow_nan=False)
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")

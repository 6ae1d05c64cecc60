"""What the page is told: all that it shows, as plain values for JSON.

A studio and one of its rooms go in; nothing is changed here. The page asks again and again, so that
an answer carries a version, and says only that nothing changed to whoever knows that version.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .job_queue import Job
from .pieces import Piece, find_parents, find_sound, find_words, short_model

if TYPE_CHECKING:
    from .studio import PieceProgress, Room, Studio


def describe_state(
    studio: Studio, room: Room, name: str | None, since: str | None
) -> dict[str, Any]:
    """All that the page shows, or only that nothing changed `since` a version of it."""
    pieces = room.pieces.scan()
    parents = find_parents(pieces)
    listed = [_listed(studio, room, piece, parents.get(piece.name)) for piece in pieces.values()]
    for job in studio.queue.of_room(room.id):
        if job.piece not in pieces and job.request["verb"] != "resume":
            listed.append(_not_begun(job))
    content = {
        "folder": studio.folder.name if not studio.is_space else "",
        "space": studio.is_space,
        "limits": {
            "seconds": studio.limits.seconds,
            "takes": studio.limits.takes,
            "upload_bytes": studio.limits.upload_bytes,
        },
        "models": [
            short_model(name) or "the model that comes with the package" for name in studio.models
        ],
        "ready": studio.worker.ready,
        "pieces": listed,
        "queue": list(_queue(studio, room, pieces)),
        "removed": room.pieces.removed(),
        "piece": _opened(studio, room, pieces, listed, name) if name else None,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    version = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if since == version:
        return {"version": version, "unchanged": True}
    return {"version": version, **content}


def _listed(studio: Studio, room: Room, piece: Piece, parent: str | None) -> dict[str, Any]:
    """A piece in the list."""
    if piece.error is not None:
        return {"name": piece.name, "parent": None, "state": "damaged", "error": piece.error}
    takes = piece.takes
    return {
        "name": piece.name,
        "id": piece.facts.get("id"),
        "parent": parent,
        "state": studio.state_of(room, piece),
        "share": _share(piece),
        "takes": len(takes),
        "seconds": max(take["seconds"] for take in takes),
        "lengths": [[take["number"], take["seconds"]] for take in takes],
        "genre": takes[0]["genre"],
        "artist": takes[0]["artist"],
        "kept": studio.marked(room, piece),
    }


def _queue(studio: Studio, room: Room, pieces: Mapping[str, Piece]) -> Iterator[dict[str, Any]]:
    """What is made and what waits; of other rooms only how much there is before it."""
    place = 0
    for job in studio.queue.jobs:
        if job.state != "failed":
            place += 1
        if job.room != room.id:
            continue
        progress = studio.progress if studio.progress and studio.progress.job == job.id else None
        piece = pieces.get(job.piece)
        yield {
            "id": job.id,
            "piece": job.piece,
            "verb": job.request["verb"],
            "state": job.state,
            "top_level": piece.facts.get("top_level") if piece else None,
            "place": place if job.state == "waiting" else None,
            "message": job.message,
            "log": job.log,
            **(_how_far(job, progress) if progress else {}),
        }


def _how_far(job: Job, progress: PieceProgress) -> dict[str, Any]:
    return {
        "level": progress.level,
        "share": round(progress.share, 3),
        "stopping": progress.stopping,
        "left_seconds": _left_seconds(job, progress),
    }


def _left_seconds(job: Job, progress: PieceProgress) -> int | None:
    """From the plan, and from how fast the level under way turns out to be."""
    if progress.level is None:
        return None
    planned = job.levels.get(str(progress.level))
    made = (progress.codes - progress.first) / max(progress.total, 1)
    spent = time.monotonic() - progress.since
    if planned is None or planned <= 0:
        return None
    factor = spent / (planned * made) if made > 0.05 else 1.0
    below = [job.levels.get(str(level)) or 0.0 for level in range(progress.level)]
    return round(factor * (planned * (1 - progress.share) + sum(below)))


def _opened(
    studio: Studio,
    room: Room,
    pieces: Mapping[str, Piece],
    listed: list[dict[str, Any]],
    name: str,
) -> dict[str, Any] | None:
    """The piece that is open, with all there is to know."""
    piece = pieces.get(name)
    entry = next((one for one in listed if one["name"] == name), None)
    if entry is None or piece is None or piece.error is not None:
        return entry
    marked = studio.marked(room, piece)
    takes = []
    for take in piece.takes:
        sound = find_sound(piece, take["number"])
        takes.append(
            {
                **take,
                "kept": take["number"] in marked,
                "words": find_words(piece, take),
                "sound": None
                if sound is None
                else {
                    "version": sound.version,
                    "type": sound.media_type,
                    "finished": sound.finished,
                },
            }
        )
    facts = {key: value for key, value in piece.facts.items() if key != "takes"}
    parent = piece.facts["parent"]
    facts["goes_on_from"] = parent and {**parent, "parts": _parts_by_name(parent["parts"], pieces)}
    return {**facts, **entry, "takes": takes}


def _parts_by_name(
    parts: list[dict[str, Any]], pieces: Mapping[str, Piece]
) -> list[dict[str, Any]]:
    """What a piece was put together from; `here` where that piece is in the room."""
    found = []
    for part in parts:
        known = [one.name for one in pieces.values() if one.facts.get("id") == part["id"]]
        same = known if part["id"] else []
        above = part["name"] if part["name"] in same else next(iter(same), None)
        found.append({**part, "name": above or part["name"], "here": above is not None})
    return found


def _not_begun(job: Job) -> dict[str, Any]:
    """A piece that waits in the queue and has no folder yet."""
    request = job.request
    return {
        "name": job.piece,
        "parent": request.get("source"),
        "state": {"running": "making"}.get(job.state, job.state),
        "share": 0.0,
        "takes": request.get("takes")
        or len(request.get("numbers") or [1]) * request.get("renders", 1),
        "seconds": request.get("seconds"),
        "lengths": [],
        "genre": request.get("genre"),
        "artist": request.get("artist"),
        "kept": [],
    }


def _share(piece: Piece) -> float:
    """How much of all codes of a piece is made: levels weigh as much as they have codes."""
    if piece.complete:
        return 1.0
    to_level = piece.facts["to_level"]
    done = whole = 0.0
    for take in piece.takes:
        for entry in take["levels"]:
            if entry["level"] >= to_level:
                weight = 0.25 ** entry["level"]  # each level has four times the codes, here
                done += weight * entry["share"]
                whole += weight
    return round(done / whole, 3) if whole else 0.0

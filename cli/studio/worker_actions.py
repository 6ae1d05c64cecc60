"""What the studio's worker does with the library: every call of it that the studio makes is here.

A request of the page, checked for its kind by `asking`, and a folder of pieces go in; plans, labels
and worked-on sessions come out. What is wrong with a request is a `ValueError` or `OSError` with
the sentence of the command line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .pieces import TRASH_FOLDER, short_model

if TYPE_CHECKING:
    from jukebox_hf.generation import JukeboxPipeline, Part, PriorShelf, Request, Session
    from jukebox_hf.hub import System

PREVIEW_SECONDS = 2.0  # between updates of what can be heard
MOST_PRIMER_SECONDS = 600.0
PRIMER_FORMATS = {"WAV": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "MPEG": ".mp3"}


@dataclass
class WantedPiece:
    """What a request of the page comes to: what to make, and with which model."""

    pipeline: JukeboxPipeline
    request: Request


class Actions:
    """The verbs of the worker, on one device; models stay open from one request to the next."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._systems: dict[str | None, System] = {}
        self._shelf: PriorShelf | None = None

    @property
    def shelf(self) -> PriorShelf:
        """The priors that stay loaded from one request to the next."""
        from jukebox_hf.generation import PriorShelf

        self._shelf = self._shelf or PriorShelf()
        return self._shelf

    @staticmethod
    def load_library() -> None:
        """Import what the first request needs."""
        from jukebox_hf.generation import Session, estimate_costs  # noqa: F401

    def open_system(self, model: str | None) -> System:
        """A model by what the studio's command line named it; None is the built-in one."""
        from jukebox_hf.hub import System

        if model not in self._systems:
            self._systems[model] = System.open(model)
        return self._systems[model]

    # --- questions ---

    def describe(self, model: str | None) -> dict[str, Any]:
        """What the form needs to know of a model."""
        return self._describe(self.open_system(model))

    def describe_model_of(
        self, folder: Path, name: str, models: list[str | None]
    ) -> dict[str, Any]:
        """The same of the model of a piece, and which of the studio's `models` that is, if any."""
        from jukebox_hf.generation import Session

        system = _system_of(Session.open(folder / name), models)
        places = [self._source(model) for model in models]
        index = places.index(system.source) if system.source in places else None
        return {**self._describe(system), "index": index}

    def _source(self, model: str | None) -> str | None:
        """Where a model is; None if it cannot be opened now."""
        try:
            return self.open_system(model).source
        except (OSError, ValueError):
            return None

    @staticmethod
    def _describe(system: System) -> dict[str, Any]:
        if not system.prior_levels:
            raise ValueError(f"{system.source} has no prior, so it makes no music")
        top = max(system.prior_levels)
        processor = system.processor(top)
        found = processor.search("")
        aliases = processor.genre_aliases.search("")
        generation = system.manifest.generation
        return {
            "name": system.manifest.name or short_model(system.source),
            "licence": system.licence,
            "notes": list(system.notes),
            "genres": list(found.genres),
            "artists": list(found.artists),
            "aliases": {name: alias.genre for name, alias in aliases.items()},
            "lyrics": system.prior_config(top).lyrics != "none",
            "levels": sorted(system.prior_levels),
            "seconds": generation.get("seconds"),
        }

    def plan(self, folder: Path, request: Mapping[str, Any], *, measured: bool) -> dict[str, Any]:
        """What a request would take; `measured` also times it, which takes a second or so."""
        from jukebox_hf.generation import estimate_costs, run_notes

        wanted = self._wanted(folder, request)
        plan = wanted.pipeline.plan(wanted.request)
        costs = estimate_costs(plan, wanted.pipeline.device, calibrate=measured)
        takes = plan.takes
        return {
            "seconds": costs.seconds,
            "memory_bytes": costs.memory_bytes,
            "available_bytes": costs.available_bytes,
            "disk_bytes": costs.disk_bytes,
            "takes": len(takes),
            "music_seconds": max(take.num_samples for take in takes) / plan.sampling_rate,
            "levels": {str(level.level): level.seconds for level in costs.levels},
            "notes": list(run_notes(plan)),
            "joins": wanted.request.parent.details.get("joins", [])
            if wanted.request.parent
            else [],
        }

    # --- requests ---

    def _wanted(self, folder: Path, request: Mapping[str, Any]) -> WantedPiece:
        from jukebox_hf.generation import JukeboxPipeline, Request, Source, resolve_device

        given = {**self._labels(request), "seed": request.get("seed")}
        levels: Mapping[str, Mapping[str, Any]] = request.get("levels") or {}
        for name, by in levels.items():
            given[name] = {None if one == "all" else int(one): value for one, value in by.items()}
        verb = request["verb"]
        if verb == "make":
            system = self.open_system(request["model"])
            given |= {"seconds": request.get("seconds"), "takes": request["takes"]}
            given |= self._primer(request.get("primer"))
        else:
            source = Source(folder / request["source"])
            assert source.session is not None, "a piece is a folder"
            system = _system_of(source.session, request["models"])
            given["numbers"] = request.get("numbers")
        if request.get("sketch"):
            given["to_level"] = max(system.prior_levels)
        if verb == "make":
            asked = Request.new(given)
        elif verb == "continue":
            if request.get("sketch") is False:
                given["to_level"] = 0
            given |= {name: request.get(name) for name in ("seconds", "from_seconds", "takes")}
            asked = Request.more(source, given)
        elif verb == "infill":
            names = ("from_seconds", "to_seconds", "insert_seconds", "candidates", "takes")
            given |= {name: request.get(name) for name in names}
            given["take"] = given.pop("numbers")[0]
            asked = Request.infill(source, given)
        elif verb == "edit":
            codec = system.load_vqvae_network(device=resolve_device(self.device))
            how = {name: request[name] for name in ("snap_seconds", "fade_seconds", "timing")}
            asked = Request.edit(_parts(folder, request), how, codec)
        else:
            asked = Request.finer(source, given | {"renders": request.get("renders", 1)})
        return WantedPiece(JukeboxPipeline(system, device=self.device), asked)

    @staticmethod
    def _primer(primer: Mapping[str, Any] | None) -> dict[str, Any]:
        if primer is None:
            return {}
        path = Path(primer["path"])
        check_primer(path)
        return {
            "primer": path,
            "primer_start_seconds": primer.get("start"),
            "primer_end_seconds": primer.get("end"),
        }

    @staticmethod
    def _labels(request: Mapping[str, Any]) -> dict[str, Any]:
        lyrics = request.get("lyrics")
        if lyrics is not None:
            from jukebox_hf.labels import decode_lyrics

            lyrics = decode_lyrics(lyrics.encode("utf-8"), source="the lyrics")
        return {
            **{name: _by_level(request, name) for name in ("artist", "genre")},
            "lyrics": lyrics,
            "total_seconds": request.get("total_seconds"),
            "offset_seconds": request.get("offset_seconds"),
        }

    # --- work ---

    def work(
        self,
        folder: Path,
        target: str,
        request: Mapping[str, Any],
        *,
        on_begin: Callable[[], None],
        on_codes: Callable[[int, int, int], None],
    ) -> None:
        """Make the piece `target`, or go on with it if it is there."""
        from jukebox_hf.generation import Session

        place = folder / target
        if Session.is_at(place):
            session = Session.open(place)
            system = _system_of(session, request["models"])
        else:
            if request["verb"] == "resume":
                raise FileNotFoundError(f"{target} is not there any more")
            wanted = self._wanted(folder, request)
            system = wanted.pipeline.system
            session = wanted.pipeline.begin(place, wanted.request)
        on_begin()
        if session.complete:
            return
        for report in session.run(
            system,
            device=self.device,
            on_codes=on_codes,
            preview_seconds=PREVIEW_SECONDS,
            shelf=self.shelf,
        ):
            on_codes(report.level, report.codes_done, report.codes_total)

    def keep(self, folder: Path, name: str, numbers: list[int]) -> None:
        """Mark takes of a piece as the good ones."""
        from jukebox_hf.generation import Session

        Session.open(folder / name).keep(numbers)

    def rename(self, folder: Path, name: str, new_name: str) -> str:
        """Give a piece another name, which it returns."""
        from jukebox_hf.generation import rename_session

        return rename_session(folder / name, new_name).name

    def remove(self, folder: Path, name: str) -> str:
        """Put a piece into the bin; returns by which name it comes back."""
        from jukebox_hf.generation import remove_session

        return remove_session(folder / name).name

    def restore(self, folder: Path, name: str) -> str:
        """Take a piece out of the bin; returns its name."""
        from jukebox_hf.generation import restore_session

        return restore_session(folder / TRASH_FOLDER / name).name

    def export(
        self,
        folder: Path,
        name: str,
        numbers: list[int],
        place: Path,
        form: str,
        models: list[str | None],
        delays: list[float] | None = None,
    ) -> list[str]:
        """Write takes to files in `place`, with `delays` as one in stereo; returns their names."""
        from jukebox_hf.generation import Session, export_audio, export_codes, export_stereo

        session = Session.open(folder / name)
        if form == "codes":
            paths = export_codes(session, numbers, place, overwrite=True)
            return [path.name for path in paths]
        how: dict[str, Any] = {
            "audio_format": form,
            "overwrite": True,
            "model": _place_of(session, models),
            "device": self.device,
        }
        if delays is not None:
            paths = [export_stereo(session, numbers, place, delay_seconds=delays, **how)]
        else:
            paths = export_audio(session, numbers, place, **how)
        return [path.name for path in paths]

    def check_upload(self, path: Path) -> dict[str, Any]:
        """What an uploaded file is; it gets the ending of its format."""
        seconds, ending = check_primer(path)
        named = path.with_suffix(ending)
        path.rename(named)
        return {"file": named.name, "seconds": round(seconds, 2)}


def _by_level(request: Mapping[str, Any], name: str) -> Any:
    """A genre or artist: one for all levels, or also others for some of them."""
    own = (request.get("names") or {}).get(name)
    if not own:
        return request.get(name)
    levels = {None if level == "all" else int(level): text for level, text in own.items()}
    return levels if request.get(name) is None else {None: request[name], **levels}


def _parts(folder: Path, request: Mapping[str, Any]) -> list[Part]:
    """What a piece is put together from."""
    from jukebox_hf.generation import Part

    return [
        Part(folder / part["piece"], part["take"], part["from"], part["to"])
        for part in request["parts"]
    ]


def _place_of(session: Session, models: list[str | None]) -> str | None:
    """Where the model of a session is: None for where its record says, else one of the studio's."""
    try:
        session.open_system()
    except (OSError, ValueError):
        for model in models:
            with contextlib.suppress(OSError, ValueError):
                session.open_system(model)
                return model
    return None


def _system_of(session: Session, models: list[str | None]) -> System:
    """The model that a session was begun with, also if it is at another place now."""
    return session.open_system(_place_of(session, models))


def check_primer(path: Path) -> tuple[float, str]:
    """Seconds and usual ending of a sound file that libsndfile reads.

    No other decoder is asked: some formats are playlists that open other files. Raises `ValueError`
    for anything else, and for more than ten minutes.
    """
    import soundfile

    try:
        found = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError):
        raise ValueError(
            "the file is not one that can be begun with here; give wav, flac, ogg, opus or mp3"
        ) from None
    ending = PRIMER_FORMATS.get(found.format)
    if ending is None:
        raise ValueError(
            f"expected wav, flac, ogg, opus or mp3 to begin with, got {found.format_info}"
        )
    if not 0 < found.duration <= MOST_PRIMER_SECONDS:
        raise ValueError(
            f"the file to begin with lasts {found.duration:.0f} s; give one of up to "
            f"{MOST_PRIMER_SECONDS / 60:g} minutes"
        )
    return found.duration, ending

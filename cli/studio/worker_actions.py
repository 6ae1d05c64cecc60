"""What the studio's worker does with the library: every call of it that the studio makes is here.

A request of the page, checked for its kind by `asking`, and a folder of pieces go in; plans, labels
and worked-on sessions come out. What is wrong with a request is a `ValueError` or `OSError` with
the sentence of the command line.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..generation_options import fit_plan

if TYPE_CHECKING:
    from jukebox_hf.generation.plan import Plan
    from jukebox_hf.generation.session import Session
    from jukebox_hf.generation.session_record import ParentRecord
    from jukebox_hf.generation.settings import GenerationSettings, Prompt
    from jukebox_hf.hub.system import System

MOST_PRIMER_SECONDS = 600.0
PRIMER_FORMATS = {"WAV": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "MPEG": ".mp3"}


@dataclass
class Wanted:
    """What a request comes to: a plan for a model, and where it goes on from."""

    system: System
    plan: Plan
    parent: ParentRecord | None


class Actions:
    """The verbs of the worker, on one device; models stay open from one request to the next."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._systems: dict[str | None, System] = {}

    @staticmethod
    def load_library() -> None:
        """Import what the first request needs, and let libraries show no bars of their own."""
        import transformers.utils.logging as transformers_logging

        import jukebox_hf.generation.estimate
        import jukebox_hf.generation.session  # noqa: F401

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def open_system(self, model: str | None) -> System:
        """A model by what the studio's command line named it; None is the built-in one."""
        from jukebox_hf.hub.system import System

        if model not in self._systems:
            self._systems[model] = System.open(model)
        return self._systems[model]

    # --- questions ---

    def describe(self, model: str | None) -> dict[str, Any]:
        """What the form needs to know of a model."""
        system = self.open_system(model)
        if not system.prior_levels:
            raise ValueError(f"{system.source} has no prior, so it makes no music")
        top = max(system.prior_levels)
        processor = system.processor(top)
        found = processor.search("")
        aliases = processor.genre_aliases.search("")
        generation = system.manifest.generation
        return {
            "name": system.manifest.name or system.source,
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
        from jukebox_hf.generation.devices import resolve_device
        from jukebox_hf.generation.estimate import estimate
        from jukebox_hf.generation.pipeline import run_notes

        wanted = self._wanted(folder, request)
        place = resolve_device(self.device)
        costs = estimate(wanted.system, wanted.plan, place, calibrate=measured)
        takes = wanted.plan.takes
        return {
            "seconds": costs.seconds,
            "memory_bytes": costs.memory_bytes,
            "available_bytes": costs.available_bytes,
            "disk_bytes": costs.disk_bytes,
            "takes": len(takes),
            "music_seconds": max(take.num_samples for take in takes) / wanted.plan.sampling_rate,
            "levels": {str(level.level): level.seconds for level in costs.levels},
            "notes": list(run_notes(wanted.system, wanted.plan)),
        }

    # --- requests ---

    def _wanted(
        self, folder: Path, request: Mapping[str, Any], settings: GenerationSettings | None = None
    ) -> Wanted:
        verb = request["verb"]
        if verb == "make":
            return self._wanted_piece(folder, request, settings)
        return self._wanted_branch(folder, request, settings)

    def _wanted_piece(
        self, folder: Path, request: Mapping[str, Any], settings: GenerationSettings | None
    ) -> Wanted:
        from jukebox_hf.generation.settings import Prompt

        system = self.open_system(request["model"])
        given = {**self._labels(request), "seconds": request.get("seconds")}
        primer = request.get("primer")
        if primer is not None:
            given |= {
                "primer": Path(primer["path"]),
                "primer_start_seconds": primer.get("start") or 0.0,
                "primer_end_seconds": primer.get("end"),
            }
            check_primer(given["primer"])
        prompt = Prompt(**{name: value for name, value in given.items() if value is not None})
        prompts = dict.fromkeys(range(1, request["takes"] + 1), prompt)
        return Wanted(system, self._fit(system, prompts, request, settings=settings), None)

    def _wanted_branch(
        self, folder: Path, request: Mapping[str, Any], settings: GenerationSettings | None
    ) -> Wanted:
        from dataclasses import replace

        from jukebox_hf.generation.continuing import (
            Source,
            chosen_numbers,
            continue_prompt,
            upsample_prompt,
        )
        from jukebox_hf.generation.session_record import ParentRecord

        source = Source(folder / request["source"])
        earlier = source.session
        assert earlier is not None, "a piece is a folder"
        changes = {
            name: value for name, value in self._labels(request).items() if value is not None
        }
        starts = [source.start(number) for number in chosen_numbers(source, request["numbers"])]
        parent: dict[str, Any] = {
            "id": earlier.record.id,
            "source": source.path.resolve().name,
            "action": request["verb"],
        }
        to_level = None
        if request["verb"] == "continue":
            from_seconds = request.get("from_seconds")
            continued = [
                continue_prompt(
                    start, seconds=request["seconds"], from_seconds=from_seconds, **changes
                )
                for start in starts
                for _ in range(request["takes"])
            ]
            prompts = dict(enumerate(continued, start=1))
            parent["takes"] = [start.number for start in starts for _ in range(request["takes"])]
            parent["from_seconds"] = from_seconds
            to_level = earlier.settings.to_level if request.get("sketch") is None else 0
        else:
            prompts = {start.number: upsample_prompt(start, **changes) for start in starts}
            parent["takes"] = [start.number for start in starts]
        system = _system_of(earlier, request["models"])
        if settings is None:
            seed = request.get("seed")
            settings = earlier.settings
            if seed is not None:
                settings = replace(settings, seed=seed)
        plan = self._fit(
            system,
            prompts,
            request,
            settings=settings,
            to_level=to_level,
            defaults=source.defaults(),
        )
        return Wanted(system, plan, ParentRecord(**parent))

    def _fit(
        self,
        system: System,
        prompts: dict[int, Prompt],
        request: Mapping[str, Any],
        *,
        settings: GenerationSettings | None = None,
        to_level: int | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Plan:
        if request.get("sketch"):
            to_level = max(system.prior_levels)
        levels: Mapping[str, Mapping[str, Any]] = request.get("levels") or {}
        options = {
            "device": self.device,
            "seed": request.get("seed"),
            "precision": None,
            "backend": None,
            "to_level": to_level,
            **{
                name: {None if level == "all" else int(level): value for level, value in by.items()}
                for name, by in levels.items()
            },
        }
        return fit_plan(system, prompts, options, settings=settings, defaults=defaults)

    @staticmethod
    def _labels(request: Mapping[str, Any]) -> dict[str, Any]:
        lyrics = request.get("lyrics")
        if lyrics is not None:
            from jukebox_hf.labels import decode_lyrics

            lyrics = decode_lyrics(lyrics.encode("utf-8"), source="the lyrics")
        return {
            "artist": request.get("artist"),
            "genre": request.get("genre"),
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
        begun: bool,
        on_begin: Callable[[], None],
        on_codes: Callable[[int, int, int], None],
    ) -> None:
        """Make the piece `target`, or go on with it if it is there.

        Args:
            begun: whether this very request has been at work before: what it left without a record
                is begun anew.
        """
        from jukebox_hf.generation.session import Session

        place = folder / target
        if Session.is_at(place):
            session = Session.open(place)
            system = _system_of(session, request["models"])
            plan = None
        else:
            if request["verb"] == "resume":
                raise FileNotFoundError(f"{target} is not there any more")
            wanted = self._wanted(folder, request)
            if begun and place.is_dir():
                shutil.rmtree(place)
            system, plan = wanted.system, wanted.plan
            session = Session.create(place, system, plan, device=self.device, parent=wanted.parent)
        on_begin()
        if session.complete:
            return
        for report in session.run(system, plan, device=self.device, on_codes=on_codes):
            on_codes(report.level, report.codes_done, report.codes_total)

    def keep(self, folder: Path, name: str, numbers: list[int]) -> None:
        """Mark takes of a piece as the good ones."""
        from jukebox_hf.generation.session import Session

        Session.open(folder / name).keep(numbers)

    def export(
        self,
        folder: Path,
        name: str,
        numbers: list[int],
        place: Path,
        form: str,
        models: list[str | None],
    ) -> list[str]:
        """Write takes to files in `place`; returns their names."""
        from jukebox_hf.generation.exporting import export_audio, export_codes
        from jukebox_hf.generation.session import Session

        session = Session.open(folder / name)
        if form == "codes":
            paths = export_codes(session, numbers, place, overwrite=True)
        else:
            paths = export_audio(
                session,
                numbers,
                place,
                audio_format=form,
                overwrite=True,
                model=_place_of(session, models),
                device=self.device,
            )
        return [path.name for path in paths]

    def check_upload(self, path: Path) -> dict[str, Any]:
        """What an uploaded file is; it gets the ending of its format."""
        seconds, ending = check_primer(path)
        named = path.with_suffix(ending)
        path.rename(named)
        return {"file": named.name, "seconds": round(seconds, 2)}


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

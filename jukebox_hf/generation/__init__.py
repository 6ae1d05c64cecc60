"""From words to music.

A `Request` goes in; `JukeboxPipeline` makes a `Plan` of it, and music in memory or a `Session` on
disk; going on from a session or a codes file is a request too. Names are imported when they are
first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jukebox_hf.generation.continuing import Source
    from jukebox_hf.generation.devices import resolve_device
    from jukebox_hf.generation.editing import Part, find_parts
    from jukebox_hf.generation.estimate import describe_plan, estimate_costs
    from jukebox_hf.generation.exporting import export_audio, export_codes
    from jukebox_hf.generation.fitting import Need, memory_needs
    from jukebox_hf.generation.folders import (
        default_folder,
        empty_trash,
        remove_session,
        rename_session,
        restore_session,
        session_folders,
    )
    from jukebox_hf.generation.gpus import describe_gpus, estimate_gpus
    from jukebox_hf.generation.memory import available_memory
    from jukebox_hf.generation.naming import run_notes
    from jukebox_hf.generation.pipeline import JukeboxPipeline, Music, MusicRun, Take
    from jukebox_hf.generation.plan import Plan
    from jukebox_hf.generation.request import Request, Wanted
    from jukebox_hf.generation.run import WindowReport
    from jukebox_hf.generation.session import Session
    from jukebox_hf.generation.session_files import preview_paths
    from jukebox_hf.generation.session_record import ParentRecord, SessionRecord, TakeRecord
    from jukebox_hf.generation.session_work import Crew
    from jukebox_hf.generation.settings import LevelSettings, Prompt
    from jukebox_hf.generation.shelf import PriorShelf

# Where each public name comes from; the same lines as above, for Python.
_PLACES = {
    "Crew": "session_work",
    "JukeboxPipeline": "pipeline",
    "LevelSettings": "settings",
    "Music": "pipeline",
    "MusicRun": "pipeline",
    "ParentRecord": "session_record",
    "Part": "editing",
    "Plan": "plan",
    "PriorShelf": "shelf",
    "Prompt": "settings",
    "Request": "request",
    "Session": "session",
    "SessionRecord": "session_record",
    "Source": "continuing",
    "Take": "pipeline",
    "TakeRecord": "session_record",
    "Wanted": "request",
    "WindowReport": "run",
    "available_memory": "memory",
    "default_folder": "folders",
    "describe_plan": "estimate",
    "describe_gpus": "gpus",
    "empty_trash": "folders",
    "estimate_costs": "estimate",
    "estimate_gpus": "gpus",
    "export_audio": "exporting",
    "export_codes": "exporting",
    "Need": "fitting",
    "find_parts": "editing",
    "memory_needs": "fitting",
    "preview_paths": "session_files",
    "remove_session": "folders",
    "rename_session": "folders",
    "resolve_device": "devices",
    "restore_session": "folders",
    "run_notes": "naming",
    "session_folders": "folders",
}

__all__ = [
    "Crew",
    "JukeboxPipeline",
    "LevelSettings",
    "Music",
    "MusicRun",
    "Need",
    "ParentRecord",
    "Part",
    "Plan",
    "PriorShelf",
    "Prompt",
    "Request",
    "Session",
    "SessionRecord",
    "Source",
    "Take",
    "TakeRecord",
    "Wanted",
    "WindowReport",
    "available_memory",
    "default_folder",
    "describe_gpus",
    "describe_plan",
    "empty_trash",
    "estimate_costs",
    "estimate_gpus",
    "export_audio",
    "export_codes",
    "find_parts",
    "memory_needs",
    "preview_paths",
    "remove_session",
    "rename_session",
    "resolve_device",
    "restore_session",
    "run_notes",
    "session_folders",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

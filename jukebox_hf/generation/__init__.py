"""From words to music.

A `Request` goes in; `JukeboxPipeline` makes a `Plan` of it, and music in memory or a `Session` on
disk; going on from a session or a codes file is a request too. Names are imported when they are
first asked for.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.generation.continuing import Source as Source
    from jukebox_hf.generation.devices import resolve_device as resolve_device
    from jukebox_hf.generation.editing import Part as Part
    from jukebox_hf.generation.editing import find_parts as find_parts
    from jukebox_hf.generation.estimate import describe_plan as describe_plan
    from jukebox_hf.generation.estimate import estimate_costs as estimate_costs
    from jukebox_hf.generation.exporting import export_audio as export_audio
    from jukebox_hf.generation.exporting import export_codes as export_codes
    from jukebox_hf.generation.exporting import export_stereo as export_stereo
    from jukebox_hf.generation.fitting import Need as Need
    from jukebox_hf.generation.fitting import memory_needs as memory_needs
    from jukebox_hf.generation.gpus import describe_gpus as describe_gpus
    from jukebox_hf.generation.gpus import estimate_gpus as estimate_gpus
    from jukebox_hf.generation.making import WindowReport as WindowReport
    from jukebox_hf.generation.memory import available_memory as available_memory
    from jukebox_hf.generation.naming import run_notes as run_notes
    from jukebox_hf.generation.pipeline import JukeboxPipeline as JukeboxPipeline
    from jukebox_hf.generation.pipeline import Music as Music
    from jukebox_hf.generation.pipeline import MusicRun as MusicRun
    from jukebox_hf.generation.pipeline import Take as Take
    from jukebox_hf.generation.plan import Plan as Plan
    from jukebox_hf.generation.request import Request as Request
    from jukebox_hf.generation.request import Wanted as Wanted
    from jukebox_hf.generation.session import Session as Session
    from jukebox_hf.generation.session_files import preview_paths as preview_paths
    from jukebox_hf.generation.session_names import default_folder as default_folder
    from jukebox_hf.generation.session_names import empty_trash as empty_trash
    from jukebox_hf.generation.session_names import remove_session as remove_session
    from jukebox_hf.generation.session_names import rename_session as rename_session
    from jukebox_hf.generation.session_names import restore_session as restore_session
    from jukebox_hf.generation.session_names import session_folders as session_folders
    from jukebox_hf.generation.session_overview import SessionOverview as SessionOverview
    from jukebox_hf.generation.session_record import ParentRecord as ParentRecord
    from jukebox_hf.generation.session_record import SessionRecord as SessionRecord
    from jukebox_hf.generation.session_record import TakeRecord as TakeRecord
    from jukebox_hf.generation.session_work import Crew as Crew
    from jukebox_hf.generation.settings import Prompt as Prompt
    from jukebox_hf.generation.shelf import PriorShelf as PriorShelf


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "continuing": ("Source",),
        "devices": ("resolve_device",),
        "editing": ("Part", "find_parts"),
        "estimate": ("describe_plan", "estimate_costs"),
        "exporting": ("export_audio", "export_codes", "export_stereo"),
        "fitting": ("Need", "memory_needs"),
        "session_names": (
            "default_folder",
            "empty_trash",
            "remove_session",
            "rename_session",
            "restore_session",
            "session_folders",
        ),
        "gpus": ("describe_gpus", "estimate_gpus"),
        "memory": ("available_memory",),
        "naming": ("run_notes",),
        "pipeline": ("JukeboxPipeline", "Music", "MusicRun", "Take"),
        "plan": ("Plan",),
        "request": ("Request", "Wanted"),
        "making": ("WindowReport",),
        "session": ("Session",),
        "session_files": ("preview_paths",),
        "session_overview": ("SessionOverview",),
        "session_record": ("ParentRecord", "SessionRecord", "TakeRecord"),
        "session_work": ("Crew",),
        "settings": ("Prompt",),
        "shelf": ("PriorShelf",),
    },
)

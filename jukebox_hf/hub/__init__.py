"""Models on disk and on the Hub: their layout, and what brings older checkpoints into it.

Names are loaded when they are asked for: that there is no such model can be said without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jukebox_hf.hub.built_in import BUILT_IN_NAME, LARGER_MODEL, built_in_model
    from jukebox_hf.hub.conversion import Conversion, convert
    from jukebox_hf.hub.locations import Location, open_location
    from jukebox_hf.hub.manifest import (
        OPENAI_LICENCE,
        AdapterReference,
        ComponentReference,
        Manifest,
        load_manifest,
        save_manifest,
    )
    from jukebox_hf.hub.merging import merge
    from jukebox_hf.hub.pulling import Pull, PulledPart, copy_system, pull
    from jukebox_hf.hub.saving import save_system
    from jukebox_hf.hub.sharing import Push, push, push_system
    from jukebox_hf.hub.system import System
    from jukebox_hf.hub.training_facts import (
        Figure,
        TrainingData,
        TrainingFacts,
        load_training_facts,
        save_training_facts,
    )

_PLACES = {
    "AdapterReference": "manifest",
    "ComponentReference": "manifest",
    "Conversion": "conversion",
    "Figure": "training_facts",
    "BUILT_IN_NAME": "built_in",
    "LARGER_MODEL": "built_in",
    "Location": "locations",
    "Manifest": "manifest",
    "OPENAI_LICENCE": "manifest",
    "Pull": "pulling",
    "PulledPart": "pulling",
    "Push": "sharing",
    "System": "system",
    "TrainingData": "training_facts",
    "TrainingFacts": "training_facts",
    "built_in_model": "built_in",
    "convert": "conversion",
    "copy_system": "pulling",
    "merge": "merging",
    "load_manifest": "manifest",
    "load_training_facts": "training_facts",
    "open_location": "locations",
    "pull": "pulling",
    "push": "sharing",
    "push_system": "sharing",
    "save_manifest": "manifest",
    "save_system": "saving",
    "save_training_facts": "training_facts",
}

__all__ = [
    "BUILT_IN_NAME",
    "LARGER_MODEL",
    "OPENAI_LICENCE",
    "AdapterReference",
    "ComponentReference",
    "Conversion",
    "Figure",
    "Location",
    "Manifest",
    "Pull",
    "PulledPart",
    "Push",
    "System",
    "TrainingData",
    "TrainingFacts",
    "built_in_model",
    "convert",
    "copy_system",
    "load_manifest",
    "load_training_facts",
    "merge",
    "open_location",
    "pull",
    "push",
    "push_system",
    "save_manifest",
    "save_system",
    "save_training_facts",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

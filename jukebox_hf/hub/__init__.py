"""Models on disk and on the Hub: their layout, and what brings older checkpoints into it."""

from jukebox_hf.hub.built_in import built_in_model
from jukebox_hf.hub.conversion import Conversion, convert
from jukebox_hf.hub.manifest import (
    OPENAI_LICENCE,
    AdapterReference,
    ComponentReference,
    Manifest,
    load_manifest,
    save_manifest,
)
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

__all__ = [
    "OPENAI_LICENCE",
    "AdapterReference",
    "ComponentReference",
    "Conversion",
    "Figure",
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
    "pull",
    "push",
    "push_system",
    "save_manifest",
    "save_system",
    "save_training_facts",
]

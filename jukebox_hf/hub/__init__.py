"""Models on disk and on the Hub: their layout, and what brings older checkpoints into it."""

from jukebox_hf.hub.conversion import Conversion, convert
from jukebox_hf.hub.manifest import (
    OPENAI_LICENCE,
    AdapterReference,
    ComponentReference,
    Manifest,
    load_manifest,
    save_manifest,
)
from jukebox_hf.hub.saving import save_system
from jukebox_hf.hub.system import System

__all__ = [
    "OPENAI_LICENCE",
    "AdapterReference",
    "ComponentReference",
    "Conversion",
    "Manifest",
    "System",
    "convert",
    "load_manifest",
    "save_manifest",
    "save_system",
]

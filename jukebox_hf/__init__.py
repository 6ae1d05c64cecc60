"""Jukebox on the Hugging Face stack: music as raw audio, with singing, from words.

Importing this registers the models with transformers' Auto classes, and does nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoProcessor

from jukebox_hf.audio import AudioTags, load_audio, save_audio
from jukebox_hf.codes import Codes, load_codes, save_codes
from jukebox_hf.generation.pipeline import JukeboxPipeline, Music
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.labels import JukeboxLabels, JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior, JukeboxPriorOutput
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE, JukeboxVQVAEOutput

if TYPE_CHECKING:
    from jukebox_hf.data import encode_dataset, open_codes, open_songs
    from jukebox_hf.training.settings import TrainingSettings
    from jukebox_hf.training.trainer import JukeboxTrainer

AutoConfig.register(JukeboxVQVAEConfig.model_type, JukeboxVQVAEConfig, exist_ok=True)
AutoConfig.register(JukeboxPriorConfig.model_type, JukeboxPriorConfig, exist_ok=True)
AutoModel.register(JukeboxVQVAEConfig, JukeboxVQVAE, exist_ok=True)
AutoModel.register(JukeboxPriorConfig, JukeboxPrior, exist_ok=True)
AutoProcessor.register(  # type: ignore[no-untyped-call]
    JukeboxPriorConfig, JukeboxProcessor, exist_ok=True
)

# Imported when they are asked for: Accelerate alone takes seconds.
_LAZY = {
    "JukeboxTrainer": "jukebox_hf.training.trainer",
    "TrainingSettings": "jukebox_hf.training.settings",
    "encode_dataset": "jukebox_hf.data",
    "open_codes": "jukebox_hf.data",
    "open_songs": "jukebox_hf.data",
}

__all__ = [
    "AudioTags",
    "Codes",
    "JukeboxLabels",
    "JukeboxPipeline",
    "JukeboxPrior",
    "JukeboxPriorConfig",
    "JukeboxPriorOutput",
    "JukeboxProcessor",
    "JukeboxTrainer",
    "JukeboxVQVAE",
    "JukeboxVQVAEConfig",
    "JukeboxVQVAEOutput",
    "Music",
    "Prompt",
    "Session",
    "TrainingSettings",
    "encode_dataset",
    "load_audio",
    "load_codes",
    "open_codes",
    "open_songs",
    "save_audio",
    "save_codes",
]


def __getattr__(name: str) -> Any:
    """The names that are imported late."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

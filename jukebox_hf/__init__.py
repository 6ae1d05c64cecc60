"""Jukebox on the Hugging Face stack: music as raw audio, with singing, from words.

Names are imported when they are first asked for: transformers' models alone take seconds, a codes
file needs none of them. The models register with transformers' Auto classes by themselves, in
whichever order the two libraries are imported (`auto_registration`); importing does nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jukebox_hf import auto_registration

if TYPE_CHECKING:
    from jukebox_hf.audio import AudioTags, audio_info, load_audio, save_audio
    from jukebox_hf.codes import Codes, load_codes, save_codes
    from jukebox_hf.data import encode_dataset, open_codes, open_songs
    from jukebox_hf.generation.pipeline import JukeboxPipeline, Music
    from jukebox_hf.generation.session import Session
    from jukebox_hf.generation.settings import Prompt
    from jukebox_hf.labels import JukeboxLabels, JukeboxProcessor
    from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
    from jukebox_hf.prior.modeling_prior import JukeboxPrior, JukeboxPriorOutput
    from jukebox_hf.representations import EmbeddingSettings, JukeboxEmbedder
    from jukebox_hf.training.settings import TrainingSettings
    from jukebox_hf.training.trainer import JukeboxTrainer
    from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
    from jukebox_hf.vqvae.feature_extraction import JukeboxFeatureExtractor
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE, JukeboxVQVAEOutput

# Where each public name comes from; the same lines as above, for Python.
_PLACES = {
    "AudioTags": "jukebox_hf.audio",
    "Codes": "jukebox_hf.codes",
    "EmbeddingSettings": "jukebox_hf.representations",
    "JukeboxEmbedder": "jukebox_hf.representations",
    "JukeboxFeatureExtractor": "jukebox_hf.vqvae.feature_extraction",
    "JukeboxLabels": "jukebox_hf.labels",
    "JukeboxPipeline": "jukebox_hf.generation.pipeline",
    "JukeboxPrior": "jukebox_hf.prior.modeling_prior",
    "JukeboxPriorConfig": "jukebox_hf.prior.configuration_prior",
    "JukeboxPriorOutput": "jukebox_hf.prior.modeling_prior",
    "JukeboxProcessor": "jukebox_hf.labels",
    "JukeboxTrainer": "jukebox_hf.training.trainer",
    "JukeboxVQVAE": "jukebox_hf.vqvae.modeling_vqvae",
    "JukeboxVQVAEConfig": "jukebox_hf.vqvae.configuration_vqvae",
    "JukeboxVQVAEOutput": "jukebox_hf.vqvae.modeling_vqvae",
    "Music": "jukebox_hf.generation.pipeline",
    "Prompt": "jukebox_hf.generation.settings",
    "Session": "jukebox_hf.generation.session",
    "TrainingSettings": "jukebox_hf.training.settings",
    "audio_info": "jukebox_hf.audio",
    "encode_dataset": "jukebox_hf.data",
    "load_audio": "jukebox_hf.audio",
    "load_codes": "jukebox_hf.codes",
    "open_codes": "jukebox_hf.data",
    "open_songs": "jukebox_hf.data",
    "save_audio": "jukebox_hf.audio",
    "save_codes": "jukebox_hf.codes",
}

__all__ = [
    "AudioTags",
    "Codes",
    "EmbeddingSettings",
    "JukeboxEmbedder",
    "JukeboxFeatureExtractor",
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
    "audio_info",
    "encode_dataset",
    "load_audio",
    "load_codes",
    "open_codes",
    "open_songs",
    "save_audio",
    "save_codes",
]

auto_registration.watch()


def __getattr__(name: str) -> Any:
    """A public name, imported now and kept."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    auto_registration.register_if_due()
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Jukebox on the Hugging Face stack: music as raw audio, with singing, from words.

Names are imported when they are first asked for: transformers' models alone take seconds, a codes
file needs none of them. The models register with transformers' Auto classes by themselves, in
whichever order the two libraries are imported (`auto_registration`); importing does nothing else.
"""

from typing import TYPE_CHECKING

from jukebox_hf import auto_registration
from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.audio import AudioTags as AudioTags
    from jukebox_hf.audio import audio_info as audio_info
    from jukebox_hf.audio import load_audio as load_audio
    from jukebox_hf.audio import save_audio as save_audio
    from jukebox_hf.codes import Codes as Codes
    from jukebox_hf.codes import load_codes as load_codes
    from jukebox_hf.codes import save_codes as save_codes
    from jukebox_hf.data import encode_dataset as encode_dataset
    from jukebox_hf.data import open_codes as open_codes
    from jukebox_hf.data import open_songs as open_songs
    from jukebox_hf.generation.pipeline import JukeboxPipeline as JukeboxPipeline
    from jukebox_hf.generation.pipeline import Music as Music
    from jukebox_hf.generation.session import Session as Session
    from jukebox_hf.generation.settings import Prompt as Prompt
    from jukebox_hf.labels import JukeboxLabels as JukeboxLabels
    from jukebox_hf.labels import JukeboxProcessor as JukeboxProcessor
    from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig as JukeboxPriorConfig
    from jukebox_hf.prior.modeling_prior import JukeboxPrior as JukeboxPrior
    from jukebox_hf.prior.modeling_prior import JukeboxPriorOutput as JukeboxPriorOutput
    from jukebox_hf.representations import EmbeddingSettings as EmbeddingSettings
    from jukebox_hf.representations import JukeboxEmbedder as JukeboxEmbedder
    from jukebox_hf.training.settings import TrainingSettings as TrainingSettings
    from jukebox_hf.training.trainer import JukeboxTrainer as JukeboxTrainer
    from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig as JukeboxVQVAEConfig
    from jukebox_hf.vqvae.feature_extraction import (
        JukeboxFeatureExtractor as JukeboxFeatureExtractor,
    )
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE as JukeboxVQVAE
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAEOutput as JukeboxVQVAEOutput


auto_registration.watch()

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "audio": ("AudioTags", "audio_info", "load_audio", "save_audio"),
        "codes": ("Codes", "load_codes", "save_codes"),
        "data": ("encode_dataset", "open_codes", "open_songs"),
        "generation.pipeline": ("JukeboxPipeline", "Music"),
        "generation.session": ("Session",),
        "generation.settings": ("Prompt",),
        "labels": ("JukeboxLabels", "JukeboxProcessor"),
        "prior.configuration_prior": ("JukeboxPriorConfig",),
        "prior.modeling_prior": ("JukeboxPrior", "JukeboxPriorOutput"),
        "representations": ("EmbeddingSettings", "JukeboxEmbedder"),
        "training.settings": ("TrainingSettings",),
        "training.trainer": ("JukeboxTrainer",),
        "vqvae.configuration_vqvae": ("JukeboxVQVAEConfig",),
        "vqvae.feature_extraction": ("JukeboxFeatureExtractor",),
        "vqvae.modeling_vqvae": ("JukeboxVQVAE", "JukeboxVQVAEOutput"),
    },
    after=auto_registration.register_if_due,
)

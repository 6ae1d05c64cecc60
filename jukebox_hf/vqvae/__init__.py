"""Audio to codes and back: the codec, one auto-encoder per level."""

from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.feature_extraction import JukeboxFeatureExtractor
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE, JukeboxVQVAEOutput

__all__ = ["JukeboxFeatureExtractor", "JukeboxVQVAE", "JukeboxVQVAEConfig", "JukeboxVQVAEOutput"]

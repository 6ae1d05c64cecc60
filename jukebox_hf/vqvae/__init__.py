"""Audio to codes and back: the codec, one auto-encoder per level."""

from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE, JukeboxVQVAEOutput

__all__ = ["JukeboxVQVAE", "JukeboxVQVAEConfig", "JukeboxVQVAEOutput"]

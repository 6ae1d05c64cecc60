"""Audio to codes and back: the codec, one auto-encoder per level."""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig as JukeboxVQVAEConfig
    from jukebox_hf.vqvae.feature_extraction import (
        JukeboxFeatureExtractor as JukeboxFeatureExtractor,
    )
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE as JukeboxVQVAE
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAEOutput as JukeboxVQVAEOutput
    from jukebox_hf.vqvae.network import VQVAENetwork as VQVAENetwork


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "configuration_vqvae": ("JukeboxVQVAEConfig",),
        "feature_extraction": ("JukeboxFeatureExtractor",),
        "modeling_vqvae": ("JukeboxVQVAE", "JukeboxVQVAEOutput"),
        "network": ("VQVAENetwork",),
    },
)

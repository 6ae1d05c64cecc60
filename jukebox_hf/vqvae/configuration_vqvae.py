"""The config of a codec as transformers has it; `vqvae_config` says what is in it."""

from jukebox_hf.configuration import JukeboxConfig
from jukebox_hf.strictness import checked_config
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig


@checked_config
class JukeboxVQVAEConfig(VQVAEConfig, JukeboxConfig):  # type: ignore[no-untyped-call]
    __doc__ = VQVAEConfig.__doc__

"""The config of a prior as transformers has it; `prior_config` says what is in it."""

from jukebox_hf.configuration import JukeboxConfig
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.strictness import checked_config


@checked_config
class JukeboxPriorConfig(PriorConfig, JukeboxConfig):  # type: ignore[no-untyped-call]
    __doc__ = PriorConfig.__doc__

"""What may be changed in the config of a model that exists: nothing that its weights depend on."""

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.vqvae import JukeboxVQVAEConfig

# Config fields that may be changed in a model that exists: none that its weights depend on.
CHANGEABLE = {
    "vqvae": "codebook_decay revival_threshold waveform_loss lmix_l1 lmix_l2 lmix_linf "
    "linf_samples commitment_weight spectral_weight multispectral_weight relative_spectral_loss "
    "bandwidth_l1 bandwidth_l2 bandwidth_spectral",
    "prior": "embedding_dropout attention_dropout residual_dropout lyric_loss_fraction",
}


def change_config(
    config: JukeboxVQVAEConfig | JukeboxPriorConfig, settings: TrainingSettings, kind: str
) -> None:
    """Fields of a model that exists: only those that its weights do not depend on."""
    changeable = CHANGEABLE[kind].split()
    for name, value in settings.model.items():
        if name not in changeable and getattr(config, name, None) != value:
            raise ValueError(
                f"model.{name} cannot be changed in a model that exists (start_from); these can: "
                f"{', '.join(changeable)}"
            )
        setattr(config, name, value)

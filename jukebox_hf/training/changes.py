"""What may be changed in the config of a model that exists: nothing that its weights depend on."""

from dataclasses import fields
from typing import Any

from jukebox_hf.configuration import JukeboxConfig
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.vqvae import JukeboxVQVAEConfig

# Config fields that may be changed in a model that exists: none that its weights depend on.
CHANGEABLE = {
    "vqvae": "codebook_decay revival_threshold waveform_loss lmix_l1 lmix_l2 lmix_linf "
    "linf_samples commitment_weight spectral_weight multispectral_weight log_spectral_weight "
    "relative_spectral_loss bandwidth_l1 bandwidth_l2 bandwidth_spectral",
    "prior": "embedding_dropout attention_dropout residual_dropout lyric_loss_fraction",
}
# Fields that a preset does not decide: they follow from codec and songs.
FOLLOWING = {
    "vqvae": "codebook_fingerprint",
    "prior": "level hop_length sampling_rate codebook_size codebook_fingerprint "
    "upper_downsamplings upper_stride artist_count genre_count genre_slots lyric_vocab_size",
}


def change_config(
    config: JukeboxVQVAEConfig | JukeboxPriorConfig, settings: TrainingSettings, kind: str
) -> None:
    """Fields of a model that exists: only those that its weights do not depend on.

    Others may be given if they are what the model has, as a preset gives them; so may `preset`.
    """
    changeable = CHANGEABLE[kind].split()
    given = dict(settings.model)
    preset = given.pop("preset", None)
    if preset is not None:
        named = type(config).preset(preset, **given)
        free = {
            *changeable,
            *FOLLOWING[kind].split(),
            *(each.name for each in fields(JukeboxConfig)),
        }
        names = [each.name for each in fields(config) if each.name not in free]
        given = {name: getattr(named, name) for name in names} | given
    for name, value in given.items():
        there = getattr(config, name, None)
        if _plain(there) == _plain(value):
            continue
        if name not in changeable:
            raise ValueError(
                f"model.{name} cannot be changed in a model that exists (start_from): it is "
                f"{_plain(there)}, not {_plain(value)!r:.80}; these can: {', '.join(changeable)}"
            )
        setattr(config, name, value)


def _plain(value: Any) -> Any:
    """YAML has lists where configs have tuples."""
    return list(value) if isinstance(value, tuple) else value

"""From the settings of a run to its model, data and export: what `JukeboxTrainer` works on.

Everything that can be wrong about settings, songs and models is found out here, before training.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from jukebox_hf.training.building_codec import build_codec
from jukebox_hf.training.building_prior import build_prior
from jukebox_hf.training.run_parts import RunParts
from jukebox_hf.training.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator


def build_parts(
    settings: TrainingSettings, accelerator: "Accelerator", *, checkpoint: Path | None = None
) -> RunParts:
    """Open songs and models, and make what a run works on.

    Args:
        settings: of the run.
        accelerator: device and processes.
        checkpoint: of a run that is resumed: its config and vocabulary hold, and nothing is
            measured again. Its weights are loaded later.

    Raises:
        ValueError: for settings that do not fit songs or models, or no usable songs.
        OSError: if songs or models are not there.
    """
    # The main process first, so that only one fetches what is on the Hub.
    with accelerator.main_process_first():
        if settings.task == "vqvae":
            return build_codec(settings, accelerator, checkpoint)
        return build_prior(settings, accelerator, checkpoint)

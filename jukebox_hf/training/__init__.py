"""Dataset -> trainer -> checkpoint: training codecs and priors, fine-tuning, evaluation.

`TrainingSettings` says what a run is, `JukeboxTrainer` runs it, `evaluate_model` says how good a
model is. Accelerate is imported only with the trainer.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.training.evaluation import (
        CodecEvaluation as CodecEvaluation,
    )
    from jukebox_hf.training.evaluation import (
        PriorEvaluation as PriorEvaluation,
    )
    from jukebox_hf.training.figures import (
        check_recordable as check_recordable,
    )
    from jukebox_hf.training.figures import (
        evaluation_command as evaluation_command,
    )
    from jukebox_hf.training.figures import (
        figures_of as figures_of,
    )
    from jukebox_hf.training.figures import (
        record_figures as record_figures,
    )
    from jukebox_hf.training.figures import (
        shared_name as shared_name,
    )
    from jukebox_hf.training.run_codes import (
        encode_songs as encode_songs,
    )
    from jukebox_hf.training.run_codes import (
        own_codes as own_codes,
    )
    from jukebox_hf.training.run_codes import (
        own_datasets as own_datasets,
    )
    from jukebox_hf.training.run_folder import find_finished as find_finished
    from jukebox_hf.training.scoring import evaluate_model as evaluate_model
    from jukebox_hf.training.settings import (
        NAMES_ELSEWHERE as NAMES_ELSEWHERE,
    )
    from jukebox_hf.training.settings import (
        TrainingSettings as TrainingSettings,
    )
    from jukebox_hf.training.settings import (
        merge_settings as merge_settings,
    )
    from jukebox_hf.training.settings import (
        parse_overrides as parse_overrides,
    )
    from jukebox_hf.training.settings import (
        preset_names as preset_names,
    )
    from jukebox_hf.training.settings import (
        preset_path as preset_path,
    )
    from jukebox_hf.training.settings import (
        setting_names as setting_names,
    )
    from jukebox_hf.training.song_selection import SongSelection as SongSelection
    from jukebox_hf.training.trainer import JukeboxTrainer as JukeboxTrainer


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "evaluation": ("CodecEvaluation", "PriorEvaluation"),
        "figures": (
            "check_recordable",
            "evaluation_command",
            "figures_of",
            "record_figures",
            "shared_name",
        ),
        "run_codes": ("encode_songs", "own_codes", "own_datasets"),
        "run_folder": ("find_finished",),
        "scoring": ("evaluate_model",),
        "settings": (
            "NAMES_ELSEWHERE",
            "TrainingSettings",
            "merge_settings",
            "parse_overrides",
            "preset_names",
            "preset_path",
            "setting_names",
        ),
        "song_selection": ("SongSelection",),
        "trainer": ("JukeboxTrainer",),
    },
)

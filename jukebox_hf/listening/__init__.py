"""How music sounds, in numbers: levels, onsets, pulse, notes, seams, likeness, distances.

Audio and codes go in, plain numbers with intervals come out; no model of ours is needed but for
`music_evaluation`, which puts a folder of generated music beside real music.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.listening.music_evaluation import (
        MEASURES as MEASURES,
    )
    from jukebox_hf.listening.music_evaluation import (
        MusicEvaluation as MusicEvaluation,
    )
    from jukebox_hf.listening.music_evaluation import (
        evaluate_music as evaluate_music,
    )
    from jukebox_hf.listening.picture import save_picture as save_picture


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "music_evaluation": ("MEASURES", "MusicEvaluation", "evaluate_music"),
        "picture": ("save_picture",),
    },
)

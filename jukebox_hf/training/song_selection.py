"""Which songs something is about, and which of them are held out: of training and of evaluation."""

from dataclasses import dataclass
from typing import Any

from jukebox_hf.strictness import checked_config
from jukebox_hf.words import shorten


@checked_config
@dataclass(kw_only=True)
class SongSelection:
    """A dataset, and what of it is held out. `None` means "not given".

    Attributes:
        dataset: folder of songs or codes, or a dataset on the Hub.
        split, subset, revision: of the dataset: see `open_songs`.
        audio_column, artist_column, genre_column, lyrics_column: what it calls them; `None` takes
            `artist`, `genre` and `lyrics` if they are there.
        validation_dataset: songs to evaluate on; else `validation_fraction` of `dataset` is held
            out, by song.
        validation_fraction: share of songs held out; at least one song, unless 0.
        seed: of that choice.
    """

    dataset: str | None = None
    split: str | None = None
    subset: str | None = None
    revision: str | None = None
    audio_column: str = "audio"
    artist_column: str | None = None
    genre_column: str | None = None
    lyrics_column: str | None = None
    validation_dataset: str | None = None
    validation_fraction: float | int = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `ValueError` for a share or a seed that makes no sense."""
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                "validation_fraction must be at least 0 and below 1, got "
                f"{shorten(self.validation_fraction)}"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {shorten(self.seed)}")

    def place(self) -> dict[str, Any]:
        """What `open_songs` is told beside the dataset."""
        return {
            "split": self.split,
            "subset": self.subset,
            "revision": self.revision,
            "audio_column": self.audio_column,
            "artist_column": self.artist_column,
            "genre_column": self.genre_column,
            "lyrics_column": self.lyrics_column,
        }

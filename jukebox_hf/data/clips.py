"""Clips of songs as training examples for the codec: exact pieces of audio of equal length.

Songs go in; items with audio (1, clip_samples) come out. Only the piece of a song that is wanted is
decoded. `items` decides which piece it is.
"""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor
from torch.utils.data import Dataset

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.items import ItemWindows, Pick, check_lengths
from jukebox_hf.data.song_reading import SongReader
from jukebox_hf.data.songs import Song


class Clip(TypedDict):
    """An item of `ClipDataset`; torch's default collation stacks them.

    Attributes:
        audio: (1, clip_samples) float32.
        song: which of the dataset's `songs` it is from.
        offset_samples, total_samples: where it starts in that song, and how long the song is, in
            samples at the dataset's rate.
    """

    audio: Tensor
    song: int
    offset_samples: int
    total_samples: int


class ClipDataset(Dataset[Clip]):
    """Clips spread over whole songs, as many as fit into them.

    Args:
        songs: as `open_songs` gives them; those shorter than a clip are left out, see `skipped`.
        sampling_rate: of the clips (Hz).
        clip_samples: their length.
        blend_channels: mix a stereo clip down in random proportions, one per clip; otherwise half
            and half. Other numbers of channels are averaged in any case.
        shift: move every clip by up to half its length, differently in every epoch.
        seed: of the shifts and proportions.

    Attributes:
        songs: as given.
        skipped: songs that are shorter than a clip.

    A clip that cannot be read, because its song is damaged in the middle, is replaced by another
    one, always the same; the song then appears in `unreadable()`.

    Raises:
        ValueError: if no song is as long as a clip.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        *,
        sampling_rate: int,
        clip_samples: int,
        blend_channels: bool = False,
        shift: bool = False,
        seed: int = 0,
    ) -> None:
        self.songs = tuple(songs)
        self.sampling_rate = sampling_rate
        self.clip_samples = clip_samples
        self._totals = [song.num_samples(sampling_rate) for song in self.songs]
        self._items = ItemWindows(self._totals, clip_samples, shift=shift, seed=seed)
        self._reader = SongReader(self.songs, sampling_rate, blend_channels=blend_channels)
        self.skipped = check_lengths(
            [song.name for song in self.songs],
            [total / sampling_rate for total in self._totals],
            clip_samples / sampling_rate,
            "a clip",
        )

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Clip:
        """Clip number `item` of this epoch."""

        def read(pick: Pick) -> Tensor:
            song, offset = pick.window
            return self._reader.read(song, offset, self.clip_samples, pick.random.blend)

        (song, offset), audio = self._reader.first_readable(self._items.picks(item), read)
        return Clip(audio=audio, song=song, offset_samples=offset, total_samples=self._totals[song])

    def set_epoch(self, epoch: int) -> None:
        """Draw other shifts and proportions from now on.

        This reaches the workers of a `DataLoader` that start after it, not those that run already.
        """
        self._items.set_epoch(epoch)

    def unreadable(self) -> tuple[SkippedSong, ...]:
        """The songs of which something could not be read so far, by any worker."""
        return self._reader.unreadable()

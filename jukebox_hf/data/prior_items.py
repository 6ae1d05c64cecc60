"""Windows of codes as training examples for a prior: from a dataset of codes, or made from audio.

Songs go in; items with the codes of one window come out, with the codes of the level above that an
upsampler needs, and with the labels and lyrics of that window. Both kinds of dataset choose the
same windows, and give the same codes for them: see `regions`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.code_songs import CodeSongs
from jukebox_hf.data.items import Pick
from jukebox_hf.data.prior_windows import PriorWindows
from jukebox_hf.data.regions import encodable_samples, encoding_margin, region_around
from jukebox_hf.data.song_reading import SongReader
from jukebox_hf.data.songs import Song
from jukebox_hf.labels import JukeboxLabels, PriorProcessor
from jukebox_hf.vqvae.network import VQVAENetwork


class PriorExample(TypedDict):
    """An item for a prior; torch's default collation stacks everything in it.

    Attributes:
        codes: (context_length,) int64.
        upper_codes: (context_length / upper_ratio,) int64, for upsamplers only.
        labels: scalars, and `genres` (genre_slots,); without a batch. Only with a processor whose
            prior takes labels.
        lyric_tokens: (lyric_length,) int64. Only with a processor whose prior reads lyrics.
        song: which of the dataset's `songs` it is from.
    """

    codes: Tensor
    upper_codes: NotRequired[Tensor]
    labels: NotRequired[JukeboxLabels]
    lyric_tokens: NotRequired[Tensor]
    song: int


class AudioExample(TypedDict):
    """An item of `AudioPriorDataset`, before its audio has been encoded.

    Attributes:
        audio: (1, region) float32: a window and what its codes depend on; zeros after a short song.
        audio_samples: how many samples of it are the song's.
        skip_samples: how many of these come before the window.
        labels, lyric_tokens, song: as of `PriorExample`.
    """

    audio: Tensor
    audio_samples: int
    skip_samples: int
    labels: NotRequired[JukeboxLabels]
    lyric_tokens: NotRequired[Tensor]
    song: int


class CodeDataset(Dataset[PriorExample]):
    """Windows of stored codes, spread over whole songs, as many as fit into them.

    Args:
        code_songs: as `open_codes` gives them.
        level: whose codes.
        context_length: codes in a window.
        upper_ratio: codes per code of the level above, for upsamplers; None: without upper codes.
            Windows then begin at a whole upper code.
        processor: of the prior, for labels and lyrics; None: without.
        shift: move every window by up to half its length, differently in every epoch.
        seed: of the shifts.

    Attributes:
        songs: as given.
        skipped: songs that are shorter than a window, or that the prior does not take.
        notes: what the prior does not know of the songs.

    Raises:
        ValueError: if no song is as long as a window, or the arguments contradict each other. For
            whether codes and prior belong together, see `CodeSongs.check`.
    """

    def __init__(
        self,
        code_songs: CodeSongs,
        *,
        level: int,
        context_length: int,
        upper_ratio: int | None = None,
        processor: PriorProcessor | None = None,
        shift: bool = False,
        seed: int = 0,
    ) -> None:
        self.songs = code_songs.songs
        self._codes = code_songs
        self._windows = PriorWindows(
            self.songs,
            [song.total_samples for song in self.songs],
            hop_lengths=code_songs.info.hop_lengths,
            sampling_rate=code_songs.info.sampling_rate,
            level=level,
            context_length=context_length,
            upper_ratio=upper_ratio,
            processor=processor,
            shift=shift,
            seed=seed,
        )
        self.skipped, self.notes = self._windows.skipped, self._windows.notes

    def __len__(self) -> int:
        return len(self._windows.items)

    def __getitem__(self, item: int) -> PriorExample:
        """Window number `item` of this epoch."""
        windows = self._windows
        window = windows.items.pick(item).window
        start = windows.first_code(window)
        level, length = windows.level, windows.context_length
        example: dict[str, Any] = {
            "codes": self._codes.codes(window.song, level, start, start + length)
        }
        if windows.upper_ratio is not None:
            upper = start // windows.upper_ratio
            example["upper_codes"] = self._codes.codes(
                window.song, level + 1, upper, upper + length // windows.upper_ratio
            )
        example |= {**windows.labels(window), "song": window.song}
        return cast("PriorExample", example)

    def set_epoch(self, epoch: int) -> None:
        """Draw other shifts from now on.

        This reaches the workers of a `DataLoader` that start after it, not those that run already.
        """
        self._windows.items.set_epoch(epoch)


class AudioPriorDataset(Dataset[AudioExample]):
    """The same windows as audio, to be encoded by `encode` where the codec is.

    Args:
        songs: as `open_songs` gives them.
        vqvae: the codec that will encode them; only its settings are used here.
        blend_channels: mix stereo down in random proportions, one per window; the codes are then
            not those of a dataset of codes.
        level, context_length, upper_ratio, processor, shift, seed: as of `CodeDataset`.

    Attributes and errors are those of `CodeDataset`. Windows that cannot be read are replaced as in
    `ClipDataset`.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        vqvae: VQVAENetwork,
        *,
        level: int,
        context_length: int,
        upper_ratio: int | None = None,
        processor: PriorProcessor | None = None,
        blend_channels: bool = False,
        shift: bool = False,
        seed: int = 0,
    ) -> None:
        config = vqvae.config
        self.songs = tuple(songs)
        totals = [song.num_samples(config.sampling_rate) for song in self.songs]
        self._windows = PriorWindows(
            self.songs,
            totals,
            hop_lengths=config.hop_lengths,
            sampling_rate=config.sampling_rate,
            level=level,
            context_length=context_length,
            upper_ratio=upper_ratio,
            processor=processor,
            shift=shift,
            seed=seed,
        )
        self._encodable = [encodable_samples(total, config.hop_lengths) for total in totals]
        self._levels = [level] if upper_ratio is None else [level, level + 1]
        self._margin = encoding_margin(vqvae, self._levels)
        self._reader = SongReader(self.songs, config.sampling_rate, blend_channels=blend_channels)
        self.skipped, self.notes = self._windows.skipped, self._windows.notes

    def __len__(self) -> int:
        return len(self._windows.items)

    def __getitem__(self, item: int) -> AudioExample:
        """Window number `item` of this epoch."""
        windows = self._windows
        size = windows.context_length * windows.hop_length

        def read(pick: Pick) -> tuple[Tensor, int]:
            start = windows.first_code(pick.window) * windows.hop_length
            total = self._encodable[pick.window.song]
            region = region_around(start, start + size, margin=self._margin, total=total)
            audio = self._reader.read(
                pick.window.song, region.start, region.stop - region.start, pick.random.blend
            )
            return audio, start - region.start

        window, (audio, skip) = self._reader.first_readable(windows.items.picks(item), read)
        missing = size + 2 * self._margin - audio.shape[1]
        example = {
            "audio": pad(audio, (0, missing)),
            "audio_samples": audio.shape[1],
            "skip_samples": skip,
            **windows.labels(window),
            "song": window.song,
        }
        return cast("AudioExample", example)

    def encode(self, vqvae: VQVAENetwork, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A collated batch with `codes`, and `upper_codes` for upsamplers, in place of its audio.

        The codes are where the audio is. Each item's are those of its song encoded as a whole.
        """
        audio, lengths = batch["audio"], batch["audio_samples"]
        codes: dict[int, Tensor] = {}
        num_samples = self._windows.context_length * self._windows.hop_length
        for level in self._levels:
            time = num_samples // vqvae.config.hop_lengths[level]
            codes[level] = audio.new_empty((len(audio), time), dtype=torch.int64)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0].to(audio.device)
            encoded = vqvae.encode(audio[rows, :, :length], self._levels)
            for level, found in zip(self._levels, encoded, strict=True):
                first = (
                    batch["skip_samples"].to(audio.device)[rows] // vqvae.config.hop_lengths[level]
                )
                places = torch.arange(codes[level].shape[1], device=audio.device)
                codes[level][rows] = found.gather(1, first[:, None] + places)
        rest = {
            name: value
            for name, value in batch.items()
            if name not in ("audio", "audio_samples", "skip_samples")
        }
        names = ("codes", "upper_codes")
        return {**{names[i]: codes[level] for i, level in enumerate(self._levels)}, **rest}

    def set_epoch(self, epoch: int) -> None:
        """Draw other shifts and proportions from now on; see `CodeDataset`."""
        self._windows.items.set_epoch(epoch)

    def unreadable(self) -> tuple[SkippedSong, ...]:
        """The songs of which something could not be read so far, by any worker."""
        return self._reader.unreadable()

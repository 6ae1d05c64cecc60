"""Windows of codes as training examples for a prior: from a dataset of codes, or made from audio.

Songs go in; items with the codes of one window come out, with the codes of the level above that an
upsampler needs, and with the labels and lyrics of that window. Both kinds of dataset choose the
same windows, and give the same codes for them: see `regions`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.codes import CodeSongs
from jukebox_hf.data.items import ItemWindows, Pick, check_lengths
from jukebox_hf.data.reading import SongReader
from jukebox_hf.data.regions import encodable_samples, encoding_margin, region_around
from jukebox_hf.data.songs import Song
from jukebox_hf.data.windows import Window
from jukebox_hf.labels import (
    UNKNOWN,
    JukeboxLabels,
    JukeboxProcessor,
    ResolvedLabels,
    TimedLyrics,
    genre_keys,
    normalise_name,
)
from jukebox_hf.vqvae import JukeboxVQVAE

# Songs whose lyrics are kept in memory as symbols.
REMEMBERED_SONGS = 512


class Piece(Protocol):
    """What is known of a song; `Song` and `CodeSong` are pieces."""

    @property
    def name(self) -> str: ...
    @property
    def artist(self) -> str: ...
    @property
    def genre(self) -> str: ...
    @property
    def lyrics(self) -> str | None: ...
    @property
    def lyric_times(self) -> TimedLyrics | None: ...


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
        processor: JukeboxProcessor | None = None,
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
        vqvae: JukeboxVQVAE,
        *,
        level: int,
        context_length: int,
        upper_ratio: int | None = None,
        processor: JukeboxProcessor | None = None,
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

    def encode(self, vqvae: JukeboxVQVAE, batch: Mapping[str, Any]) -> dict[str, Any]:
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


class PriorWindows:
    """Which windows of codes songs have, and what a prior is told about each.

    Args:
        pieces: the songs.
        totals: their lengths in samples.
        hop_lengths, sampling_rate: of the codec, all levels.
        level, context_length, upper_ratio, processor, shift, seed: see `CodeDataset`.

    Attributes:
        items: the windows, in units of `upper_ratio` codes.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        totals: Sequence[int],
        *,
        hop_lengths: Sequence[int],
        sampling_rate: int,
        level: int,
        context_length: int,
        upper_ratio: int | None,
        processor: JukeboxProcessor | None,
        shift: bool,
        seed: int,
    ) -> None:
        _check_settings(hop_lengths, sampling_rate, level, context_length, upper_ratio, processor)
        self.level = level
        self.context_length = context_length
        self.upper_ratio = upper_ratio
        self.hop_length = hop_lengths[level]
        self._pieces = pieces
        self._totals = totals
        self._processor = processor
        self._unit = upper_ratio or 1
        self._resolved: dict[int, ResolvedLabels] = {}
        encodable = [encodable_samples(total, hop_lengths) for total in totals]
        refused = {} if processor is None else _refused(processor, pieces, totals)
        if pieces and len(refused) == len(pieces):
            name, reason = next(iter(refused.values()))
            raise ValueError(f"this prior takes none of the {len(pieces)} songs: {name}: {reason}")
        kept = [song for song in range(len(pieces)) if song not in refused]
        short = check_lengths(
            [pieces[song].name for song in kept],
            [encodable[song] / sampling_rate for song in kept],
            context_length * self.hop_length / sampling_rate,
            "the prior's window",
        )
        self.skipped = tuple(sorted([*refused.values(), *short]))
        self.notes = () if processor is None else _unknown_names(processor, pieces)
        unit_samples = self._unit * self.hop_length
        self.items = ItemWindows(
            [
                0 if song in refused else encodable[song] // unit_samples
                for song in range(len(pieces))
            ],
            context_length // self._unit,
            shift=shift,
            seed=seed,
        )

    def first_code(self, window: Window) -> int:
        """Where a window begins in its song, in codes."""
        return window.offset * self._unit

    def labels(self, window: Window) -> dict[str, Any]:
        """What the prior is told about a window, as `PriorExample` has it."""
        if self._processor is None:
            return {}
        found = self._processor.window(
            [self._resolve(window.song)],
            total_samples=self._totals[window.song],
            offset_samples=self.first_code(window) * self.hop_length,
            match_2020_rounding=False,  # the release, too, was exact where it read datasets
        )
        example: dict[str, Any] = {}
        if found.labels is not None:
            example["labels"] = JukeboxLabels(*(tensor[0] for tensor in found.labels))
        if found.lyric_tokens is not None:
            example["lyric_tokens"] = found.lyric_tokens[0]
        return example

    def _resolve(self, song: int) -> ResolvedLabels:
        if song not in self._resolved:
            assert self._processor is not None
            if len(self._resolved) >= REMEMBERED_SONGS:
                self._resolved.clear()
            piece = self._pieces[song]
            artist = piece.artist if _knows_artist(self._processor, piece.artist) else None
            lyrics = piece.lyric_times or piece.lyrics
            self._resolved[song] = self._processor.resolve(artist, _genre(piece), lyrics)
        return self._resolved[song]


def _check_settings(
    hop_lengths: Sequence[int],
    sampling_rate: int,
    level: int,
    context_length: int,
    upper_ratio: int | None,
    processor: JukeboxProcessor | None,
) -> None:
    top = len(hop_lengths) - 1
    if not 0 <= level <= top:
        raise ValueError(f"level must be from 0 to {top}, got {level}")
    if upper_ratio is not None:
        if level == top:
            raise ValueError(f"level {level} is the top level; there are no upper codes")
        ratio = hop_lengths[level + 1] // hop_lengths[level]
        if upper_ratio != ratio or context_length % ratio:
            raise ValueError(
                f"upper_ratio must be {ratio} at level {level} of this codec and divide "
                f"context_length, got {upper_ratio} and {context_length}"
            )
    if processor is not None:
        mine = (sampling_rate, context_length * hop_lengths[level])
        theirs = (processor.sampling_rate, processor.window_samples)
        if mine != theirs:
            raise ValueError(
                f"the processor is for {theirs[0]} Hz and windows of {theirs[1]} samples, but here "
                f"they have {mine[0]} Hz and {mine[1]} samples; use the processor of this prior"
            )


def _refused(
    processor: JukeboxProcessor, pieces: Sequence[Piece], totals: Sequence[int]
) -> dict[int, SkippedSong]:
    """The songs that the prior cannot be told about, by their numbers, with the reasons."""
    genres: dict[str | None, str | None] = {}
    found = {}
    for song, (piece, total) in enumerate(zip(pieces, totals, strict=True)):
        genre = _genre(piece)
        if genre not in genres:
            genres[genre] = _problem(lambda genre=genre: processor.resolve(genre=genre))  # type: ignore[misc]
        reason = genres[genre] or _problem(lambda total=total: processor.check_total(total))  # type: ignore[misc]
        if reason:
            found[song] = SkippedSong(piece.name, reason)
    return found


def _problem(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ValueError as error:
        return str(error)
    return None


def _genre(piece: Piece) -> str | None:
    return None if piece.genre == UNKNOWN else piece.genre


def _knows_artist(processor: JukeboxProcessor, artist: str) -> bool:
    return normalise_name(artist, processor.dialect) in processor.artists


def _unknown_names(processor: JukeboxProcessor, pieces: Sequence[Piece]) -> tuple[str, ...]:
    """Notes on artists and genres that the prior takes for unknown ones."""
    if not processor.has_labels:
        return ()
    artists = {piece.artist for piece in pieces} - {UNKNOWN}
    genres = {piece.genre for piece in pieces} - {UNKNOWN}
    unknown = {
        "artist": [name for name in artists if not _knows_artist(processor, name)],
        "genre": [
            name
            for name in genres
            if any(key not in processor.genres for key in genre_keys(name, processor.dialect))
        ],
    }
    return tuple(
        f"{len(names)} {kind} name{'s'[: len(names) > 1]} unknown to the prior: "
        f"{', '.join(sorted(names)[:10])}{', ...' * (len(names) > 10)}"
        for kind, names in unknown.items()
        if names
    )

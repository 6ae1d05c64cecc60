"""Which windows of codes songs have, and what a prior is told about each: labels and lyrics.

Songs with their lengths go in; windows in codes come out, and for each what a `PriorProcessor`
makes of the song's artist, genre and lyrics there. Getting the codes is `prior_items`' work.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.items import ItemWindows, check_lengths
from jukebox_hf.data.regions import encodable_samples
from jukebox_hf.data.reporting import LabelledSong
from jukebox_hf.data.song_windows import SongWindow
from jukebox_hf.labels import (
    UNKNOWN,
    JukeboxLabels,
    PriorProcessor,
    ResolvedLabels,
    genre_keys,
    normalise_name,
)

# Songs whose lyrics are kept in memory as symbols.
REMEMBERED_SONGS = 512


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
        pieces: Sequence[LabelledSong],
        totals: Sequence[int],
        *,
        hop_lengths: Sequence[int],
        sampling_rate: int,
        level: int,
        context_length: int,
        upper_ratio: int | None,
        processor: PriorProcessor | None,
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

    def first_code(self, window: SongWindow) -> int:
        """Where a window begins in its song, in codes."""
        return window.offset * self._unit

    def labels(self, window: SongWindow) -> dict[str, Any]:
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
    processor: PriorProcessor | None,
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
    processor: PriorProcessor, pieces: Sequence[LabelledSong], totals: Sequence[int]
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


def _genre(piece: LabelledSong) -> str | None:
    return None if piece.genre == UNKNOWN else piece.genre


def _knows_artist(processor: PriorProcessor, artist: str) -> bool:
    return normalise_name(artist, processor.dialect) in processor.artists


def _unknown_names(processor: PriorProcessor, pieces: Sequence[LabelledSong]) -> tuple[str, ...]:
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

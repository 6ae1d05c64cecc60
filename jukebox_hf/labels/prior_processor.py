"""The processor of one prior: artist, genre, timing and lyrics in, tensors out.

Nothing of transformers is needed; `JukeboxProcessor` is what its Auto classes find.

Every prior has its own, saved in its folder, because the priors of one system may speak different
dialects: the released 1b top prior was trained on label set v3, the upsamplers below it on v2.
"""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jukebox_hf.labels.checks import (
    LARGEST_TEXT,
    PriorSettings,
    prior_problems,
    require_count,
    require_limits,
    require_lyrics,
    require_offset,
    require_text,
    require_total,
)
from jukebox_hf.labels.genre_aliases import GenreAliases
from jukebox_hf.labels.lyric_formats import FoundLyrics, find_lyrics, looks_like_file_name
from jukebox_hf.labels.lyric_windows import LyricWindow, linear_centre, lyric_window
from jukebox_hf.labels.lyrics import LyricAlphabet
from jukebox_hf.labels.storage import read_processor_files, write_processor_files
from jukebox_hf.labels.tensors import (
    PriorInputs,
    ResolvedLabels,
    WindowLabels,
    stack_labels,
    stack_lyrics,
)
from jukebox_hf.labels.timed_lyrics import TimedLyrics, character_at
from jukebox_hf.labels.vocabularies import (
    DIALECTS,
    UNKNOWN_ID,
    Dialect,
    FoundNames,
    Vocabulary,
    genre_keys,
    normalise_name,
)

if TYPE_CHECKING:
    from torch import Tensor

# The arguments that stand in `processor_config.json`; names have a file of their own.
SETTINGS = (
    "dialect",
    "genre_slots",
    "lyric_characters",
    "lyric_length",
    "sampling_rate",
    "window_samples",
    "min_total_seconds",
    "max_total_seconds",
)


class PriorProcessor:
    """Artist, genre, timing and lyrics as one prior reads them.

    Args:
        artists, genres: table row by name; none of either: the prior has no labels. Row 0 is meant
            for names that the prior does not know.
        genre_aliases: other words for these genres; see `jukebox_hf.labels.genre_aliases`.
        dialect: how names are spelt, "v2" or "v3"; see `jukebox_hf.labels.vocabularies`.
        genre_slots: most genre words of one piece. A v3 genre is one.
        lyric_characters: every symbol that can be sung, the first of which has id 1; empty: the
            prior reads no lyrics. `LYRIC_CHARACTERS` has those of the released models.
        lyric_length: symbols that the prior sees at once; even.
        sampling_rate: of the audio, in Hz.
        window_samples: length of the prior's window, in audio samples.
        min_total_seconds, max_total_seconds: allowed length of a whole piece, maximum excluded; no
            maximum: any length, for priors without timing.

    Raises:
        ValueError: for settings that contradict each other or are of the wrong type.
    """

    def __init__(
        self,
        *,
        artists: Mapping[str, int] | None = None,
        genres: Mapping[str, int] | None = None,
        genre_aliases: Mapping[str, Any] | None = None,
        dialect: Dialect = "v3",
        genre_slots: int = 1,
        lyric_characters: str = "",
        lyric_length: int = 0,
        sampling_rate: int = 44100,
        window_samples: int = 8192,
        min_total_seconds: float = 0.0,
        max_total_seconds: float | None = None,
    ) -> None:
        self.dialect: Dialect = dialect
        self.genre_slots = genre_slots
        self.lyric_characters = lyric_characters
        self.lyric_length = lyric_length
        self.sampling_rate = sampling_rate
        self.window_samples = window_samples
        self.min_total_seconds = min_total_seconds
        self.max_total_seconds = max_total_seconds
        if dialect not in DIALECTS:
            raise ValueError(f"dialect must be one of {', '.join(DIALECTS)}, got {dialect!r:.80}")
        require_count("genre_slots", genre_slots, largest=LARGEST_TEXT)
        require_count("sampling_rate", sampling_rate)
        require_count("window_samples", window_samples)
        require_limits(min_total_seconds, max_total_seconds)
        require_lyrics(lyric_characters, lyric_length)
        self.artists = Vocabulary(artists or {}, dialect=dialect, kind="artist")
        self.genres = Vocabulary(genres or {}, dialect=dialect, kind="genre")
        self.genre_aliases = GenreAliases(genre_aliases, self.genres)
        if bool(self.artists) != bool(self.genres):
            raise ValueError(
                "a prior has both artists and genres or neither, "
                f"got {len(self.artists)} artists and {len(self.genres)} genres"
            )
        self._alphabet = LyricAlphabet(lyric_characters)

    @classmethod
    def for_prior(
        cls,
        config: PriorSettings,
        *,
        artists: Mapping[str, int] | None = None,
        genres: Mapping[str, int] | None = None,
        dialect: Dialect = "v3",
        lyric_characters: str = "",
    ) -> Self:
        """The processor that fits a prior's config, with these names and lyric characters.

        Raises:
            ValueError: if they do not fit its tables.
        """
        processor = cls(
            artists=artists,
            genres=genres,
            dialect=dialect,
            genre_slots=max(config.genre_slots, 1),
            lyric_characters=lyric_characters,
            lyric_length=config.lyric_length,
            sampling_rate=config.sampling_rate,
            window_samples=config.window_samples,
            min_total_seconds=config.min_total_seconds if config.has_timing else 0.0,
            max_total_seconds=config.max_total_seconds if config.has_timing else None,
        )
        processor.check(config)
        return processor

    @property
    def has_labels(self) -> bool:
        """Whether the prior takes artist and genre."""
        return bool(self.artists)

    @property
    def reads_lyrics(self) -> bool:
        """Whether the prior takes lyrics."""
        return self.lyric_length > 0

    def check(self, config: PriorSettings) -> None:
        """Raise `ValueError` if this is not the processor of a prior with that config."""
        problems = prior_problems(
            {name: getattr(self, name) for name in SETTINGS},
            config,
            artist_rows=self.artists.num_rows,
            genre_rows=self.genres.num_rows,
        )
        if problems:
            raise ValueError(
                f"this processor does not belong to this prior: {'; '.join(problems)}; use the "
                "processor from the prior's own folder"
            )

    def resolve(
        self,
        artist: str | None = None,
        genre: str | None = None,
        lyrics: str | TimedLyrics | None = None,
    ) -> ResolvedLabels:
        """Look up what a piece is, in words that a user gave.

        `None` or an empty name is `unknown`, without a note. A genre that the prior does not know
        is looked for among its `genre_aliases`; what it is taken for is a note. Text with times is
        timed lyrics (`find_lyrics`); what was left out of it is a note. A prior without labels or
        lyrics leaves out what it does not take: see `has_labels` and `reads_lyrics`.

        Raises:
            ValueError: for more genre words than the prior has slots.
        """
        require_text("artist", artist)
        require_text("genre", genre)
        if not isinstance(lyrics, TimedLyrics):
            require_text("lyrics", lyrics)
        notes: list[str | None] = []
        artist_id, genre_ids = UNKNOWN_ID, []
        if self.has_labels:
            artist_key = normalise_name(artist or "", self.dialect)
            artist_id, note = self.artists.look_up(artist_key, artist or "")
            notes.append(note)
            genre, note = self._known_genre(genre or "")
            notes.append(note)
            words = genre_keys(genre, self.dialect)
            self._check_genre_slots(genre, words)
            for key in words:
                genre_id, note = self.genres.look_up(key, key if len(words) > 1 else genre)
                genre_ids.append(genre_id)
                notes.append(note)
        text, seconds = "", None
        if self.reads_lyrics and lyrics is not None:
            lyrics, lyric_notes = _understand(lyrics)
            notes += lyric_notes
            whole = lyrics.text if isinstance(lyrics, TimedLyrics) else lyrics
            text, lyric_notes = self._alphabet.explain(whole)
            notes += lyric_notes
            if isinstance(lyrics, TimedLyrics):
                text, seconds = lyrics.clean(self._alphabet)
        return ResolvedLabels(
            artist_id=artist_id,
            genre_ids=tuple(genre_ids),
            artist_name=self.artists.name(artist_id) if self.has_labels else "",
            genre_name="_".join(self.genres.name(row) for row in genre_ids),
            lyric_ids=self._alphabet.encode(text),
            lyric_text=text,
            lyric_seconds=seconds,
            notes=tuple(note for note in notes if note is not None),
        )

    def _known_genre(self, genre: str) -> tuple[str, str | None]:
        """The genre to look up: the given one, or the one that an alias leads to, with a note."""
        if all(key in self.genres for key in genre_keys(genre, self.dialect)):
            return genre, None
        alias = self.genre_aliases.find(genre)
        if alias is None:
            return genre, None
        if alias.is_same:
            return alias.genre, f"genre {genre!r:.80} is {alias.genre!r} to this model"
        return alias.genre, (
            f"{genre!r:.80} is not a genre of this model; using {alias.genre!r}, the nearest"
        )

    def search(self, text: str) -> FoundNames:
        """The artists and genres that contain a text or, if none does, those that look like it.

        Case, accents and punctuation do not count; an empty text finds everything.
        """
        artists, genres = self.artists.search(text), self.genres.search_genre(text)
        if artists or genres:
            return FoundNames(artists, genres, alike=False)
        return FoundNames(self.artists.closest(text, 8), self.genres.closest(text, 8), alike=True)

    def _check_genre_slots(self, genre: str, keys: Sequence[str]) -> None:
        if len(keys) > self.genre_slots:
            raise ValueError(
                f"genre {genre!r} has {len(keys)} words ({', '.join(keys)}), but this prior takes "
                f"at most {self.genre_slots}; leave some out"
            )

    def check_total(self, total_samples: int) -> None:
        """Raise `ValueError` if the prior was not made for pieces of that length."""
        require_total(
            total_samples,
            sampling_rate=self.sampling_rate,
            min_total_seconds=self.min_total_seconds,
            max_total_seconds=self.max_total_seconds,
        )

    def window(
        self,
        resolved: Sequence[ResolvedLabels],
        *,
        total_samples: Sequence[int] | int,
        offset_samples: Sequence[int] | int,
        match_2020_rounding: bool = True,
    ) -> WindowLabels:
        """What the prior reads for the window that starts at an offset, per piece.

        Args:
            resolved: one per piece.
            total_samples: length of the whole piece, in audio samples; one for all or one each.
            offset_samples: where the window starts in it, 0 <= offset < total; likewise.
            match_2020_rounding: place lyrics in float32 arithmetic, as the released sampler did;
                false: in double precision, as it did for training data. Timed lyrics need neither.

        Raises:
            ValueError: for an offset outside the piece, or a length that `check_total` refuses.
        """
        totals = _one_each("total_samples", total_samples, len(resolved))
        offsets = _one_each("offset_samples", offset_samples, len(resolved))
        for total, offset in zip(totals, offsets, strict=True):
            self.check_total(total)
            require_offset(offset, total, sampling_rate=self.sampling_rate)
        tokens = indices = None
        spans: tuple[tuple[int, int] | None, ...] = (None,) * len(resolved)
        if self.reads_lyrics:
            windows = [
                self._lyric_window(piece, total, offset, match_2020_rounding)
                for piece, total, offset in zip(resolved, totals, offsets, strict=True)
            ]
            tokens, indices = stack_lyrics(resolved, windows, self.lyric_length)
            spans = tuple(window.span for window in windows)
        labels = None
        if self.has_labels:
            labels = stack_labels(resolved, totals, offsets, self.genre_slots)
        return WindowLabels(labels, tokens, indices, spans)

    def _lyric_window(
        self, piece: ResolvedLabels, total: int, offset: int, match_2020_rounding: bool
    ) -> LyricWindow:
        if piece.lyric_seconds is not None:
            middle = (offset + self.window_samples / 2) / self.sampling_rate
            centre = character_at(piece.lyric_seconds, middle)
        else:
            centre = linear_centre(
                len(piece.lyric_ids),
                total_samples=total,
                offset_samples=offset,
                window_samples=self.window_samples,
                match_2020_rounding=match_2020_rounding,
            )
        return lyric_window(len(piece.lyric_ids), centre, self.lyric_length)

    def __call__(
        self,
        artist: str | Sequence[str | None] | None = None,
        genre: str | Sequence[str | None] | None = None,
        lyrics: str | TimedLyrics | Sequence[str | TimedLyrics | None] | None = None,
        *,
        total_samples: Sequence[int] | int | None = None,
        total_seconds: Sequence[float] | float | None = None,
        offset_samples: Sequence[int] | int = 0,
        match_2020_rounding: bool = True,
    ) -> PriorInputs:
        """The keyword arguments of the prior, for one piece or a batch, in one step.

        Lists have one entry per piece; a single value holds for all. Of `total_samples` and
        `total_seconds` one is needed. What `resolve` notes becomes warnings. A prior that takes
        neither labels nor lyrics needs no arguments.

        Raises:
            ValueError: as `resolve` and `window` do, and for lists of different lengths.
        """
        if not (self.has_labels or self.reads_lyrics):
            return PriorInputs()
        if (total_samples is None) == (total_seconds is None):
            raise ValueError("give the length of a piece, as total_samples or as total_seconds")
        totals: Any = total_samples if total_samples is not None else total_seconds
        batch, columns = _columns(
            artist=artist, genre=genre, lyrics=lyrics, total=totals, offset_samples=offset_samples
        )
        if total_seconds is not None:
            columns["total"] = [self._samples(seconds) for seconds in columns["total"]]
        resolved = [
            self.resolve(columns["artist"][i], columns["genre"][i], columns["lyrics"][i])
            for i in range(batch)
        ]
        for note in dict.fromkeys(note for piece in resolved for note in piece.notes):
            warnings.warn(note, stacklevel=2)
        return self.window(
            resolved,
            total_samples=columns["total"],
            offset_samples=columns["offset_samples"],
            match_2020_rounding=match_2020_rounding,
        ).inputs()

    def _samples(self, seconds: float) -> int:
        if not math.isfinite(seconds):
            raise ValueError(f"the length of a piece must be a number of seconds, got {seconds}")
        return round(seconds * self.sampling_rate)

    def add_artists(self, names: Sequence[str], *, first_id: int = 0) -> list[int]:
        """Make artists known, and return the id of each: its own if it was known, else a new one.

        New ids follow the last one, from `first_id` on at the earliest: a prior's `artist_count`
        there appends rows to its table instead of using up rows that nothing was trained on.

        Raises:
            ValueError: for a name of which the dialect's spelling leaves nothing. Nothing is added.
        """
        keys = [normalise_name(name, self.dialect) for name in _a_list(names)]
        return self._add(self.artists, names, keys, first_id)

    def add_genres(self, names: Sequence[str], *, first_id: int = 0) -> list[tuple[int, ...]]:
        """Make genres known, as `add_artists` does, and return the ids of each: one per word in v2.

        Raises:
            ValueError: also for more words than the prior has slots.
        """
        keys = [genre_keys(name, self.dialect) for name in _a_list(names)]
        for name, words in zip(names, keys, strict=True):
            self._check_genre_slots(name, words)
        flat = [(name, word) for name, words in zip(names, keys, strict=True) for word in words]
        ids = iter(self._add(self.genres, [n for n, _ in flat], [w for _, w in flat], first_id))
        return [tuple(next(ids) for _ in words) for words in keys]

    def _add(
        self, names: Vocabulary, given: Sequence[str], keys: Sequence[str], first_id: int
    ) -> list[int]:
        if not self.has_labels:
            raise ValueError(f"this prior has no labels; it cannot learn a new {names.kind}")
        for name, key in zip(given, keys, strict=True):
            if not key.strip():
                raise ValueError(
                    f"{names.kind} {name!r} cannot be told from others: dialect {self.dialect} "
                    "keeps nothing of it" + ("; write it in Latin letters" * (self.dialect == "v2"))
                )
        return names.add(keys, first_id=first_id)

    def lyric_text(self, tokens: Tensor | Sequence[int]) -> str:
        """The text of lyric tokens (lyric_length,); padding is nothing."""
        return self._alphabet.decode([operator.index(token) for token in tokens])

    def to_dict(self) -> dict[str, Any]:
        """Every setting but the names, as in `processor_config.json`."""
        return {name: getattr(self, name) for name in SETTINGS}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PriorProcessor):
            return NotImplemented
        return (self.to_dict(), self.artists, self.genres, self.genre_aliases) == (
            other.to_dict(),
            other.artists,
            other.genres,
            other.genre_aliases,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lyrics = f"{self.lyric_length} lyric symbols" if self.reads_lyrics else "no lyrics"
        return f"{type(self).__name__}({self.artists!r}, {self.genres!r}, {lyrics})"

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> list[str]:
        """Write `processor_config.json` and `vocabulary.json` into a folder, made if needed.

        Args:
            save_directory: the prior's own folder.

        Returns:
            The paths of both files.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        names = {"artists": self.artists, "genres": self.genres}
        aliases = self.genre_aliases.to_dict()
        return write_processor_files(folder, self.to_dict(), names, aliases)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        *,
        subfolder: str = "",
        **kwargs: Any,
    ) -> Self:
        """Read the processor of a prior from its folder, or from a repository on the Hub.

        Args:
            pretrained_model_name_or_path: a folder, or a repository id.
            subfolder: the prior's folder in it, such as `prior_2`.
            cache_dir, force_download, local_files_only, token, revision: as for any model.

        Raises:
            OSError: if the files are not there.
            ValueError: if they are not what `save_pretrained` writes.
        """
        # AutoProcessor passes these; none of them concerns two JSON files.
        unknown = set(kwargs) - {"_from_auto", "trust_remote_code", "code_revision", "proxies"}
        if unknown:
            raise TypeError(f"from_pretrained() got unexpected arguments {sorted(unknown)}")
        settings, names = read_processor_files(
            pretrained_model_name_or_path,
            SETTINGS,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            subfolder=subfolder,
        )
        try:
            return cls(**settings, **names)
        except ValueError as error:
            place = Path(pretrained_model_name_or_path, subfolder)
            raise ValueError(f"the processor in {place}: {error}") from None


def _understand(lyrics: str | TimedLyrics) -> FoundLyrics:
    """Lyrics without times in their words, and what to say of them."""
    if isinstance(lyrics, TimedLyrics):
        found = FoundLyrics(lyrics, lyrics.notes)
    else:
        found = find_lyrics(lyrics)
    notes = [f"lyrics: {note}" for note in found.notes]
    if isinstance(lyrics, str) and looks_like_file_name(lyrics):
        name = lyrics.strip()
        notes.append(
            f"lyrics: {name!r:.80} is taken for words to sing, though it looks like the name of a "
            "file; in --prompts and Python, lyrics_file and read_lyrics take the words in a file"
        )
    return FoundLyrics(found.lyrics, tuple(notes))


def _columns(**values: Any) -> tuple[int, dict[str, list[Any]]]:
    """The number of pieces, and every value as a list with one entry per piece."""
    lengths = {name: len(value) for name, value in values.items() if _is_list(value)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lists must have one entry per piece, got lengths {lengths}")
    batch = max(lengths.values(), default=1)
    return batch, {
        name: list(value) if name in lengths else [value] * batch for name, value in values.items()
    }


def _one_each(name: str, value: Any, count: int) -> list[int]:
    """A whole number per piece, from one for all or a list with one each."""
    values = list(value) if _is_list(value) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name} must have one entry per piece, {count}, got {len(values)}")
    return [operator.index(entry) for entry in values]


def _is_list(value: object) -> bool:
    """Whether a value has an entry per piece: a list, a tuple, or a vector of numbers."""
    dimensions: int = getattr(value, "ndim", 0)  # of an array or a tensor
    return isinstance(value, list | tuple) or dimensions > 0


def _a_list(names: Sequence[str]) -> Sequence[str]:
    """The names, unless they are one name whose letters would be taken for names."""
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the text {names!r:.80}")
    return names

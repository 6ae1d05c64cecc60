"""What is asked for: prompts for the takes, and how each level is sampled.

Words and numbers of a user go in, checked values come out. Everything here can be written to JSON
and read back, since a session keeps it. Fitting it to a model is the work of `plan`.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jukebox_hf.audio import WRITABLE_FORMATS
from jukebox_hf.generation.choices import BACKENDS, MAX_SEED, PRECISIONS
from jukebox_hf.labels import (
    TimedLyrics,
    TimedSegment,
    VerbatimLyrics,
    find_lyrics,
    read_lyrics,
)
from jukebox_hf.records import OMIT
from jukebox_hf.sampling_settings import SETTINGS, LevelSettings
from jukebox_hf.words import refuse_unknown, shorten

if TYPE_CHECKING:
    from torch import Tensor

    from jukebox_hf.codes import Codes

# "primed": behind codes of the upper level's sound; "cold": behind nothing, as in sessions whose
# record does not say it.
CHAIN_STARTS = ("primed", "cold")
DEFAULT_AUDIO_FORMAT = "flac"
DEFAULT_SECONDS = 20.0
DEFAULT_TOTAL_SECONDS = 180.0
MOST_SECONDS = 1_000_000  # eleven days: whatever is longer is a mistake


@dataclass(frozen=True)
class Prompt:
    """What one take should be. All of it may be left out.

    Args:
        artist: as the model's vocabulary knows it; unknown names are reported.
        genre: likewise.
        lyrics: text, or text with times, which become `TimedLyrics` (`find_lyrics`).
        seconds: length of the piece that is made, primer included; None: the model's default.
        total_seconds: length of the whole song that the piece is part of, which tells the model
            where in the song it is; None: the model's default, or more where the piece needs it.
        offset_seconds: where in the song the piece begins.
        primer: music to continue: an audio file, audio (channels, samples) at the model's sampling
            rate, or codes of one take.
        primer_start_seconds: what to leave out at the primer's beginning.
        primer_end_seconds: where the primer ends, counted in its file; None: at its own end.
        level_names: other names for single levels: by level, then by `artist` or `genre`.
    """

    artist: str | None = None
    genre: str | None = None
    lyrics: str | TimedLyrics | None = None
    seconds: float | None = None
    total_seconds: float | None = None
    offset_seconds: float = 0.0
    primer: "Path | Tensor | Codes | None" = None
    primer_start_seconds: float = 0.0
    primer_end_seconds: float | None = None
    level_names: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.primer, str):
            object.__setattr__(self, "primer", Path(self.primer))
        for name in ("artist", "genre", "lyrics"):
            _require_unicode(name, getattr(self, name))
        for names in self.level_names.values():
            refuse_unknown(names, ("artist", "genre"), "the names of a level")
            for name, value in names.items():
                _require_unicode(name, value)
        if isinstance(self.lyrics, str):
            found = find_lyrics(self.lyrics).lyrics
            if isinstance(found, TimedLyrics):
                object.__setattr__(self, "lyrics", found)
        for name in ("seconds", "total_seconds", "primer_end_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MOST_SECONDS:
                raise ValueError(
                    f"{name} must be above 0 and at most {MOST_SECONDS}, got {shorten(value)}"
                )
        for name in ("offset_seconds", "primer_start_seconds"):
            value = getattr(self, name)
            if not 0 <= value <= MOST_SECONDS:
                raise ValueError(
                    f"{name} must be 0 or more, at most {MOST_SECONDS}, got {shorten(value)}"
                )
        end = self.primer_end_seconds
        if end is not None and end <= self.primer_start_seconds:
            raise ValueError(
                f"the primer must end after it starts, got {self.primer_start_seconds:g} s to "
                f"{end:g} s"
            )

    def names(self, level: int) -> tuple[str | None, str | None]:
        """Artist and genre of a level."""
        own = self.level_names.get(level, {})
        return own.get("artist", self.artist), own.get("genre", self.genre)

    @classmethod
    def from_record(cls, record: Any, *, source: str, folder: Path) -> "Prompt":
        """One line of a prompts file: the fields above by name; `lyrics_file` names a file instead.

        Files must lie below `folder`, to which their names are relative: the line may be a
        stranger's. Raises `ValueError` that begins with `source`.
        """
        if not isinstance(record, dict):
            raise ValueError(f"{source}: expected an object such as {{'genre': 'rock'}}")
        known = {field.name for field in fields(cls)} - {"level_names"} | {"lyrics_file"}
        refuse_unknown(record, known, source)
        values = {name: value for name, value in record.items() if value is not None}
        for name, value in values.items():
            wanted: tuple[type, ...] = (int, float) if name in _NUMBERS else (str,)
            if not isinstance(value, wanted) or isinstance(value, bool):
                kind = "a number" if name in _NUMBERS else "text"
                raise ValueError(f"{source}: {name} must be {kind}, got {value!r:.60}")
        if "lyrics_file" in values:
            if "lyrics" in values:
                raise ValueError(f"{source}: give lyrics or lyrics_file, not both")
            path = _below(folder, values.pop("lyrics_file"), f"{source}: lyrics_file")
            values["lyrics"] = read_lyrics(path)
        if "primer" in values:
            values["primer"] = _below(folder, values["primer"], f"{source}: primer")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    def to_record(self) -> "PromptRecord":
        """What a session keeps of it; a primer becomes what identifies it (`primer_record`)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if isinstance(self.lyrics, TimedLyrics):
            values["lyrics"] = LyricsRecord(
                segments=tuple((start, text) for start, text in self.lyrics.segments),
                end_seconds=self.lyrics.end_seconds,
                tags=self.lyrics.tags,
            )
        levels = {level: dict(names) for level, names in self.level_names.items()}
        return PromptRecord(
            **{**values, "primer": primer_record(self.primer), "level_names": levels}
        )

    @classmethod
    def restore(cls, record: "PromptRecord", *, verbatim: bool = False) -> "Prompt":
        """What `to_record` described, without the primer: a session keeps its codes.

        With `verbatim` text stays text though there are times in it (`VerbatimLyrics`).
        """
        values = {field.name: getattr(record, field.name) for field in fields(record)}
        if isinstance(record.lyrics, LyricsRecord):
            values["lyrics"] = TimedLyrics(
                segments=tuple(TimedSegment(*segment) for segment in record.lyrics.segments),
                end_seconds=record.lyrics.end_seconds,
                tags=record.lyrics.tags,
            )
        elif verbatim and record.lyrics is not None:
            values["lyrics"] = VerbatimLyrics(record.lyrics)
        return cls(**{**values, "primer": None})


@dataclass(frozen=True)
class LyricsRecord:
    """`TimedLyrics` as a session keeps them."""

    segments: tuple[tuple[float, str], ...]
    end_seconds: float | None
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PrimerRecord:
    """What tells a primer from another: two with one hash are the same music.

    Attributes:
        kind: what it was.
        name: of the file, or of what the codes come from.
        sha256: of the file, the codes or the samples.
    """

    kind: Literal["audio file", "codes", "audio"]
    name: str | None
    sha256: str


@dataclass(frozen=True)
class PromptRecord:
    """A `Prompt` as a session keeps it: the same fields, each something that JSON can hold."""

    artist: str | None
    genre: str | None
    lyrics: str | LyricsRecord | None
    seconds: float | None
    total_seconds: float | None
    offset_seconds: float
    primer: PrimerRecord | None
    primer_start_seconds: float
    primer_end_seconds: float | None
    level_names: dict[int, dict[str, str]] = field(default_factory=dict, metadata=OMIT)

    def __post_init__(self) -> None:
        Prompt.restore(self)  # checks what it holds


def _require_unicode(name: str, value: object) -> None:
    """Raise `ValueError` for text with bytes that were no UTF-8, as a terminal may pass them on."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{name} must be text in UTF-8, got {shorten(value)}; type it again in a terminal "
                "that is set to UTF-8"
            ) from None


def _below(folder: Path, name: str, source: str) -> Path:
    """A file below the folder of a prompts file, which may not name any other."""
    try:
        is_inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError) as error:  # a circle of links, a zero byte
        raise ValueError(f"{source} {name!r:.80}: {error}") from None
    if not is_inside:
        raise ValueError(
            f"{source} must be below the folder of the prompts file, got {name!r:.80}; copy it "
            "there"
        )
    return folder / name


_NUMBERS = {
    "seconds",
    "total_seconds",
    "offset_seconds",
    "primer_start_seconds",
    "primer_end_seconds",
}


def primer_record(primer: "Path | Tensor | Codes | None") -> PrimerRecord | None:
    """What identifies a primer."""
    if primer is None:
        return None
    digest = hashlib.sha256()
    if isinstance(primer, Path):
        with primer.open("rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                digest.update(block)
        return PrimerRecord("audio file", primer.name, digest.hexdigest())
    import torch

    from jukebox_hf.codes import Codes

    if isinstance(primer, Codes):
        for level, codes in primer.levels.items():
            digest.update(f"{level}:{codes.shape[1]}:".encode())
            digest.update(codes.cpu().numpy().astype("<i8").tobytes())
        return PrimerRecord("codes", primer.origin.get("source"), digest.hexdigest())
    digest.update(primer.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return PrimerRecord("audio", None, digest.hexdigest())


@dataclass(frozen=True)
class GenerationSettings:
    """How everything is sampled.

    Args:
        seed: of all noise.
        to_level: the finest level that is sampled; 0 makes the finished music.
        levels: by level, from `to_level` up to the top.
        precision: of the priors' weights, one of `choices.PRECISIONS`; the codec keeps its own.
        backend: how a step runs, one of `choices.BACKENDS`.
        chain_starts: what chains begin with, one of `CHAIN_STARTS`; in sessions that do not say it,
            "cold".
        audio_format: of the finished files, one of `WRITABLE_FORMATS`.
    """

    seed: int
    to_level: int
    levels: dict[int, LevelSettings]
    precision: str
    backend: str = "eager"
    chain_starts: str = field(default="cold", metadata=OMIT)
    audio_format: str = field(default=DEFAULT_AUDIO_FORMAT, metadata=OMIT)

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be from 0 to {MAX_SEED}, got {self.seed}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {shorten(self.precision)}"
            )
        if self.backend not in BACKENDS:
            raise ValueError(
                f"backend must be one of {', '.join(BACKENDS)}, got {shorten(self.backend)}"
            )
        if self.chain_starts not in CHAIN_STARTS:
            raise ValueError(
                f"chain_starts must be one of {', '.join(CHAIN_STARTS)}, got "
                f"{shorten(self.chain_starts)}"
            )
        if self.audio_format not in WRITABLE_FORMATS:
            raise ValueError(
                f"audio_format must be one of {', '.join(WRITABLE_FORMATS)}, got "
                f"{shorten(self.audio_format)}"
            )

    def by_name(self) -> dict[str, dict[int, Any]]:
        """The values of every level's settings by name and level, as `make_plan` takes them."""
        return {
            name: {level: getattr(own, name) for level, own in self.levels.items()}
            for name in SETTINGS
        }


def new_seed() -> int:
    """A seed nobody chose: 32 bits from the system, short enough to be typed."""
    return secrets.randbits(32)

"""Processors of converted priors: which lists of names and which characters belong to which."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jukebox_hf.hub.convert_transformers import is_port
from jukebox_hf.hub.resolve import Plan, dialect_of
from jukebox_hf.hub.vocabularies import (
    Names,
    read_ids_folder,
    read_port_characters,
    read_port_folder,
)
from jukebox_hf.labels import LYRIC_CHARACTERS, JukeboxProcessor
from jukebox_hf.labels.vocabularies import Dialect
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig


def read_names(paths: Sequence[Path], ids_dir: Path | None) -> dict[Dialect, Names]:
    """The lists that the user gave, else those of the port's folder among the sources, if any."""
    if ids_dir is not None:
        return read_ids_folder(ids_dir)
    found = [read_port_folder(path) for path in paths if path.is_dir() and is_port(path)]
    return found[0] if found else {}


def read_characters(paths: Sequence[Path], notes: list[str]) -> str | None:
    """The characters that a port's own file names; the release's are known without it."""
    for path in paths:
        if path.is_dir() and is_port(path):
            try:
                return read_port_characters(path)
            except ValueError as error:
                notes.append(f"{error}; the characters of the release are used instead")
    return None


def make_processors(
    plans: Mapping[str, Plan],
    names: Mapping[Dialect, Names],
    characters: str | None,
    notes: list[str],
) -> dict[str, JukeboxProcessor]:
    """The processor of each prior that can have one; `notes` gets why others cannot.

    Raises:
        ValueError: if the lists do not fit a prior.
    """
    processors = {}
    for name, (component, config) in plans.items():
        if not isinstance(config, JukeboxPriorConfig):
            continue
        if config.has_labels and not names:
            notes.append(
                f"{name} takes artists and genres, but their names were not given (--ids-dir): the "
                "converted prior understands label numbers only, and cannot be prompted by name"
            )
            continue
        dialect = dialect_of(component, config)
        if dialect is None and config.has_labels:
            raise ValueError(
                f"{component.source}: nothing says whether its {config.genre_count} genres are of "
                "the v2 or the v3 lists; convert it without --ids-dir"
            )
        dialect = dialect or "v3"
        try:
            processors[name] = _processor(config, dialect, names, characters)
        except ValueError as error:
            raise ValueError(f"{component.source}: {error}") from error
    return processors


def _processor(
    config: JukeboxPriorConfig,
    dialect: Dialect,
    names: Mapping[Dialect, Names],
    characters: str | None,
) -> JukeboxProcessor:
    artists: Mapping[str, int] = {}
    genres: Mapping[str, int] = {}
    if config.has_labels:
        if dialect not in names:
            raise ValueError(f"speaks the {dialect} lists of names, which were not found")
        artists, genres = names[dialect]
        for kind, ids, rows in (
            ("artist", artists, config.artist_count),
            ("genre", genres, config.genre_count),
        ):
            if max(ids.values()) >= rows:
                raise ValueError(
                    f"its {kind} table has {rows} rows, but the {dialect} list has ids up to "
                    f"{max(ids.values())}; convert it without these lists, or with its own"
                )
    lyric_characters = ""
    if config.lyrics != "none":
        known = [characters or "", *LYRIC_CHARACTERS.values()]
        fitting = [each for each in known if each and len(each) + 1 == config.lyric_vocab_size]
        if not fitting:
            raise ValueError(
                f"reads {config.lyric_vocab_size} lyric symbols, expected one of "
                f"{', '.join(str(len(each) + 1) for each in known if each)}"
            )
        lyric_characters = fitting[0]
    return JukeboxProcessor.for_prior(
        config, artists=artists, genres=genres, dialect=dialect, lyric_characters=lyric_characters
    )

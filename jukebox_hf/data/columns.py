"""Which column of a table means what: artist, genre, lyrics, and the file of a song.

The names of columns go in; their meaning comes out. Capitals, blanks and accents do not count, and
other words that people use for the same are known; what is not used can be said.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jukebox_hf.words import cut

LABEL_COLUMNS = ("artist", "genre", "lyrics")
LISTED_COLUMNS = 20  # in an error


def fold_name(text: str) -> str:
    """What a name looks like: without capitals, accents, blanks and punctuation.

    >>> fold_name(" File-Name"), fold_name("K\\u00fcnstler")
    ('file_name', 'kunstler')
    """
    apart = unicodedata.normalize("NFKD", text.casefold())
    letters = (char for char in apart if not unicodedata.combining(char))
    return "_".join("".join(c if c.isalnum() else " " for c in letters).split())


def _folded(words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fold_name(word) for word in words.split(",")))


# The likeliest first. Other languages than English: German, French, Spanish, Portuguese, Italian,
# Russian, Chinese, Japanese, Korean.
WORDS = {
    "audio": _folded(
        "file_name,filename,file,audio_file_name,audio_file,audio,audio_path,path,file_path,"
        "filepath,song_file,track_file,location,relative_path,full_path,wav,wav_file,mp3,"
        "Datei,Dateiname,Dateipfad,Pfad,fichier,nom de fichier,chemin,archivo,nombre de archivo,"
        "ruta,arquivo,caminho,percorso,"
        "\u0444\u0430\u0439\u043b,\u0438\u043c\u044f \u0444\u0430\u0439\u043b\u0430,"
        "\u6587\u4ef6,\u6587\u4ef6\u540d,\u30d5\u30a1\u30a4\u30eb\u540d,\ud30c\uc77c"
    ),
    "artist": _folded(
        "artist,artists,artist_name,track_artist,performer,performers,performed_by,singer,singers,"
        "vocalist,band,band_name,group,musician,album_artist,albumartist,act,"
        "Interpret,K\u00fcnstler,S\u00e4nger,artiste,interpr\u00e8te,chanteur,artista,artistas,"
        "int\u00e9rprete,cantante,grupo,"
        "\u0438\u0441\u043f\u043e\u043b\u043d\u0438\u0442\u0435\u043b\u044c,"
        "\u0430\u0440\u0442\u0438\u0441\u0442,\u0433\u0440\u0443\u043f\u043f\u0430,"
        "\u6b4c\u624b,\u827a\u672f\u5bb6,\u827a\u4eba,\u30a2\u30fc\u30c6\u30a3\u30b9\u30c8,"
        "\uac00\uc218,composer,creator,author"
    ),
    "genre": _folded(
        "genre,genres,genre_name,genre_top,track_genre,main_genre,music_genre,style,styles,"
        "music_style,category,Stil,Musikrichtung,Richtung,style musical,g\u00e9nero,estilo,genere,"
        "\u0436\u0430\u043d\u0440,\u0441\u0442\u0438\u043b\u044c,\u6d41\u6d3e,\u98ce\u683c,"
        "\u30b8\u30e3\u30f3\u30eb,\uc7a5\ub974,tags,tag"
    ),
    "lyrics": _folded(
        "lyrics,lyric,lyrics_text,lyric_text,lyrics_file,song_text,words,transcript,"
        "transcription,Liedtext,Songtext,paroles,letra,letras,testo,"
        "\u0442\u0435\u043a\u0441\u0442,\u0441\u043b\u043e\u0432\u0430,\u6b4c\u8bcd,"
        "\u6b4c\u8a5e,\uac00\uc0ac"
    ),
}
# Columns that nobody expects to be labels, so that leaving them out needs no word.
OTHER_WORDS = frozenset(
    _folded(
        "title,track,track_title,song,song_title,name,album,year,date,release_date,duration,"
        "seconds,length,id,track_id,song_id,number,track_number,split,subset,set,url,link,licence,"
        "license,bpm,tempo,key,language,sampling_rate,sample_rate,isrc,source,copyright,comment,"
        "notes,index,label,titel,titre,titulo,jahr"
    )
)


def is_audio_column(name: str) -> bool:
    """Whether a column's name says that it holds names of files."""
    return fold_name(name) in WORDS["audio"]


class ColumnNames(NamedTuple):
    """What the columns of a dataset are called; None: the usual name, or another word for it."""

    audio: str = "audio"
    artist: str | None = None
    genre: str | None = None
    lyrics: str | None = None

    def present(self, existing: Sequence[str], source: str) -> dict[str, str]:
        """The columns of artist, genre and lyrics that there are, by these words.

        Raises `ValueError` for one that was asked for and does not exist.
        """
        found = {}
        for label in LABEL_COLUMNS:
            wanted = getattr(self, label)
            if wanted is None:
                column = find_column(WORDS[label], existing)
            else:
                column = wanted if wanted in existing else find_column((wanted,), existing)
                if column is None:
                    raise no_column(label, wanted, existing, source)
            if column is not None:
                found[label] = column
        return found

    def describe(self, present: dict[str, str], existing: Sequence[str], source: str) -> list[str]:
        """What to say of the columns that were taken, and of those that were not."""
        notes = []
        renamed = [
            f"{label} is column {column!r:.60}"
            for label, column in present.items()
            if fold_name(column) != label and getattr(self, label) is None
        ]
        if renamed:
            notes.append(f"{source}: {', '.join(renamed)}")
        missing = [label for label in LABEL_COLUMNS[:2] if label not in present]
        if "lyrics" not in present and find_column(("text", "texte", "texto"), existing):
            missing.append("lyrics")  # which may be a description of the music as well
        unused = [
            repr(name)[:60]
            for name in existing
            if name not in present.values()
            and not is_audio_column(name)
            and fold_name(name) not in OTHER_WORDS
        ]
        if missing and unused:
            options = " and ".join(f"--{label}-column" for label in missing)
            notes.append(
                f"{source} has no column for the {' and '.join(missing)}, and these are not used: "
                f"{', '.join(unused[:8])}; name them with {options}"
            )
        return notes


def find_column(words: Iterable[str], existing: Sequence[str]) -> str | None:
    """The column with one of these names, the first of the words first; exact names win."""
    words = list(words)
    exact = next((word for word in words if word in existing), None)
    if exact is not None:
        return exact
    folded = {fold_name(name): name for name in reversed(existing)}
    return next((folded[key] for key in map(fold_name, words) if key in folded), None)


def no_column(label: str, wanted: str, existing: Iterable[str], source: str) -> ValueError:
    """The error for a column that is not there."""
    names = [cut(name, 60) for name in existing]
    more = f" and {len(names) - LISTED_COLUMNS} more" if len(names) > LISTED_COLUMNS else ""
    columns = f"{', '.join(names[:LISTED_COLUMNS])}{more}" if names else "none"
    return ValueError(
        f"{source} has no column {wanted!r} for the {label}; its columns are: {columns}"
    )

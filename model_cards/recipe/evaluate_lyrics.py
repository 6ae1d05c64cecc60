"""Whether the words that the demo was asked to sing can be heard.

    python -m model_cards.recipe.evaluate_lyrics --model model --singing singing --work measured

Makes `--takes` takes of `--seconds` with lyrics that are not in the training songs (they come from
the same grammar and words, `singing.write_song`, with other seeds), sung as the synthetic singing
is labelled (artist joe, genre vocal) where the model knows these names, so mostly a cappella. They
are made in a session in the folder `--work`: stopped, the same command goes on.

Whisper base writes down what it hears (`evaluators.whisper`: what is hardly speech, and loops, is
dropped). Counted are the words of a take's own lyrics that were heard, in any order and in their
order. The control is the same count for the lyrics of all other takes: recognisers guess common
words, and all lyrics share them. `chance` is how often dealing out the lyrics at random does as
well as their true order (10,000 permutations, words in order): the demo follows words only if that
is small.

With `--singing`, a folder that `sing` wrote, the same is measured of its recordings, and of these
after each level of the codec: the most that can be expected.

With `--session FOLDER` it measures takes that are there, by the lyrics of their prompts. A take
takes Whisper 4 to 8 s of one CPU core; making 12 takes of 20 s takes longer.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf import JukeboxVQVAE
from jukebox_hf.audio import resample
from jukebox_hf.data import Song, open_songs
from jukebox_hf.hub import System
from jukebox_hf.listening.excerpts import Place, read_clip
from model_cards.recipe.evaluators.whisper import SAMPLING_RATE, Whisper, split_words
from model_cards.recipe.figures import Report, add_output_options
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.singing import SungSong, write_song
from model_cards.recipe.take_making import make_takes, read_takes
from model_cards.recipe.word_recall import measure_recall

ARTIST, GENRE = "joe", "vocal"
FIRST_SEED = (
    900_000_000  # far from those of `model_cards.recipe.sing`, which are 0, 1, 2, ... by default
)
ACCEPTED_CHANCE = 0.05


class Piece(NamedTuple):
    """Something sung.

    Attributes:
        name: what to call it.
        words: that should be heard.
        audio: (samples,).
        sampling_rate: Hz.
    """

    name: str
    words: list[str]
    audio: Tensor
    sampling_rate: int


def words_before(song: SungSong, seconds: float) -> list[str]:
    """The words of a song that have ended by then."""
    notes = [word for line in song.lines for word in line]
    return split_words(" ".join(word.word for word in notes if word.end_seconds <= seconds))


def make_pieces(given: argparse.Namespace, system: System) -> tuple[list[Piece], list[str]]:
    """Takes of the model with lyrics, and remarks on what they were asked for."""
    processor = system.processor(max(system.prior_levels))
    if not processor.reads_lyrics:
        raise ValueError(f"{given.model} reads no lyrics, so there are no words to be heard")
    labels, remarks = {}, []
    for name, value in (("artist", ARTIST), ("genre", GENRE)):
        if processor.resolve(**{name: value}).notes:
            remarks.append(f"The model does not know the {name} {value}; none was asked for.")
        else:
            labels[name] = value
    songs = [write_song(FIRST_SEED + number) for number in range(given.takes)]
    prompts = [
        {
            **labels,
            "lyrics": song.lyrics,
            "seconds": min(given.seconds, song.seconds),
            "total_seconds": song.seconds,
        }
        for song in songs
    ]
    made = make_takes(given.work / "lyrics", given.model, prompts, seed=given.seed)
    pieces = [
        Piece(
            f"take {take.number}", words_before(song, given.seconds), take.audio, take.sampling_rate
        )
        for song, take in zip(songs, made, strict=True)
    ]
    return pieces, remarks


def session_pieces(folder: Path) -> list[Piece]:
    """The takes of a session that were asked to sing, with all of their lyrics."""
    pieces = []
    for take in read_takes(folder):
        lyrics = take.prompt.lyrics
        if isinstance(lyrics, str) and split_words(lyrics):
            words = split_words(lyrics)
            pieces.append(Piece(f"take {take.number}", words, take.audio, take.sampling_rate))
    return pieces


def recorded_pieces(songs: Sequence[Song], count: int, rate: int, seconds: float) -> list[Piece]:
    """The beginnings of recorded songs of which it is known when they are sung."""
    pieces: list[Piece] = []
    for song in songs:
        if song.lyric_times is None or len(pieces) == count:
            continue
        segments = song.lyric_times.segments
        words = split_words("".join(part.text for part in segments if part.start_seconds < seconds))
        audio = read_clip(Place(song, 0.0), rate, min(seconds, song.duration_seconds))
        if words:
            pieces.append(Piece(song.name, words, audio, rate))
    if len(pieces) < 2:
        raise ValueError("--singing needs at least two songs with timed lyrics (.lrc)")
    return pieces


@torch.no_grad()
def rebuild(codec: JukeboxVQVAE, piece: Piece, level: int) -> Piece:
    """A piece after a level of the codec."""
    audio = resample(piece.audio, piece.sampling_rate, codec.config.sampling_rate)
    (codes,) = codec.encode(audio[None, None], [level])
    decoded = codec.decode(codes, level)[0, 0]
    return piece._replace(audio=decoded, sampling_rate=codec.config.sampling_rate)


def measure(name: str, pieces: Sequence[Piece], whisper: Whisper) -> dict[str, Any]:
    """What was heard of pieces, as one record."""
    heard = []
    for number, piece in enumerate(pieces, start=1):
        audio = resample(piece.audio, piece.sampling_rate, SAMPLING_RATE)
        heard.append(whisper.words(audio.numpy()))
        note(f"{name}: {number}/{len(pieces)}, heard: {' '.join(heard[-1]) or '(nothing)'}")
    record = measure_recall([piece.words for piece in pieces], heard)
    texts = [
        {"name": piece.name, "asked": " ".join(piece.words), "heard": " ".join(words)}
        for piece, words in zip(pieces, heard, strict=True)
    ]
    return {"what": name, **record, "texts": texts}


def fill_report(report: Report, records: Sequence[dict[str, Any]]) -> None:
    """The table and the figures of `measure`'s records, and what follows for the demo."""
    table = []
    for record in records:
        table.append(
            (
                record["what"],
                record["pieces"],
                record["words_asked"],
                record["words_heard"],
                *(
                    f"{record[name]:.1%}"
                    for name in ("recall", "control", "ordered_recall", "ordered_control")
                ),
                f"{record['chance']:.4f}",
            )
        )
        # Packaging goes by the two names that begin with "Word recall": `package_card`.
        name = "Word recall" if record["what"] == TAKES else f"Words heard, {record['what']}"
        report.figure(f"{name}, in order (share)", record["ordered_recall"])
        report.figure(f"{name}, in order, of other lyrics (share)", record["ordered_control"])
        report.figure(f"Probability by chance, words of {record['what']}", record["chance"])
    headings = ("what", "pieces", "words asked", "words heard", "recall", "other lyrics")
    report.table((*headings, "in order", "other lyrics, in order", "by chance"), table)
    takes = next((record for record in records if record["what"] == TAKES), None)
    if takes is not None:
        follows = takes["chance"] < ACCEPTED_CHANCE
        report.records["follows_words"] = follows
        report.remark(
            "The takes follow their words more than those of other takes."
            if follows
            else "The takes do not follow their words: the card and the command line must say so."
        )


TAKES = "takes"


def run(given: argparse.Namespace, words: Sequence[str]) -> Report:
    """Everything that is asked for."""
    system = None if given.model is None else System.open(given.model)
    whisper = Whisper()
    records: list[dict[str, Any]] = []
    remarks: list[str] = []
    if given.singing is not None:
        codec = system.load_vqvae(dtype=torch.float32) if system is not None else None
        rate = 22_050 if codec is None else codec.config.sampling_rate
        songs = open_songs(given.singing).songs
        recorded = recorded_pieces(songs, given.takes, rate, given.seconds)
        records.append(measure("recordings", recorded, whisper))
        for level in range(codec.config.num_levels) if codec is not None else ():
            assert codec is not None
            rebuilt = [rebuild(codec, piece, level) for piece in recorded]
            hop = codec.config.hop_lengths[level]
            records.append(measure(f"recordings rebuilt at hop {hop}", rebuilt, whisper))
    if given.session is not None:
        records.append(measure(TAKES, session_pieces(given.session), whisper))
    elif system is not None and not given.only_singing:
        pieces, remarks = make_pieces(given, system)
        records.append(measure(TAKES, pieces, whisper))
    report = Report(
        "model_cards.recipe.evaluate_lyrics", words, f"pieces of {given.seconds:g} s, a cappella"
    )
    report.records["pieces"] = records
    for remark in remarks:
        report.remark(remark)
    fill_report(report, records)
    return report


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser("evaluate_lyrics", __doc__)
    parser.add_argument("--model", help="folder of a whole model")
    parser.add_argument("--session", type=Path, help="takes that are there already")
    parser.add_argument("--singing", type=Path, help="recorded songs with timed lyrics")
    parser.add_argument("--only-singing", action="store_true", help="make no takes")
    parser.add_argument("--work", type=Path, help="folder for the takes that are made")
    parser.add_argument("--takes", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the takes (%(default)s)")
    add_output_options(parser)
    given = parser.parse_args(arguments)
    makes_takes = given.model is not None and given.session is None and not given.only_singing
    if makes_takes and given.work is None:
        parser.error("--work is needed to make takes in")
    if not makes_takes and given.session is None and given.singing is None:
        parser.error("give --model, --session or --singing")
    if given.takes < 2:
        parser.error(f"--takes must be at least 2, got {given.takes}: others are the control")
    return given


@script
def main(arguments: list[str]) -> None:
    given = parse_arguments(arguments)
    run(given, arguments).finish(given.figures, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

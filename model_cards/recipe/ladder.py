"""Where a model loses music: the same excerpts after one stage after another.

    python -m model_cards.recipe.ladder --model runs/model --songs unlearnt --work ladder

Excerpts of real songs that nothing learnt from go through the codec at each level, then through the
priors: their real codes of a level, with every finer level sampled. The last rung is sampled from
the top on. What a rung lacks that the one before had is what that stage loses. Printed are means
with 95 % bootstrap intervals and the paired differences from rung to rung.

Sampled rungs are sessions in `--work`: the same command goes on where it was stopped.
`--rungs codec` leaves them out, which takes seconds an excerpt; `--one-chain` adds one more: the
last with its finest level sampled again without seams. Notes are left out where
basic-pitch is not installed (`requirements-evaluation.txt`).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf import Session
from jukebox_hf.codes import Codes
from jukebox_hf.data import Song, open_songs
from jukebox_hf.generation.plan import make_plan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System
from jukebox_hf.labels import UNKNOWN
from jukebox_hf.listening import notes
from jukebox_hf.listening.excerpts import Place, read_clip, spread_clips
from jukebox_hf.listening.listener_weights import MissingEvaluatorError
from jukebox_hf.listening.music_evaluation import MEASURES, HeardPiece, listen
from jukebox_hf.listening.sound import measure_liveliness, onsets_at_seams
from jukebox_hf.listening.statistics import Interval, mean_interval
from jukebox_hf.vqvae import JukeboxVQVAE
from model_cards.recipe.figures import Report, add_output_options
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.take_making import read_takes

CHUNK_SECONDS = 5.0
# Columns of the table; loudness and onsets show noise, the rest what music has.
SHOWN = ("note_share", "notes_at_once", "pulse", "onset_strength", "rms_db", "silent_share")


class Rung(NamedTuple):
    """One stage: what it is, and the excerpts after it.

    Attributes:
        paired: whether they are the same excerpts as those of the rungs before.
    """

    name: str
    pieces: list[HeardPiece]
    paired: bool = True


def choose_excerpts(songs: Sequence[Song], per_genre: int, seconds: float) -> list[Place]:
    """So many excerpts of each genre, from the middle of as many songs as there are."""
    genres = sorted({song.genre for song in songs} - {UNKNOWN}) or [UNKNOWN]
    return [
        place
        for genre in genres
        for place in spread_clips(
            [song for song in songs if song.genre == genre], per_genre, seconds
        )
    ]


def codec_rungs(
    codec: JukeboxVQVAE, places: Sequence[Place], seconds: float
) -> tuple[list[Rung], list[tuple[Tensor, ...]]]:
    """As recorded and after the codec, finest level first; and the codes of every excerpt."""
    rate, hop = codec.config.sampling_rate, codec.config.hop_lengths[-1]
    length = round(seconds * rate) // hop * hop
    audio = [read_clip(place, rate, length / rate)[:length] for place in places]
    codes = [codec.encode(one[None, None], chunk_seconds=CHUNK_SECONDS) for one in audio]
    names = [place.song.name for place in places]
    rungs = [
        Rung(
            "recorded",
            [HeardPiece(name, one, (), None) for name, one in zip(names, audio, strict=True)],
        )
    ]
    for level in range(codec.config.num_levels):
        heard = [
            codec.decode(own[level], level, chunk_seconds=CHUNK_SECONDS)[0, 0] for own in codes
        ]
        pieces = [HeardPiece(name, one, (), None) for name, one in zip(names, heard, strict=True)]
        rungs.append(Rung(f"codec, level {level}", pieces))
    return rungs, codes


def sampled_rung(
    system: System,
    genres: Sequence[str | None],
    given: Sequence[Mapping[int, Tensor]],
    folder: Path,
    name: str,
    *,
    length_seconds: float,
    offset_seconds: float,
    total_seconds: float,
    seed: int,
    chains: int | None = None,
    paired: bool = True,
) -> Rung:
    """Codes of each excerpt's given levels, with all finer ones sampled.

    Without given levels everything is sampled, `length_seconds` long. `chains`: in so many runs at
    every level; None: as the model does.
    """
    config = system.vqvae_config()
    prompts = {}
    for number, (genre, levels) in enumerate(zip(genres, given, strict=True), start=1):
        primer = None
        if levels:
            primer = Codes(
                dict(levels), config.hop_lengths, config.sampling_rate, config.codebook_fingerprint
            )
        prompts[number] = Prompt(
            genre=genre,
            seconds=length_seconds if primer is None else None,
            primer=primer,
            offset_seconds=offset_seconds,
            total_seconds=total_seconds,
        )
    asked: dict[str, Any] = {} if chains is None else {"chains": chains}
    plan = make_plan(system, prompts, seed=seed, precision="float32", **asked)
    if Session.is_at(folder):
        session = Session.open(folder)
        session.check_same(plan)
    else:
        session = Session.create(folder, plan, device="cpu")
    for report in session.run(system, device="cpu", previews=False):
        if report.level_done:
            note(f"{folder.name}: level {report.level} is sampled")
    pieces = [
        HeardPiece(f"take {take.number}", take.audio, take.seams, None)
        for take in read_takes(folder)
    ]
    return Rung(name, pieces, paired=paired)


def climb(given: argparse.Namespace) -> list[Rung]:
    """All rungs, from recorded to all sampled."""
    system = System.open(given.model)
    codec = system.load_vqvae(dtype=torch.float32)
    songs = [
        song for song in open_songs(given.songs).songs if song.duration_seconds >= given.seconds
    ]
    places = choose_excerpts(songs, given.per_genre, given.seconds)
    if len(places) < 2:
        raise ValueError(
            f"{given.songs} holds {len(places)} songs of {given.seconds:g} seconds, and two "
            "excerpts are needed; give other songs, or fewer --seconds"
        )
    note(f"{len(places)} excerpts of {len({place.song.name for place in places})} songs")
    rungs, codes = codec_rungs(codec, places, given.seconds)
    if given.rungs == "all":
        num_levels, hop = codec.config.num_levels, codec.config.hop_lengths[-1]
        genres = [None if place.song.genre == UNKNOWN else place.song.genre for place in places]
        sample = partial(
            sampled_rung,
            system,
            genres,
            length_seconds=codes[0][-1].shape[1] * hop / codec.config.sampling_rate,
            offset_seconds=given.offset_seconds,
            total_seconds=given.total_seconds,
            seed=given.seed,
        )
        for level in range(1, num_levels):
            real = [{one: own[one] for one in range(level, num_levels)} for own in codes]
            name = f"real level {level}, finer ones sampled"
            rungs.append(sample(real, given.work / f"real_level_{level}", name))
        folder = given.work / "all_sampled"
        rungs.append(sample([{}] * len(places), folder, "all sampled", paired=False))
        if given.one_chain:
            upper = [
                {level: own[None] for level, own in take.codes.items() if level > 0}
                for take in read_takes(folder)
            ]
            name = "all sampled, level 0 again in one chain"
            rungs.append(sample(upper, given.work / "one_chain", name, chains=1))
    return rungs


def fill_seams(report: Report, rungs: Sequence[Rung], rate: int) -> None:
    """Onset strength where chains were joined, and a pulse that was not told of these places."""
    rows = []
    for rung in rungs:
        strengths = [onsets_at_seams(one.audio, rate, one.seams) for one in rung.pieces]
        found = torch.cat(strengths)
        pulses = [measure_liveliness(one.audio, rate).pulse for one in rung.pieces]
        report.records.setdefault("pulse_not_told", {})[rung.name] = pulses
        if len(found):
            at, after = (_cell(mean_interval(found[:, frame].tolist())) for frame in (2, 3))
            rows.append((rung.name, len(found), at, after, _cell(mean_interval(pulses))))
    if rows:
        report.remark("Where chains were joined (onset strength over the piece's mean):")
        headings = ("rung", "seams", "at the seam", "a frame after", "pulse, not told of seams")
        report.table(headings, rows)


def write_report(rungs: Sequence[Rung], rate: int, words: Sequence[str], seconds: float) -> Report:
    """Listen to every rung, and compare each with the one before."""
    count = len(rungs[0].pieces)
    report = Report("model_cards.recipe.ladder", words, f"{count} excerpts of {seconds:g} s")
    try:
        listener = notes.NoteListener()
    except MissingEvaluatorError as error:
        listener = None
        report.remark(f"Notes are left out: {error}")
    heard = []
    for rung in rungs:
        heard.append(listen(rung.pieces, rate, listener, lambda done, total: None))
        note(f"heard: {rung.name}")
    shown = [name for name in SHOWN if name in heard[0]]
    headings = ("rung", *(MEASURES[name] for name in shown))
    report.table(
        headings,
        [
            (rung.name, *(_cell(mean_interval(values[name])) for name in shown))
            for rung, values in zip(rungs, heard, strict=True)
        ],
    )
    rows = []
    for index in range(1, len(rungs)):
        # The first rung of real codes is compared with the codec's finest level.
        before = 1 if rungs[index].name.startswith("real level 1") else index - 1
        if rungs[index].paired:
            falls = [
                _cell(
                    mean_interval(
                        [
                            after - first
                            for after, first in zip(
                                heard[index][name], heard[before][name], strict=True
                            )
                        ]
                    )
                )
                for name in shown
            ]
            rows.append((f"{rungs[before].name} to {rungs[index].name}", *falls))
    report.remark("Paired differences over the same excerpts:")
    report.table(headings, rows)
    fill_seams(report, rungs, rate)
    report.records["rungs"] = {rung.name: values for rung, values in zip(rungs, heard, strict=True)}
    return report


def _cell(found: Interval) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser("ladder", __doc__)
    parser.add_argument("--model", required=True, help="folder of a whole model")
    parser.add_argument("--songs", required=True, help="songs that nothing learnt from")
    parser.add_argument("--work", type=Path, default=Path("ladder"), help="for what is sampled")
    parser.add_argument("--rungs", choices=("all", "codec"), default="all")
    parser.add_argument(
        "--one-chain", action="store_true", help="a last rung without seams at level 0; slow"
    )
    parser.add_argument("--per-genre", type=int, default=5, help="excerpts of each genre")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each excerpt")
    parser.add_argument("--seed", type=int, default=7101)
    parser.add_argument(
        "--offset-seconds", type=float, default=60.0, help="where excerpts count as being"
    )
    parser.add_argument(
        "--total-seconds", type=float, default=180.0, help="in a song of this length"
    )
    add_output_options(parser)
    return parser.parse_args(arguments)


@script
def main(arguments: list[str]) -> None:
    """Climb, listen, print; 1 with the reason for what cannot be done."""
    given = parse_arguments(arguments)
    rungs = climb(given)
    rate = System.open(given.model).vqvae_config().sampling_rate
    write_report(rungs, rate, arguments, given.seconds).finish(given.figures, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

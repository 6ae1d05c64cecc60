"""What generated music sounds like to listeners that know nothing of the model.

    python -m model_cards.recipe.evaluate_samples --model model --dataset music --codes codes \\
        --run runs/top --work measured

Makes `--takes-per-genre` takes of `--seconds` for every genre that the model and the music share,
in a session in the folder `--work` (stopped, the same command goes on), and measures them beside
clips of the training music, in four ways, the last of which is `jukebox evaluate music`:

1. Genre: is the centroid of the genre that was asked for the nearest? Embeddings of two networks
   (musicnn, trained on the Million Song Dataset, "msd", and on MagnaTagATune, "mtt"; a piece is the
   mean of its patches of 3 s); centroids of the training music as it was recorded, and of the same
   clips after the codec (`--model`'s finest level), since it takes some of every sound away. The
   chance is the probability of as many hits by guessing. Beside it: how often real music is told
   right, training songs each without itself, and held-out songs.
2. Frechet distance (FAD) to a half of the genre's training songs, in patches of 3 s of msd, beside
   as many real clips of the other half, and of the other genres. Equal numbers of clips only.
3. Likeness to training music: the most similar place in all training songs, by mel spectrograms
   (correlation), beside the same numbers for held-out songs, which cannot be copied.
4. With `--model`: silence, clipping, loudness, notes (basic-pitch), onset strength and pulse beside
   training music, with intervals; seams; the distance of the top prior's states; with `--codes`
   the place in the training codes that has most codes of the top level.

With `--samples FOLDER` instead of `--model` it measures what is there: a session, or a folder of
music with genres in its metadata. What was heard of training clips is kept in `--work`; `--prepare`
does only that.

Most of the time goes to the clips, which are heard once, and to the places.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from jukebox_hf import JukeboxVQVAE, Session
from jukebox_hf.data import Song, open_codes, open_songs, split_songs
from jukebox_hf.hub import System
from jukebox_hf.labels import UNKNOWN
from jukebox_hf.listening import MEASURES, MusicEvaluation, evaluate_music
from jukebox_hf.listening.excerpts import Place, read_clip, spread_clips
from jukebox_hf.listening.sound import mel_decibels
from jukebox_hf.representations import JukeboxEmbedder
from model_cards.recipe.figures import Report, add_output_options
from model_cards.recipe.genre_measures import (
    Clips,
    measure_accuracy,
    measure_distances,
    measure_hits,
)
from model_cards.recipe.listening import EMBEDDINGS, Heard, Listener, remember
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.song_choice import add_split_options, split_of
from model_cards.recipe.sound_statistics import MATCH_STFT, nearest_mel_windows
from model_cards.recipe.take_making import SESSION_FOLDER, make_takes, read_takes

NOT_MUSIC = ("vocal", UNKNOWN)  # the synthetic singing, and songs without a genre
MATCH_SECONDS = 3.0
HELD_OUT_PER_GENRE = 5
SONG_SECONDS, OFFSET_SECONDS = 180.0, 60.0  # samples are from inside a song, as the clips are


class Sample(NamedTuple):
    """A piece to be measured."""

    name: str
    genre: str
    audio: Tensor  # (samples,)


class Music(NamedTuple):
    """The real music that samples are compared with."""

    train: list[Song]
    held_out: list[Song]
    genres: list[str]
    sampling_rate: int


def shared_genres(songs: Sequence[Song], system: System | None) -> list[str]:
    """The genres of songs that the model's top prior knows, but for singing and the unknown."""
    genres = sorted({song.genre for song in songs} - set(NOT_MUSIC))
    if system is None or not system.prior_levels:
        return genres
    processor = system.processor(max(system.prior_levels))
    return [genre for genre in genres if not processor.resolve(None, genre).notes]


def make_samples(given: argparse.Namespace, genres: Sequence[str]) -> list[Sample]:
    """Takes of the model, as many of each genre."""
    place = {"offset_seconds": OFFSET_SECONDS, "total_seconds": SONG_SECONDS}
    prompts = [
        {"genre": genre, "seconds": given.seconds, **place}
        for genre in genres
        for _ in range(given.takes_per_genre)
    ]
    make_takes(given.work, given.model, prompts, seed=given.seed)
    return session_samples(given.work / SESSION_FOLDER)


def session_samples(folder: Path) -> list[Sample]:
    """The takes of a session that had a genre."""
    return [
        Sample(f"take {take.number}", str(take.prompt.genre), take.audio)
        for take in read_takes(folder)
        if take.prompt.genre
    ]


def folder_samples(folder: Path, rate: int, seconds: float, per_genre: int) -> list[Sample]:
    """Clips of a folder of music, as if they had been generated."""
    songs = open_songs(folder).songs
    samples = []
    for genre in sorted({song.genre for song in songs} - set(NOT_MUSIC)):
        own = [song for song in songs if song.genre == genre]
        samples += [
            Sample(place.song.name, genre, read_clip(place, rate, seconds))
            for place in spread_clips(own, per_genre, seconds)
        ]
    return samples


@torch.no_grad()
def rebuild(codec: JukeboxVQVAE, audio: Tensor) -> Tensor:
    """Audio (samples,) after the finest level of the codec."""
    (codes,) = codec.encode(audio[None, None], [0])
    return codec.decode(codes, 0)[0, 0]


def hear_clips(
    places: Sequence[Place],
    listener: Listener,
    music: Music,
    seconds: float,
    work: Path,
    *,
    codec: JukeboxVQVAE | None = None,
) -> Clips:
    """What listeners say about clips of songs, as they are or after a codec."""
    version = "recorded" if codec is None else (codec.fingerprint() or "rebuilt")
    clips = Clips([], [], [])
    for number, place in enumerate(places, start=1):

        def listen(place: Place = place) -> Heard:
            audio = read_clip(place, music.sampling_rate, seconds)
            if codec is not None:
                audio = rebuild(codec, audio)
            return listener.listen(audio, music.sampling_rate)

        song = place.song
        where = f"{place.start_seconds:.3f}:{seconds:g}:{music.sampling_rate}"
        key = f"{version}:{song.name}:{song.native_samples}:{where}"
        clips.genres.append(song.genre)
        clips.songs.append(song.name)
        clips.heard.append(remember(work / "heard", key, listen))
        if number % 10 == 0 or number == len(places):
            note(f"{number}/{len(places)} clips, {version[:15]}")
    return clips


def places_of(
    songs: Sequence[Song], genres: Sequence[str], count: int, seconds: float
) -> list[Place]:
    """So many clips of each genre."""
    return [
        place
        for genre in genres
        for place in spread_clips([song for song in songs if song.genre == genre], count, seconds)
    ]


def measure_mel_matches(music: Music, samples: Sequence[Sample]) -> dict[str, Any]:
    """The most similar place in training music of each sample, and of held-out songs."""
    rate = music.sampling_rate
    frames = round(MATCH_SECONDS * rate / MATCH_STFT.hop_length)

    def middle(audio: Tensor) -> Tensor:
        mel = mel_decibels(audio, rate, MATCH_STFT)
        start = (mel.shape[1] - frames) // 2
        return mel[:, max(start, 0) : max(start, 0) + frames]

    held_out = spread_clips(music.held_out, max(len(samples), 1), 2 * MATCH_SECONDS)
    windows = [middle(sample.audio) for sample in samples]
    windows += [middle(read_clip(place, rate, 2 * MATCH_SECONDS)) for place in held_out]
    songs = []
    for number, song in enumerate(music.train, start=1):
        with song.open(rate) as reader:
            audio = reader.read_available(0, song.num_samples(rate))[0]
        songs.append(mel_decibels(audio, rate, MATCH_STFT))
        if number % 25 == 0:
            note(f"{number}/{len(music.train)} songs to compare with")
    matches = nearest_mel_windows(windows, songs, MATCH_STFT.hop_length / rate)
    records = [
        {
            "correlation": match.correlation,
            "song": music.train[match.song].name if match.song >= 0 else None,
            "second": match.start_seconds,
        }
        for match in matches
    ]
    found, control = records[: len(samples)], records[len(samples) :]
    for sample, record in zip(samples, found, strict=True):
        record["sample"] = sample.name
    return {"samples": found, "held_out": control}


def fill_genre_hits(report: Report, hits: Sequence[dict[str, Any]], genres: Sequence[str]) -> None:
    """Who is told right, in whose ears, and what each genre was taken for."""
    table = []
    for row in hits:
        chance = f"{row['chance']:.1e}" if row["chance"] < 0.001 else f"{row['chance']:.3f}"
        score = f"{row['hits']} of {row['clips']} ({row['share']:.0%})"
        table.append((row["who"], row["network"], row["centroids"], score, chance))
        if row["who"] == "samples":
            name = f"{row['network']}, centroids of {row['centroids']} training music"
            report.figure(f"Genre told right by {name} (share of {row['clips']})", row["share"])
            report.figure(f"Probability of that by chance ({name})", row["chance"])
    report.table(("what", "network", "centroids of", "told right", "by chance"), table)
    counted = next(row for row in hits if row["who"] == "samples")["nearest"]
    report.remark("Samples asked for (rows), by nearest centroid (columns; msd, recorded):")
    report.table(
        ("asked for", *genres),
        [(genre, *(counted[genre].get(other, 0) for other in genres)) for genre in counted],
    )


def fill_distances(report: Report, versions: dict[str, dict[str, Any]]) -> None:
    """Frechet distances, a row per version and genre."""
    table = []
    for version, distances in versions.items():
        for genre, record in distances.items():
            nearest = min(record["other"], key=record["other"].__getitem__)
            table.append(
                (
                    f"{version}, {genre}",
                    record["clips"],
                    f"{record['found']:.1f}",
                    f"{record['same']:.1f}",
                    f"{np.mean(list(record['other'].values())):.1f}",
                    f"{record['other'][nearest]:.1f} ({nearest})",
                )
            )
        if distances:
            below = [
                one["found"] < np.mean(list(one["other"].values())) for one in distances.values()
            ]
            name = f"FAD to the genre's {version} training music"
            mean = float(np.mean([one["found"] for one in distances.values()]))
            others = [np.mean(list(one["other"].values())) for one in distances.values()]
            report.figure(f"{name}, mean over genres", mean)
            report.figure(f"{name}, of other genres' real music", float(np.mean(others)))
            report.figure(f"{name}, genres below that (of {len(distances)})", sum(below))
    headings = ("FAD to training music", "clips", "samples", "same genre", "other genres")
    report.table((*headings, "nearest other genre"), table)


def fill_likeness(report: Report, mels: dict[str, Any]) -> None:
    """Copies, or the lack of them, by ear."""
    table = []
    for who, name in (("samples", "samples"), ("held_out", "held-out songs")):
        found = np.array([record["correlation"] for record in mels[who]])
        if len(found):
            best = max(mels[who], key=lambda record: float(record["correlation"]))
            place = f"{best['song']} at {best['second']:.0f} s"
            table.append((name, len(found), f"{found.mean():.3f}", f"{found.max():.3f}", place))
            title = f"Likeness to the nearest training music (mel), {name}"
            report.figure(f"{title}, mean", found.mean())
            report.figure(f"{title}, most", found.max())
    heading = f"nearest {MATCH_SECONDS:g} s of training music, mel"
    report.table((heading, "windows", "mean", "most", "which"), table)


def fill_music(report: Report, found: MusicEvaluation) -> None:
    """What `jukebox evaluate music` finds."""
    report.table(
        ("mean [95 % interval]", "samples", "training music", "difference"),
        [
            (MEASURES[name], str(own.samples), str(own.reference), str(own.difference))
            for name, own in found.measures.items()
        ],
    )
    for name, own in found.measures.items():
        report.figure(f"Samples, mean of {MEASURES[name]}", own.samples.mean)
        report.figure(f"Training music, mean of {MEASURES[name]}", own.reference.mean)
    if found.seams is not None:
        report.figure("Onset strength at seams of samples, over the mean", found.seams.mean)
    if found.distance is not None:
        title = f"Frechet distance to states of training music, layer {found.distance.layer}"
        report.figure(f"{title}, samples", found.distance.samples)
        report.figure(f"{title}, as many other training clips", found.distance.reference)
    if found.copies is not None:
        copies, title = found.copies, "Equal codes in the nearest training window"
        report.figure(f"{title}, samples, mean (share)", copies.samples.mean)
        report.figure(f"{title}, samples, most (share)", copies.most)
        if copies.control is not None:
            report.figure(f"{title}, songs in other songs, mean (share)", copies.control.mean)
        report.remark(
            f"Most codes found again: {copies.most:.0%}, {copies.sample} from {copies.second:g} s "
            f"on, as in {copies.song} from {copies.song_second:g} s on."
        )
    for remark in found.remarks:
        report.remark(f"Note: {remark}")


def run(given: argparse.Namespace, words: Sequence[str]) -> Report | None:
    """Everything that is asked for; no report when it is only prepared."""
    system = None if given.model is None else System.open(given.model)
    codec = None
    if system is not None and "vqvae" in system.manifest.components:
        codec = system.load_vqvae(dtype=torch.float32)
    split = split_of(given)
    songs = list(open_songs(given.dataset).songs)
    train, held_out = split_songs(songs, split.fraction, split.seed)
    rate = given.sampling_rate if codec is None else codec.config.sampling_rate
    genres = given.genres or shared_genres(train, system)
    if len(genres) < 2:
        raise ValueError(f"two genres or more are needed, got {', '.join(genres) or 'none'}")
    music = Music(list(train), list(held_out), sorted(genres), rate)
    listener = Listener()
    hear: Callable[..., Clips] = lambda places, codec=None: hear_clips(  # noqa: E731
        places, listener, music, given.seconds, given.work, codec=codec
    )
    places = places_of(train, genres, given.clips_per_genre, given.seconds)
    real_places = places_of(held_out, genres, HELD_OUT_PER_GENRE, given.seconds)
    versions: dict[str, tuple[Clips, Clips]] = {"recorded": (hear(places), hear(real_places))}
    if codec is not None:
        versions["rebuilt"] = (hear(places, codec), hear(real_places, codec))
    if given.prepare:
        return None
    if given.samples is None:
        samples = make_samples(given, genres)
    elif Session.is_at(given.samples):
        samples = session_samples(given.samples)
    else:
        samples = folder_samples(given.samples, rate, given.seconds, given.takes_per_genre)
    samples = [sample for sample in samples if sample.genre in genres]
    if not samples:
        raise ValueError(f"there are no samples of the genres {', '.join(genres)}")
    heard = []
    for number, sample in enumerate(samples, start=1):
        heard.append(listener.listen(sample.audio, rate))
        note(f"{number}/{len(samples)} samples")
    found = Clips([sample.genre for sample in samples], [one.name for one in samples], heard)
    report = write_report(given, words, music, versions, samples, found)
    if system is not None and system.prior_levels:
        evaluation = evaluate(given, system, music)
        fill_music(report, evaluation)
        report.records["music"] = evaluation.to_record()
    return report


def evaluate(given: argparse.Namespace, system: System, music: Music) -> MusicEvaluation:
    """Samples beside the training music of the genres, as `jukebox evaluate music` does it."""
    codes = None if given.codes is None else open_codes(given.codes).split(*split_of(given))[0]
    return evaluate_music(
        given.samples or given.work / SESSION_FOLDER,
        [song for song in music.train if song.genre in music.genres],
        JukeboxEmbedder.from_pretrained(system, device="cpu"),
        seconds=given.seconds,
        codes=codes,
        copies=codes is not None,
        model_name=system.manifest.name or Path(system.source).name,
    )


def write_report(
    given: argparse.Namespace,
    words: Sequence[str],
    music: Music,
    versions: dict[str, tuple[Clips, Clips]],
    samples: list[Sample],
    found: Clips,
) -> Report:
    """All measures of what was heard."""
    seconds = f"{given.seconds:g} s"
    dataset = f"{len(samples)} samples of {seconds}; {len(music.train)} training songs"
    report = Report("model_cards.recipe.evaluate_samples", words, dataset)
    hits = []
    for network in EMBEDDINGS:
        for version, (train, real) in versions.items():
            labels = {"network": network, "centroids": version}
            for who, clips in (("samples", found), ("held-out songs", real)):
                if clips.heard:
                    hits.append({"who": who, **labels, **measure_hits(train, clips, network)})
            accuracy = measure_accuracy(train, network)
            report.records[f"accuracy_{network}_{version}"] = accuracy
            name = f"by {network}, {version}, without their own song"
            report.figure(f"Real music told right {name} (share)", accuracy["centroids"])
    fill_genre_hits(report, hits, music.genres)
    rows = []
    for network in EMBEDDINGS:
        for version in versions:
            accuracy = report.records[f"accuracy_{network}_{version}"]
            values = (f"{accuracy[name]:.1%}" for name in ("centroids", "neighbours"))
            rows.append((f"{network}, {version}", len(versions[version][0].heard), *values))
    headings = ("training clips, each without its song", "clips", "centroids", "5 neighbours")
    report.table(headings, rows)
    distances = {
        version: measure_distances(train, found, "msd") for version, (train, _) in versions.items()
    }
    fill_distances(report, distances)
    mels = measure_mel_matches(music, samples)
    fill_likeness(report, mels)
    report.records |= {
        "hits": hits,
        "distances": distances,
        "mel_likeness": mels,
        "samples": [{"name": sample.name, "genre": sample.genre} for sample in samples],
    }
    return report


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser("evaluate_samples", __doc__)
    parser.add_argument("--model", help="folder of a whole model; its codec rebuilds clips, too")
    parser.add_argument("--samples", type=Path, help="a session, or labelled music, to measure")
    parser.add_argument("--dataset", required=True, help="folder of music that training read")
    parser.add_argument("--codes", help="dataset of its codes, to look for copies in")
    parser.add_argument(
        "--work", required=True, type=Path, help="folder for what is made and heard"
    )
    add_split_options(parser)
    parser.add_argument("--genres", nargs="+", help="default: all that model and music share")
    parser.add_argument("--takes-per-genre", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--clips-per-genre", type=int, default=30, help="of music (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the takes (%(default)s)")
    parser.add_argument(
        "--sampling-rate", type=int, default=22_050, help="without a codec (%(default)s Hz)"
    )
    parser.add_argument("--prepare", action="store_true", help="only hear the training clips")
    add_output_options(parser)
    given = parser.parse_args(arguments)
    if given.model is None and given.samples is None and not given.prepare:
        parser.error("give --model, or --samples, or --prepare")
    if given.seconds < 2 * MATCH_SECONDS:
        parser.error(f"--seconds must be at least {2 * MATCH_SECONDS:g}, got {given.seconds:g}")
    if min(given.takes_per_genre, given.clips_per_genre) < 1:
        parser.error("--takes-per-genre and --clips-per-genre must be at least 1")
    return given


@script
def main(arguments: list[str]) -> None:
    given = parse_arguments(arguments)
    report = run(given, arguments)
    if report is None:
        note(f"what was heard is in {given.work / 'heard'}")
    else:
        report.finish(given.figures, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

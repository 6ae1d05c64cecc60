"""A folder of generated music beside real music: what differs, and how sure that is.

Songs go in; a table of measures with intervals, distances of a model's states, and the places that
were copied come out. `jukebox evaluate music` shows it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jukebox_hf.audio import resample
from jukebox_hf.data import CodeSongs, Song, open_songs
from jukebox_hf.generation.session import Session
from jukebox_hf.listening import notes
from jukebox_hf.listening.copies import CodeArray, cut_windows, nearest_window
from jukebox_hf.listening.excerpts import Place, read_clip, spread_clips
from jukebox_hf.listening.listener_weights import MissingEvaluatorError
from jukebox_hf.listening.sound import measure_levels, measure_liveliness, onsets_at_seams
from jukebox_hf.listening.statistics import (
    Interval,
    Rows,
    difference_interval,
    frechet_distance,
    mean_interval,
)
from jukebox_hf.representations import JukeboxEmbedder

STATE_SECONDS = 3.0  # one row of states for each
COPY_SECONDS = 3.0
COPY_WINDOWS = 200  # at most, of either side
DRAWS = 20  # of real clips, as many as there are samples
ENCODED_SECONDS = 30.0  # at a time
# Names of the measures, and what they are in words.
MEASURES = {
    "note_share": "frames with a note (share)",
    "notes_at_once": "notes sounding at once",
    "pulse": "pulse (autocorrelation)",
    "onset_strength": "onset strength (dB a frame)",
    "rms_db": "loudness (dB of full scale)",
    "peak_db": "peak (dB of full scale)",
    "silent_share": "silent frames (share)",
    "clipped_share": "clipped samples (share)",
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Measure:
    """One measure of both sides: means with 95 % bootstrap intervals.

    Attributes:
        samples, reference: of the generated and of the real clips.
        difference: of the means, samples less reference, which are other pieces.
    """

    samples: Interval
    reference: Interval
    difference: Interval


@dataclass(frozen=True)
class Distance:
    """Frechet distance of states, each on as many rows.

    Attributes:
        samples: of the generated clips to one half of the real songs.
        reference: of as many clips of the other half to it, mean of 20 draws: what to compare with.
        rows: that the samples have; few rows make every distance larger.
        layer: of the prior whose states were taken, from 1 on.
    """

    samples: float
    reference: float
    rows: int
    layer: int


@dataclass(frozen=True)
class Copies:
    """The place in the real songs that has most codes of a window of the samples.

    Attributes:
        windows: that were looked for; `window_codes` long, of `level`.
        samples: shares of equal codes in the nearest place.
        control: the same of windows of real songs in the other songs; None with a single song.
        sample, second, song, song_second: the most equal pair: which sample and song, from when on.
    """

    windows: int
    window_codes: int
    level: int
    samples: Interval
    most: float
    control: Interval | None
    control_most: float | None
    sample: str
    second: float
    song: str
    song_second: float


@dataclass(frozen=True)
class MusicEvaluation:
    """Everything that was measured.

    Attributes:
        samples, clips: how many pieces of either side.
        measures: by the names of `MEASURES`.
        seams: onset strength in the louder of the two frames after a seam, over the piece's mean,
            over all seams of all pieces; None without seams.
        distance, copies: None where they could not be measured; `remarks` say why.
    """

    samples: int
    clips: int
    seconds: float
    model: str
    measures: dict[str, Measure]
    seams: Interval | None
    num_seams: int
    distance: Distance | None
    copies: Copies | None
    remarks: tuple[str, ...] = field(default=())

    def to_record(self) -> dict[str, Any]:
        """What JSON can hold."""

        def plain(value: Any) -> Any:
            if isinstance(value, Interval):
                return value._asdict()
            if hasattr(value, "__dataclass_fields__"):
                return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
            if isinstance(value, dict):
                return {name: plain(own) for name, own in value.items()}
            return list(value) if isinstance(value, tuple) else value

        record = plain(self)
        assert isinstance(record, dict)
        return record


class HeardPiece(NamedTuple):
    """A clip of either side."""

    name: str
    audio: Tensor  # (samples,)
    seams: tuple[int, ...] = ()  # samples
    codes: Tensor | None = None  # (time,) of the model's level, where they are known


def evaluate_music(
    folder: str | os.PathLike[str],
    reference: str | os.PathLike[str] | Sequence[Song],
    embedder: JukeboxEmbedder,
    *,
    seconds: float = 10.0,
    clips: int | None = None,
    codes: CodeSongs | None = None,
    copies: bool = True,
    model_name: str = "",
    progress: Progress = lambda what, done, total: None,
) -> MusicEvaluation:
    """Measure generated music beside real music.

    Args:
        folder: audio, as `open_songs` takes it, or a session: then its seams are known, and its
            codes if the model is the one that made it.
        reference: real music, or songs of it: what the model learnt from, or what it should sound
            like.
        embedder: whose states are compared, and whose codec gives the codes.
        seconds: of every piece that are heard; shorter ones are left out, but for the part of a
            code that a piece lacks which was generated so long.
        clips: of the reference, spread over its songs; None: as many as there are samples, or 30.
        codes: of real songs, made by `encode_dataset` and opened by `open_codes`: copies are looked
            for in them. None: all songs of the reference are encoded now, and kept in memory.
        copies: whether copies are looked for; without `codes` that is most of the time.
        model_name: for the record.
        progress: called with what is done, how much of it, and of how many.

    Raises:
        ValueError: without two pieces on either side that are long enough, or for codes of another
            codec or without the level.
        OSError: for folders that are not there.
    """
    remarks: list[str] = []
    rate = embedder.config.sampling_rate
    if codes is not None:
        codes.check(embedder.config)
    samples = _read_samples(Path(folder), embedder, seconds, remarks)
    place_of_songs = "the reference"
    if isinstance(reference, (str, os.PathLike)):
        place_of_songs, reference = os.fspath(reference), open_songs(reference).songs
    songs = [song for song in reference if song.duration_seconds >= seconds]
    for what, found in (("pieces", samples), ("songs", songs)):
        place = folder if what == "pieces" else place_of_songs
        if len(found) < 2:
            raise ValueError(
                f"{place} holds {len(found)} {what} of {seconds:g} seconds or more, and two are "
                "needed; give another folder, or fewer --seconds"
            )
    places = spread_clips(songs, clips or max(len(samples), 30), seconds)
    real = [HeardPiece(place.song.name, read_clip(place, rate, seconds)) for place in places]
    try:
        listener = notes.NoteListener()
    except MissingEvaluatorError as error:
        listener = None
        remarks.append(f"notes are left out: {error}")
    heard = [
        listen(pieces, rate, listener, partial(progress, who))
        for who, pieces in (("samples", samples), ("reference", real))
    ]
    around = [
        onsets_at_seams(piece.audio, rate, piece.seams)[:, 2:4] for piece in samples if piece.seams
    ]
    at_seams = torch.cat(around) if around else torch.zeros(0, 2)
    louder = at_seams[:, int(at_seams.mean(dim=0).argmax())] if len(at_seams) else at_seams[:, 0]
    return MusicEvaluation(
        samples=len(samples),
        clips=len(real),
        seconds=seconds,
        model=model_name,
        measures={
            name: Measure(
                mean_interval(heard[0][name]),
                mean_interval(heard[1][name]),
                difference_interval(heard[0][name], heard[1][name]),
            )
            for name in heard[0]
        },
        seams=mean_interval(louder.tolist()) if len(louder) else None,
        num_seams=len(louder),
        distance=_distance(embedder, samples, places, real, remarks, progress),
        copies=_copies(embedder, samples, songs, codes, remarks, progress) if copies else None,
        remarks=tuple(remarks),
    )


def _read_samples(
    folder: Path, embedder: JukeboxEmbedder, seconds: float, remarks: list[str]
) -> list[HeardPiece]:
    """The first seconds of every piece of a folder; of a session also seams and codes."""
    rate, level = embedder.config.sampling_rate, embedder.config.level
    length = round(seconds * rate)
    # A generated piece is whole codes of the top level, at most as long as was asked for.
    codec = embedder.vqvae
    hop = embedder.config.hop_length if codec is None else codec.config.hop_lengths[-1]
    shortest = length // hop * hop
    seams: dict[str, tuple[int, ...]] = {}
    codes: dict[str, Tensor] = {}
    if Session.is_at(folder):
        session = Session.open(folder)
        for take in session.takes:
            found = session.codes(take.number)
            if take.audio is None or found is None:
                continue
            factor = rate / session.record.sampling_rate
            seams[take.audio] = tuple(
                round(seam * factor) for seam in seam_samples(session, take.number)
            )
            ours = embedder.config.codebook_fingerprint
            if found.fingerprint == ours and level in found.levels:
                codes[take.audio] = found.levels[level][0]
    elif folder.is_dir():
        remarks.append("the folder is no session: where chains were joined is not known")
    pieces = []
    for song in open_songs(folder).songs:
        if song.num_samples(rate) < shortest:
            remarks.append(f"{song.name} is shorter than {seconds:g} s and left out")
            continue
        audio = read_clip(Place(song, 0.0), rate, seconds)
        own = tuple(seam for seam in seams.get(song.name, ()) if seam < length)
        pieces.append(HeardPiece(song.name, audio, own, codes.get(song.name)))
    return pieces


def seam_samples(session: Session, take: int) -> tuple[int, ...]:
    """Where chains of a take were joined, at any level: samples at the session's rate, in order."""
    found = (
        seam.code * session.hop_lengths[entry.level]
        for entry in session.record.chains
        if entry.take == take
        for seam in entry.seams or ()
    )
    return tuple(sorted(found))


def listen(
    pieces: Sequence[HeardPiece],
    rate: int,
    listener: notes.NoteListener | None,
    progress: Callable[[int, int], None],
) -> dict[str, list[float]]:
    """The measures of every piece, by name."""
    rows = []
    for done, piece in enumerate(pieces):
        progress(done, len(pieces))
        row = {
            **measure_liveliness(piece.audio, rate, piece.seams)._asdict(),
            **measure_levels(piece.audio, rate)._asdict(),
        }
        if listener is not None:
            audio = resample(piece.audio, rate, notes.SAMPLING_RATE).numpy()
            shares = notes.note_shares(listener.notes(audio), audio)
            row["note_share"], row["notes_at_once"] = shares
        rows.append(row)
    progress(len(pieces), len(pieces))
    return {name: [row[name] for row in rows] for name in MEASURES if name in rows[0]}


def _distance(
    embedder: JukeboxEmbedder,
    samples: Sequence[HeardPiece],
    places: Sequence[Place],
    real: Sequence[HeardPiece],
    remarks: list[str],
    progress: Progress,
) -> Distance | None:
    """Samples, and as many real clips, to the clips of every other song."""
    order = {name: place for place, name in enumerate(dict.fromkeys(p.song.name for p in places))}
    halves = [[piece for piece in real if order[piece.name] % 2 == half] for half in (0, 1)]
    target, others = ([_states(embedder, one.audio) for one in half] for half in halves)
    if len(order) < 2 or len(others) < 2:
        remarks.append("the distance of states needs clips of four songs or more; left out")
        return None
    mine = []
    for done, piece in enumerate(samples):
        progress("states", done, len(samples))
        mine.append(_states(embedder, piece.audio))
    progress("states", len(samples), len(samples))
    # As many clips on either side: with fewer rows every distance is larger.
    count = min(len(mine), len(others))
    random = np.random.default_rng(0)
    aim = np.concatenate(target)

    def drawn(rows: Sequence[Rows]) -> float:
        picks = [random.permutation(len(rows))[:count] for _ in range(DRAWS)]
        found = [frechet_distance(np.concatenate([rows[i] for i in pick]), aim) for pick in picks]
        return float(np.mean(found))

    layers = embedder.settings.layers
    assert layers is not None
    return Distance(drawn(mine), drawn(others), count * len(mine[0]), layers[0])


def _states(embedder: JukeboxEmbedder, audio: Tensor) -> Rows:
    """Mean states (pieces of 3 s, width) of audio (samples,) at the model's rate."""
    layers = embedder.settings.layers
    assert layers is not None
    seconds = min(STATE_SECONDS, embedder.config.window_seconds)
    found = embedder(audio[None], pool="mean", window_seconds=seconds)
    return np.asarray(found[layers[0]], dtype=np.float64)


def _copies(
    embedder: JukeboxEmbedder,
    samples: Sequence[HeardPiece],
    songs: Sequence[Song],
    encoded: CodeSongs | None,
    remarks: list[str],
    progress: Progress,
) -> Copies | None:
    """How much of the samples' codes stands in a song, code for code."""
    config = embedder.config
    length = int(COPY_SECONDS * config.sampling_rate / config.hop_length)  # whole ones
    if embedder.vqvae is None:
        remarks.append("copies need the model's codec; left out")
        return None
    mine = [
        (_encode(embedder, piece.audio) if piece.codes is None else piece.codes).numpy()
        for piece in samples
    ]
    if encoded is None:
        names, known = _encode_songs(embedder, songs, progress)
    else:
        names = [song.name for song in encoded.songs]
        known = [
            encoded.codes(number, config.level).numpy().astype(np.int16)
            for number in range(len(encoded))
        ]
    places = [
        (number, start)
        for number, codes in enumerate(mine)
        for start in range(0, len(codes) - length + 1, length)
    ]
    places = [
        places[i]
        for i in np.linspace(0, len(places) - 1, min(COPY_WINDOWS, len(places))).round().astype(int)
    ]
    if not places or max(map(len, known)) < length:
        remarks.append(f"copies need pieces and songs of {COPY_SECONDS:g} s; left out")
        return None
    quotes = [
        nearest_window(mine[number][start : start + length].astype(np.int64), known)
        for number, start in places
    ]
    best = max(range(len(quotes)), key=lambda index: quotes[index].equal_share)
    control = _control(known, length, len(quotes))
    seconds = config.hop_length / config.sampling_rate
    return Copies(
        windows=len(quotes),
        window_codes=length,
        level=config.level,
        samples=mean_interval([quote.equal_share for quote in quotes]),
        most=quotes[best].equal_share,
        control=mean_interval(control) if control else None,
        control_most=max(control, default=None),
        sample=samples[places[best][0]].name,
        second=round(places[best][1] * seconds, 2),
        song=names[quotes[best].song],
        song_second=round(quotes[best].start * seconds, 2),
    )


def _encode_songs(
    embedder: JukeboxEmbedder, songs: Sequence[Song], progress: Progress
) -> tuple[list[str], list[npt.NDArray[Any]]]:
    """Names and codes of the prior's level, each (time,), of whole songs."""
    rate = embedder.config.sampling_rate
    known: list[npt.NDArray[Any]] = []
    for done, song in enumerate(songs):
        progress("codes of songs", done, len(songs))
        with song.open(rate) as reader:
            audio = reader.read_available(0, song.num_samples(rate))[0]
        known.append(_encode(embedder, audio).numpy().astype(np.int16))
    progress("codes of songs", len(songs), len(songs))
    return [song.name for song in songs], known


def _control(known: Sequence[npt.NDArray[Any]], length: int, count: int) -> list[float]:
    """How much of real windows stands in the other songs."""
    found = []
    own: list[tuple[int, CodeArray]] = [
        (number, window)
        for number, codes in enumerate(known)
        for window in cut_windows([codes.astype(np.int64)], length, max(count // len(known), 1))
    ]
    for number, window in own[:count]:
        others = [codes for other, codes in enumerate(known) if other != number]
        if any(len(codes) >= length for codes in others):
            found.append(nearest_window(window, others).equal_share)
    return found


def _encode(embedder: JukeboxEmbedder, audio: Tensor) -> Tensor:
    """Codes (time,) of the prior's level of audio (samples,) at the model's rate."""
    assert embedder.vqvae is not None
    level = embedder.config.level
    (codes,) = embedder.vqvae.encode(audio[None, None], [level], chunk_seconds=ENCODED_SECONDS)
    return codes[0].cpu()

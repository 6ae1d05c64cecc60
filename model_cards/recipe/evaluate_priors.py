"""How well priors predict the codes of songs that they have not heard.

    python -m model_cards.recipe.evaluate_priors --model model --codes codes --run runs/top

Cuts windows out of the songs that the run held out, spread evenly, and prints for every level the
bits per code that its prior needs, beside what counting needs on the same windows: a uniform guess,
the frequencies of the training codes, the code before, and the two codes before (interpolated after
Witten and Bell, `code_statistics.markov_baselines`). A prior below the last has learnt more than
which codes follow each other.

A second table asks whether labels mean something: bits per code with the song's own artist and
genre; with the artist hidden; with the artist hidden and another genre instead (the mean of all
others that held-out songs have); and without either. The differences are means over songs with
their standard errors, since windows of a song are alike. What was heard soon tells more than any
label, so the difference is given for the first 64 codes of windows too, before which nothing was
heard at this level. Songs of unknown genre are left out of this table.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from jukebox_hf.data import CodeDataset, CodeSongs, open_codes
from jukebox_hf.hub import System
from jukebox_hf.labels import UNKNOWN, JukeboxLabels, PriorProcessor
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from model_cards.recipe.code_statistics import Codes, markov_bits
from model_cards.recipe.figures import Report, add_output_options
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.song_choice import add_split_options, split_of

VARIANTS = ("own", "right", "wrong", "none")
OPENING = 64  # codes at the start of a window, where labels matter most


class Window(NamedTuple):
    """One window of a held-out song.

    Attributes:
        song, genre: whose, and what it is.
        codes: (context_length,).
        inputs: what the prior is told, a batch of one, as `JukeboxPrior.forward` takes it.
    """

    song: str
    genre: str
    codes: Codes
    inputs: dict[str, Any]


def held_out_windows(
    songs: CodeSongs, prior: JukeboxPrior, processor: PriorProcessor | None, count: int
) -> list[Window]:
    """So many windows for a prior, or all there are, spread evenly over the songs."""
    config = prior.config
    songs.check(config)
    items = CodeDataset(
        songs,
        level=config.level,
        context_length=config.context_length,
        upper_ratio=config.upper_ratio if config.is_upsampler else None,
        processor=processor,
    )
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    windows = []
    for number in chosen.tolist():
        item: dict[str, Any] = dict(items[number])
        song = songs.songs[item.pop("song")]
        codes = item.pop("codes")
        inputs: dict[str, Any] = {
            name: JukeboxLabels(*(part[None] for part in value))
            if isinstance(value, JukeboxLabels)
            else value[None]
            for name, value in item.items()
        }
        windows.append(Window(song.name, song.genre, codes.numpy(), inputs))
    return windows


@torch.no_grad()
def score_window(
    prior: JukeboxPrior, window: Window, variants: Sequence[JukeboxLabels] = ()
) -> npt.NDArray[np.float64]:
    """Bits of every code, (variants, context_length): with each of these labels, or its own."""
    count = max(len(variants), 1)
    inputs = {name: _repeated(value, count) for name, value in window.inputs.items()}
    if variants:
        inputs["labels"] = JukeboxLabels(
            *(torch.cat(parts) for parts in zip(*variants, strict=True))
        )
    codes = torch.from_numpy(window.codes).expand(count, -1)
    logits = prior(codes, **inputs).logits[:, -codes.shape[1] :]  # lyrics may come before
    target = codes + logits.shape[2] - prior.config.codebook_size
    nats = functional.cross_entropy(logits.mT, target, reduction="none")
    return np.asarray(nats.double().numpy() / np.log(2))


def _repeated(value: Any, count: int) -> Any:
    """A batch of one as a batch of so many."""
    if isinstance(value, JukeboxLabels):
        return JukeboxLabels(*(_repeated(part, count) for part in value))
    return value.expand(count, *value.shape[1:])


def relabel(processor: PriorProcessor, labels: JukeboxLabels, genre: str | None) -> JukeboxLabels:
    """The same place of a piece by an unknown artist, in this genre."""
    found = processor.window(
        [processor.resolve(None, genre)],
        total_samples=int(labels.total_samples),
        offset_samples=int(labels.offset_samples),
        match_2020_rounding=False,
    ).labels
    assert found is not None
    return found


def known_genres(processor: PriorProcessor, windows: Sequence[Window]) -> list[str]:
    """The genres of these windows that the prior has a row for."""
    unknown = processor.resolve(None, None).genre_ids
    return sorted(
        {
            window.genre
            for window in windows
            if window.genre != UNKNOWN
            and processor.resolve(None, window.genre).genre_ids != unknown
            and not processor.resolve(None, window.genre).notes
        }
    )


def score_windows(
    prior: JukeboxPrior, processor: PriorProcessor | None, windows: Sequence[Window]
) -> list[dict[str, Any]]:
    """One record per window: song, genre, and bits per code by variant of the labels."""
    genres = known_genres(processor, windows) if processor and processor.has_labels else []
    records = []
    for number, window in enumerate(windows):
        record: dict[str, Any] = {
            "song": window.song,
            "genre": window.genre,
            "own": float(score_window(prior, window).mean()),
        }
        if processor is not None and window.genre in genres and len(genres) > 1:
            others = [genre for genre in genres if genre != window.genre]
            labels = window.inputs["labels"]
            tried = [relabel(processor, labels, one) for one in (window.genre, None, *others)]
            bits = score_window(prior, window, tried)
            for part, codes in (("", bits), ("_opening", bits[:, :OPENING])):
                right, none, *wrong = codes.mean(axis=1).tolist()
                found = {"right": right, "wrong": float(np.mean(wrong)), "none": none}
                record |= {name + part: value for name, value in found.items()}
        records.append(record)
        note(f"level {prior.config.level}: window {number + 1}/{len(windows)}")
    return records


class Difference(NamedTuple):
    """A mean over songs of what one number is above another.

    Attributes:
        mean: over songs, each song the mean of its windows.
        error: standard error of that; nan for one song.
        positive: songs in which it is above 0.
        songs: how many there are.
    """

    mean: float
    error: float
    positive: int
    songs: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.error:.3f} ({self.positive} of {self.songs} songs)"


def difference(songs: Sequence[str], higher: Sequence[float], lower: Sequence[float]) -> Difference:
    """How far `higher` is above `lower`; one number per window, and the name of its song."""
    parts: dict[str, list[float]] = {}
    for song, high, low in zip(songs, higher, lower, strict=True):
        parts.setdefault(song, []).append(high - low)
    means = np.array([np.mean(part) for part in parts.values()])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return Difference(float(means.mean()), float(error), int((means > 0).sum()), len(means))


def measure_level(
    system: System, level: int, train: CodeSongs, held_out: CodeSongs, count: int
) -> dict[str, Any]:
    """Everything about the prior of a level, as one record."""
    prior = system.load_prior(level, dtype=torch.float32)
    config = prior.config
    needs_names = config.has_labels or config.lyrics != "none"
    processor = system.processor(level) if needs_names else None
    windows = held_out_windows(held_out, prior, processor, count)
    records = score_windows(prior, processor, windows)
    training = [train.codes(number, level).numpy() for number in range(len(train))]
    size = config.codebook_size
    baselines = markov_bits(training, [window.codes for window in windows], size)
    return {
        "level": level,
        "uniform": float(np.log2(size)),
        **dict(
            zip(("unigram", "order_1", "order_2"), baselines.mean(axis=1).tolist(), strict=True)
        ),
        "bits_per_code": float(np.mean([record["own"] for record in records])),
        "codes_per_second": config.sampling_rate / config.hop_length,
        "below_order_2": difference(
            [window.song for window in windows],
            baselines[2].tolist(),
            [record["own"] for record in records],
        )._asdict(),
        "windows": records,
        **measure_labels(records),
    }


def measure_labels(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean bits by variant, and what labels are worth; nothing for a prior without labels."""
    labelled = [record for record in records if "wrong" in record]
    if not labelled:
        return {}
    bits = {name: [record[name] for record in labelled] for name in VARIANTS}
    songs = [record["song"] for record in labelled]
    opening = {name: [record[f"{name}_opening"] for record in labelled] for name in VARIANTS[1:]}
    return {
        "labels": {name: float(np.mean(values)) for name, values in bits.items()},
        "wrong_above_right": difference(songs, bits["wrong"], bits["right"])._asdict(),
        "none_above_right": difference(songs, bits["none"], bits["right"])._asdict(),
        "wrong_above_right_opening": difference(
            songs, opening["wrong"], opening["right"]
        )._asdict(),
    }


def fill_report(report: Report, records: Sequence[dict[str, Any]]) -> None:
    """The tables and the figures of `measure_level`'s records."""
    rows, label_rows = [], []
    for record in records:
        level, bits = record["level"], record["bits_per_code"]
        names = ("uniform", "unigram", "order_1", "order_2", "bits_per_code")
        rows.append(
            (
                level,
                len(record["windows"]),
                *(f"{record[name]:.3f}" for name in names),
                str(Difference(**record["below_order_2"])),
                f"{bits * record['codes_per_second']:.0f}",
            )
        )
        report.figure(f"Bits per code, level {level}", bits)
        report.figure(f"Unigram cross entropy, level {level} (bits per code)", record["unigram"])
        report.figure(f"Order-2 Markov model, level {level} (bits per code)", record["order_2"])
        if "labels" in record:
            wrong = Difference(**record["wrong_above_right"])
            opening = Difference(**record["wrong_above_right_opening"])
            none = Difference(**record["none_above_right"])
            values = (f"{record['labels'][name]:.3f}" for name in VARIANTS)
            label_rows.append((level, *values, str(wrong), str(opening), str(none)))
            above = "Wrong genre above right genre"
            report.figure(f"{above}, level {level} (bits per code)", wrong.mean)
            report.figure(
                f"{above}, first {OPENING} codes, level {level} (bits per code)", opening.mean
            )
    report.table(
        (
            "level",
            "windows",
            "uniform",
            "unigram",
            "order 1",
            "order 2",
            "prior",
            "order 2 above prior",
            "prior's bits/s",
        ),
        rows,
    )
    if label_rows:
        report.table(
            (
                "level",
                "own artist and genre",
                "artist hidden",
                "wrong genre",
                "neither",
                "wrong above right genre",
                f"the same, first {OPENING} codes",
                "neither above right genre",
            ),
            label_rows,
        )


@script
def main(arguments: list[str]) -> None:
    parser = script_parser("evaluate_priors", __doc__)
    parser.add_argument("--model", required=True, help="folder of a whole model, or of priors")
    parser.add_argument("--codes", required=True, help="dataset of codes that training read")
    add_split_options(parser)
    parser.add_argument("--levels", type=int, nargs="+", help="default: all that there are")
    parser.add_argument("--windows", type=int, default=96, help="per level (%(default)s)")
    add_output_options(parser)
    given = parser.parse_args(arguments)
    if given.windows < 1:
        raise ValueError(f"--windows must be at least 1, got {given.windows}")
    split = split_of(given)
    songs = open_codes(given.codes)
    train, held_out = songs.split(split.fraction, split.seed)
    if not len(held_out):
        raise ValueError("no song is held out; raise --validation-fraction")
    system = System.open(given.model)
    levels = given.levels or sorted(system.prior_levels, reverse=True)
    missing = sorted(set(levels) - set(system.prior_levels))
    if missing:
        raise ValueError(f"{given.model} has no prior of level {missing[0]}")
    records = [measure_level(system, level, train, held_out, given.windows) for level in levels]
    report = Report(
        "model_cards.recipe.evaluate_priors", arguments, f"{len(held_out)} held-out songs"
    )
    report.records["levels"] = records
    fill_report(report, records)
    report.finish(given.figures, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())

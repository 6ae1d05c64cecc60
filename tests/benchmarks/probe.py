"""Are the states of a prior useful features? Linear probes on songs that nothing learnt from.

    python -m tests.benchmarks.probe --songs unlearnt --work probed --picture probe.png

Needs `pip install -r tests/benchmarks/requirements-probe.txt`. `--songs` is a labelled folder of
music that no component of the model learnt from, one folder in it for each source (a package, an
artist). From the middle of each song come: the mean over time of every layer's states of the top
prior, a histogram of the top level's codes (square roots of shares), and means and deviations of
log-mel bands. Logistic regressions on standardised features tell the genre, and the tempo's class:
thirds of a tempo that is estimated here from onsets, since nobody wrote it down.

No source is in both training and test: songs of one source sound alike, and a split by windows or
songs would measure that. Accuracy is balanced over classes; its interval is that of 1,000 draws of
whole sources. Genres of the recipe's songs are mostly a classifier's word, so they compare features
and say little about music. What was heard is kept in `--work`; the same command goes on.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from jukebox_hf import JukeboxEmbedder
from jukebox_hf.data import Song, open_songs
from jukebox_hf.files import safe_file_name
from jukebox_hf.hub import System
from jukebox_hf.labels import UNKNOWN
from jukebox_hf.listening.excerpts import read_clip, spread_clips
from jukebox_hf.listening.sound import mel_decibels
from jukebox_hf.vqvae.losses import STFT

SPECTRUM = STFT(1024, 256, 1024)
FOLDS, DRAWS = 5, 1000
STRENGTH = 0.01  # inverse of the penalty, the same for all features
SLOWEST, FASTEST, USUAL = 60.0, 180.0, 110.0  # beats a minute
Features = dict[str, npt.NDArray[np.float32]]


class Probed(NamedTuple):
    """What a probe said of every song, and what was right."""

    guessed: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    sources: npt.NDArray[Any]

    def accuracy(self, rows: npt.NDArray[np.int64] | None = None) -> float:
        """Balanced over the classes that are among the rows."""
        labels = self.labels if rows is None else self.labels[rows]
        hits = (
            (self.guessed == self.labels) if rows is None else (self.guessed == self.labels)[rows]
        )
        return float(np.mean([hits[labels == one].mean() for one in np.unique(labels)]))


def tempo(decibels: npt.NDArray[np.float64], frames_per_second: float) -> float:
    """Beats a minute of log-mel (bands, frames): the strongest period, usual ones favoured."""
    onsets = np.clip(np.diff(decibels, axis=1), 0, None).sum(axis=0)
    onsets = onsets - onsets.mean()
    spectrum = np.fft.rfft(onsets, 2 * len(onsets))
    strength = np.fft.irfft(np.abs(spectrum) ** 2)[1 : len(onsets)]
    beats = 60 * frames_per_second / np.arange(1, len(onsets))
    weights = np.exp(-0.5 * (np.log2(beats / USUAL) / 0.6) ** 2)
    allowed = (beats >= SLOWEST) & (beats <= FASTEST)
    return float(beats[np.argmax(np.where(allowed, strength * weights, -np.inf))])


def features_of(audio: torch.Tensor, embedder: JukeboxEmbedder, codes: int) -> Features:
    """All features of audio (samples,), and its tempo as an array of one number."""
    found = embedder(audio)
    rate = embedder.config.sampling_rate
    mel = mel_decibels(audio, rate, SPECTRUM).double().numpy()
    counts = np.bincount(np.asarray(found.codes).reshape(-1), minlength=codes)
    features = {f"layer {layer}": np.asarray(states) for layer, states in found.items()}
    features["codes"] = np.sqrt(counts / counts.sum())
    features["mel"] = np.concatenate([mel.mean(axis=1), mel.std(axis=1)])
    features["tempo"] = np.array([tempo(mel, rate / SPECTRUM.hop_length)])
    return {name: np.float32(array) for name, array in features.items()}


def listen(
    songs: Sequence[Song], embedder: JukeboxEmbedder, codes: int, seconds: float, work: Path
) -> list[Features]:
    """Features of the middle of every song, kept in a folder."""
    work.mkdir(parents=True, exist_ok=True)
    heard: list[Features] = []
    for number, song in enumerate(songs, start=1):
        path = work / f"{safe_file_name(song.name.replace('/', ' '))}.npz"
        if not path.is_file():
            (place,) = spread_clips([song], 1, seconds)
            audio = read_clip(place, embedder.config.sampling_rate, seconds)
            partial = path.with_suffix(".part.npz")
            np.savez(partial, allow_pickle=False, **features_of(audio, embedder, codes))
            partial.replace(path)
        with np.load(path) as kept:
            heard.append(dict(kept))
        if number % 20 == 0 or number == len(songs):
            print(f"{number}/{len(songs)} songs", flush=True)
    return heard


def probe(
    features: npt.NDArray[np.float32], labels: npt.NDArray[Any], sources: npt.NDArray[Any]
) -> Probed:
    """What a linear probe says of each song that has seen no song of its source."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    guessed = np.empty_like(labels)
    folds = StratifiedGroupKFold(min(FOLDS, len(set(sources))), shuffle=True, random_state=0)
    for train, test in folds.split(features, labels, sources):
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000),
        )
        guessed[test] = model.fit(features[train], labels[train]).predict(features[test])
    return Probed(guessed, labels, sources)


def draws_of(sources: npt.NDArray[Any]) -> list[npt.NDArray[np.int64]]:
    """Rows of sources drawn with replacement, the same draws for all features."""
    dice = np.random.default_rng(0)
    rows = [np.flatnonzero(sources == one) for one in np.unique(sources)]
    return [
        np.concatenate([rows[number] for number in dice.integers(0, len(rows), len(rows))])
        for _ in range(DRAWS)
    ]


def interval(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in np.percentile(values, [2.5, 97.5])]


def compare(heard: Sequence[Features], labels: npt.NDArray[Any], sources: npt.NDArray[Any]) -> Any:
    """Accuracy of every kind of features, and how much better the middle layer is, paired."""
    names = [name for name in heard[0] if name != "tempo"]
    draws = draws_of(sources)
    drawn, result = {}, {}
    for name in names:
        probed = probe(np.stack([one[name] for one in heard]), labels, sources)
        drawn[name] = np.array([probed.accuracy(rows) for rows in draws])
        result[name] = {"accuracy": round(probed.accuracy(), 3), "interval": interval(drawn[name])}
    layers = [name for name in names if name.startswith("layer")]
    middle = layers[(len(layers) - 1) // 2]
    result["differences"] = {
        f"{middle} less {other}": {
            "mean": round(result[middle]["accuracy"] - result[other]["accuracy"], 3),
            "interval": interval(drawn[middle] - drawn[other]),
        }
        for other in ("codes", "mel")
    }
    return result


def choose(songs: Sequence[Song], most: int) -> list[Song]:
    """Songs with a genre, at most so many of each genre and source, the first ones."""
    counts: Counter[tuple[str, str]] = Counter()
    chosen = []
    for song in songs:
        kind = (song.genre, song.name.split("/")[0])
        if song.genre != UNKNOWN and counts[kind] < most:
            counts[kind] += 1
            chosen.append(song)
    return chosen


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Probes for genre and tempo class."""
    system = System.open(given.model)
    config = system.prior_config(max(system.prior_levels))
    embedder = JukeboxEmbedder.from_pretrained(
        system, layers=range(1, config.depth + 1), pool="mean", device="cpu", timing="fixed"
    )
    songs = choose(open_songs(given.songs).songs, given.most)
    codes = system.vqvae_config().codebook_size
    heard = listen(songs, embedder, codes, given.seconds, given.work)
    sources = np.array([song.name.split("/")[0] for song in songs])
    genres = np.array([song.genre for song in songs])
    tempos = np.array([float(one["tempo"][0]) for one in heard])
    bounds = np.quantile(tempos, [1 / 3, 2 / 3])
    return {
        "songs": len(songs),
        "sources": len(set(sources)),
        "genres": dict(Counter(genres.tolist())),
        "tempo_bounds": [round(float(bound), 1) for bound in bounds],
        "genre": compare(heard, genres, sources),
        "tempo": compare(heard, np.digitize(tempos, bounds), sources),
    }


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Layer against accuracy with intervals; codes, mel and chance as lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3))
    for axis, task in zip(axes, ("genre", "tempo"), strict=True):
        record = result[task]
        layers = [name for name in record if name.startswith("layer")]
        values = np.array([record[name]["accuracy"] for name in layers])
        ends = np.array([record[name]["interval"] for name in layers]).T
        errors = np.abs(ends - values)
        places = range(1, len(layers) + 1)
        axis.errorbar(places, values, yerr=errors, marker="o", capsize=3, label="states")
        for name, color in (("codes", "tab:orange"), ("mel", "tab:green")):
            axis.axhline(record[name]["accuracy"], color=color, linestyle="--", label=name)
        classes = len(result["genres"]) if task == "genre" else 3
        axis.axhline(1 / classes, color="black", linewidth=0.8, linestyle=":", label="chance")
        axis.set_title(f"{task}, {classes} classes")
        axis.set_xlabel("layer")
        axis.set_xticks(list(places))
        axis.set_ylabel("balanced accuracy")
    axes[0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=Path, required=True, help="songs that nothing learnt from")
    parser.add_argument("--model", help="default: the built-in model")
    parser.add_argument("--most", type=int, default=8, help="songs of a genre and source")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each song")
    parser.add_argument("--work", type=Path, required=True, help="for what was heard")
    parser.add_argument("--picture", type=Path, help="layer against accuracy, as a PNG")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(given)
    print(json.dumps(result, indent=1))
    if given.picture:
        draw(result, given.picture)


if __name__ == "__main__":
    main()

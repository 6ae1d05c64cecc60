"""Codes without a prior: how predictable they are, and whether generated ones are quotations.

    python -m model_cards.recipe.evaluate_codes entropy --codes codes
    python -m model_cards.recipe.evaluate_codes similarity --codes codes --takes take.safetensors

`entropy` prints, for every level, the bits per held-out code that counting alone needs: a uniform
guess, the frequency of each code, the code before, the two codes before. A prior has learnt
something when its bits per code are below the last two.

`similarity` cuts takes (files of codes that `jukebox generate` keeps) into windows and looks for
the place in the training codes that agrees with most codes of each; beside it stands the same
number for windows of held-out songs, which cannot be copied. Takes well above those quote.

`--codes` is a folder that `jukebox encode` wrote of a dataset. The songs held out are those that
training holds out with the same `--validation-fraction` and `--split-seed`, or in the run `--run`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jukebox_hf.codes import load_codes
from jukebox_hf.data import CodeSongs, open_codes
from jukebox_hf.listening.copies import cut_windows, nearest_window
from model_cards.recipe.code_statistics import Codes, markov_baselines, perplexity
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.song_choice import add_split_options, split_of


def codes_of(songs: CodeSongs, level: int) -> list[Codes]:
    """The codes of a level, of every song."""
    return [songs.codes(number, level).numpy() for number in range(len(songs))]


def measure_entropy(train: CodeSongs, held_out: CodeSongs, level: int) -> dict[str, Any]:
    """Baselines and perplexity of one level, as one record."""
    size = train.info.codebook_size
    train_codes, held_out_codes = codes_of(train, level), codes_of(held_out, level)
    baselines = markov_baselines(train_codes, held_out_codes, size)
    counts = np.bincount(np.concatenate(train_codes), minlength=size)
    return {
        "level": level,
        **baselines._asdict(),
        "perplexity": perplexity(counts),
        "used_share": float((counts > 0).mean()),
    }


def measure_similarity(
    train: CodeSongs,
    held_out: CodeSongs,
    takes: Sequence[Codes],
    *,
    level: int,
    window_seconds: float,
    max_windows: int,
) -> dict[str, Any]:
    """How near the takes, and songs held out, come to the training codes, as one record."""
    info = train.info
    length = round(window_seconds * info.sampling_rate / info.hop_lengths[level])
    if length < 1:
        raise ValueError(f"a window of {window_seconds:g} seconds holds no code of level {level}")
    # Sixteen bits hold every code and are read four times as fast.
    training = [codes.astype(np.int16) for codes in codes_of(train, level)]
    record: dict[str, Any] = {"level": level, "window_codes": length}
    for name, codes in (("takes", list(takes)), ("held_out", codes_of(held_out, level))):
        windows = cut_windows(codes, length, max_windows)
        if not windows:
            raise ValueError(f"the {name} are shorter than a window of {window_seconds:g} seconds")
        quotes = [nearest_window(window, training) for window in windows]
        nearest = max(quotes, key=lambda quote: quote.equal_share)
        record[name] = {
            "windows": len(quotes),
            "mean_equal_share": float(np.mean([quote.equal_share for quote in quotes])),
            "max_equal_share": nearest.equal_share,
            "longest_run_codes": max(quote.longest_run for quote in quotes),
            "nearest_song": train.songs[nearest.song].name,
            "nearest_second": nearest.start * info.hop_lengths[level] / info.sampling_rate,
        }
    return record


def load_takes(paths: Sequence[Path], level: int, train: CodeSongs) -> list[Codes]:
    """All takes in files of codes. Raises `ValueError` for codes of another codec or level."""
    takes: list[Codes] = []
    for path in paths:
        codes = load_codes(path)
        mine, theirs = train.info.fingerprint, codes.fingerprint
        if mine and theirs and mine != theirs:
            raise ValueError(f"{path} was made with another codec than the training codes")
        if level not in codes.levels:
            raise ValueError(f"{path} holds no codes of level {level}")
        takes += [take.numpy() for take in codes.levels[level]]
    return takes


def print_entropy(records: Sequence[dict[str, Any]]) -> None:
    names = ("uniform", "unigram", "order_1", "order_2", "perplexity", "used_share")
    print(f"{'level':>5} " + " ".join(f"{name:>10}" for name in names) + f" {'codes':>11}")
    for record in records:
        cells = " ".join(f"{record[name]:10.3f}" for name in names)
        print(f"{record['level']:5} {cells} {record['train_codes']:11,}")


def print_similarity(record: dict[str, Any]) -> None:
    print(f"windows of {record['window_codes']} codes of level {record['level']}")
    for name in ("takes", "held_out"):
        part = record[name]
        print(
            f"{name:9} {part['windows']:4} windows: equal codes {part['mean_equal_share']:.1%} on "
            f"average, {part['max_equal_share']:.1%} at most ({part['nearest_song']} at "
            f"{part['nearest_second']:.1f} s), longest run {part['longest_run_codes']}"
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser("evaluate_codes", __doc__)
    parser.add_argument("what", choices=("entropy", "similarity"))
    parser.add_argument("--codes", required=True, help="dataset of codes, training and held out")
    add_split_options(parser)
    parser.add_argument("--level", type=int, help="default: every level; similarity: the top")
    parser.add_argument("--takes", type=Path, nargs="+", default=[], help="files of codes")
    parser.add_argument("--window-seconds", type=float, default=2.0)
    parser.add_argument("--max-windows", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print records instead of a table")
    return parser.parse_args(arguments)


def evaluate(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The records asked for."""
    songs = open_codes(given.codes)
    train, held_out = songs.split(*split_of(given))
    if not held_out.songs:
        raise ValueError("no song is held out; choose a larger --validation-fraction")
    note(f"{len(train)} songs to count, {len(held_out)} held out")
    if given.what == "entropy":
        levels = songs.info.levels if given.level is None else [given.level]
        return [measure_entropy(train, held_out, level) for level in levels]
    if not given.takes:
        raise ValueError("similarity needs --takes")
    level = max(songs.info.levels) if given.level is None else given.level
    return [
        measure_similarity(
            train,
            held_out,
            load_takes(given.takes, level, train),
            level=level,
            window_seconds=given.window_seconds,
            max_windows=given.max_windows,
        )
    ]


@script
def main(arguments: list[str]) -> None:
    given = parse_arguments(arguments)
    records = evaluate(given)
    if given.json:
        for record in records:
            print(json.dumps(record))
    elif given.what == "entropy":
        print_entropy(records)
    else:
        print_similarity(records[0])


if __name__ == "__main__":
    sys.exit(main())

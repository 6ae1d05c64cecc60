import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from jukebox_hf.audio import save_audio
from jukebox_hf.data import encode_dataset, open_codes, open_songs
from jukebox_hf.hub import System
from jukebox_hf.training import SongSelection
from jukebox_hf.training.scoring import evaluate_model
from model_cards.recipe import evaluate_priors
from model_cards.recipe.code_statistics import markov_bits
from model_cards.recipe.evaluate_priors import (
    OPENING,
    difference,
    held_out_windows,
    known_genres,
    relabel,
    score_window,
    score_windows,
)
from model_cards.recipe.figures import load_figures
from tests.tiny import SAMPLING_RATE, tiny_system

SECONDS = 4
GENRES = ("rock", "jazz", "polka", "rock", "folk", "jazz", "unknown", "rock")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def codes(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    lines = ["file_name,artist,genre"]
    for number, genre in enumerate(GENRES):
        generator = torch.Generator().manual_seed(number)
        noise = 0.1 * torch.randn(1, SECONDS * SAMPLING_RATE, generator=generator)
        save_audio(folder / f"{number}.wav", noise, SAMPLING_RATE)
        lines.append(f"{number}.wav,ada,{genre}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    output = folder.parent / "codes"
    encode_dataset(open_songs(folder).songs, System.open(model).load_vqvae(), output)
    return output


def test_bits_are_those_of_jukebox_evaluate(
    model: Path, codes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--model", str(model), "--codes", str(codes), "--validation-fraction", "0.6"]
    arguments += ["--windows", "9999", "--figures", str(figures), "--json"]
    assert evaluate_priors.main(arguments) == 0
    records = json.loads(capsys.readouterr().out)["records"]["levels"]
    songs = SongSelection(dataset=str(codes), validation_fraction=0.6)
    expected = evaluate_model(str(model), songs, items=9999, held_out_only=True)
    assert [record["level"] for record in records] == [2, 1, 0]
    for record in records:
        theirs = expected[f"prior_{record['level']}"]
        assert record["bits_per_code"] == pytest.approx(theirs.bits_per_code, abs=1e-4)
        assert len(record["windows"]) == theirs.windows
        # Random weights know nothing: counting is better.
        assert record["below_order_2"]["mean"] < 0
        assert record["uniform"] == 4
    named = {figure.name: figure.value for figure in load_figures(figures)}
    assert named["Bits per code, level 2"] == pytest.approx(records[0]["bits_per_code"], rel=1e-5)
    assert "Wrong genre above right genre, level 0 (bits per code)" in named


def test_tables_have_a_row_per_level(
    model: Path, codes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(model), "--codes", str(codes), "--validation-fraction", "0.6"]
    assert evaluate_priors.main([*arguments, "--windows", "6", "--levels", "2", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| 2 ") for line in lines) == 2
    assert sum(line.startswith("| 1 ") for line in lines) == 2


def test_labels_are_replaced_and_nothing_else(model: Path, codes: Path) -> None:
    system = System.open(model)
    prior, processor = system.load_prior(2).eval(), system.processor(2)
    windows = held_out_windows(open_codes(codes), prior, processor, 40)
    assert known_genres(processor, windows) == ["folk", "jazz", "rock"]
    window = next(one for one in windows if one.genre == "jazz")
    labels = relabel(processor, window.inputs["labels"], "jazz")
    own = window.inputs["labels"]
    assert labels.total_samples == own.total_samples
    assert labels.offset_samples == own.offset_samples
    assert torch.equal(labels.genres, own.genres)
    assert int(labels.artist) == 0 != int(own.artist)
    alone = score_window(prior, window)
    bits = score_window(prior, window, [labels, own])
    assert bits[1] == pytest.approx(alone[0], abs=1e-5)
    assert bits[0] != pytest.approx(alone[0], abs=1e-5)


def test_a_wrong_genre_is_the_mean_of_all_others(model: Path, codes: Path) -> None:
    system = System.open(model)
    prior, processor = system.load_prior(2).eval(), system.processor(2)
    windows = held_out_windows(open_codes(codes), prior, processor, 40)
    records = score_windows(prior, processor, windows)
    for window, record in zip(windows, records, strict=True):
        assert ("wrong" in record) == (record["genre"] in ("rock", "jazz", "folk"))
        if record["genre"] != "rock":
            continue
        bits = {
            genre: score_window(
                prior, window, [relabel(processor, window.inputs["labels"], genre)]
            )[0]
            for genre in ("rock", "jazz", "folk", None)
        }
        wrong = (bits["jazz"] + bits["folk"]) / 2
        assert record["wrong"] == pytest.approx(wrong.mean(), abs=1e-5)
        assert record["right"] == pytest.approx(bits["rock"].mean(), abs=1e-5)
        assert record["none"] == pytest.approx(bits[None].mean(), abs=1e-5)
        assert record["wrong_opening"] == pytest.approx(wrong[:OPENING].mean(), abs=1e-5)


def test_differences_are_means_over_songs() -> None:
    found = difference(["a", "a", "b", "c"], [3.0, 5.0, 1.0, 2.0], [1.0, 1.0, 0.0, 3.0])
    assert found.mean == pytest.approx((3 + 1 - 1) / 3)
    assert found.error == pytest.approx(np.std([3, 1, -1], ddof=1) / math.sqrt(3))
    assert (found.positive, found.songs) == (2, 3)
    assert str(found) == "+1.000 ± 1.155 (2 of 3 songs)"
    assert math.isnan(difference(["a"], [1.0], [0.0]).error)


def test_bits_of_songs_are_those_of_all_by_length() -> None:
    random = np.random.default_rng(1)
    train = [random.integers(5, size=50) for _ in range(3)]
    held_out = [random.integers(5, size=length) for length in (9, 0, 30)]
    bits = markov_bits(train, held_out, 5)
    assert bits.shape == (3, 3)
    for number in (0, 2):
        alone = markov_bits(train, [held_out[number]], 5)
        assert bits[:, number] == pytest.approx(alone[:, 0])
    assert bits[:, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "3"], "has no prior of level 3"),
        (["--windows", "0"], "--windows must be at least 1, got 0"),
        (["--validation-fraction", "0"], "no song is held out"),
    ],
)
def test_wrong_requests_are_explained(
    model: Path,
    codes: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["--model", str(model), "--codes", str(codes), *arguments]
    assert evaluate_priors.main(command) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]

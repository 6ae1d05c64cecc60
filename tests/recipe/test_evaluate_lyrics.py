import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from jukebox_hf.audio import save_audio
from jukebox_hf.hub import System
from model_cards.recipe import evaluate_lyrics
from model_cards.recipe.evaluate_lyrics import ARTIST, GENRE, words_before
from model_cards.recipe.figures import load_figures
from model_cards.recipe.singing import write_song
from model_cards.recipe.take_making import Made
from tests.tiny import SAMPLING_RATE, tiny_system

SONGS = 4


class Perfect:
    """Hears what was asked for, in the order in which it is asked."""

    texts: ClassVar[list[list[str]]] = []

    def words(self, audio: Any) -> list[str]:
        return Perfect.texts.pop(0)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    monkeypatch.setattr(evaluate_lyrics, "Whisper", Perfect)
    monkeypatch.setattr(Perfect, "texts", [])
    return Perfect.texts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("model") / "model", "encoder")


def takes_of(prompts: list[dict[str, Any]]) -> list[Made]:
    audio = 0.1 * torch.randn(SAMPLING_RATE, generator=torch.Generator().manual_seed(1))
    return [
        Made(n, prompt, audio, SAMPLING_RATE, {}, ()) for n, prompt in enumerate(prompts, start=1)
    ]


def test_takes_are_asked_for_unseen_lyrics_and_measured(
    model: Path,
    tmp_path: Path,
    texts: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []

    def make(folder: Path, name: str, prompts: Any, seed: int) -> list[Made]:
        asked.extend(prompts)
        return takes_of(prompts)

    monkeypatch.setattr(evaluate_lyrics, "make_takes", make)
    songs = [write_song(evaluate_lyrics.FIRST_SEED + number) for number in range(SONGS)]
    texts += [words_before(song, 20.0)[::2] for song in songs]
    figures = tmp_path / "figures.json"
    command = ["--model", str(model), "--work", str(tmp_path), "--takes", str(SONGS)]
    assert evaluate_lyrics.main([*command, "--figures", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert f"The model does not know the artist {ARTIST}; none was asked for." in printed
    assert f"The model does not know the genre {GENRE}; none was asked for." in printed
    assert [prompt["lyrics"] for prompt in asked] == [song.lyrics for song in songs]
    assert all("artist" not in prompt and prompt["seconds"] == 20 for prompt in asked)
    named = {figure.name: figure.value for figure in load_figures(figures)}
    assert named["Word recall, in order (share)"] == pytest.approx(0.5, abs=0.03)
    assert named["Word recall, in order, of other lyrics (share)"] < 0.4
    assert named["Probability by chance, words of takes"] < 0.1  # 1 of 4! orders
    # Packaging looks for one recall and one control.
    assert sum("word recall" in name.lower() for name in named) == 2


def test_takes_that_say_something_else_do_not_follow(
    model: Path,
    tmp_path: Path,
    texts: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        evaluate_lyrics, "make_takes", lambda folder, name, prompts, seed: takes_of(prompts)
    )
    texts += [["the", "and", "you"]] * SONGS
    command = ["--model", str(model), "--work", str(tmp_path), "--takes", str(SONGS), "--json"]
    assert evaluate_lyrics.main(command) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    assert records["follows_words"] is False
    assert records["pieces"][0]["texts"][0]["heard"] == "the and you"


def test_recordings_are_measured_as_they_are_and_after_the_codec(
    model: Path, tmp_path: Path, texts: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    singing = tmp_path / "singing"
    singing.mkdir()
    for number, words in enumerate(("<00:00.20>river <00:01.50>flow", "<00:00.10>silver moon")):
        audio = 0.1 * torch.randn(1, 2 * SAMPLING_RATE)
        save_audio(singing / f"{number}.wav", audio, SAMPLING_RATE)
        (singing / f"{number}.lrc").write_text(f"[00:00.10]{words}\n")
    texts += [["river"], ["silver", "moon"]] * 4
    command = ["--model", str(model), "--singing", str(singing), "--only-singing"]
    assert evaluate_lyrics.main([*command, "--seconds", "1", "--takes", "2", "--json"]) == 0
    pieces = json.loads(capsys.readouterr().out)["records"]["pieces"]
    assert [piece["what"] for piece in pieces] == [
        "recordings",
        *(
            f"recordings rebuilt at hop {hop}"
            for hop in System.open(model).vqvae_config().hop_lengths
        ),
    ]
    assert [text["asked"] for text in pieces[0]["texts"]] == ["river", "silver moon"]
    assert pieces[3]["recall"] == 1


def test_words_of_a_part_are_those_that_have_ended() -> None:
    song = write_song(1)
    assert words_before(song, 0.0) == []
    assert " ".join(words_before(song, song.seconds)) == " ".join(song.lyrics.split())
    half = words_before(song, song.seconds / 2)
    assert 0 < len(half) < len(song.lyrics.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --model, --session or --singing"),
        (["--model", "m"], "--work is needed to make takes in"),
        (["--singing", "s", "--takes", "1"], "--takes must be at least 2, got 1"),
    ],
)
def test_wrong_options_are_explained(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate_lyrics.main(words)
    assert message in capsys.readouterr().err


def test_a_model_without_lyrics_is_refused(
    tmp_path: Path, texts: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_system(tmp_path / "model")
    assert evaluate_lyrics.main(["--model", str(model), "--work", str(tmp_path)]) == 1
    assert "reads no lyrics, so there are no words to be heard" in capsys.readouterr().err

"""Tiny runs become a model in the shape of the one that comes with the package."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors import safe_open

from jukebox_hf import JukeboxPipeline
from jukebox_hf.hub import Figure, System, load_training_facts
from model_cards.recipe import package_card, package_examples, package_model
from model_cards.recipe.figures import Report
from model_cards.recipe.package_model import RUNS, Recipe
from tests.tiny import tiny_system

TABLE = "file_name,artist,genre,title,licence,credit,seconds\n"
SUNG = "b.flac,joe,vocal,b,CC0-1.0,synthetic: a voice (CC0) sung through WORLD,1800\n"
RENDERED = "c.flac,unknown,piano,c,CC0-1.0,made up by a program and played,900\n"
FACTS = {"command": "jukebox train prior", "hardware": "1 core", "duration_seconds": 7200}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of others' music, of synthetic singing, and of music rendered from notes."""
    root = tmp_path_factory.mktemp("songs")
    recorded = "a.flac,x,rock,a,CC-BY-SA-3.0,Ada,3600\n"
    for name, row in {"music": recorded, "singing": SUNG, "rendered": RENDERED}.items():
        (root / name).mkdir()
        (root / name / "metadata.csv").write_text(TABLE + row)
    (root / "music" / "ATTRIBUTION.md").write_text("# Attribution\n\n| a | Ada |\n")
    return [root / "music", root / "singing", root / "rendered"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for run in RUNS.values():
        tiny_system(root / run, "encoder")
    return root


@pytest.fixture
def recipe(runs: Path, music: list[Path]) -> Recipe:
    sources = {name: runs / run for name, run in RUNS.items()}
    return Recipe(sources, music, facts=dict.fromkeys(RUNS, FACTS), generation={"seconds": 0.5})


def test_runs_become_one_model_of_half_precision(recipe: Recipe, tmp_path: Path) -> None:
    notes = package_model.package_model(recipe, tmp_path / "demo")
    assert notes[0].startswith("no songs of metal, electronic")
    system = System.open(tmp_path / "demo")
    manifest = system.manifest
    assert (manifest.name, manifest.licence) == ("demo-22k", "CC-BY-SA-4.0")
    assert manifest.generation["seconds"] == 0.5
    assert manifest.generation["hop_fraction"] == {"0": 0.5, "1": 0.5, "2": 0.25}
    assert "not follow the words" in manifest.notes["lyrics"]
    assert "hardly follows genres" in manifest.notes["genre"]
    original = System.open(recipe.sources["prior_2"])
    assert system.load_vqvae().fingerprint() == original.load_vqvae().fingerprint()
    for (name, tensor), (_, before) in zip(
        system.load_prior(2, dtype="float32").state_dict().items(),
        original.load_prior(2).state_dict().items(),
        strict=True,
    ):
        torch.testing.assert_close(tensor, before, rtol=1e-3, atol=1e-4, msg=name)
    with safe_open(tmp_path / "demo" / "prior_2" / "model.safetensors", "pt") as file:
        assert file.get_tensor("decoder.layers.0.mlp.expand.weight").dtype == torch.float16
    assert system.processor(2).resolve(genre="Punk Rock").genre_name == "punk_rock"  # it knows both
    assert system.processor(0).resolve(genre="grunge").genre_name == "rock"
    assert (tmp_path / "demo" / "LICENSE").read_text().startswith("Attribution-ShareAlike 4.0")
    attribution = (tmp_path / "demo" / "ATTRIBUTION.md").read_text()
    assert "| a | Ada |" in attribution
    assert (
        "1 songs, 0.5 hours, made for this model by `python -m model_cards.recipe.sing`"
        in attribution
    )
    assert "## Rendered music\n\n1 songs, 0.2 hours, made for this" in attribution
    music = JukeboxPipeline.from_pretrained(tmp_path / "demo", device="cpu").generate(
        genre="grunge", lyrics="la", seed=1, to_level=2
    )
    assert any("not follow the words" in note for note in music.notes)


def test_a_component_that_learnt_from_some_songs_says_so(recipe: Recipe, tmp_path: Path) -> None:
    some = replace(recipe, songs_of={"prior_2": recipe.songs[1]})
    package_model.package_model(some, tmp_path / "demo")
    system = System.open(tmp_path / "demo")
    hours = {
        name: [each.hours for each in load_training_facts(system.settings_path(name)).data]
        for name in ("vqvae", "prior_2")
    }
    assert hours == {"vqvae": [1.0, 0.5, 0.25], "prior_2": [0.5]}


def test_the_card_says_how_it_was_trained_and_what_it_cannot(
    recipe: Recipe, tmp_path: Path
) -> None:
    package_model.package_model(recipe, tmp_path / "demo")
    card = (tmp_path / "demo" / "README.md").read_text()
    for text in (
        "license: cc-by-sa-4.0",
        "# demo-22k",
        "JukeboxPipeline.from_pretrained()",
        "- On 1 core",
        "- 2 hours",
        "| music of free games and programs | 1 | 1 | CC-BY-SA-3.0 |",
        "| synthetic singing | 1 | 0.5 | CC0-1.0 |",
        "| music rendered from notes | 1 | 0.25 | CC0-1.0 |",
        "It quotes",
        "does not follow the words",
        "[ATTRIBUTION.md](ATTRIBUTION.md)",
    ):
        assert text in card, text
    assert "Listen" not in card


def test_figures_go_to_their_components_and_decide_on_lyrics(
    recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    package_model.package_model(recipe, folder)
    report = Report("model_cards.recipe.evaluate_priors", ["--model", "demo"], "held out")
    report.figure("Bits per code, level 1", 4.5)
    report.figure("Genre found (share)", 0.5)
    report.figure("Word recall (share)", 0.3)
    report.figure("Word recall of other lyrics (share)", 0.1)
    report.finish(tmp_path / "figures.json", as_json=True)
    arguments = ["--model", str(folder), "--figures", str(tmp_path / "figures.json")]
    assert package_card.main(arguments) == 0
    assert package_card.main(arguments) == 0  # again changes nothing
    facts = load_training_facts(folder / "prior_1")
    assert facts is not None
    assert [figure.name for figure in facts.figures] == ["Bits per code, level 1"]
    facts = load_training_facts(folder / "prior_2")
    assert facts is not None
    assert len(facts.figures) == 3
    assert System.open(folder).manifest.notes.keys() == {"genre"}  # words were recognised
    card = (folder / "README.md").read_text()
    assert "not follow the words" not in card
    command = "`python -m model_cards.recipe.evaluate_priors --model demo`"
    assert f"On held out, by {command}:\n\n| what | value |\n| --- | --- |\n" in card
    assert "| Bits per code, level 1 | 4.5 |" in card


@pytest.mark.parametrize(
    ("recall", "control", "follows"), [(0.3, 0.1, True), (0.1, 0.1, False), (0.3, None, False)]
)
def test_words_count_as_followed_only_above_the_control(
    recall: float, control: float | None, follows: bool
) -> None:
    figures = [Figure("Word recall", recall, "c")]
    if control is not None:
        figures.append(Figure("Word recall, control", control, "c"))
    assert ("lyrics" not in package_card.honest_notes(figures, [])) == follows
    figures.append(Figure("Probability by chance, words of takes", 0.2, "c"))
    assert "lyrics" in package_card.honest_notes(figures, [])


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.01, 0.04), None),
        ((0.01, 0.4), "loosely: 1 of 2 ways"),
        ((0.03, 0.4), "hardly follows"),
        ((), "hardly follows"),
    ],
)
def test_genres_count_as_followed_only_where_no_listener_may_be_guessing(
    chances: tuple[float, ...], expected: str | None
) -> None:
    names = ("Probability of that by chance (msd, a)", "Probability of that by chance (mtt, a)")
    figures = [Figure(name, value, "c") for name, value in zip(names, chances, strict=False)]
    said = package_card.honest_notes(figures, []).get("genre")
    assert said is None if expected is None else expected in (said or "")


def test_examples_are_made_and_stay_with_their_weights(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    package_model.package_model(recipe, folder)
    arguments = ["--model", str(folder), "--seconds", "0.3", "--example", "rock=4"]
    assert package_examples.main(arguments) == 0
    assert package_examples.main(arguments) == 0
    assert sorted(path.name for path in (folder / "examples").iterdir()) == [
        "examples.json",
        "rock.ogg",
        "rock.png",
    ]
    assert sorted(path.name for path in folder.iterdir() if "examples" in path.name) == ["examples"]
    assert soundfile.info(folder / "examples" / "rock.ogg").duration == pytest.approx(0.3, abs=0.02)
    assert "probe.png" not in (folder / "README.md").read_text()
    record = json.loads((folder / "examples" / "examples.json").read_text())["examples"][0]
    assert record["seed"] == 4
    assert record["settings"]["levels"]["2"]["temperature"] == 0.99
    assert "[rock.ogg](examples/rock.ogg)" in (folder / "README.md").read_text()

    package_model.package_model(recipe, folder, overwrite=True)
    assert "[rock.ogg](examples/rock.ogg)" in (folder / "README.md").read_text()
    (folder / "probe.png").touch()
    assert "](probe.png)" in package_card.write_card(folder).read_text()
    other = tiny_system(tmp_path / "other", "encoder", seed=1)
    # The codec is the same one: only the prior's weights differ.
    shutil.copytree(recipe.sources["vqvae"] / "vqvae", other / "vqvae", dirs_exist_ok=True)
    changed = dict.fromkeys(recipe.sources, other)
    for level in range(3):
        config = json.loads((other / f"prior_{level}" / "config.json").read_text())
        config["codebook_fingerprint"] = System.open(other).vqvae_config().codebook_fingerprint
        (other / f"prior_{level}" / "config.json").write_text(json.dumps(config))
    notes = package_model.package_model(
        Recipe(changed, recipe.songs, recipe.facts), folder, overwrite=True
    )
    assert "the examples were made with other weights: run package_examples" in notes
    assert not (folder / "examples").exists()


def test_a_tone_stands_at_its_mark_in_the_picture(tmp_path: Path) -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(4 * 22_050) / 22_050)
    package_examples.draw_spectrogram(tmp_path / "x.png", tone, 22_050)
    picture = np.asarray(Image.open(tmp_path / "x.png").convert("L")).astype(int)
    left, bottom = package_examples.MARGINS
    sound = picture[:-bottom, left:]
    assert sound.shape == (package_examples.HEIGHT, package_examples.WIDTH)
    brightest = int(sound.mean(axis=1).argmax())
    marks = np.flatnonzero(picture[:-bottom, left - 3] < 64)
    assert len(marks) == 4  # 100 Hz to 3 kHz: half of the rate is too near to the fifth
    assert abs(sorted(marks)[1] - brightest) <= 2
    ticks = np.flatnonzero(picture[-bottom + 1, left:] < 64)
    assert [round(x / package_examples.WIDTH * 4) for x in ticks] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"facts": {}}, "give command, hardware, duration_seconds in --facts"),
        ({"facts": {"vqvae": {"cost": 3}}}, "facts of vqvae: cost cannot be given there"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_written(
    recipe: Recipe, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    broken = Recipe(**{**vars(recipe), **changes})
    with pytest.raises(ValueError, match=re.escape(message)):
        package_model.package_model(broken, tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_music_that_weights_may_not_follow_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "metadata.csv").write_text(TABLE + "a.flac,x,rock,a,CC-BY-NC-3.0,Ada,60\n")
    with pytest.raises(ValueError, match=r"line 2: .* under CC-BY-NC-3.0 cannot be given away"):
        package_model.package_model(Recipe(recipe.sources, [songs], recipe.facts), tmp_path / "d")
    (songs / "metadata.csv").write_text(TABLE + "a.flac,x,rock,a,CC-BY-3.0,Ada,60\n")
    with pytest.raises(ValueError, match=r"expected an ATTRIBUTION.md that says who made"):
        package_model.package_model(Recipe(recipe.sources, [songs], recipe.facts), tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_sizes_are_limited_and_a_model_is_not_replaced_by_chance(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    package_model.package_model(recipe, folder)
    with pytest.raises(FileExistsError, match="pass --overwrite"):
        package_model.package_model(recipe, folder)
    monkeypatch.setattr(package_model, "LARGEST_MODEL", 100_000)
    with pytest.raises(ValueError, match="bytes, more than 100,000"):
        package_model.package_model(recipe, folder, overwrite=True)
    monkeypatch.setattr(package_model, "LARGEST_MODEL", 45_000_000)
    monkeypatch.setattr(package_model, "check_model", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        package_model.package_model(recipe, folder, overwrite=True)
    assert System.open(folder).manifest.name == "demo-22k"  # the first one is still there


def test_the_command_line(
    runs: Path, music: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(dict.fromkeys(RUNS, FACTS)))
    arguments = ["--runs", str(runs), "--songs", *map(str, music), "--output", str(tmp_path / "d")]
    assert package_model.main(arguments) == 1
    assert "error: the card has to say how vqvae was trained" in capsys.readouterr().err
    arguments += ["--facts", str(tmp_path / "facts.json"), "--chains", "0=4", "--chains", "1=2"]
    assert package_model.main([*arguments, "--temperature", "2=0.95", "--seconds", "10"]) == 0
    generation = System.open(tmp_path / "d").manifest.generation
    assert generation["chains"] == {"0": 4, "1": 2}
    assert generation["temperature"] == {"0": 0.99, "1": 0.99, "2": 0.95}
    for wrong in (["--chains", "4"], ["--component", "prior_9=x"]):
        with pytest.raises(SystemExit):
            package_model.main([*arguments, *wrong])

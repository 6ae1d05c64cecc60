"""`jukebox train`, `finetune` and `evaluate`: options, results, errors, exit codes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf import TrainingSettings
from jukebox_hf.hub import System, load_training_facts
from jukebox_hf.training.reports import read_log
from tests.training.song_runs import (
    CODEC_MODEL,
    PRIOR_MODEL,
    TIMING,
    encoded,
    labelled_songs,
    song_settings,
)

ROOT = Path(__file__).parents[2]


def jukebox(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def codec_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file for a tiny codec."""
    path = tmp_path_factory.mktemp("settings") / "codec.yaml"
    settings = song_settings("vqvae", Path("unused"), Path("unused")).to_dict()
    for name in ("output", "dataset"):
        settings.pop(name)
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def codec(songs: Path, codec_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("codec") / "run"
    result = jukebox("train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", output)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(output / "final")
    return output / "final"


@pytest.fixture(scope="module")
def codes(songs: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoded(songs, codec, tmp_path_factory.mktemp("codes"))


def prior_arguments(codes: Path, codec: Path, output: Path) -> list[object]:
    model = yaml.safe_dump({**PRIOR_MODEL, **TIMING}, default_flow_style=True).replace("\n", " ")
    return [
        *("train", "prior", "--dataset", codes, "--model", codec, "--level", 2, "-o", output),
        *("--steps", 2, "--batch-size", 2, "--set", f"model={model}", "--set", "labels=true"),
        *("--set", "evaluation_items=4", "--device", "cpu", "--validation-fraction", 0.3),
    ]


# --- training -------------------------------------------------------------------------------------


def test_training_says_what_it_does_on_stderr_only(
    songs: Path, codec_preset: Path, tmp_path: Path
) -> None:
    result = jukebox(
        *("train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", tmp_path / "run"),
        *("--steps", 2, "--json"),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["steps"] == 2
    assert record["final"] == str(tmp_path / "run" / "final")
    for text in ("parameters", "memory about", "6 songs; ", "step 2: loss"):
        assert text in result.stderr
    quiet = jukebox(
        *("train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", tmp_path / "q"),
        *("--steps", 1, "-q"),
    )
    assert quiet.exit_code == 0
    assert quiet.stderr == ""


def test_a_prior_trains_from_options_alone(codes: Path, codec: Path, tmp_path: Path) -> None:
    result = jukebox(*prior_arguments(codes, codec, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    system = System.open(result.stdout.strip())
    assert list(system.manifest.components) == ["vqvae", "prior_2"]
    assert system.processor(2).artists["björk"] > 0


def test_a_dry_run_plans_and_makes_nothing(songs: Path, codec_preset: Path, tmp_path: Path) -> None:
    result = jukebox(
        *("train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", tmp_path / "run"),
        *("--dry-run", "--json"),
    )
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["steps"] == 3
    assert plan["weight_bytes"] > 0
    assert plan["activation_bytes"] > 0
    assert plan["step_seconds"] > 0
    assert not (tmp_path / "run").exists()


def test_resuming_needs_only_the_folder(songs: Path, codec_preset: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    first = jukebox(
        *("train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", output),
        *("--steps", 2),
    )
    assert first.exit_code == 0, first.output
    again = jukebox("train", "vqvae", "--dataset", songs, "--config", codec_preset, "-o", output)
    assert again.exit_code == 1
    assert "holds a run with checkpoints up to step_00000002; go on with it" in again.stderr
    complete = jukebox("train", "vqvae", "-o", output, "--resume")
    assert complete.exit_code == 0, complete.output
    assert complete.stdout.strip() == str(output / "final")
    assert complete.stderr == f"{output} is complete already: 2 steps\n"
    launched = jukebox("train", "vqvae", "-o", output, "--resume", "--num-processes", 2, "--json")
    assert json.loads(launched.stdout)["final"] == str(output / "final")
    shutil.rmtree(output / "final")
    again = jukebox("train", "vqvae", "-o", output, "--resume")
    assert again.exit_code == 0, again.output
    assert System.open(output / "final").manifest.components.keys() == {"vqvae"}
    longer = jukebox("train", "vqvae", "-o", output, "--resume", "--steps", 4)
    assert longer.exit_code == 0, longer.output
    assert [event["step"] for event in read_log(output, "train")] == [1, 2, 3, 4]
    other = jukebox("train", "vqvae", "-o", output, "--resume", "--batch-size", 2)
    assert other.exit_code == 1
    assert (
        "started with batch_size=4, and going on with 2 would make it another run" in other.stderr
    )
    wrong = jukebox("train", "prior", "-o", output, "--resume")
    assert wrong.exit_code == 2
    assert "trains a vqvae" in wrong.stderr


INTERRUPTED = """
import signal, sys
from jukebox_hf.training.trainer import JukeboxTrainer
honest = JukeboxTrainer._set_learning_rate
def interrupt(self):
    if self.state.step == 1:
        signal.raise_signal(signal.SIGINT)
    honest(self)
JukeboxTrainer._set_learning_rate = interrupt
from jukebox_cli.main import main
main(prog_name="jukebox")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    songs: Path, codec_preset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    arguments = ["train", "vqvae", "--config", codec_preset, "--dataset", songs, "-o", output]
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 130, stopped.stderr
    assert f"Go on with: jukebox train vqvae -o {output} --resume" in stopped.stderr
    resumed = jukebox("train", "vqvae", "-o", output, "--resume")
    assert resumed.exit_code == 0, resumed.output


@pytest.mark.slow
def test_two_processes_are_launched_and_agree_with_one(
    songs: Path, codec_preset: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    common = ["train", "vqvae", "--config", codec_preset, "--dataset", songs, "--set",
              "epsilon=1e-2"]  # fmt: skip
    for name, more in (("one", []), ("two", ["--num-processes", "2"])):
        done = subprocess.run(
            [sys.executable, "-m", "jukebox_hf", *map(str, common), "-o", tmp_path / name, *more],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / name / "final")
    losses = [[event["loss"] for event in read_log(tmp_path / n, "train")] for n in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "vqvae", "--dataset", "x"], "--output says where the run goes"),
        (["train", "vqvae", "-o", "x"], "--dataset says what to learn from"),
        (["train", "vqvae", "-o", "x", "--resume"], "holds no run to resume"),
        (["train", "vqvae", "-o", "x", "--steps", "0"], "0 is not in the range x>=1"),
        (["train", "prior", "--dataset", "x", "-o", "y", "--preset", "toy_vqvae"],
         "these settings train a vqvae, not a prior"),
        (["finetune", "-o", "y"], "--dataset says what to learn from"),
        (["evaluate", "x"], "Missing option '--dataset'"),
    ],
)  # fmt: skip
def test_usage_errors(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = jukebox(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "toy_vqva"], "no preset is called 'toy_vqva'; did you mean 'toy_vqvae'?"),
        (["--set", "stepps=3"], "unknown setting 'stepps'. Did you mean 'steps'?"),
        (["--set", "steps"], "expected SETTING=VALUE, got 'steps'"),
        (["--set", "schedule=cosin"], "schedule"),
        (["--report-to", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["--artist-column", "band"], "no column 'band'"),
        (["--set", "model.codebok_size=8"], "Did you mean 'codebook_size'?"),
    ],
)
def test_mistakes_are_one_line(
    songs: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = jukebox("train", "vqvae", "--dataset", songs, "-o", tmp_path / "run", *arguments)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_presets_are_listed() -> None:
    result = jukebox("train", "presets")
    assert result.exit_code == 0
    assert re.search(r"^toy_vqvae +A codec to see everything work", result.output, re.MULTILINE)
    listed = json.loads(jukebox("train", "presets", "--json").stdout)["presets"]
    assert list(listed) == [line.split()[0] for line in result.output.splitlines()]
    assert TrainingSettings.from_mapping(
        listed["toy_top"]["settings"], source="listed"
    ) == TrainingSettings.preset("toy_top")


# --- fine-tuning and evaluation -------------------------------------------------------------------


def test_finetuning_prints_its_memory_and_makes_a_whole_model(
    songs: Path, codes: Path, codec: Path, tmp_path: Path
) -> None:
    top = jukebox(*prior_arguments(codes, codec, tmp_path / "top")).stdout.strip()
    result = jukebox(
        *("finetune", "--model", top, "--dataset", songs, "-o", tmp_path / "mine", "--lora"),
        *("--steps", 2, "--batch-size", 2, "--device", "cpu", "--set", "lora_rank=2"),
        *("--set", "evaluation_items=4", "--lora-rank", 3),
    )
    assert result.exit_code == 0, result.output
    assert "memory about" in result.stderr
    system = System.open(result.stdout.strip())
    assert system.manifest.adapters[0].component == "prior_2"
    config = json.loads((tmp_path / "mine/final/adapter_prior_2/adapter_config.json").read_text())
    assert config["r"] == 3
    measured = jukebox(
        "evaluate", result.stdout.strip(), "--dataset", codes, "--items", 4, "--json"
    )
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)["prior_2"]["bits_per_code"] > 0


def finetuning(songs: Path, output: Path, *more: object) -> list[object]:
    return [
        *("finetune", "--dataset", songs, "-o", output, "--steps", 2, "--batch-size", 2),
        *("--device", "cpu", "--set", "evaluation_items=2", "--set", "save_every=1", *more),
    ]


@pytest.fixture(scope="module")
def whole(codes: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec with a top prior, to be taught."""
    output = tmp_path_factory.mktemp("whole") / "top"
    return Path(jukebox(*prior_arguments(codes, codec, output)).stdout.strip())


@pytest.fixture
def built_in(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That model in the place of the one that comes with the package."""
    monkeypatch.setattr("jukebox_hf.hub.built_in.FOLDER", whole)
    return whole


def test_finetuning_without_a_model_teaches_the_built_in_one_by_its_name(
    built_in: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no folder of that name
    result = jukebox(*finetuning(songs, "mine"))
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Using demo-22k, the small demo") == 1
    saved = yaml.safe_load(Path("mine/settings.yaml").read_text())
    assert saved["start_from"] == saved["codec"] == "demo-22k"
    assert str(built_in) not in Path("mine/settings.yaml").read_text()
    system = System.open("mine/final")
    assert {system.place(name)[0].revision for name in system.manifest.components} == {None}
    assert (Path("mine/final/vqvae")).is_dir()  # a whole model, where the package is another one
    assert "the small demo" not in jukebox(*finetuning(songs, "x", "--model", built_in)).stderr


def test_songs_are_encoded_once_into_the_run_and_kept_over_interruptions(
    whole: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = finetuning(songs, tmp_path / "mine", "--model", whole)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jukebox_hf.training.trainer.JukeboxTrainer.train", interrupt)
        stopped = jukebox(*arguments)
    assert stopped.exit_code == 130
    assert f"Encoded 6 songs; {tmp_path / 'mine' / 'codes'} holds 6." in stopped.stderr
    assert "Found 6 songs; " in stopped.stderr
    result = jukebox(*arguments)
    assert result.exit_code == 0, result.output
    assert "Encoded 0 songs" in result.stderr
    final = tmp_path / "mine" / "final"
    assert f"Make music with it: jukebox generate --model {final}" in result.stderr
    assert yaml.safe_load((tmp_path / "mine/settings.yaml").read_text())["dataset"] == str(
        tmp_path / "mine/codes"
    )
    by_hand = jukebox(*finetuning(tmp_path / "mine/codes", tmp_path / "other", "--model", whole))
    assert "Encoded" not in by_hand.stderr
    ours = (tmp_path / "mine/final/prior_2/model.safetensors").read_bytes()
    assert ours == (tmp_path / "other/final/prior_2/model.safetensors").read_bytes()


def test_a_run_on_its_own_codes_is_resumed_with_its_songs_without_them_or_elsewhere(
    whole: Path, songs: Path, tmp_path: Path
) -> None:
    arguments = finetuning(songs, tmp_path / "mine", "--model", whole)
    assert jukebox(*arguments).exit_code == 0
    again = jukebox(*arguments)
    assert again.exit_code == 1
    assert "holds a run with checkpoints up to step_00000002" in again.stderr
    more = jukebox(*arguments, "--steps", 3, "--resume")
    assert more.exit_code == 0, more.output
    shutil.move(tmp_path / "mine", tmp_path / "moved")
    moved = jukebox("finetune", "-o", tmp_path / "moved", "--resume", "--steps", 4)
    assert moved.exit_code == 0, moved.output


def test_on_the_fly_and_a_dry_run_encode_nothing_first(
    whole: Path, songs: Path, tmp_path: Path
) -> None:
    planned = jukebox(*finetuning(songs, tmp_path / "mine", "--model", whole, "--dry-run"))
    assert planned.exit_code == 0, planned.output
    assert " a step here: " in planned.stdout
    assert not (tmp_path / "mine").exists()
    result = jukebox(*finetuning(songs, tmp_path / "mine", "--model", whole, "--on-the-fly"))
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "mine/codes").exists()


def test_a_level_that_the_model_lacks_is_refused_before_anything_is_encoded(
    whole: Path, songs: Path, tmp_path: Path
) -> None:
    result = jukebox(*finetuning(songs, tmp_path / "mine", "--model", whole, "--level", 1))
    assert result.exit_code == 1
    assert "has no prior_1" in result.stderr
    assert not (tmp_path / "mine").exists()


def test_evaluating_and_priors_without_a_model_take_the_built_in_one(
    built_in: Path, songs: Path, codes: Path, tmp_path: Path
) -> None:
    measured = jukebox("evaluate", "--dataset", codes, "--items", 2, "--json")
    assert measured.exit_code == 0, measured.output
    assert "prior_2" in json.loads(measured.stdout)
    assert measured.stderr.count("Using demo-22k") == 1
    arguments = [a for a in prior_arguments(codes, built_in, tmp_path / "p") if a != "--model"]
    arguments.remove(built_in)
    trained = jukebox(*arguments, "--dry-run")
    assert trained.exit_code == 0, trained.output
    assert trained.stderr.count("Using demo-22k") == 1


def test_a_preset_goes_on_with_a_model_of_its_own_sizes(
    codec: Path, codec_preset: Path, songs: Path, tmp_path: Path
) -> None:
    arguments = ["train", "vqvae", "--config", codec_preset, "--dataset", songs, "--dry-run"]
    same = jukebox(*arguments, "--start-from", codec, "-o", tmp_path / "same")
    assert same.exit_code == 0, same.output
    other = jukebox(
        *(*arguments, "--start-from", codec, "-o", tmp_path / "other", "--set"),
        "model.widths=[6, 4, 8]",
    )
    assert other.exit_code == 1
    assert "it is [6, 4, 4], not [6, 4, 8]" in other.stderr


def test_a_codec_is_evaluated_in_words_and_numbers(songs: Path, codec: Path) -> None:
    arguments = ["evaluate", codec, "--dataset", songs, "--items", 4, "--clip-seconds", 0.5]
    words = jukebox(*arguments)
    assert words.exit_code == 0, words.output
    assert "Found 6 songs; " in words.stderr
    assert re.search(r"level 2: spectral convergence -?\d+\.\d\d dB", words.stdout)
    numbers = json.loads(jukebox(*arguments, "--json").stdout)
    assert "level_0/spectral_convergence_db" in numbers["vqvae"]


def test_evaluating_what_is_not_there_says_so(songs: Path, codec: Path) -> None:
    result = jukebox("evaluate", codec, "--dataset", songs, "--component", "prior_1")
    assert result.exit_code == 1
    assert "has no prior_1; it has vqvae" in result.stderr


def test_the_tiny_codec_is_what_the_settings_say(codec: Path) -> None:
    config = System.open(codec).vqvae_config()
    assert config.codebook_size == CODEC_MODEL["codebook_size"]


def test_the_figures_of_training_come_out_again_by_their_commands(
    songs: Path, codec: Path, codes: Path, tmp_path: Path
) -> None:
    trained = jukebox(
        *("train", "prior", "--dataset", codes, "--model", codec, "-o", tmp_path / "run"),
        *("--config", prior_config(tmp_path), "--level", 2),
    )
    assert trained.exit_code == 0, trained.output
    for model, component, dataset in (
        (codec, "vqvae", songs),
        (tmp_path / "run" / "final", "prior_2", codes),
    ):
        facts = load_training_facts(model / component)
        assert facts is not None
        assert (facts.data[0].songs, facts.data[0].hours) == (4, pytest.approx(0.002))
        assert ("clip_samples" in facts.settings) == (component == "vqvae")
        assert {figure.dataset for figure in facts.figures} == {f"held-out songs of {dataset.name}"}
        (command,) = {figure.command for figure in facts.figures}
        words = [
            {"MODEL": str(model), dataset.name: str(dataset)}.get(w, w) for w in command.split()
        ]
        measured = jukebox(*words[1:], "--json")
        assert measured.exit_code == 0, measured.output
        found = json.loads(measured.stdout)[component]
        name = "bits_per_code" if component != "vqvae" else "level_0/spectral_convergence_db"
        assert facts.figures[0].value == pytest.approx(found[name], abs=2e-4)


def prior_config(folder: Path) -> Path:
    path = folder / "prior.yaml"
    settings = song_settings("prior", Path("unused"), Path("unused")).to_dict()
    for name in ("output", "dataset"):
        settings.pop(name)
    path.write_text(yaml.safe_dump(settings))
    return path


def test_an_evaluation_is_recorded_once_where_it_is_asked_for(
    songs: Path, codec: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(codec, tmp_path / "model")
    for _ in range(2):
        result = jukebox("evaluate", model, "--dataset", songs, "--clip-seconds", 0.5, "--record")
        assert result.exit_code == 0, result.output
    assert f"Recorded in {model / 'vqvae' / 'training.json'}" in result.stderr
    before, facts = (load_training_facts(folder / "vqvae") for folder in (codec, model))
    assert before is not None
    assert facts is not None
    assert len(facts.figures) == 2 * len(before.figures)  # those of training stay
    assert facts.figures[-1].dataset == songs.name
    assert "--held-out" not in facts.figures[-1].command
    assert facts.figures[-1].command.endswith("--items 256 --clip-seconds 0.5")
    assert f"by {facts.figures[-1].command}" in jukebox("info", model, "--all").stdout


def test_what_is_not_in_a_folder_cannot_be_recorded(songs: Path) -> None:
    result = jukebox("evaluate", "nobody/nothing", "--dataset", songs, "--record")
    assert result.exit_code == 1
    assert "figures can be recorded only in a folder, and nobody/nothing is none" in result.stderr

"""Settings of a run: checked, saved, overridden, resumed."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from jukebox_hf import JukeboxPriorConfig, JukeboxVQVAEConfig
from jukebox_hf.hub.built_in import BUILT_IN_NAME, built_in_model
from jukebox_hf.training.changes import change_config
from jukebox_hf.training.settings import (
    NAMES_ELSEWHERE,
    RESUMABLE,
    TrainingSettings,
    parse_overrides,
    preset_names,
    preset_path,
    read_yaml,
)


def test_unknown_settings_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: vqvae\nlearning_rat: 1e-3\n")
    with pytest.raises(
        ValueError, match=r"run.yaml: unknown setting 'learning_rat'. Did you mean 'learning_rate'"
    ):
        TrainingSettings.load(path)


def test_names_of_other_libraries_lead_to_ours() -> None:
    ours = {entry.name for entry in fields(TrainingSettings)}
    assert set(NAMES_ELSEWHERE.values()) <= ours
    assert not set(NAMES_ELSEWHERE) & ours
    with pytest.raises(
        ValueError, match=r"unknown setting 'num_train_epochs'\. Here it is 'steps'"
    ):
        TrainingSettings.preset("toy_vqvae", num_train_epochs=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"task": "vqvae", "steps": "many"}, "steps.* expected int, got str"),
        ({"task": "codec"}, "task.* expected one of"),
        ({"task": "vqvae", "steps": 0}, "steps must be at least 1, got 0"),
        ({"task": "vqvae", "learning_rate": -1.0}, "learning_rate must be positive, got -1"),
        ({"task": "vqvae", "learning_rate": float("nan")}, "must be positive, got nan"),
        ({"task": "vqvae", "validation_fraction": 1}, "at least 0 and below 1, got 1"),
        ({"task": "vqvae", "batch_size": 8, "accumulation_steps": 3}, "must divide batch_size"),
        ({"task": "vqvae", "schedule": "steps"}, "needs decay_steps"),
        ({"task": "vqvae", "level": 2}, "level means nothing for task 'vqvae'"),
        ({"task": "prior", "kmeans_steps": 2}, "kmeans_steps means nothing for task 'prior'"),
        ({"task": "prior", "lora_rank": 4}, "lora_rank needs start_from"),
        ({"task": "vqvae", "freeze_encoder": True}, "freeze_encoder needs start_from"),
        (
            {"task": "vqvae", "freeze_encoder": True, "start_from": "x", "revival_threshold": 0.5},
            "revival_threshold has no effect without codebooks that learn",
        ),
        ({"task": "prior", "lora_alpha": 4}, "lora_alpha has no effect without lora_rank"),
        ({"task": "prior", "lora_dropout": 0.1}, "lora_dropout has no effect without lora_rank"),
        ({"task": "vqvae", "schedule": "constant", "decay_start": 2}, "decay_start has no effect"),
        ({"task": "vqvae", "schedule": "constant", "decay_steps": 2}, "decay_steps has no effect"),
        ({"task": "vqvae", "schedule": "steps", "decay_steps": 2, "decay_start": 1}, "no effect"),
        ({"task": "vqvae", "decay_factor": 0.5}, r"decay_factor has no .* say decay_factor=0\.0"),
        ({"task": "vqvae", "schedule": "linear", "decay_factor": 0.5}, "decay_factor has no"),
        ({"task": "vqvae", "average_weights": False, "ema_decay": 0.9}, "say ema_decay=null"),
        ({"task": "vqvae", "steps": 5, "unquantized_steps": 5}, "codebooks would never come in"),
        ({"task": "vqvae", "report_to": ["tensorbord"]}, "Did you mean 'tensorboard'"),
        ({"task": "vqvae", "seed": -1}, "seed must be from 0"),
        ({"task": "vqvae", "codbook_size": 9}, "Did you mean 'model.codebook_size'"),
        ({"steps": 5}, "task"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings.from_mapping(content, source="settings")


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: vqvae\nlearning_rate: 3e-4\n")  # text for YAML 1.1
    assert TrainingSettings.load(path).learning_rate == 3e-4


def test_saved_settings_come_back_equal(tmp_path: Path) -> None:
    settings = TrainingSettings(
        task="prior",
        output="runs/ä",
        model={"width": 64, "attention_pattern": "dense"},
        report_to=["tensorboard"],
        decay_steps=20,
        schedule="cosine",
    )
    settings.save(tmp_path / "settings.yaml")
    assert TrainingSettings.load(tmp_path / "settings.yaml") == settings
    assert "steps:" not in (tmp_path / "settings.yaml").read_text().replace("decay_steps:", "")


def test_overrides_reach_into_the_model(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: prior\nsteps: 10\nmodel: {width: 32, depth: 2}\n")
    overrides = parse_overrides(["steps=20", "model.depth=4", "learning_rate=1e-4"])
    settings = TrainingSettings.load(path, **overrides)
    assert settings.steps == 20
    assert settings.model == {"width": 32, "depth": 4}
    assert settings.learning_rate == 1e-4


@pytest.mark.parametrize("text", ["steps", "=3"])
def test_an_override_is_an_assignment(text: str) -> None:
    with pytest.raises(ValueError, match="expected SETTING=VALUE"):
        parse_overrides([text])


def test_only_the_model_has_fields_of_its_own() -> None:
    with pytest.raises(ValueError, match="only `model` has fields"):
        parse_overrides(["steps.many=3"])


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "a: [", ""])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected"):
        read_yaml(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file; expected the settings"):
        TrainingSettings.load(tmp_path / "none.yaml")


def test_resuming_keeps_what_weights_depend_on() -> None:
    settings = TrainingSettings(task="vqvae", output="runs/a", steps=100)
    longer = settings.resumed_with({"steps": 200, "num_workers": 2, "learning_rate": 3e-4})
    assert longer.steps == 200
    assert longer.num_workers == 2
    with pytest.raises(ValueError, match=r"started with batch_size=8, and going on with 16"):
        settings.resumed_with({"batch_size": 16})


def test_what_may_change_on_resuming_are_settings() -> None:
    assert {entry.name for entry in fields(TrainingSettings)} >= RESUMABLE


def test_every_setting_is_documented_and_read() -> None:
    import ast
    import inspect

    import jukebox_hf.training as package

    text = inspect.getdoc(TrainingSettings) or ""
    folder = Path(package.__path__[0])
    read = {
        node.attr
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    for entry in fields(TrainingSettings):
        assert f"{entry.name}" in text, entry.name
        assert entry.name in read, f"no code reads {entry.name}"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_says_what_to_expect(name: str) -> None:
    settings = TrainingSettings.preset(name)
    text = preset_path(name).read_text(encoding="utf-8")
    opening = text.split("\n\n")[0].lower() if "\n\n" in text else text.lower()
    for word in ("command:", "hardware:", "time:", "expected:"):
        assert word in opening, f"{name} lacks {word}"
    assert yaml.safe_load(text)["task"] == settings.task


def test_an_unknown_preset_is_named_with_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"no preset is called 'smal_vqvae'; did you mean 'small_vqvae'"
    ):
        preset_path("smal_vqvae")


@pytest.mark.parametrize("name", [n for n in preset_names() if n.startswith("demo_cpu_")])
def test_the_presets_that_made_the_built_in_model_go_on_with_it(name: str) -> None:
    settings = TrainingSettings.preset(name, start_from=BUILT_IN_NAME, dataset="songs", output="x")
    own = JukeboxVQVAEConfig if settings.task == "vqvae" else JukeboxPriorConfig
    component = "vqvae" if settings.task == "vqvae" else f"prior_{settings.level}"
    config = own.from_pretrained(built_in_model() / component)
    sizes = config.to_dict()
    change_config(config, settings, settings.task)
    wider = {**settings.model, **({"codebook_dim": 7} if component == "vqvae" else {"width": 7})}
    with pytest.raises(ValueError, match=r"cannot be changed in a model that exists"):
        change_config(config, replace(settings, model=wider), settings.task)
    kept = [field for field in ("widths", "depths", "width", "depth") if field in sizes]
    assert kept
    assert [config.to_dict()[field] for field in kept] == [sizes[field] for field in kept]

"""Presets, settings and states that are damaged, absurd or a stranger's: one sentence each.

A seeded fuzzer changes values, keys and characters; what comes out is either accepted or refused by
a `ValueError` whose message fits on a few lines. The slow test does the same for longer.
"""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jukebox_hf.hub.architecture import check_memory
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.training.checkpoints import STATE, RunState, load_state, read_weights
from jukebox_hf.training.settings import (
    TrainingSettings,
    parse_overrides,
    preset_names,
    preset_path,
)
from jukebox_hf.vqvae import JukeboxVQVAEConfig

ABSURD: tuple[Any, ...] = (
    *(None, True, "", "x", "x" * 5000, "\x1b[31m", [], {}, [[]], [1, 2], {"a": 1}, {"": {}}),
    *(0, -1, 1, 10**18, 10**400, -(10**400), 0.0, -0.5, 1e308, -1e308, float("nan"), float("inf")),
    [0] * 3,
    [10**6] * 3,
    list(range(1000)),
)
LONGEST = 1200  # characters of a message


def refused_or_fine(call: Any) -> bool:
    """Whether `call` accepts; a refusal must be one readable sentence."""
    try:
        call()
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        assert text
        assert len(text) < LONGEST, text[:LONGEST]
        assert "\x1b" not in text
        return False
    return True


# --- settings -------------------------------------------------------------------------------------


def contents() -> list[dict[str, Any]]:
    """The built-in presets, and settings as a run writes them."""
    found = [
        yaml.safe_load(preset_path(name).read_text(encoding="utf-8")) for name in preset_names()
    ]
    return [*found, {"task": "vqvae", "output": "runs/a", "dataset": "songs", "steps": 5}]


def mutated(content: dict[str, Any], source: random.Random) -> dict[str, Any]:
    """The same with one to three values, or keys, of any depth replaced."""
    content = copy.deepcopy(content)
    for _ in range(source.randint(1, 3)):
        place = content
        if isinstance(content.get("model"), dict) and source.random() < 0.5:
            place = content["model"]
        name = source.choice(sorted(place, key=str)) if place and source.random() < 0.8 else "x"
        if source.random() < 0.1:
            place.pop(name, None)
        else:
            place[name] = source.choice(ABSURD)
    return content


def damaged(text: str, source: random.Random) -> str:
    """The same with some characters removed, doubled or replaced."""
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(text) + 1)
        piece = source.choice(
            ["", "[", "{", "&a ", "*a", "!!binary x", "- ", ":", "\t", "\0", "9" * 50]
        )
        text = text[:at] + piece + text[at + source.randint(0, 3) :]
    return text


def build(settings: TrainingSettings) -> None:
    """What a run does with the model that settings describe before it is built."""
    if settings.task == "vqvae":
        check_memory(JukeboxVQVAEConfig(**settings.model), "model")
        return
    follows = {"hop_length": 8, "sampling_rate": 22050, "codebook_size": 16}
    check_memory(JukeboxPriorConfig(**follows, **settings.model), "model")


def fuzz_settings(folder: Path, seed: int, times: int) -> tuple[int, int]:
    """How many changed settings were accepted, and how many refused."""
    source, known = random.Random(seed), contents()
    counts = [0, 0]
    path = folder / "settings.yaml"
    for number in range(times):
        content = source.choice(known)
        text = yaml.safe_dump(mutated(content, source) if number % 2 else content)
        if not number % 2:
            text = damaged(text, source)
        path.write_text(text, encoding="utf-8")
        counts[refused_or_fine(lambda: TrainingSettings.load(path))] += 1
    return counts[1], counts[0]


def test_damaged_settings_are_refused_in_one_sentence(tmp_path: Path) -> None:
    accepted, refused = fuzz_settings(tmp_path, seed=1, times=400)
    assert accepted > 20
    assert refused > 200


@pytest.mark.slow
def test_many_damaged_settings_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for seed in range(2, 12):
        fuzz_settings(tmp_path, seed, times=3000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 1000, "expected at most 32 nested values"),
        ("steps: 1" + 400 * "0", "steps must be at least 1, got 1000"),
        ("steps: " + 5000 * "9", "expected YAML, found something else"),
        ("bandwidth_seconds: 1.0e+308", "bandwidth_seconds must be at least 0"),
        ("x: &a [1]\ny: *a", "aliases are not understood; write values out"),
        ("x: 2001-99-99", "expected YAML, found something else"),
        ("? [a]\n: 1", "expected YAML, found something else"),
        ("x" * 900 + ": 1", "unknown setting"),
        ("\x00", "expected YAML"),
    ],
)
def test_absurd_settings_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"task: vqvae\n{text}\n")
    with pytest.raises(ValueError, match=message) as caught:
        TrainingSettings.load(path)
    assert len(str(caught.value)) < LONGEST
    assert "\n" not in str(caught.value)


def test_aliases_that_stand_for_gigabytes_are_refused_at_once(tmp_path: Path) -> None:
    rows = ["&a0 [x,x,x,x,x,x,x,x,x]"]
    rows += [f"&a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    text = f"[{', '.join(rows)}]"
    for name in ("steps", "report_to", "model"):
        (tmp_path / "run.yaml").write_text(f"task: vqvae\n{name}: {text}\n")
        with pytest.raises(ValueError, match="aliases are not understood"):
            TrainingSettings.load(tmp_path / "run.yaml")
        with pytest.raises(ValueError, match="aliases are not understood"):
            parse_overrides([f"{name}={text}"])


def test_a_file_that_is_no_settings_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"x" * 1_000_001)
    with pytest.raises(ValueError, match="expected settings of at most 1,000,000 bytes"):
        TrainingSettings.load(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        ("vqvae", {"depths": [1000000, 1, 1]}, "entries of depths must be at most 1000"),
        ("vqvae", {"dilation_growth": 1000}, "dilates by more than"),
        ("vqvae", {"widths": [10**7, 1, 1]}, "describes a model"),
        ("vqvae", {"codebook_dim": 2**52}, "describes a model"),
        ("prior", {"width": 10**9}, "describes a model"),
        ("prior", {"init_scale": float("nan")}, "init_scale must be of ordinary size, got nan"),
        ("prior", {"mlp_width": 10**400}, "mlp_width must be of ordinary size, got 1000"),
    ],
)
def test_absurd_models_are_refused_before_memory_is_taken(
    task: str, model: dict[str, Any], message: str
) -> None:
    settings = TrainingSettings.from_mapping({"task": task, "model": model}, source="settings")
    with pytest.raises(ValueError, match=message):
        build(settings)


# --- states ---------------------------------------------------------------------------------------

STATE_CONTENT: dict[str, Any] = {
    "format_version": 1,
    "step": 4,
    "loss_scale": 1.0,
    "average_updates": 4,
    "failed_steps": 0,
    "best_loss": 2.5,
    "best_step": 2,
    "data_fingerprint": "sha256:00",
}


def write_state(folder: Path, content: Any) -> None:
    (folder / STATE).write_text(json.dumps(content), encoding="utf-8")


def test_a_state_comes_back_and_lacks_only_what_came_later(
    tmp_path: Path,
) -> None:
    write_state(tmp_path, STATE_CONTENT)
    assert load_state(tmp_path) == RunState(4, 1.0, 4, 0, 2.5, 2, "sha256:00")
    for name in STATE_CONTENT:
        write_state(tmp_path, {key: STATE_CONTENT[key] for key in STATE_CONTENT if key != name})
        assert refused_or_fine(lambda: load_state(tmp_path)) == (name == "data_fingerprint")


@pytest.mark.parametrize("name", STATE_CONTENT)
def test_a_state_with_a_wrong_value_is_one_sentence(tmp_path: Path, name: str) -> None:
    for value in ABSURD:
        write_state(tmp_path, {**STATE_CONTENT, name: value})
        if refused_or_fine(lambda: load_state(tmp_path)):
            assert name == "format_version" or getattr(load_state(tmp_path), name) == value
        else:
            with pytest.raises(ValueError, match=name.replace("_", "[_ ]")):
                load_state(tmp_path)


def test_a_state_of_a_newer_version_says_so(tmp_path: Path) -> None:
    write_state(tmp_path, {**STATE_CONTENT, "format_version": 2})
    with pytest.raises(ValueError, match=r"state\.json: has format version 2, but this version"):
        load_state(tmp_path)


def texts(source: random.Random, times: int) -> Iterator[str]:
    whole = json.dumps(STATE_CONTENT)
    yield from (
        "",
        "[" * 5000,
        '{"a":' * 2000,
        "null",
        "[]",
        '"x"',
        "NaN",
        "\ud800".encode("utf-8", "replace").decode(),
    )
    for _ in range(times):
        yield damaged(whole, source)


def test_damaged_states_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for text in texts(random.Random(3), 400):
        (tmp_path / STATE).write_text(text, encoding="utf-8")
        refused_or_fine(lambda: load_state(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"weight_map": None},
        {"weight_map": {"a": 1}},
        {"weight_map": {"a": "../x.safetensors"}},
        [],
    ],
)
def test_an_index_of_weights_that_is_damaged_is_one_sentence(tmp_path: Path, content: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json: expected"):
        read_weights(tmp_path)

"""What a run says about itself, and what it says before it starts."""

import json
import math
import time
from pathlib import Path

import pytest
import torch

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.reports import Reporter, RunLog, RunningMeans, read_log, usage_image
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.stepping import make_accelerator
from jukebox_hf.training.training_cost import activation_bytes, plan_training
from tests.prior.tiny_priors import ARCHITECTURES, inputs
from tests.training.tiny_runs import codec_settings
from tests.vqvae.codecs import tiny_codec


def test_a_log_is_lines_of_json_and_can_be_cut_back(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in range(1, 5):
        log.write("train", step, loss=1 / step, worst=math.inf)
    with log.path.open("a") as file:
        file.write('{"event": "train", "st')  # the process was killed
    log.cut_back(2)
    log.write("evaluation", 2, loss=0.5)
    events = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [event["step"] for event in events] == [1, 2, 2]
    assert events[0]["worst"] == "inf"
    assert [event["event"] for event in read_log(tmp_path, "evaluation")] == ["evaluation"]


def test_a_log_that_cannot_be_written_complains_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RunLog(tmp_path / "missing")
    log.write("train", 1)
    log.write("train", 2)
    assert caplog.text.count("could not write") == 1


def test_running_means_start_anew_when_read() -> None:
    means = RunningMeans()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(5)})
    means.add({"a": torch.tensor(3.0)})
    assert means.read() == {"a": 2.0, "b": 5.0}
    assert means.read() == {}


def test_the_picture_of_code_usage_falls_from_left_to_right() -> None:
    counts = torch.tensor([0, 100, 1, 10])
    image = usage_image(counts, width=8, height=16)
    assert image.shape == (1, 16, 8)
    columns = image[0].sum(dim=0)
    assert torch.equal(columns, columns.sort(descending=True).values)
    assert columns[0] >= 15
    assert columns[-1] == 0
    assert usage_image(torch.zeros(4)).sum() == 0


def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = codec_settings(tmp_path, report_to=["wandb"])
    with pytest.raises(ImportError, match=r"report_to wandb needs a package; `pip install wandb`"):
        make_accelerator(settings)


# --- plans ----------------------------------------------------------------------------------------


def saved_bytes(prior: JukeboxPrior, batch: int) -> int:
    """What autograd really keeps for the backward pass, parameters apart."""
    seen: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in prior.parameters()}
    keep = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            keep.append(tensor)
        return tensor

    codes, given = inputs(prior, batch)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        prior.train()(codes, **given)
    return sum(seen.values())


@pytest.mark.parametrize(
    "architecture", ["plain", "upsampler", "lyrics_encoder", "lyrics_sequence"]
)
def test_activations_are_what_autograd_keeps(architecture: str) -> None:
    prior = JukeboxPrior(JukeboxPriorConfig(**ARCHITECTURES[architecture]))
    settings = TrainingSettings(task="prior", batch_size=3)
    planned = activation_bytes(settings, prior, 3)
    assert planned == pytest.approx(saved_bytes(prior, 3), rel=0.15)


def test_checkpointing_and_16_bits_need_less() -> None:
    prior = JukeboxPrior(JukeboxPriorConfig(**ARCHITECTURES["plain"]))
    plain = activation_bytes(TrainingSettings(task="prior"), prior, 4)
    saving = activation_bytes(
        TrainingSettings(task="prior", activation_checkpointing=True), prior, 4
    )
    half = activation_bytes(TrainingSettings(task="prior", precision="bfloat16"), prior, 4)
    assert saving < 0.6 * plain
    assert half < plain


def test_a_plan_counts_weights_gradients_moments_and_averages(tmp_path: Path) -> None:
    codec = tiny_codec()
    settings = codec_settings(tmp_path, steps=100, batch_size=4)
    plan = plan_training(settings, codec, examples=50, example_seconds=0.5)
    parameters = sum(p.numel() for p in codec.parameters())
    assert plan.parameters == plan.trainable_parameters == parameters
    assert plan.gradient_bytes == plan.average_bytes == 4 * parameters
    assert plan.optimizer_bytes == 8 * parameters
    assert plan.epochs == 8
    assert plan.audio_hours == pytest.approx(400 * 0.5 / 3600)
    assert plan.fits
    assert "100 steps over 50 examples: 8.0 epochs" in "\n".join(plan.lines())
    timed = "\n".join(plan._replace(step_seconds=1.5).lines())
    assert "about 1.5 s a step here: 100 steps take about 2 min 30 s" in timed
    tight = plan._replace(free_bytes=10)
    assert not tight.fits
    assert "may not fit" in tight.lines()[-1]


def test_a_run_says_from_its_first_steps_how_long_the_others_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    said: list[str] = []
    settings = codec_settings(tmp_path, steps=50)
    reporter = Reporter(
        settings, tmp_path, make_accelerator(settings), visible=False, say=said.append
    )
    reporter.start(10)
    for step, seconds in enumerate([60.0, *(30.0 for _ in range(8))]):  # the first is slow
        assert bool(said) == (step > 5)
        clock += seconds
        reporter.count_step(1.0)
    reporter.close()
    assert said == ["about 30 s a step here: 34 steps take about 17 min 0 s, beside evaluations"]


def test_frozen_weights_need_no_gradients(tmp_path: Path) -> None:
    codec = tiny_codec()
    codec.levels[0].requires_grad_(False)
    plan = plan_training(codec_settings(tmp_path), codec, examples=1, example_seconds=1)
    assert 0 < plan.trainable_parameters < plan.parameters
    assert plan.gradient_bytes == 4 * plan.trainable_parameters


def test_a_batch_of_any_size_is_planned_at_once() -> None:
    prior = JukeboxPrior(JukeboxPriorConfig(**ARCHITECTURES["plain"]))
    settings = TrainingSettings(task="prior")
    assert activation_bytes(settings, prior, 2**20) == pytest.approx(
        2**20 / 4 * activation_bytes(settings, prior, 4), rel=0.1
    )


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "clip_samples", "lora_rank"])
def test_counts_that_nobody_means_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at most "):
        TrainingSettings(task="prior", **{name: 10**9})

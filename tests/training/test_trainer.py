"""The loop: resumed equals uninterrupted, accumulating equals not, failures are counted."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.locks import FolderInUseError
from jukebox_hf.training import checkpoints as checkpoints_module
from jukebox_hf.training.checkpoints import SaveError, find_checkpoints
from jukebox_hf.training.evaluation import PriorBatch
from jukebox_hf.training.reports import read_log
from jukebox_hf.training.run_folder import find_finished
from jukebox_hf.training.stepping import next_loss_scale, scale_gradients
from jukebox_hf.training.tasks import PriorTask
from jukebox_hf.training.trainer import DivergedError, JukeboxTrainer
from tests.training.tiny_runs import (
    assert_same_bits,
    codec_settings,
    codec_trainer,
    prior_settings,
    prior_trainer,
    weights_of,
)

DROPOUT = {"embedding_dropout": 0.1, "attention_dropout": 0.1, "residual_dropout": 0.1}


def everything(trainer: JukeboxTrainer) -> dict[str, torch.Tensor]:
    """Weights, averages and optimizer state, by name."""
    found = weights_of(trainer)
    assert trainer.averages is not None
    found |= {f"average.{name}": value for name, value in trainer.averages.averages.items()}
    moments = checkpoints_module.optimizer_tensors(trainer.task.model, trainer.optimizer.optimizer)
    return found | {f"optimizer.{name}": value for name, value in moments.items()}


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    settings = prior_settings(tmp_path, steps=30, learning_rate=1e-2)
    prior_trainer(settings).train()
    losses = [event["loss"] for event in read_log(tmp_path, "train")]
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 0.5


CODEC_VARIANTS = [
    {},
    {"unquantized_steps": 3, "kmeans_steps": 2},
    {"precision": "bfloat16"},
    {"accumulation_steps": 2, "optimizer": "adam_2020", "weight_decay": 0.1},
]
PRIOR_VARIANTS = [
    ("plain", {}),
    ("upsampler", {"precision": "bfloat16"}),
    (
        "lyrics_encoder",
        {"precision": "float16", "unknown_artist_share": 0.5, "unknown_names_share": 0.5},
    ),
    ("lyrics_sequence", {"accumulation_steps": 2, "activation_checkpointing": True}),
]


@pytest.mark.parametrize("variant", CODEC_VARIANTS)
@pytest.mark.parametrize("stop", [2, 5, 6])
def test_a_resumed_codec_equals_an_uninterrupted_one(
    tmp_path: Path, variant: dict[str, Any], stop: int
) -> None:
    whole = codec_trainer(codec_settings(tmp_path / "whole", **variant))
    whole.train()
    settings = codec_settings(tmp_path / "parts", steps=max(stop, 4), save_every=stop, **variant)
    codec_trainer(settings).train()
    for later in find_checkpoints(tmp_path / "parts" / "checkpoints")[1:]:
        later.rename(tmp_path / f"{later.name}_aside")
    settings = codec_settings(tmp_path / "parts", num_workers=1, **variant)
    resumed = codec_trainer(settings, resume=True)
    assert resumed.state.step == stop
    resumed.train()
    assert_same_bits(everything(resumed), everything(whole))
    assert read_log(tmp_path / "parts", "train")[-1]["step"] == settings.steps


@pytest.mark.parametrize(("architecture", "variant"), PRIOR_VARIANTS)
def test_a_resumed_prior_equals_an_uninterrupted_one(
    tmp_path: Path, architecture: str, variant: dict[str, Any]
) -> None:
    options = {"prior": DROPOUT}
    whole = prior_trainer(prior_settings(tmp_path / "whole", **variant), architecture, **options)
    whole.train()
    first = prior_settings(tmp_path / "parts", steps=3, **variant)
    prior_trainer(first, architecture, **options).train()
    second = prior_settings(tmp_path / "parts", **variant)
    resumed = prior_trainer(second, architecture, resume=True, **options)
    resumed.train()
    assert_same_bits(everything(resumed), everything(whole))
    assert resumed.state.loss_scale == whole.state.loss_scale


def test_a_run_stopped_after_any_step_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Also after the last one, when evaluation and export are still to come."""
    whole = prior_trainer(prior_settings(tmp_path / "whole", evaluate_every=4))
    result = whole.train()
    for stop in range(1, whole.settings.steps + 1):
        settings = prior_settings(tmp_path / str(stop), evaluate_every=4)
        stopped = prior_trainer(settings)
        honest = stopped.task.after_step

        def after_step(
            step: int, *, succeeded: bool, honest: Any = honest, stop: int = stop
        ) -> Any:
            if step == stop - 1:
                signal.raise_signal(signal.SIGTERM)
            return honest(step, succeeded=succeeded)

        stopped.task.after_step = after_step  # type: ignore[method-assign]
        first = stopped.train()
        assert (first.steps, first.interrupted, first.final) == (stop, True, None)
        resumed = prior_trainer(settings, resume=True)
        second = resumed.train()
        assert second.final == tmp_path / str(stop) / "final"
        assert second.evaluation == result.evaluation
        assert second.best_step == result.best_step
        assert_same_bits(everything(resumed), everything(whole))
        events = read_log(tmp_path / str(stop), "evaluation")
        assert [event["step"] for event in events] == [4, 6]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("evaluate_every", [0, 2])
@pytest.mark.parametrize("moment", ["evaluate", "export"])
def test_a_run_killed_after_its_last_checkpoint_gets_its_model_when_resumed(
    tmp_path: Path, evaluate_every: int, moment: str
) -> None:
    run = tmp_path / "run"
    arguments = [str(run), str(evaluate_every), moment]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_END, *arguments],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (run / "final").exists()
    settings = prior_settings(run, evaluate_every=evaluate_every, steps=4)
    assert find_finished(settings) is None
    resumed = prior_trainer(settings, resume=True)
    result = resumed.train()
    whole = prior_trainer(settings.with_changes(output=str(tmp_path / "whole")))
    expected = whole.train()
    assert result.evaluation == expected.evaluation
    assert result.best_step == expected.best_step
    assert_same_bits(everything(resumed), everything(whole))
    for name in ("final", "best"):
        ours, theirs = (
            load_file(next((where / name).glob("*/model.safetensors")))
            for where in (run, tmp_path / "whole")
        )
        assert_same_bits(ours, theirs)
    kinds = [(event["event"], event["step"]) for event in read_log(run)]
    assert kinds == [(event["event"], event["step"]) for event in read_log(tmp_path / "whole")]
    finished = find_finished(settings)
    assert finished is not None
    assert finished.final == run / "final"


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from jukebox_hf.training.checkpoints import find_checkpoints
from jukebox_hf.training.trainer import JukeboxTrainer
from tests.training.tiny_runs import prior_settings, prior_trainer

run, every, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
trainer = prior_trainer(prior_settings(run, evaluate_every=every, steps=4))
honest = getattr(JukeboxTrainer, moment)
def killed(*arguments):
    last = (run / "checkpoints" / "step_00000004").is_dir()
    if last and moment == "export" and arguments[1:] == ("final",):
        os.kill(os.getpid(), signal.SIGKILL)
    found = honest(*arguments)
    if last and moment == "evaluate":
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(JukeboxTrainer, moment, killed)
honest_save = JukeboxTrainer.save
def save(self):
    found = honest_save(self)
    if moment == "evaluate" and every == 2:  # evaluated before: killed right after saving
        os.kill(os.getpid(), signal.SIGKILL)
    return found
JukeboxTrainer.save = save
trainer.train()
"""


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    trainer = prior_trainer(prior_settings(tmp_path))
    with trainer.folder.held(None, resume=False):
        trainer.folder.prepare(trainer.settings)  # all that a killed one leaves
    assert prior_trainer(prior_settings(tmp_path), resume=True).train().final is not None


def test_fewer_steps_than_are_done_are_refused(tmp_path: Path) -> None:
    prior_trainer(prior_settings(tmp_path, steps=3)).train()
    with pytest.raises(ValueError, match="is at step 3 already, so steps must be at least"):
        prior_trainer(prior_settings(tmp_path, steps=2), resume=True)


def test_a_longer_run_is_not_finished_by_the_model_of_a_shorter_one(tmp_path: Path) -> None:
    prior_trainer(prior_settings(tmp_path, steps=2)).train()
    assert find_finished(prior_settings(tmp_path, steps=2)) is not None
    longer = prior_settings(tmp_path, steps=4)
    assert find_finished(longer) is None
    prior_trainer(longer, resume=True).train()
    assert find_finished(longer) is not None
    (tmp_path / "log.jsonl").unlink()
    assert find_finished(longer) is None


def test_so_many_examples_lose_their_artist_or_all_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"unknown_artist_share": 0.25, "unknown_names_share": 0.5}
    trainer = prior_trainer(prior_settings(tmp_path, **shares), "top")
    seen: list[JukeboxLabels] = []
    task = trainer.task
    assert isinstance(task, PriorTask)
    whole = task.model.condition
    monkeypatch.setattr(
        task.model,
        "condition",
        lambda **given: (seen.append(given["labels"]), whole(**given))[1],
    )
    count = 400
    labels = JukeboxLabels(
        torch.full((count,), 2), torch.tensor([[1, 3]] * count), *torch.full((2, count), 2000)
    )
    codes = torch.zeros(count, task.model.config.context_length, dtype=torch.int64)
    for step in (1, 2):
        task.before_step(step, lambda parts: iter(()))
        task.loss(task.model, PriorBatch(codes, labels=labels))
    first, second = seen
    for given in seen:
        nameless = (given.genres == torch.tensor([0, -1])).all(dim=1)
        named = (given.genres == torch.tensor([1, 3])).all(dim=1)
        assert bool((nameless ^ named).all())
        assert not given.artist[nameless].any()
        assert abs(float(nameless.float().mean()) - 0.5) < 0.1
        assert abs(float((given.artist[named] == 0).float().mean()) - 0.25) < 0.1
        assert torch.equal(given.total_samples, labels.total_samples)
    assert not torch.equal(first.genres, second.genres)


def test_every_step_is_logged_once_after_resuming(tmp_path: Path) -> None:
    codec_trainer(codec_settings(tmp_path, steps=4, save_every=2)).train()
    find_checkpoints(tmp_path / "checkpoints")[-1].rename(tmp_path / "aside")
    codec_trainer(codec_settings(tmp_path), resume=True).train()
    assert [event["step"] for event in read_log(tmp_path, "train")] == [1, 2, 3, 4, 5, 6]


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("variant", [{}, {"unquantized_steps": 1, "kmeans_steps": 2}])
def test_accumulating_four_times_two_equals_eight_at_once_for_a_codec(
    tmp_path: Path, variant: dict[str, Any]
) -> None:
    """Also the codebooks, which learn once per step from all of it."""
    # Adam divides by the gradient's size: after one step rounding errors of tiny gradients show.
    common = {"batch_size": 8, "steps": 3, "epsilon": 1e-2, **variant}
    whole = codec_trainer(codec_settings(tmp_path / "whole", **common))
    whole.train()
    parts = codec_trainer(codec_settings(tmp_path / "parts", accumulation_steps=4, **common))
    parts.train()
    assert_close(weights_of(parts), weights_of(whole))


@pytest.mark.parametrize("architecture", ["upsampler", "lyrics_encoder", "lyrics_sequence"])
def test_accumulating_four_times_two_equals_eight_at_once_for_a_prior(
    tmp_path: Path, architecture: str
) -> None:
    common = {"batch_size": 8, "steps": 3, "epsilon": 1e-2}
    whole = prior_trainer(prior_settings(tmp_path / "whole", **common), architecture)
    whole.train()
    settings = prior_settings(tmp_path / "parts", accumulation_steps=4, **common)
    parts = prior_trainer(settings, architecture)
    parts.train()
    assert_close(weights_of(parts), weights_of(whole))


def test_activation_checkpointing_changes_nothing(tmp_path: Path) -> None:
    for name, trainer in (("codec", codec_trainer), ("prior", prior_trainer)):
        make = codec_settings if name == "codec" else prior_settings
        plain = trainer(make(tmp_path / name / "plain", steps=2))
        plain.train()
        saving = trainer(make(tmp_path / name / "saving", steps=2, activation_checkpointing=True))
        saving.train()
        assert_same_bits(weights_of(saving), weights_of(plain))


# --- failures -------------------------------------------------------------------------------------


def spoil_losses(trainer: JukeboxTrainer, steps: set[int]) -> None:
    """Make the losses of some steps infinite."""
    honest = trainer.task.loss

    def loss(model: Any, batch: Any) -> Any:
        found = honest(model, batch)
        if trainer.state.step in steps:
            return found._replace(loss=found.loss * math.inf)
        return found

    trainer.task.loss = loss


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_step_that_fails_moves_nothing_and_is_counted(tmp_path: Path, precision: str) -> None:
    trainer = codec_trainer(codec_settings(tmp_path, precision=precision, steps=3))
    spoil_losses(trainer, {0, 1, 2})
    trainer.task.before_step(0, trainer._load_ahead)  # the codebooks start before the first step
    before, scale = weights_of(trainer), trainer.state.loss_scale
    trainer.train()
    assert_same_bits(weights_of(trainer), before)
    assert trainer.state.failed_steps == 3
    assert trainer.state.loss_scale == (scale / 8 if precision == "float16" else 1.0)
    assert read_log(tmp_path, "train")[-1]["failed_steps"] == 3


def test_training_goes_on_after_a_failed_step(tmp_path: Path) -> None:
    trainer = prior_trainer(prior_settings(tmp_path, steps=4, max_failed_steps=2))
    spoil_losses(trainer, {0, 2})
    trainer.train()
    assert trainer.state.failed_steps == 2
    assert all(value.isfinite().all() for value in weights_of(trainer).values())


def test_many_failures_in_a_row_end_the_run(tmp_path: Path) -> None:
    trainer = prior_trainer(prior_settings(tmp_path, steps=9, max_failed_steps=3))
    spoil_losses(trainer, set(range(2, 9)))
    with pytest.raises(DivergedError, match=r"3 steps in a row, up to step 5.*lower learning_rate"):
        trainer.train()


def test_the_loss_scale_grows_slowly_up_to_its_limit(tmp_path: Path) -> None:
    trainer = prior_trainer(prior_settings(tmp_path, precision="float16", steps=2))
    trainer.train()
    assert trainer.state.loss_scale == pytest.approx(2**16 * 2 ** (2 / 1000))
    assert next_loss_scale(2.0**24, succeeded=True) == 2.0**24
    assert next_loss_scale(2.0**24, succeeded=False) == 2.0**23


def test_gradients_are_unscaled_and_clipped() -> None:
    gradients = [torch.tensor([6.0, 0.0]), torch.tensor([[8.0]])]
    assert scale_gradients(gradients, max_norm=1.0, scale=2.0) == pytest.approx(5.0)
    torch.testing.assert_close(gradients[0], torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(gradients[1], torch.tensor([[0.8]]))
    small = [torch.tensor([0.3])]
    assert scale_gradients(small, max_norm=1.0, scale=1.0) == pytest.approx(0.3)
    assert small[0].item() == pytest.approx(0.3)


# --- checkpoints ----------------------------------------------------------------------------------


def test_only_the_latest_checkpoints_stay(tmp_path: Path) -> None:
    prior_trainer(prior_settings(tmp_path, save_every=1, keep_checkpoints=2)).train()
    names = [path.name for path in find_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step_00000005", "step_00000006"]


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    settings = prior_settings(tmp_path, evaluate_every=2, learning_rate=1e-2, steps=8)
    result = prior_trainer(settings).train()
    events = read_log(tmp_path, "evaluation")
    assert [event["step"] for event in events] == [2, 4, 6, 8]
    best = min(events, key=lambda event: event["loss"])
    assert result.best_step == best["step"]
    assert list((tmp_path / "best").glob("prior_*/model.safetensors"))


def test_a_codec_without_codebooks_yet_is_never_the_best(tmp_path: Path) -> None:
    settings = codec_settings(tmp_path, evaluate_every=1, unquantized_steps=4)
    result = codec_trainer(settings).train()
    assert result.best_step is not None
    assert result.best_step > 4


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    prior_trainer(prior_settings(tmp_path, steps=1)).train()
    with pytest.raises(
        ValueError, match=r"holds a run with checkpoints up to step_00000001; go on"
    ):
        prior_trainer(prior_settings(tmp_path, steps=2))


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    first, second = (prior_trainer(prior_settings(tmp_path, seed=seed)) for seed in (1, 2))
    honest = first._do_what_is_due

    def meanwhile() -> None:
        with pytest.raises(FolderInUseError, match=r"is being worked on by another process \("):
            second.train()
        honest()

    first._do_what_is_due = meanwhile  # type: ignore[method-assign]
    first.train()
    assert read_log(tmp_path, "end")[-1]["step"] == 6
    with pytest.raises(ValueError, match="holds a run with checkpoints up to step_00000006"):
        second.train()  # it had looked before the first one began


def test_a_run_that_another_process_has_gone_on_with_is_not_resumed_from_before(
    tmp_path: Path,
) -> None:
    prior_trainer(prior_settings(tmp_path, steps=2)).train()
    first, second = (prior_trainer(prior_settings(tmp_path), resume=True) for _ in range(2))
    first.train()
    with pytest.raises(FolderInUseError, match="another process has gone on with the run"):
        second.train()


def test_resuming_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run to resume"):
        prior_trainer(prior_settings(tmp_path), resume=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    prior_trainer(prior_settings(tmp_path, steps=1), "plain").train()
    with pytest.raises(ValueError, match="belongs to another model"):
        prior_trainer(prior_settings(tmp_path, steps=2), "dense", resume=True)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that fails leaves earlier checkpoints alone, and training goes on."""
    said: list[str] = []
    settings = prior_settings(tmp_path, save_every=2)
    trainer = prior_trainer(settings, say=said.append)
    honest, calls = checkpoints_module.save_file, []

    def full(tensors: Any, path: Path) -> None:
        calls.append(path)
        if "step_00000004" in str(path):
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        honest(tensors, path)

    monkeypatch.setattr(checkpoints_module, "save_file", full)
    trainer.train()
    names = [path.name for path in find_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step_00000002", "step_00000006"]
    assert any("No space left on device" in text and "training goes on" in text for text in said)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert read_log(tmp_path, "save_failed")[0]["step"] == 4


def test_a_full_disk_at_the_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prior_trainer(prior_settings(tmp_path, save_every=2, steps=3))

    def full(tensors: Any, path: Path) -> None:
        raise OSError(28, "No space left on device")

    trainer.settings = trainer.settings.with_changes(save_every=0)
    monkeypatch.setattr(checkpoints_module, "save_file", full)
    with pytest.raises(SaveError, match="No space left on device"):
        trainer.train()
    assert not find_checkpoints(tmp_path / "checkpoints")


KILLED = """
import os, signal, sys
from pathlib import Path
from jukebox_hf.training import checkpoints
from tests.training.tiny_runs import prior_settings, prior_trainer

honest = checkpoints.save_file
def killed(tensors, path):
    honest(tensors, path)
    if "step_00000004" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.save_file = killed
prior_trainer(prior_settings(Path(sys.argv[1]), save_every=2)).train()
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_killing_during_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run)],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [path.name for path in find_checkpoints(run / "checkpoints")] == ["step_00000002"]
    assert list((run / "checkpoints").glob(".*"))  # what it was writing
    resumed = prior_trainer(prior_settings(run), resume=True)
    assert resumed.state.step == 2
    resumed.train()
    assert not list((run / "checkpoints").glob(".*"))
    whole = prior_trainer(prior_settings(tmp_path / "whole"))
    whole.train()
    assert_same_bits(everything(resumed), everything(whole))


def test_a_signal_stops_after_the_step_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    trainer = prior_trainer(prior_settings(tmp_path / "parts"))
    honest = trainer.task.loss

    def loss(model: Any, batch: Any) -> Any:
        if trainer.state.step == 2:
            signal.raise_signal(signal.SIGINT)
        return honest(model, batch)

    trainer.task.loss = loss  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGINT)
    result = trainer.train()
    assert signal.getsignal(signal.SIGINT) is before
    assert result.interrupted
    assert result.final is None
    assert result.steps == 3
    resumed = prior_trainer(prior_settings(tmp_path / "parts"), resume=True)
    assert not resumed.train().interrupted
    whole = prior_trainer(prior_settings(tmp_path / "whole"))
    whole.train()
    assert_same_bits(everything(resumed), everything(whole))


def test_a_time_limit_ends_the_run_with_a_model(tmp_path: Path) -> None:
    result = prior_trainer(prior_settings(tmp_path, max_minutes=1e-9)).train()
    assert result.steps == 1
    assert result.final == tmp_path / "final"


# --- what a run says ------------------------------------------------------------------------------


def test_the_log_holds_losses_speed_and_evaluations(tmp_path: Path) -> None:
    codec_trainer(codec_settings(tmp_path, evaluate_every=3)).train()
    event = read_log(tmp_path, "train")[0]
    expected = {"loss", "grad_norm", "learning_rate", "steps_per_second", "failed_steps"}
    expected |= {"audio_seconds_per_second", "level_0/perplexity", "level_2/commitment"}
    assert expected <= set(event)
    found = read_log(tmp_path, "evaluation")[0]
    for name in ("loss", "train_loss", "level_1/spectral_convergence_db", "level_0/entropy_bits"):
        assert name in found, name
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["event"] == "end"


def test_an_evaluation_knows_the_loss_in_training_also_where_none_was_logged(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    settings = prior_settings(tmp_path, steps=4, evaluate_every=2, log_every=100)
    prior_trainer(settings, say=said.append).train()
    events = read_log(tmp_path, "evaluation")
    assert [event["step"] for event in events] == [2, 4]
    assert all(math.isfinite(event["train_loss"]) for event in events)
    assert sum("in training" in text for text in said) == 2


def test_a_collapsed_codebook_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = codec_settings(tmp_path, steps=2, min_perplexity_share=0.99, evaluate_every=2)
    codec_trainer(settings).train()
    assert "level 2 has collapsed" in caplog.text
    assert "level 2 has collapsed" in " ".join(read_log(tmp_path, "evaluation")[0]["warnings"])


def test_samples_of_a_codec_are_written_with_their_originals(tmp_path: Path) -> None:
    codec_trainer(codec_settings(tmp_path, steps=2, sample_every=2)).train()
    names = {path.name for path in (tmp_path / "samples" / "step_00000002").iterdir()}
    assert {"song_0_original.wav", "song_1_level_2.wav"} <= names


def test_settings_of_the_run_are_saved(tmp_path: Path) -> None:
    from jukebox_hf.training.settings import TrainingSettings

    settings = prior_settings(tmp_path, steps=1)
    prior_trainer(settings).train()
    assert TrainingSettings.load(tmp_path / "settings.yaml") == settings


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="this machine has no CUDA device"):
        prior_trainer(prior_settings(tmp_path, device="cuda"))

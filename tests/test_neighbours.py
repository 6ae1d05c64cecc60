"""Other libraries' doors: transformers' Auto classes, its pipeline and Trainer, and peft."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments, pipeline

from jukebox_cli.main import main
from jukebox_hf import JukeboxLabels, JukeboxPipeline, JukeboxPrior
from jukebox_hf.hub import System, merge
from tests.tiny import CODEBOOK_SIZE, CONTEXT_LENGTH, SAMPLING_RATE, tiny_prior, tiny_system


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("neighbours") / "model")


def test_a_whole_model_opens_with_the_auto_classes(model: Path) -> None:
    config = AutoConfig.from_pretrained(model)
    assert type(config).__name__ == "JukeboxModelConfig"
    whole = AutoModel.from_pretrained(model)
    assert whole.vqvae.config.num_levels == 3
    assert isinstance(whole.prior(2), JukeboxPrior)
    with pytest.raises(ValueError, match="a quantization_config is not supported"):
        AutoModel.from_pretrained(model, quantization_config={"load_in_8bit": True})


def test_the_pipeline_of_transformers_makes_the_music_that_ours_makes(model: Path) -> None:
    theirs = pipeline("text-to-audio", model=str(model))
    made = theirs("rock", forward_params={"seconds": 0.6, "seed": 7, "artist": "ada"})
    ours = JukeboxPipeline.from_pretrained(model, device="cpu").generate(
        genre="rock", artist="ada", seconds=0.6, seed=7
    )
    assert made["sampling_rate"] == SAMPLING_RATE
    assert np.array_equal(made["audio"], ours.audio[0].squeeze().numpy())


def windows(count: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    labels = JukeboxLabels(
        torch.tensor(1), torch.tensor([1, -1]), torch.tensor(8000), torch.tensor(0)
    )
    return [
        {
            "codes": torch.randint(CODEBOOK_SIZE, (CONTEXT_LENGTH,), generator=generator),
            "labels": labels,
        }
        for _ in range(count)
    ]


def test_the_trainer_of_transformers_trains_a_prior(tmp_path: Path) -> None:
    prior = tiny_prior(2)
    before = prior.decoder.embedding.weight.detach().clone()
    trainer = Trainer(
        model=prior,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
        ),
        train_dataset=windows(4),
        eval_dataset=windows(2),
        data_collator=torch.utils.data.default_collate,
    )
    assert trainer.train().global_step == 2
    assert not torch.equal(before, prior.decoder.embedding.weight)
    assert trainer.evaluate()["eval_loss"] > 0


def test_the_root_config_says_what_it_is(model: Path) -> None:
    assert json.loads((model / "config.json").read_text())["model_type"] == "jukebox_hf"


@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:FutureWarning")  # peft's
def test_a_lora_of_peft_is_merged_and_makes_the_same_logits(tmp_path: Path, model: Path) -> None:
    peft = pytest.importorskip("peft")
    prior = System.open(model).load_prior(2)
    targets = ["qkv", "expand"]
    config = peft.LoraConfig(
        r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False, use_rslora=True
    )
    adapted = peft.get_peft_model(prior, config)
    adapted.save_pretrained(tmp_path / "lora")
    arguments = ["merge", str(model), str(tmp_path / "lora"), "-o", str(tmp_path / "merged")]
    run = CliRunner().invoke(main, arguments)
    assert "fits the priors of levels 0, 1, 2; say which with --level" in run.stderr
    run = CliRunner().invoke(main, [*arguments, "--level", "2"])
    assert run.exit_code == 0, run.output
    merged = System.open(tmp_path / "merged")
    batch = torch.utils.data.default_collate(windows(2))
    with torch.no_grad():
        expected = adapted.eval()(**batch).logits
        found = merged.load_prior(2)(**batch).logits
        plain = System.open(model).load_prior(2)(**batch).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)
    assert merged.processor(2) == System.open(model).processor(2)
    with pytest.raises(ValueError, match="has no adapter that could be merged"):
        merge(merged, tmp_path / "again")

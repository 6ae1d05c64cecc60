"""Other libraries' doors: transformers' Auto classes, its pipeline and Trainer, and peft."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    Trainer,
    TrainingArguments,
    pipeline,
)

import jukebox_hf
from jukebox_cli.main import main
from jukebox_hf import (
    JukeboxFeatureExtractor,
    JukeboxLabels,
    JukeboxPipeline,
    JukeboxPrior,
    Session,
)
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


def test_the_built_in_model_opens_by_its_folder_too() -> None:
    folder = Path(jukebox_hf.__file__).parent / "demo"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "jukebox_hf"
    whole = AutoModel.from_pretrained(folder)
    stored = AutoConfig.from_pretrained(folder, subfolder="vqvae").dtype
    assert (stored, whole.vqvae.dtype) == (torch.float16, torch.float32)
    extractor = AutoFeatureExtractor.from_pretrained(folder, subfolder="vqvae")
    assert extractor.sampling_rate == whole.config.sampling_rate == 22_050


def test_the_feature_extractor_of_a_codec_is_found_in_its_folder(model: Path) -> None:
    extractor = AutoFeatureExtractor.from_pretrained(model, subfolder="vqvae")
    assert type(extractor) is JukeboxFeatureExtractor
    codec = AutoModel.from_pretrained(model, subfolder="vqvae")
    generator = np.random.default_rng(1)
    stereo, short = (generator.uniform(-0.9, 0.9, shape) for shape in ((2, 1000), (700,)))
    found = extractor([stereo, short], sampling_rate=SAMPLING_RATE, return_attention_mask=True)
    assert found["audio"].shape == (2, 1, 1024)
    assert found["attention_mask"].sum(dim=1).tolist() == [1000, 700]
    assert not found["audio"][1, 0, 700:].any()
    alone = extractor(short, sampling_rate=SAMPLING_RATE, padding=False, return_tensors="np")
    assert alone["audio"].shape == (1, 1, 700)
    expected = codec.encode(short, sampling_rate=SAMPLING_RATE)
    assert all(map(torch.equal, codec.encode(torch.from_numpy(alone["audio"])), expected))
    assert extractor(short, sampling_rate=2 * SAMPLING_RATE, padding=False)["audio"].shape[2] == 350
    with pytest.raises(ValueError, match=r"say sampling_rate=\.\.\., such as 8000"):
        extractor(short)
    with pytest.raises(ValueError, match=r"or padding=True, got \[1000, 700\]"):
        extractor([stereo, short], sampling_rate=SAMPLING_RATE, padding=False)


def test_hidden_states_come_beside_the_loss() -> None:
    prior = tiny_prior(2)
    batch = torch.utils.data.default_collate(windows(2))
    with torch.no_grad():
        plain, full = prior(**batch), prior(**batch, output_hidden_states=True)
        layers = prior(**batch, hidden_layers=[1, prior.config.depth]).hidden_states
    assert torch.equal(plain.loss, full.loss)
    assert torch.equal(plain.logits, full.logits)
    assert len(full.hidden_states) == prior.config.depth + 1
    assert torch.equal(full.hidden_states[1], layers[0])
    assert torch.equal(full.hidden_states[-1], layers[1])
    prior.config.output_hidden_states = True
    assert len(prior(**batch).hidden_states) == prior.config.depth + 1
    assert plain.hidden_states is None


def test_attention_is_computed_as_asked_and_comes_to_the_same(model: Path) -> None:
    batch = torch.utils.data.default_collate(windows(2))
    folder, calls = {"subfolder": "prior_2"}, []
    prior = AutoModel.from_pretrained(model, **folder)
    assert prior.config._attn_implementation == "sdpa"
    eager = AutoModel.from_pretrained(model, **folder, attn_implementation="eager")
    fused = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.nn.functional,
            "scaled_dot_product_attention",
            lambda *given, **named: calls.append(1) or fused(*given, **named),
        )
        expected, found = prior(**batch).logits, eager(**batch).logits
        assert len(calls) == prior.config.depth
        prior.set_attn_implementation("eager")
        assert torch.equal(prior(**batch).logits, found)
        assert len(calls) == prior.config.depth
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for name in ("flash_attention_2", "nonsense"):
        message = f"of a JukeboxPrior must be sdpa or eager, got '{name}'"
        with pytest.raises(ValueError, match=message):
            AutoModel.from_pretrained(model, **folder, attn_implementation=name)
        with pytest.raises(ValueError, match=message):
            prior.set_attn_implementation(name)
    whole = AutoModel.from_pretrained(model, attn_implementation="eager", device_map="cpu")
    assert whole.prior(2).config._attn_implementation == "eager"
    with pytest.raises(ValueError, match="must be eager, got 'sdpa'"):
        AutoModel.from_pretrained(model, subfolder="vqvae", attn_implementation="sdpa")
    with pytest.raises(ValueError, match="must name one device for the whole model"):
        AutoModel.from_pretrained(model, device_map={"vqvae": "cpu", "prior": "meta"})


@pytest.mark.parametrize("name", ["vqvae", "prior_2"])
def test_weights_are_float32_whatever_is_stored_unless_another_dtype_is_asked_for(
    name: str, model: Path, tmp_path: Path
) -> None:
    def loaded(**options: Any) -> torch.dtype:
        return AutoModel.from_pretrained(tmp_path, **options).dtype

    half = AutoModel.from_pretrained(model, subfolder=name, dtype=torch.float16)
    half.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    assert loaded() == torch.float32
    assert loaded(dtype="auto") == torch.float16
    assert loaded(dtype=torch.bfloat16) == torch.bfloat16
    system = System.open(tmp_path)
    load = system.load_vqvae if name == "vqvae" else lambda **given: system.load_prior(2, **given)
    assert (load().dtype, load(dtype="auto").dtype) == (torch.float32, torch.float16)
    with pytest.raises(ValueError, match="a quantization_config is not supported; JukeboxPipeline"):
        loaded(quantization_config={"load_in_8bit": True})


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


@pytest.fixture(scope="module")
def foreign(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that peft alone made and saved, with a table of its own, for the top prior."""
    peft = pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("foreign") / "lora"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is deprecated", FutureWarning)  # peft's
        adapted = peft.get_peft_model(
            AutoModel.from_pretrained(model, subfolder="prior_2"),
            peft.LoraConfig(
                r=2,
                target_modules=["qkv", "expand"],
                modules_to_save=["label_embedding.artist"],
                init_lora_weights=False,
            ),
        )
        with torch.no_grad():
            adapted.label_embedding.artist.weight.add_(1.0)
        adapted.save_pretrained(folder)
    return folder


def test_a_lora_of_peft_makes_music(foreign: Path, model: Path, tmp_path: Path) -> None:
    wanted = {"genre": "rock", "artist": "ada", "seconds": 0.6, "seed": 1, "to_level": 2}
    arguments = ["generate", "--model", str(model), "--genre", "rock", "--artist", "ada"]
    arguments += ["--seconds", "0.6", "--seed", "1", "--to-level", "2", "-o", str(tmp_path / "s")]
    refused = CliRunner().invoke(main, [*arguments, "--adapter", str(foreign)])
    assert "fits the priors of levels 0, 1, 2; say which with --level" in refused.stderr
    run = CliRunner().invoke(main, [*arguments, "--adapter", f"2={foreign}"])
    assert run.exit_code == 0, run.output
    plain = JukeboxPipeline.from_pretrained(model, device="cpu").generate(**wanted)
    pipeline = JukeboxPipeline.from_pretrained(model, device="cpu", adapter={2: foreign})
    made = pipeline.generate(**wanted).takes[0].codes.levels[2]
    assert not torch.equal(made, plain.takes[0].codes.levels[2])
    session = Session.open(tmp_path / "s")
    assert torch.equal(session.codes(1).levels[2], made)
    assert session.open_system().attached.keys() == {"prior_2"}
    with pytest.raises(ValueError, match="prior_2 has an adapter already"):
        pipeline.system.attach_adapter(foreign, level=2)
    with pytest.raises(ValueError, match="belongs to another prior, with another artist_count"):
        JukeboxPipeline.from_pretrained(adapter={2: foreign}, device="cpu").generate(**wanted)


@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:FutureWarning")  # peft's
def test_ours_is_an_adapter_of_peft_too(foreign: Path, model: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    merged = System.open(model)
    merged.attach_adapter(foreign, level=2)
    batch = torch.utils.data.default_collate(windows(2))
    base = System.open(model).load_prior(2)
    with torch.no_grad():
        expected = merged.load_prior(2)(**batch).logits
        found = peft.PeftModel.from_pretrained(base, foreign).eval()(**batch).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        # a repository that holds the prior at its root is what peft can name
        shutil.copytree(model / "prior_2", tmp_path / "bare")
        shutil.copytree(foreign, tmp_path / "lora")
        config = json.loads((foreign / "adapter_config.json").read_text())
        config |= {"base_model_name_or_path": str(tmp_path / "bare"), "task_type": None}
        config["auto_mapping"] = {
            "base_model_class": "AutoModel",
            "parent_library": "transformers",
        }
        (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
        again = peft.AutoPeftModel.from_pretrained(tmp_path / "lora").eval()
        torch.testing.assert_close(again(**batch).logits, expected, rtol=1e-4, atol=1e-4)

"""New artists and genres, and LoRA: what is added, what stays, and how it comes back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jukebox_hf.hub import System, save_system
from jukebox_hf.hub.adapters import (
    ADAPTER_WEIGHTS,
    NEW_ROWS,
    merge_adapter,
    read_adapter,
)
from jukebox_hf.labels import LYRIC_CHARACTERS, JukeboxProcessor
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.checkpoints import find_checkpoints, whole_state
from jukebox_hf.training.finetuning import (
    GrownEmbedding,
    adapted_prior,
    add_new_labels,
    save_adapter,
)
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_split import RunExamples
from jukebox_hf.training.tasks import PriorTask
from jukebox_hf.training.trainer import JukeboxTrainer
from tests.prior.tiny_priors import inputs, tiny_prior
from tests.training.tiny_runs import MadeUpWindows, assert_same_bits, prior_settings

LABELLED = {"artist_count": 3, "genre_count": 3, "genre_slots": 2}
LYRICS = {"lyric_vocab_size": len(LYRIC_CHARACTERS["v3"]) + 1}


def labelled_prior(architecture: str = "top", **changes: Any) -> JukeboxPrior:
    return tiny_prior(architecture, **{**LABELLED, **changes})


def processor_of(prior: JukeboxPrior) -> JukeboxProcessor:
    return JukeboxProcessor.for_prior(
        prior.config,
        artists={"unknown": 0, "anna": 1, "björk": 2},
        genres={"unknown": 0, "rock": 1, "folk": 2},
        lyric_characters=LYRIC_CHARACTERS["v3"] if prior.config.lyrics != "none" else "",
    )


def lora_settings(tmp_path: Path, **changes: Any) -> TrainingSettings:
    given = {"lora_rank": 2, "lora_alpha": 4, "start_from": "somewhere", "steps": 3, **changes}
    return prior_settings(tmp_path, **given)


# --- new labels -----------------------------------------------------------------------------------


def test_new_names_get_rows_after_the_old_ones() -> None:
    prior = labelled_prior()
    processor = processor_of(prior)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    notes = add_new_labels(
        prior,
        processor,
        artists=["anna", "Motörhead, live", "Ça va"],
        genres=["rock", "drum & bass"],
        as_rows=False,
    )
    assert notes == ("2 new artists: Motörhead, live, Ça va", "1 new genre: drum & bass")
    assert processor.artists["motörhead, live"] == 3
    assert processor.genres["drum & bass"] == 3
    assert (prior.config.artist_count, prior.config.genre_count) == (5, 4)
    artist = prior.state_dict()["label_embedding.artist.weight"]
    assert torch.equal(artist[:3], before["label_embedding.artist.weight"])
    assert torch.equal(artist[3], artist[0])  # as if nobody knew the artist
    for name, value in before.items():
        if "label_embedding" not in name:
            assert torch.equal(prior.state_dict()[name], value)
    processor.check(prior.config)


def test_a_new_artist_sounds_like_an_unknown_one_at_first() -> None:
    prior = labelled_prior()
    codes, given = inputs(prior, 2)
    labels = given["labels"]._replace(artist=torch.tensor([0, 0]))
    expected = prior(codes, labels=labels).logits
    add_new_labels(prior, processor_of(prior), artists=["new"], genres=[], as_rows=False)
    found = prior(codes, labels=labels._replace(artist=torch.tensor([3, 3]))).logits
    torch.testing.assert_close(found, expected)


def test_nothing_new_changes_nothing() -> None:
    prior = labelled_prior()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    assert not add_new_labels(
        prior, processor_of(prior), artists=["Anna"], genres=["Folk"], as_rows=True
    )
    assert_same_bits(prior.state_dict(), before)


def test_rows_of_a_table_that_was_larger_than_its_vocabulary_are_not_used_up() -> None:
    """The released v2 table has rows that nothing was trained on."""
    prior = labelled_prior(artist_count=5)
    processor = processor_of(prior)
    add_new_labels(prior, processor, artists=["new"], genres=[], as_rows=False)
    assert processor.artists["new"] == 5
    assert prior.config.artist_count == 6


def test_names_that_cannot_be_spelt_stay_unknown_and_are_named() -> None:
    prior = labelled_prior()
    processor = JukeboxProcessor(
        artists={"unknown": 0, "a": 1, "b": 2},
        genres={"unknown": 0, "c": 1, "d": 2},
        dialect="v2",
        genre_slots=2,
        sampling_rate=44100,
        window_samples=prior.config.window_samples,
        min_total_seconds=prior.config.min_total_seconds,
        max_total_seconds=prior.config.max_total_seconds,
    )
    notes = add_new_labels(
        prior, processor, artists=["椎名林檎", "Björk"], genres=[], as_rows=False
    )
    assert notes[0] == "1 new artist: Björk"
    assert "stay unknown" in notes[1]
    assert prior.config.artist_count == 4


def test_rows_apart_from_the_table_compute_the_same() -> None:
    whole, apart = labelled_prior(), labelled_prior()
    for prior, as_rows in ((whole, False), (apart, True)):
        add_new_labels(
            prior, processor_of(prior), artists=["x", "y"], genres=["z"], as_rows=as_rows
        )
    assert isinstance(apart.label_embedding.artist, GrownEmbedding)
    codes, given = inputs(whole, 4)
    labels = given["labels"]._replace(
        artist=torch.tensor([0, 2, 3, 4]), genres=torch.tensor([[0, -1], [1, 2], [3, -1], [-1, 3]])
    )
    expected = whole(codes, labels=labels).logits
    torch.testing.assert_close(apart(codes, labels=labels).logits, expected)


# --- LoRA -----------------------------------------------------------------------------------------


def adapted(architecture: str, settings: TrainingSettings) -> tuple[JukeboxPrior, JukeboxProcessor]:
    """A tiny prior with new labels and low-rank additions that do something."""
    changes = LYRICS if architecture.startswith("lyrics") else {}
    prior = labelled_prior(architecture, **changes)
    processor = processor_of(prior)
    add_new_labels(prior, processor, artists=["new"], genres=["newer"], as_rows=True)
    adapted_prior(prior, settings)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in prior.named_parameters():
        if parameter.requires_grad:
            assert ".lora_" in name or ".rows." in name
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return prior, processor


ADAPTED = ["top", "upsampler", "lyrics_encoder", "lyrics_sequence"]


@pytest.mark.parametrize("architecture", ADAPTED)
def test_merged_lora_equals_applied_lora(tmp_path: Path, architecture: str) -> None:
    prior, processor = adapted(architecture, lora_settings(tmp_path))
    prior.eval()
    codes, given = inputs(prior, 3)
    labels = given["labels"]._replace(artist=torch.tensor([3, 1, 0]))
    applied = prior(codes, **{**given, "labels": labels}).logits
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(prior, processor, folder, whole_state(prior))

    changes = LYRICS if architecture.startswith("lyrics") else {}
    merged = labelled_prior(architecture, **changes)
    merge_adapter(merged, read_adapter(folder), "the adapter")
    assert merged.config.artist_count == 4
    found = merged(codes, **{**given, "labels": labels}).logits
    torch.testing.assert_close(found, applied, rtol=1e-4, atol=1e-4)


# peft 0.21 asks transformers 5.23 by a name that is going away
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_peft_itself_reads_the_adapter(tmp_path: Path) -> None:
    from peft import PeftModel

    prior = labelled_prior()
    adapted_prior(prior, lora_settings(tmp_path))
    for name, parameter in prior.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.full_like(parameter, 0.1)
    prior.eval()
    codes, given = inputs(prior, 2)
    expected = prior(codes, **given).logits
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(prior, None, folder, whole_state(prior))
    loaded = PeftModel.from_pretrained(labelled_prior(), str(folder)).eval()
    torch.testing.assert_close(loaded(codes, **given).logits, expected)


def test_an_adapter_holds_little_and_no_old_rows(tmp_path: Path) -> None:
    prior, processor = adapted("lyrics_sequence", lora_settings(tmp_path))
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(prior, processor, folder, whole_state(prior))
    rows = load_file(folder / NEW_ROWS)
    assert {name: tuple(t.shape) for name, t in rows.items()} == {
        "label_embedding.artist.weight": (1, 16),
        "label_embedding.genre.weight": (1, 16),
    }
    names = load_file(folder / ADAPTER_WEIGHTS)
    assert all(name.startswith("base_model.model.decoder.layers.") for name in names)
    assert not (folder / "model.safetensors").exists()


def lora_trainer(tmp_path: Path, **changes: Any) -> JukeboxTrainer:
    resume = changes.pop("resume", False)
    settings = lora_settings(tmp_path, **changes)
    prior = labelled_prior()
    processor = processor_of(prior)
    add_new_labels(prior, processor, artists=["new"], genres=[], as_rows=True)
    torch.manual_seed(0)
    adapted_prior(prior, settings)
    base = tmp_path.with_name(f"{tmp_path.name}_base")
    if not resume:
        save_system(base, priors={2: labelled_prior()}, processors={2: processor_of(prior)})
    task = PriorTask(prior, settings, processor=processor, base=System.open(base))
    examples = RunExamples(MadeUpWindows(8, prior), MadeUpWindows(4, prior))
    return JukeboxTrainer(settings, work=(task, examples), resume=resume)


def test_only_the_adapter_is_trained_saved_and_resumed(tmp_path: Path) -> None:
    before = labelled_prior().state_dict()
    whole = lora_trainer(tmp_path / "whole", learning_rate=1e-2)
    whole.train()
    state = whole.task.model.state_dict()
    for name, value in before.items():
        for place in (name, name.replace(".weight", ".base_layer.weight"),
                      name.replace(".bias", ".base_layer.bias"),
                      name.replace(".weight", ".table.weight")):  # fmt: skip
            if place in state:
                assert torch.equal(state[place], value), name
    (checkpoint,) = find_checkpoints(tmp_path / "whole" / "checkpoints")
    stored = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    learning = sum(p.numel() for p in whole.task.model.parameters() if p.requires_grad)
    assert stored < 4 * 4 * learning + 50_000  # weights, averages, two moments, headers

    lora_trainer(tmp_path / "parts", steps=1, learning_rate=1e-2).train()
    resumed = lora_trainer(tmp_path / "parts", resume=True, learning_rate=1e-2)
    resumed.train()
    assert_same_bits(resumed.task.model.state_dict(), state)


def test_an_adapter_loads_with_its_base_through_the_manifest(tmp_path: Path) -> None:
    base = labelled_prior()
    save_system(tmp_path / "base", priors={2: base}, processors={2: processor_of(base)})
    prior, processor = adapted("top", lora_settings(tmp_path))
    settings = lora_settings(tmp_path)
    task = PriorTask(prior, settings, processor=processor)
    task.base = System.open(tmp_path / "base")
    (tmp_path / "result").mkdir()
    task.export(tmp_path / "result", whole_state(prior))
    system = System.open(tmp_path / "result")
    assert system.processor(2).artists["new"] == 3
    assert system.prior_config(2).artist_count == 4
    loaded = system.load_prior(2)
    codes, given = inputs(prior, 2)
    labels = given["labels"]._replace(artist=torch.tensor([3, 1]))
    expected = prior.eval()(codes, labels=labels).logits
    found = loaded(codes, labels=labels).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_of_another_prior_is_refused(tmp_path: Path) -> None:
    prior, processor = adapted("top", lora_settings(tmp_path))
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(prior, processor, folder, whole_state(prior))
    other = labelled_prior(width=24, mlp_width=24)
    with pytest.raises(ValueError, match="belongs to another prior, which has another layer"):
        merge_adapter(other, read_adapter(folder), "the adapter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "only plain LoRA adapters can be applied, this has use_dora"),
        ({"peft_type": "IA3"}, "only plain LoRA"),
        ({"r": 0}, "r and lora_alpha make no sense"),
        ({"lora_alpha": "much"}, "r and lora_alpha make no sense"),
        ({"r": 3}, "of rank 3"),
    ],
)
def test_what_is_no_plain_adapter_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    import json

    prior, processor = adapted("top", lora_settings(tmp_path))
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(prior, processor, folder, whole_state(prior))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        read_adapter(folder)


def test_a_folder_without_an_adapter_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected an adapter, found no adapter_config\.json"):
        read_adapter(tmp_path)

"""From settings and songs on disk to a model folder that loads; and what is refused on the way."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.hub import System, load_training_facts
from jukebox_hf.hub.manifest import load_manifest
from jukebox_hf.hub.saving import save_manifest
from jukebox_hf.training.batches import load_steps
from jukebox_hf.training.checkpoints import find_checkpoints
from jukebox_hf.training.reports import read_log
from jukebox_hf.training.scoring import evaluate_model
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_selection import SongSelection
from jukebox_hf.training.tasks import PriorTask
from jukebox_hf.training.trainer import JukeboxTrainer, TrainingResult
from jukebox_hf.vqvae import JukeboxVQVAE
from tests.data.song_files import write_song
from tests.training.song_runs import (
    CODEC_MODEL,
    PRIOR_MODEL,
    TIMING,
    UPSAMPLER,
    encoded,
    labelled_songs,
    song_settings,
)
from tests.training.tiny_runs import assert_same_bits, weights_of

NOTES = {"artist": "knows six", "genre": "follows loosely", "lyrics": "does not follow words"}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def codec(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained codec's model folder."""
    output = tmp_path_factory.mktemp("codec") / "run"
    final = train(song_settings("vqvae", output, songs)).final
    assert final is not None
    return final


@pytest.fixture(scope="module")
def codes(songs: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoded(songs, codec, tmp_path_factory.mktemp("codes"))


def train(settings: TrainingSettings, **options: Any) -> TrainingResult:
    return JukeboxTrainer(settings, **options).train()


# --- codecs ---------------------------------------------------------------------------------------


def test_a_trained_codec_loads_alone_and_as_a_system(codec: Path) -> None:
    alone = JukeboxVQVAE.from_pretrained(codec, subfolder="vqvae").eval()
    whole = System.open(codec).load_vqvae()
    assert_same_bits(alone.state_dict(), whole.state_dict())
    assert alone.fingerprint() == alone.config.codebook_fingerprint
    audio = torch.rand(1, 1, 2048) - 0.5
    assert whole.decode(whole.encode(audio, [2])[0], 2).shape == audio.shape


def test_a_checkpoint_is_a_from_pretrained_folder(codec: Path) -> None:
    (checkpoint,) = find_checkpoints(codec.parent / "checkpoints")
    assert isinstance(JukeboxVQVAE.from_pretrained(checkpoint), JukeboxVQVAE)
    assert System.open(checkpoint).load_vqvae().config.num_levels == 3


def test_the_bandwidth_is_measured_once_and_stored(songs: Path, codec: Path) -> None:
    config = System.open(codec).vqvae_config()
    assert 0 < config.bandwidth_l2 < 1
    assert config.bandwidth_spectral != 1.0


def test_a_stated_bandwidth_is_taken(songs: Path, tmp_path: Path) -> None:
    model = {**CODEC_MODEL, "bandwidth_l1": 0.5}
    trainer = JukeboxTrainer(song_settings("vqvae", tmp_path, songs, model=model))
    assert trainer.task.model.config.bandwidth_l1 == 0.5
    assert trainer.task.model.config.bandwidth_l2 == 1.0


def test_training_goes_on_from_a_codec(songs: Path, codec: Path, tmp_path: Path) -> None:
    settings = song_settings("vqvae", tmp_path, songs, start_from=str(codec), model={})
    trainer = JukeboxTrainer(settings)
    assert_same_bits(weights_of(trainer), System.open(codec).load_vqvae().state_dict())
    trainer.train()
    assert (tmp_path / "final" / "vqvae" / "model.safetensors").is_file()


def test_with_its_encoder_frozen_a_codec_learns_to_decode_the_codes_that_it_had(
    songs: Path, codec: Path, tmp_path: Path
) -> None:
    def frozen(name: str, steps: int) -> TrainingSettings:
        return song_settings(
            *("vqvae", tmp_path / name, songs),
            **{"start_from": str(codec), "model": {}, "freeze_encoder": True, "steps": steps},
        )

    before = System.open(codec).load_vqvae()
    trainer = JukeboxTrainer(frozen("whole", 4))
    trainer.train()
    after = System.open(tmp_path / "whole" / "final").load_vqvae()
    assert after.fingerprint() == before.fingerprint()
    kept = {name: t for name, t in before.state_dict().items() if ".decoder." not in name}
    assert_same_bits({name: after.state_dict()[name] for name in kept}, kept)
    audio = torch.rand(1, 1, 2048) - 0.5
    codes = before.encode(audio)
    assert all(torch.equal(a, b) for a, b in zip(after.encode(audio), codes, strict=True))
    assert all(
        not torch.equal(after.decode(c, level), before.decode(c, level))
        for level, c in enumerate(codes)
    )
    train(frozen("parts", 2))
    resumed = JukeboxTrainer(frozen("parts", 4), resume=True)
    resumed.train()
    assert_same_bits(weights_of(resumed), weights_of(trainer))


def test_a_codec_run_on_songs_resumes_bit_for_bit(songs: Path, tmp_path: Path) -> None:
    whole = JukeboxTrainer(song_settings("vqvae", tmp_path / "whole", songs, steps=4))
    whole.train()
    train(song_settings("vqvae", tmp_path / "parts", songs, steps=2))
    settings = song_settings("vqvae", tmp_path / "parts", songs, steps=4, num_workers=2)
    resumed = JukeboxTrainer(settings, resume=True)
    resumed.train()
    assert_same_bits(weights_of(resumed), weights_of(whole))


def test_songs_that_cannot_be_used_are_listed(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "songs"
    shutil.copytree(songs, folder)
    (folder / "metadata.csv").unlink()
    (folder / "broken.wav").write_bytes(b"RIFF no more")
    write_song(folder / "short.wav", 0.1)
    said: list[str] = []
    train(song_settings("vqvae", tmp_path / "run", folder), say=said.append)
    assert "2 songs are not used, listed at the end" in said
    assert said[-3] == "2 songs were not used, or not as a whole:"
    assert said[-2].startswith("  broken.wav: ")
    assert said[-1].startswith("  short.wav: too short")
    (end,) = read_log(tmp_path / "run", "end")
    assert [song["name"] for song in end["skipped"]] == ["broken.wav", "short.wav"]


def test_other_songs_than_before_are_noticed(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "songs"
    shutil.copytree(songs, folder)
    settings = song_settings("vqvae", tmp_path / "run", folder, steps=1)
    train(settings)
    said: list[str] = []
    train(settings.with_changes(steps=2), resume=True, say=said.append)
    assert not any("not those" in text for text in said)
    (folder / "metadata.csv").unlink()
    for number in range(6, 12):
        write_song(folder / f"song_{number}.wav", 1.5, seed=number)
    train(settings.with_changes(steps=3), resume=True, say=said.append)
    assert any("not those that this run was started with" in text for text in said)


def test_a_run_goes_on_with_the_same_songs_in_another_place(songs: Path, tmp_path: Path) -> None:
    old, new, other = tmp_path / "old", tmp_path / "new", tmp_path / "other"
    shutil.copytree(songs, old)
    settings = song_settings("vqvae", tmp_path / "run", old, steps=2)
    train(settings)
    old.rename(new)
    longer = {"steps": 4}
    with pytest.raises(FileNotFoundError, match=r"old, where this run had its songs.*if they have "
                       "moved, resume with --dataset NEW_PLACE"):  # fmt: skip
        train(settings.resumed_with(longer), resume=True)
    shutil.copytree(new, other)
    for number in range(6):
        write_song(other / f"song_{number}.wav", 1.2, channels=2, seed=number)
    with pytest.raises(ValueError, match=r"other are not those in .*old that this run was started"):
        train(settings.resumed_with({**longer, "dataset": str(other)}), resume=True)
    moved = JukeboxTrainer(settings.resumed_with({**longer, "dataset": str(new)}), resume=True)
    moved.train()
    whole = JukeboxTrainer(song_settings("vqvae", tmp_path / "whole", new, **longer))
    whole.train()
    assert_same_bits(weights_of(moved), weights_of(whole))
    assert TrainingSettings.load(tmp_path / "run" / "settings.yaml").dataset == str(new)


# --- priors ---------------------------------------------------------------------------------------


def test_priors_make_a_whole_system_one_after_another(
    codec: Path, codes: Path, tmp_path: Path
) -> None:
    """Each run carries on what its model had: codec, then top prior, then upsamplers."""
    labels: dict[str, Any] = {"labels": True, "unknown_artist_share": 0.2}
    top = train(
        song_settings("prior", tmp_path / "top", codes, codec=str(codec), level=2,
                      model={**PRIOR_MODEL, **TIMING}, **labels)
    )  # fmt: skip
    middle = train(
        song_settings("prior", tmp_path / "middle", codes, codec=str(top.final), level=1,
                      model={**PRIOR_MODEL, **UPSAMPLER}, **labels)
    )  # fmt: skip
    bottom = train(
        song_settings("prior", tmp_path / "bottom", codes, codec=str(middle.final), level=0,
                      model={**PRIOR_MODEL, **UPSAMPLER}, **labels)
    )  # fmt: skip
    assert bottom.final is not None
    system = System.open(bottom.final)
    assert list(system.manifest.components) == ["vqvae", "prior_0", "prior_1", "prior_2"]
    for level in (0, 1, 2):
        processor = system.processor(level)
        assert set(processor.artists) == {"unknown", "anna, bert & co", "björk", "dora"}
        assert set(processor.genres) == {"unknown", "rock", "folk", "drum & bass"}
        config = system.load_prior(level).config
        assert config.codebook_fingerprint == system.vqvae_config().codebook_fingerprint
        assert config.is_upsampler == (level < 2)
        facts = load_training_facts(system.component_path(f"prior_{level}"))
        assert facts is not None
        assert facts.data[0].name == codes.name
        assert str(tmp_path) not in repr(facts)  # a shared file names no folder of this machine
    generation = system.manifest.generation
    assert set(generation["temperature"]) == {"0", "1", "2"}
    assert generation["total_seconds"] <= 10


def test_a_prior_learns_from_audio_what_it_learns_from_its_codes(
    songs: Path, codec: Path, codes: Path, tmp_path: Path
) -> None:
    trainers = []
    for name, dataset in (("audio", songs), ("codes", codes)):
        settings = song_settings(
            "prior",
            tmp_path / name,
            dataset,
            codec=str(codec),
            level=1,
            model={**PRIOR_MODEL, **UPSAMPLER},
            random_blend=False,
        )
        trainers.append(JukeboxTrainer(settings))
    batches = [next(trainer._batches(0, 1))[0] for trainer in trainers]
    assert torch.equal(batches[0].codes, batches[1].codes)
    assert torch.equal(batches[0].upper_codes, batches[1].upper_codes)
    for trainer in trainers:
        trainer.train()
    assert_same_bits(weights_of(trainers[0]), weights_of(trainers[1]))


@pytest.mark.parametrize("lyrics", ["encoder", "sequence"])
def test_a_prior_with_lyrics_trains_and_samples(
    codec: Path, codes: Path, tmp_path: Path, lyrics: str
) -> None:
    extra: dict[str, Any] = {
        "lyrics": lyrics, "lyric_length": 8, "lyric_loss_fraction": 0.4, **TIMING,
    }  # fmt: skip
    if lyrics == "encoder":
        extra |= {
            "attention_pattern": "factored_cross_4",
            "depth": 4,
            "lyric_encoder_width": 8,
            "lyric_encoder_attention_width": 4,
            "lyric_encoder_mlp_width": 8,
            "lyric_encoder_num_rows": 2,
        }
    else:
        extra |= {"attention_pattern": "factored_prime_dense", "depth": 16}
    settings = song_settings("prior", tmp_path, codes, codec=str(codec), level=2, labels=True,
                             model={**PRIOR_MODEL, **extra}, sample_every=3)  # fmt: skip
    result = train(settings)
    assert result.evaluation is not None
    assert result.evaluation.scalars()["lyric_bits"] > 0
    assert len(list((tmp_path / "samples" / "step_00000003").glob("take_*.wav"))) == 2
    assert System.open(tmp_path / "final").processor(2).reads_lyrics


def test_a_prior_run_resumes_with_its_own_vocabulary(
    codec: Path, codes: Path, tmp_path: Path
) -> None:
    def settings(name: str, steps: int) -> TrainingSettings:
        model = {**PRIOR_MODEL, **TIMING}
        return song_settings(
            "prior",
            tmp_path / name,
            codes,
            codec=str(codec),
            level=2,
            labels=True,
            model=model,
            steps=steps,
        )

    whole = JukeboxTrainer(settings("whole", 4))
    whole.train()
    train(settings("parts", 2))
    resumed = JukeboxTrainer(settings("parts", 4), resume=True)
    assert resumed.task.processor == whole.task.processor
    resumed.train()
    assert_same_bits(weights_of(resumed), weights_of(whole))


# --- fine-tuning ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(codec: Path, codes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system with a labelled top prior and an upsampler."""
    folder = tmp_path_factory.mktemp("base")
    top = train(
        song_settings("prior", folder / "top", codes, codec=str(codec), level=2, labels=True,
                      model={**PRIOR_MODEL, **TIMING})
    )  # fmt: skip
    middle = train(
        song_settings("prior", folder / "middle", codes, codec=str(top.final), level=1,
                      model={**PRIOR_MODEL, **UPSAMPLER})
    )  # fmt: skip
    assert middle.final is not None
    save_manifest(middle.final, replace(load_manifest(middle.final), notes=NOTES))
    return middle.final


@pytest.fixture(scope="module")
def new_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an artist that the base does not know, and without lyrics."""
    folder = labelled_songs(tmp_path_factory.mktemp("new"))
    path = folder / "metadata.csv"
    text = path.read_text(encoding="utf-8").replace("Dora", '"Ça Va, 2"')
    path.write_text(re.sub(r"la la \d", "", text), encoding="utf-8")
    return folder


@pytest.mark.parametrize("rank", [0, 2])
def test_finetuning_teaches_the_top_prior_new_artists(
    base: Path, new_songs: Path, tmp_path: Path, rank: int
) -> None:
    said: list[str] = []
    settings = song_settings("prior", tmp_path, new_songs, start_from=str(base), codec=str(base),
                             lora_rank=rank, model={}, learning_rate=1e-2)  # fmt: skip
    result = train(settings, say=said.append)
    assert any("1 new artist: Ça Va, 2" in text for text in said)
    assert result.final is not None
    old, new = System.open(base), System.open(result.final)
    assert set(new.manifest.components) == set(old.manifest.components)
    assert bool(new.manifest.adapters) == bool(rank)
    before, after = old.load_prior(2), new.load_prior(2)
    assert after.config.artist_count == before.config.artist_count + 1
    assert new.processor(2).artists["ça va, 2"] == before.config.artist_count
    old_rows = before.state_dict()["label_embedding.artist.weight"]
    new_rows = after.state_dict()["label_embedding.artist.weight"]
    if rank:
        assert torch.equal(new_rows[: len(old_rows)], old_rows)
    assert not torch.equal(
        before.state_dict()["decoder.layers.0.mlp.expand.weight"],
        after.state_dict()["decoder.layers.0.mlp.expand.weight"],
    )
    assert_same_bits(new.load_prior(1).state_dict(), old.load_prior(1).state_dict())
    assert_same_bits(new.load_vqvae().state_dict(), old.load_vqvae().state_dict())
    # It learnt names, but not to follow words; and it is called as its run is.
    assert new.manifest.notes == {"lyrics": NOTES["lyrics"]}
    assert new.title == tmp_path.name


def test_a_finetuned_upsampler_leaves_what_the_model_says_of_itself(
    base: Path, new_songs: Path, tmp_path: Path
) -> None:
    settings = song_settings("prior", tmp_path, new_songs, start_from=str(base), codec=str(base),
                             level=1, model={})  # fmt: skip
    task = JukeboxTrainer(settings).task
    assert isinstance(task, PriorTask)
    assert task.notes == NOTES


@pytest.mark.parametrize("rank", [0, 2])
def test_finetuning_resumes_bit_for_bit(
    base: Path, new_songs: Path, tmp_path: Path, rank: int
) -> None:
    def settings(name: str, steps: int) -> TrainingSettings:
        return song_settings("prior", tmp_path / name, new_songs, start_from=str(base),
                             codec=str(base), lora_rank=rank, model={}, steps=steps)  # fmt: skip

    whole = JukeboxTrainer(settings("whole", 4))
    whole.train()
    train(settings("parts", 2))
    resumed = JukeboxTrainer(settings("parts", 4), resume=True)
    resumed.train()
    assert_same_bits(weights_of(resumed), weights_of(whole))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_finetuned_model_shares_no_file_with_its_base_and_keeps_a_private_one_private(
    base: Path, codes: Path, tmp_path: Path
) -> None:
    private = tmp_path / "base"
    shutil.copytree(base, private)
    before = {}
    for path in private.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            before[path] = (path.stat().st_ino, path.stat().st_mode, path.read_bytes())
    settings = song_settings("prior", tmp_path / "run", codes, start_from=str(private),
                             codec=str(private), model={}, steps=1)  # fmt: skip
    train(settings)
    final = tmp_path / "run" / "final"
    copied = [path for path in final.rglob("*") if (private / path.relative_to(final)) in before]
    assert {path.parent.name for path in copied} >= {"vqvae", "prior_1"}
    for path in copied:
        if path.parent.name in ("vqvae", "prior_1"):
            assert path.stat().st_mode & 0o777 == 0o600
        if path.parent.name == "prior_2":  # trained just now: as any new file
            (tmp_path / "new").touch()
            assert path.stat().st_mode == (tmp_path / "new").stat().st_mode
        path.write_text("edited by a person")
    for path, (inode, mode, content) in before.items():
        assert (path.stat().st_ino, path.stat().st_mode, path.read_bytes()) == (
            inode,
            mode,
            content,
        )


def test_the_adapter_of_another_part_of_the_base_travels_with_the_result(
    base: Path, codes: Path, tmp_path: Path
) -> None:
    settings = song_settings("prior", tmp_path / "lora", codes, start_from=str(base), level=1,
                             codec=str(base), lora_rank=2, model={}, steps=1)  # fmt: skip
    adapted = train(settings).final
    settings = song_settings("prior", tmp_path / "top", codes, start_from=str(adapted), level=2,
                             codec=str(adapted), model={}, steps=1)  # fmt: skip
    final = train(settings).final
    assert final is not None
    theirs, ours = System.open(str(adapted)).load_prior(1), System.open(final).load_prior(1)
    assert_same_bits(ours.state_dict(), theirs.state_dict())


def test_the_licence_of_the_base_is_inherited(base: Path, codes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base"
    shutil.copytree(base, copy)
    manifest = (copy / "jukebox.json").read_text()
    (copy / "jukebox.json").write_text(
        manifest.replace('"components"', '"licence": "openai-noncommercial",\n  "components"')
    )
    settings = song_settings("prior", tmp_path / "run", codes, start_from=str(copy),
                             codec=str(copy), model={}, steps=1)  # fmt: skip
    train(settings)
    assert System.open(tmp_path / "run" / "final").manifest.licence == "openai-noncommercial"


def test_a_model_that_exists_keeps_its_shape(base: Path, codes: Path, tmp_path: Path) -> None:
    settings = song_settings("prior", tmp_path, codes, start_from=str(base), codec=str(base),
                             model={"width": 32})  # fmt: skip
    with pytest.raises(ValueError, match=r"model\.width cannot be changed in a model that exists"):
        JukeboxTrainer(settings)
    settings = song_settings("prior", tmp_path, codes, start_from=str(base), codec=str(base),
                             model={"attention_dropout": 0.25})  # fmt: skip
    assert JukeboxTrainer(settings).task.model.config.attention_dropout == 0.25


# --- what is refused ------------------------------------------------------------------------------


def refused(message: str, task: str, dataset: Path, tmp_path: Path, **changes: Any) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        JukeboxTrainer(song_settings(task, tmp_path / "run", dataset, **changes))
    assert not (tmp_path / "run").exists()


def test_bad_data_is_one_clear_sentence(
    songs: Path, codec: Path, codes: Path, tmp_path: Path
) -> None:
    refused("has no column 'band'", "vqvae", songs, tmp_path, artist_column="band")
    refused(
        "no song is as long|too short|none of the", "vqvae", songs, tmp_path, clip_samples=16384
    )
    refused("holds codes, but a codec learns from audio", "vqvae", codes, tmp_path)
    refused("multiple of 16, the hop length of the top level, got 1000", "vqvae", songs, tmp_path,
            clip_samples=1000)  # fmt: skip
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("holds no songs", "vqvae", empty, tmp_path)
    refused("no such|expected|there is no", "vqvae", tmp_path / "nowhere", tmp_path)


def test_bad_priors_are_one_clear_sentence(
    songs: Path, codec: Path, codes: Path, tmp_path: Path
) -> None:
    prior: dict[str, Any] = {"codec": str(codec), "level": 2}
    refused("a prior needs `codec`", "prior", codes, tmp_path)
    refused("a new prior needs `level`", "prior", codes, tmp_path, codec=str(codec))
    refused("level must be from 0 to 2, got 3", "prior", codes, tmp_path, codec=str(codec), level=3)
    refused(
        r"model\.hop_length follows from the codec and the songs: it is 16, and cannot be 8",
        "prior", codes, tmp_path, **prior, model={**PRIOR_MODEL, "hop_length": 8},
    )  # fmt: skip
    refused("no song is as long as", "prior", codes, tmp_path, **prior,
            model={**PRIOR_MODEL, "context_length": 2048})  # fmt: skip
    refused("unknown setting 'widht'. Did you mean 'width'", "prior", codes, tmp_path, **prior,
            model={**PRIOR_MODEL, "widht": 8})  # fmt: skip


def test_codes_of_another_codec_are_refused(songs: Path, codes: Path, tmp_path: Path) -> None:
    other = train(song_settings("vqvae", tmp_path / "other", songs, seed=5, steps=1)).final
    refused("not of the prior's codec: their codebook fingerprint", "prior", codes, tmp_path,
            codec=str(other), level=2)  # fmt: skip


# --- evaluation -----------------------------------------------------------------------------------


SCORING: dict[str, Any] = {"items": 6, "batch_size": 3, "device": "cpu"}


def chosen(dataset: Path, **changes: Any) -> SongSelection:
    return SongSelection(dataset=str(dataset), **changes)


def test_a_system_is_evaluated_component_by_component(base: Path, songs: Path, codes: Path) -> None:
    found = evaluate_model(
        str(base), chosen(songs), **SCORING, clip_seconds=0.5, compare_labels=True
    )
    assert list(found) == ["vqvae", "prior_1", "prior_2"]
    codec = found["vqvae"].scalars()
    assert codec["seconds"] == pytest.approx(6 * 0.496, rel=0.01)
    assert 0 < codec["level_0/perplexity"] <= 16
    top = found["prior_2"].scalars()
    assert top["bits_per_second"] == pytest.approx(top["bits_per_code"] * 4000 / 16)
    assert top["wrong_label_bits"] > 0
    from_codes = evaluate_model(str(base), chosen(codes), **SCORING)
    assert list(from_codes) == ["prior_1", "prior_2"]
    expected = found["prior_1"].scalars()["bits_per_code"]
    assert from_codes["prior_1"].scalars()["bits_per_code"] == pytest.approx(expected, rel=1e-5)


def test_only_what_training_held_out_is_evaluated(base: Path, songs: Path) -> None:
    said: list[str] = []
    everything = evaluate_model(
        str(base),
        chosen(songs),
        **{**SCORING, "items": 99},
        components=["vqvae"],
        clip_seconds=1.48,
        say=said.append,
    )
    assert said[0].startswith("Found 6 songs")
    assert everything["vqvae"].scalars()["seconds"] == pytest.approx(6 * 1.48)  # not one left out
    everything = evaluate_model(
        str(base), chosen(songs), **SCORING, components=["vqvae"], clip_seconds=0.5
    )
    held_out = evaluate_model(
        str(base),
        chosen(songs, validation_fraction=0.3),
        **SCORING,
        components=["vqvae"],
        clip_seconds=0.5,
        held_out_only=True,
    )
    assert held_out["vqvae"].scalars()["seconds"] <= everything["vqvae"].scalars()["seconds"]
    assert held_out["vqvae"].loss != everything["vqvae"].loss


def test_what_cannot_be_evaluated_is_named(base: Path, codes: Path) -> None:
    with pytest.raises(ValueError, match=r"has no prior_0; it has vqvae, prior_1, prior_2"):
        evaluate_model(str(base), chosen(codes), **SCORING, components=["prior_0"])
    with pytest.raises(ValueError, match=r"vqvae of .* can only be evaluated on songs"):
        evaluate_model(str(base), chosen(codes), **SCORING, components=["vqvae"])


def test_evaluation_is_the_same_in_training_and_after(
    songs: Path, codec: Path, codes: Path, tmp_path: Path
) -> None:
    settings = song_settings(
        "prior", tmp_path, codes, codec=str(codec), level=2, evaluation_items=6
    )
    result = train(settings)
    assert result.evaluation is not None
    after = evaluate_model(
        str(result.final),
        chosen(codes, validation_fraction=0.3),
        **SCORING,
        components=["prior_2"],
        held_out_only=True,
    )
    assert after["prior_2"].loss == pytest.approx(result.evaluation.loss, rel=1e-5)
    assert read_log(tmp_path, "evaluation")[-1]["loss"] == result.evaluation.loss


def test_loading_songs_works_in_workers(songs: Path, tmp_path: Path) -> None:
    trainer = JukeboxTrainer(song_settings("vqvae", tmp_path, songs))
    loaded = [
        list(load_steps(trainer.examples.train, trainer.task.collate, trainer.share, seed=0,
                        start=0, stop=2, num_workers=workers))
        for workers in (0, 2)
    ]  # fmt: skip
    for alone, together in zip(*loaded, strict=True):
        assert torch.equal(alone[0], together[0])


@pytest.mark.parametrize(("compiled", "seconds"), [(False, 60.0), (True, 2.0)])
def test_a_slow_first_step_is_what_a_step_takes_unless_it_was_compiled_in_it(
    tmp_path: Path, songs: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool, seconds: float
) -> None:
    trainer = JukeboxTrainer(song_settings("vqvae", tmp_path, songs))
    trainer.settings = replace(trainer.settings, compile=compiled)
    clock = iter([0.0, 60.0, 60.0, 62.0])
    monkeypatch.setattr("jukebox_hf.training.trainer.time.monotonic", lambda: next(clock))
    assert trainer.plan(timed=True).step_seconds == seconds

"""Whole models: opened from folders and the Hub's cache, checked, loaded, and safe to open."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from jukebox_hf.hub import (
    AdapterReference,
    ComponentReference,
    Manifest,
    System,
    load_manifest,
    save_manifest,
    save_system,
)
from tests.hub.checkpoints import paths_of, port_config_of, port_state, write_port
from tests.tiny import tiny_prior, tiny_prior_config, tiny_processor, tiny_system, tiny_vqvae

COMMITS = {name: f"{number:040x}" for number, name in enumerate(("a/codec", "b/upper", "c/tune"))}


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def cached(cache: Path, repo_id: str, source: Path, revision: str = "main") -> str:
    """Put a folder into a cache of the Hub as if it had been downloaded; returns its commit."""
    commit = COMMITS[repo_id]
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / revision).write_text(commit)
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        place = snapshot / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copy(path, blob)
        place.symlink_to(os.path.relpath(blob, place.parent))
    return commit


# --- folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lyrics", ["none", "encoder", "sequence"])
def test_a_saved_model_opens_and_loads(tmp_path: Path, lyrics: Any) -> None:
    folder = tiny_system(tmp_path / "model", lyrics, licence="CC0-1.0", name="tiny")
    system = System.open(folder)
    assert system.source == str(folder)
    assert system.prior_levels == (0, 1, 2)
    assert system.num_levels == 3
    assert system.manifest.licence == "CC0-1.0"
    assert system.manifest.name == "tiny"
    assert system.revisions == dict.fromkeys(("vqvae", "prior_0", "prior_1", "prior_2"))
    assert system.reference("vqvae") is None
    vqvae = system.load_vqvae()
    assert vqvae.fingerprint() == system.prior_config(1).codebook_fingerprint
    for level in system.prior_levels:
        prior = system.load_prior(level)
        assert not prior.training
        expected = tiny_prior(level, lyrics if level == 2 else "none").state_dict()
        assert all(torch.equal(each, expected[name]) for name, each in prior.state_dict().items())
        assert system.processor(level) == tiny_processor(prior.config)


def test_dtype_and_device_are_chosen_on_loading(tmp_path: Path) -> None:
    system = System.open(tiny_system(tmp_path / "model"))
    prior = system.load_prior(2, dtype=torch.bfloat16, device="cpu")
    assert prior.decoder.layers[0].mlp.expand.weight.dtype == torch.bfloat16
    assert prior.output.weight.dtype == torch.float32
    codec = system.load_vqvae(dtype="float16")
    assert codec.levels[0].codebook.vectors.dtype == torch.float32
    assert codec.fingerprint() == system.vqvae_config().codebook_fingerprint


def test_one_bare_component_is_a_model_too(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    codec = System.open(folder / "vqvae")
    assert codec.prior_levels == ()
    assert codec.num_levels == 3
    assert codec.load_vqvae().fingerprint() == codec.vqvae_config().codebook_fingerprint
    prior = System.open(folder / "prior_1")
    assert prior.prior_levels == (1,)
    assert prior.num_levels == 2
    prior.load_prior(1)
    with pytest.raises(ValueError, match="has no vqvae; it has prior_1"):
        prior.load_vqvae()


def test_parts_can_be_saved_alone(tmp_path: Path) -> None:
    prior = tiny_prior(2)
    reference = ComponentReference("vqvae", "a/codec", "main")
    save_system(tmp_path / "tune", priors={2: prior}, references={"vqvae": reference})
    manifest = load_manifest(tmp_path / "tune")
    assert list(manifest.components) == ["vqvae", "prior_2"]
    assert manifest.components["vqvae"] == reference
    assert prior.config.codebook_fingerprint is None  # what is passed in stays as it is


def test_what_does_not_belong_together_is_not_saved(tmp_path: Path) -> None:
    vqvae, prior = tiny_vqvae(), tiny_prior(2)
    other = tiny_prior(2, codebook_fingerprint="sha256:" + "0" * 64)
    for arguments, message in (
        ({"vqvae": vqvae, "priors": {2: other}}, "trained on the codes of another VQ-VAE"),
        ({"priors": {1: prior}}, "prior_1 is a prior of level 2"),
        ({"vqvae": vqvae, "priors": {2: tiny_prior(2, hop_length=64)}}, "with hop_length 64, the"),
        ({"vqvae": vqvae, "priors": {2: tiny_prior(2, codebook_size=8)}}, "codebook_size 8, the"),
        ({}, "expected at least one component to save, got none"),
        ({"vqvae": vqvae, "references": {"vqvae": ComponentReference("a")}}, "as a reference"),
        ({"priors": {2: prior}, "processors": {1: tiny_processor(prior.config)}}, "no prior here"),
        (
            {"priors": {2: prior}, "processors": {2: tiny_processor(tiny_prior_config(1))}},
            "this processor does not belong to this prior",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            save_system(tmp_path / "model", **arguments)  # type: ignore[arg-type]
        assert not (tmp_path / "model").exists()


def test_levels_that_do_not_belong_together_are_refused_before_weights(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    other = tiny_system(tmp_path / "other", seed=5)
    shutil.rmtree(folder / "prior_1")
    shutil.copytree(other / "prior_1", folder / "prior_1")
    (folder / "prior_1" / "model.safetensors").unlink()
    system = System.open(folder)
    system.prior_config(0)
    with pytest.raises(
        ValueError, match=r"prior_1: was trained on the codes of another VQ-VAE \(co"
    ):
        system.prior_config(1)
    shutil.rmtree(folder / "prior_0")
    shutil.copytree(folder / "prior_2", folder / "prior_0")
    with pytest.raises(ValueError, match="prior_0 is a prior of level 2, not 0"):
        System.open(folder).prior_config(0)


@pytest.mark.parametrize(
    ("level", "changes", "message"),
    [
        (1, {"hop_length": 16}, "was made for codes with hop_length 16, the VQ-VAE has 32"),
        (1, {"sampling_rate": 100}, "was made for codes with sampling_rate 100"),
        (1, {"upper_downsamplings": 1}, "was made for codes with upper_ratio 2, the VQ-VAE has 4"),
        (2, {"level": 5}, "prior_2 is a prior of level 5, not 2"),
    ],
)
def test_configs_are_compared(
    tmp_path: Path, level: int, changes: dict[str, Any], message: str
) -> None:
    folder = tiny_system(tmp_path / "model")
    edit_json(folder / f"prior_{level}" / "config.json", lambda content: content.update(changes))
    with pytest.raises(ValueError, match=message):
        System.open(folder).prior_config(level)


def test_a_processor_of_another_prior_is_refused(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model", "encoder")
    shutil.copy(folder / "prior_2" / "processor_config.json", folder / "prior_1")
    with pytest.raises(ValueError, match="model, prior_1: this processor does not belong to this"):
        System.open(folder).processor(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "expected the folder of a model, or a repository on the Hub|no such folder"),
        ("/nowhere/at/all", "expected the folder of a model, or a repository on the Hub"),
        ("a/b/c", "expected the folder of a model, or a repository on the Hub"),
        ("a/nothing", "there is no such folder, and no such repository in the cache"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        System.open(name, cache_dir=tmp_path)


def test_folders_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(
        ValueError, match=r"expected the jukebox\.json of a model or the config\.json"
    ):
        System.open(folder)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="found a config of model type 'gpt2'"):
        System.open(folder)
    (folder / "vqvae.pth.tar").touch()
    with pytest.raises(ValueError, match="checkpoints of the original release; convert them once"):
        System.open(folder)
    with pytest.raises(ValueError, match="a revision is only for repositories on the Hub"):
        System.open(folder, revision="main")


# --- strangers' folders -------------------------------------------------------------------------


def test_a_manifest_that_names_what_is_not_there(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    shutil.rmtree(folder / "prior_1")
    with pytest.raises(
        FileNotFoundError, match="prior_1: no such folder, but the model's manifest"
    ):
        System.open(folder).load_prior(1)
    (folder / "prior_1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected the config\.json of a component"):
        System.open(folder).load_prior(1)


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_links_cannot_leave_the_model(tmp_path: Path, linked: str) -> None:
    folder = tiny_system(tmp_path / "model")
    outside = tmp_path / "outside"
    shutil.move(folder / "vqvae", outside)
    if linked == "folder":
        (folder / "vqvae").symlink_to(outside)
    else:
        (folder / "vqvae").mkdir()
        for path in outside.iterdir():
            (folder / "vqvae" / path.name).symlink_to(path)
    with pytest.raises(ValueError, match=r"leads out of .*; it is not opened"):
        System.open(folder).vqvae_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 10**12}, "depth is 1000000000000, at most 4096 makes sense"),
        ({"width": 10**15}, "width is 1000000000000000, at most"),
        ({"depth": 4000}, "its settings contradict its tensors: depth 4000"),
        (
            {"context_length": 2**30},
            "its settings contradict its tensors: sequence_length 1073741824",
        ),
        ({"mlp_width": 10**9}, r"mlp_width 1000000000 \(tensors: 16\)"),
        ({"codebook_size": 30000}, "codebook_size 30000, the VQ-VAE has 16"),
        ({"attention_pattern": "dense"}, None),
        ({"heads": 3}, "heads must divide attention_width"),
        ({"num_rows": 10**9}, "num_rows must divide the sequence"),
        ({"wdith": 3}, "unknown setting 'wdith'. Did you mean 'width'"),
        ({"model_type": "jukebox_hf_vqvae"}, "expected model_type 'jukebox_hf_prior', found 'juke"),
        ({"quantization_config": {"quant_method": "x"}}, "has a quantization_config, which is not"),
        ({"auto_map": {"AutoModel": "harm.Model"}}, "unknown setting 'auto_map'"),
    ],
)
def test_absurd_configs_are_refused_before_memory_is_allocated(
    tmp_path: Path, changes: dict[str, Any], message: str | None
) -> None:
    folder = tiny_system(tmp_path / "model")
    edit_json(folder / "prior_2" / "config.json", lambda content: content.update(changes))
    if message is None:
        System.open(folder).load_prior(2)
        return
    with pytest.raises(ValueError, match=message):
        System.open(folder).load_prior(2)


def test_codec_configs_are_checked_likewise(tmp_path: Path) -> None:
    for changes, message in (
        ({"downsamplings": [3, 2, 10**9]}, "downsamplings is 1000000000, at most 4096"),
        ({"downsamplings": [1] * 5000}, "downsamplings has 5000 entries"),
        ({"widths": [8, 4, 4096]}, "its settings contradict its tensors: widths"),
        ({"codebook_size": 30000}, "its settings contradict its tensors: codebook_size 30000"),
    ):
        folder = tiny_system(tmp_path / "model", overwrite=True)
        edit_json(folder / "vqvae" / "config.json", lambda content, c=changes: content.update(c))
        with pytest.raises(ValueError, match=message):
            System.open(folder).load_vqvae()


def test_absurd_dilations_are_refused(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    for name, field in (("prior_0", "conditioner_dilation_growth"), ("vqvae", "dilation_growth")):
        edit_json(
            folder / name / "config.json", lambda content, f=field: content.update({f: 10**9})
        )
        system = System.open(folder)
        with pytest.raises(ValueError, match=f"{field} 1000000000 .*dilat"):
            system.load_vqvae() if name == "vqvae" else system.load_prior(0)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("prior_2", "width", 10**6),
        ("prior_2", "mlp_width", 4 * 10**6),
        ("vqvae", "widths", [4000]),
    ],
)
def test_sizes_that_a_config_claims_are_compared_before_anything_is_built_from_it(
    tmp_path: Path, name: str, field: str, value: Any
) -> None:
    folder = tiny_system(tmp_path / "model")
    value = value * 3 if isinstance(value, list) else value
    edit_json(folder / name / "config.json", lambda content: content.update({field: value}))
    system = System.open(folder)
    with pytest.raises(ValueError, match=f"contradict its tensors: {field} "):
        system.vqvae_config() if name == "vqvae" else system.prior_config(2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are a thing of POSIX")
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "processor_config.json"])
def test_a_pipe_in_a_model_is_never_opened(tmp_path: Path, file: str) -> None:
    folder = tiny_system(tmp_path / "model")
    path = folder / "prior_2" / file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"{file}: expected a plain file; it is not opened"):
        System.open(folder).component_path("prior_2")


def test_a_processor_is_read_once(tmp_path: Path) -> None:
    system = System.open(tiny_system(tmp_path / "model"))
    assert system.processor(2) is system.processor(2)


def test_missing_surplus_and_misshapen_weights_are_refused(tmp_path: Path) -> None:
    name = "decoder.layers.1.attention_norm.weight"
    for change, message in (
        (lambda tensors: tensors.pop(name), f"missing {name}"),
        (lambda tensors: tensors.update(extra=torch.ones(2)), "not expected extra"),
        (lambda tensors: tensors.update({name: torch.ones(3)}), f"of another shape {name}"),
    ):
        folder = tiny_system(tmp_path / "model", overwrite=True)
        path = folder / "prior_0" / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=message):
            System.open(folder).load_prior(0)


def test_pickles_and_adapters_beside_the_weights_are_not_used(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    weights = folder / "prior_0" / "model.safetensors"
    torch.save(load_file(weights), folder / "prior_0" / "pytorch_model.bin")
    weights.rename(folder / "kept")
    with pytest.raises(
        FileNotFoundError, match=r"expected weights in prior_0/model\.safetensors, found none"
    ):
        System.open(folder).load_prior(0)
    (folder / "kept").rename(weights)
    (folder / "prior_0" / "adapter_config.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"has an adapter_config\.json; adapters belong in a folder"
    ):
        System.open(folder).load_prior(0)


def test_an_index_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    (folder / "prior_0" / "model.safetensors").unlink()
    index = folder / "prior_0" / "model.safetensors.index.json"
    for places in ({"a": "../vqvae/model.safetensors"}, {"a": 3}, {}, None):
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(ValueError, match="expected a weight_map to files beside it"):
            System.open(folder).load_prior(0)


def test_adapters_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    adapter = AdapterReference(component="prior_2", subfolder="adapter")
    manifest = load_manifest(folder)
    save_manifest(folder, Manifest(manifest.components, adapters=[adapter]))
    System.open(folder).load_prior(0)
    with pytest.raises(
        FileNotFoundError, match="adapter: no such folder, but the model's manifest"
    ):
        System.open(folder).load_prior(2)


# --- the Hub's cache ----------------------------------------------------------------------------


def test_a_model_in_the_cache_opens_offline(tmp_path: Path) -> None:
    commit = cached(tmp_path / "cache", "a/codec", tiny_system(tmp_path / "model"))
    system = System.open("a/codec", cache_dir=tmp_path / "cache", local_files_only=True)
    assert set(system.revisions.values()) == {commit}
    assert system.reference("prior_1") == ComponentReference("prior_1", "a/codec", commit)
    assert system.load_prior(1).config.level == 1
    system.load_vqvae()
    assert system.processor(2).has_labels
    by_path = System.open(tmp_path / "cache" / "models--a--codec" / "snapshots" / commit)
    by_path.load_vqvae()  # its files are links to the cache's blobs


def test_a_model_spread_over_three_repositories(tmp_path: Path) -> None:
    whole = tiny_system(tmp_path / "model")
    cache = tmp_path / "cache"
    vqvae, priors = tiny_vqvae(), {level: tiny_prior(level) for level in range(3)}
    codec = save_system(tmp_path / "codec", vqvae=vqvae)
    commit = cached(cache, "a/codec", codec, revision="v1")
    upper = save_system(tmp_path / "upper", priors={0: priors[0], 1: priors[1]})
    cached(cache, "b/upper", upper)
    tune = save_system(
        tmp_path / "tune",
        priors={2: priors[2]},
        references={
            "vqvae": ComponentReference("vqvae", "a/codec", "v1"),
            "prior_0": ComponentReference("prior_0", "b/upper"),
            "prior_1": ComponentReference("prior_1", "b/upper", COMMITS["b/upper"]),
        },
    )
    cached(cache, "c/tune", tune)
    system = System.open("c/tune", cache_dir=cache)
    assert system.revisions == {
        "vqvae": commit,
        "prior_0": COMMITS["b/upper"],
        "prior_1": COMMITS["b/upper"],
        "prior_2": COMMITS["c/tune"],
    }
    expected = System.open(whole)
    for level in range(3):
        state = expected.load_prior(level).state_dict()
        found = system.load_prior(level).state_dict()
        assert all(torch.equal(each, state[name]) for name, each in found.items())
    assert system.load_vqvae().fingerprint() == expected.load_vqvae().fingerprint()
    assert system.reference("prior_0") == ComponentReference(
        "prior_0", "b/upper", COMMITS["b/upper"]
    )


def test_a_port_repository_is_referred_to_at_its_commit(tmp_path: Path) -> None:
    paths = paths_of("small")
    port = write_port(tmp_path / "port", port_state(paths, 2), port_config_of(paths))
    commit = cached(tmp_path / "cache", "a/codec", port)
    system = System.open("a/codec", cache_dir=tmp_path / "cache")
    assert set(system.revisions.values()) == {commit}
    reference = system.reference("vqvae")
    assert reference == ComponentReference("vqvae", "a/codec", commit)
    references = {name: system.reference(name) for name in system.manifest.components}
    save_manifest(tmp_path, Manifest(references))
    again = System.open(tmp_path, cache_dir=tmp_path / "cache")
    assert again.load_vqvae().fingerprint() == system.load_vqvae().fingerprint()
    assert again.load_prior(1).config == system.load_prior(1).config


def test_a_missing_repository_is_named(tmp_path: Path) -> None:
    tune = save_system(
        tmp_path / "tune",
        priors={2: tiny_prior(2)},
        references={"vqvae": ComponentReference("vqvae", "a/codec")},
    )
    system = System.open(tune, cache_dir=tmp_path / "cache")
    assert system.prior_levels == (2,)
    with pytest.raises(
        OSError, match=r"vqvae of .*tune is in another repository: a/codec: there is"
    ):
        system.prior_config(2)
    cached(tmp_path / "cache", "a/codec", tiny_system(tmp_path / "model"))
    with pytest.raises(OSError, match=r"has no revision v2|no such repository in the cache"):
        System.open("a/codec", revision="v2", cache_dir=tmp_path / "cache")

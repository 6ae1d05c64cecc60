"""Configs without transformers: what they read, refuse and become is what transformers' do."""

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig

from jukebox_hf.hub import built_in_model
from jukebox_hf.hub.loading import read_config, transformers_config
from jukebox_hf.plain_config import BASE_KEYS, TRANSFORMERS_FIELDS
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.presets import PRIOR_PRESETS
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.vqvae_config import PRESETS, VQVAEConfig

Kinds = tuple[type[Any], type[Any]]
PRIOR: Kinds = (PriorConfig, JukeboxPriorConfig)
VQVAE: Kinds = (VQVAEConfig, JukeboxVQVAEConfig)
ALL_PRESETS = [*((PRIOR, name) for name in PRIOR_PRESETS), *((VQVAE, name) for name in PRESETS)]
ODD_VALUES = (None, True, 5, -1.5, "x", "torch.float16", [], ["a"], {}, {"1": "x"}, {"x": 1}, 1e14)


@pytest.mark.parametrize(("kinds", "name"), ALL_PRESETS)
def test_a_preset_is_the_same_with_and_without_transformers(kinds: Kinds, name: str) -> None:
    plain, pretrained = (kind.preset(name) for kind in kinds)
    made = kinds[1].of(plain)
    assert type(made) is kinds[1]
    assert made.to_json_string() == pretrained.to_json_string()
    assert made == pretrained
    assert plain == pretrained  # the same network, in either direction
    assert pretrained == plain
    assert plain.plain_fields() == pretrained.plain_fields()
    assert kinds[1].of(pretrained) is pretrained
    for again in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        assert again == plain
    plain.sampling_rate += 1
    assert plain != pretrained


def saved_configs() -> Iterator[tuple[Kinds, Path]]:
    for folder in sorted(built_in_model().iterdir()):
        if folder.is_dir() and (folder / "config.json").is_file():
            yield (VQVAE if folder.name == "vqvae" else PRIOR), folder


@pytest.mark.parametrize(("kinds", "folder"), list(saved_configs()))
def test_a_saved_config_loses_nothing_when_it_is_read_without_transformers(
    kinds: Kinds, folder: Path, tmp_path: Path
) -> None:
    plain = read_config(folder, kinds[0])
    assert type(plain) is kinds[0]
    found, saved = plain.to_dict(), json.loads((folder / "config.json").read_text())
    assert {**found, **saved} == found
    for name in found.keys() - saved.keys():  # what came after it was saved is as it was without
        assert found[name] == getattr(kinds[0](), name)
    pretrained = kinds[1].from_pretrained(folder)
    assert transformers_config(plain) == pretrained
    written = []
    for config in (transformers_config(plain), pretrained):
        config.save_pretrained(tmp_path)
        written.append((tmp_path / "config.json").read_bytes())
    assert written[0] == written[1]
    after = json.loads(written[0]) | {"transformers_version": saved["transformers_version"]}
    assert after == saved | {name: found[name] for name in found.keys() - saved.keys()}


def outcome(folder: Path, kind: type[Any]) -> str | None:
    """What reading the config in a folder says, if it is refused."""
    try:
        read_config(folder, kind)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kinds", [PRIOR, VQVAE])
def test_every_key_of_a_file_is_taken_or_refused_as_transformers_does(
    kinds: Kinds, tmp_path: Path
) -> None:
    plain, pretrained = kinds
    path, refused, taken = tmp_path / "config.json", 0, 0
    own = [entry.name for entry in fields(plain)]
    for name in [*own, *TRANSFORMERS_FIELDS, *BASE_KEYS, "depht", "num_labels", "per_layer_config"]:
        for value in ODD_VALUES:
            path.write_text(json.dumps({"model_type": plain.model_type, name: value}))
            found = outcome(tmp_path, plain)
            assert found == outcome(tmp_path, pretrained), f"{name}: {value!r}"
            refused, taken = refused + (found is not None), taken + (found is None)
    assert refused > taken > 100


def test_every_field_of_transformers_is_known() -> None:
    assert {entry.name for entry in fields(PreTrainedConfig)} <= TRANSFORMERS_FIELDS


def test_a_dtype_may_be_written_as_torch_does(tmp_path: Path) -> None:
    content = {"model_type": PriorConfig.model_type, "torch_dtype": "torch.bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = transformers_config(read_config(tmp_path, PriorConfig))
    assert config.dtype == JukeboxPriorConfig(dtype="torch.bfloat16").dtype == torch.bfloat16


def test_a_model_of_transformers_has_a_config_of_transformers() -> None:
    network = PriorNetwork(PriorConfig())
    prior = JukeboxPrior.of(network)
    assert isinstance(prior.config, JukeboxPriorConfig)
    assert prior.config == network.config


@pytest.mark.parametrize("kind", [PriorConfig, VQVAEConfig])
def test_a_plain_config_is_checked_at_every_assignment(kind: type[Any]) -> None:
    config = kind()
    with pytest.raises(ValueError, match=r"'sampling_rate' expected int, got str"):
        config.sampling_rate = "44100"
    assert config.sampling_rate == 44100

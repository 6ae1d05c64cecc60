"""One component from its folder: config first, then the headers of its weights, then the weights.

A folder may be a stranger's. Nothing is unpickled, no code is run, and a config that describes a
model of another size than its weights have is refused before memory is allocated.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jukebox_hf.hub.architecture import (
    check_dilations,
    check_measures,
    check_numbers,
    check_shapes,
    expected_shapes,
    measure_prior,
    measure_vqvae,
)
from jukebox_hf.hub.tensor_files import open_tensors, read_headers
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from jukebox_hf.hub.tensor_files import StoredTensor
    from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
    from jukebox_hf.prior.network import PriorNetwork
    from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
    from jukebox_hf.vqvae.network import VQVAENetwork

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SHARD = re.compile(r"[\w.-]+\.safetensors")
# transformers would follow the first to other repositories, and let the second change the weights.
FORBIDDEN_FILE, FORBIDDEN_SETTING = "adapter_config.json", "quantization_config"
# What saved configs have beside their fields; its values need no library to be looked at.
USUAL_KEYS = {"architectures", "dtype", "model_type", "torch_dtype", "transformers_version"}

NetworkT = TypeVar("NetworkT", "VQVAENetwork", "PriorNetwork")
ConfigT = TypeVar("ConfigT", VQVAEConfig, PriorConfig)


def read_config(folder: Path, config_class: type[ConfigT]) -> ConfigT:
    """The config of a component.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is of another kind, or makes no sense.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: expected the config.json of a component, found none")
    content = read_json(path)
    expected = config_class.model_type
    if content.get("model_type") != expected:
        raise ValueError(
            f"{path}: expected model_type {expected!r}, found {content.get('model_type')!r:.80}"
        )
    if FORBIDDEN_SETTING in content:
        raise ValueError(f"{path}: has a {FORBIDDEN_SETTING}, which is not supported here")
    check_numbers(content, str(path))
    try:
        config = config_class(**content)
        if not config.beside.keys() <= USUAL_KEYS:
            transformers_config(config)  # what it keeps besides is for transformers to judge
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def transformers_config(
    config: VQVAEConfig | PriorConfig,
) -> JukeboxVQVAEConfig | JukeboxPriorConfig:
    """The same config as models of transformers have it, and as it is written."""
    from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
    from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig

    if isinstance(config, VQVAEConfig):
        return JukeboxVQVAEConfig.of(config)
    return JukeboxPriorConfig.of(config)


def check_weights(folder: Path, config: VQVAEConfig | PriorConfig) -> None:
    """Raise `ValueError` unless the safetensors in `folder` hold exactly what `config` describes.

    Reads headers only.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        for name, header in read_headers(path).items():
            if name in shapes:
                raise ValueError(f"{path}: holds {name}, which another file holds too")
            shapes[name] = header.shape
    check_sizes(config, shapes, str(folder))
    check_shapes(expected_shapes(config), shapes, str(folder))


def check_sizes(
    config: VQVAEConfig | PriorConfig,
    shapes: Mapping[str, tuple[int, ...]],
    source: str,
) -> None:
    """Raise `ValueError` if a config claims other sizes than tensors have; builds nothing."""
    if isinstance(config, VQVAEConfig):
        measured = measure_vqvae(shapes, source)
    else:
        measured = measure_prior(shapes, source)
    check_measures(config, measured, source)
    check_dilations(config, source)


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in a folder; `FileNotFoundError` if it has none."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if not index.is_file():
        raise FileNotFoundError(f"{folder}: expected weights in {SINGLE} or {INDEX}, found neither")
    return [folder / name for name in shard_names(index)]


def shard_names(index: Path) -> list[str]:
    """The names of the files that an index distributes weights over.

    Raises:
        ValueError: if it is damaged, or names files elsewhere or of another kind.
    """
    places = read_json(index).get("weight_map")
    names = list(places.values()) if isinstance(places, Mapping) else []
    if not names or not all(isinstance(name, str) and SHARD.fullmatch(name) for name in names):
        raise ValueError(f"{index}: expected a weight_map to files beside it, all .safetensors")
    return sorted(set(names))


def load_network(
    network_class: Callable[..., NetworkT],
    folder: Path,
    config: ConfigT,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | str | None,
    **parts: Any,
) -> NetworkT:
    """Load a network whose config was read by `read_config`, in evaluation mode.

    It is built without memory; then each tensor that it has is read, converted and put on the
    device, one after the other. `parts` says that only a part is wanted: `num_layers` of a prior.

    Args:
        dtype: None: float32, "auto": as stored. What is float32 always stays so.

    Raises:
        ValueError: if weights are missing, left over, or do not fit the config.
    """
    from jukebox_hf.layers import hollow

    if (folder / FORBIDDEN_FILE).exists():
        raise ValueError(
            f"{folder}: has an {FORBIDDEN_FILE}; adapters belong in a folder of their own"
        )
    check_weights(folder, config)
    with hollow():
        network: Any = network_class(copy.deepcopy(config), **parts)
    stored = {
        name: tensor
        for path in weight_files(folder)
        for name, tensor in open_tensors(path).tensors.items()
    }
    network.to(_dtype(dtype, network, stored))
    empty = network.state_dict()
    state = {
        name: tensor.read().to(device or "cpu", empty[name].dtype)
        for name, tensor in stored.items()
        if name in empty
    }
    for name, stands_for in network.tied_weights.items():
        state[name] = state[stands_for]
    network.load_state_dict(state, assign=True)
    network.tie()
    return cast("NetworkT", network.eval())


def _dtype(
    dtype: torch.dtype | str | None, network: nn.Module, stored: Mapping[str, StoredTensor]
) -> torch.dtype:
    """The dtype to load weights in that need not be float32.

    As stored is what matrices and kernels are stored as: their biases may be float32 beside them.
    """
    import torch

    from jukebox_hf.precision import torch_dtype

    if dtype == "auto":
        free = copy.deepcopy(network).to(torch.float16).state_dict()
        matrices = (name for name, each in free.items() if each.ndim >= 2)
        names = (name for name in matrices if name in stored and free[name].dtype == torch.float16)
        return next((stored[name].dtype for name in names), torch.float32)
    if isinstance(dtype, str):
        return torch_dtype(dtype)
    return torch.float32 if dtype is None else dtype

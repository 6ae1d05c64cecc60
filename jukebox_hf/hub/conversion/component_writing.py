"""One opened and checked component of an older checkpoint to a folder of ours."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.hub.conversion.recognising import Component
from jukebox_hf.hub.conversion.safetensors_writing import PlannedTensor, write_weights
from jukebox_hf.hub.conversion.tensor_names import is_linear_weight
from jukebox_hf.hub.loading import transformers_config
from jukebox_hf.hub.tensor_files import StoredTensor
from jukebox_hf.precision import DTYPES, torch_dtype
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.codebook import codebook_fingerprint
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

KEEP = "keep"
DTYPE_CHOICES = (KEEP, *DTYPES)
Config = VQVAEConfig | PriorConfig
OUTPUT, EMBEDDING = "output.weight", "decoder.embedding.weight"


class ConvertedComponent(NamedTuple):
    """One component as it was written; `dtype` is that of its linear weights."""

    source: str
    config: Config
    num_parameters: int
    num_bytes: int
    dtype: str


def stored_fingerprint(component: Component, config: VQVAEConfig) -> str | None:
    """The fingerprint of the codebooks of a VQ-VAE that is still on disk in its old form."""
    if not config.use_codebook:
        return None
    return codebook_fingerprint(
        component.tensors[f"levels.{level}.codebook.vectors"].read()
        for level in range(config.num_levels)
    )


def plan_tensors(component: Component, config: Config, *, dtype: str) -> dict[str, PlannedTensor]:
    """What a component will hold: every tensor of the source once, in our shapes and dtypes.

    Raises:
        ValueError: if an output layer that should be tied is not, or a tensor holds no floats.
    """
    tensors = dict(component.tensors)
    if isinstance(config, VQVAEConfig):
        planned = {name: _plan(name, tensor, component, dtype) for name, tensor in tensors.items()}
        return planned | _codebook_statistics(config)
    if config.tie_word_embeddings and OUTPUT in tensors:
        _check_tied(tensors.pop(OUTPUT), tensors[EMBEDDING], component.source)
    return {name: _plan(name, tensor, component, dtype) for name, tensor in tensors.items()}


def write_component(
    folder: Path,
    config: Config,
    tensors: Mapping[str, PlannedTensor],
    *,
    source: str,
    shard_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> ConvertedComponent:
    """Write config and weights into `folder`, which exists; tensors pass through memory one by one.

    Raises:
        ValueError: if float16 cannot hold a weight, or a source changed meanwhile.
    """
    num_bytes = write_weights(folder, tensors, shard_bytes=shard_bytes, progress=progress)
    stored = _linear_dtype(tensors)
    is_codec = isinstance(config, VQVAEConfig)
    written = transformers_config(config)
    written.architectures = ["JukeboxVQVAE" if is_codec else "JukeboxPrior"]
    written.dtype = stored
    written.save_pretrained(folder)
    num_parameters = sum(
        torch.Size(tensor.shape).numel() for name, tensor in tensors.items() if _is_parameter(name)
    )
    return ConvertedComponent(source, config, num_parameters, num_bytes, stored)


def _is_parameter(name: str) -> bool:
    return ".codebook." not in name


def _plan(name: str, tensor: StoredTensor, component: Component, dtype: str) -> PlannedTensor:
    """How one tensor will be stored: linear weights in the chosen dtype, all else in float32."""
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{component.source}: {name} holds {tensor.dtype}, expected floats")
    target = torch.float32
    if is_linear_weight(name):
        kept = tensor.dtype if tensor.dtype in DTYPES.values() else torch.float32
        target = kept if dtype == KEEP else torch_dtype(dtype)
    transposed = name in component.transposed
    shape = tensor.shape[::-1] if transposed else tensor.shape
    where = f"{component.source}: {name}"
    return PlannedTensor(shape, target, partial(_read, tensor, target, transposed, where))


def _read(stored: StoredTensor, dtype: torch.dtype, transposed: bool, where: str) -> Tensor:
    tensor = stored.read()
    if transposed:
        tensor = tensor.t()
    if dtype == tensor.dtype:
        return tensor
    converted = tensor.to(dtype)
    if dtype == torch.float16 and not converted.isfinite().all() and tensor.isfinite().all():
        raise ValueError(
            f"{where} has values up to {tensor.abs().max():.3g}, beyond what float16 holds; "
            "choose bfloat16 or float32"
        )
    return converted


def _check_tied(output: StoredTensor, embedding: StoredTensor, source: str) -> None:
    if not torch.equal(output.read(), embedding.read()):
        raise ValueError(
            f"{source}: its settings say that the output layer shares the weights of the code "
            "embedding, but the two differ"
        )


def _codebook_statistics(config: VQVAEConfig) -> dict[str, PlannedTensor]:
    """The moving averages of training, which the older layouts lack.

    Zero counts mean "never collected": the first training step then assumes that all codes had been
    used evenly, as the original did when it continued from a checkpoint.
    """
    if not config.use_codebook:
        return {}
    size, dim = config.codebook_size, config.codebook_dim
    planned = {}
    for level in range(config.num_levels):
        prefix = f"levels.{level}.codebook"
        planned[f"{prefix}.sums"] = _constant((size, dim), 0.0)
        planned[f"{prefix}.counts"] = _constant((size,), 0.0)
        planned[f"{prefix}.initialized"] = _constant((), True)
    return planned


def _constant(shape: tuple[int, ...], value: float | bool) -> PlannedTensor:
    dtype = torch.bool if isinstance(value, bool) else torch.float32
    return PlannedTensor(shape, dtype, partial(torch.full, shape, value, dtype=dtype))


def _linear_dtype(planned: Mapping[str, PlannedTensor]) -> str:
    """What most linear weights are stored in; float32 without any."""
    found = [tensor.dtype for name, tensor in planned.items() if is_linear_weight(name)]
    dtype = max(found, key=found.count, default=torch.float32)
    return next(name for name, each in DTYPES.items() if each == dtype)

"""One layer of a prior at a time from its files: for priors larger than the memory.

A model and a level go in. `load_first` gives the prior with its first layer alone; `put` reads
another layer into its place. Only the tensors of that layer are read.
"""

import torch
from torch import nn

from jukebox_hf.generation.weights import loading_dtype, prepare
from jukebox_hf.hub.loading import check_weights, weight_files
from jukebox_hf.hub.system import System
from jukebox_hf.hub.tensor_files import StoredTensor, open_tensors
from jukebox_hf.layers import hollow
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.transformer import TransformerLayer


class LayerFiles:
    """The layers of the prior of one level, on disk.

    Raises:
        ValueError: for a model whose prior has an adapter, which is merged into whole priors only.
    """

    def __init__(self, system: System, level: int, precision: str, device: torch.device) -> None:
        name = f"prior_{level}"
        if system.adapter_place(name) is not None:
            raise ValueError(
                f"{system.source}: {name} has an adapter, so it cannot be read layer by layer; "
                "load it whole"
            )
        self._system = system
        self._level = level
        self._precision = precision
        self._device = device
        self._tensors: dict[str, StoredTensor] = {}

    def load_first(self) -> JukeboxPrior:
        """The prior with its embeddings and its first layer alone."""
        name = f"prior_{self._level}"
        folder = self._system.component_path(name)
        check_weights(folder, self._system.prior_config(self._level))
        for path in weight_files(folder):
            self._tensors |= open_tensors(path).tensors
        prior = self._system.load_prior(
            self._level, device="cpu", dtype=loading_dtype(self._precision), num_layers=1
        )
        nn.Module.to(prior, self._device)
        return prepare(prior, self._precision, self._device)

    def put(self, prior: PriorNetwork, number: int) -> None:
        """Put a layer, counted from 1, in the place of the one that the prior holds."""
        shape = prior.decoder.shape
        with hollow():
            layer = TransformerLayer(shape.layer_kinds[number - 1], shape)
        prefix = f"decoder.layers.{number - 1}."
        dtype = loading_dtype(self._precision)
        state = {
            name: self._tensors[prefix + name].read().to(self._device, _dtype_of(name, dtype))
            for name in layer.state_dict()
        }
        layer.load_state_dict(state, assign=True)
        prior.decoder.layers[0] = layer.eval().requires_grad_(False)
        prepare(prior, self._precision, self._device)


def _dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if "norm" in name else dtype

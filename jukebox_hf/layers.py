"""What networks need of transformers, without it, and how they are built without memory.

transformers' models take two seconds to import; who only samples from one needs torch alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def hollow() -> Iterator[None]:
    """Within it, modules are built on the meta device, and nothing is drawn for their weights.

    Drawing numbers for tensors without memory would import torch's compiler, which takes a second.
    """
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """Functions of `torch.nn.init` do nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


class CheckpointedLayer(nn.Module):
    """A layer that training may compute twice instead of keeping what is inside it (Chen et al.
    2016, arXiv:1604.06174), as transformers' `GradientCheckpointingLayer`.

    `gradient_checkpointing_enable` of a model sets both attributes. Subclasses compute; hooks on
    the layer run once, outside.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any] | None = None

    def forward(self, *inputs: Any) -> Any:
        """As `compute`."""
        if self.gradient_checkpointing and self.training:
            assert self._gradient_checkpointing_func is not None
            return self._gradient_checkpointing_func(self.compute, *inputs)
        return self.compute(*inputs)

    def compute(self, *inputs: Any) -> Any:
        """What the layer makes of its inputs."""
        raise NotImplementedError

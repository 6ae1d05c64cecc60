"""A run on disk: everything that is needed to go on bit for bit, whole or not there.

A checkpoint is a folder `step_N`: the model as `from_pretrained` reads it, the averaged weights,
the state of the optimizer (all safetensors), and `state.json`. It is filled under another name,
flushed to disk and then renamed, so that neither `kill -9` nor a full disk leaves a broken one. The
position in the data and all randomness follow from the step (`batches`, `trainer.seed_step`).
"""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from jukebox_hf.files import new_folder, sweep_leftovers
from jukebox_hf.hub.adapters import ADAPTER_WEIGHTS, NEW_ROWS, live_names
from jukebox_hf.records import REQUIRED, from_json, read_json, to_json
from jukebox_hf.training.optimization import AveragedWeights, trainable
from jukebox_hf.words import shorten

FORMAT_VERSION = 1
MOST_STEPS, LARGEST_SCALE = 10**15, 2.0**64
FOLDER = re.compile(r"step_(\d+)")
STATE, AVERAGES, OPTIMIZER = "state.json", "averages.safetensors", "optimizer.safetensors"
MODEL, MODEL_INDEX = "model.safetensors", "model.safetensors.index.json"
SEPARATOR = "|"  # between what the optimizer calls a state and the parameter it belongs to


@dataclass
class RunState:
    """The few numbers of a run that are no tensors.

    Attributes:
        step: optimizer steps done.
        loss_scale: of float16 gradients.
        average_updates: of the averaged weights.
        failed_steps: whose gradients were not finite, in all.
        best_loss: of the evaluations so far.
        best_step: when it was.
        data_fingerprint: of the songs that it learns from.
    """

    step: int = field(metadata=REQUIRED, default=0)
    loss_scale: float = field(metadata=REQUIRED, default=1.0)
    average_updates: int = field(metadata=REQUIRED, default=0)
    failed_steps: int = field(metadata=REQUIRED, default=0)
    best_loss: float | None = field(metadata=REQUIRED, default=None)
    best_step: int | None = field(metadata=REQUIRED, default=None)
    data_fingerprint: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for numbers that no run has."""
        for name in ("step", "average_updates", "failed_steps", "best_step"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < MOST_STEPS:
                raise ValueError(f"{name} must be from 0 to {MOST_STEPS}, got {shorten(value)}")
        if not 0 < self.loss_scale <= LARGEST_SCALE:
            raise ValueError(
                f"loss_scale must be above 0 and at most {LARGEST_SCALE:.0f}, got {self.loss_scale}"
            )


class SaveError(OSError):
    """A checkpoint could not be written; what was there before is intact."""


def checkpoint_name(step: int) -> str:
    """The folder of a step's checkpoint; names sort like steps.

    >>> checkpoint_name(250)
    'step_00000250'
    """
    return f"step_{step:08d}"


def find_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))


@contextlib.contextmanager
def durable_folder(target: Path, *, usual_permissions: bool = True) -> Iterator[Path]:
    """A temporary folder beside `target`; filled without error, it takes the place of `target`.

    Arguments are those of `files.new_folder`.

    Raises:
        SaveError: if the disk is full or refuses; `target` is then what it was.
    """
    try:
        with new_folder(target, usual_permissions=usual_permissions) as temporary:
            yield temporary
    except (OSError, SafetensorError) as error:
        raise SaveError(f"could not write {target}: {error}") from error


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written, and put back what they had set aside."""
    sweep_leftovers(folder, everybody=True)


def rotate(folder: Path, keep: int) -> None:
    """Remove all but the latest `keep` checkpoints."""
    for old in find_checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def save_checkpoint(
    target: Path,
    *,
    write: bool,
    model: nn.Module,
    save_model: Callable[[Path, Mapping[str, Tensor]], None],
    optimizer: torch.optim.Optimizer,
    averages: AveragedWeights | None,
    state: RunState,
) -> None:
    """Write a checkpoint. Every process must call it; the one with `write` writes.

    `save_model` writes the model's folder from a complete state dict.
    """
    weights = whole_state(model)
    moments = optimizer_tensors(model, optimizer)
    averaged = {} if averages is None else whole_tensors(averages.averages)
    if not write:
        return
    if averages is not None:
        state.average_updates = averages.num_updates
    with durable_folder(target) as folder:
        save_model(folder, weights)
        save_file(moments, folder / OPTIMIZER)
        if averages is not None:
            save_file(averaged, folder / AVERAGES)
        content = to_json(state, version=FORMAT_VERSION)
        (folder / STATE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_state(folder: Path) -> RunState:
    """The numbers of a checkpoint.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are damaged, or from a newer version.
    """
    path = folder / STATE
    return from_json(RunState, read_json(path), str(path), version=FORMAT_VERSION)


def load_checkpoint(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: AveragedWeights | None,
) -> RunState:
    """Put everything back as it was. Every process must call it.

    Raises:
        ValueError: if the checkpoint belongs to another model or run.
    """
    state = load_state(folder)
    load_whole_state(model, read_weights(folder), str(folder))
    load_optimizer_tensors(model, optimizer, read_state_tensors(folder / OPTIMIZER), str(folder))
    if averages is not None:
        found = read_state_tensors(folder / AVERAGES)
        _require_names(averages.averages, found, f"{folder / AVERAGES}")
        for name, average in averages.averages.items():
            average.copy_(placed_like(found[name], average))
        averages.num_updates = state.average_updates
    return state


# --- tensors, of which a process may hold a part only ---------------------------------------------


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU, contiguous; of a sharded one every process must ask."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().contiguous()


def whole_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same for tensors by name."""
    return {name: whole(tensor).clone() for name, tensor in tensors.items()}


def placed_like(tensor: Tensor, example: Tensor) -> Tensor:
    """`tensor` on the device of `example`, and cut up as that is."""
    if isinstance(example, DTensor):
        mesh = example.device_mesh
        return distribute_tensor(tensor.to(mesh.device_type), mesh, example.placements)
    return tensor.to(example.device)


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """The complete state dict of a model, of an adapted one what it adds; shared tensors once."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in _changing(model).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = whole(tensor).clone()
    return found


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """Buffers and parameters by name; of an adapted model, whose base is elsewhere, what learns."""
    adapted = hasattr(model, "peft_config")
    return {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if not adapted or tensor.requires_grad or not isinstance(tensor, nn.Parameter)
    }


@torch.no_grad()
def load_whole_state(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy a complete state dict into a model, in place."""
    own = _changing(model)
    shared: dict[int, Tensor] = {}
    for name, tensor in own.items():
        if name in tensors:
            shared.setdefault(id(tensor), tensors[name])
    missing = [name for name, tensor in own.items() if id(tensor) not in shared]
    unexpected = [name for name in tensors if name not in own]
    if missing or unexpected:
        raise ValueError(
            f"{source}: belongs to another model: {len(missing)} tensors are missing "
            f"({', '.join(missing[:3])}), {len(unexpected)} left over ({', '.join(unexpected[:3])})"
        )
    for name, tensor in own.items():
        found = shared[id(tensor)]
        if found.shape != tensor.shape:
            raise ValueError(
                f"{source}: belongs to another model: {name} has shape {tuple(found.shape)}, "
                f"expected {tuple(tensor.shape)}"
            )
        tensor.copy_(placed_like(found, tensor))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers of each parameter, by name."""
    found: dict[str, Tensor] = {}
    for name, parameter in trainable(model):
        for kind, value in optimizer.state.get(parameter, {}).items():
            found[f"{kind}{SEPARATOR}{name}"] = whole(torch.as_tensor(value)).clone()
    return found


def load_optimizer_tensors(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    source: str,
) -> None:
    """Give the optimizer back what it remembered."""
    parameters = dict(trainable(model))
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(SEPARATOR)
        if name not in parameters:
            raise ValueError(
                f"{source}: belongs to another run: it remembers {name}, which is fixed"
            )
        example = parameters[name]
        is_moment = value.shape == example.shape and value.ndim > 0
        states.setdefault(name, {})[kind] = placed_like(value, example) if is_moment else value
    optimizer.state.clear()
    for name, state in states.items():
        optimizer.state[parameters[name]] = state


def read_state_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file.

    Raises:
        ValueError: if it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: expected tensors of a checkpoint: {error}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's model, in one file or several, or of its adapter."""
    index = folder / MODEL_INDEX
    if (folder / ADAPTER_WEIGHTS).is_file():
        rows = read_state_tensors(folder / NEW_ROWS) if (folder / NEW_ROWS).is_file() else {}
        grown = {name.replace(".weight", ".rows.weight"): tensor for name, tensor in rows.items()}
        return {**live_names(read_state_tensors(folder / ADAPTER_WEIGHTS)), **grown}
    if not index.is_file():
        return read_state_tensors(folder / MODEL)
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(_is_file_name(place) for place in places.values()):
        raise ValueError(f"{index}: expected a weight_map from tensors to files of this folder")
    return {
        name: tensor
        for file in sorted(set(places.values()))
        for name, tensor in read_state_tensors(folder / file).items()
    }


def _is_file_name(place: Any) -> bool:
    return isinstance(place, str) and Path(place).name == place


def _require_names(expected: Mapping[str, Any], found: Mapping[str, Any], source: str) -> None:
    if set(expected) != set(found):
        differing = sorted(set(expected) ^ set(found))
        raise ValueError(f"{source}: belongs to another run; {', '.join(differing[:3])} differ")

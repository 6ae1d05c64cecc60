"""How weights move: parameter groups, optimizers, the learning rate of a step, averaged weights.

A model and typed settings go in; the trainer's loop calls what comes out once per step. The recipe
is that of Dhariwal et al. 2020 (arXiv:2005.00341, appendix B) and its code, unless a setting says
otherwise.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from jukebox_hf.training.settings import OptimizerName, ScheduleName


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups: weights of layers, which decay, and all the rest.

    Norms, embedding tables and biases do not decay: decay would pull what is rarely used, such as
    the row of a rare artist, towards zero. A shared weight counts where it is first found.
    """
    decaying: list[nn.Parameter] = []
    constant: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        is_table = isinstance(module, nn.Embedding | nn.LayerNorm)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            keeps = is_table or name.endswith("bias") or parameter.ndim < 2
            (constant if keeps else decaying).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": constant, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    model: nn.Module,
    name: OptimizerName,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """The optimizer called `name` over the trainable parameters of `model`.

    "adamw" decays the weights of layers only (`parameter_groups`); "adam_2020" decays everything,
    as the original release did.
    """
    if name == "adamw":
        groups = parameter_groups(model, weight_decay)
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Adam2020(
        trainable, lr=learning_rate, betas=betas, eps=epsilon, weight_decay=weight_decay
    )


class Adam2020(torch.optim.Optimizer):
    """Adam as the original release ran it, to match its training curves.

    Two differences from AdamW: `eps` is added to the square root *before* bias correction, and
    weight decay is multiplied by the bias-corrected step size rather than by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step over all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        steps = state["step"].item()
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step_size = group["lr"] * math.sqrt(1 - beta2**steps) / (1 - beta1**steps)
        update = mean / square.sqrt().add_(group["eps"])
        update.add_(parameter, alpha=group["weight_decay"])
        parameter.sub_(update, alpha=step_size)


def learning_rate_factor(
    step: int,
    *,
    schedule: ScheduleName,
    warmup_steps: int,
    decay_start: int = 0,
    decay_steps: float = 0,
    decay_factor: float = 1.0,
) -> float:
    """What the learning rate of a step is multiplied with.

    Args:
        step: number of the step. The original counts from 0, where the factor is 0; the trainer
            counts from 1, so that no step is lost.
        schedule: "constant"; "steps", times `decay_factor` after every `decay_steps`; "linear" and
            "cosine", from 1 at `decay_start` to `decay_factor` (linear: to 0) in `decay_steps`.
        warmup_steps: the factor rises linearly over so many steps, under every schedule.

    >>> [learning_rate_factor(step, schedule="linear", warmup_steps=2, decay_start=4, decay_steps=4)
    ...  for step in range(9)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    warmup = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    if schedule == "constant":
        return warmup
    if schedule == "steps":
        return float(decay_factor ** (step // decay_steps)) * warmup
    gone = max(0, step - decay_start) / decay_steps
    if schedule == "linear":
        return warmup * max(0.0, 1 - gone)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))
    return warmup * (decay_factor + (1 - decay_factor) * fall)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate` for all groups from now on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def default_ema_decay(batch_size: int) -> float:
    """The decay of averaged weights for so many examples per step: the original's formula.

    The average then remembers about 8,000 examples, whatever the batch size.

    >>> default_ema_decay(8)
    0.999
    """
    return max(0.0, 1 - batch_size / 8 / 1000)


class AveragedWeights:
    """Moving averages of the trainable parameters, in float32: what is evaluated and exported.

    The decay of update `t` is `min(decay, (1 + t) / (10 + t))`, so that a short run does not export
    its random start. Buffers are not averaged: a codebook already is a moving average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {decay}")
        self.decay = decay
        self.num_updates = 0
        self.averages = {
            name: parameter.detach().float().clone() for name, parameter in trainable(model)
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the averages towards the present weights; call once after every step."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        for name, parameter in trainable(model):
            self.averages[name].lerp_(parameter.detach().float(), 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside the `with` block the model has the averaged weights; afterwards its own again."""
        own: list[tuple[nn.Parameter, Tensor]] = []
        try:
            with torch.no_grad():
                for name, parameter in trainable(model):
                    own.append((parameter, parameter.detach().clone()))
                    parameter.copy_(self.averages[name])
            yield
        finally:
            with torch.no_grad():
                for parameter, weights in own:
                    parameter.copy_(weights)


def trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that training changes, shared ones once."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter

"""Short ways to plan and make tiny pieces."""

from typing import Any

import torch
from torch import Tensor

from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.plan import Plan, make_plan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System


def plan_of(
    system: System, takes: int | dict[int, Prompt] = 1, *, seconds: float = 0.6, **settings: Any
) -> Plan:
    """A plan of some takes of one length, or of these prompts."""
    prompts = takes
    if isinstance(prompts, int):
        prompt = Prompt(genre="rock", artist="ada", seconds=seconds, total_seconds=4.0)
        prompts = dict.fromkeys(range(1, prompts + 1), prompt)
    settings = {"seed": 7, "precision": "float32", **settings}
    return make_plan(system, prompts, **settings)


def make(system: System, plan: Plan, **state: Any) -> dict[int, dict[int, Tensor]]:
    """All codes of a plan, by take and level."""
    generation = Generation(plan, **state)
    for _ in generation:
        pass
    return generation.codes


def assert_same_codes(
    found: dict[int, dict[int, Tensor]], expected: dict[int, dict[int, Tensor]]
) -> None:
    """Codes by take and level are equal, take for take."""
    assert found.keys() == expected.keys()
    for number, levels in expected.items():
        for level, codes in levels.items():
            assert torch.equal(found[number][level], codes), f"take {number}, level {level}"

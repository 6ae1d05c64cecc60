"""The sections of the benchmark matrix measure what they say, in memory that a laptop has."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks import sections
from tests.benchmarks.models import random_prior


def test_every_variant_is_compared_with_the_first_and_two_at_most_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    most = 0

    def counted(*arguments: Any, **options: Any) -> torch.nn.Module:
        nonlocal most
        prior = random_prior(*arguments, **options)
        made.append(weakref.ref(prior))
        most = max(most, sum(one() is not None for one in made))
        return prior

    monkeypatch.setattr(sections, "random_prior", counted)
    variants = tuple((precision, "eager") for precision in ("float32", "bfloat16", "int8", "int4"))
    scope = sections.Scope(
        torch.device("cpu"),
        full=False,
        tiny=True,
        rounds=1,
        folder=tmp_path,
        chosen_batches=(1,),
        chosen_variants=variants,
    )
    rows = list(sections.decode(scope))
    assert [row["what"] for row in rows] == [" ".join(variant) for variant in variants]
    assert {row["against"] for row in rows} == {"float32 eager"}
    assert rows[0]["ratio"] == 1
    assert most == 2

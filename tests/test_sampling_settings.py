"""Every setting of levels is known wherever settings are given, and checked by one table."""

import inspect
from dataclasses import fields
from typing import Any

import pytest

from jukebox_cli.generate import generate
from jukebox_hf.generation import JukeboxPipeline
from jukebox_hf.hub.manifest import check_generation
from jukebox_hf.records import from_json, to_json
from jukebox_hf.sampling_settings import SETTINGS, LevelSettings, WantedOfLevels

SENSELESS: tuple[Any, ...] = (-1, float("nan"), "much", [1], {}, 10**400)


def test_a_setting_is_named_by_python_the_command_line_and_sessions() -> None:
    assert len(SETTINGS) > 5
    options = {one.name for one in generate.params}
    arguments = inspect.signature(JukeboxPipeline.generate).parameters
    kept = to_json(LevelSettings())
    for one in fields(LevelSettings):
        assert one.name in options
        assert one.name in arguments
        assert one.name in WantedOfLevels.__annotations__
        assert one.name in kept or one.metadata["omit"]
        assert one.name in (LevelSettings.__doc__ or "")


@pytest.mark.parametrize("name", SETTINGS)
def test_senseless_values_are_refused_by_settings_manifests_and_sessions(name: str) -> None:
    for value in SENSELESS:
        with pytest.raises(ValueError, match=f"{name} must be .*, got "):
            LevelSettings(**{name: value})
        with pytest.raises(ValueError, match=f"generation, level 2: {name} must be"):
            check_generation({name: {"2": value}})
        with pytest.raises(ValueError, match=name):
            from_json(LevelSettings, {name: value}, "session")


def test_true_is_no_number_and_one_is_not_true() -> None:
    with pytest.raises(ValueError, match="temperature must be above 0, got True"):
        LevelSettings(temperature=True)
    with pytest.raises(ValueError, match="codes_only must be true or false, got 1"):
        LevelSettings(codes_only=1)  # type: ignore[arg-type]


def test_defaults_of_a_model_may_not_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="level 1: top_k and top_p exclude each other"):
        check_generation({"top_k": {"1": 5}, "top_p": {"1": 0.9}})
    assert check_generation({"top_k": {"1": 5}, "top_p": {"0": 0.9}})

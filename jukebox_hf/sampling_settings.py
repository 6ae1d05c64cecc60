"""How each level is sampled: names, kinds, ranges, defaults and words of its settings, said once.

Of `LevelSettings` the command line makes its options, a request its names and a session its record;
a model's manifest and the studio check by it. Nothing here needs torch. What a setting does is
written where it is done: to logits in `generation.sampling`, to windows in `generation.windows`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Union, cast

from jukebox_hf.words import shorten

Value = TypeVar("Value")
# A value for every level, or values by level; the key None stands for all levels without their own.
PerLevel: TypeAlias = Union[Value, Mapping[int | None, Value], Mapping[int, Value]]  # noqa: UP007

DEFAULT_TEMPERATURE = 0.99  # as the released samples were made
DEFAULT_UPPER_HOP_FRACTION = 0.125
DEFAULT_HOP_FRACTION = 0.5
MOST_CHAINS = 65_536
LARGEST = 1e15  # of any number


@dataclass(frozen=True)
class SettingKind:
    """What the value of a setting may be.

    Attributes:
        type: int, float (integers count as such) or bool.
        expected: the values in words.
        holds: whether a value of the type is one of them.
        help: of the command line's option.
        words: that may stand for a value.
        advice: what to do about a value that is none.
    """

    type: type
    expected: str
    holds: Callable[[Any], bool]
    help: str
    words: tuple[str, ...] = ()
    advice: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise `ValueError` for a value that is none of this setting."""
        kinds = (int, float) if self.type is float else (self.type,)
        is_one = isinstance(value, kinds) and (self.type is bool or not isinstance(value, bool))
        is_one = is_one and abs(value) <= LARGEST and self.holds(value)
        if not (is_one or (isinstance(value, str) and value in self.words)):
            is_large = isinstance(value, (int, float)) and abs(value) > LARGEST
            expected = f"{self.expected}, {LARGEST:g} at most" if is_large else self.expected
            raise ValueError(f"{name} must be {expected}, got {shorten(value)}{self.advice}")


def _setting(
    default: Any,
    type: type,
    expected: str,
    holds: Any,
    help: str,
    *,
    words: tuple[str, ...] = (),
    advice: str = "",
    omit: bool = False,
) -> Any:
    """A field with its `SettingKind`; one that earlier sessions lack is to be omitted (`OMIT`)."""
    kind = SettingKind(type, expected, holds, help, words, advice)
    return field(default=default, metadata={"kind": kind, "omit": omit})


@dataclass(frozen=True)
class LevelSettings:
    """How one level is sampled. Raises `ValueError` for what makes no sense.

    Args:
        temperature: logits are divided by it; below 1 the likely becomes likelier.
        top_k: only this many likeliest codes can be chosen (ties with the last one included);
            1 is greedy, None is off.
        top_p: only the likeliest codes that together reach this probability can be chosen; None is
            off. Not together with `top_k`.
        codes_only: for priors that keep lyrics in the sequence: never choose a lyric symbol where
            music belongs. The original allows it, and such a symbol then becomes code 0.
        hop_fraction: how far windows move, as a part of the prior's context.
        chains: into how many runs the level is cut to sample them side by side; 1 is exact, "auto"
            follows from the length of the piece (`LevelPlan.chains`).
        guidance: how much more artist and genre count than the prior learnt; 1 is off, and needs
            one pass of the prior per code instead of two. Classifier-free guidance, Ho and Salimans
            2022, https://arxiv.org/abs/2207.12598; not in the original. For priors that were
            trained with some of their labels hidden (`unknown_names_share`).
    """

    temperature: float = _setting(
        DEFAULT_TEMPERATURE,
        float,
        "above 0",
        lambda value: value > 0,
        "Below 1 the likely becomes likelier.",
        advice="; for the likeliest code every time use top_k=1",
    )
    top_k: int | None = _setting(
        None,
        int,
        "a whole number of at least 1, or None for all codes",
        lambda value: value >= 1,
        "Choose among so many likeliest codes only.",
    )
    top_p: float | None = _setting(
        None,
        float,
        "above 0 and at most 1, or None for all codes",
        lambda value: 0 < value <= 1,
        "Choose among the likeliest codes that reach this probability only.",
    )
    codes_only: bool = _setting(
        False,
        bool,
        "true or false",
        lambda value: True,
        "Never let a model with lyrics in its sequence choose a letter for a sound.",
    )
    hop_fraction: float = _setting(
        DEFAULT_HOP_FRACTION,
        float,
        "above 0 and at most 1",
        lambda value: 0 < value <= 1,
        "How far windows move, as a part of what the model sees at once.",
    )
    chains: int | Literal["auto"] = _setting(
        1,
        int,
        f"a whole number from 1 to {MOST_CHAINS:,}, or auto",
        lambda value: 1 <= value <= MOST_CHAINS,
        "Cut the levels below the top into so many runs that are made side by side and joined, or "
        "auto: faster, not exact.",
        words=("auto",),
    )
    guidance: float = _setting(
        1.0,
        float,
        "at least 0",
        lambda value: value >= 0,
        "Above 1 artist and genre count more than the model learnt; takes more time.",
        advice="; 1 follows labels as the prior learnt them, more follows them closer",
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None or one.default is not None:
                one.metadata["kind"].check(one.name, value)
        if self.top_k is not None and self.top_p is not None:
            raise ValueError(
                f"top_k and top_p exclude each other, got {self.top_k} and {self.top_p}; use one"
            )

    @property
    def rows_per_window(self) -> int:
        """Rows of a batch that one window takes: with guidance a second one, without names."""
        return 1 if self.guidance == 1 else 2


SETTINGS: dict[str, SettingKind] = {one.name: one.metadata["kind"] for one in fields(LevelSettings)}


class WantedOfLevels(TypedDict, total=False):
    """Fields of `LevelSettings` for all levels or by level, as Python asks for them."""

    temperature: PerLevel[float] | None
    top_k: PerLevel[int] | None
    top_p: PerLevel[float] | None
    codes_only: PerLevel[bool] | None
    hop_fraction: PerLevel[float] | None
    chains: PerLevel[int | Literal["auto"]] | None
    guidance: PerLevel[float] | None


def level_settings(
    level: int,
    num_levels: int,
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
) -> LevelSettings:
    """The settings of one level: what was given, else the model's own defaults, else ours.

    Args:
        level: 0 is the finest.
        num_levels: of the model.
        defaults: `generation` of the model's manifest: settings by name, each by level as text.
        given: `PerLevel` values by setting name; None stands for "not given". One number of chains
            for all levels does not mean the top: what happens in a song is decided there, and only
            a value for that very level cuts it.
    """
    settings = LevelSettings(
        hop_fraction=DEFAULT_UPPER_HOP_FRACTION if level == num_levels - 1 else DEFAULT_HOP_FRACTION
    )
    chosen: dict[str, Any] = {}
    for name in SETTINGS:
        own = defaults.get(name)
        if isinstance(own, Mapping):
            own = own.get(str(level))
        asked = given.get(name)
        if name == "chains" and level == num_levels - 1:
            asked = _by_name_of_level(asked)
        value = at_level(asked, level, own)
        if value is not None:
            chosen[name] = value
    if chosen.get("top_k") is not None and at_level(given.get("top_p"), level, None) is None:
        chosen.pop("top_p", None)  # asked for top_k: the model's own top_p does not join it
    if chosen.get("top_p") is not None and at_level(given.get("top_k"), level, None) is None:
        chosen.pop("top_k", None)
    try:
        return replace(settings, **chosen)
    except ValueError as error:
        raise ValueError(f"level {level}: {error}") from None


def _by_name_of_level(values: Any) -> dict[int, Any]:
    """What is given for levels by their names, without what is given for all of them."""
    if not isinstance(values, Mapping):
        return {}
    return {level: value for level, value in values.items() if level is not None}


def at_level(values: PerLevel[Value] | None, level: int, default: Value) -> Value:
    """One level's value: its own, else the one for all levels, else `default`.

    >>> at_level({None: 0.98, 2: 0.9}, 2, 1.0), at_level(0.98, 1, 1.0), at_level({2: 0.9}, 1, 1.0)
    (0.9, 0.98, 1.0)
    """
    if values is None:
        return default
    if isinstance(values, Mapping):
        by_level = cast("Mapping[int | None, Value]", values)
        return by_level.get(level, by_level.get(None, default))
    return values


def check_level_values(given: Mapping[str, Any], levels: Sequence[int]) -> None:
    """Raise `ValueError` if a per-level value names a level that is not sampled."""
    for name, values in given.items():
        if isinstance(values, Mapping):
            for level in values:
                if level is not None and level not in levels:
                    raise ValueError(
                        f"{name} is given for level {level}, but the levels that are sampled are "
                        f"{', '.join(str(one) for one in levels)}"
                    )

"""What somebody asks for: new pieces, more of a piece, or its finer levels; and the plan for it.

Plain values of a command line, a page or a script go in; a `Request` comes out, which knows nothing
of a model. `fit` makes the plan of it for a model and a device.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.audio import WRITABLE_FORMATS, AudioArray, check_output_path
from jukebox_hf.codes import Codes
from jukebox_hf.generation.continuing import Source, Start, continue_prompt, upsample_prompt
from jukebox_hf.generation.devices import DEFAULT_BACKEND, check_backend, default_precision
from jukebox_hf.generation.editing import Part, edit
from jukebox_hf.generation.holes import Hole
from jukebox_hf.generation.infilling import find_hole
from jukebox_hf.generation.plan import Plan, make_plan
from jukebox_hf.generation.session_record import MOST_TAKES, ParentRecord
from jukebox_hf.generation.settings import (
    DEFAULT_AUDIO_FORMAT,
    GenerationSettings,
    Prompt,
    new_seed,
)
from jukebox_hf.hub.system import System
from jukebox_hf.labels import TimedLyrics
from jukebox_hf.sampling_settings import SETTINGS, PerLevel, WantedOfLevels, at_level
from jukebox_hf.texts import read_text
from jukebox_hf.vqvae.network import VQVAENetwork
from jukebox_hf.words import enumerate_words, refuse_unknown

NO_PRIMER = "there is no primer to take a part of with {}; give one"
LARGEST_PROMPTS_BYTES = 64 * 2**20
_RUN = ("seed", "to_level", "precision", "backend", "audio_format")
_CHANGES = ("artist", "genre", "lyrics", "total_seconds", "offset_seconds")
_INFILL = ("take", "from_seconds", "to_seconds", "insert_seconds", "candidates", "takes")
_PRIMER = ("primer_start_seconds", "primer_end_seconds")
PIECE = (*_CHANGES, *_PRIMER, "seconds", "takes", "primer")  # what there are no `prompts` beside


class Wanted(WantedOfLevels, total=False):
    """The arguments of `JukeboxPipeline.generate` and `start`, which says what they mean."""

    artist: PerLevel[str] | None
    genre: PerLevel[str] | None
    lyrics: str | TimedLyrics | None
    seconds: float | None
    total_seconds: float | None
    offset_seconds: float | None
    primer: str | Path | AudioArray | Codes | None
    primer_start_seconds: float | None
    primer_end_seconds: float | None
    primer_sampling_rate: int | None
    takes: int | None
    prompts: Sequence[Prompt] | Mapping[int, Prompt] | None
    seed: int | None
    to_level: int | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be made. Whatever is None follows from what is gone on with, device and model.

    Args:
        prompts: by number of the take.
        seed, to_level, precision, backend, audio_format: see `GenerationSettings`.
        sampling: values of `LevelSettings` by name, for all levels or by level (`PerLevel`).
        earlier: settings of what is gone on from.
        parent: what is gone on from.
        hole: what is to be made of every take, where that is not all after its primer.
        sampled: whether there is anything to sample; False: all codes are given.
        notes: what somebody who asked for it should know.
    """

    prompts: Mapping[int, Prompt]
    seed: int | None = None
    to_level: int | None = None
    precision: str | None = None
    backend: str | None = None
    audio_format: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    earlier: GenerationSettings | None = None
    parent: ParentRecord | None = None
    hole: Hole | None = None
    sampled: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_unknown(self.sampling, SETTINGS, "the request")
        if len(self.prompts) > MOST_TAKES:
            raise ValueError(
                f"a session has at most {MOST_TAKES:,} takes, got {len(self.prompts):,}"
            )
        for prompt in self.prompts.values():
            cuts = [name for name in _PRIMER if getattr(prompt, name)]
            if cuts and prompt.primer is None:
                raise ValueError(NO_PRIMER.format(enumerate_words(cuts)))
            if cuts and isinstance(prompt.primer, Codes):
                raise ValueError(
                    f"{enumerate_words(cuts)}: codes are a primer as a whole; take a part of them "
                    "with Codes.cut"
                )

    @classmethod
    def new(cls, wanted: Mapping[str, Any]) -> "Request":
        """Pieces from words, or from the beginning of other music.

        Args:
            wanted: fields of `Prompt` by name, or `primers` (several, that takes use in turn), or
                `prompts` (a file with one JSON object per line, in which the others fill in what is
                left out); `takes`, how many pieces to make of them; `seed`, `to_level`,
                `precision`, `backend`, `audio_format`, and values of `LevelSettings`. What is None
                is not given.

        Raises:
            ValueError: for anything else, and for what makes no sense.
        """
        given = _given(wanted, (*_CHANGES, *_PRIMER, "seconds", "takes", *_SOURCES))
        shared = {**_changes(given), **_named(given, (*_PRIMER, "seconds"))}
        sources = _named(given, _SOURCES)
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} exclude each other; name primers there")
        if "prompts" in given:
            prompts = read_prompts(Path(given["prompts"]), shared)
            cuts = [name for name in _PRIMER if given.get(name)]
            if cuts and all(prompt.primer is None for prompt in prompts):
                raise ValueError(NO_PRIMER.format(enumerate_words(cuts)))
        else:
            primers = given.get("primers") or (given.get("primer"),)
            prompts = [Prompt(**shared, primer=primer) for primer in primers]
        takes = given.get("takes", len(prompts))
        _check_takes(takes)
        numbered = {number + 1: prompts[number % len(prompts)] for number in range(takes)}
        return cls(prompts=numbered, **_settings(given))

    @classmethod
    def more(cls, source: Source | str | Path, wanted: Mapping[str, Any]) -> "Request":
        """New music after what a session or a codes file holds.

        Args:
            source: of the takes to go on from.
            wanted: `seconds` of new music; `from_seconds`, where to cut; `numbers` of the takes to
                go on from (those kept, or all), and in how many ways each (`takes`); fields of
                `Prompt` that change from here on; the rest as in `new`.
        """
        given = _given(wanted, (*_CHANGES, "seconds", "from_seconds", "numbers", "takes"))
        if "seconds" not in given:
            raise ValueError("seconds is missing: how much new music is there to be?")
        found = source if isinstance(source, Source) else Source(source)
        _check_takes(given.get("takes", 1))
        starts = [start for start in _starts(found, given) for _ in range(given.get("takes", 1))]
        cut = given.get("from_seconds")
        changes = _changes(given)
        prompts = [
            continue_prompt(start, seconds=given["seconds"], from_seconds=cut, **changes)
            for start in starts
        ]
        earlier = found.session.settings if found.session is not None else None
        settings = _settings(given)
        settings.setdefault("to_level", earlier.to_level if earlier else None)
        return cls(
            prompts=dict(enumerate(prompts, start=1)),
            # With the noise of the session the same music would come once more.
            earlier=replace(earlier, seed=new_seed()) if earlier else None,
            parent=_parent(found, "continue", starts, cut),
            **settings,
        )

    @classmethod
    def finer(cls, source: Source | str | Path, wanted: Mapping[str, Any]) -> "Request":
        """The levels that takes of a session or a codes file lack.

        Args:
            source: of the takes.
            wanted: `numbers` of the takes (those kept, or all); `renders`, in how many ways each is
                finished (1), as takes numbered from 1 on; the rest as in `more`.
        """
        given = _given(wanted, (*_CHANGES, "numbers", "renders"))
        found = source if isinstance(source, Source) else Source(source)
        renders = given.get("renders", 1)
        _check_takes(renders, "renders")
        starts = [start for start in _starts(found, given) for _ in range(renders)]
        changes = _changes(given)
        prompts = [upsample_prompt(start, **changes) for start in starts]
        numbers = [start.number for start in starts]
        if renders > 1:
            numbers = list(range(1, len(starts) + 1))
        return cls(
            prompts=dict(zip(numbers, prompts, strict=True)),
            earlier=found.session.settings if found.session is not None else None,
            parent=_parent(found, "upsample", starts, None),
            **_settings(given),
        )

    @classmethod
    def edit(
        cls, parts: Sequence[Part], wanted: Mapping[str, Any], codec: VQVAENetwork
    ) -> "Request":
        """Parts of takes one after another, as a new piece: trim, cut, move, repeat, merge.

        Codes are copied at every level that all parts have; nothing is sampled. Each part sounds as
        in its own piece up to where it meets the next: there the two are cross-faded.

        Args:
            parts: in order; times are rounded to codes of the top level. Parts of a take that
                follow each other are one part: there is nothing to join.
            wanted: `snap_seconds`, by how much each join may be moved to where both sides are most
                alike (0); `fade_seconds`, how long they are mixed (0.03); `timing`: "keep" the time
                of the first part in its song, or "new", to begin at 0; None: keep for one part.
            codec: of the model that made them.

        Raises:
            ValueError: for parts that are not there or of another codec, times that make no sense,
                and sessions that are being worked on; one sentence.
            FileNotFoundError: for a session or file that is not there.
        """
        made = edit(parts, wanted, codec)
        sessions = [source.session for source in made.sources if source.session is not None]
        return cls(
            prompts={1: made.prompt},
            seed=made.seed,
            to_level=made.level,
            parent=ParentRecord(
                id=sessions[0].record.id if sessions else None,
                source=made.sources[0].path.resolve().name,
                action="edit",
                takes=[made.starts[0].number],
                details=made.details,
            ),
            sampled=False,
            notes=made.notes,
        )

    @classmethod
    def infill(cls, source: Source | str | Path, wanted: Mapping[str, Any]) -> "Request":
        """A stretch of a take made again, or put in, with both sides given.

        At the top level candidates of the stretch are sampled, and those are kept that make what
        follows likeliest (its first 128 codes); finer levels are sampled below them. Outside the
        stretch codes are the old ones at every level. This is the best of an importance resample
        (Rubin 1987): the more candidates, the nearer to what fits both sides.

        Args:
            source: of the take.
            wanted: `take`, its number; `from_seconds` and `to_seconds` of the stretch, or
                `from_seconds` and `insert_seconds` to put new music in there; `candidates` (8), of
                which the best `takes` (1) are kept; fields of `Prompt` that change; the rest as in
                `more`.

        Raises:
            ValueError: for times that make no sense or have nothing after them, and for what is
                being worked on; one sentence.
        """
        given = _given(wanted, (*_CHANGES, *_INFILL))
        found = source if isinstance(source, Source) else Source(source)
        made = find_hole(found, _named(given, _INFILL), _changes(given))
        earlier = found.session.settings if found.session is not None else None
        settings = _settings(given)
        settings["to_level"] = max(settings.get("to_level", 0), made.level)
        takes = given.get("takes", 1)
        hole, rate = made.hole, made.start.codes.sampling_rate
        parent = _parent(found, "infill", [made.start] * takes, round(hole.begin / rate, 4))
        return cls(
            prompts=dict.fromkeys(range(1, takes + 1), made.prompt),
            earlier=replace(earlier, seed=new_seed()) if earlier else None,
            parent=replace(parent, details={"to_seconds": round(hole.end / rate, 4)}),
            hole=hole,
            notes=made.notes,
            **settings,
        )


def fit(
    system: System,
    request: Request,
    device: torch.device,
    *,
    going_on: GenerationSettings | None = None,
) -> Plan:
    """The plan of a request for a model, without reading weights.

    Seed, precision, backend and audio format are those asked for, else those of a session that is
    `going_on`, else those of what the request goes on from, else what suits model and device.

    Raises:
        ValueError: for what model or device cannot do; one sentence that says what is possible.
    """
    known = going_on or request.earlier
    seed = request.seed if request.seed is not None or known is None else known.seed
    precision = request.precision or (known.precision if known else default_precision(device))
    backend = request.backend or (known.backend if known else DEFAULT_BACKEND)
    check_backend(backend, device)
    audio_format = request.audio_format or (known.audio_format if known else DEFAULT_AUDIO_FORMAT)
    if audio_format in WRITABLE_FORMATS:
        check_output_path(f"take.{audio_format}", overwrite=True)  # whether FFmpeg is there
    plan = make_plan(
        system,
        request.prompts,
        seed=new_seed() if seed is None else seed,
        precision=precision,
        backend=backend,
        audio_format=audio_format,
        to_level=request.to_level,
        sampled=request.sampled,
        hole=request.hole,
        defaults=request.earlier.by_name() if request.earlier else None,
        **request.sampling,
    )
    return replace(plan, notes=(*request.notes, *plan.notes, *_without_effect(plan, request)))


def _without_effect(plan: Plan, request: Request) -> list[str]:
    """What to say of settings that are asked for and change nothing in these takes."""
    guided = {one.level for one in plan.levels if one.sampling(plan.takes).guidance != 1}
    singing = {
        one.level for one in plan.levels if plan.system.prior_config(one.level).lyrics == "sequence"
    }
    reasons = {
        "guidance": (guided, 1, "no take has an artist or genre that the model knows"),
        "codes_only": (singing, False, "it is for priors that keep lyrics in their sequence"),
    }
    notes = []
    for name, (working, off, reason) in reasons.items():
        value = request.sampling.get(name)
        asked = {
            one.level for one in plan.levels if at_level(value, one.level, None) not in (None, off)
        }
        named = asked & set(value) if isinstance(value, Mapping) else set()
        idle = named - working if asked & working else asked
        if idle:
            notes.append(f"{name} has no effect at level {enumerate_words(sorted(idle))}: {reason}")
    return notes


def read_prompts(path: Path, defaults: Mapping[str, Any]) -> list[Prompt]:
    """The prompts of a `.jsonl` file, one per line; `defaults` fill in what a line leaves out.

    Raises `ValueError` for a line that is no prompt, with its number.
    """
    prompts = []
    text = read_text(path, largest=LARGEST_PROMPTS_BYTES, what="prompts").text
    for number, line in enumerate(text.split("\n"), start=1):  # no other sign ends a line of JSON
        if not line.strip():
            continue
        source = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source}: expected one JSON object per line ({error})") from None
        prompt = Prompt.from_record(record, source=source, folder=path.parent)
        missing = {
            name: value
            for name, value in defaults.items()
            if name not in record
            and not (name == "lyrics" and "lyrics_file" in record)
            and not (name in _PRIMER and prompt.primer is None)
        }
        prompts.append(replace(prompt, **missing))
    if not prompts:
        raise ValueError(f"{path} holds no prompts; expected one JSON object per line")
    return prompts


_SOURCES = ("prompts", "primers", "primer")


def _given(wanted: Mapping[str, Any], own: Sequence[str]) -> dict[str, Any]:
    """What was given; `ValueError` for a name that means nothing here."""
    refuse_unknown(wanted, (*own, *_RUN, *SETTINGS), "the request")
    nothing: tuple[Any, ...] = (None, (), [], {})
    return {name: value for name, value in wanted.items() if not _is_any(value, nothing)}


def _is_any(value: Any, others: Sequence[Any]) -> bool:
    return any(type(value) is type(other) and value == other for other in others)


def _named(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a prompt that are given; names may be given by level (`PerLevel`)."""
    changes = _named(given, _CHANGES)
    names: dict[int, dict[str, str]] = {}
    for name in ("artist", "genre"):
        value = changes.get(name)
        if value is None:
            continue
        changes["level_names"] = names  # not those of what is gone on from
        if isinstance(value, Mapping):
            for level, own in value.items():
                if level is not None:
                    names.setdefault(level, {})[name] = own
            del changes[name]
            if value.get(None) is not None:
                changes[name] = value[None]
    return changes


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**_named(given, _RUN), "sampling": _named(given, SETTINGS)}


def _check_takes(takes: int, name: str = "takes") -> None:
    if not 1 <= takes <= MOST_TAKES:
        raise ValueError(f"{name} must be 1 to {MOST_TAKES}, got {takes}")


def _starts(source: Source, given: Mapping[str, Any]) -> list[Start]:
    numbers = given.get("numbers")
    return [
        source.start(number) for number in (sorted(set(numbers)) if numbers else source.numbers)
    ]


def _parent(
    source: Source, action: str, starts: Sequence[Start], from_seconds: float | None
) -> ParentRecord:
    return ParentRecord(
        id=source.session.record.id if source.session is not None else None,
        source=source.path.resolve().name,
        action=action,
        takes=[start.number for start in starts],
        from_seconds=from_seconds,
    )

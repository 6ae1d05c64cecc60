"""Four trained components to the model that comes with the package.

    python -m model_cards.recipe.package_model --runs runs --songs music singing \\
        --facts facts.json --figures figures/*.json

reads `RUNS/demo_vqvae/final`, `demo_top/final`, `demo_middle/final` and `demo_bottom/final` (others
with `--component prior_1=DIR`), and writes `jukebox_hf/demo`, whole or not at all:

    jukebox.json             name, licence, sampling defaults, what the model makes of lyrics
    vqvae/, prior_0/ ...     float16 weights in files of at most 15 MB, vocabulary with other words
                             for its genres (`genre_aliases.json`), how it was trained, figures
    README.md                the card; `package_card` writes it anew, `package_examples` adds sound
    ATTRIBUTION.md, LICENSE  who made the music; CC-BY-SA-4.0

`--songs` are the folders it was trained on, with `metadata.csv` and, of others' music,
`ATTRIBUTION.md`; `--songs-of prior_2=DIR` names the part of them that a component was trained on.
`--facts` is JSON that completes what the runs wrote about themselves (`command`,
`hardware` and `duration_seconds` of each are needed, any field of `TrainingFacts` is taken):

    {"vqvae": {"command": "jukebox train vqvae ...", "hardware": "1 GPU", "duration_seconds": 3600}}

`--figures` are files that `evaluate_*` wrote with `--figures`. Unless they say that words are
recognised better than other words (`Word recall ...` above its control), the manifest says that the
model does not follow lyrics; unless all listeners tell its genres apart, how far it follows
genres. A folder that is there is replaced only with `--overwrite`; its examples stay if the weights
are the same.
"""

import argparse
import csv
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.hub import (
    System,
    TrainingData,
    TrainingFacts,
    load_training_facts,
    save_training_facts,
)
from jukebox_hf.hub.built_in import BUILT_IN_NAME
from jukebox_hf.hub.folders import new_model_folder
from jukebox_hf.hub.saving import fill_system
from jukebox_hf.hub.training_facts import Figure
from jukebox_hf.labels import PriorProcessor
from jukebox_hf.records import read_json
from model_cards.recipe.figures import load_figures
from model_cards.recipe.manifest import usable_licence
from model_cards.recipe.package_card import (
    EXAMPLES,
    OUTPUT,
    digests,
    examples_of,
    honest_notes,
    owner,
    write_card,
)
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser

ALIASES = Path(__file__).with_name("genre_aliases.json")
LICENCE, LICENCE_TEXT = "CC-BY-SA-4.0", Path(__file__).with_name("CC-BY-SA-4.0.txt")
RUNS = {
    "vqvae": "demo_vqvae/final",
    "prior_0": "demo_bottom/final",
    "prior_1": "demo_middle/final",
    "prior_2": "demo_top/final",
}
LARGEST_SHARD, LARGEST_MODEL = 15_000_000, 45_000_000  # bytes
NEEDED_FACTS = ("command", "hardware", "duration_seconds")
PER_LEVEL = ("temperature", "top_p", "guidance", "hop_fraction", "chains")


@dataclass(frozen=True)
class Recipe:
    """What is put together.

    Attributes:
        sources: folder of a model or a component, by the name of the component.
        songs: folders of music.
        facts: of `TrainingFacts`, by component, that complete those of the runs.
        figures: what was measured.
        generation: sampling defaults that replace those of the runs.
        name: of the model.
        songs_of: folder of music by component, for those that learnt from some of it only.
    """

    sources: Mapping[str, Path]
    songs: Sequence[Path]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    name: str = BUILT_IN_NAME
    songs_of: Mapping[str, Path] = field(default_factory=dict)


def package_model(recipe: Recipe, output: Path, *, overwrite: bool = False) -> list[str]:
    """Write the model; returns what is worth knowing, one line each.

    Raises `ValueError` or `OSError` with the reason why not; nothing is changed then.
    """
    notes: list[str] = []
    said: list[str] = []
    rows = [row for folder in recipe.songs for row in song_rows(folder)]
    systems = {name: System.open(folder) for name, folder in recipe.sources.items()}
    some_rows = {name: song_rows(folder) for name, folder in recipe.songs_of.items()}
    facts = {
        name: component_facts(name, systems[name], recipe, some_rows.get(name, rows))
        for name in systems
    }

    def fill(name: str, folder: Path) -> None:
        save_component(folder, name, systems[name], notes)
        save_training_facts(folder, facts[name])

    with new_model_folder(output, overwrite=overwrite) as folder:
        figures = [figure for own in facts.values() for figure in own.figures]
        fill_system(
            folder,
            {name: partial(fill, name) for name in systems},
            generation=sampling_defaults(systems, recipe.generation),
            licence=LICENCE,
            name=recipe.name,
            notes=honest_notes(figures, said),
        )
        notes += said
        (folder / "LICENSE").write_bytes(LICENCE_TEXT.read_bytes())
        (folder / "ATTRIBUTION.md").write_text(attribution(recipe.songs), encoding="utf-8")
        keep_examples(output, folder, notes)
        write_card(folder)
        check_model(folder)
        notes.append(f"{size(folder) / 1e6:.1f} MB of at most {LARGEST_MODEL / 1e6:g}")
    return notes


def save_component(folder: Path, name: str, system: System, notes: list[str]) -> None:
    """Write one component in float16, codebooks in float32, with its vocabulary."""
    model: Any
    if name == "vqvae":
        model = system.load_vqvae(dtype="float32")
    else:
        level = int(name.removeprefix("prior_"))
        model = system.load_prior(level, dtype="float32")
        if (system.settings_path(name) / "processor_config.json").is_file():
            with_aliases(system.processor(level), notes).save_pretrained(folder)
    weights = halved(model.half().state_dict())
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name}: {key} holds numbers that float16 does not")
    limit = f"{LARGEST_SHARD // 1_000_000}MB"
    model.save_pretrained(folder, state_dict=weights, max_shard_size=limit)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # a temporary file's is 600


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16, also those of layers that compute in float32; codebooks stay as they are.

    What was one tensor under two names still is, so that it is written once.
    """
    found: dict[int, Tensor] = {}
    return {
        key: found.setdefault(tensor.data_ptr(), tensor.half())
        if tensor.is_floating_point() and ".codebook." not in key
        else tensor
        for key, tensor in weights.items()
    }


def with_aliases(processor: PriorProcessor, notes: list[str]) -> PriorProcessor:
    """The same processor, with other words for the genres that it knows."""
    if not processor.has_labels:
        return processor
    listed = read_json(ALIASES)
    lacking = [label for label in listed["labels"] if label not in processor.genres]
    if lacking:
        text = f"no songs of {', '.join(lacking)}: other words for these genres are left out"
        notes += [text] if text not in notes else []
    aliases = {
        kind: {label: names for label, names in listed[kind].items() if label not in lacking}
        for kind in ("same", "nearest")
    }
    return PriorProcessor(
        **processor.to_dict(),
        artists=processor.artists,
        genres=processor.genres,
        genre_aliases=aliases,
    )


# --- how it was trained -------------------------------------------------------------------------


def component_facts(
    name: str, system: System, recipe: Recipe, rows: Sequence[Mapping[str, str]]
) -> TrainingFacts:
    """What a run wrote about itself, completed; raises `ValueError` if something is missing."""
    found = load_training_facts(system.settings_path(name)) or TrainingFacts()
    given = dict(recipe.facts.get(name, {}))
    unknown = set(given) - {each.name for each in fields(TrainingFacts)} | set(given) & {"data"}
    if unknown:
        raise ValueError(f"facts of {name}: {', '.join(sorted(unknown))} cannot be given there")
    figures = [Figure(**figure) for figure in given.pop("figures", [])]
    figures += [figure for figure in recipe.figures if owner(figure, recipe.sources) == name]
    told = {(figure.name, figure.dataset) for figure in figures}
    kept = [figure for figure in found.figures if (figure.name, figure.dataset) not in told]
    facts = replace(found, **given, data=training_data(rows), figures=(*kept, *figures))
    missing = [each for each in NEEDED_FACTS if getattr(facts, each) is None]
    if missing:
        raise ValueError(
            f"the card has to say how {name} was trained: give {', '.join(missing)} in --facts"
        )
    return facts


def song_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's `metadata.csv`; `ValueError` for music that weights may not follow."""
    path = folder / "metadata.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=2):
        missing = [column for column in ("licence", "credit", "seconds") if not row.get(column)]
        if missing:
            raise ValueError(f"{path}, line {number}: has no {', '.join(missing)}")
        if usable_licence(row["licence"]) is None:
            raise ValueError(
                f"{path}, line {number}: weights that learnt from music under {row['licence']} "
                f"cannot be given away as {LICENCE}"
            )
    if not rows:
        raise ValueError(f"{path} lists no songs")
    return rows


class Origin(NamedTuple):
    """Where a song came from.

    Attributes:
        name: in the table of what a component learnt from.
        heading, command: of what a script of the recipe made; empty for others' music.
    """

    name: str
    heading: str = ""
    command: str = ""


RECORDED = Origin("music of free games and programs")
# By how the credit of a song begins.
MADE = {
    "synthetic": Origin("synthetic singing", "Singing", "sing"),
    "made up by a program": Origin("music rendered from notes", "Rendered music", "render"),
}


def origin(row: Mapping[str, str]) -> Origin:
    """Where a song came from, by its credit."""
    return next((made for start, made in MADE.items() if row["credit"].startswith(start)), RECORDED)


def training_data(rows: Sequence[Mapping[str, str]]) -> tuple[TrainingData, ...]:
    """What it learnt from, by kind of music and licence."""
    groups: dict[tuple[str, str], list[float]] = {}
    order = [RECORDED, *MADE.values()]
    for row in sorted(rows, key=lambda row: (order.index(origin(row)), row["licence"])):
        groups.setdefault((origin(row).name, row["licence"]), []).append(float(row["seconds"]))
    return tuple(
        TrainingData(name, licence=licence, songs=len(seconds), hours=round(sum(seconds) / 3600, 2))
        for (name, licence), seconds in groups.items()
    )


def attribution(folders: Sequence[Path]) -> str:
    """Who made what the model learnt from: the tables of its music, and a line on what is ours."""
    parts = []
    for folder in folders:
        path = folder / "ATTRIBUTION.md"
        rows = song_rows(folder)
        origins = set(map(origin, rows))
        made = origins.pop() if len(origins) == 1 else RECORDED
        if path.is_file():
            parts.append(path.read_text(encoding="utf-8").strip())
        elif made != RECORDED:
            hours = sum(float(row["seconds"]) for row in rows) / 3600
            credits = "; ".join(sorted({f"{row['credit']}, {row['licence']}" for row in rows}))
            parts.append(
                f"## {made.heading}\n\n"
                f"{len(rows)} songs, {hours:.1f} hours, made for this model by "
                f"`python -m model_cards.recipe.{made.command}`: {credits}."
            )
        else:
            raise ValueError(f"{folder}: expected an ATTRIBUTION.md that says who made the music")
    return "\n\n".join(parts) + "\n"


# --- the whole ----------------------------------------------------------------------------------


def sampling_defaults(systems: Mapping[str, System], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the runs, level by level, and what is given instead."""
    merged: dict[str, Any] = {}
    for name in sorted(systems, reverse=True):  # the codec's run knows none
        generation = systems[name].manifest.generation
        for key, value in generation.items():
            if key not in PER_LEVEL:
                merged.setdefault(key, value)
            elif (level := name.removeprefix("prior_")) in value:
                merged.setdefault(key, {})[level] = value[level]
    for key, value in given.items():
        merged[key] = {**merged.get(key, {}), **value} if key in PER_LEVEL else value
    return merged


def keep_examples(old: Path, new: Path, notes: list[str]) -> None:
    """Take over the sound that was made with the same weights."""
    if not (old / EXAMPLES).is_dir():
        return
    if examples_of(old).get("model") == digests(new):
        shutil.copytree(old / EXAMPLES, new / EXAMPLES)
    else:
        notes.append("the examples were made with other weights: run package_examples")


def check_model(folder: Path) -> None:
    """Raise `ValueError` unless the model opens, loads and is small enough."""
    system = System.open(folder)
    system.load_vqvae()
    for level in system.prior_levels:
        system.load_prior(level)
    for path in folder.rglob("*.safetensors"):
        if path.stat().st_size > LARGEST_SHARD:
            raise ValueError(
                f"{path.relative_to(folder)} has {path.stat().st_size:,} bytes, more than "
                f"{LARGEST_SHARD:,}: one tensor is too large"
            )
    if size(folder) > LARGEST_MODEL:
        raise ValueError(f"the model has {size(folder):,} bytes, more than {LARGEST_MODEL:,}")


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- command line -------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser("package_model", __doc__)
    parser.add_argument("--runs", type=Path, help="folder of the four runs")
    parser.add_argument(
        "--component",
        action="append",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="where vqvae, prior_0, prior_1 or prior_2 is instead; repeatable",
    )
    parser.add_argument("--songs", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument(
        "--songs-of",
        action="append",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="what vqvae, prior_0, prior_1 or prior_2 learnt from, if not from all; repeatable",
    )
    parser.add_argument("--facts", type=Path, metavar="FILE", help="how each was trained")
    parser.add_argument("--figures", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there")
    parser.add_argument("--name", default=BUILT_IN_NAME)
    for name in ("seconds", "total-seconds"):
        parser.add_argument(f"--{name}", type=float, help="sampling default")
    for name in PER_LEVEL:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            action="append",
            default=[],
            type=_of_level,
            metavar="LEVEL=VALUE",
            help="sampling default; repeatable",
        )
    given = parser.parse_args(arguments)
    if given.runs is None and len(dict(given.component)) < len(RUNS):
        parser.error("give --runs, or a --component for each of " + ", ".join(RUNS))
    return given


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if name not in RUNS or not folder:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(RUNS)} and =DIR, got {text}")
    return name, Path(folder)


def _of_level(text: str) -> tuple[str, int | float]:
    found = re.fullmatch(r"(\d)=(\d+(?:\.\d+)?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected LEVEL=VALUE, got {text}")
    return found[1], float(found[2]) if "." in found[2] else int(found[2])


def recipe_of(given: argparse.Namespace) -> Recipe:
    """What the command line asks for."""
    sources = {} if given.runs is None else {n: given.runs / run for n, run in RUNS.items()}
    facts = {} if given.facts is None else read_json(given.facts)
    unknown = sorted(set(facts) - set(RUNS))
    if unknown or not all(isinstance(own, dict) for own in facts.values()):
        raise ValueError(f"{given.facts}: expected an object for each of {', '.join(RUNS)}")
    generation: dict[str, Any] = {
        n: dict(getattr(given, n)) for n in PER_LEVEL if getattr(given, n)
    }
    for name in ("seconds", "total_seconds"):
        if getattr(given, name) is not None:
            generation[name] = getattr(given, name)
    figures = [figure for path in given.figures for figure in load_figures(path)]
    chosen = {**sources, **dict(given.component)}
    return Recipe(
        sources={name: chosen[name] for name in RUNS},
        songs=given.songs,
        songs_of=dict(given.songs_of),
        facts=facts,
        figures=figures,
        generation=generation,
        name=given.name,
    )


@script
def main(arguments: list[str]) -> None:
    import transformers.utils.logging as transformers_logging

    given = parse_arguments(arguments)
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for text in package_model(recipe_of(given), given.output, overwrite=given.overwrite):
        note(text)
    note(f"next: {shlex.join(['python', '-m', 'model_cards.recipe.package_examples'])}")
    print(given.output)


if __name__ == "__main__":
    sys.exit(main())

"""The card of the model that comes with the package, from what is in its folder.

    python -m model_cards.recipe.package_card --figures lyrics.json

writes `README.md` of `jukebox_hf/demo` anew (`--model DIR`: of another folder), after adding
figures that were measured with the packaged model. What the template `model_cards/demo.md` says is
followed by the examples and where the rights are.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_atomically
from jukebox_hf.generation.recording import folder_digest
from jukebox_hf.hub import (
    System,
    TrainingFacts,
    load_training_facts,
    save_manifest,
    save_training_facts,
)
from jukebox_hf.hub.cards.card_text import system_text
from jukebox_hf.hub.cards.markdown import cell, code
from jukebox_hf.hub.cards.model_facts import gather_facts
from jukebox_hf.hub.cards.rendering import make_card
from jukebox_hf.hub.training_facts import Figure
from jukebox_hf.records import read_json
from model_cards.recipe.figures import load_figures
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser

OUTPUT = Path(__file__).resolve().parents[2] / "jukebox_hf" / "demo"
TOP = "prior_2"
EXAMPLES = "examples"
EXAMPLES_FILE = "examples.json"
LYRICS_NOTE = "this model does not follow the words: lyrics change how it sounds, but are not sung"
GENRE_NOTE = (
    "this model hardly follows genres: what it makes was not told apart by genre better than chance"
)
SOME_GENRE_NOTE = (
    "this model follows genres loosely: {convinced} of {listeners} ways of listening tell what it "
    "makes apart by genre better than chance"
)
LARGEST_CHANCE = 0.05  # that still counts as hardly chance
GENRE_CHANCE = "probability of that by chance"  # how the figures of `evaluate_samples` begin
PROBE = "probe.png"  # as `tests.benchmarks.probe --picture` draws it
STATES = f"""\
## What its states tell

![balanced accuracy by layer]({PROBE})

How often a linear probe tells genre and tempo class from the top prior's states, averaged over
20 s, on songs that no part of the model learnt from; dashed, the same from codes and from mel
bands. Intervals are of 95 %, over sources. Measured with the top prior before its last run, which
has not been probed. By `python -m tests.benchmarks.probe`; `jukebox embed`
gives these states.

"""
SOURCES = """\
## Train it again

The commands under Training, in the order of the components: `vqvae`, `prior_2`, `prior_1`,
`prior_0`. The music comes from `python -m model_cards.recipe.fetch_music`, the singing from
`python -m model_cards.recipe.sing`, the codes that priors learn from `jukebox encode --dataset`;
`python -m model_cards.recipe.package_model` puts the parts together.

## Whose music it learnt from

[ATTRIBUTION.md](ATTRIBUTION.md) names every piece, who made it, its licence, and what was changed.
The weights are under [CC-BY-SA-4.0](LICENSE), the code that runs them under the Apache License 2.0.
"""


def write_card(folder: Path) -> Path:
    """Write `README.md` from configs, training facts, figures and examples; returns its path."""
    card = make_card(system_text(gather_facts(System.open(folder)), folder.name))
    states = STATES if (folder / PROBE).is_file() else ""
    text = f"{card.content}\n{examples_text(examples_of(folder))}{states}{SOURCES}"
    path = folder / "README.md"
    write_atomically(path, lambda file: _write(file, text))
    return path


def examples_of(folder: Path) -> dict[str, Any]:
    """The record of the examples of a model; empty if there are none."""
    path = folder / EXAMPLES / EXAMPLES_FILE
    return read_json(path) if path.is_file() else {}


def examples_text(record: Mapping[str, Any]) -> str:
    """A section with links, pictures, and how each was made; empty without examples."""
    if not record:
        return ""
    lines = [
        "## Listen",
        "",
        f"Made by `{code(record['command'])}` on {record['hardware']}, {record['date']}; "
        + ("chosen from several" if record["chosen"] else "not chosen: the first that came")
        + ". The spectrograms have seconds to the right and hertz upwards.",
        "",
        "| what | seed | took | hear | see |",
        "| --- | --- | --- | --- | --- |",
    ]
    for example in record["examples"]:
        audio, picture = (f"{EXAMPLES}/{example[name]}" for name in ("audio", "picture"))
        lines.append(
            f"| {cell(example['genre'])}, {example['seconds']:.1f} s | {example['seed']} "
            f"| {example['wall_seconds']:.0f} s | [{example['audio']}]({audio}) "
            f"| ![spectrogram]({picture}) |"
        )
    return "\n".join(lines) + "\n\n"


def digests(folder: Path) -> dict[str, str]:
    """What tells the weights of a model from others, by component."""
    names = System.open(folder).manifest.components
    return {name: folder_digest(folder / name) for name in names}


def owner(figure: Figure, components: Iterable[str]) -> str:
    """The component whose figure that is: that of the level it names, else the codec or the top."""
    level = re.search(r"\blevel (\d)", figure.name)
    if re.search(r"evaluate_co(dec|des)", figure.command):
        return "vqvae"
    own = f"prior_{level[1]}" if level else TOP
    return own if own in components else TOP


def honest_notes(figures: Sequence[Figure], notes: list[str]) -> dict[str, str]:
    """What the manifest says of lyrics and genres: nothing of what was shown to be followed."""
    said = {} if follows_lyrics(figures, notes) else {"lyrics": LYRICS_NOTE}
    genre = genre_note(figures, notes)
    return said if genre is None else said | {"genre": genre}


def genre_note(figures: Sequence[Figure], notes: list[str]) -> str | None:
    """What is to be said of genres: nothing if every listener tells those of samples apart.

    If only some do, it must not be by having tried often enough: the least chance is multiplied by
    the number of listeners.
    """
    chances = [f.value for f in figures if f.name.lower().startswith(GENRE_CHANCE)]
    if not chances:
        notes.append("genres of samples: nobody listened; said not to be followed")
        return GENRE_NOTE
    convinced = sum(chance < LARGEST_CHANCE for chance in chances)
    notes.append(
        f"genres of samples: {convinced} of {len(chances)} ways of listening tell them apart, "
        f"chance explains it with {min(chances):g} to {max(chances):g}"
    )
    if convinced == len(chances):
        return None
    if min(chances) * len(chances) >= LARGEST_CHANCE:
        return GENRE_NOTE
    return SOME_GENRE_NOTE.format(convinced=convinced, listeners=len(chances))


def follows_lyrics(figures: Sequence[Figure], notes: list[str]) -> bool:
    """Whether more of the words is recognised than of other words, and that is hardly chance."""
    recalls = [figure for figure in figures if "word recall" in figure.name.lower()]
    controls = [f for f in recalls if re.search(r"control|other|different", f.name.lower())]
    own = [figure for figure in recalls if figure not in controls]
    if len(own) != 1 or len(controls) != 1:
        notes.append("no word recall beside its control: the model is said not to follow lyrics")
        return False
    (recall,), (control,) = own, controls
    likely_chance = any(
        figure.name.lower() == "probability by chance, words of takes"
        and figure.value >= LARGEST_CHANCE
        for figure in figures
    )
    better = recall.value > control.value and not likely_chance
    notes.append(
        f"{recall.name} is {recall.value:g}, {control.name} {control.value:g}: the model is said "
        f"{'to' if better else 'not to'} follow lyrics"
    )
    return better


def add_figures(folder: Path, figures: Sequence[Figure], notes: list[str]) -> None:
    """Put figures into the `training.json` of the components that they are about."""
    system = System.open(folder)
    everything: list[Figure] = []
    for name in system.manifest.components:
        facts = load_training_facts(folder / name) or TrainingFacts()
        own = [figure for figure in figures if owner(figure, system.manifest.components) == name]
        told = {(figure.name, figure.dataset) for figure in own}
        kept = [each for each in facts.figures if (each.name, each.dataset) not in told]
        everything += [*kept, *own]
        if own:
            save_training_facts(folder / name, replace(facts, figures=(*kept, *own)))
    said = honest_notes(everything, notes)
    save_manifest(folder, replace(system.manifest, notes=said))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@script
def main(arguments: list[str]) -> None:
    parser = script_parser("package_card", __doc__)
    parser.add_argument("--model", type=Path, default=OUTPUT, metavar="DIR")
    parser.add_argument("--figures", type=Path, nargs="+", default=[], metavar="FILE")
    given = parser.parse_args(arguments)
    notes: list[str] = []
    figures = [figure for path in given.figures for figure in load_figures(path)]
    if figures:
        add_figures(given.model, figures, notes)
    path = write_card(given.model)
    for text in notes:
        note(text)
    print(path)


if __name__ == "__main__":
    sys.exit(main())

"""What an evaluation found, as figures of `training.json` with the command that measures them.

Evaluations go in; `Figure`s come out, which cards and `jukebox info` show. Folders of this machine
go by their last name only, and the model by `MODEL`: the file is meant to be shared.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jukebox_hf.files import find_here
from jukebox_hf.hub import System, TrainingFacts, load_training_facts, save_training_facts
from jukebox_hf.hub.training_facts import Figure
from jukebox_hf.training.evaluation import CodecEvaluation, PriorEvaluation
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_selection import SongSelection


def figures_of(
    found: CodecEvaluation | PriorEvaluation, *, command: str, dataset: str
) -> tuple[Figure, ...]:
    """The numbers that say most: how well a codec reconstructs, or how well a prior predicts."""
    named: dict[str, float | None]
    if isinstance(found, CodecEvaluation):
        named = {}
        for level, measured in enumerate(found.levels):
            convergence = measured.spectral_convergence_db
            named[f"spectral convergence of level {level} (dB)"] = convergence
            named[f"perplexity of the codes of level {level}"] = measured.perplexity
    else:
        named = {
            "bits per code": found.bits_per_code,
            "bits per code from frequencies alone": found.unigram_bits,
            "bits per code with the labels of other songs": found.wrong_label_bits,
            "bits per lyric symbol": found.lyric_bits,
        }
    return tuple(
        Figure(name, round(value, 4), command, dataset)
        for name, value in named.items()
        if value is not None
    )


def evaluation_command(
    component: str,
    songs: SongSelection,
    *,
    held_out: bool,
    items: int,
    clip_seconds: float | None = None,
    compare_in: int | None = None,
    precision: str = "float32",
) -> str:
    """The `jukebox evaluate` that measures a component on these songs.

    `held_out`: only on those that training with them holds out. `clip_seconds`: of a codec's clips.
    `compare_in`: the size of batches within which labels are exchanged, if they are.
    """
    words = ["jukebox", "evaluate", "MODEL", "--component", component]
    words += ["--dataset", shared_name(songs.dataset or "")]
    usual = SongSelection().place()
    for name, value in songs.place().items():
        if value != usual[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if held_out:
        words += ["--held-out", f"{songs.validation_fraction:g}", "--seed", str(songs.seed)]
    words += ["--items", str(items)]
    if clip_seconds is not None:
        words += ["--clip-seconds", f"{clip_seconds:.6g}"]
    if compare_in is not None:
        words += ["--compare-labels", "--batch-size", str(compare_in)]
    if precision != "float32":
        words += ["--precision", precision]
    return shlex.join(words)


def training_figures(
    component: str,
    settings: TrainingSettings,
    found: CodecEvaluation | PriorEvaluation,
    *,
    sampling_rate: int,
) -> tuple[Figure, ...]:
    """Figures of an evaluation that happened in training with `settings`."""
    songs = settings
    held_out = settings.validation_dataset is None
    if not held_out:
        songs = settings.with_changes(dataset=settings.validation_dataset)
    clip_seconds = settings.clip_samples / sampling_rate if component == "vqvae" else None
    command = evaluation_command(
        component,
        songs,
        held_out=held_out,
        items=settings.evaluation_items,
        clip_seconds=clip_seconds,
    )
    name = shared_name(songs.dataset or "")
    dataset = f"held-out songs of {name}" if held_out else name
    return figures_of(found, command=command, dataset=dataset)


def check_recordable(model: str) -> None:
    """Raise `ValueError` for a model that is not a folder on this machine."""
    if not Path(model).is_dir():
        raise ValueError(
            f"figures can be recorded only in a folder, and {model} is none; fetch it with "
            "`jukebox pull`"
        )


def record_figures(model: str, figures: Mapping[str, tuple[Figure, ...]]) -> list[Path]:
    """Write figures into the `training.json` of components of a model in a folder, by their names.

    Those of the same name and dataset are replaced. Returns the files.

    Raises:
        ValueError: for a model, or a component, that is not in this folder.
        OSError: if it cannot be written.
    """
    check_recordable(model)
    system = System.open(model)
    folders = {name: _folder(system, name) for name in figures}  # all, before any is written
    written = []
    for name, fresh in figures.items():
        facts = load_training_facts(folders[name]) or TrainingFacts()
        replaced = {(figure.name, figure.dataset) for figure in fresh}
        kept = [each for each in facts.figures if (each.name, each.dataset) not in replaced]
        facts = replace(facts, figures=(*kept, *fresh))
        written.append(save_training_facts(folders[name], facts))
    return written


def _folder(system: System, name: str) -> Path:
    """Where the training facts of a component are: its adapter's, if it has one."""
    root = Path(system.source)
    for adapter in system.manifest.adapters:
        if adapter.component == name and adapter.repo_id is None:
            return root / (adapter.subfolder or "")
    reference = system.manifest.components[name]
    if reference.repo_id is not None:
        raise ValueError(
            f"{name} of {system.source} is in {reference.repo_id}; record its figures there"
        )
    return root / (reference.subfolder or "")


def shared_name(source: str) -> str:
    """A repository's id as it is; of a folder on this machine the last part."""
    path = find_here(source)
    return source if path is None else path.resolve().name

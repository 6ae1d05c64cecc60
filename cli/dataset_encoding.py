"""`jukebox encode --dataset`: every song of a dataset to codes, for training priors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from .bars import ProgressBar
from .crew import crew_option, gather, join_crew, launch_if_asked, own_device
from .dataset_options import SHARD, refuse_without_effect
from .generation_options import open_model
from .options import DURATION, note, print_result

if TYPE_CHECKING:
    from jukebox_hf.data import EncodingReport, SkippedSong, Song, SongLabels

LISTED_SONGS = 5
Function = TypeVar("Function", bound=Callable[..., Any])


def encoding_options(function: Function) -> Function:
    """The options of `encode --dataset` beside those that name the songs."""
    options = [
        click.option(
            "--min-seconds",
            type=DURATION,
            default=0.0,
            help="With --dataset: skip songs that are shorter.",
        ),
        click.option(
            "--max-seconds", type=DURATION, help="With --dataset: skip songs as long or longer."
        ),
        click.option(
            "--shard",
            type=SHARD,
            show_default="all; of several processes each takes its own",
            help="With --dataset: encode this part of the songs only, one of several processes "
            "that write into the same folder. The last to finish completes it.",
        ),
        crew_option,
        click.option(
            "--streaming",
            is_flag=True,
            help="With --dataset: read songs from the Hub one by one, keeping none on disk.",
        ),
        click.option(
            "--drop-missing",
            is_flag=True,
            help="With --dataset: take songs out of the codes that the dataset has no more.",
        ),
        click.option(
            "--push-to-hub",
            metavar="REPO",
            help="With --dataset: upload the codes when all are there.",
        ),
        click.option(
            "--private", is_flag=True, help="Make the repository of --push-to-hub private."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def refuse_dataset_options(options: dict[str, Any]) -> None:
    """Raise a usage error for an option that means nothing without --dataset."""
    ctx = click.get_current_context()
    for name in options:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} says something about a dataset; give --dataset, too")


def encode_dataset_songs(
    *,
    dataset: str,
    model: str | None,
    output: Path | None,
    levels: Sequence[int] | None,
    shard: tuple[int, int] | None,
    streaming: bool,
    drop_missing: bool,
    push_to_hub: str | None,
    private: bool,
    num_processes: int | None,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
    **selection: Any,
) -> None:
    """Carry out the command: songs to a folder of codes, whose path is printed.

    `selection` are the remaining keyword arguments of `open_songs`.
    """
    if output is None:
        raise click.UsageError("--dataset needs -o FOLDER, where the codes go")
    if private and push_to_hub is None:
        raise click.UsageError("--private says something about --push-to-hub; give it, too")
    if streaming and drop_missing:
        raise click.UsageError("--drop-missing needs all songs at once; leave --streaming out")
    if shard is not None and num_processes is not None:
        raise click.UsageError("--shard and --num-processes exclude each other; give one")
    refuse_without_effect(dataset)
    if shard is None:
        launch_if_asked(num_processes)

    from jukebox_hf.data import (
        describe_songs,
        encode_dataset,
        open_songs,
        stream_songs,
    )
    from jukebox_hf.generation import resolve_device

    target = resolve_device(own_device(device))
    crew = join_crew()
    number, num_shards = shard or (crew.index, crew.number)
    quiet = quiet or not crew.is_main
    system = open_model(model, quiet=quiet)
    for text in system.notes:
        note(text, quiet=quiet)
    check_encoded_levels(levels, system.vqvae_config().num_levels)
    bar = ProgressBar(quiet=quiet)
    songs: Iterable[Song | SkippedSong]
    skipped: list[SkippedSong] = []
    notes: tuple[str, ...] = ()
    streamed: list[SongLabels] = []
    if streaming:
        songs = _labels_kept(stream_songs(dataset, **selection), streamed)
    else:
        found = open_songs(dataset, **selection, progress=bar.look_into)
        songs, skipped, notes = found.songs, list(found.skipped), found.notes
        tell_found([describe_songs(found.songs)], notes, quiet=quiet)
    try:
        report = encode_dataset(
            songs,
            system.load_vqvae_network(device=target, dtype=precision or "float32"),
            output,
            levels=levels,
            shard=number,
            num_shards=num_shards,
            model=system.manifest.name or system.source,
            drop_missing=drop_missing,
            progress=bar.encode,
        )
    except KeyboardInterrupt:
        bar.close()
        note("The songs that are done are kept; the same command goes on from there.", quiet=quiet)
        raise
    bar.close()
    report = report_of_all(gather(crew, report))
    if not crew.is_main:
        return
    skipped += report.skipped
    list_skipped(skipped, quiet=quiet)
    tell_found([describe_songs(streamed)] if streaming else [], report.notes, quiet=quiet)
    note(f"Encoded {count(report.encoded, 'song')}; {output} holds {report.present}.", quiet=quiet)
    tell_changes(report, output, dropped=drop_missing, quiet=quiet)
    pushed = None
    if not report.complete:
        note(f"This was part {number + 1} of {num_shards}; others have not finished.", quiet=quiet)
    elif push_to_hub is not None:
        from jukebox_hf.hub import push

        pushed = push(output, push_to_hub, private=private or None).url
        note(f"Pushed to {pushed}.", quiet=quiet)
    record = {
        "codes": output,
        "model": system.source,
        "encoded": report.encoded,
        "songs": report.present,
        "complete": report.complete,
        "skipped": [song._asdict() for song in skipped],
        "relabelled": report.relabelled,
        "changed": report.changed,
        "gone": report.gone,
        "notes": [*notes, *report.notes],
        "pushed": pushed,
    }
    print_result(output, record, as_json=as_json)


def _labels_kept(
    songs: Iterable[Song | SkippedSong], kept: list[SongLabels]
) -> Iterator[Song | SkippedSong]:
    """The same songs; what is known of those that have passed, without their sound, is kept."""
    from jukebox_hf.data import Song, SongLabels

    for song in songs:
        if isinstance(song, Song):
            kept.append(SongLabels.of(song))
        yield song


def tell_found(found: Sequence[str], notes: Sequence[str], *, quiet: bool) -> None:
    """Say what datasets hold, and what of it was not taken as given."""
    from jukebox_hf.data import group_notes

    for songs in found:
        note(f"Found {songs}.", quiet=quiet)
    for text in group_notes(notes):
        note(f"Note: {text}", quiet=quiet)


def check_encoded_levels(levels: Sequence[int] | None, num_levels: int) -> None:
    """Raise `ValueError` for levels that the codec lacks, before anything is loaded."""
    for level in levels or ():
        if level >= num_levels:
            raise ValueError(
                f"the model's levels are 0 (finest) to {num_levels - 1}, but --levels has {level}"
            )


def report_of_all(reports: Sequence[EncodingReport]) -> EncodingReport:
    """What several processes did together, each with a part of the songs."""

    def together(name: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(entry for one in reports for entry in getattr(one, name)))

    return dataclasses.replace(
        reports[0],
        encoded=sum(one.encoded for one in reports),
        present=max(one.present for one in reports),
        complete=any(one.complete for one in reports),
        skipped=together("skipped"),
        relabelled=together("relabelled"),
        changed=together("changed"),
        gone=together("gone"),
        notes=together("notes"),
    )


def tell_changes(report: EncodingReport, output: Path, *, dropped: bool, quiet: bool) -> None:
    """Say what has changed in the dataset since the codes were made."""
    if report.changed:
        note(f"Encoded again, since the files have changed: {listed(report.changed)}.", quiet=quiet)
    if report.relabelled:
        note(f"New labels or lyrics: {listed(report.relabelled)}.", quiet=quiet)
    if report.gone:
        what = "taken out" if dropped else "still among the codes; --drop-missing takes them out"
        note(f"Not in the dataset any more, {what}: {listed(report.gone)}.", quiet=quiet)


def listed(names: Sequence[str]) -> str:
    """How many songs, and the first of them."""
    more = ", ..." if len(names) > LISTED_SONGS else ""
    return f"{count(len(names), 'song')} ({', '.join(names[:LISTED_SONGS])}{more})"


def list_skipped(skipped: Sequence[SkippedSong], *, quiet: bool) -> None:
    """Say which songs are left out, and why."""
    from jukebox_hf.data import describe_skipped

    if skipped:
        note(f"Skipped {count(len(skipped), 'song')}:", quiet=quiet)
        for line in describe_skipped(skipped):
            note(f"  {line}", quiet=quiet)


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "song"), count(2, "song")
    ('1 song', '2 songs')
    """
    return f"{number} {noun}{'s' * (number != 1)}"

"""`jukebox pull`: a model with all its parts, or a dataset of codes, from the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    json_option,
    note,
    output_option,
    overwrite_option,
    print_result,
    quiet_option,
)


@click.command()
@click.argument("repo", metavar="REPO")
@click.option(
    "--component",
    "components",
    metavar="NAME",
    multiple=True,
    show_default="all",
    help="Fetch only this part: vqvae, prior_0, prior_1, ... Repeatable.",
)
@click.option(
    "--revision", metavar="REVISION", show_default="main", help="Commit, tag or branch of REPO."
)
@output_option(
    help="Also make a folder that holds everything and needs neither the Hub nor the cache.",
    kind="folder",
)
@overwrite_option
@json_option
@quiet_option
def pull(
    repo: str,
    components: tuple[str, ...],
    revision: str | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch a model from the Hugging Face Hub, so that it works without a network from then on.

    A model may refer to parts in other repositories: just those parts are fetched too, at the
    commits that it names. Prints the folder of every part in the cache, after its name and a tab;
    with --output, that folder. What is there already is not fetched again.
    """
    from jukebox_hf.hub import pull as pull_repository
    from jukebox_hf.words import format_bytes

    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    found = pull_repository(
        repo,
        components=components or None,
        revision=revision,
        output=output,
        overwrite=overwrite,
    )
    for text in found.notes:
        note(f"Note: {text}", quiet=quiet)
    for part in found.parts:
        origin = f"{part.repo_id} at {part.revision[:12]}" if part.repo_id and part.revision else ""
        note(f"{part.name}: {format_bytes(part.num_bytes)}, {origin or 'local'}", quiet=quiet)
    if found.licence == "openai-noncommercial":
        note(
            "Note: these weights are under OpenAI's Noncommercial Use License, which also covers "
            "the music made with them: no commercial use",
            quiet=quiet,
        )
    record = {
        "source": found.source,
        "commit": found.commit,
        "licence": found.licence,
        "output": found.output,
        "parts": {
            part.name: {
                "folder": part.folder,
                "repo_id": part.repo_id,
                "revision": part.revision,
                "bytes": part.num_bytes,
            }
            for part in found.parts
        },
        "notes": list(found.notes),
    }
    lines = "\n".join(f"{part.name}\t{part.folder}" for part in found.parts)
    print_result(found.output or lines, record, as_json=as_json)

"""`jukebox push`: a model, a part of one, an adapter or a dataset of codes, to the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, note, print_result, quiet_option


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--repo-id",
    required=True,
    metavar="OWNER/NAME",
    help="Repository on the Hub; made if it does not exist. A name alone is one of your own.",
)
@click.option(
    "--component",
    "components",
    metavar="NAME",
    multiple=True,
    show_default="the whole model",
    help="Push only this part of a model: vqvae, prior_0, prior_1, ... What the repository has "
    "already stays. Repeatable.",
)
@click.option(
    "--refer-to",
    metavar="REPO",
    help="Do not upload what is the same in this repository, but refer to it there.",
)
@click.option(
    "--merged",
    is_flag=True,
    help="Add LoRA weights to those of their priors: a model that needs no adapter.",
)
@click.option("--private", is_flag=True, help="If the repository is new, only you can see it.")
@click.option("--revision", metavar="BRANCH", default="main", help="Branch to push to.")
@click.option(
    "--replace-card",
    is_flag=True,
    help="Take the README.md in PATH, where that of the repository says something else.",
)
@click.option("--commit-message", metavar="TEXT", help="Of the commit.")
@click.option(
    "--create-pr", is_flag=True, help="Offer the files as a pull request instead of pushing them."
)
@click.option(
    "--licence",
    metavar="ID",
    show_default="as the card says",
    help="Of a dataset, for its card: an identifier such as cc-by-4.0.",
)
@json_option
@quiet_option
def push(
    path: Path,
    repo_id: str,
    components: tuple[str, ...],
    refer_to: str | None,
    merged: bool,
    private: bool,
    revision: str,
    replace_card: bool,
    commit_message: str | None,
    create_pr: bool,
    licence: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Upload a model to the Hugging Face Hub, with a card that says what it is.

    PATH is the folder of a model, of one bare component, of a LoRA adapter, or of a dataset of
    codes. What a model refers to in other repositories is not uploaded: the pushed manifest refers
    to it, at the commit that it has now. Run it again after an interruption; what has been uploaded
    is not sent twice. Log in first: hf auth login.
    """
    from jukebox_hf.hub import push as push_folder

    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    done = push_folder(
        path,
        repo_id,
        components=components or None,
        private=True if private else None,
        revision=revision,
        refer_to=refer_to,
        merged=merged,
        replace_card=replace_card,
        message=commit_message,
        create_pr=create_pr,
        licence=licence,
    )
    for text in done.notes:
        note(f"Note: {text}", quiet=quiet)
    record = {
        "repo_id": done.repo_id,
        "repo_type": done.repo_type,
        "url": done.url,
        "commit": done.commit,
        "files": list(done.files),
        "notes": list(done.notes),
    }
    print_result(done.url, record, as_json=as_json)

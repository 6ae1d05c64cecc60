"""A studio on the Hub: the three files of a Space that runs `jukebox studio`, and their upload.

The name of a Space and of a model on the Hub go in; the Space's address comes out. How the studio
behaves there, the server decides when it starts (`command`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # plain torch brings gigabytes for NVIDIA
CARD, RECIPE, NEEDED = "README.md", "Dockerfile", "requirements.txt"


class PushedSpace(NamedTuple):
    """A Space that was written.

    Attributes:
        url, commit: of it.
        files: that were uploaded; a README.md that was there stays.
        notes: what its owner should know.
    """

    url: str
    commit: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


def push_space(repo_id: str, model: str | None, *, private: bool) -> PushedSpace:
    """Make a Space that offers a model, or bring it up to date.

    Raises `ValueError` for a model that is a folder of this machine, and what `open_target` raises.
    """
    from jukebox_hf import version
    from jukebox_hf.files import find_here
    from jukebox_hf.hub import System, card_licence, open_target

    if model is not None and find_here(model) is not None:
        raise ValueError(
            f"{model} is a folder here, which a Space cannot open; push it first (jukebox push "
            f"{model} --repo-id OWNER/NAME), and give that name as --model"
        )
    licence = card_licence(System.open(model).licence)
    target = open_target(
        repo_id,
        repo_type="space",
        private=True if private else None,
        branch=None,
        space_sdk="docker",
    )
    files = space_files(target.repo_id, model, licence)
    if "app_port" in (target.read(CARD) or ""):
        del files[CARD]  # its owner may have written into it
    content = {name: text.encode() for name, text in files.items()}
    commit = target.upload(content, (), "jukebox studio")
    notes = [
        "It is built now, which takes some minutes; cpu-basic is free and forgets pieces when it "
        "sleeps, unless you mount storage at /home/user/pieces.",
    ]
    if model is not None:
        notes.append(f"If {model} is private, give the Space a secret HF_TOKEN that may read it.")
    if "dev" in version.__version__:
        notes.append(
            f"It installs version {version.__version__}, which is not published yet: put another "
            f"one into its {NEEDED} if the Space cannot be built."
        )
    if CARD not in files:
        notes.append("Its README.md stays as it was.")
    return PushedSpace(target.url, commit, tuple(files), tuple(notes))


def space_files(repo_id: str, model: str | None, licence: dict[str, Any]) -> dict[str, str]:
    """The files of a Space by name; `licence` is what a card says about one."""
    import yaml

    from jukebox_hf import version

    title = repo_id.rpartition("/")[2].replace("-", " ").replace("_", " ")
    front = {
        "title": title,
        "emoji": "\N{MUSICAL SCORE}",
        "colorFrom": "red",
        "colorTo": "yellow",
        "sdk": "docker",
        "app_port": 7860,
        "suggested_hardware": "cpu-basic",
        **licence,
        **({"models": [model]} if model else {}),
        "tags": ["jukebox", "music"],
        "short_description": "Compose music by choosing: takes, keep, go on",
    }
    about = f"[{model}](https://huggingface.co/{model})" if model else "the model of the package"
    card = f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# {title}

A page to compose on with {about}: make a few takes, listen while they grow, keep the good one, go
on from the moment before it went wrong, finish and download it. Everybody who opens the page has
pieces of their own, which are gone when the Space sleeps: "Download piece" takes one home, where
`jukebox continue` goes on with it.
"""
    offered = f', "--model", "{model}"' if model else ""
    recipe = f"""FROM python:3.12-slim
RUN useradd -m -u 1000 user
USER user
ENV HOME=/home/user PATH=/home/user/.local/bin:$PATH
WORKDIR /home/user
RUN pip install --no-cache-dir --user --index-url {CPU_INDEX} torch
COPY --chown=user {NEEDED} .
RUN pip install --no-cache-dir --user -r {NEEDED}
EXPOSE 7860
CMD ["jukebox", "studio", "/home/user/pieces"{offered}]
"""
    return {CARD: card, RECIPE: recipe, NEEDED: f"jukebox-hf[studio]=={version.__version__}\n"}

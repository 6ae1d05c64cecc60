"""The model that comes with the package: the folder `demo/` in it, which needs no network.

Sessions do not record where that folder is, which differs from machine to machine, but `BUILT_IN`
and digests of what is in it.
"""

from pathlib import Path

from jukebox_hf.hub.manifest import MANIFEST_NAME

FOLDER = Path(__file__).resolve().parent.parent / "demo"
BUILT_IN = "built-in"  # in the records of sessions, instead of a folder
BUILT_IN_NAME = "demo-22k"  # what it is called: in its manifest, and wherever a model is named
LARGER_MODEL = "openai/jukebox-1b-lyrics"


def built_in_model() -> Path:
    """The folder of the model that comes with the package; `FileNotFoundError` if it has none."""
    if not (FOLDER / MANIFEST_NAME).is_file():
        raise FileNotFoundError(
            "the model that comes with the package is missing in this installation; name another "
            f"(--model): a folder, or a repository on the Hub such as {LARGER_MODEL}"
        )
    return FOLDER


def is_built_in(folder: Path) -> bool:
    """Whether that is the folder of the model that comes with the package."""
    return folder.resolve() == FOLDER.resolve()

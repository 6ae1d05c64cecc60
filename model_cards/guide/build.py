"""Writes the guide and the API reference as HTML.

python -m model_cards.guide.build FOLDER
"""

import contextlib
import sys
import warnings
from importlib import import_module
from pathlib import Path

PACKAGES = (  # whose fronts are public
    *("audio", "codes", "data", "generation", "hub", "labels", "listening", "prior"),
    *("representations", "training", "vqvae"),
)


def build(folder: Path) -> None:
    """Write all pages into a folder, `index.html` first; what is there is replaced.

    Raises `ModuleNotFoundError` without pdoc (`pip install "jukebox-hf[docs]"`).
    """
    import pdoc

    _import_pydub()
    guide = "jukebox_model_cards.guide"
    commands = import_module(f"{guide}.commands")
    commands.__doc__ = commands.describe_commands()
    pdoc.render.configure(docformat="google", footer_text="jukebox_hf", search=True)
    packages = [f"jukebox_hf.{name}" for name in PACKAGES]
    for front in map(
        import_module, ("jukebox_hf", *packages)
    ):  # lazy ones, which pdoc does not ask
        for name in getattr(front, "__all__", ()):
            setattr(front, name, getattr(front, name))
    inside = [rf"!{package}\." for package in packages]  # fronts say what is public
    modules = [guide, f"!{guide}.build", "jukebox_hf", *packages, *inside]
    pdoc.pdoc(*modules, output_directory=folder)


def _import_pydub() -> None:
    """In silence: it tells of FFmpeg, and of itself, wherever it is imported first."""
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        import_module("pydub")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one folder to write into: python -m model_cards.guide.build FOLDER")
    build(Path(sys.argv[1]))

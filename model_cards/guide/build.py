"""Writes the guide and the API reference as HTML.

python -m model_cards.guide.build FOLDER
"""

import contextlib
import sys
from importlib import import_module
from pathlib import Path

from jukebox_hf.audio.segments import segment_class

PACKAGES = (  # whose fronts are public
    *("audio", "codes", "data", "generation", "hub", "labels", "listening", "prior"),
    *("representations", "training", "vqvae"),
)


def build(folder: Path) -> None:
    """Write all pages into a folder, `index.html` first; what is there is replaced.

    Raises `ModuleNotFoundError` without pdoc (`pip install "jukebox-hf[docs]"`).
    """
    import pdoc

    with contextlib.suppress(ImportError):
        segment_class()  # imports pydub in silence, which is otherwise imported to read its types
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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one folder to write into: python -m model_cards.guide.build FOLDER")
    build(Path(sys.argv[1]))

"""Take the picture of the studio's page that the README shows.

    python -m tests.cli.studio.picture [--folder FOLDER]

Makes some pieces with the model that comes with the package, unless FOLDER has them already, opens
the page on them, and writes `cli/studio/studio.png`. Needs playwright and a browser (`make
browser-tools`).
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from tests.cli.studio.browser import Visit, launch
from tests.cli.studio.studio_process import StudioProcess

PICTURE = Path(__file__).parents[3] / "cli" / "studio" / "studio.png"
COLOURS = 64
LONGEST = 1800.0  # seconds that a piece may take
SIZE = {"width": 1200, "height": 1010}
PIECES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("first-try", {"genre": "rock", "seconds": 6, "takes": 2, "seed": 7}),
    ("bridge", {"verb": "continue", "source": "first-try", "numbers": [2], "from_seconds": 4}),
    ("mended", {"verb": "infill", "source": "first-try", "numbers": [2], "from_seconds": 2}),
    ("sketches", {"genre": "folk", "seconds": 5, "takes": 3, "seed": 5, "sketch": True}),
)
MORE = {"bridge": {"seconds": 3}, "mended": {"to_seconds": 3, "candidates": 2}}


@contextmanager
def studio_with_pieces(folder: Path) -> Iterator[StudioProcess]:
    """A studio whose folder has `PIECES`."""
    studio = StudioProcess(folder)
    try:
        for name, request in PIECES:
            if not (folder / name).exists():
                studio.make(**{"name": name, **request, **MORE.get(name, {})})
            studio.wait_for(name, "done", "sketch", patience=LONGEST)
        studio.act("first-try", "keep", numbers=[2])
        yield studio
    finally:
        studio.stop()


def take_picture(studio: StudioProcess, browser: Any, path: Path, **options: Any) -> None:
    """The open piece, with a stretch that is chosen."""
    seen = Visit(browser, f"{studio.address}#first-try", **options)
    seen.heading("first-try").wait_for()
    seen.wait_until("studio.state.ready")
    seen.page.locator("#take-2").click()
    seen.wait_until("studio.player.duration > 5.9")
    seen.evaluate("studio.view.setStretch(2, 3.2)")
    seen.evaluate("studio.player.seek(2.5)")
    seen.wait_until("studio.view.list.every((take) => studio.view.sounds.picture(take.number))")
    seen.page.screenshot(path=path)
    seen.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--folder", type=Path, help="of the pieces; kept")
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "music"
        folder.mkdir(parents=True, exist_ok=True)
        with studio_with_pieces(folder) as studio:
            for browser in launch():
                take_picture(studio, browser, arguments.output, viewport=SIZE)
    with Image.open(arguments.output) as taken:  # few colours: a third of the size
        taken.convert("RGB").quantize(COLOURS).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()

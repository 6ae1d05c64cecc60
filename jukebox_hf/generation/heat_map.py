"""A picture of an alignment: time to the right, lyrics downwards, darker where the prior looks.

A `LyricAlignment` goes in; a PNG comes out. Pillow is imported where it is used.
"""

import io
import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jukebox_hf.files import write_atomically
from jukebox_hf.generation.alignment import LyricAlignment

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 1200  # of the map itself, in pixels
ROW_PIXELS = 14  # of a line of text
LARGEST_HEIGHT = 1600
LABEL_CHARACTERS = 26
MARGINS = (230, 46, 24, 56)  # left, top, right, bottom
PLAIN = str.maketrans("\u2013\u2014\u2018\u2019\u201c\u201d", "--''\"\"")  # dashes and quotes
CONTRAST = 0.7  # below 1 shows weak attention too
# From nothing to all of the attention: white, then ever darker blues, 256 shades mixed from these.
COLOURS = ((255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_PLACES = np.linspace(0, 255, len(COLOURS))
_CHANNELS = [np.interp(np.arange(256), _PLACES, part) for part in zip(*COLOURS, strict=True)]
SHADES = np.stack(_CHANNELS, axis=-1).round().astype(np.uint8)


def save_heat_map(
    path: str | os.PathLike[str], alignment: LyricAlignment, *, title: str = ""
) -> None:
    """Write the picture; an existing file is replaced in one step. `ValueError` if it is empty."""
    picture = io.BytesIO()
    draw_heat_map(alignment, title=title).save(picture, format="PNG", optimize=True)

    def write(temporary: Path) -> None:
        temporary.write_bytes(picture.getvalue())

    write_atomically(path, write)


def draw_heat_map(alignment: LyricAlignment, *, title: str = "") -> "Image":
    """The picture, with an axis of seconds and the lyrics beside their rows.

    Only the characters that some window saw are shown. Every cell is the largest weight that falls
    on its pixel, so that narrow peaks stay visible.
    """
    from PIL import Image, ImageDraw

    weights = alignment.character_weights().numpy()
    seen = np.flatnonzero(weights.max(axis=0, initial=0.0) > 0)
    if len(weights) == 0 or seen.size == 0:
        raise ValueError("the alignment is empty: no code attends to any character")
    first, last = int(seen[0]), int(seen[-1])
    rows = last - first + 1
    height = int(np.clip(rows * ROW_PIXELS, 10 * ROW_PIXELS, LARGEST_HEIGHT))
    cells = _largest_per_pixel(weights[:, first : last + 1].T, height, WIDTH)
    left, top, right, bottom = MARGINS
    picture = Image.new("RGB", (left + WIDTH + right, top + height + bottom), "white")
    picture.paste(Image.fromarray(_coloured(cells)), (left, top))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 1, top - 1, left + WIDTH, top + height), outline="black")
    draw.text((left, 14), _plain(title, 120), fill="black", font=_font(16))
    _draw_seconds(draw, alignment.duration_seconds, top + height)
    _draw_lyrics(draw, alignment.lyrics[first : last + 1], height)
    return picture


def _largest_per_pixel(
    weights: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """(rows, columns) -> (height, width): maxima where it shrinks, repetition where it grows."""
    for axis, size in ((0, height), (1, width)):
        length = weights.shape[axis]
        edges = np.arange(size) * length // size  # repeated where there are fewer cells than pixels
        if length >= size:
            weights = np.maximum.reduceat(weights, edges, axis=axis)
        else:
            weights = np.take(weights, edges, axis=axis)
    return weights


def _coloured(cells: NDArray[np.float32]) -> NDArray[np.uint8]:
    full = max(float(np.quantile(cells, 0.999)), 1e-6)
    strength = np.clip(cells / full, 0, 1) ** CONTRAST
    colours: NDArray[np.uint8] = SHADES[(strength * 255).round().astype(np.uint8)]
    return colours


def _draw_seconds(draw: Any, duration_seconds: float, baseline: int) -> None:
    left = MARGINS[0]
    step = next(
        (s for s in (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60) if duration_seconds / s <= 14),
        120,
    )
    for number in range(int(duration_seconds / step) + 1):
        x = left + number * step / duration_seconds * WIDTH
        draw.line((x, baseline, x, baseline + 6), fill="black")
        draw.text(
            (x, baseline + 8), f"{number * step:g}", fill="black", font=_font(12), anchor="ma"
        )
    draw.text(
        (left + WIDTH / 2, baseline + 30), "seconds", fill="black", font=_font(13), anchor="ma"
    )


def _draw_lyrics(draw: Any, lyrics: str, height: int) -> None:
    """The lyrics beside their rows: every character where there is room, else some words."""
    left, top = MARGINS[0], MARGINS[1]
    pixels = height / len(lyrics)
    if pixels >= ROW_PIXELS - 1:
        for place, character in enumerate(lyrics):
            y = top + (place + 0.5) * pixels
            shown = {"\n": "/", " ": "_", "\t": "_"}.get(character, character)
            draw.text((left - 8, y), shown, fill="black", font=_font(12), anchor="rm")
        return
    for place, words in _labels(lyrics, pixels):
        y = top + (place + 0.5) * pixels
        draw.line((left - 5, y, left - 1, y), fill="black")
        draw.text(
            (left - 8, y),
            _plain(words, LABEL_CHARACTERS),
            fill="black",
            font=_font(12),
            anchor="rm",
        )


def _labels(lyrics: str, pixels: float) -> list[tuple[int, str]]:
    """Where labels stand and what they say: as few words each as leave room for the next label."""
    labels: list[tuple[int, str]] = []
    for match in re.finditer(r"\S+", lyrics):
        if labels and (match.start() - labels[-1][0]) * pixels < ROW_PIXELS:
            place, words = labels.pop()
            labels.append((place, f"{words} {match.group()}"))
        else:
            labels.append((match.start(), match.group()))
    return labels


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _plain(text: str, length: int) -> str:
    """One line of what the built-in font can show: Latin letters."""
    line = unicodedata.normalize("NFKC", " ".join(text.split())).translate(PLAIN)
    line = line.encode("latin-1", errors="replace").decode("latin-1")
    return line if len(line) <= length else line[: length - 3] + "..."

"""A picture of an evaluation: every measure of the samples beside the reference.

Each row is one measure; its axis reaches from the lowest to the highest end of both intervals, and
a little further.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from jukebox_hf.files import write_atomically
from jukebox_hf.listening.music_evaluation import MEASURES, MusicEvaluation
from jukebox_hf.listening.statistics import Interval

WIDTH, ROW, LEFT, RIGHT, TOP = 900, 56, 300, 120, 60
SAMPLES, REFERENCE, GREY = (200, 80, 30), (40, 90, 160), (210, 210, 210)


def save_picture(path: Path, found: MusicEvaluation) -> None:
    """Write it as PNG, whole or not at all."""
    names = [name for name in MEASURES if name in found.measures]
    image = Image.new("RGB", (WIDTH, TOP + ROW * len(names) + 10), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    draw.text((20, 15), f"{found.samples} samples", SAMPLES, font)
    draw.text((180, 15), f"{found.clips} clips of reference", REFERENCE, font)
    draw.text((430, 15), "means with 95 % intervals", (90, 90, 90), font)
    for row, name in enumerate(names):
        measure = found.measures[name]
        middle = TOP + row * ROW + ROW // 2
        ends = [*measure.samples[1:], *measure.reference[1:]]
        low, high = min(ends), max(ends)
        spare = 0.15 * (high - low) or max(abs(high), 1.0)
        low, high = low - spare, high + spare
        draw.text((20, middle - 9), MEASURES[name], "black", font)
        draw.line((LEFT, middle, WIDTH - RIGHT, middle), GREY, 1)
        for interval, colour, shift in (
            (measure.samples, SAMPLES, -9),
            (measure.reference, REFERENCE, 9),
        ):
            _draw(draw, interval, middle + shift, low, high, colour)
            text = f"{interval.mean:.3g}"
            draw.text((WIDTH - RIGHT + 15, middle + shift - 9), text, colour, font)
    write_atomically(path, lambda file: image.save(file, format="PNG"), sweep=True)


def _draw(
    draw: ImageDraw.ImageDraw,
    interval: Interval,
    y: int,
    low: float,
    high: float,
    colour: tuple[int, int, int],
) -> None:
    """A dot with a line to both ends of its interval."""
    mean, first, last = (
        LEFT + (value - low) / (high - low) * (WIDTH - RIGHT - LEFT) for value in interval
    )
    draw.line((first, y, last, y), colour, 3)
    draw.ellipse((mean - 6, y - 6, mean + 6, y + 6), colour)

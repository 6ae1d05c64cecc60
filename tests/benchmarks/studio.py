"""How quick and how small `jukebox studio` is, beside `jukebox generate` in the same run.

    python -m tests.benchmarks.studio [--repeats 3] [--seconds 6]

Measured with the model that comes with the package: from the start of the server to its first
answer; from opening the page to its use; the server's memory; and from the click on "Make" to the
first sound in the page, against what `jukebox generate` needs from its start to its first preview.
The two take turns. The server's memory is measured again while a piece of ten minutes is opened,
drawn and heard. Needs playwright and a browser (`make browser-tools`).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from tests.cli.studio.browser import find_browser
from tests.cli.studio.long_piece import make_long_piece
from tests.cli.studio.studio_process import StudioProcess


def first_preview(folder: Path, seconds: float) -> float:
    """Seconds from the start of `jukebox generate` to its first preview."""
    command = [sys.executable, "-m", "jukebox_hf", "generate", "--genre", "rock", "-q"]
    began = time.perf_counter()
    preview = folder / "preview" / "01.wav"
    with subprocess.Popen([*command, "--seconds", str(seconds), "-o", str(folder)]) as process:
        while not (preview.is_file() and preview.stat().st_size > 1000):
            assert process.poll() is None, "it ended before there was a preview"
            time.sleep(0.01)
        taken = time.perf_counter() - began
        process.terminate()
    return taken


def first_sound(page: Page, studio: StudioProcess, seconds: float) -> float:
    """Seconds from the click on "Make" to sound in the page."""
    page.get_by_role("button", name="New piece").first.click()
    page.get_by_label("Genre", exact=True).fill("rock")
    page.get_by_label("Length in seconds").fill(str(seconds))
    page.get_by_text("of music.").wait_for()
    began = time.perf_counter()
    page.get_by_role("button", name="Make", exact=True).click()
    while not page.evaluate("studio.player.rms() > 0.001"):
        time.sleep(0.01)
    taken = time.perf_counter() - began
    name = page.evaluate("studio.view.name")
    studio.act(name, "stop")
    studio.wait_for(name, "stopped")
    return taken


def largest_memory(page: Page, server: psutil.Process) -> int:
    """Most bytes of the server while the page opens a piece of ten minutes, draws and plays it."""
    page.get_by_role("button", name="long").first.click()
    most = 0

    def is_true(script: str) -> bool:
        nonlocal most
        most = max(most, server.memory_info().rss)
        return bool(page.evaluate(script))

    until(lambda: is_true("studio.view.sounds.picture(1)?.end > 599.9"))
    page.evaluate("studio.player.seek(555)")
    page.get_by_role("button", name="Play", exact=True).click()
    until(lambda: is_true("studio.player.rms() > 0.5"))
    return most


def until(condition: Callable[[], object]) -> float:
    """Seconds until something is true."""
    began = time.perf_counter()
    while not condition():
        time.sleep(0.005)
    return time.perf_counter() - began


def rounded(times: list[float]) -> list[float]:
    return [round(one, 2) for one in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    command_line, page_sound = [], []
    with tempfile.TemporaryDirectory() as place, sync_playwright() as run:
        folder = Path(place)
        (folder / "pieces").mkdir()
        began = time.perf_counter()
        studio = StudioProcess(folder / "pieces")
        studio.state()
        answer = time.perf_counter() - began
        browser = run.chromium.launch(executable_path=find_browser())
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(studio.address)
        page.get_by_role("button", name="New piece").first.wait_for()
        usable = time.perf_counter() - began
        ready = until(lambda: studio.state()["ready"])
        for number in range(options.repeats):
            command_line.append(first_preview(folder / f"take-{number}", options.seconds))
            page_sound.append(first_sound(page, studio, options.seconds))
        server = psutil.Process(studio.process.pid)
        memory = server.memory_info().rss
        make_long_piece(folder / "pieces" / "song-1", folder / "pieces" / "long")
        memory_long = largest_memory(page, server)
        generate, click = statistics.median(command_line), statistics.median(page_sound)
        print(f"start to first answer {answer:.2f} s; page usable {usable:.2f} s after opening")
        print(
            f"server {memory / 1e6:.0f} MB, at most {memory_long / 1e6:.0f} MB with a piece of ten "
            f"minutes open; {server.cpu_times().user:.1f} CPU s"
        )
        print(f"the worker had its library {ready:.1f} s after that")
        print(f"generate, start to preview: median {generate:.2f} s of {rounded(command_line)}")
        print(f"studio, click to sound: median {click:.2f} s of {rounded(page_sound)}")
        print(f"ratio {click / generate:.2f}")
        browser.close()
        studio.stop()


if __name__ == "__main__":
    main()

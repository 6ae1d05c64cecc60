"""The karaoke page in a browser: it plays, lights up words, is read by everybody, and downloads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.audio import save_audio
from jukebox_hf.generation.karaoke import save_karaoke_page
from jukebox_hf.generation.word_times import SungWord
from tests.cli.studio.browser import RunningBrowser, Visit, launch, violations

pytestmark = pytest.mark.browser

LYRICS = "La la lo\nand no more"


@pytest.fixture(scope="module")
def browser() -> Iterator[RunningBrowser]:
    yield from launch()


@pytest.fixture(autouse=True)
def _watched(browser: RunningBrowser) -> Iterator[None]:
    """No browser that hangs holds up the tests."""
    with browser.watched():
        yield


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("karaoke")
    tune = 0.2 * torch.sin(torch.arange(4 * 8000) / 8000 * 2760)
    audio = save_audio(folder / "01_rock.wav", tune[None], 8000).path
    words = [SungWord("La", 0, 0.5, 1.5, 0.9), SungWord("la", 3, 1.5, 2.5, 0.9)]
    notes = "Made by mine, licence: CC-BY-SA-4.0\nAsked for: genre rock\nUsed: genre rock"
    save_karaoke_page(folder / "x.html", words, LYRICS, audio, title="Take 1, rock", notes=notes)
    return folder / "x.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_light_up_and_nobody_is_kept_out(page: Path, browser: Any, scheme: str) -> None:
    seen = Visit(
        browser, page.as_uri(), color_scheme=scheme, viewport={"width": 360, "height": 700}
    )
    seen.wait_until("document.querySelector('audio').readyState > 1 || null")
    seen.page.get_by_text("la", exact=True).click()
    seen.wait_until("document.querySelector('.now')?.textContent === 'la'")
    seen.wait_until("document.querySelector('audio').currentTime > 1.6")  # it plays from there
    seen.evaluate("document.querySelector('audio').pause()")
    assert seen.evaluate("document.querySelector('.sung').textContent") == "La"
    assert violations(seen) == []
    assert seen.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert seen.page.get_by_text("For words in grey the model gave no time.").is_visible()
    assert seen.errors == []
    assert [address for address in seen.requests if address.startswith("http")] == []
    with seen.page.expect_download() as loaded:
        seen.page.get_by_text("Download").click()
    assert loaded.value.suggested_filename == "01_rock.wav"
    seen.close()

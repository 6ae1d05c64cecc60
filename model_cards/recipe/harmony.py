"""Keys, chords and how they follow each other: pitch classes, no sound.

A key and a random generator go in, one chord a bar comes out; a chord and the notes that sounded
before it go in, its notes with the shortest ways between them come out. Pitches are MIDI numbers
(60 is middle C), pitch classes 0 (C) to 11 (B), times are quarter notes.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

OCTAVE = 12
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    }
)
# Which degrees may follow a degree; those named twice do so twice as often. The diminished triads
# (7 in major, 2 in minor, 6 in dorian, 3 in mixolydian) are left out.
FOLLOWERS: Mapping[str, Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {
        "major": {
            1: (4, 5, 6, 6, 2, 3),
            2: (5, 5, 4),
            3: (6, 4),
            4: (5, 5, 1, 2),
            5: (1, 1, 6, 4),
            6: (4, 4, 2, 5),
        },
        "minor": {
            1: (6, 7, 4, 4, 5, 3),
            3: (6, 7, 4),
            4: (5, 5, 7, 1),
            5: (1, 1, 6),
            6: (7, 3, 4, 5),
            7: (1, 3, 6),
        },
        "dorian": {1: (4, 4, 7, 3, 5), 3: (4, 7), 4: (1, 1, 7, 5), 5: (1, 4), 7: (4, 1, 3)},
        "mixolydian": {1: (7, 7, 4, 5, 6), 4: (1, 5, 7), 5: (4, 1, 7), 6: (4, 7), 7: (4, 4, 1)},
    }
)
# The degree from which a phrase comes home, and on which one that goes on stands still.
CADENCES: Mapping[str, int] = MappingProxyType(
    {"major": 5, "minor": 5, "dorian": 4, "mixolydian": 7}
)
DRAWS = 200  # of a phrase, before one without its random middle is taken


class Key(NamedTuple):
    """A tonic (pitch class) and a mode, one of `MODES`."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """Such as `Eb minor`."""
        return f"{NAMES[self.tonic]} {self.mode}"

    def scale(self, degree: int = 1) -> tuple[int, ...]:
        """The seven pitch classes while a chord on `degree` sounds.

        Minor has its leading note over the fifth degree.
        """
        steps = list(MODES[self.mode])
        if self.mode == "minor" and degree == 5:
            steps[6] += 1
        return tuple((self.tonic + step) % OCTAVE for step in steps)


class Chord(NamedTuple):
    """A chord of a key, with its time.

    Attributes:
        degree: of its root, from 1.
        classes: pitch classes, the root first.
        start, length: quarter notes.
    """

    degree: int
    classes: tuple[int, ...]
    start: float
    length: float

    def moved(self, quarters: float) -> "Chord":
        """The same chord later."""
        return self._replace(start=self.start + quarters)


def chord_classes(key: Key, degree: int, *, seventh: bool = False) -> tuple[int, ...]:
    """Pitch classes of the triad or the seventh chord on a degree, the root first.

    >>> chord_classes(Key(9, "minor"), 5)
    (4, 8, 11)
    """
    scale = key.scale(degree)
    return tuple(scale[(degree - 1 + third) % 7] for third in (0, 2, 4, 6)[: 4 if seventh else 3])


def phrase_degrees(key: Key, bars: int, dice: random.Random, *, closed: bool) -> list[int]:
    """One degree a bar: from the first to the cadence, or home when `closed`."""
    followers, cadence = FOLLOWERS[key.mode], CADENCES[key.mode]
    ending = [cadence, 1] if closed else [cadence]
    for _ in range(DRAWS):
        degrees = [1]
        while len(degrees) < bars - len(ending):
            degrees.append(dice.choice(followers[degrees[-1]]))
        if cadence in followers[degrees[-1]]:
            return degrees + ending
    return [1] * (bars - len(ending)) + ending


def harmonise(
    key: Key, phrases: Sequence[bool], bars: int, bar: float, dice: random.Random, *, sevenths: bool
) -> tuple[Chord, ...]:
    """Chords of several phrases of `bars` bars, one a bar, each phrase closed or open."""
    chords: list[Chord] = []
    for closed in phrases:
        for degree in phrase_degrees(key, bars, dice, closed=closed):
            home = degree == 1 and len(chords) % bars == bars - 1
            classes = chord_classes(key, degree, seventh=sevenths and not home)
            chords.append(Chord(degree, classes, len(chords) * bar, bar))
    return tuple(chords)


def nearest_pitch(pitch: int, classes: Iterable[int]) -> int:
    """The pitch nearest to `pitch` (of two, the lower) whose class is one of `classes`."""
    classes = set(classes)
    for distance in range(OCTAVE):
        for near in (pitch - distance, pitch + distance):
            if near % OCTAVE in classes:
                return near
    raise ValueError("expected pitch classes from 0 to 11, got none")


def voice_chord(
    chord: Chord, before: Sequence[int], low: int, high: int, voices: int
) -> tuple[int, ...]:
    """So many notes of a chord in a range, lowest first, that move as little as can be.

    All its classes sound if there are as many voices. `before` are the notes of the chord before,
    or none. Raises `ValueError` where the range is too narrow for each class to be twice in it.
    """
    if high - low < 2 * OCTAVE - 1:
        raise ValueError(f"expected a range of 23 semitones or more, got {low} to {high}")
    classes = [chord.classes[number % len(chord.classes)] for number in range(voices)]
    if len(chord.classes) > voices:
        classes = [chord.classes[0], *chord.classes[len(chord.classes) - voices + 1 :]]
    choices = [
        [pitch for pitch in range(low, high + 1) if pitch % OCTAVE == one] for one in classes
    ]
    middle = (low + high) / 2
    targets: list[float] = [*sorted(before)] or [
        middle + 4 * (number - (voices - 1) / 2) for number in range(voices)
    ]

    def moved(pitches: tuple[int, ...]) -> float:
        pairs = zip(pitches, targets, strict=False)
        return sum(abs(pitch - target) for pitch, target in pairs)

    distinct = {tuple(sorted(set(pitches))) for pitches in product(*choices)}
    most = max(len(pitches) for pitches in distinct)
    return min(
        (pitches for pitches in sorted(distinct) if len(pitches) == most),
        key=lambda pitches: (moved(pitches), pitches),
    )

"""Pieces of music as notes, from seeds: key, metre, form, harmony, and voices that play them.

A number goes in, a `Score` comes out: the same for the same number. A piece has a key, a tempo that
does not move, sections of eight bars (two phrases, the second of which comes home) that come back
as its form says, and parts: melody, chords, bass, a held background, drums. Which instruments play
and how is the genre's `Style`. Chords are `harmony`'s work, sound is `render`'s.
"""

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from model_cards.recipe.harmony import (
    MODES,
    NAMES,
    OCTAVE,
    Chord,
    Key,
    harmonise,
    nearest_pitch,
    voice_chord,
)

DRUM_CHANNEL = 9
PHRASE_BARS = 4
FORMS = ("AABA", "AABB", "ABAB", "ABAC", "ABACA", "AABACA")
KICK, STICK, SNARE, HAT, OPEN_HAT, CRASH, TOM, SHAKER = 36, 37, 38, 42, 46, 49, 45, 70
CHORD_RANGE, BASS_RANGE = (51, 74), (33, 52)
SWING = 2 / 3  # of a beat: where its second half begins in a piece that swings


class Metre(NamedTuple):
    """How a bar is counted: its length and its beats in quarter notes."""

    name: str
    bar: float
    beats: tuple[float, ...]


METRES: Mapping[str, Metre] = MappingProxyType(
    {
        "4/4": Metre("4/4", 4.0, (0.0, 1.0, 2.0, 3.0)),
        "3/4": Metre("3/4", 3.0, (0.0, 1.0, 2.0)),
        "6/8": Metre("6/8", 3.0, (0.0, 1.5)),
    }
)
# Lengths of a melody's notes in one bar; a negative one is a rest.
RHYTHMS: Mapping[str, tuple[tuple[float, ...], ...]] = MappingProxyType(
    {
        "4/4": (
            (1, 1, 1, 1),
            (2, 1, 1),
            (1, 1, 2),
            (1.5, 0.5, 1, 1),
            (1, 0.5, 0.5, 1, 1),
            (0.5, 0.5, 1, 0.5, 0.5, 1),
            (1.5, 0.5, 2),
            (-0.5, 0.5, 0.5, 0.5, 1, 1),
            (1, 1, 0.5, 0.5, 1),
        ),
        "3/4": (
            (2, 1),
            (1, 1, 1),
            (1.5, 0.5, 1),
            (1, 0.5, 0.5, 1),
            (1, 1, 0.5, 0.5),
            (-1, 1, 1),
        ),
        "6/8": (
            (1.5, 1.5),
            (1, 0.5, 1, 0.5),
            (0.5, 0.5, 0.5, 1.5),
            (1, 0.5, 0.5, 0.5, 0.5),
            (1.5, 1, 0.5),
        ),
    }
)
# When drums are hit in one bar.
Hits = tuple[tuple[int, tuple[float, ...]], ...]
EIGHTHS = tuple(number / 2 for number in range(8))
GROOVES: Mapping[str, tuple[Hits, ...]] = MappingProxyType(
    {
        "4/4": (
            ((KICK, (0, 2)), (SNARE, (1, 3)), (HAT, EIGHTHS)),
            ((KICK, (0, 1.5, 2)), (SNARE, (1, 3)), (HAT, EIGHTHS)),
            ((KICK, (0, 1, 2, 3)), (SNARE, (1, 3)), (OPEN_HAT, (0.5, 1.5, 2.5, 3.5))),
            ((KICK, (0, 2.5)), (STICK, (1, 3)), (HAT, (0, 1, 2, 3))),
        ),
        "3/4": (
            ((KICK, (0,)), (SNARE, (1, 2)), (HAT, (0, 1, 2))),
            ((KICK, (0,)), (STICK, (1, 2)), (HAT, EIGHTHS[:6])),
        ),
        "6/8": (((KICK, (0,)), (SNARE, (1.5,)), (HAT, EIGHTHS[:6])),),
    }
)


class Note(NamedTuple):
    """A note: times in quarter notes, MIDI pitch and velocity (1 to 127)."""

    start: float
    length: float
    pitch: int
    velocity: int


class Part(NamedTuple):
    """What one instrument (General MIDI program from 0; the kit on `DRUM_CHANNEL`) plays."""

    name: str
    program: int
    channel: int
    notes: tuple[Note, ...]


class Score(NamedTuple):
    """A whole piece.

    Attributes:
        tempo: quarter notes a minute, the same throughout.
        form: a letter for each section.
        chords: one a bar, without gaps.
        quarters: length, the last note's tail included.
    """

    genre: str
    key: Key
    metre: str
    tempo: float
    form: str
    chords: tuple[Chord, ...]
    parts: tuple[Part, ...]
    quarters: float

    @property
    def seconds(self) -> float:
        return self.quarters * 60 / self.tempo


class Style(NamedTuple):
    """A genre: what plays, and how. Programs are drawn from; an empty tuple is no such part."""

    tempos: tuple[int, int]
    metres: tuple[str, ...]
    melody: tuple[int, ...]
    chords: tuple[int, ...]
    patterns: tuple[str, ...]
    bass: tuple[int, ...] = ()
    bass_lines: tuple[str, ...] = ("roots",)
    pads: tuple[int, ...] = ()
    kits: tuple[int, ...] = ()
    melody_range: tuple[int, int] = (62, 84)
    swing_share: float = 0.0


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "piano": Style(
            (66, 126),
            ("4/4", "4/4", "3/4", "6/8"),
            (0, 1, 4),
            (0, 1, 4),
            ("broken", "block", "after", "rolled"),
            bass=(0, 1, 4),
            bass_lines=("roots", "fifths"),
            melody_range=(64, 88),
        ),
        "strings": Style(
            (60, 116),
            ("4/4", "3/4", "3/4", "6/8"),
            (40, 48),
            (48, 49, 45, 46),
            ("held", "block", "broken"),
            bass=(42, 43),
            bass_lines=("roots", "fifths", "walking"),
            pads=(48, 49),
            melody_range=(64, 86),
        ),
        "winds": Style(
            (66, 120),
            ("4/4", "3/4", "6/8"),
            (73, 68, 71, 74),
            (60, 71, 46),
            ("held", "block", "broken"),
            bass=(70, 57),
            bass_lines=("roots", "fifths"),
            melody_range=(66, 86),
        ),
        "guitar": Style(
            (72, 132),
            ("4/4", "4/4", "3/4", "6/8"),
            (24, 25, 22, 73),
            (24, 25),
            ("strummed", "broken", "after"),
            bass=(32,),
            bass_lines=("roots", "fifths"),
            melody_range=(62, 81),
        ),
        "band": Style(
            (84, 152),
            ("4/4",),
            (26, 27, 30, 65, 56),
            (27, 16, 0, 4),
            ("after", "strummed", "block"),
            bass=(33, 34),
            bass_lines=("eighths", "walking", "fifths"),
            kits=(0, 8, 16),
            melody_range=(60, 81),
            swing_share=0.25,
        ),
        "synth": Style(
            (96, 140),
            ("4/4",),
            (80, 81, 87, 11),
            (81, 90, 62),
            ("broken", "block", "after"),
            bass=(38, 39),
            bass_lines=("eighths", "octaves"),
            pads=(89, 95),
            kits=(24, 25),
            melody_range=(62, 84),
        ),
    }
)
GENRES = tuple(STYLES)
# How loud each part is beside the others.
VELOCITIES: Mapping[str, int] = MappingProxyType(
    {"melody": 98, "chords": 66, "bass": 84, "pad": 46, "drums": 82}
)


class Section(NamedTuple):
    """Eight bars that come back: chords and a melody, from 0."""

    chords: tuple[Chord, ...]
    melody: tuple[Note, ...]


def compose(seed: int, genre: str, *, seconds: float = 75.0) -> Score:
    """A piece of about so many seconds, at least once through its form.

    Raises `ValueError` for an unknown genre or a length that is not above 0.
    """
    if genre not in STYLES:
        raise ValueError(f"expected a genre of {', '.join(GENRES)}, got {genre!r}")
    if not seconds > 0:
        raise ValueError(f"expected more than 0 seconds, got {seconds:g}")
    dice, style = random.Random(f"piece {seed}"), STYLES[genre]
    key = Key(dice.randrange(len(NAMES)), dice.choice(tuple(MODES)))
    metre = METRES[dice.choice(style.metres)]
    tempo = float(dice.randint(*style.tempos))
    sevenths = dice.random() < 0.25
    swings = metre.name == "4/4" and dice.random() < style.swing_share
    letters = dice.choice(FORMS)
    section_seconds = 2 * PHRASE_BARS * metre.bar * 60 / tempo
    times = max(1, round(seconds / (len(letters) * section_seconds)))
    form = (letters * times) if times > 1 else letters
    sections = {
        letter: write_section(key, metre, style, dice, sevenths=sevenths)
        for letter in sorted(set(letters))
    }
    channels = iter(channel for channel in range(16) if channel != DRUM_CHANNEL)
    chords: list[Chord] = []
    melody: list[Note] = []
    accompaniment: dict[str, list[Note]] = {"chords": [], "bass": [], "pad": [], "drums": []}
    patterns = {letter: dice.choice(style.patterns) for letter in sections}
    lines = {letter: dice.choice(style.bass_lines) for letter in sections}
    grooves = {letter: dice.choice(GROOVES[metre.name]) for letter in sections}
    voicing: tuple[int, ...] = ()
    for number, letter in enumerate(form):
        begin = number * 2 * PHRASE_BARS * metre.bar
        section = sections[letter]
        now = [chord.moved(begin) for chord in section.chords]
        melody += [note._replace(start=note.start + begin) for note in section.melody]
        for index, chord in enumerate(now):
            voicing = voice_chord(chord, voicing, *CHORD_RANGE, voices=4)
            accompaniment["chords"] += play_chord(chord, voicing, patterns[letter], metre)
            following = now[(index + 1) % len(now)]
            accompaniment["bass"] += play_bass(chord, following, lines[letter], metre)
            accompaniment["pad"] += play_chord(chord, voicing, "held", metre)
            last = index == len(now) - 1
            accompaniment["drums"] += play_drums(
                chord.start, grooves[letter], metre, first=index == 0, last=last
            )
        chords += now
    end = len(form) * 2 * PHRASE_BARS * metre.bar
    chords.append(Chord(1, sections[form[0]].chords[0].classes[:3], end, metre.bar))
    voicing = voice_chord(chords[-1], voicing, *CHORD_RANGE, voices=4)
    accompaniment["chords"] += play_chord(chords[-1], voicing, "held", metre)
    accompaniment["bass"] += play_bass(chords[-1], chords[-1], "roots", metre)
    melody.append(Note(end, metre.bar, nearest_pitch(melody[-1].pitch, (key.tonic,)), 0))
    parts = []
    programs = {
        "melody": style.melody,
        "chords": style.chords,
        "bass": style.bass,
        "pad": style.pads,
        "drums": style.kits,
    }
    for name, choices in programs.items():
        notes = melody if name == "melody" else accompaniment[name]
        if choices:
            channel = DRUM_CHANNEL if name == "drums" else next(channels)
            program = dice.choice(choices)
            played = shape(notes, VELOCITIES[name], metre, dice, swings=swings)
            parts.append(Part(name, program, channel, played))
    if genre == "piano":  # two hands at one instrument
        parts = [part._replace(program=parts[0].program) for part in parts]
    return Score(
        genre, key, metre.name, tempo, form, tuple(chords), tuple(parts), end + metre.bar + 2
    )


def write_section(
    key: Key, metre: Metre, style: Style, dice: random.Random, *, sevenths: bool
) -> Section:
    """Two phrases: the second begins like the first and comes home."""
    chords = harmonise(key, (False, True), PHRASE_BARS, metre.bar, dice, sevenths=sevenths)
    first, second, third = (dice.choice(RHYTHMS[metre.name]) for _ in range(3))
    contours = {
        rhythm: [dice.choice((-2, -1, -1, 1, 1, 2)) for _ in rhythm]
        for rhythm in sorted({first, second, third})
    }
    low, high = style.melody_range
    place = dice.randint((2 * low + high) // 3, (low + 2 * high) // 3)
    notes: list[Note] = []
    for number, chord in enumerate(chords):
        scale = key.scale(chord.degree)
        if number % PHRASE_BARS == PHRASE_BARS - 1:  # the phrase stands still
            place = nearest_pitch(
                place, chord.classes[:1] if number > PHRASE_BARS else chord.classes
            )
            notes.append(Note(chord.start, chord.length * 0.75, place, 0))
            continue
        rhythm = (first, second, first if number < PHRASE_BARS else third)[number % PHRASE_BARS]
        time = chord.start
        for length, step in zip(rhythm, contours[rhythm], strict=True):
            if length > 0:
                place = next_pitch(place, step, scale, low, high)
                if time - chord.start in metre.beats[:: 2 if metre.name == "4/4" else 1]:
                    place = nearest_pitch(place, chord.classes)
                notes.append(Note(time, length * 0.95, place, 0))
            time += abs(length)
    return Section(chords, tuple(notes))


def next_pitch(pitch: int, steps: int, scale: Sequence[int], low: int, high: int) -> int:
    """So many steps of a scale up or down; what would leave the range turns back."""
    pitches = [one for one in range(low, high + 1) if one % OCTAVE in scale]
    place = min(range(len(pitches)), key=lambda index: abs(pitches[index] - pitch)) + steps
    if not 0 <= place < len(pitches):
        place -= 2 * steps
    return pitches[place]


def play_chord(chord: Chord, voicing: Sequence[int], pattern: str, metre: Metre) -> list[Note]:
    """One bar of a chord: held, on every beat, after the first beat, broken, rolled, strummed."""
    start, bar = chord.start, chord.length
    if pattern == "held":
        return [Note(start, bar, pitch, 0) for pitch in voicing]
    if pattern == "rolled":
        return [
            Note(start + 0.06 * number, bar - 0.06 * number, pitch, 0)
            for number, pitch in enumerate(voicing)
        ]
    if pattern == "broken":
        order = (0, 2, 1, 3) if metre.name == "4/4" else (0, 1, 2, 3, 2, 1)
        return [
            Note(start + step / 2, 0.5, voicing[order[step % len(order)]], 0)
            for step in range(round(bar * 2))
        ]
    beats = list(metre.beats)
    if pattern == "after":
        beats = [0.5, 1.5, 2.5, 3.5] if metre.name == "4/4" else [*beats[1:], bar - 0.5]
    elif pattern == "strummed":
        beats = [*beats, bar - 0.5]
    spread = 0.02 if pattern == "strummed" else 0.0
    ends = [*sorted(beats)[1:], bar]
    return [
        Note(start + beat + spread * number, (end - beat) * 0.9 - spread * number, pitch, 0)
        for beat, end in zip(sorted(beats), ends, strict=True)
        for number, pitch in enumerate(voicing)
    ]


def play_bass(chord: Chord, following: Chord, line: str, metre: Metre) -> list[Note]:
    """One bar of bass: roots, roots and fifths, eighths, octaves, or a walk to the next root."""
    low, high = BASS_RANGE
    root = nearest_pitch((low + high) // 2 - 3, chord.classes[:1])
    fifth = nearest_pitch(root + 5, chord.classes[2:3])
    if line == "roots":
        return [Note(chord.start, chord.length * 0.95, root, 0)]
    if line in ("eighths", "octaves"):
        return [
            Note(
                chord.start + step / 2,
                0.45,
                root + (OCTAVE if line == "octaves" and step % 2 else 0),
                0,
            )
            for step in range(round(chord.length * 2))
        ]
    beats = metre.beats if line == "walking" else metre.beats[:: 2 if metre.name == "4/4" else 1]
    pitches = [root, fifth, root]
    if line == "walking":
        aim = nearest_pitch(root, following.classes[:1])
        pitches = [root, nearest_pitch(root + 4, chord.classes[1:2]), fifth]
        pitches += [aim + (1 if aim <= root else -1)]
    ends = [*beats[1:], chord.length]
    return [
        Note(chord.start + beat, (end - beat) * 0.9, pitch, 0)
        for beat, end, pitch in zip(beats, ends, pitches, strict=False)
    ]


def play_drums(start: float, groove: Hits, metre: Metre, *, first: bool, last: bool) -> list[Note]:
    """One bar: a crash where a section begins, toms where it ends."""
    fill = metre.bar - 1.0 if last else metre.bar
    notes = [
        Note(start + time, 0.25, drum, 0) for drum, times in groove for time in times if time < fill
    ]
    if first:
        notes.append(Note(start, 1.0, CRASH, 0))
    if last:
        notes += [Note(start + fill + step / 4, 0.25, TOM + 2 * (step < 2), 0) for step in range(4)]
    return notes


def shape(
    notes: Sequence[Note], velocity: int, metre: Metre, dice: random.Random, *, swings: bool
) -> tuple[Note, ...]:
    """Notes in order, as loud as their part, the first of a bar louder, and swung if asked for."""
    shaped = []
    for note in sorted(notes):
        accent = 8 if note.start % metre.bar == 0 else 0
        loud = min(max(velocity + accent + dice.randint(-5, 5), 1), 127)
        start, end = note.start, note.start + note.length
        if swings:
            start, end = swung(start), swung(end)
        shaped.append(Note(start, end - start, note.pitch, loud))
    return tuple(shaped)


def swung(time: float) -> float:
    """When something at `time` is played in a piece that swings: second halves of beats are late.

    >>> swung(3.0), round(swung(3.5), 3)
    (3.0, 3.667)
    """
    beat, rest = divmod(time, 1)
    half = 0.5
    if rest < half:
        return beat + rest / half * SWING
    return beat + SWING + (rest - half) / half * (1 - SWING)

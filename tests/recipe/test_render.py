import csv
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.data import open_songs
from model_cards.recipe import render
from model_cards.recipe.composing import (
    CHORD_RANGE,
    DRUM_CHANNEL,
    GENRES,
    METRES,
    STYLES,
    compose,
    next_pitch,
)
from model_cards.recipe.harmony import (
    CADENCES,
    FOLLOWERS,
    MODES,
    Chord,
    Key,
    chord_classes,
    nearest_pitch,
    phrase_degrees,
    voice_chord,
)
from model_cards.recipe.scripts import RecipeError

RATE = 8000
PIECES = [(seed, GENRES[seed % len(GENRES)]) for seed in range(24)]


class FakeMido(SimpleNamespace):
    """Files that keep their messages, without the package."""

    def __init__(self) -> None:
        super().__init__(MidiTrack=list, bpm2tempo=lambda tempo: round(60e6 / tempo))

    @staticmethod
    def Message(kind: str, **values: int) -> SimpleNamespace:
        return SimpleNamespace(type=kind, **values)

    MetaMessage = Message

    @staticmethod
    def MidiFile(ticks_per_beat: int) -> SimpleNamespace:
        def save(path: str) -> None:
            Path(path).write_text(f"{ticks_per_beat}", encoding="utf-8")

        return SimpleNamespace(tracks=[], save=save)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the notes' files that were played, as half a second of a tone each."""
    names: list[str] = []

    def play(midi: Path, soundfont: Path, sampling_rate: int) -> Tensor:
        assert midi.is_file()
        names.append(midi.name)
        return torch.sin(torch.arange(sampling_rate // 2) / 10)[None]

    monkeypatch.setattr(render, "import_module", lambda name: FakeMido())
    monkeypatch.setattr(render, "play", play)
    return names


@pytest.mark.parametrize("mode", MODES)
def test_phrases_go_from_the_first_degree_to_the_cadence_or_home(mode: str) -> None:
    for seed in range(20):
        open_phrase, closed = (
            phrase_degrees(Key(3, mode), 4, random.Random(seed), closed=closed)
            for closed in (False, True)
        )
        assert (open_phrase[0], open_phrase[-1]) == (1, CADENCES[mode])
        assert (closed[0], closed[-2:]) == (1, [CADENCES[mode], 1])
        steps = [*pairwise(open_phrase), *pairwise(closed[:-1])]
        assert all(second in FOLLOWERS[mode][first] for first, second in steps)


@pytest.mark.parametrize("mode", MODES)
def test_no_chord_that_may_follow_is_diminished(mode: str) -> None:
    for degree in {*FOLLOWERS[mode], *(one for ones in FOLLOWERS[mode].values() for one in ones)}:
        root, _, fifth = chord_classes(Key(7, mode), degree)
        assert (fifth - root) % 12 == 7


def test_minor_has_its_leading_note_over_the_fifth_degree_only() -> None:
    key = Key(9, "minor")
    assert 8 in key.scale(5)
    assert 8 not in key.scale(1)
    assert key.name == "A minor"


def test_voices_sound_every_class_and_move_little() -> None:
    dice = random.Random(0)
    before: tuple[int, ...] = ()
    moves: list[int] = []
    for _ in range(200):
        key = Key(dice.randrange(12), dice.choice(tuple(MODES)))
        classes = chord_classes(key, dice.choice((1, 4, 5)), seventh=dice.random() < 0.5)
        chord = Chord(1, classes, 0, 4)
        voices = voice_chord(chord, before, *CHORD_RANGE, voices=4)
        assert len(set(voices)) == 4
        assert {pitch % 12 for pitch in voices} == set(classes)
        assert CHORD_RANGE[0] <= min(voices) <= max(voices) <= CHORD_RANGE[1]
        moves += [abs(now - then) for now, then in zip(voices, before, strict=False)]
        assert voice_chord(chord, voices, *CHORD_RANGE, voices=4) == voices
        before = voices
    assert sum(moves) / len(moves) < 2.5
    with pytest.raises(ValueError, match="23 semitones or more, got 60 to 70"):
        voice_chord(Chord(1, (0, 4, 7), 0, 4), (), 60, 70, voices=4)


def test_the_nearest_pitch_is_the_lower_of_two_and_needs_a_class() -> None:
    assert nearest_pitch(61, (0, 2)) == 60
    assert nearest_pitch(66, (0,)) == 60
    with pytest.raises(ValueError, match="pitch classes from 0 to 11"):
        nearest_pitch(60, ())


def test_a_melody_turns_back_at_the_end_of_its_range() -> None:
    white = (0, 2, 4, 5, 7, 9, 11)
    assert next_pitch(60, 2, white, 60, 72) == 64
    assert next_pitch(60, -1, white, 60, 72) == 62
    assert next_pitch(72, 2, white, 60, 72) == 69


def test_pieces_are_the_same_for_the_same_seed_only() -> None:
    assert compose(7, "band") == compose(7, "band")
    assert compose(7, "band") != compose(8, "band")


@pytest.mark.parametrize(("seed", "genre"), PIECES)
def test_a_piece_keeps_its_key_its_bars_and_its_length(seed: int, genre: str) -> None:
    score = compose(seed, genre)
    bar = METRES[score.metre].bar
    assert 40 <= score.seconds <= 150
    assert [chord.start for chord in score.chords] == [
        number * bar for number in range(len(score.form) * 8 + 1)
    ]
    assert len({part.channel for part in score.parts}) == len(score.parts)
    assert (STYLES[genre].kits != ()) == any(one.channel == DRUM_CHANNEL for one in score.parts)
    for part in score.parts:
        assert list(part.notes) == sorted(part.notes, key=lambda note: note.start)
        assert all(1 <= note.velocity <= 127 and note.length > 0 for note in part.notes)
        assert part.notes[-1].start + part.notes[-1].length <= score.quarters
        if part.channel != DRUM_CHANNEL and part.name not in ("bass",):
            # what sounds belongs to the scale of its bar's chord
            for note in part.notes:
                chord = score.chords[min(int(note.start // bar), len(score.chords) - 1)]
                assert note.pitch % 12 in {*score.key.scale(chord.degree), *chord.classes}


@pytest.mark.parametrize(("seed", "genre"), PIECES[:6])
def test_sections_with_one_letter_have_one_melody(seed: int, genre: str) -> None:
    score = compose(seed, genre)
    length = 8 * METRES[score.metre].bar
    (melody,) = (part for part in score.parts if part.name == "melody")

    def section(index: int) -> list[tuple[float, int]]:
        begin = index * length
        return [
            (round(note.start - begin, 6), note.pitch)
            for note in melody.notes
            if begin <= note.start < begin + length
        ]

    heard: dict[str, list[tuple[float, int]]] = {}
    for index, letter in enumerate(score.form):
        assert section(index) == heard.setdefault(letter, section(index))
    assert len({tuple(one) for one in heard.values()}) == len(heard)


def test_an_unknown_genre_or_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a genre of piano, .*, got 'polka'"):
        compose(0, "polka")
    with pytest.raises(ValueError, match="more than 0 seconds, got 0"):
        compose(0, "piano", seconds=0)


def test_every_note_is_in_the_midi_file_at_its_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "import_module", lambda name: FakeMido())
    score = compose(4, "band")
    head, *tracks = render.to_midi(score).tracks
    assert [message.type for message in head] == ["set_tempo", "time_signature", "end_of_track"]
    assert head[0].tempo == round(60e6 / score.tempo)
    assert head[2].time == round(score.quarters * render.TICKS)
    for track, part in zip(tracks, score.parts, strict=True):
        assert (track[1].type, track[1].program, track[1].channel) == (
            "program_change",
            part.program,
            part.channel,
        )
        starts, ends = note_ticks(track[2:])
        assert starts == sorted((round(one.start * render.TICKS), one.pitch) for one in part.notes)
        assert len(ends) == len(starts)


def note_ticks(track: Sequence[Any]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """When notes begin and end, with their pitches."""
    found: dict[str, list[tuple[int, int]]] = {"note_on": [], "note_off": []}
    now = 0
    for message in track:
        assert message.time >= 0
        now += message.time
        found[message.type].append((now, message.note))
    return sorted(found["note_on"]), found["note_off"]


def test_rendering_becomes_a_labelled_folder_and_goes_on(tmp_path: Path, played: list[str]) -> None:
    assert render.render(tmp_path, seconds=1.4, sampling_rate=RATE) == 3
    first = (tmp_path / "piece-00000.flac").read_bytes()
    (tmp_path / "piece-00001.flac").unlink()
    assert render.render(tmp_path, seconds=1.4, sampling_rate=RATE) == 3
    assert render.render(tmp_path, seconds=1.6, sampling_rate=RATE) == 4
    assert (tmp_path / "piece-00000.flac").read_bytes() == first
    numbers = (0, 1, 2, 1, 3)
    assert played == [f"piece-{number:05}.mid" for number in numbers]
    songs = open_songs(tmp_path).songs
    assert [song.genre for song in songs] == list(GENRES[:4])
    with (tmp_path / "metadata.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    score = compose(1, GENRES[1])
    assert rows[1]["tempo"] == f"{score.tempo:g}"
    assert (rows[1]["key"], rows[1]["metre"]) == (score.key.name, score.metre)
    assert (rows[1]["form"], rows[1]["licence"]) == (score.form, "CC0-1.0")


def test_what_is_missing_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    command = ["--output", str(tmp_path / "rendered"), "--seconds", "1"]
    monkeypatch.setattr(render, "import_module", missing)
    assert render.main(command) == 1
    told = capsys.readouterr().err
    assert "mido is not installed (No module named 'mido')" in told
    assert "requirements-rendering.txt" in told
    monkeypatch.setattr(render, "import_module", lambda name: FakeMido())
    monkeypatch.setattr(render.shutil, "which", lambda name: None)
    assert render.main(command) == 1
    assert "fluidsynth is not installed; on Debian: apt-get install" in capsys.readouterr().err
    monkeypatch.setattr(render.shutil, "which", lambda name: "/usr/bin/fluidsynth")
    assert render.main([*command, "--soundfont", str(tmp_path / "no.sf2")]) == 1
    assert "there is no soundfont" in capsys.readouterr().err
    assert not list((tmp_path / "rendered").glob("*.flac"))


def test_a_player_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stderr="fluidsynth: error: no memory\n", stdout="")
    monkeypatch.setattr(render.shutil, "which", lambda name: name)
    monkeypatch.setattr(render.subprocess, "run", lambda *_, **__: failed)
    (tmp_path / "a.sf2").touch()
    with pytest.raises(RecipeError, match=r"did not play a\.mid: .*no memory"):
        render.play(tmp_path / "a.mid", tmp_path / "a.sf2", RATE)


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--seconds", "1", "--sampling-rate", "1"]])
def test_no_music_or_a_rate_of_no_use_is_a_usage_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        render.main(["--output", "x", *wrong])

"""Whatever is in a table, in lyrics or a folder of codes: it works, or one sentence says why."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from jukebox_hf.data import (
    describe_skipped,
    describe_songs,
    encode_dataset,
    group_notes,
    open_codes,
    open_songs,
)
from jukebox_hf.labels import read_lyrics
from tests.data.song_files import make_sound, tiny_codec, write_song

NASTY = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b";", b"\n", b"{" * 300, b"[" * 5000, b"-->",
    b"1e999", b"9" * 5000, b"null", b"\xe2\x80\xa8", b"[00:0", b'{"a":', b"../../x", b"/dev/zero",
    b"true", b"-1",
)  # fmt: skip
VALUES = (None, True, -1, 0, 1e308, "", "x", [], {}, [[]], {"a": {"b": []}}, 2**70, "../x", ["x"])


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Valid content, damaged in one to three places."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[place:place] = rng.choice(NASTY)
            case 1:
                del changed[place : place + rng.randint(1, 40)]
            case 2 if place < len(changed):
                changed[place] = rng.randrange(256)
            case _:
                other = rng.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + 60]
    return bytes(changed)


def mutate_json(content: object, rng: random.Random) -> object:
    """Plain values with one of them replaced, taken out or put in."""
    if isinstance(content, dict) and content and rng.random() < 0.8:
        name = rng.choice(list(content))
        if rng.random() < 0.2:
            return {key: value for key, value in content.items() if key != name}
        return {**content, name: mutate_json(content[name], rng)}
    if isinstance(content, list) and content and rng.random() < 0.6:
        place = rng.randrange(len(content))
        return [*content[:place], mutate_json(content[place], rng), *content[place + 1 :]]
    return rng.choice(VALUES)


def survives(work: Callable[[], object]) -> bool:
    """Whether something works, or is refused in one sentence that can be read."""
    said = None
    try:
        work()
    except (ValueError, OSError) as error:
        said = str(error)
    assert said is None or 0 < len(said) < 2000, said[:300]
    return said is None


TABLES = {
    "metadata.csv": 'file_name,artist,genre,lyrics\na.wav,X,rock,"la\nla"\nb.wav,Ö,jazz,[0:01]la\n',
    "metadata.jsonl": '{"file_name": "a.wav", "lyrics": [{"start": 1, "word": "a"}]}\n'
    '{"file_name": "b.wav", "artist": ["Y", "Z"], "genre": "jazz"}\n',
    "songs.json": '{"a.wav": {"artist": "X", "genre": "rock"}, "b.wav": {"artist": "Y"}}',
    "a.lrc": "[ar:x]\n[00:01.00]one <00:01.50>two\n[00:02.00]\n",
    "b.srt": "1\n00:00:00,500 --> 00:00:03,000\ngreen\n",
}


def fuzz_tables(folder: Path, tries: int, seed: int) -> int:
    """How many of so many damaged tables and files of lyrics were taken."""
    for name in ("a.wav", "b.wav"):
        write_song(folder / name, 0.1)
    rng = random.Random(seed)
    taken = 0
    for _ in range(tries):
        name = rng.choice(list(TABLES))
        path = folder / name
        path.write_bytes(mutate(TABLES[name].encode(), rng))
        taken += survives(lambda: [describe_songs(open_songs(folder).songs)])
        if path.suffix in (".lrc", ".srt"):
            survives(lambda path=path: read_lyrics(path))
        path.unlink()
    return taken


def fuzz_codes(folder: Path, tries: int, seed: int) -> int:
    """How many of so many damaged descriptions of a folder of codes were taken."""
    songs = open_songs(write_song(folder / "music" / "a.wav", 0.2).parent).songs
    codec, codes = tiny_codec(), folder / "codes"
    encode_dataset(songs, codec, codes)
    names = ["jukebox_codes.json", "state.json", "dataset_info.json"]
    names += [path.name for path in codes.glob("*.json") if path.name not in names]
    rng = random.Random(seed)
    taken = 0

    def use() -> None:
        found = open_codes(codes)
        for number in range(len(found)):
            for level in found.info.levels:
                found.num_codes(number, level)
                found.codes(number, level)

    for _ in range(tries):
        path = codes / rng.choice(names)
        valid = path.read_bytes()
        if rng.random() < 0.6:
            path.write_text(json.dumps(mutate_json(json.loads(valid), rng)))
        else:
            path.write_bytes(mutate(valid, rng))
        taken += survives(use)
        survives(lambda: encode_dataset(songs, codec, codes))
        path.write_bytes(valid)
    return taken


def test_damaged_tables_and_lyrics_work_or_are_one_sentence(tmp_path: Path) -> None:
    assert 5 < fuzz_tables(tmp_path, 150, seed=0) <= 150


def test_damaged_folders_of_codes_work_or_are_one_sentence(tmp_path: Path) -> None:
    assert 5 < fuzz_codes(tmp_path, 80, seed=0) < 80


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_damaged_files_work_or_are_one_sentence(tmp_path: Path, seed: int) -> None:
    fuzz_tables(tmp_path, 3000, seed)
    fuzz_codes(tmp_path / "more", 1500, seed)


def test_two_hundred_songs_of_which_forty_are_odd_make_a_report_to_act_on(tmp_path: Path) -> None:
    rows = ["file_name;performer;Stil"]
    for number in range(200):
        name = f"song_{number:03d}"
        path = tmp_path / f"{name}.wav"
        label = f"Artist {number % 7}" if number % 2 else f"Mu\u0308ller {number % 3}"
        match number // 5:
            case 0:
                path.write_bytes(b"RIFF no sound")
            case 1:
                write_song(path, 0.05)
            case 2:
                write_song(path, 0.2, sound=0 * make_sound(0.2))
            case 3:
                (tmp_path / f"{name}.lrc").write_text("no times")
            case 4:
                (tmp_path / f"{name}.lrc").write_text("[00:00.01]la\nby a friend\n[00:00.1]lo\n")
            case 5:
                (tmp_path / f"{name}.txt").write_text("la la la")
            case 6:
                label = ""
        if not path.exists():
            write_song(path, 0.2, seed=number)
        listed = f"sub\\{name}.wav" if number // 5 == 7 else f"{name}.wav"
        rows.append(f"{listed};{label};{'rock' if number % 3 else 'jazz'}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    found = open_songs(tmp_path, min_seconds=0.1)
    assert len(found.songs) == 180
    assert describe_songs(found.songs) == (
        "180 songs; 10 artists (of 5 unknown); 2 genres; 10 with lyrics, 5 of them timed"
    )
    report = [*group_notes(found.notes), *describe_skipped(found.skipped)]
    assert len(report) <= 10, report
    text = "\n".join(report)
    for words in (
        "metadata.csv: artist is column 'performer', genre is column 'Stil'",
        "5 songs (song_015.wav, song_016.wav, song_017.wav and 2 more): taken without its lyrics: ",
        "5 songs (song_020.wav, song_021.wav, song_022.wav and 2 more): lyrics: line 2: left out",
        "5 files .txt beside songs",
        "silent",
        "too short: 0.05 of at least 0.1 seconds",
        "not listed in",
        "but there is no such file",
    ):
        assert words in text, report

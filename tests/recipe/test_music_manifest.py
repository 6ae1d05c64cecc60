from pathlib import Path

import pytest

from model_cards.recipe.manifest import (
    COLUMNS,
    MANIFEST,
    Row,
    licence_url,
    mentions_licence,
    piece_names,
    read_manifest,
    select,
    usable_licence,
)

GENRES = {"metal", "rock", "electronic", "ambient", "orchestral", "folk", "unknown"}


def make_row(**changes: object) -> Row:
    cells: dict[str, object] = {
        "package": "game-data",
        "path": "/usr/share/games/game/a.ogg",
        "kind": "music",
        "seconds": 60.0,
        "artist": "Ada",
        "genre": "rock",
        "genre_basis": "tag",
        "title": "A",
        "licence": "CC-BY-3.0",
        "licence_scope": "file",
        "credit": "Ada Bo",
    }
    return Row(**{**cells, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("CC0-1.0", "CC0-1.0"),
        ("public-domain", "public-domain"),
        ("MIT", "MIT"),
        ("CC-BY-3.0", "CC-BY-3.0"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("CC-BY-SA-3.0+", "CC-BY-SA-3.0+"),
        ("GPL-3 or CC-BY-3.0", "CC-BY-3.0"),
        ("GPL-2+ or CC-BY-SA", "CC-BY-SA"),
        ("CC-BY-3.0 or CC0-1.0", "CC0-1.0"),
    ],
)
def test_free_licences_are_usable_and_the_freest_is_chosen(expression: str, chosen: str) -> None:
    assert usable_licence(expression) == chosen


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-2+",
        "CC-BY-NC-3.0",
        "CC-BY-NC-SA-3.0",
        "CC-BY-ND-4.0",
        "Free-Art-License-1.2",
        "unstated",
        "",
        "CC-BY-3.0 and GPL-3",
        "not CC0",
        "MIT-like",
        "GPL-2 or CC-BY-NC-3.0",
    ],
)
def test_other_licences_are_refused(expression: str) -> None:
    assert usable_licence(expression) is None


def test_licences_are_looked_for_in_the_copyright_file() -> None:
    assert mentions_licence("License: CC-BY-SA-3.0", "CC-BY-SA-3.0")
    assert mentions_licence("Creative Commons Attribution-ShareAlike 3.0", "CC-BY-SA-3.0")
    assert mentions_licence("this is in the public\n domain", "public-domain")
    assert mentions_licence("Permission is hereby granted, free of charge", "MIT")
    assert not mentions_licence("License: GPL-3", "CC-BY-3.0")
    assert not mentions_licence("", "CC0-1.0")


def test_every_listed_file_is_usable_or_refused_for_a_reason() -> None:
    rows = read_manifest()
    selection = select(rows)
    used = [path for piece in selection.pieces for path in piece.paths]
    assert len(used) + len(selection.refused) == len(rows)
    assert len({(row.package, row.path) for row in rows}) == len(rows)
    for piece in selection.pieces:
        assert piece.genre in GENRES
        assert all((piece.artist, piece.credit, piece.title))
        assert not piece.licence.startswith("GPL")
        assert licence_url(piece.licence) or piece.licence in ("public-domain", "CC-BY-SA")
    assert all(item.reason for item in selection.refused)


def test_the_usable_music_is_as_long_as_the_documentation_says() -> None:
    minutes = sum(piece.seconds for piece in select(read_manifest()).pieces) / 60
    assert minutes == pytest.approx(890, abs=1)  # stems of one song count once


def test_stems_of_one_folder_make_one_piece() -> None:
    songs = "/usr/share/games/fretsonfire/data/songs/band/"
    rows = [
        make_row(kind="stem", path=f"{songs}one/song.ogg", title=""),
        make_row(kind="stem", path=f"{songs}one/guitar.ogg", title="First", seconds=61.0),
        make_row(kind="stem", path=f"{songs}two/song.ogg", title=""),
    ]
    first, second = select(rows).pieces
    assert first.paths == (f"{songs}one/song.ogg", f"{songs}one/guitar.ogg")
    assert (first.name, first.title, first.seconds) == ("one", "First", 61.0)
    assert (second.name, second.title) == ("two", "two")


def test_effects_and_foreign_licences_are_refused_with_the_reason() -> None:
    rows = [make_row(kind="effect"), make_row(path="/b.ogg", licence="GPL-2+")]
    selection = select(rows)
    assert not selection.pieces
    assert [item.reason for item in selection.refused] == ["not music", "licence GPL-2+"]


def test_names_of_pieces_are_safe_and_unique() -> None:
    places = [
        ("game", "/music/theme.ogg"),
        ("game", "/levels/Theme.ogg"),
        ("game", "/more/levels/theme.ogg"),
        ("other", "/music.zip!deep/a b?.ogg"),
        ("other", "/music.zip!.ogg"),
    ]
    names = piece_names(places)
    assert list(names.values()) == ["theme", "levels_Theme", "levels_theme_2", "a_b", "ogg"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "noise"}, "kind is one of music, effect, stem, got 'noise'"),
        ({"path": "usr/a.ogg"}, "expected an absolute path"),
        ({"path": "/usr/../../a.ogg"}, r"without '\.\.'"),
        ({"seconds": "long"}, "seconds is a number, got 'long'"),
    ],
)
def test_damaged_lists_are_refused_with_the_line(
    tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    cells = {**make_row()._asdict(), **changed}
    path = tmp_path / "list.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(str(cells[name]) for name in COLUMNS))
    with pytest.raises(ValueError, match=f"line 2: .*{message}"):
        read_manifest(path)


def test_lists_with_other_columns_or_short_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"expected the columns package, path.*, got a, b"):
        read_manifest(path)
    path.write_text(",".join(COLUMNS) + "\nonly,two\n")
    with pytest.raises(ValueError, match="line 2: expected 11 cells"):
        read_manifest(path)


def test_the_committed_list_has_unix_line_ends() -> None:
    assert b"\r" not in MANIFEST.read_bytes()

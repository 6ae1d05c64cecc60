"""`jukebox.json`: what is written comes back, and what could do harm is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.hub import (
    AdapterReference,
    ComponentReference,
    Manifest,
    load_manifest,
    save_manifest,
)

FULL = Manifest(
    components={
        "vqvae": ComponentReference(repo_id="someone/codec", subfolder="vqvae", revision="v1.0"),
        "prior_0": ComponentReference(repo_id="someone/prior"),
        "prior_2": ComponentReference(subfolder="fine/prior_2"),
    },
    generation={
        "temperature": {"0": 0.99, "2": 1},
        "hop_fraction": {"0": 0.5, "2": 1},
        "chains": {"0": 4},
        "seconds": 20,
        "total_seconds": 180.5,
    },
    licence="CC-BY-4.0",
    adapters=[AdapterReference(component="prior_2", subfolder="adapter")],
    name="Ünïque",
    notes={"lyrics": "lyrics are hummed", "artist": "there is one artist"},
)


def write(folder: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "jukebox.json").write_text(text, encoding="utf-8")
    return folder


def test_a_manifest_comes_back_equal(tmp_path: Path) -> None:
    assert save_manifest(tmp_path, FULL) == tmp_path / "jukebox.json"
    assert load_manifest(tmp_path) == FULL
    assert load_manifest(tmp_path / "jukebox.json") == FULL


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    manifest = Manifest({"vqvae": ComponentReference(subfolder="vqvae")})
    save_manifest(tmp_path, manifest)
    content = json.loads((tmp_path / "jukebox.json").read_text())
    assert content == {"format_version": 1, "components": {"vqvae": {"subfolder": "vqvae"}}}
    assert load_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ("lyrics", "notes: expected an object"),
        ({"lyric": "x"}, "unknown setting 'lyric'. Did you mean 'lyrics'"),
        ({"lyrics": None}, "notes, lyrics: expected text, found None"),
        ({"lyrics": "a\x1b[2J"}, "notes, lyrics: expected text of at most 200 characters on one"),
        ({"lyrics": "a\nb"}, "notes, lyrics: expected text of at most 200 characters on one line"),
        ({"lyrics": " "}, "notes, lyrics: expected text of at most 200 characters on one line"),
        ({"genre": "x" * 201}, "notes, genre: expected text of at most 200 characters on one line"),
    ],
)
def test_notes_are_lines_of_text_on_known_things(tmp_path: Path, notes: Any, message: str) -> None:
    write(tmp_path, {**FULL.to_dict(), "notes": notes})
    with pytest.raises(ValueError, match=re.escape(message)):
        load_manifest(tmp_path)


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    bad = Manifest({"vqvae": ComponentReference(subfolder="../elsewhere")})
    with pytest.raises(ValueError, match="the manifest to be written, vqvae: subfolder"):
        save_manifest(tmp_path, bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "subfolder",
    [
        "../other",
        "a/../../b",
        "/etc",
        "~/models",
        "C:/models",
        "C:models",
        "a\\b",
        "..",
        ".",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "",
        "a\x00b",
        "a\nb",
        "a*",
        "a?b",
        "[ab]",
        "x" * 300,
    ],
)
def test_paths_cannot_leave_the_folder(tmp_path: Path, subfolder: str) -> None:
    content = {"format_version": 1, "components": {"vqvae": {"subfolder": subfolder}}}
    with pytest.raises(ValueError, match=r"jukebox\.json, vqvae"):
        load_manifest(write(tmp_path, content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": 2},
            "has format version 2, but this version of jukebox_hf reads up to 1",
        ),
        ({"format_version": 0}, "expected format_version 1, found 0"),
        ({"format_version": True}, "expected format_version 1, found True"),
        ({"format_version": None}, "expected format_version 1, found None"),
        ({"licens": "MIT"}, "unknown setting 'licens'. Did you mean 'licence'"),
        ({"components": {}}, "names no components, expected vqvae or prior_0"),
        ({"components": []}, r"components: expected an object, found \[\]"),
        ({"components": {"prior_10": {"subfolder": "a"}}}, "unknown component 'prior_10'"),
        ({"components": {"vocoder": {"subfolder": "a"}}}, "unknown component 'vocoder'"),
        ({"components": {"vqvae": "vqvae"}}, "vqvae: expected an object, found 'vqvae'"),
        ({"components": {"vqvae": {}}}, "expected a subfolder, or the repo_id of another"),
        ({"components": {"vqvae": {"subfolder": 3}}}, "subfolder: expected text, found 3"),
        ({"components": {"vqvae": {"path": "a"}}}, "unknown setting 'path'"),
        ({"components": {"vqvae": {"repo_id": "a/b/c"}}}, "vqvae: Repo id must be"),
        ({"components": {"vqvae": {"repo_id": "../b"}}}, "vqvae: "),
        ({"components": {"vqvae": {"repo_id": "a/b", "revision": "a..b"}}}, "should be a commit"),
        ({"components": {"vqvae": {"repo_id": "a/b", "revision": "-x"}}}, "should be a commit"),
        ({"components": {"vqvae": {"subfolder": "a", "revision": "x"}}}, "should be a commit"),
        ({"licence": 3}, "licence: expected text"),
        ({"name": ""}, "name: expected text"),
        ({"name": "a\x1b[2Jb"}, r"name: expected text .* on one line, found 'a\\x1b"),
        ({"generation": {"seconds": 1e300}}, "seconds, 1,000,000 at most, found 1e"),
        (
            {"generation": {"seconds": 10**400}},
            "expected positive seconds, 1,000,000 at most, found 1000",
        ),
        (
            {"generation": {"chains": {"0": 10**6}}},
            "level 0: chains must be a whole number from 1 to 65,536, or auto, got 1000000",
        ),
        ({"adapters": {}}, "adapters: expected a list, found"),
        ({"adapters": [{"subfolder": "a"}]}, "expected a component among the model's priors"),
        ({"adapters": [{"component": "vqvae", "subfolder": "a"}]}, "among the model's priors"),
        ({"adapters": [{"component": "prior_1", "subfolder": "a"}]}, "among the model's priors"),
        ({"adapters": [{"component": "prior_0", "subfolder": "../a"}]}, "must be a plain path"),
        ({"generation": {"tempo": 1}}, "generation: unknown setting 'tempo'"),
        ({"generation": {"seconds": 0}}, "expected positive seconds, 1,000,000 at most, found 0"),
        ({"generation": {"seconds": float("nan")}}, "seconds, 1,000,000 at most, found nan"),
        (
            {"generation": {"seconds": True}},
            "expected positive seconds, 1,000,000 at most, found True",
        ),
        ({"generation": {"temperature": 1}}, "temperature: expected an object, found 1"),
        ({"generation": {"temperature": {"top": 1}}}, "'top' is not a level"),
        (
            {"generation": {"temperature": {"0": -1}}},
            "level 0: temperature must be above 0, got -1",
        ),
        ({"generation": {"hop_fraction": {"0": 1.5}}}, "above 0 and at most 1, got 1.5"),
        (
            {"generation": {"chains": {"0": 1.5}}},
            "a whole number from 1 to 65,536, or auto, got 1.5",
        ),
    ],
)
def test_unknown_or_senseless_settings_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    components = {"vqvae": {"subfolder": "vqvae"}, "prior_0": {"subfolder": "prior_0"}}
    content = {"format_version": 1, "components": components, **changes}
    with pytest.raises(ValueError, match=message) as caught:
        load_manifest(write(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "jukebox.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x80"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "jukebox.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"jukebox\.json: expected (a )?JSON"):
        load_manifest(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "jukebox.json").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(ValueError, match="expected a JSON file of at most 1,000,000 bytes"):
        load_manifest(tmp_path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"jukebox\.json: no such file; expected the man"):
        load_manifest(tmp_path)

"""The golden models as systems on disk, from either old layout, with vocabularies made for a run.

The golden runs name artists and genres and record the ids they had. A vocabulary of just these
names with these ids stands in for the released lists, which are not ours to copy.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from jukebox_hf.hub import System, convert
from jukebox_hf.labels import Dialect, genre_keys, normalise_name
from tests.golden_data import golden

TABLE_SIZES: dict[Dialect, tuple[int, int]] = {"v2": (4111, 120), "v3": (7898, 604)}
FIRST_GENRE = 4  # place of the first genre in a label row
ARTIST = 3
DIALECTS: tuple[Dialect, ...] = ("v2", "v3")
Names = dict[str, dict[str, int]]


def names_of_run(tensors: dict[str, Any], meta: dict[str, Any]) -> dict[Dialect, Names]:
    """The names in a golden run and their ids, by dialect, then "artist" and "genre"."""
    names: dict[Dialect, Names] = {
        dialect: {"artist": {"unknown": 0}, "genre": {"unknown": 0}} for dialect in DIALECTS
    }
    for level in range(3):
        dialect: Dialect = "v3" if meta["model"] == "1b_lyrics" and level == 2 else "v2"
        for row, piece in zip(tensors[f"labels_y_l{level}"].tolist(), meta["metas"], strict=True):
            names[dialect]["artist"][normalise_name(piece["artist"], dialect)] = row[ARTIST]
            words = genre_keys(piece["genre"], dialect)
            for word, number in zip(words, row[FIRST_GENRE:], strict=False):
                names[dialect]["genre"][word] = number
    for own in names.values():  # what the run did not know is not in the vocabulary either
        for kind in ("artist", "genre"):
            own[kind] = {name: n for name, n in own[kind].items() if n or name == "unknown"}
    return names


def converted_release(folder: Path, stem_model: str, names: dict[Dialect, Names]) -> System:
    """The checkpoints in the release's layout, converted: the model that a golden run used."""
    files = ["5b/vqvae", "5b/prior_level_0", "5b/prior_level_1", f"{stem_model}/prior_level_2"]
    sources = [golden(f"openai/{file}.pth.tar") for file in files]
    ids = folder / "ids"
    ids.mkdir(parents=True)
    for dialect, own in names.items():
        for kind, numbers in own.items():
            lines = [f"{name};{number}\n" for name, number in numbers.items()]
            (ids / f"{dialect}_{kind}_ids.txt").write_text("".join(lines), encoding="utf-8")
    return System.open(convert(sources, folder / "model", ids_dir=ids).output)


def upsamplers_only(folder: Path, names: dict[Dialect, Names]) -> System:
    """The same without a top prior, which the smallest golden set lacks."""
    files = ["5b/vqvae", "5b/prior_level_0", "5b/prior_level_1"]
    sources = [golden(f"openai/{file}.pth.tar") for file in files]
    ids = folder / "ids"
    ids.mkdir(parents=True)
    for kind, numbers in names["v2"].items():
        lines = [f"{name};{number}\n" for name, number in numbers.items()]
        (ids / f"v2_{kind}_ids.txt").write_text("".join(lines), encoding="utf-8")
    return System.open(convert(sources, folder / "model", ids_dir=ids).output)


def port_folder(folder: Path, stem_model: str, names: dict[Dialect, Names]) -> Path:
    """The former port's repository of a model, with vocabulary files in that port's format."""
    shutil.copytree(golden(f"transformers/{stem_model}"), folder)
    folder.chmod(0o755)
    for kind in ("artist", "genre"):
        merged = dict(names["v3"][kind])
        merged |= {f"{name}.v2": number for name, number in names["v2"][kind].items()}
        text = json.dumps(merged, ensure_ascii=False)
        (folder / f"{kind}s.json").write_text(text, encoding="utf-8")
    return folder

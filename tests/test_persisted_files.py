"""Every file of ours that is read again: minus any key, with a wrong type, or of a newer version.

Whatever is wrong with one is a `ValueError` of one sentence that names the file. The record of a
session, which has the most keys, has a test of its own in `generation/test_earlier_sessions.py`.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jukebox_cli.studio.job_queue import JobQueue
from jukebox_hf.codes import Codes, load_codes, save_codes
from jukebox_hf.data import SkippedSong
from jukebox_hf.data.code_files import CodesInfo
from jukebox_hf.data.code_folder import CodeFolder
from jukebox_hf.generation.alignment_files import load_words
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_record import PartRecord
from jukebox_hf.hub import load_manifest, load_training_facts
from jukebox_hf.hub.loading import read_config
from jukebox_hf.labels import JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.records import to_json
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.feature_folder import FeatureFolder, FeatureRecord, ModelIdentity
from jukebox_hf.training.checkpoints import RunState, load_state
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig

ROOT = Path(__file__).resolve().parent.parent
SESSIONS = Path(__file__).parent / "generation" / "sessions"
NEWER = 10**6
WRONG: tuple[Any, ...] = (
    ...,
    None,
    [],
    {},
    "x",
    -1,
    1.5,
    True,
    [None],
    {"x": 1},
    10**400,
    [[[[]]]],
    "x" * 10_000,
)


@dataclass(frozen=True)
class Format:
    """A kind of JSON file.

    Attributes:
        name: of the file, below the folder that is made.
        make: puts a good one into a folder.
        load: reads it from that folder.
        needed: keys without which it is refused, below each other by dots; of a list in its first
            entry. All others may be missing; of configs that depends on the other keys.
        version: key of its version; None if the version stands elsewhere.
    """

    name: str
    make: Callable[[Path], object]
    load: Callable[[Path], object]
    needed: str = ""
    version: str | None = "format_version"


def write(name: str, content: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(json.dumps(content), encoding="utf-8")


def copy_model(folder: Path) -> None:
    shutil.copytree(SESSIONS / "model", folder, dirs_exist_ok=True)


TRAINING = {
    "format_version": 1,
    "command": "jukebox train",
    "data": [{"name": "songs", "songs": 3, "hours": 1.5}],
    "steps": 10,
    "settings": {"seed": 1},
    "figures": [{"name": "bits per code", "value": 3.5, "command": "jukebox evaluate"}],
}
CODES = {
    "sampling_rate": 8000,
    "hop_lengths": [8, 32, 128],
    "levels": [0, 1, 2],
    "codebook_size": 16,
    "fingerprint": "sha256:0",
    "model": "tiny",
    "format_version": 1,
}
STATE = {"format_version": 1, **vars(RunState(step=3, best_loss=1.5, best_step=2))}


def make_shard(folder: Path) -> None:
    CodeFolder(folder, CodesInfo(**CODES_INFO), 0, 1).end_shard([SkippedSong("a", "too short")])


CODES_INFO = {**CODES, "hop_lengths": (8, 32, 128), "levels": (0, 1, 2)}
FEATURES = FeatureRecord(EmbeddingSettings(), ModelIdentity("m", 2, "sha256:0"), "float32", 1.5, 4)
WORD = {"text": "la", "first_character": 0, "start_seconds": 0.5, "end_seconds": 1.0,
        "confidence": 0.9}  # fmt: skip
QUEUE = {
    "format_version": 1,
    "jobs": [{"id": "0a", "room": "r", "piece": "p", "request": {"verb": "make"}}],
    "keeps": [{"room": "r", "piece": "p", "takes": [1]}],
}
# Whoever reads a record of ours, by the format below that tries it; or why none does.
READERS = {
    "data/code_files.py": "jukebox_codes.json",
    "data/code_folder.py": "shard-00000-of-00001.json",
    "generation/session_record.py": "generation/test_earlier_sessions.py",
    "hub/manifest.py": "jukebox.json",
    "hub/training_facts.py": "training.json",
    "labels/storage.py": "prior_2/vocabulary.json",
    "representations/feature_folder.py": "embed.json",
    "studio/job_queue.py": "studio.json",
    "training/checkpoints.py": "state.json",
}
FORMATS = [
    Format(
        "embed.json",
        write("embed.json", to_json(FEATURES, version=1)),
        lambda folder: FeatureFolder(folder, FEATURES),
        "settings model model.name model.level model.fingerprint precision code_rate width",
    ),
    Format(
        "studio.json",
        write("studio.json", QUEUE),
        JobQueue,
        "jobs jobs.0.id jobs.0.room jobs.0.piece jobs.0.request jobs.0.request.verb "
        "keeps keeps.0.room keeps.0.piece keeps.0.takes",
    ),
    Format(
        "shard-00000-of-00001.json",
        make_shard,
        lambda folder: CodeFolder(folder, CodesInfo(**CODES_INFO), 0, 1).missing_songs(["a"]),
        "skipped",
        version=None,
    ),
    Format(
        "song.words.json",
        write("song.words.json", [WORD]),
        lambda folder: load_words(folder / "song.words.json"),
        "0.text 0.first_character 0.start_seconds 0.end_seconds 0.confidence",
        version=None,
    ),
    Format(
        "jukebox.json",
        copy_model,
        load_manifest,
        "components components.vqvae.subfolder components.prior_0.subfolder "
        "components.prior_1.subfolder components.prior_2.subfolder",
    ),
    Format(
        "training.json",
        write("training.json", TRAINING),
        load_training_facts,
        "data.0.name figures.0.name figures.0.value figures.0.command",
    ),
    Format(
        "jukebox_codes.json",
        write("jukebox_codes.json", CODES),
        lambda folder: CodesInfo.load(folder / "jukebox_codes.json"),
        "sampling_rate hop_lengths levels codebook_size",
    ),
    Format(
        "state.json",
        write("state.json", STATE),
        load_state,
        "step loss_scale average_updates failed_steps best_loss best_step",
    ),
    Format(
        "prior_2/processor_config.json",
        copy_model,
        lambda folder: JukeboxProcessor.from_pretrained(folder / "prior_2"),
        "dialect genre_slots lyric_characters lyric_length sampling_rate window_samples "
        "min_total_seconds max_total_seconds",
    ),
    Format(
        "prior_2/vocabulary.json",
        copy_model,
        lambda folder: JukeboxProcessor.from_pretrained(folder / "prior_2"),
        "artists genres",
        version=None,
    ),
    Format(
        "prior_2/config.json",
        copy_model,
        lambda folder: read_config(folder / "prior_2", JukeboxPriorConfig),
        version=None,
    ),
    Format(
        "vqvae/config.json",
        copy_model,
        lambda folder: read_config(folder / "vqvae", JukeboxVQVAEConfig),
        version=None,
    ),
]


def test_every_record_that_is_read_is_tried() -> None:
    found = {
        "/".join(path.parts[-2:])
        for top in ("jukebox_hf", "cli")
        for path in (ROOT / top).rglob("*.py")
        if "from_json(" in path.read_text(encoding="utf-8") and path.name != "records.py"
    }
    assert found == set(READERS)
    assert set(READERS.values()) <= {kind.name for kind in FORMATS} | {
        "generation/test_earlier_sessions.py"
    }


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value; of lists and of long objects the first and the last entry."""
    if path:
        yield path
    keys: list[Any] = []
    if isinstance(content, dict):
        keys = list(content)
    elif isinstance(content, list):
        keys = list(range(len(content)))
    for key in keys if len(keys) < 50 else (keys[0], keys[-1]):
        yield from places(content[key], (*path, key))


def changed(content: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy with another value at a place, or without it (`...`)."""
    copy = json.loads(json.dumps(content))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if change is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = change
    return copy


def check(load: Callable[[], object], path: Path) -> bool:
    """Whether a file is refused, which must be by one sentence that names it."""
    try:
        load()
    except ValueError as error:
        text = " ".join(str(error).split())
    else:
        return False
    assert str(path.parent) in text, text
    assert len(text) < 2500, text
    return True


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_whatever_is_wrong_with_a_file_is_one_sentence(kind: Format, tmp_path: Path) -> None:
    kind.make(tmp_path)
    path = tmp_path / kind.name
    assert not check(lambda: kind.load(tmp_path), path), "a good file is read"
    content = json.loads(path.read_text(encoding="utf-8"))
    found = list(places(content))
    assert found
    refused = 0
    for place in found:
        for wrong in WRONG:
            path.write_text(json.dumps(changed(content, place, wrong)), encoding="utf-8")
            refused += check(lambda: kind.load(tmp_path), path)
    assert refused > len(found), "most of what is wrong is noticed"


@pytest.mark.parametrize(
    "kind", [kind for kind in FORMATS if kind.needed], ids=lambda kind: kind.name
)
def test_a_file_is_refused_without_exactly_the_keys_that_it_needs(
    kind: Format, tmp_path: Path
) -> None:
    kind.make(tmp_path)
    path = tmp_path / kind.name
    content = json.loads(path.read_text(encoding="utf-8"))
    keys = [place for place in places(content) if not isinstance(place[-1], int)]
    refused = set()
    for place in keys:
        path.write_text(json.dumps(changed(content, place, ...)), encoding="utf-8")
        if check(lambda: kind.load(tmp_path), path):
            refused.add(".".join(map(str, place)))
    assert refused == {*kind.needed.split(), *([kind.version] if kind.version else [])}


@pytest.mark.parametrize(
    "kind", [kind for kind in FORMATS if kind.version], ids=lambda kind: kind.name
)
def test_a_newer_version_is_said(kind: Format, tmp_path: Path) -> None:
    assert kind.version is not None
    kind.make(tmp_path)
    path = tmp_path / kind.name
    content = json.loads(path.read_text(encoding="utf-8"))
    for version in (NEWER, None, "new", True, 0):
        path.write_text(json.dumps({**content, kind.version: version}), encoding="utf-8")
        with pytest.raises(ValueError, match=kind.version.replace("_", "[_ ]")):
            kind.load(tmp_path)


# --- bytes: seeded, few here and many behind the marker -------------------------------------------


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The same bytes cut off, flipped, doubled or with others in them."""
    place = chance.randrange(len(data))
    end = min(place + chance.randrange(1, 40), len(data))
    other = bytes(chance.randrange(256) for _ in range(end - place))
    way = chance.choice(["cut", "flip", "drop", "double", "deep", "digits", "word"])
    return {
        "cut": data[:place],
        "flip": data[:place] + other + data[end:],
        "drop": data[:place] + data[end:],
        "double": data[:end] + data[place:],
        "deep": data[:place] + b"[" * 5000 + data[place:],
        "digits": data[:place] + b"9" * chance.choice([5, 400, 5000]) + data[place:],
        "word": data[:place]
        + chance.choice([b"null", b"NaN", b"-", b"1e999", b'"x"'])
        + data[end:],
    }[way]


def fuzz_bytes(path: Path, load: Callable[[], object], tries: int, seed: int) -> int:
    """Load a file that is spoilt again and again; returns how often that was refused."""
    data, chance = path.read_bytes(), random.Random(seed)
    refused = 0
    for _ in range(tries):
        path.write_bytes(spoilt(data, chance))
        refused += check(load, path)
    path.write_bytes(data)
    return refused


TRIES = [pytest.param(40, id="few"), pytest.param(4000, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_spoilt_bytes_are_one_sentence(kind: Format, tries: int, tmp_path: Path) -> None:
    kind.make(tmp_path)
    refused = fuzz_bytes(tmp_path / kind.name, lambda: kind.load(tmp_path), tries, seed=tries)
    assert refused > tries / 10


@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize("name", ["chains", "shared", "complete"])
def test_spoilt_sessions_are_one_sentence(name: str, tries: int, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(SESSIONS / name, folder)

    def load() -> None:
        session = Session.open(folder)
        for part in (folder / "parts").glob("*.json"):
            session.record.merge(PartRecord.load(part), str(part))
        for take in session.takes:
            session.joined_codes(take.number)

    paths = [folder / "session.json", *folder.glob("parts/*"), *folder.glob("codes/*.safetensors")]
    assert len(paths) > 1
    refused = [
        fuzz_bytes(path, load, max(tries // 4, 10), seed=number)
        for number, path in enumerate(paths[:4])
    ]
    assert sum(refused) > tries / 10


@pytest.mark.parametrize("tries", TRIES)
def test_spoilt_codes_files_are_one_sentence(tries: int, tmp_path: Path) -> None:
    path = tmp_path / "codes.safetensors"
    codes = {2: torch.arange(8)[None], 1: torch.arange(32)[None]}
    save_codes(path, Codes(codes, (8, 32, 128), 8000, "sha256:0", {"seed": "1"}))
    assert fuzz_bytes(path, lambda: load_codes(path), tries, seed=1) > tries / 10
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in ("format_version", "hop_lengths", "sampling_rate"):
        less = {key: value for key, value in metadata.items() if key != name}
        for given in (less, {**less, name: "x"}, {**less, name: "9" * 400}, {**less, name: "[[]]"}):
            save_file(tensors, path, metadata=given)
            assert check(lambda: load_codes(path), path)

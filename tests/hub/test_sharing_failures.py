"""Interrupted uploads and downloads, cards that somebody edited, and repositories of strangers."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from jukebox_hf.hub.cards.rendering import BEGIN, END
from tests.hub.hub_client import HubServer, wait_until
from tests.tiny import tiny_system

pytestmark = pytest.mark.hub
Result = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("failures") / "model", "encoder")


# --- interruptions ------------------------------------------------------------------------------


def test_an_interrupted_upload_and_download_complete_when_run_again(
    hub_server: HubServer, model: Path, tmp_path: Path
) -> None:
    home, other = tmp_path / "ada", tmp_path / "bo"
    hub_server.control("clear")
    hub_server.control("fail", method="PUT", path="/_lfs/", after=20_000, action="stall")
    pushing = hub_server.start("push_once", home, "ada", folder=model, repo="ada/broken-off")
    wait_until(lambda: len(hub_server.uploads(hub_server.log())) == 3 and stalled(hub_server))
    pushing.kill()
    assert hub_server.read("ada/broken-off", "jukebox.json") is None  # nothing is half there
    first = hub_server.uploads(hub_server.log())

    hub_server.control("clear")
    hub_server.control("fail", method="PUT", path="/_lfs/", after=20_000, action="drop")
    again = hub_server.run("push_once", home, "ada", folder=model, repo="ada/broken-off")
    assert again["exit"] == 0, again
    second = hub_server.uploads(hub_server.log())
    assert len(first) == 3
    assert (
        len(second) == 1
    )  # after a connection that broke, and what had arrived was not sent again
    assert not set(first) & set(second)

    hub_server.control("clear")
    path = r"broken-off/resolve/.*/prior_2/model\.safetensors"
    hub_server.control("fail", method="GET", path=path, after=20_000, action="stall")
    pulling = hub_server.start("pull_once", other, repo="ada/broken-off")
    wait_until(lambda: stalled(hub_server))
    pulling.kill()
    hub_server.control("clear")
    hub_server.control("fail", method="GET", path=path, after=10_000, action="drop")
    found = hub_server.run("pull_and_play", other, repo="ada/broken-off")
    parts = found["pull"]["record"]["parts"]
    for name, part in parts.items():
        fetched = Path(part["folder"]) / "model.safetensors"
        assert fetched.read_bytes() == (model / name / "model.safetensors").read_bytes()
    assert len(found["codes"]) == 3


def stalled(server: HubServer) -> bool:
    return any(entry["status"] == -1 for entry in server.log())


# --- cards that were edited ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def edited(hub_server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("cards")
    result: Result = hub_server.run("cards", folder / "home", "ada", work=folder)
    return result


def test_what_somebody_wrote_into_a_card_is_kept(edited: Result) -> None:
    card = edited["kept card"]
    assert "\nWritten by hand, above.\n" in card
    assert card.rstrip().endswith("And below.")
    assert "# first" in card  # the generated part is generated again
    assert "# FIRST" not in card
    assert card.count(BEGIN) == card.count(END) == 1
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["widget"] == [{"text": "la"}]
    assert metadata["tags"][0] == "mine"
    assert "jukebox" in metadata["tags"]
    assert len(metadata["tags"]) == len(set(metadata["tags"]))
    (note,) = edited["kept"]["record"]["notes"]
    assert re.search(r"the card of ada/edited was kept; .*README\.md says something else", note)
    assert edited["again"]["record"]["commit"] == edited["kept"]["record"]["commit"]


def test_a_card_can_be_replaced_on_request(edited: Result) -> None:
    card = edited["replaced card"]
    assert "On this machine." in card
    assert "Written by hand" not in card
    assert card.count(BEGIN) == 1


def test_a_card_that_cannot_be_read_stops_the_push(edited: Result) -> None:
    assert edited["broken"]["exit"] == 1
    assert "README.md: the metadata at its top cannot be read" in edited["broken"]["err"]


def test_the_empty_card_of_transformers_is_replaced(hub_server: HubServer, edited: Result) -> None:
    assert edited["inherited"]["exit"] == 0
    text = hub_server.read("ada/inherited", "README.md") or ""
    assert "An upsampler of a Jukebox model" in text
    assert "More Information Needed" not in text


def test_weights_of_an_earlier_push_do_not_stay_beside_the_new(edited: Result) -> None:
    files = edited["sharded"]["record"]["files"]
    assert "vqvae/model.safetensors.index.json" in files
    assert "vqvae/model.safetensors" not in files
    assert sorted(name for name in edited["files"] if name.startswith("vqvae/")) == [
        "vqvae/config.json",
        "vqvae/model.safetensors",
        "vqvae/preprocessor_config.json",
    ]


# --- strangers' repositories --------------------------------------------------------------------


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def changed_json(data: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(data), **changes}).encode()


def manifest(**references: Any) -> bytes:
    return json.dumps({"format_version": 1, "components": references}).encode()


def header(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


def strangers(model: Path, marker: Path) -> dict[str, tuple[dict[str, bytes], str]]:
    """By name, the files of a repository, and what is said of it."""
    good = {
        path.relative_to(model).as_posix(): path.read_bytes()
        for path in model.rglob("*")
        if path.is_file()
    }
    config, weights = "prior_1/config.json", "prior_1/model.safetensors"
    without = {path: data for path, data in good.items() if path != weights}
    index = {"metadata": {}, "weight_map": {"a": "../../vqvae/model.safetensors"}}
    huge = {"a": {"dtype": "F32", "shape": [2**40, 2**10], "data_offsets": [0, 2**52]}}
    vocabulary = "prior_1/vocabulary.json"
    return {
        "outside": (
            {"jukebox.json": manifest(vqvae={"subfolder": "../../secrets"})},
            "must be a plain path below the model's folder",
        ),
        "absolute": (
            {"jukebox.json": manifest(vqvae={"subfolder": "/etc"})},
            "must be a plain path below the model's folder",
        ),
        "name": (
            {"jukebox.json": manifest(vqvae={"subfolder": "vqvae", "repo_id": "../x"})},
            "Repo id must",
        ),
        "pickle": (
            {**without, "prior_1/pytorch_model.bin": pickle.dumps(Bomb(marker))},
            "expected weights in",
        ),
        "pickled-shard": (
            {
                **without,
                "prior_1/model.safetensors.index.json": json.dumps(
                    {"weight_map": {"a": "pytorch_model.bin"}}
                ).encode(),
                "prior_1/pytorch_model.bin": pickle.dumps(Bomb(marker)),
            },
            "expected a weight_map to files beside it",
        ),
        "index": (
            {**without, "prior_1/model.safetensors.index.json": json.dumps(index).encode()},
            "expected a weight_map to files beside it",
        ),
        "code": (
            {
                **good,
                config: changed_json(good[config], auto_map={"AutoModel": "evil.Evil"}),
                "prior_1/evil.py": f"open({str(marker)!r}, 'w')".encode(),
                "evil.py": f"open({str(marker)!r}, 'w')".encode(),
            },
            "unknown setting 'auto_map'",
        ),
        "deep": (
            {**good, config: changed_json(good[config], depth=10**12)},
            "at most 4096 makes sense",
        ),
        "wide": (
            {**good, config: changed_json(good[config], width=2**39, mlp_width=2**39)},
            "contradict its tensors",
        ),
        "long": (
            {**good, config: changed_json(good[config], context_length=2**38)},
            "contradict its tensors",
        ),
        "kind": (
            {**good, config: good["vqvae/config.json"]},
            "expected model_type 'jukebox_hf_prior', found 'jukebox_hf_vqvae'",
        ),
        "level": (
            {**good, "prior_1/config.json": good["prior_0/config.json"]},
            "prior_1 is a prior of level 0, not 1",
        ),
        "header": ({**good, weights: (2**60).to_bytes(8, "little")}, "damaged"),
        "huge": ({**good, weights: header(huge)}, "damaged"),
        "names": (
            {
                **good,
                vocabulary: changed_json(good[vocabulary], artists={"unknown": 0, "x": 2**62}),
            },
            "prior_1",
        ),
        "json": ({**good, config: b"[" * 100_000}, "expected JSON, found something else"),
        "yaml": (
            {
                **{name.removeprefix("vqvae/"): good[name] for name in good if "vqvae/" in name},
                "README.md": b"---\nlicense: !!python/object/apply:os.system ['touch x']\n---\n",
            },
            "",
        ),
        "training": ({**good, "prior_1/training.json": b'{"format_version": 9}'}, ""),
    }


def test_repositories_of_strangers_are_refused_and_harm_nothing(
    hub_server: HubServer, model: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "harm"
    cases = strangers(model, marker)
    for name, (files, _message) in cases.items():
        hub_server.put(f"mallory/{name}", files)
    repos = [f"mallory/{name}" for name in cases]
    result = hub_server.run("hostile", tmp_path / "home", repos=repos, levels=[0, 1, 2])
    for name, (_files, message) in cases.items():
        found = result[f"mallory/{name}"]
        if not message:
            assert found["pull"]["exit"] == 0, found
            assert found["info"]["exit"] == 0, found
            continue
        refused = [each["err"] for each in found.values() if each["exit"] == 1]
        assert any(message in text for text in refused), (name, found)
        assert found["load"]["exit"] == 1, name
        for what in ("info", "pull"):
            assert found[what]["exit"] == 1, (name, found)
            assert found[what]["err"].count("\n") == 1
    assert "has format version 9, but" in result["mallory/training"]["info"]["err"]
    assert not marker.exists()
    assert result["grown"] < 500_000  # kB: no config made anything large
    assert not [name for name in result["cached"] if name.endswith((".py", ".bin"))]

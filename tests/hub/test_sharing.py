"""Models pushed to and pulled from a server that speaks the Hub's protocol, in separate processes.

One process makes and pushes everything; others, with empty caches, pull it. Each test looks at one
thing that happened.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from tests.hub.hub_client import HEADER_RANGE, HubServer

pytestmark = pytest.mark.hub
Result = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharing")


@pytest.fixture(scope="module")
def published(hub_server: HubServer, folder: Path) -> Result:
    """What Ada pushed, and what she saw."""
    (folder / "ada").mkdir()
    result: Result = hub_server.run("publish", folder / "ada-home", "ada", work=folder / "ada")
    return result


@pytest.fixture(scope="module")
def pulled(hub_server: HubServer, folder: Path, published: Result) -> Result:
    """What strangers without a token saw: two of them at once, then one of them offline."""
    for name, reference in {
        "missing": {"repo_id": "ada/base", "subfolder": "nothing"},
        "private": {"repo_id": "ada/secret"},
        "gone": {"repo_id": "ada/gone", "subfolder": "prior_1"},
    }.items():
        manifest = {
            "format_version": 1,
            "components": {
                "vqvae": {"repo_id": "ada/base", "subfolder": "vqvae"},
                "prior_1": reference,
            },
        }
        hub_server.put(f"mallory/part-{name}", {"jukebox.json": json.dumps(manifest).encode()})
    hub_server.put("mallory/gated", {"config.json": b"{}"}, gated=True)
    hub_server.control("move", kind="models", old="ada/again", new="ada/renamed")
    hub_server.control("clear")
    (folder / "bo").mkdir()
    one = hub_server.start("tune", folder / "cy-home", work=folder)
    result = {"tune": one.result(), "log": hub_server.log()}
    other = hub_server.start("fetch", folder / "bo-home", work=folder / "bo")
    third = hub_server.start(
        "offline", folder / "cy-home", work=folder / "ada", environment={"HF_HUB_OFFLINE": "1"}
    )
    return {**result, "fetch": other.result(), "offline": third.result()}


# --- the same music -----------------------------------------------------------------------------


def test_a_whole_model_makes_the_same_codes_elsewhere(published: Result, pulled: Result) -> None:
    assert pulled["fetch"]["top codes"] == published["codes"][2]
    assert set(pulled["fetch"]["base"]["record"]["parts"]) == {
        *("vqvae", "prior_0", "prior_1", "prior_2")
    }


def test_a_model_pushed_level_by_level_is_whole(published: Result, pulled: Result) -> None:
    assert pulled["fetch"]["levels codes"] == published["codes"]


def test_a_model_in_three_repositories_makes_the_same_codes(
    published: Result, pulled: Result
) -> None:
    assert pulled["tune"]["codes"] == published["tune codes"]
    assert published["tune codes"][2] != published["codes"][2]


def test_only_what_is_needed_is_transferred(
    hub_server: HubServer, folder: Path, pulled: Result
) -> None:
    base, tune = folder / "ada" / "base", folder / "ada" / "tune"
    sizes = {
        "ada/codec/model.safetensors": base / "vqvae",
        "ada/uppers/prior_0/model.safetensors": base / "prior_0",
        "ada/uppers/prior_1/model.safetensors": base / "prior_1",
        "ada/tune/prior_2/model.safetensors": tune / "prior_2",
    }
    expected = {name: (place / "model.safetensors").stat().st_size for name, place in sizes.items()}
    assert hub_server.weights(pulled["log"]) == expected


def test_references_are_pinned_to_the_commits_they_had(published: Result, pulled: Result) -> None:
    manifest = pulled["tune"]["manifest"]["components"]
    first, second = (published[name]["record"]["commit"] for name in ("codec", "codec 2"))
    assert first != second
    assert manifest["vqvae"] == {"repo_id": "ada/codec", "revision": first}
    uppers = published["uppers"]["record"]["commit"]
    for name in ("prior_0", "prior_1"):
        assert manifest[name] == {"repo_id": "ada/uppers", "subfolder": name, "revision": uppers}
    assert f"vqvae refers to ada/codec at {first}" in published["tune"]["err"]
    assert pulled["tune"]["pull"]["record"]["parts"]["vqvae"]["revision"] == first
    assert pulled["fetch"]["codec"] != pulled["fetch"]["fingerprint"]  # of its newest


def test_an_adapter_and_what_it_belongs_to_make_the_same_codes(
    published: Result, pulled: Result
) -> None:
    assert pulled["fetch"]["lora codes"] == published["lora codes"]
    assert published["lora codes"] != published["codes"][2]
    parts = pulled["fetch"]["lora"]["record"]["parts"]
    assert parts["adapter_prior_2"]["repo_id"] == "ada/lora"
    assert parts["prior_2"]["repo_id"] == "ada/base"
    assert list(pulled["fetch"]["adapter"]["record"]["parts"]) == ["adapter_prior_2"]


def test_a_pushed_merge_has_no_adapter_and_makes_the_same_codes(
    hub_server: HubServer, published: Result
) -> None:
    assert published["merged codes"] == published["lora codes"]
    for repo in ("merged", "merged foreign"):
        files = published[repo]["record"]["files"]
        assert [name for name in files if name.endswith(".safetensors")] == [
            "prior_2/model.safetensors"
        ]
        manifest = json.loads(
            hub_server.read(f"ada/{repo.replace(' ', '-')}", "jukebox.json") or ""
        )
        assert not manifest.get("adapters")
        places = {name: part.get("repo_id") for name, part in manifest["components"].items()}
        assert places == {
            "vqvae": "ada/base",
            "prior_0": "ada/base",
            "prior_1": "ada/base",
            "prior_2": None,
        }
    assert "has no adapter that could be merged" in published["merged nothing"]["err"]
    assert hub_server.read("ada/never", "jukebox.json") is None


def test_codes_come_back(published: Result, pulled: Result) -> None:
    assert pulled["fetch"]["song codes"] == published["songs"]["codes"]
    assert pulled["fetch"]["song names"] == published["songs"]["names"]
    assert published["songs"]["push"]["record"]["repo_type"] == "dataset"


def test_a_pulled_model_can_be_made_one_folder(published: Result, pulled: Result) -> None:
    found = pulled["fetch"]
    assert found["output codes"] == found["saved codes"] == published["lora codes"]
    references = found["output manifest"]["components"].values()
    assert all("repo_id" not in reference for reference in references)
    assert found["output manifest"]["licence"] == "openai-noncommercial"
    assert "exists; choose another output or pass --overwrite" in found["output again"]["err"]


def test_it_works_offline_with_what_is_cached(published: Result, pulled: Result) -> None:
    offline = pulled["offline"]
    assert offline["codes"] == published["tune codes"]
    assert offline["pull"]["exit"] == 0
    assert offline["info"]["record"]["components"]["prior_2"]["parameters"] > 0
    assert "no such repository in the cache" in offline["never"]["err"]
    assert offline["push"]["exit"] == 1


def test_models_of_transformers_push_themselves(pulled: Result) -> None:
    assert pulled["fetch"]["inherited"] == 1


def test_a_branch_can_be_pushed_to(hub_server: HubServer, published: Result) -> None:
    assert published["branch"]["exit"] == 0
    assert hub_server.read("ada/base", "jukebox.json", "trial") is not None


# --- what is uploaded ---------------------------------------------------------------------------


def test_only_files_of_the_layout_are_uploaded(published: Result) -> None:
    component = ("config.json", "model.safetensors", "processor_config.json", "vocabulary.json")
    priors = [f"prior_{level}/{name}" for level in range(3) for name in component]
    codec = [f"vqvae/{name}" for name in (*component[:2], "preprocessor_config.json")]
    assert published["base"]["record"]["files"] == sorted(
        ["README.md", "config.json", "jukebox.json", *priors, *codec]
    )
    tune = published["tune"]["record"]["files"]
    assert {name.split("/")[0] for name in tune} == {
        "README.md",
        "config.json",
        "jukebox.json",
        "prior_2",
    }


def test_an_adapter_of_peft_is_pushed_with_its_base(
    hub_server: HubServer, published: Result
) -> None:
    assert "name it with --refer-to REPO" in published["foreign baseless"]["err"]
    assert "say which with --level" in published["foreign unclear"]["err"]
    assert published["foreign"]["record"]["files"] == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "config.json",
    ]
    stated = json.loads(hub_server.read("ada/foreign", "adapter_config.json") or "")
    assert stated["base_model_name_or_path"] == "ada/base"
    card = hub_server.read("ada/foreign", "README.md") or ""
    assert "Model Card for Model ID" not in card
    assert "base_model: ada/base" in card


def test_what_another_repository_has_need_not_be_uploaded(
    hub_server: HubServer, published: Result
) -> None:
    files = published["refer"]["record"]["files"]
    assert [name for name in files if name.endswith(".safetensors")] == [
        "prior_2/model.safetensors"
    ]
    manifest = json.loads(hub_server.read("ada/copy", "jukebox.json") or "")
    commit = published["base"]["record"]["commit"]
    expected = {"subfolder": "vqvae", "repo_id": "ada/base", "revision": commit}
    assert manifest["components"]["vqvae"] == expected
    assert manifest["components"]["prior_2"] == {"subfolder": "prior_2"}


def test_a_model_from_the_hub_is_pushed_as_references(
    hub_server: HubServer, pulled: Result
) -> None:
    manifest = json.loads(hub_server.read("ada/renamed", "jukebox.json") or "")
    assert {each["repo_id"] for each in manifest["components"].values()} == {
        *("ada/codec", "ada/uppers", "ada/tune")
    }
    assert pulled["fetch"]["moved"]["exit"] == 0  # the Hub forwards a repository that was renamed


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("empty", r"empty: expected the jukebox\.json of a model, the config\.json of a"),
        ("broken", r"prior_1/model\.safetensors: the checkpoint is damaged or incomplete"),
        ("name", r"a/b/c: expected the name of a repository, as in owner/name"),
        ("owner", r"bo/base: this token may not write there; use one with write permission"),
        ("component", r"has no prior_7; it has vqvae, prior_0, prior_1, prior_2"),
        ("apart", r"prior_2: was trained on the codes of another VQ-VAE"),
        ("bare", r"ada/base holds a whole model; push .*vqvae to another repository, or the"),
        ("whole", r"ada/codec holds a bare component at its root; push a model to another one"),
        ("incomplete", r"half: is not complete; run the same `jukebox encode --dataset` again"),
    ],
)
def test_pushing_refuses_in_one_sentence(published: Result, what: str, message: str) -> None:
    found = published["errors"][what]
    assert found["exit"] == 1
    assert re.search(message, found["err"])
    assert found["err"].count("\n") == 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("secret", r"ada/secret: no such folder here and no such .* log in with `hf auth login`"),
        ("nowhere", r"ada/nowhere: no such folder here and no such repository on the Hub"),
        ("revision", r"ada/base: has no revision v9"),
        ("gated", r"mallory/gated: its owner asks to accept conditions first"),
        ("no token", r"ada/x: pushing needs an account on the Hub; log in with `hf auth login`"),
        ("part missing", r"prior_1 of mallory/part-missing: ada/base: has no nothing \(at "),
        ("part private", r"prior_1 of mallory/part-private is in another repository: ada/secret:"),
        ("part gone", r"prior_1 of mallory/part-gone is in another repository: ada/gone: no such"),
    ],
)
def test_pulling_refuses_in_one_sentence(pulled: Result, what: str, message: str) -> None:
    found = pulled["fetch"][what]
    assert found["exit"] == 1
    assert re.search(message, found["err"])
    assert found["err"].count("\n") == 1


# --- info ---------------------------------------------------------------------------------------


def test_info_fetches_headers_alone(hub_server: HubServer, pulled: Result) -> None:
    looked = [
        entry
        for entry in pulled["log"]
        if entry["range"] == HEADER_RANGE and entry["path"].endswith(".safetensors")
    ]
    assert {"/ada/codec", "/ada/uppers", "/ada/tune"} <= {
        entry["path"].partition("/resolve/")[0] for entry in looked
    }
    record = pulled["tune"]["info"]["record"]
    assert record["noncommercial"]
    assert record["components"]["prior_0"]["repo_id"] == "ada/uppers"
    assert record["components"]["prior_2"]["parameters"] == 9332
    assert record["components"]["prior_2"]["training"]["data"][0]["licence"] == "CC-BY-4.0"
    assert [need["precision"] for need in record["memory"]][:2] == ["float32", "float16"]
    assert "with a LoRA adapter of rank 2" in pulled["tune"]["text"]["out"]


# --- cards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repo", "title", "metadata"),
    [
        ("ada/base", "# tiny base", {"pipeline_tag": "text-to-audio"}),
        ("ada/tune", "# tune", {"base_model_relation": "finetune", "datasets": ["ada/songs"]}),
        ("ada/lora", "# lora", {"base_model": "ada/base", "base_model_relation": "adapter"}),
        ("ada/adapter", "# adapter", {"base_model": "ada/base"}),
        ("ada/codec", "# codec", {"pipeline_tag": "audio-to-audio"}),
        ("ada/levels", "# tiny base", {"pipeline_tag": "text-to-audio"}),
        ("ada/uppers", "Parts of a Jukebox model", {}),
    ],
)
def test_cards_of_what_derives_from_the_release_say_so(
    hub_server: HubServer, published: Result, repo: str, title: str, metadata: Result
) -> None:
    text = hub_server.read(repo, "README.md")
    assert text is not None
    card = ModelCard(text)
    found = yaml.safe_load(card.data.to_yaml())
    assert found["library_name"] == "jukebox_hf"
    assert found["license"] == "other"
    assert found["license_name"] == "openai-noncommercial-use-license"
    assert metadata.items() <= found.items()
    assert title in card.text
    assert "> **Non-commercial.** These weights are, or derive from" in card.text
    assert repo in card.text


def test_a_fine_tune_says_what_it_learnt_from_and_how(
    hub_server: HubServer, published: Result
) -> None:
    text = hub_server.read("ada/tune", "README.md") or ""
    for line in (
        "Started from `ada/base`.",
        "| [my songs](https://huggingface.co/datasets/ada/songs) | 3 |  | CC-BY-4.0 |",
        "jukebox finetune --model ada/base --dataset ada/songs",
        "By `jukebox evaluate --model ada/tune`:",
        "| bits per code | 3.21 |",
    ):
        assert line in text


def test_codes_have_a_dataset_card(hub_server: HubServer, published: Result) -> None:
    card = DatasetCard(hub_server.read("datasets/ada/codes", "README.md") or "")
    assert card.data.to_dict()["configs"][0]["data_files"][0]["path"] == "data/train-*.parquet"
    assert "say it with --licence" in published["songs"]["first"]["record"]["notes"][0]
    assert published["songs"]["push"]["record"]["notes"] == []
    assert card.data.license == "cc-by-4.0"
    assert "Made by the VQ-VAE of `ada/codec`" in card.text


def test_codes_are_pushed_as_the_tables_that_the_hub_shows(published: Result) -> None:
    files = ["README.md", "data/train-00000-of-00001.parquet", "jukebox_codes.json"]
    assert published["songs"]["push"]["record"]["files"] == files
    there = [name for name in published["songs"]["there"] if name != ".gitattributes"]
    assert sorted(there) == files  # nothing of an earlier form stays beside it

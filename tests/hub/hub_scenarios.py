"""What users do with the Hub, each function in a process of its own: see `hub_client`.

Importing the libraries takes longer than all that follows, so a function does several things and
returns what the tests then look at, one at a time.
"""

import json
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from huggingface_hub import constants, create_repo, hf_hub_download, list_repo_files, upload_file
from safetensors.torch import save_file

from jukebox_cli.main import main
from jukebox_hf import JukeboxPrior, JukeboxProcessor, JukeboxVQVAE
from jukebox_hf.data import encode_dataset, open_codes, open_songs
from jukebox_hf.generation.pipeline import JukeboxPipeline
from jukebox_hf.hub import (
    OPENAI_LICENCE,
    AdapterReference,
    ComponentReference,
    Figure,
    Manifest,
    System,
    TrainingData,
    TrainingFacts,
    load_manifest,
    save_manifest,
    save_system,
    save_training_facts,
)
from jukebox_hf.records import read_json
from tests.tiny import GENERATION, tiny_prior, tiny_processor, tiny_system, tiny_vqvae

FACTS = TrainingFacts(
    command="jukebox finetune --model ada/base --dataset ada/songs",
    base_model="ada/base",
    data=(TrainingData("my songs", repo_id="ada/songs", licence="CC-BY-4.0", songs=3),),
    steps=12,
    figures=(Figure("bits per code", 3.21, "jukebox evaluate --model ada/tune"),),
)


def command(*arguments: object) -> dict[str, Any]:
    """What a command prints, and with `--json` its record."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="jukebox")
    found: dict[str, Any] = {
        "exit": result.exit_code,
        "out": result.stdout,
        "err": result.stderr,
    }
    if result.exit_code == 0 and "--json" in arguments:
        found["record"] = json.loads(result.stdout)
    return found


def music(model: str | Path, **options: Any) -> list[list[int]]:
    """Codes of every level that a model makes."""
    pipeline = JukeboxPipeline.from_pretrained(model, device="cpu", **options)
    made = pipeline.generate(genre="rock", artist="ada", lyrics="la", seconds=0.6, seed=7)
    codes = made.takes[0].codes
    assert codes is not None
    return [codes.levels[level].flatten().tolist() for level in sorted(codes.levels)]


def top_codes(model: str | Path, **options: Any) -> list[int]:
    """The same for the top level alone."""
    pipeline = JukeboxPipeline.from_pretrained(model, device="cpu", **options)
    made = pipeline.generate(genre="rock", artist="ada", seconds=0.6, seed=7, to_level=2)
    codes = made.takes[0].codes
    assert codes is not None
    return codes.levels[2].flatten().tolist()  # type: ignore[no-any-return]


def make_adapter(folder: Path) -> None:
    """A LoRA adapter for the top prior, with one new artist."""
    config = tiny_prior(2, "encoder").config
    config.artist_count += 1
    generator = torch.Generator().manual_seed(3)
    name = "base_model.model.decoder.layers.0.mlp.expand"
    folder.mkdir(parents=True)
    save_file(
        {
            f"{name}.lora_A.weight": torch.randn(2, 16, generator=generator),
            f"{name}.lora_B.weight": torch.randn(16, 2, generator=generator),
        },
        folder / "adapter_model.safetensors",
    )
    rows = torch.randn(1, config.width, generator=generator)
    save_file({"label_embedding.artist.weight": rows}, folder / "new_rows.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "r": 2,
                "lora_alpha": 4,
                "bias": "none",
                "target_modules": "x",
                "base_model_name_or_path": "ada/base",
            }
        )
    )
    processor = tiny_processor(tiny_prior(2, "encoder").config)
    processor.add_artists(["Newcomer"], first_id=config.artist_count - 1)
    processor.check(config)
    config.codebook_fingerprint = tiny_vqvae().fingerprint()
    config.save_pretrained(folder)
    processor.save_pretrained(folder)


def publish(work: str) -> dict[str, Any]:
    """Ada makes models and pushes them, as a whole and in parts."""
    folder = Path(work)
    base = tiny_system(folder / "base", "encoder", licence=OPENAI_LICENCE, name="tiny base")
    (base / "notes.txt").write_text("mine")
    (base / "prior_2" / "optimizer.pt").write_bytes(b"not for others")
    result: dict[str, Any] = {"codes": music(base)}
    result["base"] = command("push", base, "--repo-id", "ada/base", "--json")
    for name in ("prior_1", "vqvae", "prior_2", "prior_0"):
        result[f"levels {name}"] = command(
            "push", base, "--repo-id", "ada/levels", "--component", name, "--json"
        )
    result["codec"] = command("push", base / "vqvae", "--repo-id", "codec", "--json")
    result["uppers"] = command(
        *("push", base, "--repo-id", "ada/uppers", "--json"),
        *("--component", "prior_0", "--component", "prior_1"),
    )
    result["secret"] = command("push", base / "vqvae", "--repo-id", "ada/secret", "--private")
    tuned = tiny_prior(2, "encoder", seed=9, codebook_fingerprint=tiny_vqvae().fingerprint())
    save_system(
        folder / "tune",
        priors={2: tuned},
        processors={2: tiny_processor(tuned.config)},
        references={
            "vqvae": ComponentReference(None, "ada/codec"),
            "prior_0": ComponentReference("prior_0", "ada/uppers"),
            "prior_1": ComponentReference("prior_1", "ada/uppers", "main"),
        },
        generation=GENERATION,
    )
    save_training_facts(folder / "tune" / "prior_2", FACTS)
    result["tune"] = command("push", folder / "tune", "--repo-id", "ada/tune", "--json")
    result["tune codes"] = music(folder / "tune")
    # the repositories that it refers to go on
    tiny_vqvae(seed=5).save_pretrained(folder / "other")
    result["codec 2"] = command("push", folder / "other", "--repo-id", "ada/codec", "--json")
    # a copy that was fine-tuned from a folder, and is mostly the same as the base
    copy = tiny_system(folder / "copy", "encoder", licence=OPENAI_LICENCE)
    tuned.save_pretrained(copy / "prior_2")
    result["refer"] = command(
        "push", copy, "--repo-id", "ada/copy", "--refer-to", "ada/base", "--json"
    )
    make_adapter(folder / "lora" / "adapter_prior_2")
    commit = result["base"]["record"]["commit"]
    names = ("vqvae", "prior_0", "prior_1", "prior_2")
    save_manifest(
        folder / "lora",
        Manifest(
            {name: ComponentReference(name, "ada/base", commit) for name in names},
            generation=GENERATION,
            adapters=[AdapterReference("adapter_prior_2", component="prior_2")],
        ),
    )
    result["lora codes"] = top_codes(folder / "lora")
    result["lora"] = command("push", folder / "lora", "--repo-id", "ada/lora", "--json")
    result["merged"] = command(
        "push", folder / "lora", "--merged", "--repo-id", "ada/merged", "--json"
    )
    foreign = folder / "foreign"  # as peft itself leaves it
    foreign.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(folder / "lora" / "adapter_prior_2" / name, foreign)
    content = read_json(foreign / "adapter_config.json")
    content |= {"base_model_name_or_path": None}
    (foreign / "adapter_config.json").write_text(json.dumps(content))
    (foreign / "README.md").write_text("---\nlibrary_name: peft\n---\n# Model Card for Model ID\n")
    pushed = ["push", foreign, "--repo-id", "ada/foreign"]
    result["foreign baseless"] = command(*pushed)
    result["foreign unclear"] = command(*pushed, "--refer-to", "ada/base")
    result["foreign"] = command(
        *pushed, "--refer-to", "ada/base", "--component", "prior_2", "--json"
    )
    result["merged foreign"] = command(
        *("push", foreign, "--merged", "--refer-to", "ada/base", "--component", "prior_2"),
        *("--repo-id", "ada/merged-foreign", "--json"),
    )
    result["merged nothing"] = command("push", copy, "--merged", "--repo-id", "ada/never")
    result["adapter"] = command(
        "push", folder / "lora" / "adapter_prior_2", "--repo-id", "ada/adapter", "--json"
    )
    result["songs"] = publish_codes(folder)
    result["branch"] = command(
        *("push", base, "--repo-id", "ada/base", "--component", "prior_1"),
        *("--revision", "trial", "--json"),
    )
    result["merged codes"] = top_codes("ada/merged")
    result["pipeline"] = JukeboxPipeline.from_pretrained("ada/tune").push_to_hub("ada/again").url
    tiny_prior(1).push_to_hub("ada/inherited")
    tiny_processor(tiny_prior(1).config).push_to_hub("ada/inherited")
    result["errors"] = push_errors(folder, base)
    return result


def publish_codes(folder: Path) -> dict[str, Any]:
    from tests.data.song_files import tiny_codec, write_songs

    write_songs(folder / "songs", [0.5, 0.7])
    songs = open_songs(folder / "songs").songs
    encode_dataset(songs, tiny_codec(), folder / "codes", model="ada/codec")
    for name in ("state.json", "codes-old.arrow", "data/train-00001-of-00009.parquet"):
        # as earlier versions, and an earlier push of more songs, left them
        create_repo("ada/codes", repo_type="dataset", exist_ok=True)
        for each in (name, "jukebox_codes.json"):
            upload_file(
                path_or_fileobj=b"{}", path_in_repo=each, repo_id="ada/codes", repo_type="dataset"
            )
    first = command("push", folder / "codes", "--repo-id", "ada/codes", "--json")
    pushed = command(
        *("push", folder / "codes", "--repo-id", "ada/codes", "--json"),
        *("--licence", "CC-BY-4.0"),
    )
    known = open_codes(folder / "codes")
    return {
        "push": pushed,
        "first": first,
        "there": list_repo_files("ada/codes", repo_type="dataset"),
        "codes": known.codes(1, 2).tolist(),
        "names": [s.name for s in known.songs],
    }


def push_errors(folder: Path, base: Path) -> dict[str, Any]:
    empty = folder / "empty"
    empty.mkdir()
    broken = tiny_system(folder / "broken", "encoder")
    (broken / "prior_1" / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    other = tiny_system(folder / "seed5", "encoder", seed=5)
    return {
        "empty": command("push", empty, "--repo-id", "ada/x"),
        "broken": command("push", broken, "--repo-id", "ada/broken"),
        "name": command("push", base, "--repo-id", "a/b/c"),
        "owner": command("push", base, "--repo-id", "bo/base"),
        "component": command("push", base, "--repo-id", "ada/base", "--component", "prior_7"),
        "apart": command("push", other, "--repo-id", "ada/base", "--component", "prior_2"),
        "bare": command("push", base / "vqvae", "--repo-id", "ada/base"),
        "whole": command("push", base, "--repo-id", "ada/codec"),
        "incomplete": command("push", half_codes(folder), "--repo-id", "ada/half"),
    }


def half_codes(folder: Path) -> Path:
    half = folder / "half"
    half.mkdir()
    (half / "jukebox_codes.json").write_text("{}")
    return half


def fetch(work: str) -> dict[str, Any]:
    """A stranger, with an empty cache and without a token, pulls everything by name."""
    result: dict[str, Any] = {"base": command("pull", "ada/base", "--json")}
    result["top codes"] = top_codes("ada/base")
    result["levels codes"] = music("ada/levels")
    result["lora"] = command("pull", "ada/lora", "--json")
    result["lora codes"] = top_codes("ada/lora")
    result["adapter"] = command("pull", "ada/adapter", "--json")
    vqvae = JukeboxVQVAE.from_pretrained("ada/base", subfolder="vqvae")
    result["fingerprint"] = vqvae.fingerprint()
    result["codec"] = JukeboxVQVAE.from_pretrained("ada/codec").fingerprint()
    prior = JukeboxPrior.from_pretrained("ada/inherited")
    processor = JukeboxProcessor.from_pretrained("ada/inherited")
    processor.check(prior.config)
    result["inherited"] = prior.config.level
    result["songs"] = command("pull", "ada/codes", "--json")
    known = open_codes("ada/codes")
    result["song codes"] = known.codes(1, 2).tolist()
    result["song names"] = [song.name for song in known.songs]
    folder = Path(work) / "whole"
    result["output"] = command("pull", "ada/lora", "-o", folder, "--json")
    result["output manifest"] = load_manifest(folder).to_dict()
    result["output codes"] = top_codes(folder)
    result["output again"] = command("pull", "ada/lora", "-o", folder)
    JukeboxPipeline.from_pretrained("ada/lora").save_pretrained(Path(work) / "saved")
    result["saved codes"] = top_codes(Path(work) / "saved")
    result["secret"] = command("pull", "ada/secret")
    result["nowhere"] = command("pull", "ada/nowhere")
    result["revision"] = command("pull", "ada/base", "--revision", "v9")
    result["gated"] = command("pull", "mallory/gated")
    result["no token"] = command("push", folder, "--repo-id", "ada/x")
    result["moved"] = command("pull", "ada/again", "--component", "prior_1", "--json")
    for name in ("missing", "private", "gone"):
        result[f"part {name}"] = command("pull", f"mallory/part-{name}", "--json")
    return result


def tune(work: str) -> dict[str, Any]:
    """Somebody pulls the fine-tuned model alone."""
    result: dict[str, Any] = {"info": command("info", "ada/tune", "--json")}
    result["text"] = command("info", "ada/lora")
    result["pull"] = command("pull", "ada/tune", "--json")
    result["codes"] = music("ada/tune")
    result["licence"] = System.open("ada/tune").licence
    result["manifest"] = System.open("ada/tune").manifest.to_dict()
    return result


def offline(work: str) -> dict[str, Any]:
    """The same person on a train."""
    return {
        "codes": music("ada/tune"),
        "pull": command("pull", "ada/tune", "--json"),
        "info": command("info", "ada/tune", "--json"),
        "never": command("pull", "ada/base"),
        "push": command("push", Path(work) / "tune", "--repo-id", "ada/tune"),
    }


def push_once(folder: str, repo: str) -> dict[str, Any]:
    return command("push", folder, "--repo-id", repo, "--json")


def pull_once(repo: str) -> dict[str, Any]:
    return command("pull", repo, "--json")


def pull_and_play(repo: str) -> dict[str, Any]:
    return {"pull": command("pull", repo, "--json"), "codes": music(repo)}


def cards(work: str) -> dict[str, Any]:
    """Ada edits cards by hand, here and there, and pushes again."""
    folder = tiny_system(Path(work) / "edited", name="first")
    result = {"first": command("push", folder, "--repo-id", "ada/edited", "--json")}
    path = Path(hf_hub_download("ada/edited", "README.md"))
    edited = path.read_text().replace("# first", "# FIRST").replace("tags:\n", "tags:\n- mine\n")
    edited = edited.replace("---\n\n", "---\n\nWritten by hand, above.\n\n", 1)
    edited = (
        edited.replace("pipeline_tag", "widget:\n- text: la\npipeline_tag", 1) + "\nAnd below.\n"
    )
    upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id="ada/edited")
    (folder / "README.md").write_text("# Mine\n\nOn this machine.\n")
    result["kept"] = command("push", folder, "--repo-id", "ada/edited", "--json")
    result["again"] = command("push", folder, "--repo-id", "ada/edited", "--json")
    result["kept card"] = Path(hf_hub_download("ada/edited", "README.md")).read_text()
    result["replaced"] = command(
        "push", folder, "--repo-id", "ada/edited", "--replace-card", "--json"
    )
    result["replaced card"] = Path(hf_hub_download("ada/edited", "README.md")).read_text()
    upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="ada/edited")
    result["broken"] = command("push", folder, "--repo-id", "ada/edited")
    result["inherited"] = command(
        "push", folder / "prior_1", "--repo-id", "ada/inherited", "--json"
    )
    JukeboxVQVAE.from_pretrained(folder / "vqvae").save_pretrained(
        folder / "vqvae", max_shard_size="10kB"
    )
    (folder / "vqvae" / "model.safetensors").unlink(missing_ok=True)
    result["sharded"] = command(
        "push", folder, "--repo-id", "ada/levels2", "--component", "vqvae", "--json"
    )
    whole = tiny_system(Path(work) / "whole_again")
    result["whole"] = command(
        "push", whole, "--repo-id", "ada/levels2", "--component", "vqvae", "--json"
    )
    result["files"] = list_repo_files("ada/levels2")
    return result


def hostile(repos: list[str], levels: list[int]) -> dict[str, Any]:
    """Somebody looks at, fetches and loads what strangers have made."""
    result: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for repo in repos:
        found = {"info": command("info", repo), "pull": command("pull", repo)}
        try:
            system = System.open(repo)
            system.load_vqvae()
            for level in levels:
                system.processor(level)
                system.load_prior(level)
            found["load"] = {"exit": 0, "err": ""}
        except (ValueError, OSError) as error:
            found["load"] = {"exit": 1, "err": str(error)}
        result[repo] = found
    result["grown"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB on Linux
    result["cached"] = [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*")]
    return result


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))

"""The release's files, in every form that they may have, become models with the same tensors."""

import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from jukebox_hf.hub import OPENAI_LICENCE, System, convert
from jukebox_hf.hub.conversion.openai import with_options
from jukebox_hf.hub.conversion.recognising import is_released, prior_config, vqvae_config
from jukebox_hf.hub.conversion.tensor_names import is_linear_weight, openai_targets
from jukebox_hf.hub.loading import transformers_config
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from tests.golden_data import golden, load_json
from tests.hub.checkpoints import FAMILIES, hollow_component, load, paths_of, state_of
from tests.hub.test_names import RELEASED


def tensors_of(system: System, name: str) -> dict[str, torch.Tensor]:
    return load_file(system.component_path(name) / "model.safetensors")


def changed(
    path: Path, folder: Path, change: Callable[[dict[str, Any]], Any], **options: Any
) -> Path:
    """A copy of a checkpoint after a change to its dict."""
    content = load(path)
    change(content)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / path.name, **options)
    return folder / path.name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_kept_exactly(family: str, tmp_path: Path) -> None:
    paths = paths_of(family)
    conversion = convert(paths, tmp_path / "model")
    system = System.open(tmp_path / "model")
    assert list(conversion.components) == list(system.manifest.components)
    for name, component in conversion.components.items():
        source = state_of(Path(component.source))
        targets = openai_targets(source)
        stored = tensors_of(system, name)
        for theirs, target in targets.items():
            if target.name == "output.weight" and target.name not in stored:
                assert torch.equal(source[theirs], source["prior.x_emb.weight"])
                continue
            expected = source[theirs].t() if target.transposed else source[theirs]
            found = stored.pop(target.name)
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)
        statistics = [key for key in stored if re.search(r"codebook\.(sums|counts|init)", key)]
        assert list(stored) == statistics


@pytest.mark.parametrize("family", ["small", "clamp", "5b_lyrics"])
def test_components_load_and_know_their_codebooks(family: str, tmp_path: Path) -> None:
    convert(paths_of(family), tmp_path / "model")
    system = System.open(tmp_path / "model")
    vqvae = system.load_vqvae()
    assert vqvae.fingerprint() == system.vqvae_config().codebook_fingerprint
    for level in range(system.num_levels):
        codebook = vqvae.levels[level].codebook
        assert bool(codebook.initialized)
        assert not codebook.counts.any()  # never collected: training assumes even use
    for level in system.prior_levels:
        config = system.load_prior(level).config
        assert config.codebook_fingerprint == vqvae.fingerprint()
        assert config.hop_length == vqvae.config.hop_lengths[level]


@pytest.mark.parametrize(
    ("prefix", "legacy", "half", "stack"),
    [
        ("", True, False, "blocks"),
        ("module.", False, False, "blocks"),
        ("", False, True, "model"),
        ("module.", True, True, "model"),
    ],
)
def test_all_wrappings_give_the_same_model(
    tmp_path: Path, prefix: str, legacy: bool, half: bool, stack: str
) -> None:
    def rewrap(content: dict[str, Any]) -> None:
        content["model"] = {
            prefix + name.replace(".blocks.", f".{stack}."): (
                each.half() if half and name.endswith(".w") else each
            )
            for name, each in content["model"].items()
        }

    folder = tmp_path / "sources"
    for path in paths_of("upsamplers"):
        changed(path, folder, rewrap, _use_new_zipfile_serialization=not legacy)
    convert([folder], tmp_path / "rewrapped")
    convert(paths_of("upsamplers"), tmp_path / "plain")
    for name in ("vqvae", "prior_0", "prior_1"):
        found = tensors_of(System.open(tmp_path / "rewrapped"), name)
        expected = tensors_of(System.open(tmp_path / "plain"), name)
        assert set(found) == set(expected)
        for key, each in expected.items():
            if half and is_linear_weight(key):
                assert found[key].dtype == torch.float16
                each = each.half()
            assert torch.equal(found[key], each)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_only_linear_weights_take_the_chosen_dtype(tmp_path: Path, dtype: str) -> None:
    conversion = convert(paths_of("clamp"), tmp_path / "model", dtype=dtype)
    system = System.open(tmp_path / "model")
    chosen = getattr(torch, dtype)
    for key, each in tensors_of(system, "prior_2").items():
        assert each.dtype == (chosen if is_linear_weight(key) else torch.float32)
    codec = tensors_of(system, "vqvae").values()
    assert {each.dtype for each in codec} == {torch.float32, torch.bool}
    assert transformers_config(system.prior_config(2)).dtype == chosen
    assert conversion.components["prior_2"].dtype == dtype
    loaded = system.load_prior(2, dtype="auto")
    assert loaded.decoder.layers[0].mlp.expand.weight.dtype == chosen


def test_weights_beyond_float16_are_not_rounded_to_infinity(tmp_path: Path) -> None:
    def enlarge(content: dict[str, Any]) -> None:
        content["model"]["prior.transformer._attn_mods.0.mlp.c_fc.w"][0, 0] = 1e5

    codec, prior = paths_of("clamp")
    path = changed(prior, tmp_path / "sources", enlarge)
    with pytest.raises(ValueError, match=r"mlp\.expand\.weight has values up to 1e\+05, beyond"):
        convert([codec, path], tmp_path / "model", dtype="float16")
    assert [each.name for each in tmp_path.iterdir()] == ["sources"]
    convert([codec, path], tmp_path / "model", dtype="bfloat16")


def test_shards_load_as_one(tmp_path: Path) -> None:
    conversion = convert(paths_of("clamp"), tmp_path / "model", shard_bytes=100_000)
    folder = tmp_path / "model" / "prior_2"
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert all((folder / file).stat().st_size < 150_000 for file in files)
    whole = convert(paths_of("clamp"), tmp_path / "whole")
    assert conversion.components["prior_2"].num_bytes == whole.components["prior_2"].num_bytes
    state = System.open(tmp_path / "model").load_prior(2).state_dict()
    expected = System.open(tmp_path / "whole").load_prior(2).state_dict()
    assert all(torch.equal(each, expected[name]) for name, each in state.items())


# --- what the config comes from -----------------------------------------------------------------


@pytest.mark.parametrize("file", RELEASED)
def test_released_models_are_recognised_by_their_shapes_alone(file: str) -> None:
    entries = load_json("fullsize/openai_checkpoint_entries.json")[file]
    component = hollow_component(entries)._replace(level=int(file[-9]) if "level" in file else None)
    assert is_released(component)
    if component.kind == "vqvae":
        assert vqvae_config(component) == JukeboxVQVAEConfig.preset("vqvae")
    else:
        assert prior_config(component, None) == JukeboxPriorConfig.preset(RELEASED[file])


@pytest.mark.parametrize("file", RELEASED)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_options_of_released_models_may_be_incomplete(file: str, step: int) -> None:
    preset = RELEASED[file]
    name = f"prior_{preset}" if preset[0].isdigit() else preset
    options = list(load_json(f"fullsize/hps_{name}.json").items())
    hollow = hollow_component(load_json("fullsize/openai_checkpoint_entries.json")[file])
    for first in range(step):
        component = with_options(hollow, dict(options[first::step]))
        if component.kind == "vqvae":
            assert vqvae_config(component) == JukeboxVQVAEConfig.preset("vqvae")
            continue
        component = component._replace(level=JukeboxPriorConfig.preset(preset).level)
        vqvae = JukeboxVQVAEConfig.preset("vqvae")
        assert prior_config(component, vqvae) == JukeboxPriorConfig.preset(preset)


def without_options(content: dict[str, Any]) -> None:
    del content["hps"]


def test_other_models_need_their_options(tmp_path: Path) -> None:
    codec, *priors = paths_of("small")
    bare = changed(codec, tmp_path / "sources", without_options)
    with pytest.raises(ValueError, match=r"VQ-VAE without options \(hps\), and not a released one"):
        convert([bare], tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"\(as vqvae\): its settings contradict its tensors: num_l"
    ):
        convert([bare], tmp_path / "model", presets={str(bare): "vqvae"})
    with pytest.raises(
        ValueError, match="no such preset is called 'vqva'; known: vqvae, small_vqv"
    ):
        convert([bare], tmp_path / "model", presets={bare.name: "vqva"})
    bare = changed(priors[0], tmp_path / "sources", without_options)
    with pytest.raises(
        ValueError, match=r"prior without options \(hps\), and its tensors are those"
    ):
        convert([codec, bare], tmp_path / "model")
    with pytest.raises(ValueError, match=r"a preset is given for other\.pth, which is not among"):
        convert([codec, priors[0]], tmp_path / "model", presets={"other.pth": "small_prior"})
    partial = changed(priors[0], tmp_path / "sources", lambda content: content["hps"].pop("heads"))
    with pytest.raises(ValueError, match="its hps lack heads, and it is not a released model"):
        convert([codec, partial], tmp_path / "model")


def test_the_two_upsamplers_have_the_same_shapes_and_need_their_level() -> None:
    entries = load_json("fullsize/openai_checkpoint_entries.json")["5b/prior_level_0.pth.tar"]
    component = hollow_component(entries)
    with pytest.raises(
        ValueError, match="could be those of upsampler_level_0 or upsampler_level_1"
    ):
        prior_config(component, None)
    assert prior_config(component, None, "upsampler_level_1").conditioner_scale_residual
    with pytest.raises(ValueError, match=r"expected a prior of level 2, found the tensors of upsa"):
        prior_config(component._replace(level=2), None)


# --- what does not go together ------------------------------------------------------------------


def test_a_prior_alone_needs_a_codec(tmp_path: Path) -> None:
    _, prior = paths_of("clamp")
    with pytest.raises(
        ValueError, match="does not say how much audio a code means; convert it with"
    ):
        convert([prior], tmp_path / "model")
    convert(paths_of("clamp"), tmp_path / "whole")
    codec = System.open(tmp_path / "whole").vqvae_config()
    convert([prior], tmp_path / "alone", vqvae=codec)
    alone = System.open(tmp_path / "alone").prior_config(2)
    assert alone == System.open(tmp_path / "whole").prior_config(2)


def test_two_files_for_one_component_are_refused(tmp_path: Path) -> None:
    codec, prior = paths_of("clamp")
    with pytest.raises(
        ValueError, match=r"both .*vqvae\.pth\.tar and .*vqvae\.pth\.tar hold vqvae"
    ):
        convert([codec, codec], tmp_path / "model")
    with pytest.raises(ValueError, match="hold prior_2; give one"):
        convert([codec, prior, prior], tmp_path / "model")


def test_parts_of_different_systems_are_refused(tmp_path: Path) -> None:
    small = paths_of("small")
    codec, *priors = paths_of("upsamplers")
    for sources, message in (
        ([codec, small[1]], "expected a prior of level 1 of 3, found one that takes no codes"),
        ([small[0], priors[1]], "expected a prior of level 1 of 2, found one that takes codes"),
        ([small[0], golden("openai/clamp/prior_level_2.pth.tar")], "the VQ-VAE has levels 0 to 1"),
        ([small[0], priors[0]], "its settings contradict its tensors: vocabulary_size"),
        ([small[1]], "a prior alone does not say"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(sources, tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_leftover_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    codec, prior = paths_of("clamp")
    layer = "prior.transformer._attn_mods.1.ln_0.weight"

    def add(content: dict[str, Any]) -> None:
        content["model"]["surplus.weight"] = torch.ones(2)

    def remove(content: dict[str, Any]) -> None:
        del content["model"][layer]

    def reshape(content: dict[str, Any]) -> None:
        content["model"][layer] = torch.ones(3)

    def untie(content: dict[str, Any]) -> None:
        content["model"]["prior.x_out.weight"] = content["model"]["prior.x_out.weight"] + 1

    def integers(content: dict[str, Any]) -> None:
        content["model"][layer] = content["model"][layer].int()

    def widen(content: dict[str, Any]) -> None:
        content["hps"]["prior_width"] *= 2

    def mix(content: dict[str, Any]) -> None:
        content["model"]["bottleneck.level_blocks.0.k"] = torch.ones(2, 2)

    ours = "decoder.layers.1.attention_norm.weight"
    for change, message in (
        (add, "tensors left over: surplus.weight"),
        (remove, f"missing {ours}"),
        (reshape, rf"of another shape {ours} \[3\] \(expected \[\d+\]\)"),
        (untie, "the output layer shares the weights of the code embedding, but the two differ"),
        (integers, f"{ours} holds torch.int32, expected floats"),
        (widen, r"its settings contradict its tensors: width \d+ \(tensors: \d+\)"),
        (mix, "expected one model, found tensors of a VQ-VAE and of a prior"),
    ):
        path = changed(prior, tmp_path / "sources", change)
        with pytest.raises(ValueError, match=message):
            convert([codec, path], tmp_path / "model")
        assert [each.name for each in tmp_path.iterdir()] == ["sources"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("attn_order", 4, "attn_order 4 is not supported, only 0, 1, 2"),
        ("copy_input", True, "copy_input, an experiment, is not supported"),
        ("y_bins", 0, "its hps cannot be read"),
        ("heads", "two", "its settings make no sense: .*heads"),
        ("prior_depth", 10**12, "depth is 1000000000000, at most 4096 makes sense"),
        ("n_ctx", 10**15, "context_length is 1000000000000000, at most"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, option: str, value: Any, message: str
) -> None:
    codec, prior = paths_of("clamp")
    path = changed(prior, tmp_path, lambda content: content["hps"].update({option: value}))
    with pytest.raises(ValueError, match=message):
        convert([codec, path], tmp_path / "model")


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "other.pth.tar")
    torch.save({"model": {"conv.weight": torch.ones(2)}}, tmp_path / "model.pth.tar")
    torch.save({"model": {}}, tmp_path / "empty.pth.tar")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("other.pth.tar", "expected named tensors, found dict under 'state_dict'"),
        ("model.pth.tar", "expected the tensors of a Jukebox VQ-VAE or prior, found conv.weight"),
        ("empty.pth.tar", "expected the tensors of a VQ-VAE or a prior, found none"),
        ("folder", r"expected checkpoints \(\*\.pth\.tar, .*\) or a repository of the former"),
    ):
        with pytest.raises(ValueError, match=message):
            convert([tmp_path / name], tmp_path / "output")
    with pytest.raises(ValueError, match="at least one file or folder to convert, got none"):
        convert([], tmp_path / "output")
    for name in ("nowhere.pth.tar", "a/b/nowhere.pth.tar", "owner/nowhere.pth.tar", "../nowhere"):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            convert([name], tmp_path / "output")
    with pytest.raises(ValueError, match="dtype must be one of keep, float32, float16, bfloat16"):
        convert(paths_of("clamp"), tmp_path / "output", dtype="int8")


# --- names of artists and genres ----------------------------------------------------------------


def test_names_come_from_the_lists_of_the_release(tmp_path: Path) -> None:
    lists = golden("text/ids")
    conversion = convert(paths_of("1b_lyrics"), tmp_path / "model", ids_dir=lists)
    assert conversion.licence == OPENAI_LICENCE
    system = System.open(tmp_path / "model")
    assert system.manifest.licence == OPENAI_LICENCE
    metadata = ModelCard.load(tmp_path / "model" / "README.md").data
    assert (metadata.license, metadata.license_name) == ("other", OPENAI_LICENCE)
    dialects = [system.processor(level).dialect for level in range(3)]
    assert dialects == ["v2", "v2", "v3"]
    top = system.processor(2)
    assert top.artists["zac brown band"] == 7169
    assert top.resolve("Zac Brown Band", "Country").genre_ids == (507,)
    assert top.reads_lyrics
    assert system.processor(0).resolve("Alan Jackson", "Blues Rock").genre_ids == (2, 8)
    assert not system.processor(0).reads_lyrics


def test_without_lists_labels_have_no_names(tmp_path: Path) -> None:
    conversion = convert(paths_of("clamp"), tmp_path / "model")
    assert conversion.licence is None
    assert any("cannot be prompted by name" in note for note in conversion.notes)
    system = System.open(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"no processor_config\.json, so it knows no names"):
        system.processor(2)
    unlabelled = convert(paths_of("small"), tmp_path / "small")
    assert unlabelled.notes == ()
    assert not System.open(tmp_path / "small").processor(1).has_labels


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected v2_artist_ids\.txt, .* found none of them"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path)
    with pytest.raises(ValueError, match=r"expected a folder with v2_artist_ids\.txt"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path / "nowhere")
    artists, genres = tmp_path / "v3_artist_ids.txt", tmp_path / "v3_genre_ids.txt"
    artists.write_text("unknown;0\nsomebody;9999\n")
    with pytest.raises(ValueError, match=r"v3_genre_ids\.txt is missing"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path)
    genres.write_text("unknown;0\n")
    with pytest.raises(ValueError, match="artist table has 50 rows, but the v3 list has ids up to"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path)
    artists.write_text("somebody\n")
    with pytest.raises(ValueError, match="expected `name;id`"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path)
    artists.rename(tmp_path / "v2_artist_ids.txt").write_text("unknown;0\n")
    genres.rename(tmp_path / "v2_genre_ids.txt")
    with pytest.raises(ValueError, match="speaks the v3 lists of names, which were not found"):
        convert(paths_of("clamp"), tmp_path / "model", ids_dir=tmp_path)


# --- memory -------------------------------------------------------------------------------------


def status(name: str) -> int:
    """A line of what Linux knows about this process, in bytes."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) * 1024


def large_prior(codec: Path, prior: Path) -> dict[str, Any]:
    """60 MB of weights, and an optimizer's state of twice that beside them."""
    width, depth = 512, 22
    hps = load(prior)["hps"] | {"prior_width": width, "prior_depth": depth, "heads": 4}
    shapes = {
        "prior.start_token": (1, width),
        "prior.x_emb.weight": (load(codec)["hps"]["l_bins"], width),
        "prior.pos_emb.pos_emb": (hps["n_ctx"], width),
    }
    inner = width // 4
    for layer in range(depth):
        prefix = f"prior.transformer._attn_mods.{layer}."
        shapes |= {
            f"{prefix}attn.c_attn.w": (width, 3 * inner),
            f"{prefix}attn.c_attn.b": (3 * inner,),
            f"{prefix}attn.c_proj.w": (inner, width),
            f"{prefix}attn.c_proj.b": (width,),
        }
        for part in ("mlp.c_fc", "mlp.c_proj"):
            shapes |= {f"{prefix}{part}.w": (width, width), f"{prefix}{part}.b": (width,)}
        for part in ("ln_0", "ln_1"):
            shapes |= {f"{prefix}{part}.weight": (width,), f"{prefix}{part}.bias": (width,)}
    model = {name: torch.rand(shape) for name, shape in shapes.items()}
    model["prior.x_out.weight"] = model["prior.x_emb.weight"]
    state = {name: (torch.rand_like(each), torch.rand_like(each)) for name, each in model.items()}
    return {"hps": hps, "model": model, "opt": {"state": state}, "step": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="reads and resets the peak memory in /proc")
@pytest.mark.parametrize("legacy", [False, True])
def test_memory_is_that_of_one_component_at_most(tmp_path: Path, legacy: bool) -> None:
    codec, prior, _ = paths_of("small")
    convert([codec, prior], tmp_path / "warm-up")
    path = tmp_path / "prior_level_1.pth.tar"
    torch.save(large_prior(codec, prior), path, _use_new_zipfile_serialization=not legacy)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    conversion = convert([codec, path], tmp_path / "model")
    size = conversion.components["prior_1"].num_bytes
    assert size > 50e6
    allowed = 0.5 if legacy else 1.2  # a zip file is mapped: its pages count once they were read
    assert status("VmHWM") - before < allowed * size

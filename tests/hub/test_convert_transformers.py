"""Repositories of the former port, in every form, become the same models as the release's files."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jukebox_hf.hub import OPENAI_LICENCE, System, convert
from jukebox_hf.hub.conversion.former_port import components_of, open_transformers
from jukebox_hf.hub.conversion.recognising import prior_config, vqvae_config
from jukebox_hf.hub.tensor_files import StoredTensor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE
from tests.golden_data import golden, load_json
from tests.hub.checkpoints import paths_of, port_config_of, port_state, write_port

# Fields that shape no number that a model computes.
ONLY_TRAINING = {"init_scale", "lyric_encoder_init_scale", "genre_slots", "lyric_loss_fraction"}


def assert_equal_systems(found: Path, expected: Path, names: tuple[str, ...] | None = None) -> None:
    ours, theirs = System.open(found), System.open(expected)
    for name in names or tuple(theirs.manifest.components):
        tensors = load_file(ours.component_path(name) / "model.safetensors")
        other = load_file(theirs.component_path(name) / "model.safetensors")
        assert set(tensors) == set(other)
        assert all(torch.equal(each.float(), other[key].float()) for key, each in tensors.items())
    for level in ours.prior_levels:
        mine, other_config = (
            ours.prior_config(level).to_dict(),
            theirs.prior_config(level).to_dict(),
        )
        different = {key for key in mine if mine[key] != other_config[key]} - {"dtype"}
        assert different <= ONLY_TRAINING
    mine, other_config = ours.vqvae_config().to_dict(), theirs.vqvae_config().to_dict()
    losses = {"waveform_loss", "lmix_l2", "lmix_linf"}  # which the port left out
    assert {key for key in mine if mine[key] != other_config[key]} <= losses


@pytest.mark.parametrize("family", ["1b_lyrics", "5b_lyrics"])
def test_both_origins_give_the_same_models(family: str, tmp_path: Path) -> None:
    convert([golden(f"transformers/{family}")], tmp_path / "port")
    convert(paths_of(family), tmp_path / "release")
    names = tuple(System.open(tmp_path / "port").manifest.components)
    assert_equal_systems(tmp_path / "port", tmp_path / "release", names)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("safetensors", [False, True])
def test_every_form_of_weights_is_read(tmp_path: Path, shards: int, safetensors: bool) -> None:
    paths = paths_of("clamp")
    config = port_config_of(paths)
    state = port_state(paths, num_levels=3)
    folder = write_port(tmp_path / "port", state, config, shards=shards, safetensors=safetensors)
    convert([folder], tmp_path / "converted")
    convert(paths, tmp_path / "release")
    assert_equal_systems(tmp_path / "converted", tmp_path / "release")


def test_levels_are_counted_from_the_other_end(tmp_path: Path) -> None:
    paths = paths_of("small")
    state = port_state(paths, num_levels=2)
    folder = write_port(tmp_path / "port", state, port_config_of(paths))
    convert([folder], tmp_path / "converted")
    convert(paths, tmp_path / "release")
    assert_equal_systems(tmp_path / "converted", tmp_path / "release")
    sources = [component.source for component in open_transformers(folder)]
    assert [source.rpartition(" ")[2] for source in sources] == [
        "(vqvae)",
        "(priors.1)",
        "(priors.0)",
    ]


@pytest.mark.parametrize("system", ["1b_lyrics", "5b_lyrics"])
def test_published_configs_are_not_trusted_for_released_models(system: str) -> None:
    entries = load_json("fullsize/transformers_entries.json")[system]
    tensors = {
        name: StoredTensor(tuple(shape), torch.float32, torch.Tensor)
        for name, shape in entries.items()
    }
    published = {
        "max_nb_genres": 1,
        "min_duration": 0,
        "timing_dims": 64,
        "vqvae_config": {},
        "prior_config_list": [{"alignment_layer": 68, "alignment_head": 2, "blocks": 64}] * 3,
    }
    codec, *priors = sorted(
        components_of(tensors, published, Path("published")), key=lambda each: each.kind != "vqvae"
    )
    vqvae = vqvae_config(codec)
    assert vqvae == JukeboxVQVAEConfig.preset("vqvae")
    presets = {2: system, 1: "upsampler_level_1", 0: "upsampler_level_0"}
    for prior in priors:
        assert prior_config(prior, vqvae) == JukeboxPriorConfig.preset(presets[prior.level])


def test_characters_that_make_no_sense_give_way_to_those_of_the_release(tmp_path: Path) -> None:
    folder = small_port(tmp_path / "port")
    (folder / "lyrics.json").write_text('{"A": 7, "<unk>": 0}')
    conversion = convert([folder], tmp_path / "converted")
    assert "expected single characters with ids 1, 2, ..." in conversion.notes[0]
    assert "the characters of the release are used instead" in conversion.notes[0]


def small_port(folder: Path, **changes: Any) -> Path:
    """A port folder of the clamp family, with changes to its config and tensors."""
    paths = paths_of("clamp")
    state, config = port_state(paths, num_levels=3), port_config_of(paths)
    state |= {name: each for name, each in changes.pop("state", {}).items() if each is not None}
    for name in [name for name in state if changes.get("without") == name]:
        del state[name]
    changes.pop("without", None)
    prior = changes.pop("prior", {})
    config["prior_config_list"][0] |= prior
    return write_port(folder, state, {**config, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"state": {"extra": torch.ones(2)}},
            r"expected vqvae\.\* and priors\.N\.\*, found also extra",
        ),
        ({"state": {"priors.0.extra": torch.ones(2)}}, r"\(priors\.0\): tensors left over: extra"),
        ({"state": {"priors.7.prior.start_token": torch.ones(2)}}, "there are only 3 levels"),
        ({"without": "vqvae.decoders.0.out.bias"}, "missing levels.0.decoder.output.bias"),
        ({"prior": {"hidden_size": 64}}, r"its settings contradict its tensors: width 64 \(tens"),
        ({"prior": {"attention_pattern": "odd"}}, "unknown attention_pattern 'odd'; known: full_"),
        ({"prior": {"num_layers": 10**9}}, "depth is 1000000000, at most 4096 makes sense"),
        ({"prior": {"n_heads": "2"}}, r"\(priors\.0\): its settings make no sense"),
        ({"prior": {"metadata_dims": 3}}, "its config cannot be read"),
        ({"vqvae_config": 3}, "expected an object under 'vqvae_config', found int"),
        ({"vqvae_config": {"res_downs_t": 3}}, "its config cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = small_port(tmp_path / "port", **changes)
    with pytest.raises(ValueError, match=message):
        convert([folder], tmp_path / "converted")
    assert [path.name for path in tmp_path.iterdir()] == ["port"]


def test_missing_weights_and_shards_are_named(tmp_path: Path) -> None:
    paths = paths_of("clamp")
    state, config = port_state(paths, num_levels=3), port_config_of(paths)
    folder = write_port(tmp_path / "port", state, config, shards=2)
    index = folder / "pytorch_model.bin.index.json"
    text = index.read_text()
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(
        ValueError, match=r"index\.json names pytorch_model-00002-of-00002\.bin, whi"
    ):
        convert([folder], tmp_path / "converted")
    index.write_text(text.replace("00002-of", "00001-of"))
    with pytest.raises(ValueError, match="expected tensors that are not in it"):
        convert([folder], tmp_path / "converted")
    index.write_text(text.replace("pytorch_model-00002-of-00002.bin", "../elsewhere.bin"))
    with pytest.raises(ValueError, match=r"'\.\./elsewhere\.bin' is not the name of a file beside"):
        convert([folder], tmp_path / "converted")
    index.unlink()
    with pytest.raises(
        ValueError, match=r"expected weights, one of model\.safetensors\.index\.json"
    ):
        convert([folder], tmp_path / "converted")


def write_vocabularies(folder: Path, *, form: str) -> None:
    """Lists with two artists and two genres of each dialect, in one of the forms."""
    lists: dict[str, dict[str, dict[str, int]]] = {
        "artists": {"v2": {"unknown": 0, "ada_b": 1}, "v3": {"unknown": 0, "ada b": 1}},
        "genres": {"v2": {"unknown": 0, "rock": 1}, "v3": {"unknown": 0, "folk rock": 1}},
    }
    for kind, dialects in lists.items():
        marked = {f"{name}.v2": row for name, row in dialects["v2"].items()}
        content: Any = {
            "one list": {**dialects["v3"], **marked},
            "by dialect": dialects,
            "plain": dialects["v3"],
        }[form]
        (folder / f"{kind}.json").write_text(json.dumps(content), encoding="utf-8")
    characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?-'\"()[] \t\n"
    ids = {"<unk>": 0} | {character: row for row, character in enumerate(characters, start=1)}
    (folder / "lyrics.json").write_text(json.dumps(ids), encoding="utf-8")


@pytest.mark.parametrize("form", ["one list", "by dialect", "plain"])
def test_names_come_from_the_repository_itself(tmp_path: Path, form: str) -> None:
    folder = small_port(tmp_path / "port")
    write_vocabularies(folder, form=form)
    expected = "nothing says whether its 20 genres are of the v2 or the v3 lists"
    with pytest.raises(ValueError, match=expected):  # the reduced tables of this golden model
        convert([folder], tmp_path / "converted")


@pytest.mark.parametrize("form", ["one list", "by dialect", "plain"])
def test_released_tables_get_the_dialect_of_their_size(tmp_path: Path, form: str) -> None:
    paths = paths_of("upsamplers")
    folder = write_port(
        tmp_path / "port", port_state(paths, num_levels=3), upsampler_port_config(paths)
    )
    write_vocabularies(folder, form=form)
    convert([folder], tmp_path / "converted")
    processor = System.open(tmp_path / "converted").processor(0)
    assert processor.dialect == "v2"
    assert ("ada_b" if form != "plain" else "ada b") in processor.artists


def upsampler_port_config(paths: list[Path]) -> dict[str, Any]:
    """The port's priors are listed from the top, which is not among these."""
    config = port_config_of(paths)
    config["prior_config_list"].insert(0, {})
    return config


def test_damaged_lists_are_refused(tmp_path: Path) -> None:
    folder = small_port(tmp_path / "port")
    for content, message in (
        ('{"v4": {"unknown": 0}}', "expected lists for v2 and v3, found 'v4'"),
        ('{"unknown": "0"}', "expected names and their ids, found '0' for 'unknown'"),
        ('{"unknown": -1}', "expected names and their ids, found -1"),
        ("[]", "expected a JSON object, found list"),
        ("nothing", "expected JSON, found something else"),
    ):
        (folder / "genres.json").write_text('{"unknown": 0}')
        (folder / "artists.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            convert([folder], tmp_path / "converted")
    (folder / "genres.json").unlink()
    with pytest.raises(ValueError, match=r"genres\.json is missing"):
        convert([folder], tmp_path / "converted")


# --- opened directly ----------------------------------------------------------------------------


def test_a_port_folder_is_converted_once_into_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_port(tmp_path / "port")
    cache = tmp_path / "cache"
    with caplog.at_level(logging.WARNING):
        system = System.open(folder, cache_dir=cache)
    assert "has the layout of the former transformers port; converting it once to" in caplog.text
    assert "it was converted to" in system.notes[0]
    assert system.prior_levels == (2,)
    assert system.load_prior(2).config.codebook_fingerprint == system.load_vqvae().fingerprint()
    caplog.clear()
    again = System.open(folder, cache_dir=cache)
    assert caplog.text == ""
    assert again.notes == ()
    assert again.component_path("vqvae") == system.component_path("vqvae")
    assert len(list((cache / "jukebox_hf" / "converted").iterdir())) == 1

    (folder / "pytorch_model.bin").touch()  # changed, as far as one can tell without reading it
    System.open(folder, cache_dir=cache)
    assert len(list((cache / "jukebox_hf" / "converted").iterdir())) == 2


def test_an_interrupted_conversion_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_port(tmp_path / "port")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jukebox_hf.hub.saving.save_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            System.open(folder, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache" / "jukebox_hf" / "converted").iterdir()) == []
    assert System.open(folder, cache_dir=tmp_path / "cache").prior_levels == (2,)


@pytest.mark.parametrize("model_class", [JukeboxPrior, JukeboxVQVAE])
def test_a_model_class_names_the_command(tmp_path: Path, model_class: Any) -> None:
    folder = small_port(tmp_path / "port")
    with pytest.raises(ValueError, match="convert the repository once with `jukebox convert"):
        model_class.from_pretrained(folder)


def test_released_lists_make_a_model_non_commercial(tmp_path: Path) -> None:
    conversion = convert(
        [golden("transformers/1b_lyrics")], tmp_path / "model", ids_dir=golden("text/ids")
    )
    assert conversion.licence == OPENAI_LICENCE
    assert any("Noncommercial" in note for note in conversion.notes)

"""Repositories of the port that transformers held until 5.0, such as `openai/jukebox-1b-lyrics`.

Such a folder holds one model, with `vqvae.*` and `priors.N.*`, where prior 0 is the top level.
Its own config options are used only for models that were never released: the published configs name
a wrong alignment layer for the 1b model and a wrong number of rows for the 5b one.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jukebox_hf.hub.conversion.recognising import Component, rename_tensors
from jukebox_hf.hub.conversion.tensor_names import transformers_targets
from jukebox_hf.hub.locations import Location, open_repository
from jukebox_hf.hub.tensor_files import StoredTensor, open_tensors
from jukebox_hf.records import read_json

MODEL_TYPE = "jukebox"
SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".safetensors")  # of files, never of repositories
V3_GENRES = 604  # rows of the genre table of the released list v3
VOCABULARIES = ("artists.json", "genres.json", "lyrics.json")
WEIGHTS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
PATTERNS = {
    "full_dense_attention": "dense",
    "raw_column_previous_row_attention": "factored",
    "large_separated_enc_dec_w_lyrics": "factored_cross_79",
    "enc_dec_with_lyrics": "factored_prime_dense",
}
# A saved config of the port leaves out what equals these defaults of its classes.
VQVAE_DEFAULTS: dict[str, Any] = {
    "commit": 0.02,
    "conv_res_scale": False,
    "embed_dim": 64,
    "levels": 3,
    "lmu": 0.99,
    "multipliers": [2, 1, 1],
    "nb_discrete_codes": 2048,
    "res_conv_depth": 4,
    "res_conv_width": 32,
    "res_convolution_multiplier": 1,
    "res_dilation_cycle": None,
    "res_dilation_growth_rate": 3,
    "res_downs_t": [3, 2, 2],
    "res_strides_t": [2, 2, 2],
}
PRIOR_DEFAULTS: dict[str, Any] = {
    "alignment_head": 2,
    "alignment_layer": 68,
    "attention_multiplier": 0.25,
    "attention_pattern": "enc_dec_with_lyrics",
    "attn_dropout": 0,
    "attn_res_scale": False,
    "blocks": 64,
    "conv_res_scale": None,
    "emb_dropout": 0,
    "encoder_config": None,
    "encoder_loss_fraction": 0.4,
    "hidden_size": 2048,
    "init_scale": 0.2,
    "is_encoder_decoder": True,
    "lyric_vocab_size": 80,
    "max_duration": 600,
    "max_nb_genres": 1,
    "merged_decoder": True,
    "metadata_conditioning": True,
    "metadata_dims": [604, 7898],
    "min_duration": 0,
    "mlp_multiplier": 1.0,
    "n_ctx": 6144,
    "n_heads": 2,
    "nb_relevant_lyric_tokens": 384,
    "num_layers": 72,
    "res_conv_depth": 3,
    "res_conv_width": 128,
    "res_convolution_multiplier": 1,
    "res_dilation_cycle": None,
    "res_dilation_growth_rate": 1,
    "resid_dropout": 0,
    "timing_dims": 64,
    "zero_out": False,
}
# On loading, the port lets these options of the whole model override those of every prior.
SHARED_DEFAULTS: dict[str, Any] = {
    "timing_dims": 64,
    "min_duration": 0,
    "max_duration": 600.0,
    "max_nb_genres": 5,
    "metadata_conditioning": True,
}


def is_port(folder: Path) -> bool:
    """Whether `folder` holds a model of the former port, by its config."""
    config = folder / "config.json"
    return config.is_file() and read_json(config).get("model_type") == MODEL_TYPE


def fetch_port(source: Path | str) -> Path:
    """A source as a path: a repository of the port on the Hub is fetched into its cache.

    Raises:
        FileNotFoundError: if it is neither a path nor a repository.
        ValueError: if the repository is something else.
    """
    path = Path(source)
    if path.exists():
        return path
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) or path.suffix in SUFFIXES:
        raise FileNotFoundError(f"{source}: no such file or folder")
    location = open_repository(str(source))
    config = location.file("config.json")
    model_type = read_json(config).get("model_type") if config is not None else None
    if model_type != MODEL_TYPE:
        raise ValueError(
            f"{source}: expected a repository of the former transformers port, found "
            f"model_type {model_type!r:.80}"
        )
    return location.folder(None, port_files(location))


def port_files(location: Location) -> list[str]:
    """The files of a port's repository that conversion needs, one form of the weights."""
    for name in WEIGHTS:
        path = location.file(name)
        if path is None:
            continue
        files = ["config.json", *VOCABULARIES, name]
        if name.endswith(".index.json"):
            places = read_json(path).get("weight_map")
            files += sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        return files
    raise FileNotFoundError(f"{location}: expected weights, one of {', '.join(WEIGHTS)}")


def open_transformers(folder: Path) -> list[Component]:
    """Open all models of a repository in the port's layout: the VQ-VAE, then priors top first.

    Raises:
        ValueError: for missing, damaged or unknown files or tensors.
    """
    config = read_json(folder / "config.json")
    tensors = _open_weights(folder)
    return components_of(tensors, config, folder)


def components_of(
    tensors: Mapping[str, StoredTensor], config: Mapping[str, Any], folder: Path
) -> list[Component]:
    """The same from what its files hold; `folder` is for messages."""
    groups: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        found = re.match(r"vqvae\.|priors\.\d\.", name)
        prefix = found.group() if found else ""
        groups.setdefault(prefix, {})[name.removeprefix(prefix)] = tensor
    if "" in groups:
        left_over = ", ".join(sorted(groups[""])[:5])
        raise ValueError(f"{folder}: expected vqvae.* and priors.N.*, found also {left_over}")
    try:
        return _describe(groups, config, folder)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder}: its config cannot be read: {error}") from error


def _describe(
    groups: Mapping[str, Mapping[str, StoredTensor]], config: Mapping[str, Any], folder: Path
) -> list[Component]:
    """Tensors by prefix, and the config, to components that know their options."""
    options = {**VQVAE_DEFAULTS, **_mapping(config, "vqvae_config", folder)}
    num_levels = len(options["res_downs_t"])
    components = []
    for prefix, group in sorted(groups.items(), reverse=True):
        source = f"{folder} ({prefix[:-1]})"
        component = rename_tensors(source, group, transformers_targets(group))._replace(
            trusted=False
        )
        if prefix == "vqvae.":
            component = component._replace(fields=_vqvae_fields(options, config))
        else:
            number = int(prefix.split(".")[1])
            level = num_levels - 1 - number
            if level < 0:
                raise ValueError(f"{source}: there are only {num_levels} levels")
            prior = {**PRIOR_DEFAULTS, **_prior_options(config, number, folder)}
            fields = _prior_fields(prior, component, source)
            component = component._replace(fields=fields, level=level)
        components.append(component)
    return components


def _open_weights(folder: Path) -> dict[str, StoredTensor]:
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise ValueError(f"{folder}: expected weights, one of {', '.join(WEIGHTS)}, found none")
    if not name.endswith(".index.json"):
        return dict(open_tensors(folder / name).tensors)
    places = _mapping(read_json(folder / name), "weight_map", folder / name)
    tensors: dict[str, StoredTensor] = {}
    for file in sorted(set(places.values())):
        if not isinstance(file, str) or Path(file).name != file:
            raise ValueError(f"{folder / name}: {file!r} is not the name of a file beside it")
        if not (folder / file).is_file():
            raise ValueError(f"{folder}: {name} names {file}, which is not there")
        found = open_tensors(folder / file).tensors
        absent = [key for key, place in places.items() if place == file and key not in found]
        if absent:
            raise ValueError(f"{folder / file}: expected tensors that are not in it: {absent[:5]}")
        tensors |= found
    return tensors


def _mapping(config: Mapping[str, Any], key: str, source: Path) -> dict[str, Any]:
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(
            f"{source}: expected an object under {key!r}, found {type(found).__name__}"
        )
    return found


def _prior_options(config: Mapping[str, Any], number: int, folder: Path) -> dict[str, Any]:
    """The options of one prior: the whole model's override its own, as in the port."""
    listed = config.get("prior_config_list") or []
    own = listed[number] if number < len(listed) else _mapping(config, f"prior_{number}", folder)
    shared = {name: config.get(name, default) for name, default in SHARED_DEFAULTS.items()}
    return {**own, **shared}


def _vqvae_fields(options: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    multipliers = options["multipliers"] or [1] * len(options["res_downs_t"])
    return {
        "sampling_rate": config.get("sampling_rate", 44100),
        "downsamplings": tuple(options["res_downs_t"]),
        "strides": tuple(options["res_strides_t"]),
        "widths": tuple(factor * options["res_conv_width"] for factor in multipliers),
        "depths": tuple(factor * options["res_conv_depth"] for factor in multipliers),
        "codebook_size": options["nb_discrete_codes"],
        "codebook_dim": options["embed_dim"],
        "dilation_growth": options["res_dilation_growth_rate"],
        "dilation_cycle": options["res_dilation_cycle"],
        "conv_multiplier": options["res_convolution_multiplier"],
        "scale_residual": bool(options["conv_res_scale"]),
        "codebook_decay": options["lmu"],
        "commitment_weight": options["commit"],
    }


def _prior_fields(options: Mapping[str, Any], component: Component, source: str) -> dict[str, Any]:
    sequence = bool(options["is_encoder_decoder"]) and not component.is_upsampler
    lyrics = "sequence" if sequence else "encoder" if options["encoder_config"] else "none"
    merged = bool(options["merged_decoder"]) and lyrics != "sequence"
    fields = {
        "context_length": options["n_ctx"],
        **_transformer_fields(options, source),
        "scale_residual": bool(options["attn_res_scale"]),
        "zero_init_output": bool(options["zero_out"]),
        "embedding_dropout": options["emb_dropout"],
        "attention_dropout": options["attn_dropout"],
        "residual_dropout": options["resid_dropout"],
        "tie_word_embeddings": not merged,
        "condition_after_transformer": not merged,
        "lyrics": lyrics,
    }
    if options["metadata_conditioning"]:
        genres, artists = options["metadata_dims"]
        fields |= {
            "genre_count": genres,
            "artist_count": artists,
            # A v3 genre is one phrase; the port widens all its priors to the same number of slots.
            "genre_slots": 1 if genres == V3_GENRES else options["max_nb_genres"],
            "timing_bins": 0 if component.is_upsampler else options["timing_dims"],
            "min_total_seconds": options["min_duration"],
            "max_total_seconds": options["max_duration"],
        }
    if component.is_upsampler:
        fields |= {
            "conditioner_width": options["res_conv_width"],
            "conditioner_depth": options["res_conv_depth"],
            "conditioner_dilation_growth": options["res_dilation_growth_rate"],
            "conditioner_dilation_cycle": options["res_dilation_cycle"],
            "conditioner_scale_residual": bool(options["conv_res_scale"]),
            "conditioner_conv_multiplier": options["res_convolution_multiplier"],
        }
    if lyrics != "none":
        fields |= {
            "lyric_length": options["nb_relevant_lyric_tokens"],
            "lyric_vocab_size": options["lyric_vocab_size"],
            "lyric_loss_fraction": options["encoder_loss_fraction"],
            "alignment_layer": options["alignment_layer"],
            "alignment_head": options["alignment_head"],
        }
    if lyrics == "encoder":
        encoder = _transformer_fields({**PRIOR_DEFAULTS, **options["encoder_config"]}, source)
        fields |= {f"lyric_encoder_{name}": value for name, value in encoder.items()}
    return fields


def _transformer_fields(options: Mapping[str, Any], source: str) -> dict[str, Any]:
    pattern = PATTERNS.get(options["attention_pattern"])
    if pattern is None:
        raise ValueError(
            f"{source}: unknown attention_pattern {options['attention_pattern']!r}; known: "
            f"{', '.join(PATTERNS)}"
        )
    width = options["hidden_size"]
    return {
        "width": width,
        "depth": options["num_layers"],
        "heads": options["n_heads"],
        "attention_width": int(options["attention_multiplier"] * width),
        "mlp_width": int(options["mlp_multiplier"] * width),
        "num_rows": options["blocks"] or 1,
        "attention_pattern": pattern,
        "init_scale": options["init_scale"],
    }

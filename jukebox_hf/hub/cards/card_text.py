"""The words of a card: facts about a model in, what the templates show out.

Templates clean what they show; here `markdown` makes the sentences that have signs of Markdown.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jukebox_hf.hub.built_in import BUILT_IN_NAME
from jukebox_hf.hub.cards.markdown import Markdown, cell, code, joined, markdown
from jukebox_hf.hub.cards.model_facts import AdapterFacts, ComponentFacts, LabelFacts, SystemFacts
from jukebox_hf.hub.manifest import OPENAI_LICENCE, VQVAE, prior_name
from jukebox_hf.hub.shareable import REPO_ID
from jukebox_hf.hub.training_facts import Figure, TrainingFacts
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig
from jukebox_hf.words import enumerate_words, format_bytes, format_count

NONCOMMERCIAL = (
    "These weights are, or derive from, those that OpenAI released in 2020 under its Noncommercial "
    "Use License, which also covers the music made with them: no commercial use."
)
LOSSY = "Codes do not hold everything: what the VQ-VAE loses no prior brings back."
SLOW = "Music is sampled code after code, which takes much longer than it lasts on most machines."
NAMES = "Names of artists steer the style; they do not mean that anybody took part or agreed."
LEARNT = "It knows the kinds of music that it was trained on, and their gaps."


@dataclass(frozen=True)
class CardText:
    """What a card says.

    Attributes:
        kind: the template: system, demo, vqvae, prior, upsampler, adapter, codes
            or features.
        values: for the template.
        licence: SPDX identifier, "openai-noncommercial", or other words.
        tags: beside those that every card has.
        base_models: repositories that it derives from, or refers to.
        base_model_relation: "finetune" or "adapter", if that is known.
        datasets: repositories of the music.
        name: of the model.
        figures: that were measured.
    """

    kind: str
    values: dict[str, Any]
    licence: str | None = None
    tags: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    base_model_relation: str | None = None
    datasets: tuple[str, ...] = ()
    name: str = ""
    figures: tuple[Figure, ...] = ()


def system_text(facts: SystemFacts, repo_id: str, *, in_subfolder: bool = True) -> CardText:
    """The words for a model: whole, a single component, or an adapter with what it belongs to.

    `in_subfolder` says whether a single component has a folder of its own name in the repository.
    """
    parts = list(facts.components.values())
    adapted = [part for part in parts if part.adapter is not None]
    if len(parts) == 1 and not adapted:
        return _component_text(facts, parts[0], repo_id, in_subfolder=in_subfolder)
    values = {
        **_common(facts, repo_id),
        **_examples(facts),
        "components": [_row(part) for part in parts],
        "details": _system_details(facts),
        "sampling_rate": "the given" if facts.codec is None else f"{facts.codec.sampling_rate:,}",
        "limitations": [*facts.model_notes.values(), *_limitations(facts.top)],
    }
    kind = "demo" if facts.name == BUILT_IN_NAME else "system"
    if adapted and all(part.repo_id is not None for part in parts):
        kind = "adapter"
        part = adapted[-1]
        assert part.adapter is not None
        assert isinstance(part.config, PriorConfig)
        values |= {
            "is_system": True,
            "level": part.config.level,
            "base_model": part.repo_id or "",
            "details": [*adapter_details(part.adapter), *_prior_details(part)],
        }
    return CardText(
        kind,
        values,
        licence=facts.licence,
        tags=("lora",) if adapted else (),
        base_models=_base_models(parts),
        base_model_relation=_relation(parts),
        datasets=_datasets(parts),
        name=facts.name or repo_id.split("/")[-1],
        figures=_figures(parts),
    )


def adapter_text(
    adapter: AdapterFacts,
    config: PriorConfig,
    repo_id: str,
    *,
    training: TrainingFacts | None = None,
    licence: str | None = None,
) -> CardText:
    """The words for an adapter in a repository of its own."""
    base = adapter.base_model
    part = ComponentFacts(prior_name(config.level), config, training=training, adapter=adapter)
    facts = SystemFacts(repo_id, None, None, licence, {part.name: part}, {})
    values = {
        **_common(facts, repo_id),
        "is_system": False,
        "level": config.level,
        "base_model": base if base and REPO_ID.fullmatch(base) else None,
        "components": [],
        "details": [*adapter_details(adapter), *_prior_details(part)],
        "limitations": _limitations(part),
    }
    return CardText(
        "adapter",
        values,
        licence=licence,
        tags=("lora",),
        base_models=(base,) if base and REPO_ID.fullmatch(base) else (),
        base_model_relation="adapter",
        datasets=_datasets([part]),
        name=repo_id.split("/")[-1],
        figures=_figures([part]),
    )


def codes_text(info: Mapping[str, Any], repo_id: str, *, licence: str | None = None) -> CardText:
    """The words for a dataset of codes, from its `jukebox_codes.json`."""
    levels = [level for level in info.get("levels", []) if isinstance(level, int)]
    hops, rate = info.get("hop_lengths", []), info.get("sampling_rate")
    details: list[str] = []
    if isinstance(rate, int) and rate > 0:
        for level in levels:
            details.append(
                f"Level {level}: {rate / hops[level]:,.1f} codes per second of {rate:,} Hz audio"
            )
    if isinstance(info.get("codebook_size"), int):
        details.append(f"{info['codebook_size']:,} different codes per level")
    if isinstance(info.get("model"), str):
        details.append(markdown("Made by the VQ-VAE of `{:code}`", info["model"]))
    if isinstance(info.get("fingerprint"), str):
        details.append(markdown("Codebooks `{:code}`", info["fingerprint"]))
    values = {
        "title": repo_id.split("/")[-1],
        "repo_id": repo_id,
        "example_level": levels[-1] if levels else 0,
        "levels": levels,
        "details": details,
        "limitations": [LOSSY],
        "rights": ["The licence of the music covers its codes too."],
        "citation": True,
    }
    return CardText("codes", values, licence=licence, tags=("vq-vae",))


def features_text(info: Mapping[str, Any], repo_id: str, *, licence: str | None = None) -> CardText:
    """The words for a dataset of features, from its `embed.json`."""
    settings, model = info.get("settings"), info.get("model")
    settings = settings if isinstance(settings, Mapping) else {}
    model = model if isinstance(model, Mapping) else {}
    found = settings.get("layers")
    layers = [n for n in found if isinstance(n, int)] if isinstance(found, list) else []
    details: list[str] = []
    if isinstance(model.get("name"), str):
        details.append(
            markdown(
                "Made by the prior of level {} of `{:code}`", model.get("level"), model["name"]
            )
        )
    if isinstance(info.get("width"), int):
        details.append(f"{info['width']:,} numbers per layer, computed in {info.get('precision')}")
    for name, value in settings.items():
        if value is not None and name != "layers":
            details.append(f"{name}: {value}")
    rights = ["The licence of the music covers its features too."]
    if model.get("licence") == OPENAI_LICENCE:
        rights.append("The model's licence is OpenAI's non-commercial one, also for what it makes.")
    values = {
        "title": repo_id.split("/")[-1],
        "repo_id": repo_id,
        "example_layer": layers[0] if layers else 1,
        "layers": layers,
        "details": details,
        "limitations": ["Audio cannot be made from features."],
        "rights": rights,
        "citation": True,
    }
    return CardText("features", values, licence=licence, tags=("music-information-retrieval",))


def _component_text(
    facts: SystemFacts, part: ComponentFacts, repo_id: str, *, in_subfolder: bool
) -> CardText:
    values: dict[str, Any] = {
        **_common(facts, repo_id),
        "subfolder_argument": markdown(', subfolder="{:code}"', part.name) if in_subfolder else "",
        "limitations": _limitations(part),
    }
    config = part.config
    if isinstance(config, VQVAEConfig):
        rate = config.sampling_rate
        values |= {
            "num_levels": config.num_levels,
            "example_samples": config.hop_lengths[-1] * max(rate // config.hop_lengths[-1], 1),
            "levels": [
                {"number": level, "hop_length": hop, "codes_per_second": f"{rate / hop:,.1f}"}
                for level, hop in enumerate(config.hop_lengths)
            ],
            "details": _vqvae_details(part),
        }
    else:
        values |= {
            "level": config.level,
            "has_processor": part.labels is not None,
            "details": _prior_details(part),
        }
    return CardText(
        part.kind,
        values,
        licence=facts.licence,
        base_models=_base_models([part]),
        base_model_relation=_relation([part]),
        datasets=_datasets([part]),
        name=facts.name or repo_id.split("/")[-1],
        figures=_figures([part]),
    )


# --- what every card of a model says ------------------------------------------------------------


def _common(facts: SystemFacts, repo_id: str) -> dict[str, Any]:
    parts = list(facts.components.values())
    rights = []
    if facts.licence == OPENAI_LICENCE:
        rights.append(NONCOMMERCIAL)
    elif facts.licence is not None:
        rights.append(f"Licence of the weights: {facts.licence}.")
    return {
        "title": facts.name or repo_id.split("/")[-1],
        "repo_id": repo_id,
        "noncommercial": NONCOMMERCIAL if facts.is_noncommercial else None,
        "prompt": _prompt(facts.top.labels if facts.top else None),
        "training": [_training(p.name, p.training) for p in parts if p.training is not None],
        "measurements": _measurements(_figures(parts)),
        "rights": rights,
        "citation": True,
    }


def _figures(parts: Sequence[ComponentFacts]) -> tuple[Figure, ...]:
    known = [part.training for part in parts if part.training is not None]
    return tuple(figure for training in known for figure in training.figures)


def _measurements(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Figures by the command that measures them, in the order in which the commands come."""
    groups: dict[tuple[str | None, str], list[dict[str, str]]] = {}
    for figure in figures:
        row = {"name": figure.name, "value": f"{figure.value:.4g}"}
        groups.setdefault((figure.dataset, figure.command), []).append(row)
    return [
        {"dataset": dataset, "command": command, "figures": rows}
        for (dataset, command), rows in groups.items()
    ]


def _prompt(labels: LabelFacts | None) -> str:
    """What music is asked for by."""
    if labels is None:
        return "nothing but a seed, or the beginning of a piece"
    words = [
        word for word, count in (("artist", labels.artists), ("genre", labels.genres)) if count
    ]
    if labels.lyric_length:
        words.append("lyrics")
    return enumerate_words(words) or "nothing but a seed, or the beginning of a piece"


def _examples(facts: SystemFacts) -> dict[str, Any]:
    labels = facts.top.labels if facts.top else None
    options, arguments = [], []
    if labels is not None and labels.genre_names:
        genre = str(code(labels.genre_names[0]))
        options.append(f" --genre {shlex.quote(genre)}")
        arguments.append(f"genre={genre!r}")
    if labels is not None and labels.lyric_length:
        options.append(" --lyrics song.txt")
        arguments.append('lyrics="La la la"')
    return {
        "example_options": Markdown("".join(options)),
        "example_arguments": Markdown(", ".join(arguments)),
        "sings": labels is not None and labels.lyric_length > 0,
        "is_playable": facts.top is not None and facts.codec is not None,
    }


def _row(part: ComponentFacts) -> dict[str, Any]:
    config = part.config
    if isinstance(config, VQVAEConfig):
        what = f"VQ-VAE, {config.num_levels} levels, hops {enumerate_words(config.hop_lengths)}"
    else:
        kind = "upsampler" if config.is_upsampler else "prior"
        what = f"{kind} of level {config.level}, hears {window_seconds(config):.3g} s at once"
    weights = part.weights
    where = Markdown("here")
    if part.repo_id is not None:
        commit = markdown(" at `{:code}`", part.revision[:12]) if part.revision else ""
        place = f"https://huggingface.co/{part.repo_id}"
        where = Markdown(f"[{cell(part.repo_id)}]({place}){commit}")
    if part.adapter is not None:
        where = Markdown(f"{where}, with the adapter here")
    return {
        "name": part.name,
        "class_name": "JukeboxVQVAE" if part.name == VQVAE else "JukeboxPrior",
        "what": what,
        "parameters": format_count(weights.num_parameters) if weights else None,
        "dtypes": ", ".join(weights.parameters_by_dtype) if weights else None,
        "where": where,
    }


def _system_details(facts: SystemFacts) -> list[str]:
    lines = []
    codec = facts.codec
    if codec is not None:
        lines.append(f"Sampling rate {codec.sampling_rate:,} Hz, mono")
    if facts.top is not None:
        lines += _label_details(facts.top)
    seconds, total = (facts.generation.get(key) for key in ("seconds", "total_seconds"))
    if seconds is not None:
        whole = "" if total is None else f", as part of a piece of {total:g} s,"
        lines.append(f"Makes {seconds:g} s{whole} unless asked for something else")
    return lines


def _vqvae_details(part: ComponentFacts) -> list[str]:
    config = part.config
    assert isinstance(config, VQVAEConfig)
    lines = [f"Sampling rate {config.sampling_rate:,} Hz, mono"]
    if config.use_codebook:
        lines.append(
            f"{config.codebook_size:,} codes of {config.codebook_dim} dimensions per level, in "
            "float32 whatever the rest is loaded in"
        )
    lines += _weight_details(part)
    if config.codebook_fingerprint:
        lines.append(
            markdown(
                "Codebooks `{:code}`: priors trained on its codes carry the same",
                config.codebook_fingerprint,
            )
        )
    return lines


def _prior_details(part: ComponentFacts) -> list[str]:
    config = part.config
    assert isinstance(config, PriorConfig)
    lines = [
        f"Window of {config.context_length:,} codes: {window_seconds(config):.3g} s of "
        f"{config.sampling_rate:,} Hz audio",
        markdown(
            "Transformer of {} layers, width {:,}, {} head{}, attention `{:code}`",
            *(config.depth, config.width, config.heads, "s" if config.heads > 1 else ""),
            config.attention_pattern,
        ),
        *_weight_details(part),
        *_label_details(part),
    ]
    if config.codebook_fingerprint:
        lines.append(
            markdown("Trained on codes of the codebooks `{:code}`", config.codebook_fingerprint)
        )
    return lines


def piece_lengths(config: PriorConfig) -> str:
    """How long pieces may be; what is shorter than a prior knows is told to be part of more."""
    shortest, longest = config.min_total_seconds, config.max_total_seconds
    start = f"; under {shortest:.4g} s as the start of one that long" if shortest > 0 else ""
    return f"up to {longest:.4g} s{start}"


def _label_details(part: ComponentFacts) -> list[str]:
    config, labels = part.config, part.labels
    lines = []
    if isinstance(config, PriorConfig) and config.has_timing:
        lines.append(f"Pieces {piece_lengths(config)}")
    if labels is not None and (labels.artists or labels.genres):
        names = ", ".join(labels.genre_names)
        lines.append(
            f"{labels.artists:,} artists and {labels.genres:,} genres"
            + (f", such as {names}" if names else "")
        )
    if labels is not None and labels.lyric_length:
        lines.append(f"Sees {labels.lyric_length} symbols of lyrics at once")
    return lines


def _weight_details(part: ComponentFacts) -> list[str]:
    weights = part.weights
    if weights is None:
        return []
    return [
        f"{format_count(weights.num_parameters)} parameters in "
        f"{enumerate_words(weights.parameters_by_dtype)}, {format_bytes(weights.num_bytes)}"
    ]


def adapter_details(adapter: AdapterFacts) -> list[str]:
    """What makes an adapter."""
    lines = []
    if adapter.rank is not None:
        alpha = "" if adapter.alpha is None else f", alpha {adapter.alpha:g}"
        lines.append(f"LoRA of rank {adapter.rank}{alpha}")
    if adapter.weights is not None:
        lines.append(
            f"{format_count(adapter.weights.num_parameters)} parameters of its own, "
            f"{format_bytes(adapter.weights.num_bytes)}"
        )
    for count, what in ((adapter.new_artists, "artist"), (adapter.new_genres, "genre")):
        if count:
            lines.append(f"Adds {count} {what}{'s' if count > 1 else ''}")
    return lines


def _training(name: str, facts: TrainingFacts) -> dict[str, Any]:
    lines = []
    if facts.steps is not None:
        lines.append(f"{facts.steps:,} steps")
    if facts.hardware is not None:
        lines.append(f"On {facts.hardware}")
    if facts.duration_seconds is not None:
        lines.append(f"{facts.duration_seconds / 3600:.3g} hours")
    if facts.date is not None:
        lines.append(f"Finished {facts.date}")
    if facts.versions:
        lines.append(", ".join(f"{name} {value}" for name, value in facts.versions.items()))
    return {
        "component": name,
        "base_model": facts.base_model,
        "data": [
            {
                "name": _data_name(data.name, data.repo_id, data.link),
                "songs": None if data.songs is None else f"{data.songs:,}",
                "hours": None if data.hours is None else f"{data.hours:.3g}",
                "licence": data.licence,
            }
            for data in facts.data
        ],
        "lines": lines,
        "settings": joined(markdown("`{:code}` {}", *each) for each in facts.settings.items()),
        "command": facts.command,
    }


def _data_name(name: str, repo_id: str | None, link: str | None) -> Markdown:
    if repo_id and REPO_ID.fullmatch(repo_id):
        link = f"https://huggingface.co/datasets/{repo_id}"
    if link and re.fullmatch(r"https://[\w./:%~?&=#+@-]+", link):
        return Markdown(f"[{cell(name)}]({link})")
    return cell(name)


def _limitations(part: ComponentFacts | None) -> list[str]:
    lines = []
    config = part.config if part is not None else None
    if isinstance(config, VQVAEConfig):
        return [LOSSY, f"Mono, {config.sampling_rate:,} Hz; other audio is converted first."]
    if isinstance(config, PriorConfig):
        lines.append(
            f"It hears {window_seconds(config):.3g} s at once: what was longer ago is forgotten."
        )
    lines += [LEARNT, SLOW, LOSSY]
    if part is not None and part.labels is not None and part.labels.artists:
        lines.append(NAMES)
    return lines


def _base_models(parts: Sequence[ComponentFacts]) -> tuple[str, ...]:
    """Repositories that a model derives from, those of its adapted and trained parts first."""
    found = [part.repo_id for part in parts if part.adapter is not None]
    found += [part.training.base_model for part in parts if part.training is not None]
    found += [part.repo_id for part in parts]
    known = [name for name in found if name is not None and REPO_ID.fullmatch(name)]
    return tuple(dict.fromkeys(known))


def _relation(parts: Sequence[ComponentFacts]) -> str | None:
    if any(part.adapter is not None for part in parts):
        return "adapter"
    trained = [part.training for part in parts if part.training is not None]
    return "finetune" if any(training.base_model for training in trained) else None


def _datasets(parts: Sequence[ComponentFacts]) -> tuple[str, ...]:
    found = [
        data.repo_id for part in parts if part.training is not None for data in part.training.data
    ]
    return tuple(dict.fromkeys(name for name in found if name and REPO_ID.fullmatch(name)))


# --- words --------------------------------------------------------------------------------------


def window_seconds(config: PriorConfig) -> float:
    """Audio that a prior sees at once."""
    return config.window_samples / config.sampling_rate

"""What a card is made of: facts about a model in, what its template and its metadata need out.

The sentences stand in the templates of `model_cards/`, which clean what they show.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jukebox_hf.hub.built_in import BUILT_IN_NAME
from jukebox_hf.hub.cards.model_facts import AdapterFacts, ComponentFacts, SystemFacts
from jukebox_hf.hub.manifest import OPENAI_LICENCE, prior_name
from jukebox_hf.hub.shareable import is_repository
from jukebox_hf.hub.training_facts import Figure, TrainingFacts
from jukebox_hf.prior.prior_config import PriorConfig


@dataclass(frozen=True)
class CardText:
    """What a card is made of.

    Attributes:
        kind: the template: system, demo, vqvae, prior, upsampler, adapter, codes
            or features.
        values: for the template, which has `kind` and `title` beside them.
        name: of the model or dataset.
        licence: SPDX identifier, "openai-noncommercial", or other words.
        tags: beside those that every card has.
        base_models: repositories that it derives from, or refers to.
        base_model_relation: "finetune" or "adapter", if that is known.
        datasets: repositories of the music.
        figures: that were measured.
    """

    kind: str
    values: dict[str, Any]
    name: str
    licence: str | None = None
    tags: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    base_model_relation: str | None = None
    datasets: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


def system_text(facts: SystemFacts, repo_id: str, *, in_subfolder: bool = True) -> CardText:
    """The card of a model: whole, a single component, or an adapter with what it belongs to.

    `in_subfolder` says whether a single component has a folder of its own name in the repository.
    """
    parts = list(facts.components.values())
    adapted = [part for part in parts if part.adapter is not None]
    base_models = _base_models(parts)
    if len(parts) == 1 and not adapted:
        (part,) = parts
        subfolder = part.name if in_subfolder else None
        return _model_text(part.kind, facts, repo_id, base_models, part=part, subfolder=subfolder)
    if adapted and all(part.repo_id is not None for part in parts):
        part = adapted[-1]
        return _model_text(
            "adapter", facts, repo_id, base_models, part=part, base=part.repo_id, is_whole=True
        )
    kind = "demo" if facts.name == BUILT_IN_NAME and facts.top and facts.codec else "system"
    return _model_text(kind, facts, repo_id, base_models)


def adapter_text(
    adapter: AdapterFacts,
    config: PriorConfig,
    repo_id: str,
    *,
    training: TrainingFacts | None = None,
    licence: str | None = None,
) -> CardText:
    """The card of an adapter in a repository of its own."""
    part = ComponentFacts(prior_name(config.level), config, training=training, adapter=adapter)
    facts = SystemFacts(repo_id, None, None, licence, {part.name: part}, {})
    bases = _repositories([adapter.base_model])
    base = bases[0] if bases else None
    return _model_text("adapter", facts, repo_id, bases, part=part, base=base, is_whole=False)


def codes_text(info: Mapping[str, Any], repo_id: str, *, licence: str | None = None) -> CardText:
    """The card of a dataset of codes, from its `jukebox_codes.json`, which may hold anything."""
    rate, hops = info.get("sampling_rate"), info.get("hop_lengths")
    values = {
        "repo_id": repo_id,
        "info": info,
        "levels": _integers(info.get("levels")),
        "rate": rate,
        "hops": {
            level: hop
            for level, hop in enumerate(hops if isinstance(hops, list) else ())
            if all(isinstance(each, int) and 0 < each < 2**31 for each in (rate, hop))
        },
    }
    return CardText("codes", values, _last_name(repo_id), licence, tags=("vq-vae",))


def features_text(info: Mapping[str, Any], repo_id: str, *, licence: str | None = None) -> CardText:
    """The card of a dataset of features, from its `embed.json`, which may hold anything."""
    settings, made_by = (
        found if isinstance(found, Mapping) else {}
        for found in (info.get("settings"), info.get("model"))
    )
    values = {
        "repo_id": repo_id,
        "info": info,
        "settings": settings,
        "made_by": made_by,
        "layers": _integers(settings.get("layers")),
        "is_noncommercial": made_by.get("licence") == OPENAI_LICENCE,
    }
    tags = ("music-information-retrieval",)
    return CardText("features", values, _last_name(repo_id), licence, tags=tags)


def _model_text(
    kind: str,
    facts: SystemFacts,
    repo_id: str,
    base_models: tuple[str, ...],
    *,
    part: ComponentFacts | None = None,
    **values: Any,
) -> CardText:
    """A card of the kinds that are about models; `part` is the component that it is about."""
    parts = list(facts.components.values())
    trained = [each.training for each in parts if each.training is not None]
    figures = tuple(figure for training in trained for figure in training.figures)
    measured: dict[tuple[str | None, str], list[Figure]] = {}
    for figure in figures:
        measured.setdefault((figure.dataset, figure.command), []).append(figure)
    is_adapter = any(each.adapter is not None for each in parts)
    is_finetuned = any(training.base_model for training in trained)
    return CardText(
        kind,
        {
            "repo_id": repo_id,
            "model": facts,
            "parts": parts,
            "part": part,
            "measured": measured,
            **values,
        },
        name=facts.name or _last_name(repo_id),
        licence=facts.licence,
        tags=("lora",) if is_adapter else (),
        base_models=base_models,
        base_model_relation="adapter" if is_adapter else "finetune" if is_finetuned else None,
        datasets=_repositories(data.repo_id for training in trained for data in training.data),
        figures=figures,
    )


def _base_models(parts: Sequence[ComponentFacts]) -> tuple[str, ...]:
    """Repositories that a model derives from, those of its adapted and trained parts first."""
    found = [part.repo_id for part in parts if part.adapter is not None]
    found += [part.training.base_model for part in parts if part.training is not None]
    return _repositories([*found, *(part.repo_id for part in parts)])


def _repositories(names: Iterable[str | None]) -> tuple[str, ...]:
    """Those names that are of repositories, each once."""
    return tuple(dict.fromkeys(name for name in names if name and is_repository(name)))


def _last_name(repo_id: str) -> str:
    return repo_id.split("/")[-1]


def _integers(value: Any) -> list[int]:
    return [each for each in value if isinstance(each, int)] if isinstance(value, list) else []

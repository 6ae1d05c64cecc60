"""What `jukebox info` says of a model, beside the memory that it needs: a record, and lines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jukebox_hf.hub.cards.model_facts import ComponentFacts, SystemFacts
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig
from jukebox_hf.words import format_bytes, format_count

SCREEN_LINES = 15


def info_record(facts: SystemFacts) -> dict[str, Any]:
    """Everything that is known, as plain values; what is not known is `None`."""
    codec = facts.codec
    return {
        "source": facts.source,
        "name": facts.name,
        "commit": facts.commit,
        "licence": facts.licence,
        "noncommercial": facts.is_noncommercial,
        "sampling_rate": None if codec is None else codec.sampling_rate,
        "generation": facts.generation,
        "model_notes": facts.model_notes,
        "components": {name: _component(part) for name, part in facts.components.items()},
        "notes": list(facts.notes),
    }


def _component(part: ComponentFacts) -> dict[str, Any]:
    weights, config = part.weights, part.config
    record: dict[str, Any] = {
        "kind": part.kind,
        "repo_id": part.repo_id,
        "revision": part.revision,
        "parameters": None if weights is None else weights.num_parameters,
        "bytes": None if weights is None else weights.num_bytes,
        "dtypes": None if weights is None else dict(weights.parameters_by_dtype),
        "training": None if part.training is None else asdict(part.training),
    }
    if isinstance(config, VQVAEConfig):
        return record | {
            "levels": config.num_levels,
            "hop_lengths": list(config.hop_lengths),
            "codebook_size": config.codebook_size,
            "codebook_fingerprint": config.codebook_fingerprint,
        }
    adapter, labels = part.adapter, part.labels
    return record | {
        "level": config.level,
        "context_length": config.context_length,
        "window_seconds": config.window_seconds,
        "min_total_seconds": config.min_total_seconds if config.has_timing else None,
        "max_total_seconds": config.max_total_seconds if config.has_timing else None,
        "width": config.width,
        "depth": config.depth,
        "codebook_fingerprint": config.codebook_fingerprint,
        "artists": None if labels is None else labels.artists,
        "genres": None if labels is None else labels.genres,
        "dialect": None if labels is None else labels.dialect,
        "lyric_length": config.lyric_length,
        "adapter": None
        if adapter is None
        else {
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "base_model": adapter.base_model,
            "parameters": None if adapter.weights is None else adapter.weights.num_parameters,
            "new_artists": adapter.new_artists,
            "new_genres": adapter.new_genres,
        },
    }


def info_lines(facts: SystemFacts, *, memory: Sequence[str] = ()) -> list[str]:
    """The same for reading, `memory` at the end; text of files in it is not cleaned."""
    return [*_about(facts), *_training_lines(facts.components), *memory]


def short_lines(facts: SystemFacts, *, memory: Sequence[str] = ()) -> list[str]:
    """What most people ask for, in no more than `SCREEN_LINES`: training is counted, not listed."""
    told = [part.training for part in facts.components.values() if part.training is not None]
    data = sum(len(training.data) for training in told)
    figures = sum(len(training.figures) for training in told)
    lines = _about(facts)
    if data or figures:
        lines.append(f"  training   {data} data sets, {figures} figures: --all lists them")
    room = SCREEN_LINES - len(memory)
    if len(lines) > room:
        left_out = len(lines) - room + 1
        lines[room - 1 :] = [f"  ...        {left_out} more lines: --all lists them"]
    return [*lines, *memory]


def _about(facts: SystemFacts) -> list[str]:
    lines = [facts.name or facts.source]
    if facts.commit is not None:
        lines.append(f"  commit     {facts.commit}")
    if facts.licence is not None:
        lines.append(f"  licence    {facts.licence}")
    if facts.codec is not None:
        lines.append(f"  audio      {facts.codec.sampling_rate:,} Hz, mono")
    lines += _top_lines(facts.top)
    lines += [f"  note       {text}" for text in facts.model_notes.values()]
    for name, part in facts.components.items():
        lines.append(f"  {name:<10} {_describe(part)}")
        if part.adapter is not None:
            rank = "" if part.adapter.rank is None else f" of rank {part.adapter.rank}"
            lines.append(f"  {'':<10} with a LoRA adapter{rank}")
    return lines


def _top_lines(top: ComponentFacts | None) -> list[str]:
    if top is None or not isinstance(top.config, PriorConfig):
        return []
    lines = []
    config, labels = top.config, top.labels
    if top.piece_lengths:
        lines.append(f"  pieces     {top.piece_lengths}")
    if labels is not None and (labels.artists or labels.genres):
        counts = f"{labels.artists:,} artists, {labels.genres:,} genres (dialect {labels.dialect})"
        lines.append(f"  labels     {counts}")
    if config.lyric_length:
        lines.append(f"  lyrics     {config.lyric_length} symbols at once")
    return lines


def _describe(part: ComponentFacts) -> str:
    config, weights = part.config, part.weights
    words = [part.description]
    if isinstance(config, PriorConfig):
        window = f"window {config.context_length:,} codes = {config.window_seconds:.3g} s"
        words.append(window)
    if weights is not None:
        words.append(f"{format_count(weights.num_parameters)} parameters")
        words.append(f"{format_bytes(weights.num_bytes)} {'/'.join(weights.parameters_by_dtype)}")
    if part.repo_id is not None:
        words.append(f"in {part.repo_id} at {(part.revision or '')[:12]}")
    return ", ".join(words)


def _training_lines(components: Mapping[str, ComponentFacts]) -> Sequence[str]:
    lines = []
    for name, part in components.items():
        if part.training is None:
            continue
        for data in part.training.data:
            extent = [f"{data.songs:,} songs"] if data.songs is not None else []
            extent += [f"{data.hours:.3g} hours"] if data.hours is not None else []
            extent += [data.licence] if data.licence is not None else []
            known = f" ({', '.join(extent)})" if extent else ""
            lines.append(f"  trained    {name} on {data.repo_id or data.name}{known}")
        for figure in part.training.figures:
            lines.append(
                f"  measured   {name}: {figure.name} {figure.value:.6g} by {figure.command}"
            )
    return lines

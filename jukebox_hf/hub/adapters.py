"""Adapters of a prior: low-rank additions to its layers, and rows added to its label tables.

A folder with peft's two files, the new rows and the adapted prior's own config and processor goes
in; the prior that it was trained on becomes the adapted one. What LoRA is: Hu et al. 2021
(arXiv:2106.09685): a layer's weight gets `scale * B @ A`.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jukebox_hf.hub.tensor_files import open_tensors
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json

if TYPE_CHECKING:
    from torch import Tensor

    from jukebox_hf.prior.network import PriorNetwork

# peft's own names, so that `PeftModel.from_pretrained` reads the folder too.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
NEW_ROWS = "new_rows.safetensors"
# The tables that can grow, and the config fields that say how many rows they have.
TABLES = {
    "label_embedding.artist.weight": "artist_count",
    "label_embedding.genre.weight": "genre_count",
}
LOW_RANK = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
# What would make peft compute something else than a sum of the layer and `scale * B @ A`.
UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "fan_in_fan_out",
)


class Adapter(NamedTuple):
    """What an adapter's folder holds.

    Attributes:
        scale: of the low-rank additions.
        pairs: by name of the layer, A (rank, in) and B (out, rank).
        new_rows: by name of the table, (rows, width).
        tables: whole tables that peft trained as `modules_to_save`, by name.
    """

    scale: float
    pairs: dict[str, tuple[Tensor, Tensor]]
    new_rows: dict[str, Tensor]
    tables: dict[str, Tensor]


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter.

    Raises:
        ValueError: if the folder holds none, or one of a kind that is not supported.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ValueError(f"{folder}: expected an adapter, found no {ADAPTER_CONFIG}")
    config = read_json(folder / ADAPTER_CONFIG)
    given = [name for name in UNSUPPORTED if config.get(name)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or given:
        what = ", ".join(given) or f"peft_type {config.get('peft_type')!r:.40}"
        raise ValueError(f"{folder}: only plain LoRA adapters can be applied, this has {what}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (
        isinstance(rank, int)
        and isinstance(alpha, int | float)
        and 0 < rank < 2**16
        and 0 < alpha < math.inf
    ):
        raise ValueError(f"{folder}: r and lora_alpha make no sense: {rank!r:.40}, {alpha!r:.40}")
    pairs, tables = _read_weights(folder / ADAPTER_WEIGHTS, rank)
    new_rows = read_tensors(folder / NEW_ROWS) if (folder / NEW_ROWS).is_file() else {}
    unknown = sorted(set(new_rows) - set(TABLES))
    if unknown:
        raise ValueError(f"{folder / NEW_ROWS}: rows of {unknown[0]!r:.80}, which cannot grow")
    # Kalajdzievski 2023 (arXiv:2312.03732): the root keeps large ranks from learning less.
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    return Adapter(alpha / divisor, pairs, new_rows, tables)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file; `ValueError` if it is damaged or not there."""
    return {name: tensor.read() for name, tensor in open_tensors(path).tensors.items()}


def _read_weights(
    path: Path, rank: int
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    sides: dict[str, dict[str, Tensor]] = {}
    tables: dict[str, Tensor] = {}
    for name, tensor in read_tensors(path).items():
        if name.removeprefix(PEFT_PREFIX) in TABLES and tensor.ndim == 2:
            tables[name.removeprefix(PEFT_PREFIX)] = tensor
            continue
        match = LOW_RANK.fullmatch(name.removeprefix(PEFT_PREFIX))
        if match is None or tensor.ndim != 2:
            raise ValueError(f"{path}: {name!r:.80} is not part of a LoRA adapter")
        sides.setdefault(match["layer"], {})[match["side"]] = tensor
    for layer, found in sides.items():
        if set(found) != {"A", "B"} or found["A"].shape[0] != rank or found["B"].shape[1] != rank:
            raise ValueError(f"{path}: {layer} lacks an A (r, in) or a B (out, r) of rank {rank}")
    return {layer: (found["A"], found["B"]) for layer, found in sides.items()}, tables


def merge_adapter(prior: PriorNetwork, adapter: Adapter, source: str) -> None:
    """Make `prior` the adapted one, in place. Sums are formed in float32, in whatever dtype it is.

    Raises:
        ValueError: if the adapter belongs to another prior; begins with `source`.
    """
    import torch

    with torch.no_grad():
        _merge(prior, adapter, source)


def _merge(prior: PriorNetwork, adapter: Adapter, source: str) -> None:
    from torch import nn

    layers = dict(prior.named_modules())
    for name, (a, b) in adapter.pairs.items():
        layer = layers.get(name)
        if not isinstance(layer, nn.Linear) or layer.weight.shape != (b.shape[0], a.shape[1]):
            raise ValueError(f"{source}: belongs to another prior, which has another layer {name}")
        device = layer.weight.device
        change = adapter.scale * (b.to(device).float() @ a.to(device).float())
        layer.weight.copy_((layer.weight.float() + change).to(layer.weight.dtype))
    for name, table in adapter.tables.items():
        known = prior.state_dict().get(name)
        if known is None or len(table) < len(known):
            raise ValueError(f"{source}: belongs to another prior, with another table {name}")
        known.copy_(table[: len(known)])
        if len(table) > len(known):
            grow_table(prior, name, table[len(known) :], source)
    for name, rows in adapter.new_rows.items():
        grow_table(prior, name, rows, source)


def grow_table(prior: PriorNetwork, name: str, rows: Tensor, source: str) -> None:
    """Append rows (new, width) to a label table and its count in the config.

    `name` is the table's weight, one of `TABLES`. Raises `ValueError` for rows of another width.
    """
    import torch
    from torch import nn

    from jukebox_hf.prior.transformer import TokenEmbedding

    table = prior.get_submodule(name.removesuffix(".weight")) if prior.config.has_labels else None
    if (
        not isinstance(table, TokenEmbedding)
        or rows.ndim != 2
        or rows.shape[1] != table.embedding_dim
    ):
        raise ValueError(f"{source}: its rows do not fit the table {name} of this prior")
    weight = torch.cat([table.weight, rows.to(table.weight)]).detach()
    table.weight = nn.Parameter(weight, requires_grad=table.weight.requires_grad)
    table.num_embeddings = len(weight)
    setattr(prior.config, TABLES[name], len(weight))


def adapted_config(base: PriorConfig, adapter: Adapter) -> PriorConfig:
    """The config that a prior has with an adapter of peft, which brings none of its own."""
    config = copy.deepcopy(base)
    for name, table in adapter.tables.items():
        setattr(config, TABLES[name], len(table))
    return config


def check_weights_fit(prior: PriorNetwork, config: PriorConfig, source: str) -> None:
    """Raise `ValueError` unless the adapted prior is what the adapter's config describes."""
    _check_same(prior.config, config, source)


def check_configs_fit(base: PriorConfig, config: PriorConfig, source: str) -> None:
    """Raise `ValueError` unless an adapter on the prior `base` can make what `config` describes."""
    _check_same(base, config, source, *TABLES.values())
    for name in TABLES.values():
        if getattr(config, name) < getattr(base, name):
            raise ValueError(f"{source}: belongs to another prior, with another {name}")


def _check_same(mine: PriorConfig, theirs: PriorConfig, source: str, *free: str) -> None:
    found, expected = mine.plain_fields(), theirs.plain_fields()
    # Dropout may differ between training the one and the other.
    differing = [n for n in expected if found[n] != expected[n] and not n.endswith("dropout")]
    differing = sorted(set(differing) - {"lyric_loss_fraction", *free})
    if differing:
        raise ValueError(f"{source}: belongs to another prior, with another {', '.join(differing)}")


def peft_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of injected low-rank weights as in peft's files, and back with `live_names`."""
    return {f"{PEFT_PREFIX}{name.replace('.default.', '.')}": t for name, t in tensors.items()}


def live_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of peft's files as in a model that adapters were injected into."""
    return {
        re.sub(r"\.(lora_[AB])\.", r".\1.default.", name.removeprefix(PEFT_PREFIX)): tensor
        for name, tensor in tensors.items()
    }

"""Teaching a prior new artists and genres, with all of its weights or with an adapter only.

A prior, its processor and the names in the songs go in. New names get a row of their own in the
tables, which starts as the row of `unknown`; rows that were there keep their numbers and values.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jukebox_hf.hub.adapters import ADAPTER_WEIGHTS, NEW_ROWS, TABLES, grow_table, peft_names
from jukebox_hf.labels import UNKNOWN_ID, PriorProcessor, genre_keys, normalise_name
from jukebox_hf.precision import Float32Module
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.transformer import TokenEmbedding
from jukebox_hf.training.settings import TrainingSettings

# Every linear layer between the layers' inputs and outputs; not the lyric encoder's, and no head.
LORA_TARGETS = (
    r"decoder\.layers\.\d+\.(attention\.(qkv|query|key_value|output)|mlp\.(expand|contract))"
)
ROWS = ".rows.weight"  # ends the name of new rows in a prior in training
LISTED = 10  # names in a note


class GrownEmbedding(Float32Module):
    """A table that stays as it is, and rows after it that learn."""

    def __init__(self, table: TokenEmbedding, rows: Tensor) -> None:
        super().__init__()
        self.table = table
        self.rows = nn.Embedding(len(rows), rows.shape[1], _weight=rows.detach().float().clone())

    def forward(self, indices: Tensor) -> Tensor:
        """(...) to (..., width)."""
        known = self.table.num_embeddings
        old = self.table(indices.clamp(max=known - 1))
        new = self.rows((indices - known).clamp(min=0))
        return torch.where((indices < known).unsqueeze(-1), old, new)


def add_new_labels(
    prior: JukeboxPrior,
    processor: PriorProcessor,
    *,
    artists: Sequence[str],
    genres: Sequence[str],
    as_rows: bool,
) -> tuple[str, ...]:
    """Make the artists and genres known that are not, in the vocabulary and in the tables.

    With `as_rows` the tables stay apart from their new rows (`GrownEmbedding`). Returns a note on
    each kind of which there are new ones, and on names that the dialect cannot spell.
    """
    config = prior.config
    dialect = processor.dialect
    notes: list[str] = []
    unknown_artists = [
        name for name in artists if normalise_name(name, dialect) not in processor.artists
    ]
    unknown_genres = [
        name
        for name in genres
        if any(word not in processor.genres for word in genre_keys(name, dialect))
    ]
    for kind, names, add, count in (
        ("artist", unknown_artists, processor.add_artists, config.artist_count),
        ("genre", unknown_genres, processor.add_genres, config.genre_count),
    ):
        added, refused = _add_one_by_one(names, add, first_id=count)
        plural = "s" if len(added) != 1 else ""
        if added:
            notes.append(f"{len(added)} new {kind}{plural}: {_listed(added)}")
        if refused:
            notes.append(f"{kind}s that stay unknown: {'; '.join(refused[:LISTED])}")
    _grow(prior, "label_embedding.artist.weight", processor.artists.num_rows, as_rows)
    _grow(prior, "label_embedding.genre.weight", processor.genres.num_rows, as_rows)
    processor.check(prior.config)
    return tuple(notes)


def _add_one_by_one(
    names: Sequence[str], add: Callable[..., object], *, first_id: int
) -> tuple[list[str], list[str]]:
    """Names that could be added, and why others could not."""
    added: list[str] = []
    refused: list[str] = []
    for name in names:
        try:
            add([name], first_id=first_id)
        except ValueError as error:
            refused.append(str(error))
        else:
            added.append(name)
    return added, refused


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def grown_like(prior: JukeboxPrior, config: JukeboxPriorConfig, *, as_rows: bool) -> None:
    """Grow the tables of `prior` to the sizes in `config`; what the rows hold is loaded later."""
    for name, count in TABLES.items():
        if prior.config.has_labels:
            _grow(prior, name, getattr(config, count), as_rows)


@torch.no_grad()
def _grow(prior: JukeboxPrior, name: str, num_rows: int, as_rows: bool) -> None:
    """Append rows that start as `unknown`, so that a new name begins like one nobody knows."""
    place = name.removesuffix(".weight")
    table = prior.get_submodule(place)
    assert isinstance(table, TokenEmbedding)
    missing = num_rows - table.num_embeddings
    if missing <= 0:
        return
    rows = table.weight[UNKNOWN_ID].expand(missing, -1)
    if not as_rows:
        grow_table(prior, name, rows, "new labels")
        return
    parent, _, child = place.rpartition(".")
    setattr(prior.get_submodule(parent), child, GrownEmbedding(table, rows))
    setattr(prior.config, TABLES[name], num_rows)


def adapted_prior(prior: JukeboxPrior, settings: TrainingSettings) -> JukeboxPrior:
    """The same prior with low-rank additions that learn, and all else frozen but new rows.

    Raises:
        ImportError: without peft, with how to install it.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("LoRA needs peft; install it with `pip install peft`") from error
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # peft only divides it
        lora_dropout=settings.lora_dropout,
        target_modules=LORA_TARGETS,
        # A folder of this machine means nothing elsewhere, and is nobody's business there.
        base_model_name_or_path=None
        if Path(settings.start_from or "").exists()
        else settings.start_from,
        auto_mapping={"base_model_class": "AutoModel", "parent_library": "transformers"},
    )
    inject_adapter_in_model(config, prior)  # freezes all that was there
    for module in prior.modules():
        if isinstance(module, GrownEmbedding):
            module.rows.requires_grad_(True)
    return prior


def save_adapter(
    prior: JukeboxPrior,
    processor: PriorProcessor | None,
    folder: Path,
    state: Mapping[str, Tensor],
) -> None:
    """Write what learnt, and only that: peft's files, new rows, and the grown config and names."""
    low_rank = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    save_file(peft_names(low_rank), folder / ADAPTER_WEIGHTS)
    rows = {
        f"{name.removesuffix(ROWS)}.weight": tensor
        for name, tensor in state.items()
        if name.endswith(ROWS)
    }
    if rows:
        save_file(rows, folder / NEW_ROWS)
    prior.peft_config["default"].save_pretrained(folder)
    prior.config.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)

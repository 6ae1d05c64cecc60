"""What a prior knows of music, as features: states of its layers, for audio of any length.

Audio or codes go in, arrays come out. `JukeboxEmbedder` is the way in from Python; `embed_into`
embeds files, folders and datasets into a folder, resumable and in shares.
"""

from jukebox_hf.representations.embedder import JukeboxEmbedder, choose_level
from jukebox_hf.representations.embedding import (
    EmbeddingProgress,
    FoundInputs,
    Report,
    dataset_items,
    embed_into,
    feature_record,
    find_items,
    open_folder,
)
from jukebox_hf.representations.embedding_cost import describe_cost, estimate, fitting_batch_size
from jukebox_hf.representations.embedding_settings import EmbeddingSettings, parse_layers
from jukebox_hf.representations.results import Embedding, Embeddings

__all__ = [
    "Embedding",
    "EmbeddingProgress",
    "EmbeddingSettings",
    "Embeddings",
    "FoundInputs",
    "JukeboxEmbedder",
    "Report",
    "choose_level",
    "dataset_items",
    "describe_cost",
    "embed_into",
    "estimate",
    "feature_record",
    "find_items",
    "fitting_batch_size",
    "open_folder",
    "parse_layers",
]

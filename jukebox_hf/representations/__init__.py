"""What a prior knows of music, as features: states of its layers, for audio of any length.

Audio or codes go in, arrays come out. `JukeboxEmbedder` is the way in from Python; `run` embeds
folders and datasets, resumable and in shares.
"""

from jukebox_hf.representations.embedder import JukeboxEmbedder
from jukebox_hf.representations.results import Embedding, Embeddings
from jukebox_hf.representations.settings import EmbeddingSettings, parse_layers

__all__ = ["Embedding", "EmbeddingSettings", "Embeddings", "JukeboxEmbedder", "parse_layers"]

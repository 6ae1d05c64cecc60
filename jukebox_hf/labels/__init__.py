"""From what a piece is, in words, to what a prior reads: artist, genre, timing and lyrics."""

from jukebox_hf.labels.tensors import JukeboxLabels

__all__ = ["JukeboxLabels"]

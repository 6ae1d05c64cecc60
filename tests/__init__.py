"""Tests; the tree mirrors `jukebox_hf/` and `cli/`, shared: `golden_data`, `conftest`."""

"""Tests; the tree mirrors `jukebox_hf/` and `cli/`, shared parts are `golden_data` and `conftest`."""

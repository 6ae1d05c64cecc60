"""Tests; the tree mirrors `jukebox_hf/` and `cli/`. What tests share stands in `golden_data` and `conftest`."""

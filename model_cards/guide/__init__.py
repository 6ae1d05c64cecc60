"""Jukebox makes music as raw audio, with singing, from a genre, an artist, lyrics and recordings.

Pages for four kinds of readers, each from a first command to the limits:

- `jukebox_model_cards.guide.musician`: making, choosing, continuing and mending music;
- `jukebox_model_cards.guide.fine_tuner`: teaching a model your own songs, and sharing it;
- `jukebox_model_cards.guide.researcher`: codes, hidden states, likelihoods, as arrays;
- `jukebox_model_cards.guide.maintainer`: how the code is laid out, checked and measured;

then every command with its options (`jukebox_model_cards.guide.commands`), and the library
(`jukebox_hf`), from its docstrings. `python -m model_cards.guide.build FOLDER` writes it all as
pages that need no network.
"""

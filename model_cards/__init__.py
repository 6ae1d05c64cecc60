"""Templates of model cards, and the finished card of every checkpoint that was published.

This folder installs as `jukebox_model_cards`; its files are found through
`importlib.resources.files("jukebox_model_cards")`.
"""

"""The `jukebox` command line; this folder installs as `jukebox_cli`.

Nothing here imports torch or `jukebox_hf` before a command runs, so that help answers at once.
"""

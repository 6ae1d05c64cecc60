"""Listeners that know nothing of this project: their weights come out of packages of others.

`musicnn` tags and embeds, and `whisper` writes down words; notes are heard by the library
(`jukebox_hf.listening.notes`). `requirements-evaluation.txt` installs what they need.
"""

INSTALL = "--no-deps -r model_cards/recipe/requirements-evaluation.txt"

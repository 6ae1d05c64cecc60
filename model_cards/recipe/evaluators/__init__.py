"""Listeners that know nothing of this project: their weights come out of packages of others.

`weights` finds and checks the files, `musicnn` tags and embeds, `basic_pitch` hears notes, and
`whisper` writes down words. `requirements-evaluation.txt` installs them; nothing else needs them.
"""

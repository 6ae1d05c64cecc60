"""How music sounds, in numbers: levels, onsets, pulse, notes, seams, likeness, distances.

Audio and codes go in, plain numbers with intervals come out; no model of ours is needed but for
`evaluation`, which puts a folder of generated music beside real music.
"""

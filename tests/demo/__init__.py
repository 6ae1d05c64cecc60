"""What the demo model is made of and measured with: scripts of the repository, not of the package.

- `python -m tests.demo.fetch_music`: openly licensed music from Debian packages, as a labelled
  folder with an attribution table. `music_manifest.csv` lists every file with its licence.
- `python -m tests.demo.sing`: synthetic singing with known words and the times of each word.
- `python -m tests.demo.evaluate_codec`: how well a codec rebuilds songs that it has not heard.
- `python -m tests.demo.evaluate_codes`: how predictable codes are without a prior, and whether
  generated codes quote the training set.
- `python -m tests.demo.evaluate_priors`: bits per code of every level's prior beside counting, and
  with right and wrong labels.
- `python -m tests.demo.evaluate_samples`: what generated music sounds like to independent listeners
  beside real music: genre, notes, loudness, distances, likeness to the training set.
- `python -m tests.demo.evaluate_lyrics`: how many of the words that were asked for can be heard.
- `genre_aliases.json`: common names of genres and the demo's genre that is meant or comes nearest.

Each answers `--help`. `evaluate_*` print tables for `RESULTS.md`, and figures for cards into the
file that `--figures` names; the last two listen with what `requirements-evaluation.txt` installs.
Fetching and singing need the network the first time; the tests do not.
"""

"""What the demo model is made of and measured with: scripts of the repository, not of the package.

- `python -m tests.demo.fetch_music`: openly licensed music from Debian packages, as a labelled
  folder with an attribution table. `music_manifest.csv` lists every file with its licence.
- `python -m tests.demo.sing`: synthetic singing with known words and the times of each word.
- `python -m tests.demo.evaluate_codec`: how well a codec rebuilds songs that it has not heard.
- `python -m tests.demo.evaluate_codes`: how predictable codes are without a prior, and whether
  generated codes quote the training set.
- `genre_aliases.json`: common names of genres and the demo's genre that is meant or comes nearest.

Each answers `--help`. All but the last two need the network the first time; the tests do not.
"""

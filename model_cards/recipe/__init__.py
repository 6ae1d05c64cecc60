"""How the built-in model is made and measured: scripts of the repository, not of the package.

Each is `python -m model_cards.recipe.NAME`, from a checkout, and answers `--help`:

- `fetch_music`: openly licensed music from Debian packages, as a labelled folder with an
  attribution table. `music_manifest.csv` lists every file with its licence.
- `sing`: synthetic singing with known words and the times of each word.
- `render`: music played from notes that a program made up (`composing`, `harmony`), exactly
  labelled and free of licences.
- `combine`: several such folders as one, so many minutes of each genre.
- `evaluate_codec`: how well a codec rebuilds songs that it has not heard.
- `evaluate_codes`: how predictable codes are without a prior, and whether generated codes quote the
  training set.
- `evaluate_priors`: bits per code of every level's prior beside counting, and with right and wrong
  labels.
- `evaluate_samples`: what generated music sounds like to independent listeners beside real music:
  genre, distances, likeness to the training set; and what `jukebox evaluate music` finds.
- `evaluate_lyrics`: how many of the words that were asked for can be heard.
- `ladder`: where a model loses music: the same excerpts after every stage of codec and priors.
- `package_model`, `package_examples`, `package_card`: trained components as the built-in model.

`genre_aliases.json` holds common names of genres and the model's genre that is meant or nearest.
`evaluate_*` print tables for `RESULTS.md`, and figures for cards into the file that `--figures`
names; the last two listen with what `requirements-evaluation.txt` installs. Fetching and singing
need the network the first time; the tests in `tests/recipe` do not.
"""

#!/bin/bash
# huggingface_hub 2.4.0, 2026-12-01.
#
# A model card's figures that were measured on different datasets are written under the first one's name,
# if the datasets have the same type. `dataset_name` does not keep them apart: results are grouped by task,
# dataset type, config, split and revision. No warning, and reading the card back gives the wrong name.
#
# A guess misses it: the name is a required argument of its own, and two results with two names look like
# two datasets. It hurts whoever measures on local folders of songs, which have one type ("audiofolder")
# and no place on the Hub: held-out songs, other songs and a test set become one dataset.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet huggingface_hub==2.4.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import EvalResult


def names_after(**apart: list[str]) -> list[str]:
    """Names of the datasets of two figures, as a card that is written and read again has them."""
    results = [
        EvalResult(
            task_type="audio-to-audio",
            dataset_type="audiofolder",
            dataset_name=name,
            metric_type="bits",
            metric_value=value,
            **{key: values[index] for key, values in apart.items()},
        )
        for index, (name, value) in enumerate((("held-out songs", 3.4), ("other songs", 3.9)))
    ]
    data = ModelCardData(model_name="m", eval_results=results)
    read = ModelCard(f"---\n{data.to_yaml()}\n---\n").data.eval_results
    return [result.dataset_name for result in read]


same_type, with_configs = names_after(), names_after(dataset_config=["held-out", "other"])
print(f"two datasets of one type: {same_type}")
print(f"the same with a dataset_config each: {with_configs}")
same = same_type == ["held-out songs"] * 2 and with_configs == ["held-out songs", "other songs"]
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON

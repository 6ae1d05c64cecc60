"""How many of the words that were to be sung were heard, and how many by accident.

Words that were asked for and words that a recogniser wrote down go in; shares come out. The control
is the same measure on somebody else's lyrics: recognisers guess common words, and lyrics share
them, so recall alone says little.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_cards.recipe.embedding_statistics import permutation_chance

Table = npt.NDArray[np.float64]


def recall(asked: Sequence[str], heard: Sequence[str]) -> float:
    """Share of the words asked for that were heard, in any order, each as often as it was heard.

    >>> recall("sun and moon and star".split(), "and star light".split())
    0.4
    """
    if not asked:
        raise ValueError("there are no words to be heard")
    wanted, found = Counter(asked), Counter(heard)
    return sum(min(count, found[word]) for word, count in wanted.items()) / len(asked)


def ordered_recall(asked: Sequence[str], heard: Sequence[str]) -> float:
    """Share of the words asked for that were heard in their order (longest common subsequence).

    >>> ordered_recall("sun and moon and star".split(), "star and moon light".split())
    0.4
    """
    if not asked:
        raise ValueError("there are no words to be heard")
    best = [0] * (len(heard) + 1)
    for word in asked:
        before = best.copy()
        for place, other in enumerate(heard, start=1):
            best[place] = (
                before[place - 1] + 1 if word == other else max(before[place], best[place - 1])
            )
    return best[-1] / len(asked)


def measure_recall(
    asked: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Recall of each piece's own lyrics, and of the others' in its place.

    Args:
        asked: the words of each piece, two pieces or more.
        heard: what was written down of each.

    Returns:
        `recall` and `ordered_recall`, means over pieces; `control` and `ordered_control`, means
        over all pieces and lyrics that do not belong together; `chance`, how often pairing pieces
        and lyrics at random gives a mean ordered recall as high (`permutation_chance`).
    """
    if len(asked) != len(heard) or len(asked) < 2:
        raise ValueError(
            f"two pieces or more with lyrics are needed, got {len(asked)} lyrics and {len(heard)} "
            "transcripts"
        )
    found: dict[str, Any] = {}
    for name, measure in (("", recall), ("ordered_", ordered_recall)):
        table = np.array([[measure(words, text) for words in asked] for text in heard])
        own = np.eye(len(table), dtype=bool)
        found[f"{name}recall"] = float(table[own].mean())
        found[f"{name}control"] = float(table[~own].mean())
        found[f"{name}chance"] = permutation_chance(table)
        found[f"{name}by_piece"] = table[own].tolist()
    found["chance"] = found["ordered_chance"]
    found["pieces"] = len(table)
    found["words_asked"] = sum(map(len, asked))
    found["words_heard"] = sum(map(len, heard))
    return found

"""Takes to be measured: made by `jukebox generate` in a session, so that nothing made is lost.

Prompts go in, a session's takes come out: audio, the prompt of each, and codes.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from jukebox_hf import Session
from jukebox_hf.audio import load_audio
from jukebox_hf.files import write_text
from jukebox_hf.generation.settings import PromptRecord
from jukebox_hf.listening.music_evaluation import seam_samples
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import RecipeError

PROMPTS_FILE = "prompts.jsonl"
SESSION_FOLDER = "session"


class GenerationError(RecipeError):
    """`jukebox generate` failed, or was interrupted; the message says how to go on."""


class Made(NamedTuple):
    """One take.

    Attributes:
        number: of the take, from 1 on.
        prompt: as the session's record has it.
        audio: (samples,).
        sampling_rate: of the audio, Hz.
        codes: by level, each (time,).
        seams: samples at which chains were joined, at any level, in order.
    """

    number: int
    prompt: PromptRecord
    audio: Tensor
    sampling_rate: int
    codes: dict[int, Tensor]
    seams: tuple[int, ...]


def make_takes(
    folder: Path, model: str, prompts: Sequence[Mapping[str, Any]], *, seed: int
) -> list[Made]:
    """Make a take of each prompt in `folder`, or go on where that was stopped.

    Raises `GenerationError`; what has been made stays, and the same call goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts)
    write_text(folder / PROMPTS_FILE, lines)
    session = folder / SESSION_FOLDER
    command = [sys.executable, "-m", "jukebox_hf", "generate", "--model", model]
    command += ["--prompts", str(folder / PROMPTS_FILE), "--seed", str(seed), "-o", str(session)]
    note(f"making {len(prompts)} takes in {session}")
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise GenerationError(
            f"jukebox generate ended with exit code {done.returncode}; see what it said above, and "
            "run the same command again to go on"
        )
    return read_takes(session)


def read_takes(folder: Path) -> list[Made]:
    """The takes of a complete session. Raises `ValueError` if it is not, `OSError` without one."""
    session = Session.open(folder)
    if not session.complete:
        raise ValueError(f"{folder} is not complete; go on with: jukebox resume {folder.name}")
    rate = session.record.sampling_rate
    made = []
    for take in session.takes:
        codes = session.codes(take.number)
        assert codes is not None, "a complete session has codes"
        made.append(
            Made(
                take.number,
                take.prompt,
                load_audio(folder / (take.audio or ""), rate)[0],
                rate,
                {level: found[0] for level, found in codes.levels.items()},
                seam_samples(session, take.number),
            )
        )
    return made

"""Going on from what exists: more seconds, or finer levels, of chosen takes of a session or a file.

Where to go on from goes in; prompts for a new session come out, with the codes that it begins with.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jukebox_hf.codes import Codes, load_codes
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.words import shorten


@dataclass(frozen=True)
class Start:
    """Something to go on from: one take, its codes, and what it was made from.

    Attributes:
        number: of the take there.
        codes: of that take alone.
        prompt: what was asked for; nothing for a codes file.
        total_samples: of the song that the piece is part of; None if unknown.
    """

    number: int
    codes: JoinedCodes
    prompt: Prompt
    total_samples: int | None

    @property
    def num_samples(self) -> int:
        """How far its codes go, at the level that goes furthest."""
        return max(self.codes.num_samples(level) for level in self.codes.levels)


class Source:
    """A session or a codes file to go on from.

    Attributes:
        path: of it.
        session: None for a codes file.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises `FileNotFoundError` or `ValueError` for what is neither."""
        self.path = Path(path)
        self.session: Session | None = None
        self._codes: Codes | None = None
        if not self.path.exists():
            raise FileNotFoundError(
                f"there is no session or codes file {shorten(str(path))}; `jukebox sessions list` "
                "shows the sessions of a folder"
            )
        if self.path.is_dir():
            self.session = Session.open(self.path)
        else:
            self._codes = load_codes(self.path)

    @property
    def numbers(self) -> list[int]:
        """The takes that are gone on from if none is named: those that were kept, or all."""
        if self.session is not None:
            return self.session.kept
        assert self._codes is not None
        return list(range(1, self._codes.takes + 1))

    def start(self, number: int) -> Start:
        """One take of it; `ValueError` if there is none of that number, or no codes of it."""
        if self.session is not None:
            entry = self.session.take(number)
            codes = self.session.joined_codes(number)
            if codes is None:
                raise ValueError(f"take {number} of {self.path} has no codes yet; resume it first")
            return Start(number, codes, Prompt.restore(entry.prompt), entry.total_samples)
        assert self._codes is not None
        if not 1 <= number <= self._codes.takes:
            raise ValueError(
                f"{self.path} has takes 1 to {self._codes.takes}, and no take {number}"
            )
        levels = {level: codes[number - 1 : number] for level, codes in self._codes.levels.items()}
        chosen = JoinedCodes(**{**vars(self._codes), "levels": levels})
        return Start(number, chosen, Prompt(), None)


def continue_prompt(
    start: Start, *, seconds: float, from_seconds: float | None = None, **changes: Any
) -> Prompt:
    """The prompt that adds `seconds` to a take, or to its part before `from_seconds`.

    Args:
        start: what to go on from.
        seconds: of new music.
        from_seconds: where to cut; None: go on from the end.
        changes: fields of the prompt that are to be different from here on.

    Raises:
        ValueError: for a cut beyond the end, or before the first code.
    """
    codes = start.codes
    rate, hop = codes.sampling_rate, codes.hop_lengths[-1]
    kept = start.num_samples
    if from_seconds is not None:
        kept = round(from_seconds * rate)
        if kept > start.num_samples:
            raise ValueError(
                f"take {start.number} lasts {start.num_samples / rate:.2f} seconds; it cannot be "
                f"continued from {from_seconds:g}"
            )
    kept = kept // hop * hop
    if kept < hop:
        raise ValueError(f"nothing is left before {from_seconds:g} seconds; begin a new piece")
    cut = codes.cut({level: kept // codes.hop_lengths[level] for level in codes.levels})
    prompt = replace(
        start.prompt,
        seconds=kept / rate + seconds,
        primer=cut,
        primer_start_seconds=0.0,
        primer_end_seconds=None,
    )
    prompt = replace(prompt, **changes)
    if start.total_samples is not None and changes.get("total_seconds") is None:
        end = round((prompt.offset_seconds + kept / rate + seconds) * rate)
        prompt = replace(prompt, total_seconds=max(start.total_samples, end) / rate)
    return prompt


def upsample_prompt(start: Start, **changes: Any) -> Prompt:
    """The prompt that fills in the finer levels of a take, as long as its codes go."""
    prompt = replace(
        start.prompt,
        seconds=None,
        primer=start.codes,
        primer_start_seconds=0.0,
        primer_end_seconds=None,
    )
    if start.total_samples is not None:
        prompt = replace(prompt, total_seconds=start.total_samples / start.codes.sampling_rate)
    return replace(prompt, **changes)

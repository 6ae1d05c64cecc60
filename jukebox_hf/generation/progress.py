"""How far a generation in Python is: bars for whoever looks, and calls for whoever wants numbers.

What `Generation.on_codes` says goes in, codes of a level; seconds of audio come out.
"""

import sys
from collections.abc import Callable
from typing import Any, Self, TypeAlias

from jukebox_hf.generation.plan import Plan

# Level, seconds of audio that it has by now over all takes, seconds that it will have.
Callback: TypeAlias = Callable[[int, float, float], object]


class LevelBars:
    """A progress bar per level, as tqdm shows it in a terminal or a notebook; close it at the end.

    Args:
        plan: of the generation.
        shown: whether to show bars; None: in a notebook, and where stderr is a terminal.
        callback: is told the same.
    """

    def __init__(
        self, plan: Plan, *, shown: bool | None = None, callback: Callback | None = None
    ) -> None:
        self.plan = plan
        self.shown = shown
        self.callback = callback
        self.level: int | None = None
        self.bar: Any = None

    def show(self, level: int, codes: int, total: int) -> None:
        """A level has so many of its codes."""
        seconds = self.plan.hop_lengths[level] / self.plan.sampling_rate
        if self.shown is not False:
            if level != self.level:
                self.close()
                self.level, self.bar = level, self._new_bar(level, codes, total)
            self.bar.set_postfix_str(f"{codes * seconds:.1f} s of audio", refresh=False)
            self.bar.update(codes - self.bar.n)
        if self.callback is not None:
            self.callback(level, codes * seconds, total * seconds)

    def _new_bar(self, level: int, codes: int, total: int) -> Any:
        from tqdm.asyncio import tqdm_asyncio
        from tqdm.auto import tqdm

        # Outside notebooks, and in those without ipywidgets, the one is the other. What notebooks
        # print to is no terminal, so that tqdm's own None would show nothing there.
        in_notebook = tqdm is not tqdm_asyncio or _prints_to_notebook()
        hidden = False if self.shown or in_notebook else None
        return tqdm(total=total, initial=codes, desc=f"Level {level}", unit="code", disable=hidden)

    def close(self) -> None:
        """Leave the last bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _prints_to_notebook() -> bool:
    """Whether stderr is shown by whoever runs IPython's kernel: Jupyter, Colab, VS Code."""
    return type(sys.stderr).__module__.partition(".")[0] == "ipykernel"

"""How the recipe's scripts begin and end: their help, their errors, their exit codes."""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence

from soundfile import SoundFileError

from model_cards.recipe.packages import note


class RecipeError(Exception):
    """What a script cannot do; the message says why, and what to do."""


def script_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m model_cards.recipe.NAME`, which shows its docstring as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m model_cards.recipe.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def script(main: Callable[[list[str]], int | None]) -> Callable[..., int]:
    """Decorator of a script's `main`: an expected error is one line on stderr and exit code 1.

    Expected are `RecipeError`, `ValueError`, `OSError`, `ImportError` and a file that is no sound;
    Ctrl-C is exit code 130. Without arguments it takes those of this process.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(sys.argv[1:] if arguments is None else list(arguments)) or 0
        except (RecipeError, ValueError, OSError, ImportError, SoundFileError) as error:
            note(f"error: {error}")
            return 1
        except KeyboardInterrupt:
            note("interrupted")
            return 130

    return run

"""What a measurement found: a table for people, and figures for cards, each with its command.

Numbers go in; Markdown for `RESULTS.md` and a file come out, whose `figures` have the form in which
`training.json` and model cards take them (`jukebox_hf.hub.training_facts.Figure`).
"""

import argparse
import json
import math
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_atomically
from jukebox_hf.hub.training_facts import Figure

FORMAT_VERSION = 1


class Report:
    """Figures, tables and remarks of one run of one script.

    Args:
        script: the module's name, as in `python -m SCRIPT`.
        arguments: that it was called with; folders of this machine go by their last name.
        dataset: what it is measured on, in words.
    """

    def __init__(self, script: str, arguments: Sequence[str], dataset: str) -> None:
        self.command = shared_command(script, arguments)
        self.dataset = dataset
        self.figures: list[Figure] = []
        self.records: dict[str, Any] = {}
        self._parts: list[str] = []

    def figure(self, name: str, value: float | int, *, dataset: str | None = None) -> None:
        """Add a figure; its name ends with its unit in brackets, if it has one.

        What is not a finite number cannot stand in a card and is left out.
        """
        if math.isfinite(value):
            rounded = value if isinstance(value, int) else float(f"{value:.6g}")
            self.figures.append(Figure(name, rounded, self.command, dataset or self.dataset))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table; floats should be formatted already."""
        self._parts.append(markdown_table(headings, rows))

    def remark(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(text)

    def markdown(self) -> str:
        """Command, tables and remarks."""
        return "\n\n".join([f"`{self.command}`", *self._parts])

    def to_record(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "format_version": FORMAT_VERSION,
            "command": self.command,
            "dataset": self.dataset,
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": f"cpu ({platform.machine()}, {os.cpu_count()} cores)",
            "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
            "figures": [asdict(figure) for figure in self.figures],
            "records": self.records,
        }

    def finish(self, path: Path | None, *, as_json: bool) -> None:
        """Print the Markdown, or everything as JSON; with `path` write the latter there too."""
        text = json.dumps(self.to_record(), ensure_ascii=False, indent=1)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda file: _write(file, text + "\n"))
        print(text if as_json else self.markdown())


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what becomes of a report."""
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write everything there, too")
    parser.add_argument("--json", action="store_true", help="print that instead of tables")


def load_figures(path: Path) -> list[Figure]:
    """The figures in a file that `Report.finish` wrote; `ValueError` if it is another file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, Mapping) or content.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path} holds no figures of format {FORMAT_VERSION}")
    return [Figure(**figure) for figure in content["figures"]]


def shared_command(script: str, arguments: Sequence[str]) -> str:
    """The command as anyone could type it: without the folders of this machine.

    >>> shared_command("model_cards.recipe.sing", ["--output", "/a/b/singing", "--seconds", "20"])
    'python -m model_cards.recipe.sing --output singing --seconds 20'
    """
    words = [Path(word).name if os.sep in word else word for word in arguments]
    return shlex.join(["python", "-m", script, *words])


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown, columns aligned; the first to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in [headings, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    rule = ["-" * widths[0], *("-" * (max(width, 2) - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(row[i].rjust(max(widths[i], 2)) for i in range(1, len(row)))]
        for row in cells
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

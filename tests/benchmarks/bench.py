"""The benchmark matrix: `make bench` for a fixed subset, `make bench-full` for all of it.

`python -m tests.benchmarks.bench [SECTION ...] [--full] [--device cuda] [--tiny] [--json FILE]`.
Every section yields rows (dicts); the ceilings of the machine are measured in the same run. The
file is written after every row, so that a run that is cut off leaves what it has.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.generation.choices import BACKENDS, PRECISIONS
from tests.benchmarks import sections
from tests.benchmarks.measuring import environment
from tests.benchmarks.models import SIZES

Row = dict[str, Any]
SECTIONS: dict[str, Callable[[sections.Scope], Iterator[Row]]] = {
    "machine": sections.machine,
    "decode": sections.decode,
    "threads": sections.threads,
    "prefill": sections.prefill,
    "sample": sections.sample,
    "chains": sections.chains,
    "codec": sections.codec,
    "train": sections.train,
    "embed": sections.embed,
    "load": sections.load,  # with memory: one process per precision, its peak and the formula's
}
COLUMNS = (
    *("section", "what", "size", "batch", "place", "level", "GB/s", "weight_GB/s", "first_call_s"),
    *("GFLOP/s", "share_of_GEMM", "ms", "cpu_ms", "against", "ratio", "cpu_ratio"),
)
SUBSET = ("machine", "decode", "codec", "sample", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--full", action="store_true", help="every section, size and precision")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: a rehearsal")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=[], choices=[*SIZES])
    parser.add_argument("--batches", nargs="+", default=[], type=int)
    parser.add_argument("--places", nargs="+", default=[], choices=["middle", "end"])
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="PRECISION:BACKEND", help="of decode"
    )
    parser.add_argument(
        "--against", metavar="PYTHON", help="of another build's environment, for train"
    )
    parser.add_argument("--table", action="store_true", help="end with all rows in one table")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    names = given.sections or [*SECTIONS] if given.full or given.tiny else given.sections or SUBSET
    unknown = set(names) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; known: {', '.join(SECTIONS)}")
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    result: dict[str, Any] = {"environment": environment(device), "rows": []}
    with tempfile.TemporaryDirectory() as temporary:
        scope = sections.Scope(
            device,
            given.full,
            given.tiny,
            given.rounds,
            Path(temporary),
            chosen_sizes=tuple(given.sizes),
            chosen_batches=tuple(given.batches),
            chosen_places=tuple(given.places),
            against=given.against,
            chosen_variants=tuple(_variant(one, parser) for one in given.variants),
        )
        for name in names:
            for row in SECTIONS[name](scope):
                result["rows"].append({"section": name, **row})
                print(json.dumps(result["rows"][-1]), flush=True)
                write(result, given.json)
    result["environment"]["load_after"] = environment(device)["load"]
    print(json.dumps(result["environment"]))
    if given.table:
        print(table(result["rows"]))
    write(result, given.json)


def _variant(text: str, parser: argparse.ArgumentParser) -> tuple[str, str]:
    """`float16:graph` as precision and backend."""
    precision, _, backend = text.partition(":")
    if precision not in PRECISIONS or backend not in BACKENDS:
        parser.error(
            f"a variant is one of {', '.join(PRECISIONS)}, a colon and one of "
            f"{', '.join(BACKENDS)}; got {text!r}"
        )
    return precision, backend


def table(rows: list[Row]) -> str:
    """Rows under each other, in the columns that tell them apart and compare them."""
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    cells = [columns, *([str(row.get(name, "")) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    padded = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def write(result: dict[str, Any], path: Path | None) -> None:
    """What is known so far, as JSON."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

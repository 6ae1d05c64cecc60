"""The original's greedy runs over several windows and levels, code for code."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.codes import Codes
from jukebox_hf.generation.level_sampler import LevelSampler, Row, RowWindow, TakePiece
from jukebox_hf.generation.making import Generation, WindowReport
from jukebox_hf.generation.plan import Plan, make_plan
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.generation.windows import Run, extension_window
from jukebox_hf.hub import System
from jukebox_hf.labels import ResolvedLabels
from tests.generation.golden_systems import (
    ARTIST,
    FIRST_GENRE,
    converted_release,
    names_of_run,
    port_folder,
    upsamplers_only,
)
from tests.golden_data import GOLDEN_ROOT, golden_stems, load_golden

AUDIO_TOLERANCE = 1e-5
RUNS = [stem for stem in golden_stems("sampling/*") if not stem.endswith("_partial")]
PARTIAL_RUNS = golden_stems("sampling/*_partial")
PORT_RUNS = [
    stem
    for stem in RUNS
    if (GOLDEN_ROOT / "transformers" / Path(stem).name.rsplit("_", 1)[0]).is_dir()
]
# The rest of a run whose first codes are the golden ones: a few windows far into it.
LAST_WINDOWS = 3


@dataclass(frozen=True)
class GoldenRun:
    """A run of the original, and the model that it used."""

    stem: str
    tensors: dict[str, Any]
    meta: dict[str, Any]
    system: System

    @property
    def num_levels(self) -> int:
        return self.system.num_levels

    def codes(self, level: int) -> Tensor:
        """(takes, time) of the finished run."""
        return self.tensors[f"codes_l{level}"]  # type: ignore[no-any-return]

    def plan(self, existing: dict[int, int] | None = None) -> Plan:
        """The plan of the run; with `existing`, that begins with so many of its codes by level."""
        config = self.system.vqvae_config()
        rate = config.sampling_rate
        prompts = {}
        for index, piece in enumerate(self.meta["metas"]):
            primer: Tensor | Codes | None = None
            if "prompt" in self.tensors:
                primer = self.tensors["prompt"][index].T
            given = {
                level: self.tensors[name][index : index + 1]
                for level in range(self.num_levels)
                if self.tensors.get(name := f"init_codes_l{level}", torch.zeros(0)).numel()
            }
            if existing is not None:
                given = {
                    level: self.codes(level)[index : index + 1, :count]
                    for level, count in existing.items()
                }
            if given:
                primer = Codes(given, config.hop_lengths, rate)
            prompts[index + 1] = Prompt(
                artist=piece["artist"],
                genre=piece["genre"],
                lyrics=piece["lyrics"],
                seconds=self.meta["sample_length"] / rate,
                total_seconds=piece["total_length"] / rate,
                offset_seconds=piece["offset"] / rate,
                primer=primer,
            )
        return make_plan(
            self.system,
            prompts,
            seed=0,
            precision="float32",
            temperature=self.meta["temp"],
            top_k=self.meta["top_k"],
            hop_fraction=dict(enumerate(self.meta["hop_fraction_by_level"])),
        )

    def check_codes(self, generation: Generation, level: int) -> None:
        """All takes of a level equal the golden codes; else say where the first difference is."""
        for index, expected in enumerate(self.codes(level)):
            made = generation.codes[index + 1][level]
            assert made.shape == expected.shape
            wrong = (made != expected).nonzero().flatten()
            assert not len(wrong), f"level {level}, take {index + 1}: first at {int(wrong[0])}"

    def check_windows(self, reports: list[WindowReport]) -> None:
        """Windows, what was given and added in each, and the lyrics it saw, are the original's."""
        expected: Counter[tuple[Any, ...]] = Counter()
        for window in self.meta["windows"]:
            if not window["new"]:
                continue
            for take in range(len(self.meta["metas"])):
                spans = window["first_last_lyric_index"]
                span = None if spans is None else tuple(spans[take])
                shape = (window["start"], window["conditioned_on"], window["new"])
                expected[(window["level"], take + 1, *shape, span)] += 1
        found = Counter(
            (report.level, w.take, w.start, w.given, w.new, w.lyric_span)
            for report in reports
            for w in report.windows
        )
        assert found == expected

    def check_audio(self, generation: Generation) -> None:
        """What every level decodes to, where the golden data has it."""
        compared = 0
        for level in range(self.num_levels):
            expected = self.tensors.get(f"decoded_from_l{level}")
            if expected is None:
                continue
            for index, audio in enumerate(expected):
                decoded = generation.decode(index + 1, level)
                torch.testing.assert_close(
                    decoded, audio.T, rtol=0, atol=AUDIO_TOLERANCE, msg=f"level {level}"
                )
                compared += 1
        assert compared


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden_systems")


def open_run(stem: str, folders: Path) -> GoldenRun:
    """A run with its model, converted once per run: each has its own names."""
    tensors, meta = load_golden(stem)
    folder = folders / stem.replace("/", "_")
    if (folder / "model").is_dir():
        return GoldenRun(stem, tensors, meta, System.open(folder / "model"))
    names = names_of_run(tensors, meta)
    if (GOLDEN_ROOT / f"openai/{meta['model']}/prior_level_2.pth.tar").is_file():
        system = converted_release(folder, meta["model"], names)
    else:
        system = upsamplers_only(folder, names)
    return GoldenRun(stem, tensors, meta, system)


@pytest.mark.parametrize("stem", RUNS)
def test_last_windows_of_every_level_equal_the_original(stem: str, folders: Path) -> None:
    """Every level from the golden codes of the level above, from shortly before its end."""
    run = open_run(stem, folders)
    levels = sorted(run.system.prior_levels)
    if run.meta["mode"] == "upsample":
        levels = [level for level in levels if level < run.num_levels - 1]
    for level in levels:
        windows = [w for w in run.meta["windows"] if w["level"] == level and w["new"]]
        first = windows[-min(LAST_WINDOWS, len(windows))]
        existing = {upper: run.codes(upper).shape[1] for upper in range(level + 1, run.num_levels)}
        existing[level] = first["start"] + first["conditioned_on"]
        generation = Generation(run.plan(existing))
        for _ in generation:
            if len(generation.codes[1][level]) == run.codes(level).shape[1]:
                break
        run.check_codes(generation, level)


@pytest.mark.slow
@pytest.mark.parametrize("stem", RUNS)
def test_run_equals_the_original(stem: str, folders: Path) -> None:
    """The whole run: codes of every level, windows, lyrics per window, and audio."""
    run = open_run(stem, folders)
    generation = Generation(run.plan())
    run.check_windows(list(generation))
    for level in range(run.num_levels):
        run.check_codes(generation, level)
    run.check_audio(generation)


@pytest.mark.slow
@pytest.mark.parametrize("stem", PORT_RUNS)
def test_port_repository_gives_the_same_run(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository of the former port is converted into the cache and makes the same music."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    tensors, meta = load_golden(stem)
    folder = port_folder(tmp_path / "port", meta["model"], names_of_run(tensors, meta))
    system = System.open(folder, cache_dir=tmp_path / "cache")
    if len(system.prior_levels) < system.num_levels:
        pytest.skip(f"the golden port repository of {meta['model']} has its top prior only")
    run = GoldenRun(stem, tensors, meta, system)
    generation = Generation(run.plan())
    run.check_windows(list(generation))
    for level in range(run.num_levels):
        run.check_codes(generation, level)


@pytest.mark.parametrize("stem", RUNS)
def test_labels_of_every_level_equal_the_original(stem: str, folders: Path) -> None:
    run = open_run(stem, folders)
    plan = run.plan()
    for level in run.system.prior_levels:
        slots = run.system.prior_config(level).genre_slots
        rows = run.tensors[f"labels_y_l{level}"].tolist()
        for take, row in zip(plan.takes, rows, strict=True):
            labels = take.labels[level]
            genres = [*labels.genre_ids, *([-1] * (slots - len(labels.genre_ids)))]
            assert [take.total_samples, take.offset_samples] == row[:2]
            assert [labels.artist_id, *genres] == row[ARTIST : FIRST_GENRE + slots]


@pytest.mark.parametrize("stem", PARTIAL_RUNS)
def test_growing_a_level_piece_by_piece_equals_the_original(stem: str, folders: Path) -> None:
    """Windows that start late and are shorter than the context."""
    run = open_run(stem, folders)
    tensors, meta = run.tensors, run.meta
    level = run.num_levels - 1
    prior = run.system.load_prior(level)
    processor = run.system.processor(level)
    labels: list[ResolvedLabels] = [
        processor.resolve(piece["artist"], piece["genre"], piece["lyrics"])
        for piece in meta["metas"]
    ]
    pieces = {
        index + 1: TakePiece(own, piece["total_length"], piece["offset"], None)
        for index, (own, piece) in enumerate(zip(labels, meta["metas"], strict=True))
    }
    settings = run.plan().settings.levels[level]
    sampler = LevelSampler(
        prior, processor, settings, seed=0, pieces=pieces, batch_size=len(pieces)
    )
    total = sum(meta["steps"])
    rows = [Row.start(take, Run(0, total), torch.zeros(0, dtype=torch.int64)) for take in pieces]
    for new in meta["steps"]:
        window = extension_window(rows[0].done, new, prior.config.context_length)
        sampler.sample([RowWindow(row, window) for row in rows])
        expected = tensors.get(f"codes_l{level}_after_{rows[0].done}")
        if expected is not None:
            assert torch.equal(torch.stack([row.codes[: row.done] for row in rows]), expected)
    assert torch.equal(torch.stack([row.codes for row in rows]), tensors[f"codes_l{level}"])

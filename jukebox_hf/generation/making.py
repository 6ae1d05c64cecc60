"""A generation under way: every level of every take, one batch of windows after the other.

A plan goes in; codes grow, and a report comes out after every batch of windows. It is all in
memory: `session` keeps it on disk, `pipeline` wraps it for use in Python.
"""

import gc
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.codes import Codes
from jukebox_hf.generation import memory
from jukebox_hf.generation.alignment import LyricAlignment, align_lyrics
from jukebox_hf.generation.chains import (
    Chain,
    Seam,
    decode_chains,
    find_past,
    find_seams,
    splice,
)
from jukebox_hf.generation.choices import DECODED_SECONDS
from jukebox_hf.generation.devices import check_backend, sampling_threads
from jukebox_hf.generation.holes import (
    FIRST_TAKE,
    Score,
    best,
    fill,
    fill_top,
    score,
    scored_codes,
)
from jukebox_hf.generation.joined import Joined, JoinedCodes, combine
from jukebox_hf.generation.level_sampler import LevelSampler, Row, RowWindow, TakePiece, next_batch
from jukebox_hf.generation.plan import LevelPlan, Plan, TakePlan
from jukebox_hf.generation.shelf import PriorShelf
from jukebox_hf.generation.weights import begun_products, load_for_sampling
from jukebox_hf.generation.windows import Run
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.sizes import Float32Products
from jukebox_hf.vqvae.network import VQVAENetwork

logger = logging.getLogger(__name__)


class WindowRecord(NamedTuple):
    """What became of one window.

    Attributes:
        take: number of the take.
        chain: which of the level's runs, from 0 on.
        start, given, new: in codes of the level, see `windows.Window`.
        lyric_span: first and last character of the lyrics that it saw; None without lyrics.
    """

    take: int
    chain: int
    start: int
    given: int
    new: int
    lyric_span: tuple[int, int] | None


class WindowReport(NamedTuple):
    """A batch of windows is done.

    Attributes:
        level: of the codes.
        windows: one record per row of the batch; empty if only the level's end was left to do.
        seconds: that it took.
        codes_done, codes_total: of this level, over all takes (of this process's share).
        level_done: whether this was the level's last batch, and its chains are joined.
    """

    level: int
    windows: tuple[WindowRecord, ...]
    seconds: float
    codes_done: int
    codes_total: int
    level_done: bool

    @property
    def takes(self) -> tuple[int, ...]:
        """The takes whose codes grew."""
        return tuple(dict.fromkeys(window.take for window in self.windows))


class _UnderWay(NamedTuple):
    """A batch of windows that is being sampled, and how many codes it has of each."""

    level: int
    batch: Sequence[RowWindow]
    sampler: LevelSampler
    num_codes: int


class Generation:
    """Iterate over it to make the music: each step samples one batch of windows and reports it.

    Stop iterating at any time; what is there stays in `codes`. A new `Generation` with those codes,
    `chains` and `batch_sizes` goes on where this one stopped and makes the same music.

    Attributes:
        codes: by take and level, (time,) int64 on the CPU: what is complete or under way. Of a
            level that is cut into chains, what was there before until its chains are joined.
        chains: by take and level, the rows of a level that is cut into chains.
        seams: by take and level, where chains were joined.
        given: by take and level, the chains of codes that a take begins with; of a level with a
            hole that was filled, of all of it.
        chosen: by take, the candidate that its hole is filled with.
        batch_sizes: windows sampled at once, by level, once that is decided.
        alignments: by take, when its words are sung; as soon as a level that can tell is complete.
        fresh: by take and level, codes of a window under way in another process, after all others.
        on_codes: called during a batch with level, codes of it so far, and all it will have.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        device: torch.device | str = "cpu",
        codes: Mapping[int, Mapping[int, Tensor]] | None = None,
        chains: Mapping[tuple[int, int], Sequence[Tensor | None]] | None = None,
        seams: Mapping[tuple[int, int], Sequence[Seam]] | None = None,
        given: Mapping[tuple[int, int], Joined] | None = None,
        batch_sizes: Mapping[int, int] | None = None,
        alignments: bool = True,
        share: tuple[int, int] = (0, 1),
        on_codes: Callable[[int, int, int], None] | None = None,
        shelf: PriorShelf | None = None,
        float32: Float32Products | None = None,
        float32_between: bool = True,
    ) -> None:
        """Begin, or go on with what an earlier run left.

        Args:
            plan: what to make, and with which model.
            device: where to compute.
            codes, chains, seams, given, batch_sizes: of an earlier run; of chains the codes of
                each so far, None for one that has not begun.
            alignments: whether to align lyrics where the model can.
            share: (index, number): make only this part of every level's rows, and join and align
                nothing; several processes divide a level so (`make_level`, `finish_level`).
            on_codes: see the attribute.
            shelf: where priors are kept for later; None: each is let go after its level.
            float32: how to multiply with float32 weights; None: as a session that begins here.
            float32_between: see `WindowSampler`.
        """
        self.system = plan.system
        self.plan = plan
        self.device = torch.device(device)
        check_backend(plan.settings.backend, self.device)
        self.on_codes = on_codes
        self.share = share
        self.shelf = shelf
        if float32 is None:
            float32 = begun_products(plan.settings.precision, plan.settings.backend, self.device)
        self.float32 = float32
        self.float32_between = float32_between
        self.fresh: dict[tuple[int, int], Tensor] = {}
        self.with_alignments = alignments and share[1] == 1
        self.alignments: dict[int, LyricAlignment] = {}
        self.batch_sizes = dict(batch_sizes or {})
        self.codes: dict[int, dict[int, Tensor]] = {
            number: dict(levels) for number, levels in (codes or {}).items()
        }
        self.chains: dict[tuple[int, int], list[Row]] = {}
        self.seams = {key: list(joined) for key, joined in (seams or {}).items()}
        self.given = dict(given or {})
        self.chosen: dict[int, Score] = {}
        self._earlier_chains = dict(chains or {})
        self._codec: VQVAENetwork | None = None
        self._found_seams: dict[tuple[int, int, int], Seam] = {}
        self._under_way: _UnderWay | None = None

    # --- the work ---

    def __iter__(self) -> Iterator[WindowReport]:
        self.prepare()
        for level in self.plan.levels:
            yield from self.make_level(level)

    def prepare(self) -> None:
        """Bring every take's given codes together: encode primers, take over codes and chains."""
        for take in self.plan.takes:
            if take.number not in self.codes:
                self.codes[take.number] = self._given_codes(take)
        for level in self.plan.levels:
            for take in self.plan.takes_at(level.level):
                if (take.number, level.level) in self._earlier_chains:
                    self.rows(level, take)

    def _given_codes(self, take: TakePlan) -> dict[int, Tensor]:
        primer = take.prompt.primer
        levels = range(self.plan.num_levels)
        given = {level: torch.zeros(0, dtype=torch.int64) for level in levels}
        if isinstance(primer, JoinedCodes):
            self.given |= {(take.number, level): own for level, own in primer.joined.items()}
        if isinstance(primer, Codes):
            given |= {level: codes[0].cpu() for level, codes in primer.levels.items()}
        elif take.primer_audio is not None:
            audio = take.primer_audio[None]
            encoded = self.codec.encode(audio, chunk_seconds=DECODED_SECONDS)
            given |= {level: codes[0] for level, codes in enumerate(encoded)}
        return given

    def make_level(self, level: LevelPlan) -> Iterator[WindowReport]:
        """Sample what is missing of one level, once everything above it is there.

        What is there is looked at by the call; the reports come out as batches are made.
        """
        takes = self.plan.takes_at(level.level)
        rows = {take.number: self.rows(level, take) for take in takes}
        own = self._own_share([row for some in rows.values() for row in some])
        if any(row.done < row.run.length for row in own):
            return self._sample_level(level, rows, own)
        if self.share[1] == 1 and self.finish_level(level):
            return iter([self._report(level, own, (), 0.0)])
        return iter(())

    def _own_share(self, rows: list[Row]) -> list[Row]:
        """The part of a level's rows that is made here: neighbours, as equal as can be."""
        index, number = self.share
        return rows[len(rows) * index // number : len(rows) * (index + 1) // number]

    def finish_level(self, level: LevelPlan, prior: PriorNetwork | None = None) -> bool:
        """Join the chains of a level whose rows are all complete; whether there were any.

        `prior`: of that level, if it is loaded.
        """
        unjoined = [
            take
            for take in self.plan.takes_at(level.level)
            if (len(level.runs(take)) > 1 or take.hole is not None)
            and len(self.codes[take.number][level.level]) < take.num_samples // level.hop_length
        ]
        for take in unjoined:
            self.rows(level, take)
        holes = [take for take in unjoined if take.hole is not None]
        self._join_chains(level, [take for take in unjoined if take.hole is None])
        if holes and level.unit == 1:
            self._fill_top(level, holes, prior or self._load_prior(level.level))
        elif holes:
            self._fill(level, holes)
        return bool(unjoined)

    def rows(self, level: LevelPlan, take: TakePlan) -> list[Row]:
        """The rows of a take at a level, with the codes that they have already."""
        runs = level.runs(take)
        made = self.codes[take.number][level.level]
        if len(runs) == 1 and take.hole is None:
            return [Row.start(take.number, runs[0], made)]
        key = (take.number, level.level)
        if key not in self.chains:
            earlier = self._earlier_chains.get(key) or [None] * len(runs)
            self.chains[key] = [
                Row.start(
                    take.number,
                    run,
                    made[run.begin : run.begin + run.existing] if codes is None else codes,
                )
                for run, codes in zip(runs, earlier, strict=True)
            ]
            if take.hole is not None and level.unit == 1:
                for number, row in enumerate(self.chains[key], start=1):
                    row.candidate = number
        return self.chains[key]

    def _sample_level(
        self, level: LevelPlan, rows: Mapping[int, list[Row]], own: Sequence[Row]
    ) -> Iterator[WindowReport]:
        config = self.system.prior_config(level.level)
        size = self.batch_sizes.get(level.level) or self.fitting_batch(level)
        self.batch_sizes[level.level] = min(size, len(own))
        self._find_pasts(level, own)
        prior = self._load_prior(level.level)
        try:
            sampler: LevelSampler | None = None
            while batch := next_batch(
                own, level.context, level.stride, self.batch_sizes[level.level]
            ):
                started = time.perf_counter()
                try:
                    sampler = sampler or self._sampler(level, prior)
                    with sampling_threads(self.device, config.width):
                        spans = sampler.sample(batch, self._progress(level, own, batch, sampler))
                except Exception as error:
                    if not memory.is_out_of_memory(error):
                        raise
                    sampler = None
                    self._halve_batch(level.level, len(batch), error)
                    continue
                finally:
                    self._under_way = None
                self._take_over(level, rows, batch)
                if self.share[1] == 1 and all(row.done == row.run.length for row in own):
                    self.finish_level(level, prior)
                    self._align(level, prior, self.plan.takes_at(level.level))
                records = tuple(
                    _record(entry, rows, span) for entry, span in zip(batch, spans, strict=True)
                )
                yield self._report(level, own, records, time.perf_counter() - started)
        finally:
            del prior, sampler
            self._free()

    def fitting_batch(self, level: LevelPlan) -> int:
        """How many windows of a level fit into the memory that there is now."""
        available = memory.available_memory(self.device)
        if self.device.type == "cpu":  # which all processes have together
            available //= self.share[1]
        return self._needed(level).batch_size(available)

    def _needed(self, level: LevelPlan) -> memory.PriorMemory:
        config = self.system.prior_config(level.level)
        needed = memory.prior_memory(config, self.plan.settings.precision, self.device)
        return needed.with_rows(level.sampling(self.plan.takes_at(level.level)).rows_per_window)

    def _find_pasts(self, level: LevelPlan, rows: Sequence[Row]) -> None:
        """Give rows with a past the codes of the upper level's sound there."""
        for row in rows:
            if row.run.past and row.done < row.run.length:
                row.past = self.past(level, row.run, self.codes[row.take][level.level + 1])

    def past(self, level: LevelPlan, run: Run, upper: Tensor) -> Tensor:
        """The codes (run.past,) of the sound of codes (time,) above, just before a run."""
        return find_past(self.codec, level.level, run, upper, chunk_seconds=DECODED_SECONDS)

    def sampler(self, level: LevelPlan) -> LevelSampler:
        """What samples batches of a level, by its prior and `codes` as they are then."""
        return self._sampler(level, self._load_prior(level.level))

    def _sampler(self, level: LevelPlan, prior: PriorNetwork) -> LevelSampler:
        size = self.batch_sizes[level.level]
        memory.check_limit(self._needed(level), size)
        takes = self.plan.takes_at(level.level)
        pieces = {
            take.number: TakePiece(
                labels=take.labels[level.level],
                total_samples=take.total_samples,
                offset_samples=take.offset_samples,
                upper_codes=self.codes[take.number].get(level.level + 1),
            )
            for take in takes
        }
        return LevelSampler(
            prior,
            self.system.processor(level.level),
            level.sampling(takes),
            seed=self.plan.settings.seed,
            pieces=pieces,
            batch_size=size,
            backend=self.plan.settings.backend,
            float32_between=self.float32_between,
        )

    def _halve_batch(self, level: int, size: int, error: Exception) -> None:
        """Go on with half of a batch that did not fit; for a single window that is an error."""
        gc.collect()  # the error's traceback held what was allocated
        if self.shelf is not None:
            self.shelf.clear()
        self._free()
        if size == 1:
            raise torch.OutOfMemoryError(
                f"not even one window of level {level} fits into the memory of {self.device}: "
                f"{error}; use a lower --precision, or another --device"
            ) from error
        self.batch_sizes[level] = size // 2

    def _take_over(
        self, level: LevelPlan, rows: Mapping[int, list[Row]], batch: Sequence[RowWindow]
    ) -> None:
        """Publish what a batch added to levels that are not cut into chains."""
        for row, _ in batch:
            if (row.take, level.level) not in self.chains:
                self.codes[row.take][level.level] = row.codes[: row.done]

    def _join_chains(self, level: LevelPlan, takes: Sequence[TakePlan]) -> None:
        for take in takes:
            key = (take.number, level.level)
            chains = self._chains_of(key)
            made = self.codes[take.number]
            before = made[level.level][: chains[0].run.begin]
            self.seams[key] = [
                self.seam(*key, index, *pair)
                for index, pair in enumerate(itertools.pairwise(chains))
            ]
            made[level.level] = torch.cat([before, splice(chains, self.seams[key])])

    def seam(self, number: int, level: int, index: int, left: Chain, right: Chain) -> Seam:
        """Where two neighbouring chains of a take are joined, once both are complete."""
        key = (number, level, index)
        if key not in self._found_seams:
            self._found_seams[key] = find_seams(self.codec, level, [left, right])[0]
        return self._found_seams[key]

    # --- holes ---

    def _before_hole(self, take: TakePlan, level: LevelPlan) -> Joined:
        """The codes of a level before the hole."""
        made = self.codes[take.number][level.level]
        return combine(made, self.given.get((take.number, level.level)), None)

    def _fill_top(self, level: LevelPlan, takes: Sequence[TakePlan], prior: PriorNetwork) -> None:
        """Fill the hole of each take with one of the best candidates."""
        first = self.plan.take(FIRST_TAKE)
        hole = first.hole
        assert hole is not None
        begin = hole.begin // level.hop_length
        before = self._before_hole(takes[0], level).codes
        after = hole.after(level.level)[: scored_codes(hole)]
        made = {
            row.candidate or 0: row.codes[begin - row.run.begin :]
            for row in self.rows(level, first)
        }
        scores = [
            Score(
                number,
                score(
                    prior,
                    self.system.processor(level.level),
                    torch.cat([before, codes, after]),
                    len(after),
                    first.labels[level.level],
                    total_samples=first.total_samples,
                    offset_samples=first.offset_samples,
                ),
            )
            for number, codes in made.items()
        ]
        for take, found in zip(self.plan.takes, best(scores, len(self.plan.takes)), strict=True):
            if take in takes:
                self.chosen[take.number] = found
                before_it = self._before_hole(take, level)
                self._put_in(take, level, fill_top(before_it, made[found.candidate], hole))

    def _fill(self, level: LevelPlan, takes: Sequence[TakePlan]) -> None:
        """Put what was sampled at a finer level into the hole of each take."""
        for take in takes:
            assert take.hole is not None
            (row,) = self.rows(level, take)
            made = row.codes[take.hole.begin // level.hop_length - row.run.begin :]
            before = self._before_hole(take, level)
            self._put_in(take, level, fill(self.codec, level.level, before, made, take.hole))

    def _put_in(self, take: TakePlan, level: LevelPlan, joined: Joined) -> None:
        self.codes[take.number][level.level] = joined.codes
        self.given[take.number, level.level] = joined

    # --- lyrics ---

    def align(self, number: int) -> LyricAlignment | None:
        """When the words of a take are sung; None if its model cannot say, or it has no lyrics.

        Known since its top level was made here; else the top prior is loaded once more, for all
        takes that are not known.
        """
        for level in self.plan.levels:
            takes = [take for take in self.plan.takes if self.can_align(level, take)]
            missing = [take for take in takes if take.number not in self.alignments]
            if number in {take.number for take in missing}:
                self._align(level, self._load_prior(level.level), missing)
        return self.alignments.get(number)

    def can_align(self, level: LevelPlan, take: TakePlan) -> bool:
        config = self.system.prior_config(level.level)
        return config.alignment_layer is not None and bool(take.labels[level.level].lyric_ids)

    def _align(self, level: LevelPlan, prior: PriorNetwork, takes: Sequence[TakePlan]) -> None:
        """Align the lyrics of takes while the prior that reads them is here."""
        for take in takes:
            if not self.with_alignments or not self.can_align(level, take):
                continue
            try:
                self.alignments[take.number] = align_lyrics(
                    prior,
                    self.system.processor(level.level),
                    self.codes[take.number][level.level],
                    take.labels[level.level],
                    total_samples=take.total_samples,
                    offset_samples=take.offset_samples,
                    stride=level.stride,
                )
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
                logger.warning("no room to align the lyrics of take %d: %s", take.number, error)

    def _chains_of(self, key: tuple[int, int]) -> list[Chain]:
        return [Chain(row.run, row.codes) for row in self.chains[key]]

    def _report(
        self,
        level: LevelPlan,
        rows: Sequence[Row],
        records: tuple[WindowRecord, ...],
        seconds: float,
    ) -> WindowReport:
        done = [row.done for row in rows]
        return self.report(level, rows, done, records, seconds)

    def report(
        self,
        level: LevelPlan,
        rows: Sequence[Row],
        done: Sequence[int],
        records: tuple[WindowRecord, ...],
        seconds: float,
    ) -> WindowReport:
        """What is said of a batch when so many codes of every row are there."""
        return WindowReport(
            level=level.level,
            windows=records,
            seconds=seconds,
            codes_done=sum(done),
            codes_total=sum(row.run.length for row in rows),
            level_done=all(n == row.run.length for n, row in zip(done, rows, strict=True)),
        )

    def _progress(
        self,
        level: LevelPlan,
        rows: Sequence[Row],
        batch: Sequence[RowWindow],
        sampler: LevelSampler,
    ) -> Callable[[int], None] | None:
        """What a batch of windows calls with the number of codes that it has of each."""
        on_codes = self.on_codes
        if on_codes is None:
            return None
        before = self._report(level, rows, (), 0.0)

        def progress(count: int) -> None:
            self._under_way = _UnderWay(level.level, batch, sampler, count)
            on_codes(level.level, before.codes_done + count * len(batch), before.codes_total)

        progress(0)
        return progress

    # --- components ---

    @property
    def codec(self) -> VQVAENetwork:
        """The codec, in float32, loaded when first needed; it is small beside a prior."""
        if self._codec is None:
            self._codec = self.system.load_vqvae_network(device=self.device, dtype=torch.float32)
        return self._codec

    def _load_prior(self, level: int) -> PriorNetwork:
        settings, rows = self.plan.settings, self._rows_of_steps(level)
        load = load_for_sampling if self.shelf is None else self.shelf.load
        return load(
            self.system,
            level,
            precision=settings.precision,
            device=self.device,
            packed=settings.backend == "eager",
            float32=self.float32,
            rows=rows if settings.backend == "compiled" or rows == 1 else None,
        )

    def _rows_of_steps(self, level: int) -> int:
        """By the plan alone: processes that divide a level, and a run that goes on, must agree."""
        (plan,) = (one for one in self.plan.levels if one.level == level)
        return plan.rows(self.plan.takes_at(level))

    def _free(self) -> None:
        """Give memory back that nothing holds any more; a prior goes as soon as it is let go of."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        else:
            memory.trim()

    # --- results ---

    def finest_level(self, number: int) -> int | None:
        """The finest level of which a take is complete; None if there is none yet."""
        take = self.plan.take(number)
        for level, hop in enumerate(self.plan.hop_lengths):
            if len(self.codes[number][level]) >= take.num_samples // hop:
                return level
        return None

    def codes_so_far(self, number: int, level: int) -> Tensor:
        """A take's codes (time,) of a level, as in `codes`, and those of the window under way.

        The latter only where the level is not cut into chains, and while `on_codes` is called.
        """
        made, now = self.codes[number][level], self._under_way
        if (number, level) in self.fresh:
            return self.fresh[number, level]
        if now is None or now.level != level or not now.num_codes or (number, level) in self.chains:
            return made
        takes = [row.take for row, _ in now.batch]
        if number not in takes:
            return made
        return now.sampler.under_way(now.batch, now.num_codes)[takes.index(number)]

    def decode(self, number: int, level: int) -> Tensor:
        """Audio (1, samples) float32 of a take's codes at a level, cross-faded at its seams."""
        return decode_joined(self.codec, level, self.joined(number, level))

    def joined(self, number: int, level: int) -> Joined:
        """A take's codes of a level with the chains that they are made of."""
        key = (number, level)
        own = (self._chains_of(key), self.seams[key]) if key in self.seams else None
        return combine(self.codes[number][level], self.given.get(key), own)

    def take_codes(self, number: int) -> Codes:
        """A take's codes, of every level that has some, as a codes file holds them."""
        levels = {level: codes[None] for level, codes in self.codes[number].items() if len(codes)}
        return Codes(
            levels=levels,
            hop_lengths=self.plan.hop_lengths,
            sampling_rate=self.plan.sampling_rate,
            fingerprint=self.system.vqvae_config().codebook_fingerprint,
            origin={
                "source": "jukebox generate",
                "model": self.system.title,
                "seed": str(self.plan.settings.seed),
                "take": str(number),
            },
        )


def decode_joined(codec: VQVAENetwork, level: int, joined: Joined) -> Tensor:
    """Audio (1, samples) float32 of a level's codes, cross-faded at their seams."""
    if not joined.seams:
        return codec.decode(joined.codes[None], level, chunk_seconds=DECODED_SECONDS)[0].cpu()
    parts = (joined.codes, joined.chains, joined.seams)
    return decode_chains(codec, level, *parts, chunk_seconds=DECODED_SECONDS)[None]


def _record(
    entry: RowWindow, rows: Mapping[int, list[Row]], span: tuple[int, int] | None
) -> WindowRecord:
    row, window = entry
    chain = next(index for index, one in enumerate(rows[row.take]) if one is row)
    return WindowRecord(row.take, chain, *window, span)

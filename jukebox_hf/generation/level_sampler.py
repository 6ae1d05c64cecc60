"""Fill one level of several takes with codes, window by window.

Rows (one per take, or one per chain of a take) and what conditions them go in; their codes grow.
Which windows there are is arithmetic of `windows`; what happens for each code is `sampling`'s work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.generation.noise import uniform_noise
from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.generation.windows import Run, Window, run_windows, upper_span
from jukebox_hf.labels import PriorProcessor, ResolvedLabels
from jukebox_hf.prior.conditioning import Conditioning
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.sampling_settings import LevelSettings


class TakePiece(NamedTuple):
    """What a prior is told about one take, and the codes above the ones it makes.

    Attributes:
        labels: as this prior's processor resolved them.
        total_samples: length of the whole song.
        offset_samples: where in the song the take begins.
        upper_codes: (time,) int64, the whole take's codes of the level above; None at the top.
    """

    labels: ResolvedLabels
    total_samples: int
    offset_samples: int
    upper_codes: Tensor | None


@dataclass
class Row:
    """One run of one take's codes while it is being filled.

    Attributes:
        take: number of the take, which its noise depends on.
        run: the codes `[begin, end)` of the take that this row makes.
        codes: (run.length,) int64 on the CPU; the first `done` hold.
        done: how many are there.
        past: (run.past,) int64, codes before the run that its windows see; needed to sample.
        candidate: number among rows of one stretch, which the noise depends on in their place.
    """

    take: int
    run: Run
    codes: Tensor
    done: int
    past: Tensor | None = None
    candidate: int | None = None

    @classmethod
    def start(cls, take: int, run: Run, made: Tensor) -> "Row":
        """A row whose first codes (n,) are there already."""
        codes = torch.zeros(run.length, dtype=torch.int64)
        codes[: len(made)] = made
        return cls(take, run, codes, len(made))


class RowWindow(NamedTuple):
    """The next window of a row."""

    row: Row
    window: Window


def next_batch(rows: Sequence[Row], context: int, stride: int, batch_size: int) -> list[RowWindow]:
    """The windows that are sampled together next; empty when every row is complete.

    Those come first that have had the fewest windows, in the order of the rows; windows go together
    if equally many codes are given and wanted. What comes next follows from the rows alone, so an
    interrupted level goes on with the very batches it would have had.
    """
    upcoming: list[tuple[int, RowWindow]] = []
    for row in rows:
        windows = run_windows(row.run, context, stride, row.done)
        if windows:
            had = len(run_windows(row.run, context, stride)) - len(windows) - (row.run.opening > 0)
            upcoming.append((had, RowWindow(row, windows[0])))
    if not upcoming:
        return []
    fewest = min(had for had, _ in upcoming)
    waiting = [entry for had, entry in upcoming if had == fewest]
    shape = waiting[0].window[1:]
    return [entry for entry in waiting if entry.window[1:] == shape][:batch_size]


class LevelSampler:
    """Samples batches of windows with one prior."""

    def __init__(
        self,
        prior: PriorNetwork,
        processor: PriorProcessor,
        settings: LevelSettings,
        *,
        seed: int,
        pieces: Mapping[int, TakePiece],
        batch_size: int,
        backend: str = "eager",
        float32_between: bool = True,
    ) -> None:
        """`pieces` by number of the take. Allocates buffers for `batch_size` windows at once.

        `backend`, `float32_between`: see `WindowSampler`.
        """
        self.prior = prior
        self.processor = processor
        self.seed = seed
        self.pieces = pieces
        self.sampler = WindowSampler(
            prior, settings, batch_size, backend=backend, float32_between=float32_between
        )

    def sample(
        self, batch: Sequence[RowWindow], on_codes: Callable[[int], None] | None = None
    ) -> list[tuple[int, int] | None]:
        """Fill one window of every row of the batch.

        Returns per row the first and last character of the lyrics that the window could see, or
        None without lyrics.
        """
        given = torch.stack([given_codes(row, window) for row, window in batch])
        noise = torch.stack([self._noise(row, window) for row, window in batch])
        conditioning, spans = self._condition(batch)
        codes = self.sampler.sample(given, noise, conditioning, on_codes).cpu()
        for (row, window), made in zip(batch, codes, strict=True):
            row.codes[row.done : row.done + window.new] = made
            row.done += window.new
        return spans

    def under_way(self, batch: Sequence[RowWindow], count: int) -> list[Tensor]:
        """The codes (time,) of every row of a batch that has `count` codes more than is recorded.

        For `on_codes` to look at while `sample` is at work on that batch.
        """
        fresh = self.sampler.codes_so_far(len(batch), batch[0].window.given, count).cpu()
        return [
            torch.cat([row.codes[: row.done], codes])
            for (row, _), codes in zip(batch, fresh, strict=True)
        ]

    def _noise(self, row: Row, window: Window) -> Tensor:
        return uniform_noise(
            seed=self.seed,
            take=row.candidate or row.take,
            level=self.prior.config.level,
            start=window.start + window.given,
            count=window.new,
        )

    @torch.inference_mode()
    def _condition(
        self, batch: Sequence[RowWindow]
    ) -> tuple[Conditioning, list[tuple[int, int] | None]]:
        config = self.prior.config
        pieces = [self.pieces[row.take] for row, _ in batch]
        known = self.processor.window(
            [piece.labels for piece in pieces],
            total_samples=[piece.total_samples for piece in pieces],
            offset_samples=[
                piece.offset_samples + window.start * config.hop_length
                for piece, (_, window) in zip(pieces, batch, strict=True)
            ],
        )
        device = self.prior.device
        labels, lyrics, upper = known.labels, known.lyric_tokens, None
        if config.is_upsampler:
            upper = torch.stack(
                [
                    self._upper_codes(piece, window)
                    for piece, (_, window) in zip(pieces, batch, strict=True)
                ]
            )
        if self.sampler.settings.rows_per_window == 2:
            assert labels is not None, "guidance is for priors with labels"
            rows = torch.arange(len(batch)).repeat(2)
            labels = labels.select(rows).without_names(torch.arange(len(rows)) >= len(batch))
            lyrics, upper = (None if part is None else part[rows] for part in (lyrics, upper))
        conditioning = self.prior.condition(
            labels=None if labels is None else labels.to(device),
            lyric_tokens=None if lyrics is None else lyrics.to(device),
            upper_codes=None if upper is None else upper.to(device),
        )
        return conditioning, list(known.lyric_spans)

    def _upper_codes(self, piece: TakePiece, window: Window) -> Tensor:
        """The upper codes that a window sees, padded where the piece is shorter than a context.

        A window sees at most as far as its piece goes. The codes after that are never sampled, and
        what stands there reaches back no further than the conditioner's convolutions do: the last
        code is repeated, which says that nothing new begins.
        """
        config = self.prior.config
        assert piece.upper_codes is not None, "an upsampler needs the codes above"
        first, last = upper_span(
            window.start, config.context_length, config.upper_ratio, len(piece.upper_codes)
        )
        seen = piece.upper_codes[first:last]
        missing = config.context_length // config.upper_ratio - len(seen)
        return torch.cat([seen, seen[-1:].expand(missing)])


def given_codes(row: Row, window: Window) -> Tensor:
    """(window.given,) codes of the row or its past, from the window's start on."""
    first = window.start - row.run.begin
    if first >= 0:
        return row.codes[first : first + window.given]
    assert row.past is not None, "a row with a past is given it before it is sampled"
    return torch.cat([row.past[first:], row.codes[: first + window.given]])

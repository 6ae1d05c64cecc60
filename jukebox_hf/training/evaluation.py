"""How good a codec or a prior is on songs that it was not trained on.

Batches of audio or codes go in, results with names come out. With several processes each evaluates
its share of the batches, and all get the result of all.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.codebooks import entropy_nats
from jukebox_hf.vqvae import JukeboxVQVAE
from jukebox_hf.vqvae.codebook import sum_over_processes


class PriorBatch(NamedTuple):
    """Windows of codes and what conditions them, as `JukeboxPrior.forward` takes them."""

    codes: Tensor  # (batch, context_length) int64
    labels: JukeboxLabels | None = None
    lyric_tokens: Tensor | None = None  # (batch, lyric_length) int64
    upper_codes: Tensor | None = None  # (batch, context_length / upper_ratio) int64

    def to(self, device: torch.device) -> "PriorBatch":
        """The same on another device."""
        return PriorBatch(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def conditioning(self) -> dict[str, Tensor | JukeboxLabels | None]:
        """The keyword arguments of `JukeboxPrior.forward`."""
        return {
            "labels": self.labels,
            "lyric_tokens": self.lyric_tokens,
            "upper_codes": self.upper_codes,
        }


class CodecLevelEvaluation(NamedTuple):
    """One level of a codec. Losses are unweighted means over clips, divided by the bandwidth.

    `log_spectral` is in nepers, and not divided.
    """

    waveform: float
    spectral: float
    multispectral: float
    log_spectral: float
    commitment: float
    l1: float
    l2: float
    linf: float
    spectral_convergence: float  # mean over clips of the ratio
    entropy_bits: float  # of all codes of the evaluation; 11 would be even use of 2048 codes
    perplexity: float  # 2 to the power of that: how many codes are in use, in effect
    used_share: float  # of the codebook, that occurs at all

    @property
    def spectral_convergence_db(self) -> float:
        """20 log10 of the mean ratio; lower is better, 0 is as bad as silence."""
        return 20 * math.log10(max(self.spectral_convergence, 1e-10))


class _Usage(NamedTuple):
    """How a codebook is used, in the words of `CodecLevelEvaluation`."""

    entropy_bits: float
    perplexity: float
    used_share: float


# What of a codec's losses and metrics is averaged, by the names they have there.
MEASURED = tuple(name for name in CodecLevelEvaluation._fields if name not in _Usage._fields)


class CodecEvaluation(NamedTuple):
    """A codec on held-out audio; `levels` are finest first."""

    loss: float
    levels: tuple[CodecLevelEvaluation, ...]
    seconds: float  # of audio
    code_counts: Tensor  # (levels, codebook_size): how often each code occurred

    def scalars(self) -> dict[str, float]:
        """Every number by name, for logs: `loss`, `level_0/l2`, ..."""
        found = {"loss": self.loss, "seconds": self.seconds}
        for level, measured in enumerate(self.levels):
            found |= {f"level_{level}/{name}": value for name, value in measured._asdict().items()}
            found[f"level_{level}/spectral_convergence_db"] = measured.spectral_convergence_db
        return found


class PriorEvaluation(NamedTuple):
    """A prior on held-out windows. Lower is better; without context it could do `unigram_bits`."""

    loss: float
    bits_per_code: float
    bits_per_second: float
    unigram_bits: float  # entropy of the evaluated codes: the best that frequencies alone can do
    lyric_bits: float | None  # per lyric symbol
    wrong_label_bits: float | None  # per code, when each window gets the labels of another one
    windows: int

    def scalars(self) -> dict[str, float]:
        """Every number that there is, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@torch.no_grad()
def evaluate_codec(
    codec: JukeboxVQVAE, batches: Iterable[Tensor], *, quantize: bool = True
) -> CodecEvaluation:
    """Reconstruct audio batches (batch, 1, samples) and compare; needs at least one batch.

    `quantize=False` is for a codec whose codebooks have not started yet; its codes then count as
    unused. `ValueError` if there are no batches.
    """
    config = codec.config
    levels, size = config.num_levels, config.codebook_size
    sums = torch.zeros(len(MEASURED), levels, dtype=torch.float32, device=codec.device)
    totals = torch.zeros(3, dtype=torch.float32, device=codec.device)  # loss, clips, seconds
    counts = torch.zeros(levels, size, dtype=torch.int64, device=codec.device)
    with evaluating(codec):
        for audio in batches:
            audio = audio.to(codec.device)
            output = codec(audio, quantize=quantize)
            clips = len(audio)
            measured = {**output.losses._asdict(), **output.metrics._asdict()}
            sums += clips * torch.stack([measured[name].float() for name in MEASURED])
            seconds = clips * audio.shape[-1] / config.sampling_rate
            totals += torch.tensor([clips * output.loss.item(), clips, seconds]).to(totals.device)
            for level, codes in enumerate(output.codes or ()):
                counts[level] += torch.bincount(codes.flatten(), minlength=size)
    sums, totals, counts = (sum_over_processes(part).cpu() for part in (sums, totals, counts))
    loss, clips, seconds = totals.tolist()
    _require(clips)
    means = (sums / clips).t().tolist()
    return CodecEvaluation(
        loss=loss / clips,
        levels=tuple(
            CodecLevelEvaluation(
                **dict(zip(MEASURED, means[level], strict=True)),
                **_usage(counts[level])._asdict(),
            )
            for level in range(levels)
        ),
        seconds=seconds,
        code_counts=counts,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; afterwards in the mode it was in."""
    was_training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was_training)


def _usage(counts: Tensor) -> _Usage:
    entropy = entropy_nats(counts)
    used = float((counts > 0).double().mean())
    return _Usage(entropy / math.log(2), math.exp(entropy) if used else 0.0, used)


@torch.no_grad()
def evaluate_prior(
    prior: JukeboxPrior, batches: Iterable[PriorBatch], *, compare_labels: bool = False
) -> PriorEvaluation:
    """Score windows of codes; needs at least one batch.

    Args:
        prior: in its own device and precision.
        batches: windows of held-out songs.
        compare_labels: for a prior with labels, also score each window with the artist and genre of
            the next window of the batch that has others. Windows of a batch without others count
            for neither side of the comparison.

    Raises:
        ValueError: if there are no batches.
    """
    config = prior.config
    sums = torch.zeros(6, dtype=torch.float32, device=prior.device)
    counts = torch.zeros(config.codebook_size, dtype=torch.int64, device=prior.device)
    with evaluating(prior):
        for batch in batches:
            batch = batch.to(prior.device)
            output = prior(batch.codes, **batch.conditioning())
            windows = len(batch.codes)
            counts += torch.bincount(batch.codes.flatten(), minlength=config.codebook_size)
            lyric_loss = 0.0 if output.lyric_loss is None else float(output.lyric_loss)
            worse, compared = (0.0, 0)
            if compare_labels and batch.labels is not None:
                worse, compared = _cost_of_wrong_labels(prior, batch)
            row = [float(output.loss), float(output.music_loss), lyric_loss, 1.0]
            sums += torch.tensor([*(windows * part for part in row), worse, compared]).to(
                sums.device
            )
    loss, music, lyrics, windows, worse, compared = sum_over_processes(sums).tolist()
    counts = sum_over_processes(counts)
    _require(windows)
    bits_per_code = music / windows
    return PriorEvaluation(
        loss=loss / windows,
        bits_per_code=bits_per_code,
        bits_per_second=bits_per_code * config.sampling_rate / config.hop_length,
        unigram_bits=entropy_nats(counts) / math.log(2),
        lyric_bits=None if config.lyrics == "none" else lyrics / windows,
        wrong_label_bits=bits_per_code + worse / compared if compared else None,
        windows=round(windows),
    )


def _cost_of_wrong_labels(prior: JukeboxPrior, batch: PriorBatch) -> tuple[float, int]:
    """How many more bits per code windows take with wrong labels than with their own.

    Returns the sum over windows, and how many windows there are with other labels in the batch.
    """
    assert batch.labels is not None
    names = torch.cat([batch.labels.artist[:, None], batch.labels.genres], dim=1)
    order = torch.arange(len(names), device=names.device)
    other = order.clone()
    for distance in range(len(names) - 1, 0, -1):
        neighbour = (order + distance) % len(names)
        other = torch.where((names[neighbour] != names).any(dim=1), neighbour, other)
    keep = (other != order).nonzero().squeeze(1)
    if not len(keep):
        return 0.0, 0
    own = PriorBatch(*(None if part is None else _rows(part, keep) for part in batch))  # type: ignore[arg-type]
    wrong = batch.labels._replace(
        artist=batch.labels.artist[other], genres=batch.labels.genres[other]
    ).select(keep)
    right_bits, wrong_bits = (
        float(prior(own.codes, **{**own.conditioning(), "labels": labels}).music_loss)
        for labels in (own.labels, wrong)
    )
    return (wrong_bits - right_bits) * len(keep), len(keep)


def _rows(part: Tensor | JukeboxLabels, rows: Tensor) -> Tensor | JukeboxLabels:
    return part.select(rows) if isinstance(part, JukeboxLabels) else part[rows]


def _require(examples: float) -> None:
    if not examples:
        raise ValueError(
            "there is nothing to evaluate on: no songs are long enough, or none are held out"
        )

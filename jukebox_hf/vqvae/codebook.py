"""The codebook of one level: nearest code, moving-average update, revival of dead codes.

Latents (batch, time, codebook_dim) go in; codes (batch, time) and the vectors of these codes come
out. Making latents from audio is `modeling_vqvae`'s work.

Vector quantization is from van den Oord et al. 2017 (arXiv:1711.00937; moving averages in its
appendix A.1), as in Razavi et al. 2019 (arXiv:1906.00446); random restarts of unused codes are from
Dhariwal et al. 2020 (arXiv:2005.00341), section 3.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from jukebox_hf.precision import Float32Module, exact_float32

# Numbers in one table of distances: 64 MiB of float32, however long the audio.
MAX_DISTANCES = 2**24
MAX_DISTANCES_ON_CPU = 2**18  # 1 MiB, which stays in a core's own cache
RESTART_NOISE = (
    0.01  # standard deviation of the noise on repeated latents, times sqrt(codebook_dim)
)


class CodebookMetrics(NamedTuple):
    """What one training step saw of a codebook: scalars without gradient, left on their device."""

    entropy: Tensor  # of the codes of this batch, over all processes (nats)
    used_codes: Tensor  # codes that this batch used at least `revival_threshold` times
    alive_codes: Tensor  # codes whose average use is at least `revival_threshold`
    fit: Tensor  # mean squared distance of latents to their codes' vectors, this process
    prenorm: Tensor  # root mean square of the latents around their mean, this process
    change: Tensor  # root mean square of how much the vectors moved in this step


class Quantized(NamedTuple):
    """Codes and their vectors."""

    codes: Tensor  # (batch, time) int64
    vectors: Tensor  # (batch, time, codebook_dim) float32, without gradient
    metrics: CodebookMetrics | None = None  # of a training step


class Codebook(Float32Module):
    """`codebook_size` vectors, and the moving averages that they follow in training.

    Always float32. Vectors are random until the first training batch replaces them by its latents;
    vectors that were loaded are never replaced so, because `initialized` is saved with them.

    Buffers:
        vectors: (codebook_size, codebook_dim), one row per code.
        sums: (codebook_size, codebook_dim), moving average of the sum of each code's latents.
        counts: (codebook_size,), moving average of how many latents each code had per step. All
            zero means never collected: the first training batch assumes even use (`restore`).
        initialized: whether `vectors` mean anything, a bool.
    """

    vectors: Tensor
    sums: Tensor
    counts: Tensor
    initialized: Tensor

    def __init__(
        self, codebook_size: int, codebook_dim: int, *, decay: float, revival_threshold: float
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.decay = decay
        self.revival_threshold = revival_threshold
        table = torch.zeros(codebook_size, codebook_dim, dtype=torch.float32)
        self.register_buffer("vectors", nn.init.normal_(table))
        self.register_buffer("sums", torch.zeros(table.shape, dtype=torch.float32))
        self.register_buffer("counts", torch.zeros(codebook_size, dtype=torch.float32))
        self.register_buffer("initialized", torch.tensor(False))
        self._ready = False  # spares every training step after the first a wait for the device

    def forward(
        self,
        latents_or_codes: Tensor,
        *,
        learn: bool = False,
        generator: torch.Generator | None = None,
        codes: Tensor | None = None,
    ) -> Quantized:
        """Quantize latents (batch, time, codebook_dim), or look up codes (batch, time).

        With `learn` the latents also move the codebook: all processes must then take part. Codes
        and vectors returned are those before the move. `generator` draws the restarts. `codes`
        (batch, time) of these latents are not looked for again, if they are known already and the
        codebook has not moved since.

        Both ways are in `forward`, because offloaded buffers are present only while it runs.
        """
        if not latents_or_codes.is_floating_point():
            return Quantized(latents_or_codes, F.embedding(latents_or_codes, self.vectors))
        with exact_float32(latents_or_codes.device):
            latents = latents_or_codes.detach().float()
            rows = latents.reshape(-1, self.codebook_dim)
            if learn:
                self._prepare(rows, generator)
            codes = self.nearest(rows)[0] if codes is None else codes.reshape(-1)
            vectors = F.embedding(codes, self.vectors).view_as(latents)
            metrics = self._learn(rows, codes, generator) if learn else None
        return Quantized(codes.view(latents.shape[:-1]), vectors, metrics)

    def nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(n, codebook_dim) float32 -> the nearest code of each row and its squared distance, (n,).

        Of codes equally near, the first. Distances are expanded as
        `|row|^2 - 2 row . vector + |vector|^2`, in this order, which decides near ties.
        """
        transposed = self.vectors.t()
        squared_norms = (transposed**2).sum(dim=0, keepdim=True)
        found = []
        for part in self._parts(rows):
            distances = 2 * part @ transposed
            torch.sub((part**2).sum(dim=-1, keepdim=True), distances, out=distances)
            found.append(distances.add_(squared_norms).min(-1))
        return torch.cat([part.indices for part in found]), torch.cat([p.values for p in found])

    @torch.no_grad()
    def restore(self, latents_per_step: float | None = None) -> None:
        """Start the averages anew from the vectors alone, as if all codes had been used evenly.

        `latents_per_step` is how many latents one training step quantizes, over all processes;
        without it, each code counts as used once. What continues training from a checkpoint that
        holds vectors only, as the released ones do; from ours nothing needs to be restored.
        """
        count = 1.0 if latents_per_step is None else latents_per_step / self.codebook_size
        self.counts.fill_(count)
        self.sums.copy_(self.vectors * count)
        self.initialized.fill_(True)
        self._ready = True

    def restart_candidates(self, rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One latent per code, drawn without repetition from those of all processes.

        (n, codebook_dim) latents of this process -> (codebook_size, codebook_dim), equal in all
        processes. Where there are fewer latents than codes they repeat, with a little noise.
        """
        rank, processes = process_rank_and_count()
        own = len(rows)
        row_counts = [own]
        if processes > 1:
            mine = F.one_hot(torch.tensor(rank, device=rows.device), processes) * own
            row_counts = sum_over_processes(mine).tolist()
        total, before = sum(row_counts), sum(row_counts[:rank])
        copies = math.ceil(self.codebook_size / total)

        # All processes draw, so that their generators stay in step; the first one's draw counts.
        device = rows.device if generator is None else generator.device
        drawn = torch.randperm(total * copies, generator=generator, device=device)
        sources = drawn[: self.codebook_size].to(rows.device) % total
        sources = sum_over_processes(sources * (rank == 0)) - before
        is_own = (sources >= 0) & (sources < own)
        candidates = rows[sources.clamp(0, own - 1)] * is_own[:, None]
        if copies > 1:
            noise = torch.randn(self.vectors.shape, generator=generator, device=device)
            scale = RESTART_NOISE / math.sqrt(self.codebook_dim) * (rank == 0)
            candidates = candidates + scale * noise.to(rows.device)
        return sum_over_processes(candidates)

    def _parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """`rows` cut so that one part's table of distances to all codes stays small."""
        limit = MAX_DISTANCES_ON_CPU if rows.device.type == "cpu" else MAX_DISTANCES
        return torch.split(rows, max(1, limit // self.codebook_size))

    @torch.no_grad()
    def _prepare(self, rows: Tensor, generator: torch.Generator | None) -> None:
        """Before the first training step: take vectors from the batch, or averages from vectors."""
        if self._ready:
            return
        if not bool(self.initialized):
            candidates = self.restart_candidates(rows, generator)
            finite = sum_over_processes((~rows.isfinite()).sum()) == 0
            self.vectors.copy_(torch.where(finite, candidates, self.vectors))
            self.sums.copy_(self.vectors)
            self.counts.fill_(1.0)
            self.initialized.copy_(finite)
        elif not bool(self.counts.any()):
            own = torch.tensor(len(rows), device=rows.device)
            self.restore(int(sum_over_processes(own)))
        self._ready = bool(self.initialized)

    @torch.no_grad()
    def _learn(
        self, rows: Tensor, codes: Tensor, generator: torch.Generator | None
    ) -> CodebookMetrics:
        """Move the averages towards this batch, the vectors to the averages, dead codes elsewhere.

        A batch with a latent that is not finite (an overflow in 16 bits) changes nothing.
        """
        restarts = self.restart_candidates(rows, generator)
        totals = sum_over_processes(self._totals(rows, codes))
        batch_sums, batch_counts = totals[:, :-1], totals[:, -1]
        sums = self.decay * self.sums + (1 - self.decay) * batch_sums
        counts = self.decay * self.counts + (1 - self.decay) * batch_counts
        fit = (rows - F.embedding(codes, self.vectors)).square().sum(dim=-1).mean()
        alive = (counts >= self.revival_threshold) & (counts > 0)
        vectors = torch.where(alive[:, None], sums / counts[:, None], restarts)
        change = (vectors - self.vectors).norm() / math.sqrt(vectors.numel())

        finite = batch_sums.isfinite().all()
        for buffer, new in ((self.vectors, vectors), (self.sums, sums), (self.counts, counts)):
            buffer.copy_(torch.where(finite, new, buffer))

        shares = batch_counts / batch_counts.sum()
        return CodebookMetrics(
            entropy=-(shares * (shares + 1e-8).log()).sum(),
            used_codes=(batch_counts >= self.revival_threshold).sum(),
            alive_codes=alive.sum(),
            fit=fit,
            prenorm=(rows - rows.mean()).norm() / math.sqrt(rows.numel()),
            change=change,
        )

    def _totals(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Sum (first columns) and number (last column) of each code's rows.

        As matrix products with one-hot codes, because scattered additions on a GPU add in an order
        that changes from run to run.
        """
        totals = rows.new_zeros(self.codebook_size, self.codebook_dim + 1)
        for part, part_codes in zip(self._parts(rows), self._parts(codes), strict=True):
            one_hot = rows.new_zeros(len(part), self.codebook_size)
            one_hot.scatter_(1, part_codes[:, None], 1.0)
            totals[:, :-1] += one_hot.t() @ part
            totals[:, -1] += one_hot.sum(dim=0)
        return totals

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._ready = False
        if f"{prefix}vectors" in state_dict and f"{prefix}initialized" not in state_dict:
            self.initialized.fill_(True)  # vectors alone: keep them, and count anew
            self.counts.zero_()


def codebook_fingerprint(tables: Iterable[Tensor]) -> str:
    """ "sha256:..." of codebooks' float32 little-endian bytes, level after level."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(table.detach().to("cpu", torch.float32).numpy().astype("<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"


def process_rank_and_count() -> tuple[int, int]:
    """This process among those that train together; (0, 1) alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors; with one process, `tensor` itself."""
    if process_rank_and_count()[1] == 1:
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total

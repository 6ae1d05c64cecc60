"""Choosing codes: from logits to a token, and from the given codes of a window to all of them.

Logits (batch, vocabulary) and one uniform number per item go in, tokens come out. Everything that
happens per code happens over static buffers without waiting for the device; which windows there are
is the business of `windows`, what conditions them that of `level_sampler`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from jukebox_hf.generation.backends import Step, StepState, make_backend
from jukebox_hf.prior.bound_steps import BoundSteps, can_bind
from jukebox_hf.prior.conditioning import Conditioning
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.quantization import compile_options
from jukebox_hf.sampling_settings import LevelSettings

PREFILLED_AT_ONCE = 2048  # positions, on a CPU
CODES_PER_REPORT = 16  # how often a window says how far it is


def filter_logits(
    logits: Tensor, *, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits (..., vocabulary) with what must not be chosen at -inf.

    Top-k removes what lies strictly below the k-th largest logit. Top-p removes every token whose
    likelier ones already exceed probability `top_p`, so the likeliest always stays.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest_kept = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest_kept, -torch.inf)
    if top_p is not None:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = functional.pad(ordered.softmax(dim=-1).cumsum(dim=-1)[..., :-1], (1, 0))
        removed = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(removed, -torch.inf)
    return logits


def guide_logits(logits: Tensor, guidance: float) -> Tensor:
    """Logits (2 x batch, vocabulary) with names, then without, to guided ones (batch, vocabulary).

    With `guidance` 1 they are those with names, with 0 those without; beyond 1, what is likelier
    with the names becomes likelier still.
    """
    named, nameless = logits.chunk(2)
    return torch.lerp(nameless, named, guidance)


def choose_tokens(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of each item's cumulative distribution at its uniform number.

    A token of probability zero is never chosen, whatever rounding does to the cumulative sum.

    Args:
        logits: (batch, vocabulary) float32.
        uniform: (batch,) float32 in [0, 1).

    Returns:
        (batch,) int64 tokens, and (batch,) bool: whether the logits were numbers at all.
    """
    probabilities = logits.softmax(dim=-1)
    if logits.device.type == "cpu" and not torch.compiler.is_compiling():
        return _search(probabilities.cumsum(dim=-1), uniform)
    # Where the probability is zero the sum cannot be exceeded: there is nothing to choose. (A
    # parallel sum need not be monotone, so comparing with the last entry would not be enough.)
    cumulative = probabilities.cumsum(dim=-1).masked_fill(probabilities == 0, 0.0)
    total = cumulative.amax(dim=-1)
    # At most (1 - 2**-24) * total, which float32 always rounds to less than `total`.
    exceeds = cumulative > (uniform * total).unsqueeze(-1)
    return exceeds.to(torch.int32).argmax(dim=-1), total > 0


def _search(cumulative: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """`choose_tokens` where sums are taken one after the other, as a CPU does, and never fall.

    Then the last is the total, and a token of probability zero exceeds nothing that the one before
    it does not; the first that does is found without looking at all of them.
    """
    total = cumulative[:, -1]
    # Numbers that are none exceed nothing: the search would end behind the last token.
    chosen = torch.searchsorted(cumulative, (uniform * total).unsqueeze(-1), right=True)
    return chosen.squeeze(-1).clamp_(max=cumulative.shape[-1] - 1), total > 0


class WindowSampler:
    """Samples windows of one prior over buffers allocated once, for any batch up to a size.

    One code at a time: choose a token from the logits, write it down, step the prior. The position
    lives on the device and advances in place, so nothing in the loop waits for a result.
    """

    def __init__(
        self,
        prior: PriorNetwork,
        settings: LevelSettings,
        batch_size: int,
        *,
        backend: str = "eager",
        float32_between: bool = True,
    ) -> None:
        """`batch_size`: of windows. `backend`: how steps run, see `devices.BACKENDS`.

        `float32_between`: on a CPU eager steps are float32 between layers of 16, 8 or 4 bits, which
        is sooner; False: all is in the layers' own type, as it was in sessions begun before.

        Raises what the device raises when it has no room.
        """
        config = prior.config
        device = prior.device
        self.prior = prior
        self.settings = settings
        self.float32_between = float32_between
        self.batch_size = batch_size
        rows = batch_size * settings.rows_per_window
        self.buffers = StepState(
            tokens=torch.zeros(rows, config.context_length, dtype=torch.int64, device=device),
            uniform=torch.zeros(rows, config.context_length, device=device),
            logits=torch.zeros(rows, config.vocabulary_size, device=device),
            healthy=torch.ones(rows, dtype=torch.bool, device=device),
            position=torch.zeros(1, dtype=torch.int64, device=device),
            positions=None,
            cache=prior.new_cache(rows),
        )
        self.lyric_symbols = _lyric_symbols(prior).to(device) if settings.codes_only else None
        options = compile_options(prior)
        self.backend = make_backend(backend, self._make_step(backend), device, options)

    @torch.inference_mode()
    def sample(
        self,
        given: Tensor,
        uniform: Tensor,
        conditioning: Conditioning,
        on_codes: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Sample the codes of one window after the given ones.

        Args:
            given: (batch, n) codes from the start of the window on; n may be 0.
            uniform: (batch, new) float32, the noise of the codes to be sampled.
            conditioning: of this window, from `prior.condition`; with guidance of all windows, and
                then of the same without names (`JukeboxLabels.without_names`).
            on_codes: called now and then with the number of codes sampled so far.

        Returns:
            (batch, new) int64 codes.

        Raises:
            ValueError: if the codes do not fit the context of the prior, or the batch the buffers;
                if the prior yields logits that are no numbers, as float16 can make them.
        """
        batch, first = given.shape
        new = uniform.shape[1]
        length = self.buffers.tokens.shape[1]
        if not (0 < batch <= self.batch_size and 0 < new <= length - first):
            raise ValueError(
                f"a window of {length} codes and buffers for {self.batch_size} takes "
                f"cannot hold {batch} takes with {first} given and {new} new codes"
            )
        copies = self.settings.rows_per_window
        state = self.backend.prepare(self._narrow(batch * copies, conditioning))
        tokens = self.prior.to_tokens(given.to(state.tokens.device)).repeat(copies, 1)
        state.healthy.fill_(True)
        state.tokens[:, :first] = tokens
        state.uniform[:batch, first : first + new] = uniform.to(state.uniform.device)
        state.position.fill_(first)
        self._prefill(tokens, conditioning, state)
        for done in range(0, new - 1, CODES_PER_REPORT):
            if done and on_codes is not None:
                on_codes(done)
            self.backend.run(state, min(CODES_PER_REPORT, new - 1 - done))
        choose_at_position(state, self.settings, self.lyric_symbols)
        if not bool(state.healthy.all()):
            raise ValueError(
                f"the prior of level {self.prior.config.level} yields logits that are not numbers "
                f"in {self.prior.decoder.dtype}; use --precision float32 (or bfloat16)"
            )
        return self.prior.to_codes(state.tokens[:batch, first : first + new])

    def _prefill(self, tokens: Tensor, conditioning: Conditioning, state: StepState) -> None:
        """Take given tokens (rows, n) into the state, on a CPU some rows at a time.

        There it is no slower, and what is computed meanwhile takes no more memory for more rows.
        """
        rows = len(tokens)
        at_once = rows
        if tokens.device.type == "cpu":
            at_once = min(max(PREFILLED_AT_ONCE // self.prior.config.sequence_length, 1), rows)
        for first in range(0, rows, at_once):
            end = min(first + at_once, rows)
            own = conditioning.select(slice(first, end))
            cache = state.cache.rows(first, end)
            state.logits[first:end] = self.prior.prefill(tokens[first:end], own, cache)

    def codes_so_far(self, batch: int, first: int, count: int) -> Tensor:
        """The first `count` codes of a window that is being sampled after `first` given ones.

        For `on_codes` to look at; (batch, count) int64.
        """
        return self.prior.to_codes(self.buffers.tokens[:batch, first : first + count])

    def _make_step(self, backend: str = "") -> Step:
        """What happens for one code, as a function of nothing but the state."""
        prior, settings, lyric_symbols = self.prior, self.settings, self.lyric_symbols
        if backend == "eager" and can_bind(prior, float32_between=self.float32_between):
            return self._make_bound_step()

        def step(state: StepState) -> None:
            choose_at_position(state, settings, lyric_symbols)
            last = state.tokens.index_select(1, state.position).squeeze(1)
            state.position.add_(1)
            given = Conditioning(None, state.positions, None, None)
            state.logits.copy_(prior.step(last, state.position, given, state.cache))

        return step

    def _make_bound_step(self) -> Step:
        """The same on a CPU, where numbers need no tensor and nothing waits for a device."""
        prior, settings, lyric_symbols = self.prior, self.settings, self.lyric_symbols
        bound: dict[int, BoundSteps] = {}

        def step(state: StepState) -> None:
            rows = len(state.tokens)
            if rows not in bound:  # every batch size has its own views of the same buffers
                bound[rows] = BoundSteps(prior, state.cache)
            tokens = choose_at_position(state, settings, lyric_symbols)
            position = int(state.position) + 1
            state.position.fill_(position)
            bound[rows].step(tokens, position, state.positions, state.logits)

        return step

    def _narrow(self, rows: int, conditioning: Conditioning) -> StepState:
        """The first `rows` of every buffer; views, so nothing is allocated."""
        whole = self.buffers
        return StepState(
            tokens=whole.tokens[:rows],
            uniform=whole.uniform[:rows],
            logits=whole.logits[:rows],
            healthy=whole.healthy[:rows],
            position=whole.position,
            positions=conditioning.positions,
            cache=whole.cache.first_rows(rows),
        )


def choose_at_position(
    state: StepState, settings: LevelSettings, lyric_symbols: Tensor | None
) -> Tensor:
    """Write the token at `position`, chosen from the logits with the noise of that position.

    Returns the tokens (rows,), a guided one twice.

    `lyric_symbols`: (vocabulary_size,) bool, tokens that must not be chosen.
    """
    copies = settings.rows_per_window
    logits = state.logits if copies == 1 else guide_logits(state.logits, settings.guidance)
    logits = logits / settings.temperature
    if lyric_symbols is not None:
        logits = logits.masked_fill(lyric_symbols, -torch.inf)
    logits = filter_logits(logits, top_k=settings.top_k, top_p=settings.top_p)
    uniform = state.uniform[: len(logits)].index_select(1, state.position).squeeze(1)
    tokens, healthy = choose_tokens(logits, uniform)
    if copies > 1:
        tokens, healthy = tokens.repeat(copies), healthy.repeat(copies)
    state.tokens.index_copy_(1, state.position, tokens.unsqueeze(1))
    state.healthy.logical_and_(healthy)
    return tokens


def _lyric_symbols(prior: PriorNetwork) -> Tensor:
    """(vocabulary,) bool: which tokens are lyric symbols rather than codes."""
    config = prior.config
    tokens = torch.arange(config.vocabulary_size)
    return tokens < config.vocabulary_size - config.codebook_size

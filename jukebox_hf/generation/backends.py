"""How the steps of a window run: eagerly, compiled, or as CUDA graphs of several steps.

A step is a function of a `StepState`: it reads and writes the state's buffers, waits for nothing
and returns nothing. What a step does is the business of `sampling`.
"""

import logging
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.generation.devices import check_backend
from jukebox_hf.generation.memory import is_out_of_memory
from jukebox_hf.prior.step_buffers import PriorCache

logger = logging.getLogger(__name__)

STEPS_PER_GRAPH = 8  # fewer launches per code; more would only make capturing slower
WARM_UP_STEPS = 2
EQUAL_WITHIN = 0.05  # of the logits' spread: what 16 bit may differ by


class StepState(NamedTuple):
    """What a step reads and writes.

    tokens: (batch, context_length) int64, the window so far.
    uniform: (batch, context_length) float32, the noise of every position.
    logits: (batch, vocabulary_size) float32, of the code at `position`.
    healthy: (batch,) bool, whether all logits so far were numbers.
    position: (1,) int64, of the code that is chosen next.
    positions: (batch, context_length, width) float32, what conditions each position, or None.
    cache: the keys and values of the positions before.
    """

    tokens: Tensor
    uniform: Tensor
    logits: Tensor
    healthy: Tensor
    position: Tensor
    positions: Tensor | None
    cache: PriorCache


Step = Callable[[StepState], None]


class EagerBackend:
    """One step after the other, operation by operation."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def prepare(self, state: StepState) -> StepState:
        """The state to work on, before its window is begun; what it holds may be overwritten."""
        return state

    def run(self, state: StepState, count: int) -> None:
        """Take `count` steps."""
        for _ in range(count):
            self.step(state)


class CompiledBackend(EagerBackend):
    """Steps compiled as a whole, once per batch size. The first one takes a minute or more.

    Packed 16-bit weights cannot be compiled: such a prior must not have been `pack`ed. For few
    windows on a CPU that is no loss: the compiler's own product, `kernels.row_product`, is faster.
    """

    def __init__(
        self,
        step: Step,
        *,
        compiler: str = "inductor",
        options: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        """Compiles nothing yet.

        Args:
            step: what is compiled.
            compiler: of those that torch knows; "eager" only records operations, for tests.
            options: for the compiler, as `torch.compile` takes them.
        """
        # Counted per code object, compilations end after eight: every backend has its own.
        own = types.FunctionType(
            step.__code__.replace(), step.__globals__, closure=step.__closure__
        )
        # A prior does not change while it samples: before every step only the shapes of tensors are
        # looked at, not the attributes of a thousand modules (5 % of a step of 24 layers).
        given: dict[str, str | int | bool | Callable[..., Any]] = {
            "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe,
            **(options or {}),
        }
        super().__init__(
            torch.compile(own, fullgraph=True, dynamic=False, backend=compiler, options=given)
        )


class GraphBackend(CompiledBackend):
    """CUDA graphs of several compiled steps, one graph per batch size.

    A graph replays with fixed addresses: states of one batch size must be views of the same
    buffers, and what conditions a window is copied into a buffer that stays.

    Every graph is first compared with eager steps. Where steps cannot be compiled or captured, or
    come out otherwise, they run eagerly, and a warning says so; the codes are the same.

    Not run on a GPU yet.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._eager: EagerBackend = EagerBackend(step)
        self._works = True
        self._states: dict[int, StepState] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def prepare(self, state: StepState) -> StepState:
        """See `EagerBackend`; captures the graph of a batch size when it is first met."""
        batch = len(state.tokens)
        if self._works and batch not in self._graphs:
            try:
                self._add_graph(batch, state)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                logger.warning("steps cannot run as CUDA graphs here, they run eagerly: %s", error)
                self._works = False
                self._states.clear()
                self._graphs.clear()
        if not self._works:
            return state
        kept = self._states[batch]
        if state.positions is not None:
            assert kept.positions is not None, "windows of one prior are conditioned alike"
            kept.positions.copy_(state.positions)
        return kept

    def _add_graph(self, batch: int, state: StepState) -> None:
        if state.tokens.shape[1] <= 1 + WARM_UP_STEPS + STEPS_PER_GRAPH:
            raise RuntimeError("the context is too short")
        own = None if state.positions is None else state.positions.clone()
        kept = state._replace(positions=own)
        graph = self._capture(kept)
        if not _runs_alike(self._eager, graph, kept):
            raise RuntimeError("other logits than those of eager steps came out")
        self._states[batch], self._graphs[batch] = kept, graph

    def _capture(self, state: StepState) -> torch.cuda.CUDAGraph:
        """A graph of steps on that state; leaves the state some codes after the window's start."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compiles, and lets libraries allocate what they need
            state.position.fill_(1)
            for _ in range(WARM_UP_STEPS):
                self.step(state)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(STEPS_PER_GRAPH):
                self.step(state)
        return graph

    def run(self, state: StepState, count: int) -> None:
        """See `EagerBackend`."""
        if not self._works:
            self._eager.run(state, count)
            return
        graph = self._graphs[len(state.tokens)]
        for _ in range(count // STEPS_PER_GRAPH):
            graph.replay()
        super().run(state, count % STEPS_PER_GRAPH)


def _runs_alike(eager: EagerBackend, graph: torch.cuda.CUDAGraph, state: StepState) -> bool:
    """Whether a graph's steps and eager ones lead from this state to the same one.

    The noise is 0 meanwhile: rounding must not decide between two codes.
    """
    state.uniform.zero_()
    before = state.tokens.clone(), state.logits.clone(), state.position.clone()
    after = []
    runs: list[Callable[[], Any]] = [lambda: eager.run(state, STEPS_PER_GRAPH), graph.replay]
    for run in runs:
        for buffer, value in zip((state.tokens, state.logits, state.position), before, strict=True):
            buffer.copy_(value)
        for layer in state.cache.layers:  # rows that it keeps for a while are written over
            layer.both.zero_()
        run()
        after.append((state.tokens.clone(), state.logits.clone(), state.position.clone()))
    (tokens, expected, position), (other_tokens, found, other_position) = after
    error = (found - expected).norm()
    return (
        torch.equal(tokens, other_tokens)
        and torch.equal(position, other_position)
        and bool(error <= EQUAL_WITHIN * (expected - expected.mean()).norm())
    )


def make_backend(
    name: str,
    step: Step,
    device: torch.device,
    options: Mapping[str, str | int | bool] | None = None,
) -> EagerBackend:
    """The backend of that name for a step; `ValueError` if there is none on this device.

    `options`: for the compiler, of steps on a CPU.
    """
    check_backend(name, device)
    if name == "compiled":
        return CompiledBackend(step, options=options)
    kinds: dict[str, type[EagerBackend]] = {"eager": EagerBackend, "graph": GraphBackend}
    return kinds[name](step)

"""How the steps of a window run: eagerly, compiled, or as CUDA graphs of several steps.

A step is a function of a `StepState`: it reads and writes the state's buffers, waits for nothing
and returns nothing. What a step does is the business of `sampling`.
"""

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.generation.devices import check_backend
from jukebox_hf.prior.attention import PriorCache

STEPS_PER_GRAPH = 8  # fewer launches per code; more would only make capturing slower
WARM_UP_STEPS = 2


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

    Packed 16-bit weights cannot be compiled: such a prior must not have been `pack`ed. For one
    window on a CPU that is no loss: the compiler's own product, `attention.row_product`, is faster.
    """

    def __init__(self, step: Step, *, compiler: str = "inductor") -> None:
        """`compiler`: of those that torch knows; "eager" only records operations, for tests."""
        # Counted per code object, compilations end after eight: every backend has its own.
        own = types.FunctionType(
            step.__code__.replace(), step.__globals__, closure=step.__closure__
        )
        # A prior does not change while it samples: before every step only the shapes of tensors are
        # looked at, not the attributes of a thousand modules (5 % of a step of 24 layers).
        options: dict[str, str | int | bool | Callable[..., Any]] = {
            "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe
        }
        super().__init__(
            torch.compile(own, fullgraph=True, dynamic=False, backend=compiler, options=options)
        )


class GraphBackend(CompiledBackend):
    """CUDA graphs of several compiled steps, one graph per batch size.

    A graph replays with fixed addresses: states of one batch size must be views of the same
    buffers, and what conditions a window is copied into a buffer that stays.

    Not run on a GPU yet.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._states: dict[int, StepState] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def prepare(self, state: StepState) -> StepState:
        """See `EagerBackend`; captures the graph of a batch size when it is first met."""
        batch = len(state.tokens)
        if batch not in self._graphs:
            own = None if state.positions is None else state.positions.clone()
            self._states[batch] = state._replace(positions=own)
            self._graphs[batch] = self._capture(self._states[batch])
        elif state.positions is not None:
            kept = self._states[batch].positions
            assert kept is not None, "windows of one prior are conditioned alike"
            kept.copy_(state.positions)
        return self._states[batch]

    def _capture(self, state: StepState) -> torch.cuda.CUDAGraph:
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
        graph = self._graphs[len(state.tokens)]
        for _ in range(count // STEPS_PER_GRAPH):
            graph.replay()
        super().run(state, count % STEPS_PER_GRAPH)


def make_backend(name: str, step: Step, device: torch.device) -> EagerBackend:
    """The backend of that name for a step; `ValueError` if there is none on this device."""
    check_backend(name, device)
    kinds = {"eager": EagerBackend, "compiled": CompiledBackend, "graph": GraphBackend}
    return kinds[name](step)

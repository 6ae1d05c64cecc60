"""Priors that stay loaded from one piece to the next, for who makes many: a page, a script.

A model, a level and a precision go in, a prior comes out, read from disk only if it is not there.
"""

import torch

from jukebox_hf.generation import memory
from jukebox_hf.generation.weights import load_for_sampling
from jukebox_hf.hub.system import System
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.sizes import Float32Products


class PriorShelf:
    """Holds priors while there is room: loading one takes longer than a second of small music."""

    def __init__(self) -> None:
        self._priors: dict[tuple[object, ...], PriorNetwork] = {}

    def load(
        self,
        system: System,
        level: int,
        *,
        precision: str,
        device: torch.device,
        packed: bool,
        float32: Float32Products = "plain",
        rows: int | None = None,
    ) -> PriorNetwork:
        """As `load_for_sampling`; a prior that does not fit beside the others replaces them."""
        key = (system, level, precision, device, packed, float32, rows)
        if key not in self._priors:
            needed = memory.prior_memory(system.prior_config(level), precision, device).total(1)
            if needed > memory.available_memory(device) * memory.USED_SHARE:
                self.clear()
            self._priors[key] = load_for_sampling(
                system,
                level,
                precision=precision,
                device=device,
                packed=packed,
                float32=float32,
                rows=rows,
            )
        return self._priors[key]

    def clear(self) -> None:
        """Let all of them go."""
        self._priors.clear()

"""Where models run and in which precision: fixed rules, so that a session can be repeated."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from jukebox_hf.generation.choices import BACKENDS

# Also on CUDA, until graphs have run on a GPU: what nobody has run is for those who ask for it.
DEFAULT_BACKEND = "eager"
ONE_THREAD_WIDTH = 512  # narrower priors sample with one thread on a CPU


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises `ValueError` for one that this machine does not have.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda or mps, got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"this machine has no CUDA device that torch {torch.__version__} can use; "
            "choose --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("this machine has no MPS device; choose --device cpu or auto")
    return device


def default_precision(device: torch.device) -> str:
    """The precision of the priors on a device where nothing else is asked for.

    float16 on CUDA, as the released samples were made; float32 elsewhere. Never decided by timing:
    the same machine makes the same music.
    """
    return "float16" if device.type == "cuda" else "float32"


def check_backend(backend: str, device: torch.device) -> None:
    """Raise `ValueError` for a backend that does not exist, or not on this device."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "graph" and device.type != "cuda":
        raise ValueError(
            f"backend graph needs a CUDA device, and this is {device.type}; use eager or compiled"
        )


@contextmanager
def sampling_threads(device: torch.device, width: int) -> Iterator[None]:
    """Within it, a prior of that width is sampled by as many threads as are of use.

    Narrower than `ONE_THREAD_WIDTH`, by one: the operations of a step are so short that threads
    gain little on an idle CPU, and wait for each other most of the time on a busy one.
    """
    before = torch.get_num_threads()
    if device.type != "cpu" or width >= ONE_THREAD_WIDTH or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

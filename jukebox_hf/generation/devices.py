"""Where models run and in which precision: fixed rules, so that a session can be repeated."""

import torch

# What a step runs as; recorded with a session. Code for code they are the same.
BACKENDS = ("eager",)


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


def default_backend(device: torch.device) -> str:
    """How a step runs on a device where nothing else is asked for."""
    return "eager"

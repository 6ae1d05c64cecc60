"""Several processes that share one command: starting them, and what each is told.

`--num-processes` starts copies of this command on this machine; `accelerate launch` and torchrun do
the same their own way. Accelerate and torch.distributed appear here, and the library gets plain
numbers and a function to wait with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from jukebox_hf.generation.session_work import Crew

Function = TypeVar("Function", bound=Callable[..., Any])

PATIENCE = timedelta(days=30)  # a level may take hours, and processes wait for each other
POLL_SECONDS = 0.1


def crew_option(function: Function) -> Function:
    """`--num-processes`: how many processes of this machine share takes and chains."""
    return click.option(
        "--num-processes",
        type=click.IntRange(min=1),
        show_default="1, or what `accelerate launch` started",
        help="Processes that share takes and chains; the music is the same.",
    )(function)


class CrewEndedError(OSError):
    """Another of the processes that share a command has ended."""


@contextlib.contextmanager
def others_alive() -> Iterator[None]:
    """Turn a broken connection to the other processes into `CrewEndedError`."""
    try:
        yield
    except RuntimeError as error:  # torch.distributed raises subclasses of it
        raise CrewEndedError(
            "another process that shares this command has ended; what is done so far is kept"
        ) from error


def is_launched() -> bool:
    """Whether this process is one of several that something has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch_if_asked(num_processes: int | None) -> None:
    """With more than one process asked for, run this command in so many, and exit as they do."""
    if num_processes is not None and num_processes > 1 and not is_launched():
        raise click.exceptions.Exit(launch(sys.argv[1:], num_processes))


def launch(arguments: Sequence[str], number: int) -> int:
    """Run `jukebox ARGUMENTS` in so many processes; returns the exit code of the first to fail.

    When one fails, the others are asked to end. Ctrl-C reaches all of them, and they end by
    themselves.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        **os.environ,
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    command = [sys.executable, "-m", "jukebox_hf", *arguments]
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes = []
    try:
        for index in range(number):
            ranks = {"RANK": str(index), "LOCAL_RANK": str(index)}
            processes.append(subprocess.Popen(command, env={**shared, **ranks}))
        return _wait(processes)
    finally:
        for process in processes:
            process.terminate()
        signal.signal(signal.SIGINT, earlier)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [process.poll() for process in processes]
        failed = [code for code in codes if code]
        if failed:
            return failed[0]
        if all(code == 0 for code in codes):
            return 0
        time.sleep(POLL_SECONDS)


def join_crew() -> Crew:
    """Which of the launched processes this is; the only one, if none were."""
    from jukebox_hf.generation.session_work import Crew

    if not is_launched():
        return Crew()
    from accelerate import PartialState

    # Only ever used to wait for each other, so gloo on the CPU does for every device.
    state = PartialState(cpu=True, timeout=PATIENCE)

    def wait() -> None:
        with others_alive():
            state.wait_for_everyone()

    return Crew(state.process_index, state.num_processes, wait)


def own_device(device: str) -> str:
    """The device of this process: with several GPUs, each process has its own."""
    if not is_launched() or device not in ("auto", "cuda"):
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def tell_folder(crew: Crew, folder: Path | None) -> Path | None:
    """Give the main process's folder to all of them; None if there is nothing to do."""
    if crew.number == 1:
        return folder
    from accelerate.utils import broadcast_object_list

    told: list[Any] = [None if folder is None else str(folder)]
    with others_alive():
        broadcast_object_list(told)
    return None if told[0] is None else Path(told[0])

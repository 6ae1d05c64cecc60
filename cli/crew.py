"""Several processes that share one command: their options, and what each is told.

`--num-processes` starts copies of this command on this machine, `--machine` on several;
`accelerate launch` and torchrun do the same their own way (`jukebox_hf.launching`). Accelerate and
torch.distributed appear here, and the library gets plain numbers and a function to wait with.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from .options import print_error

if TYPE_CHECKING:
    from jukebox_hf.generation import Crew

Function = TypeVar("Function", bound=Callable[..., Any])

PATIENCE = timedelta(days=30)  # a level may take hours, and processes wait for each other
PLACE = "jukebox.place"  # where `--machine` is kept in the context
# A mistake is found by all processes; so long the others leave it to the first one to say it.
SECONDS_BEFORE_SPEAKING = 3.0


class MachineType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`RANK/COUNT@HOST:PORT` -> `ProcessPlace`: which machine this is, and where 0 listens."""

    name = "machine"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "RANK/COUNT@HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, str]:
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})@([\w.:\[\]-]+):(\d{1,5})", str(value), re.ASCII)
        if not found or int(found[1]) >= int(found[2]) or not 0 < int(found[4]) < 2**16:
            self.fail(
                f"{value!r} names no machine; give it as in 0/2@studio:29500, the first of two, "
                "which listens there (the second is then 1/2@studio:29500)",
                param,
                ctx,
            )
        return int(found[1]), int(found[2]), f"{found[3]}:{found[4]}"


def crew_option(function: Function) -> Function:
    """`--num-processes` and `--machine`: how many processes share the work, and where."""
    options = [
        click.option(
            "--num-processes",
            type=click.IntRange(min=1),
            show_default="1, or what `accelerate launch` or torchrun started",
            help="Processes of this machine that share the work, one per GPU; the result is the "
            "same.",
        ),
        click.option(
            "--machine",
            type=MachineType(),
            callback=lambda ctx, param, value: ctx.meta.__setitem__(PLACE, value),
            expose_value=False,
            help="Which of several machines this is, such as 0/2@studio:29500 and "
            "1/2@studio:29500; all share the output folder.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def is_launched() -> bool:
    """Whether this process is one of several that something has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 or "JUKEBOX_LAUNCHED" in os.environ


def launch_if_asked(num_processes: int | None) -> None:
    """With more than one process asked for, run this command in so many, and exit as they do."""
    ctx = click.get_current_context()
    place = ctx.meta.get(PLACE)
    several = (num_processes or 1) > 1 or place is not None
    if not several or is_launched() or ctx.params.get("dry_run"):
        return
    from jukebox_hf.launching import ProcessPlace, launch

    ending = launch(
        sys.argv[1:], num_processes or 1, None if place is None else ProcessPlace(*place)
    )
    if ending.message is None:
        raise click.exceptions.Exit(ending.code)
    raise LaunchedError(ending.message, ending.code)


class LaunchedError(click.ClickException):
    """What one of the processes that this one launched has failed with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # of the class, in click's stubs


def run_as_launched(command: Callable[[], Any]) -> NoReturn:
    """Run `command`, which is click's `main`, in a process that was launched, and end with it.

    It follows its launcher when that is gone, leaves it to the launcher to say what went wrong, and
    ends without Python's own end (`launching.leave`). Call it where SIGTERM is the same as Ctrl-C.
    """
    from jukebox_hf.launching import follow_launcher, leave

    follow_launcher()
    begun, code = False, 130
    while True:
        try:
            if not begun:
                begun = True
                code = _exit_code(command)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            break
        except KeyboardInterrupt:
            continue  # it was asked to end when it was about to
    leave(code)


def _exit_code(command: Callable[[], Any]) -> int:
    """How a launched process ends, after its errors were said by one of them."""
    from jukebox_hf.launching import PeerError, is_lost_connection

    try:
        result = command()
    except click.ClickException as error:
        _say(error, follows=isinstance(error.__cause__, PeerError))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except RuntimeError as error:
        if not is_lost_connection(error) or os.environ.get("JUKEBOX_TRACEBACK"):
            raise
        _say(click.ClickException(PEER_ENDED), follows=True)
        return 1
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return result if isinstance(result, int) else 0


def _say(error: click.ClickException, *, follows: bool) -> None:
    """Have an error said once: by our launcher; else by the main process, or after it."""
    from jukebox_hf.launching import is_main, report

    is_usage = isinstance(error, click.UsageError)  # several lines, which the main process shows
    message = None if is_usage else error.format_message()
    if report(error.exit_code, message, follows=follows) and not (is_usage and is_main()):
        return
    if not is_main():
        time.sleep(SECONDS_BEFORE_SPEAKING)  # and a launcher ends it meanwhile
    print_error(sys.argv[1:], error.format_message(), error.exit_code)
    error.show()


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Inside, SIGTERM, which schedulers send, is Ctrl-C, where signals can be had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


PEER_ENDED = "another process that shares this command has ended; what is done so far is kept"


@contextlib.contextmanager
def others_alive() -> Iterator[None]:
    """Turn a broken connection to the other processes into `PeerError`."""
    from jukebox_hf.launching import PeerError

    try:
        yield
    except RuntimeError as error:  # torch.distributed raises subclasses of it
        raise PeerError(PEER_ENDED) from error


def join_crew() -> Crew:
    """Which of the launched processes this is; the only one, if none were."""
    from jukebox_hf.generation import Crew

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


def gather(crew: Crew, value: Any) -> list[Any]:
    """The values of all processes, in their order; every process must ask."""
    if crew.number == 1:
        return [value]
    from accelerate.utils import gather_object

    with others_alive():
        return list(gather_object([value]))

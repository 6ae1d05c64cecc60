"""One command in several processes, of this machine or of several: starting, watching, ending them.

Arguments of the command line go in; how it ended comes out, as one exit code and one sentence.
torch's elastic agent starts the processes and brings those of several machines together. It knows
neither our exit codes nor our sentences, does not notice that it has been killed, and speaks at
length: that is what is added here. Processes that somebody else has started (`torchrun`,
`accelerate launch`) are watched over and ended in the same way.
"""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

# Names a folder in the environment of processes that `launch` has started: they say there why
# they failed, and the launcher says it for all of them.
REPORTS = "JUKEBOX_LAUNCHED"
# torch's agent sets it, also where torchrun or `accelerate launch` use the agent.
AGENT = "TORCHELASTIC_RUN_ID"
DONE, FAILED, INTERRUPTED = 0, 1, 130
# So long may processes save what they have after they were asked to end; then they are killed.
SECONDS_TO_END = 300
SECONDS_TO_MEET = 900  # that machines wait for each other
POLL_SECONDS = 0.5
SECONDS_TO_HEAR = 3  # that a signal may take to be handled
# What gloo and NCCL say, as plain RuntimeErrors, when another process is gone.
CONNECTION_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|store|timed? ?out", re.I
)


class PeerError(OSError):
    """Another of the processes that share a command could not go on, or has ended."""


class ProcessPlace(NamedTuple):
    """Which of the machines that share a command this is.

    Attributes:
        machine, machines: its number from 0, and how many there are.
        address: HOST:PORT of machine 0, where the others find it; None for one machine.
    """

    machine: int = 0
    machines: int = 1
    address: str | None = None


class Ending(NamedTuple):
    """How a command in several processes ended: its exit code, and what there is to say."""

    code: int
    message: str | None = None


def is_main() -> bool:
    """Whether it is this process, rather than another, that says how a command ended."""
    return int(os.environ.get("RANK", "0")) == 0


# --- in the launcher ------------------------------------------------------------------------------


def launch(arguments: Sequence[str], processes: int, place: ProcessPlace | None = None) -> Ending:
    """Run `jukebox ARGUMENTS` in so many processes of this machine, and wait for their end.

    Ctrl-C and SIGTERM are passed on: all processes save what they have and end, with code 130. When
    one fails, the others are asked to end. When this process is killed, they notice.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    place = place or ProcessPlace()
    with (
        tempfile.TemporaryDirectory(prefix="jukebox_") as reports,
        _environment(_shared_environment(processes, place, reports)),
        _handlers_kept(),
        _interruptible(),
        _silent("torch.distributed"),
    ):
        known = {entry.name for entry in fields(LaunchConfig)}
        more = {"shutdown_timeout": SECONDS_TO_END, "signals_to_handle": "SIGINT,SIGTERM"}
        config = LaunchConfig(
            min_nodes=place.machines,
            max_nodes=place.machines,
            nproc_per_node=processes,
            run_id=f"jukebox{os.getpid()}" if place.address is None else "jukebox",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=reports),
            **_meeting(place),
            **{name: value for name, value in more.items() if name in known},  # type: ignore[arg-type]
        )
        command = ("-m", "jukebox_hf", *arguments)
        try:
            elastic_launch(config, sys.executable)(*command)
        except (SignalException, KeyboardInterrupt):
            return Ending(INTERRUPTED)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            return _ending(codes, Path(reports))
        except (RuntimeError, OSError) as error:
            where = place.address or "this machine"
            return Ending(FAILED, f"the processes could not meet at {where}: {_first_line(error)}")
    return Ending(DONE)


def _meeting(place: ProcessPlace) -> dict[str, Any]:
    """How the agents of all machines find each other."""
    if place.address is None:
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "127.0.0.1:0", "local_addr": "127.0.0.1"}
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": place.address,
        "rdzv_configs": {"rank": place.machine, "timeout": SECONDS_TO_MEET},
    }


def _shared_environment(processes: int, place: ProcessPlace, reports: str) -> dict[str, str]:
    """What all processes get, unless the user has set it."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    found = {"OMP_NUM_THREADS": str(threads)}
    interface = _loopback()
    if interface is not None and _stays_here(place.address):
        found["GLOO_SOCKET_IFNAME"] = interface  # else it asks what the machine's name means
    unset = {name: value for name, value in found.items() if name not in os.environ}
    return {**unset, REPORTS: reports, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SECONDS_TO_END)}


def _stays_here(address: str | None) -> bool:
    host = "localhost" if address is None else address.rpartition(":")[0]
    return host == "localhost" or host.startswith("127.")


def _loopback() -> str | None:
    """The network interface that leads nowhere else: `lo` on Linux, `lo0` on macOS."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.family == socket.AF_INET and one.address == "127.0.0.1" for one in addresses):
            return str(name)
    return None


def _ending(codes: Mapping[int, int], reports: Path) -> Ending:
    """What several processes with these exit codes, by number, ended as: the first cause counts."""
    told = sorted((_read_report(path) for path in reports.glob("*.report")), key=lambda r: r.time)
    for report in told:
        if not report.follows:
            return Ending(report.code, report.message)
    asked = {INTERRUPTED, -signal.SIGTERM, -signal.SIGINT}
    for rank, code in codes.items():
        if code < 0 and code not in asked:
            name = _signal_name(-code)
            why = " (out of memory?)" if name == "SIGKILL" else ""
            return Ending(
                FAILED,
                f"process {rank} was ended by {name}{why}; what is done so far is kept, and the "
                "same command with --resume, or `jukebox resume` for a session, goes on",
            )
    if asked & set(codes.values()):
        return Ending(INTERRUPTED)
    if told:
        return Ending(told[0].code, told[0].message)
    rank, code = next(iter(codes.items()))
    return Ending(FAILED, f"process {rank} failed (exit code {code}); what it said is above")


def _signal_name(number: int) -> str:
    try:
        return str(signal.Signals(number).name)
    except ValueError:
        return f"signal {number}"


class _Report(NamedTuple):
    time: float
    code: int
    message: str | None
    follows: bool  # from the failure of another process


def _read_report(path: Path) -> _Report:
    return _Report(*json.loads(path.read_text(encoding="utf-8")))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has these values, for the processes that are started."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """The agent installs handlers of its own and leaves them there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, a signal ends this process also while it waits for other machines.

    It does that inside of torch, where no handler of Python's runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    left = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        heard = os.read(reader, 1)
        os.close(reader)
        if heard and not left.wait(SECONDS_TO_HEAR) and not psutil.Process().children():
            os._exit(INTERRUPTED)

    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="signal watch", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writer)


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Inside, a library's loggers say nothing: what they would say comes out as an `Ending`."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


# --- in a process that was launched ---------------------------------------------------------------


def follow_launcher() -> None:
    """From now on, end this process when the one that has launched it is gone, also by SIGKILL.

    It is asked to end as by SIGTERM, and saves what it has; if it cannot, it is ended. Only for
    processes of torch's agent: others may have been started to outlive their parent.
    """
    if AGENT not in os.environ:
        return
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent,), name="launcher watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent and (os.name != "nt" or psutil.pid_exists(parent)):
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(INTERRUPTED)


def report(code: int, message: str | None, *, follows: bool) -> bool:
    """Leave it to the launcher to say why this process ends; whether it is ours and will.

    `follows`: another process has failed before, and that is why.
    """
    folder = os.environ.get(REPORTS)
    if folder is None or not Path(folder).is_dir():  # the launcher is gone, and its folder
        return False
    path = Path(folder) / f"{os.environ.get('RANK', '0')}.report"
    content = _Report(time.time(), code, message, follows)
    with contextlib.suppress(OSError):
        path.with_suffix(".partial").write_text(json.dumps(content), encoding="utf-8")
        path.with_suffix(".partial").replace(path)
        return True
    return False


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error of torch's means that another process is gone."""
    return isinstance(error, RuntimeError) and bool(CONNECTION_LOST.search(str(error)))


def leave(code: int) -> NoReturn:
    """End this process, after all is written, without Python's own end.

    In there a process of a gloo group sometimes aborts after all its work (1 of 20 pairs; torch
    2.13), which would make a finished run look like a failed one.
    """
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        with contextlib.suppress(Exception):  # others may be gone: nothing is lost by that
            distributed.destroy_process_group()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)

"""Starting one training run on several processes of this machine, through Accelerate.

Multi-node runs, FSDP and the like are Accelerate's own configuration: `accelerate launch` with the
module that `worker_command` names.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

import psutil
import torch

OURS = "JUKEBOX_LAUNCHED"  # in the environment of processes that `launch` has started


def launched() -> bool:
    """Whether this process is one of several that a launcher has started."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1


def reports_result() -> bool:
    """Whether it is this process, rather than another, that says how a run ended."""
    return OURS not in os.environ and int(os.environ.get("RANK", "0")) == 0


def launch(arguments: Sequence[str], num_processes: int, *, device: str) -> int:
    """Run `jukebox ARGUMENTS` in so many processes; returns the exit code of the launcher.

    On CPUs `accelerate launch --cpu` would start a single process whatever it is asked for; what
    works is `--multi_gpu` with ACCELERATE_USE_CPU set (seen with accelerate 1.15).
    """
    environment = {**os.environ, OURS: "1"}
    if device == "cpu" or not torch.cuda.is_available():
        environment["ACCELERATE_USE_CPU"] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(num_processes), "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        *("-m", "jukebox_hf", *arguments),
    ]
    # In a session of its own: Ctrl-C would end Accelerate's launcher before the workers have saved.
    process = subprocess.Popen(command, env=environment, start_new_session=True)

    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers(process.pid):
            worker.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, pass_on) for number in numbers]
    try:
        return process.wait()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def workers(launcher: int) -> list[psutil.Process]:
    """The training processes that a launcher has started."""
    try:
        children = psutil.Process(launcher).children()
        return [child for child in children if "jukebox_hf" in child.cmdline()]
    except psutil.Error:
        return []

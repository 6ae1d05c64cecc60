"""Commands in several processes: whatever starts, interrupts or kills them, and on two "machines".

The machines are two launchers on the loopback address, with a home and a cache each, and one output
folder for both. Slow tests are those of the same kinds with other commands and launchers.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors.torch import load_file

from jukebox_hf.data import open_codes
from jukebox_hf.generation.session import Session
from jukebox_hf.training.reports import read_log
from tests.training.song_runs import PRIOR_MODEL, TIMING, encoded, labelled_songs, song_settings
from tests.training.tiny_runs import assert_same_bits

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX"),
    pytest.mark.timeout(1500),
]
ROOT = Path(__file__).parents[2]
JUKEBOX = (sys.executable, "-m", "jukebox_hf")
TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("-m", "jukebox_hf"),
)
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--gpu_ids", "all"),
    *("--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "-m", "jukebox_hf"),
)
SECONDS = 600  # of patience: the machine may be busy


def start(
    *arguments: object,
    launcher: tuple[str, ...] = JUKEBOX,
    home: Path | None = None,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Start a command without waiting for it."""
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    if home is not None:
        home.mkdir(exist_ok=True)
        own |= {"HOME": str(home), "HF_HOME": str(home / "cache"), "XDG_CACHE_HOME": str(home)}
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; it has some time."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for something that other processes do."""
    stop = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < stop, f"still waiting for {what}"
        time.sleep(0.02)


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process], seconds: float = 60) -> None:
    """None of them lives on."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        process.kill()
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def two_machines(tmp_path: Path, *arguments: object) -> Iterator[list["subprocess.Popen[str]"]]:
    """The same command on two machines; nothing of it is left afterwards."""
    address = f"127.0.0.1:{free_port()}"
    machines = [
        start(*arguments, "--machine", f"{rank}/2@{address}", home=tmp_path / f"home_{rank}")
        for rank in (1, 0)
    ]
    try:
        yield machines[::-1]
    finally:
        for machine in machines:
            if machine.poll() is None:
                machine.kill()


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def preset(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny codec's run of 60 steps."""
    path = tmp_path_factory.mktemp("settings") / "codec.yaml"
    settings = song_settings("vqvae", Path("none"), songs, steps=60, save_every=4, evaluate_every=9)
    content = settings.to_dict()
    content.pop("output")
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def whole(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of it when nobody interrupts them."""
    output = tmp_path_factory.mktemp("whole") / "run"
    code, out, err = end(
        start("train", "vqvae", "--config", preset, "-o", output, "--num-processes", 2)
    )
    assert code == 0, err
    assert out == f"{output}/final\n"
    assert len(re.findall("60 steps over", err)) == 1  # one process speaks, and no launcher
    assert not re.search(r"elastic|W\d{4}|Traceback|\*\*\*", err), err
    return output


def assert_same_runs(ours: Path, theirs: Path) -> None:
    """Final models and last checkpoints are equal to the bit, and each step was done once."""
    names = ["final/vqvae/model.safetensors", "best/vqvae/model.safetensors"]
    checkpoint = max((theirs / "checkpoints").iterdir()).relative_to(theirs)
    names += [f"{checkpoint}/{name}.safetensors" for name in ("model", "optimizer", "averages")]
    for name in names:
        assert_same_bits(load_file(ours / name), load_file(theirs / name))
    steps = [[event["step"] for event in read_log(run, "train")] for run in (ours, theirs)]
    assert steps[0] == steps[1]


def first_checkpoint(run: Path) -> bool:
    return any((run / "checkpoints").glob("step_*"))


# --- interrupted and killed -----------------------------------------------------------------------


INTERRUPTIONS = [
    pytest.param(signal.SIGTERM, id="SIGTERM"),
    pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("number", INTERRUPTIONS)
def test_a_signal_to_the_launcher_alone_ends_all_and_the_run_goes_on_to_the_same_bits(
    preset: Path, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    launcher = start("train", "vqvae", "--config", preset, "-o", run, "--num-processes", 2)
    wait_until(lambda: first_checkpoint(run), "a checkpoint")
    family = descendants(launcher)
    launcher.send_signal(number)
    code, out, err = end(launcher)
    assert code == 130, err
    assert out == ""
    assert err.count("Go on with: jukebox train vqvae -o") + err.count("Interrupted.") == 1, err
    assert "Traceback" not in err
    assert_gone(family)
    code, _, err = end(start("train", "vqvae", "-o", run, "--resume", "--num-processes", 2))
    assert code == 0, err
    assert_same_runs(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [JUKEBOX, TORCHRUN], ids=["jukebox", "torchrun"])
def test_workers_end_by_themselves_when_their_launcher_is_killed(
    preset: Path, whole: Path, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    several = ["--num-processes", 2] if launcher == JUKEBOX else []
    process = start("train", "vqvae", "--config", preset, "-o", run, *several, launcher=launcher)
    wait_until(lambda: first_checkpoint(run), "a checkpoint")
    family = descendants(process)
    assert len(family) == 2
    process.kill()
    assert_gone(family)
    process.communicate()
    code, _, err = end(start("train", "vqvae", "-o", run, "--resume", "--num-processes", 2))
    assert code == 0, err
    assert_same_runs(run, whole)


def test_a_killed_worker_ends_all_with_one_sentence(preset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", "vqvae", "--config", preset, "-o", run, "--num-processes", 2, "-q")
    wait_until(lambda: first_checkpoint(run), "a checkpoint")
    family = descendants(process)
    family[1].kill()
    code, out, err = end(process)
    assert code == 1
    assert out == ""
    assert re.fullmatch(r"Error: process \d was ended by SIGKILL \(out of memory\?\); .*\n", err)
    assert_gone(family)


def test_a_mistake_is_said_once_with_our_exit_code(preset: Path, whole: Path) -> None:
    code, out, err = end(
        start("train", "vqvae", "--config", preset, "-o", whole, "--num-processes", 2)
    )
    assert (code, out) == (1, "")
    assert re.fullmatch(r"Error: .*run holds a run with checkpoints up to step_0+60; .*\n", err)


# --- started by others ----------------------------------------------------------------------------


def test_torchrun_without_a_gpu_makes_one_run(preset: Path, whole: Path, tmp_path: Path) -> None:
    """`device: auto`, and the environment of somebody else's training."""
    run = tmp_path / "run"
    theirs = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "ACCELERATE_DYNAMO_BACKEND": "eager"}
    code, out, err = end(
        start(
            "train",
            "vqvae",
            "--config",
            preset,
            "-o",
            run,
            "--set",
            "device=auto",
            launcher=TORCHRUN,
            **theirs,
        )
    )
    assert code == 0, err
    assert out == f"{run}/final\n"
    assert_same_runs(run, whole)


@pytest.mark.slow
def test_accelerate_launch_without_a_gpu_makes_one_run(
    preset: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, out, err = end(
        start(
            "train",
            "vqvae",
            "--config",
            preset,
            "-o",
            run,
            "--set",
            "device=auto",
            launcher=ACCELERATE,
        )
    )
    assert code == 0, err
    assert out == f"{run}/final\n"
    assert_same_runs(run, whole)


@pytest.mark.slow
def test_what_a_user_told_accelerate_does_not_matter(
    preset: Path, whole: Path, tmp_path: Path
) -> None:
    place = tmp_path / "home" / "cache" / "accelerate"
    place.mkdir(parents=True)
    (place / "default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\ngpu_ids: '0'\n"
        "mixed_precision: fp16\nnum_machines: 1\nnum_processes: 1\nuse_cpu: false\n"
    )
    run = tmp_path / "run"
    code, _, err = end(
        start(
            "train",
            "vqvae",
            "--config",
            preset,
            "-o",
            run,
            "--num-processes",
            2,
            home=tmp_path / "home",
        )
    )
    assert code == 0, err
    assert_same_runs(run, whole)


def end_as_they_should(preset: Path, folder: Path, times: int) -> None:
    for number in range(times):
        run = folder / str(number)
        code, out, err = end(
            start(
                "train",
                "vqvae",
                "--config",
                preset,
                "-o",
                run,
                "--steps",
                2,
                "-q",
                "--num-processes",
                2,
            )
        )
        assert (code, out) == (0, f"{run}/final\n"), err


def test_short_runs_end_as_they_should(preset: Path, tmp_path: Path) -> None:
    end_as_they_should(preset, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_forty_short_runs_end_as_they_should(preset: Path, tmp_path: Path) -> None:
    end_as_they_should(preset, tmp_path, 40)


# --- two machines ---------------------------------------------------------------------------------


def test_training_on_two_machines_of_which_one_dies_resumes_to_the_same_bits(
    preset: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with two_machines(tmp_path, "train", "vqvae", "--config", preset, "-o", run) as machines:
        wait_until(lambda: first_checkpoint(run), "a checkpoint")
        family = [one for machine in machines for one in descendants(machine)]
        machines[1].kill()
        code, out, err = end(machines[0])
        machines[1].communicate()
    assert code in (1, 130), err  # it hears of it as of a broken connection, or a request to stop
    assert out == ""
    assert "Traceback" not in err
    assert_gone(family)
    with two_machines(tmp_path, "train", "vqvae", "-o", run, "--resume") as machines:
        ends = [end(machine) for machine in machines]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert [out for _, out, _ in ends] == [f"{run}/final\n", ""]
    assert_same_runs(run, whole)


def test_a_machine_that_waits_for_another_can_be_interrupted(preset: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    machine = start(
        *("train", "vqvae", "--config", preset, "-o", tmp_path / "run"),
        *("--machine", f"0/2@{address}"),
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0

    wait_until(listens, "the first machine")
    machine.terminate()
    code, out, err = end(machine)
    assert (code, out) == (130, ""), err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_prior_on_two_machines_equals_one_on_two_processes(
    songs: Path, whole: Path, tmp_path: Path
) -> None:
    codec = whole / "final"
    codes = encoded(songs, codec, tmp_path / "codes")
    model = yaml.safe_dump({**PRIOR_MODEL, **TIMING}, default_flow_style=True).replace("\n", " ")
    arguments = [
        *("train", "prior", "--dataset", codes, "--model", codec, "--level", 2, "--steps", 40),
        *("--batch-size", 4, "--set", f"model={model}", "--set", "labels=true"),
        *("--set", "save_every=4", "--validation-fraction", 0.3),
    ]
    code, _, err = end(start(*arguments, "-o", tmp_path / "whole", "--num-processes", 2))
    assert code == 0, err
    run = tmp_path / "run"
    with two_machines(tmp_path, *arguments, "-o", run) as machines:
        wait_until(lambda: first_checkpoint(run), "a checkpoint")
        machines[0].kill()
        for machine in machines:
            machine.communicate(timeout=SECONDS)
    with two_machines(tmp_path, "train", "prior", "-o", run, "--resume") as machines:
        ends = [end(machine) for machine in machines]
    assert [code for code, _, _ in ends] == [0, 0], ends
    name = "final/prior_2/model.safetensors"
    assert_same_bits(load_file(run / name), load_file(tmp_path / "whole" / name))


@pytest.mark.slow
def test_songs_are_encoded_on_two_machines_of_which_one_dies(whole: Path, tmp_path: Path) -> None:
    songs = labelled_songs(tmp_path / "songs", 40, seconds=8.0)
    arguments = ["encode", "--dataset", songs, "--model", whole / "final", "--device", "cpu"]
    code, _, err = end(start(*arguments, "-o", tmp_path / "alone"))
    assert code == 0, err
    codes = tmp_path / "codes"
    with two_machines(tmp_path, *arguments, "-o", codes) as machines:
        wait_until(codes.is_dir, "codes")
        machines[1].kill()
        for machine in machines:
            machine.communicate(timeout=SECONDS)
    with two_machines(tmp_path, *arguments, "-o", codes, "--json") as machines:
        ends = [end(machine) for machine in machines]
    assert [code for code, _, _ in ends] == [0, 0], ends
    record = json.loads(ends[0][1])
    assert (record["songs"], record["complete"], ends[1][1]) == (40, True, "")
    ours, theirs = open_codes(codes), open_codes(tmp_path / "alone")
    for mine, other in zip(ours.songs, theirs.songs, strict=True):
        assert mine.name == other.name
        assert all((mine.codes(level) == other.codes(level)).all() for level in range(3))


@pytest.mark.slow
def test_music_is_made_on_two_machines_of_which_one_dies(tiny_model: Path, tmp_path: Path) -> None:
    arguments = [
        *("generate", "--model", tiny_model, "--seconds", 2, "--takes", 3, "--seed", 2),
        *("--device", "cpu", "--chains", "1=2", "--to-level", 1),
    ]
    alone, folder = tmp_path / "alone", tmp_path / "session"
    code, _, err = end(start(*arguments, "-o", alone))
    assert code == 0, err
    with two_machines(tmp_path, *arguments, "-o", folder) as machines:
        wait_until((folder / "session.json").is_file, "a session")
        time.sleep(1)
        machines[1].kill()
        for machine in machines:
            machine.communicate(timeout=SECONDS)
    with two_machines(tmp_path, *arguments, "-o", folder) as machines:
        ends = [end(machine) for machine in machines]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert ends[1][1] == ""
    assert Session.open(folder).complete
    for path in sorted((alone / "codes").iterdir()):
        assert (folder / "codes" / path.name).read_bytes() == path.read_bytes()

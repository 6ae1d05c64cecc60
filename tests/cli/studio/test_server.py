"""The studio's server and worker without a browser: jobs, refusals, crashes."""

import json
import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import soundfile
from click.testing import CliRunner

from jukebox_cli.main import main
from tests.cli.studio.conftest import REQUEST, Start, generate
from tests.cli.studio.studio_process import StudioProcess, checksums

SECONDS = 2.0


def test_a_piece_is_the_command_lines_piece_and_both_share_the_folder(
    calm: StudioProcess, lyric_model: Path, tmp_path: Path
) -> None:
    studio = calm
    name = studio.make(genre="rock", seconds=0.5, takes=2, seed=7, sketch=True)
    assert name.startswith("song-")
    studio.wait_for(name, "sketch")
    status, plan = studio.ask(
        "POST", "/api/plan", {"verb": "upsample", "source": name, "numbers": [2]}
    )
    assert status == 200
    assert plan["takes"] == 1
    finished = studio.make(verb="upsample", source=name, numbers=[2])
    studio.wait_for(finished, "done")
    more = studio.make(verb="continue", source=finished, numbers=[2], seconds=0.2, seed=3)
    studio.wait_for(more, "done")
    entries = {one["name"]: one for one in studio.state()["pieces"]}
    assert (entries[finished]["parent"], entries[more]["parent"]) == (name, finished)

    common = ["--seconds", "0.5", "--genre", "rock", "--takes", "2", "--seed", "7"]
    generate(lyric_model, tmp_path / "whole", *common)
    whole = checksums(tmp_path / "whole")
    assert checksums(studio.folder / finished) == {2: whole[2]}
    command = [
        "continue",
        str(tmp_path / "whole"),
        "--take",
        "2",
        "--seconds",
        "0.2",
        "--seed",
        "3",
    ]
    result = CliRunner().invoke(main, [*command, "-q", "-o", str(tmp_path / "more")])
    assert result.exit_code == 0, result.output
    assert checksums(studio.folder / more) == checksums(tmp_path / "more")

    made = studio.ask("POST", f"/api/pieces/{finished}/export", {"format": "wav", "numbers": [2]})
    assert made[0] == 200
    status, _ = studio.ask("GET", f"/api/exports/{made[1]['file']}")
    assert status == 200
    assert soundfile.info(next(studio.folder.glob(".studio/exports/*/*.wav"))).frames == 3968
    packed = studio.act(finished, "download")["file"]
    assert studio.ask("GET", f"/api/exports/{packed}")[0] == 200


def test_killed_server_and_worker_go_on_to_the_same_codes(
    start: Start, requested: dict[int, dict[str, Any]]
) -> None:
    """Three times: at its beginning, at level 1 and at level 0. A worker alone ends by itself."""
    studio = start()
    name = studio.make(**REQUEST)

    def is_at(level: int | None, state: dict[str, Any]) -> bool:
        jobs = [job for job in state["queue"] if job["state"] == "running"]
        if level is None:
            return bool(jobs)
        return any(
            job.get("level") is not None
            and (job["level"] < level or (job["level"] == level and job["share"] > 0.2))
            for job in jobs
        )

    for level in (None, 1, 0):
        studio.wait(partial(is_at, level))
        workers = studio.workers()
        assert workers
        if level == 1:
            studio.process.kill()
            assert psutil.wait_procs(workers, timeout=10)[1] == []
        studio.kill()
        assert not any(worker.is_running() for worker in workers)
        studio = start(port=studio.port)
    studio.wait_for(name, "done")
    assert studio.state()["queue"] == []
    assert checksums(studio.folder / name) == requested


def test_a_killed_worker_is_said_and_the_piece_goes_on(
    calm: StudioProcess, requested: dict[int, dict[str, Any]]
) -> None:
    studio = calm
    name = studio.make(**REQUEST)
    studio.wait_until_within(name)
    for worker in studio.workers():
        worker.kill()
    studio.wait_for(name, "failed")
    (job,) = studio.state()["queue"]
    assert "the process that makes the music" in job["message"]
    studio.act(name, "go-on")
    studio.wait_for(name, "done")
    assert checksums(studio.folder / name) == requested


def test_stopped_pieces_go_on_and_questions_are_answered_meanwhile(
    calm: StudioProcess, lyric_model: Path, tmp_path: Path
) -> None:
    studio = calm
    name = studio.make(seconds=SECONDS, seed=6, takes=2)
    studio.wait_until_within(name)
    status, plan = studio.ask("POST", "/api/plan", {"verb": "make", "seconds": 1})
    assert (status, plan["seconds"]) == (200, None)
    studio.act(name, "keep", numbers=[2])  # waits for its end
    kept = {one["name"]: one["kept"] for one in studio.state()["pieces"]}
    assert kept[name] == [2]
    studio.act(name, "stop")
    studio.wait_for(name, "stopped")  # all that was answered before its end
    assert studio.ask("POST", f"/api/pieces/{name}/stop", {})[0] == 404
    studio.act(name, "go-on")
    studio.wait_for(name, "done")
    generate(
        lyric_model, tmp_path / "cli", "--seconds", str(SECONDS), "--seed", "6", "--takes", "2"
    )
    assert checksums(studio.folder / name) == checksums(tmp_path / "cli")
    studio.wait(
        lambda state: json.loads(
            (studio.folder / name / "session.json").read_text(encoding="utf-8")
        )["takes"][1]["kept"]
    )


def test_the_queue_keeps_its_order_over_a_restart(start: Start) -> None:
    studio = start()
    names = [studio.make(seconds=seconds) for seconds in (SECONDS, 0.3, 0.3, 0.3)]
    assert names == ["song-1", "song-2", "song-3", "song-4"]
    studio.act("song-2", "stop")
    studio.wait(lambda state: any(job["state"] == "running" for job in state["queue"]))
    studio.kill()
    saved = json.loads((studio.folder / "studio.json").read_text(encoding="utf-8"))
    kept = ["song-1", "song-3", "song-4"]
    assert [job["piece"] for job in saved["jobs"]] == kept
    again = start(port=studio.port)
    assert [job["piece"] for job in again.state()["queue"]] == kept
    again.wait_for("song-4", "done")
    times = [(studio.folder / one / "session.json").stat().st_mtime for one in kept]
    assert times == sorted(times)


def test_wrong_requests_get_the_command_lines_sentence_and_make_nothing(
    calm: StudioProcess, lyric_model: Path, tmp_path: Path
) -> None:
    studio = calm
    before = {path.name for path in studio.folder.iterdir()}
    for request, wrong in [
        ({"seconds": 50, "total_seconds": 70}, ["--seconds", "50", "--total-seconds", "70"]),
        ({"seconds": 0.01}, ["--seconds", "0.01"]),
        ({"levels": {"temperature": {"5": 1}}}, ["--temperature", "5=1"]),
    ]:
        command = ["generate", "--model", str(lyric_model), "-o", str(tmp_path / "x"), *wrong]
        expected = CliRunner().invoke(main, command)
        assert expected.exit_code == 1
        for path in ("/api/plan", "/api/make"):
            status, found = studio.ask("POST", path, {"verb": "make", **request})
            assert status == 400
            assert found["error"] in expected.stderr
    assert {path.name for path in studio.folder.iterdir()} == before
    assert studio.state()["queue"] == []


def test_a_sentence_does_not_say_where_pieces_are(calm: StudioProcess) -> None:
    name = calm.make(seconds=0.5, sketch=True)
    calm.wait_for(name, "sketch")
    wanted = {"verb": "upsample", "source": name, "numbers": [7]}
    status, found = calm.ask("POST", "/api/make", wanted)
    assert (status, found["error"]) == (400, f"{name} has no take 7; it has 1")
    status, found = calm.ask(
        "POST", f"/api/pieces/{name}/export", {"format": "wav", "numbers": [7]}
    )
    assert (status, found["error"]) == (400, f"{name} has no take 7; it has 1")


def test_what_does_not_belong_is_refused(calm: StudioProcess) -> None:
    studio = calm
    name = studio.make(seconds=0.3)
    studio.wait_for(name, "done")
    outside = shutil.copytree(studio.folder / name, studio.folder.parent / "outside")
    (studio.folder / ".studio").mkdir(exist_ok=True)
    (studio.folder / ".studio" / "secret.txt").write_text("secret", encoding="utf-8")
    plan = {"verb": "make"}
    assert studio.ask("GET", "/", Host="evil.example")[0] == 403
    assert studio.ask("POST", "/api/plan", plan, Origin="http://evil.example")[0] == 403
    assert studio.ask("POST", "/api/plan", plan, Origin=None)[0] == 403
    assert studio.ask("POST", "/api/plan", plan, X_Studio=None)[0] == 403
    for path in (
        "/api/pieces/..%2fsecret.txt/takes/1/sound",
        "/api/pieces/%2e%2e/takes/1/sound",
        f"/api/pieces/{name}%2f..%2f..%2foutside/takes/1/sound",
        "/api/pieces/..%2foutside/takes/1/sound",
        f"/api/pieces/{str(outside).replace('/', '%2f')}/takes/1/sound",
        "/..%2fstudio.json",
        "/%2e%2e/command.py",
        "/../app.py",
        "/api/exports/..%2f..%2f/secret.txt",
        "/api/exports/../secret.txt",
        "/api/nothing",
    ):
        assert studio.ask("GET", path)[0] == 404, path
    status, found = studio.ask("POST", "/api/upload", b"\0" * 64_000_001)
    assert status == 413
    assert "larger than 64 MB" in found["error"]
    status, found = studio.ask("POST", "/api/upload", b"#EXTM3U\nfile:///etc/passwd\n")
    assert status == 400
    assert "give wav, flac, ogg, opus or mp3" in found["error"]
    assert not list(studio.folder.glob(".studio/uploads/*"))
    assert studio.ask("POST", "/api/make", b"{" * 2**20 + b" ")[0] == 413
    for source in ("../outside", str(outside), f"{name}/../../outside"):
        request = {"verb": "continue", "source": source, "seconds": 1}
        assert studio.ask("POST", "/api/make", request)[0] == 404
        part = {"piece": source, "take": 1, "from": None, "to": None}
        assert studio.ask("POST", "/api/plan", {"verb": "edit", "parts": [part]})[0] in (400, 404)


def test_a_piece_begins_with_an_uploaded_file(calm: StudioProcess, tmp_path: Path) -> None:
    import numpy as np

    studio = calm
    tone = 0.3 * np.sin(np.arange(8000) * 0.3)
    soundfile.write(tmp_path / "tone.flac", tone, 8000)
    status, found = studio.ask("POST", "/api/upload", (tmp_path / "tone.flac").read_bytes())
    assert (status, found["seconds"]) == (200, 1.0)
    name = studio.make(seconds=0.6, primer={"file": found["file"], "end": 0.3})
    studio.wait_for(name, "done")
    record = json.loads((studio.folder / name / "session.json").read_text(encoding="utf-8"))
    assert record["takes"][0]["existing"]["2"] == 18  # 0.3 s
    assert not list(studio.folder.glob(".studio/uploads/*")), "it is not needed any more"
    status, found = studio.ask(
        "POST", "/api/plan", {"verb": "make", "primer": {"file": "0" * 32 + ".wav"}}
    )
    assert status == 400
    assert "choose it again" in found["error"]


def test_others_need_the_token(start: Start) -> None:
    studio = start("--host", "0.0.0.0")
    assert len(studio.path) == len("/k//") + 32
    assert studio.ask("GET", "/api/state")[0] == 404
    assert studio.ask("GET", "/k/wrong/api/state")[0] == 404
    assert studio.ask("GET", f"{studio.path}api/state")[0] == 200
    assert studio.ask("GET", studio.path)[0] == 200
    assert studio.ask("GET", f"{studio.path}api/state", Host="evil.example")[0] == 403


def test_a_space_gives_every_visitor_a_room(start: Start) -> None:
    studio = start(SPACE_ID="me/band", SPACE_HOST="me-band.hf.space")
    rooms = []
    for _ in range(2):
        connection = "me-band.hf.space"
        assert studio.ask("GET", "/", Host=connection)[0] == 303
        rooms.append(f"/v/{os.urandom(16).hex()}/")
    page = {"Host": "me-band.hf.space", "Origin": "https://me-band.hf.space"}
    status, found = studio.ask(
        "POST", f"{rooms[0]}api/make", {"verb": "make", "seconds": 11}, **page
    )
    assert status == 400
    assert "up to 10 seconds" in found["error"]
    for room in (rooms[0], rooms[0], rooms[1]):
        request = {"verb": "make", "seconds": 1.0, "genre": "rock"}
        assert studio.ask("POST", f"{room}api/make", request, **page)[0] == 202
    state = studio.ask("GET", f"{rooms[1]}api/state", Host=page["Host"])[1]
    assert [one["name"] for one in state["pieces"]] == ["song-1"]
    assert [job["place"] for job in state["queue"]] == [3]
    assert state["limits"] == {"seconds": 10.0, "takes": 2, "upload_bytes": 10**7}
    assert studio.ask("GET", "/api/state", Host=page["Host"])[0] == 404


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="no list of libraries here")
def test_the_server_is_small(calm: StudioProcess) -> None:
    """It answers without the libraries of the worker; how large it is, the benchmark says."""
    assert calm.ask("GET", "/")[0] == 200
    (worker,) = calm.workers()
    heavy = ("torch", "transformers", "tokenizers", "scipy", "pandas")

    def loaded(pid: int) -> set[str]:
        files = {Path(one.path) for one in psutil.Process(pid).memory_maps()}
        return {name for name in heavy for file in files if name in file.parts}

    assert "torch" in loaded(worker.pid)
    assert loaded(calm.process.pid) == set()


def test_closing_ends_the_worker_also_while_a_piece_is_made(start: Start) -> None:
    studio = start()
    studio.make(seconds=SECONDS)
    studio.wait(lambda state: any(job.get("level") is not None for job in state["queue"]))
    workers = studio.workers()
    assert studio.stop() in (0, 130)
    assert not any(worker.is_running() for worker in workers)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(
            main, ["studio", str(tmp_path), "--port", str(port), "--no-browser"]
        )
    assert result.exit_code == 1
    assert f"port {port} of 127.0.0.1 cannot be had" in result.stderr
    assert "--port" in result.stderr


def test_without_the_extra_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jukebox_cli.studio.command.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["studio", str(tmp_path)])
    assert result.exit_code == 1
    assert 'install it with: pip install "jukebox-hf[studio]"' in result.stderr


def test_a_piece_is_no_folder_of_pieces(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(main, ["studio", str(tmp_path)])
    assert result.exit_code == 1
    assert "give the folder that holds it" in result.stderr


def test_the_worker_ends_when_its_pipe_does() -> None:
    import subprocess

    command = [sys.executable, "-m", "jukebox_cli.studio.worker", "cpu"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(60) == 0

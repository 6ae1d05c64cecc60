"""`jukebox embed`: features in files, resumed, shared, and refused with one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from jukebox_cli.main import main
from jukebox_hf import JukeboxEmbedder
from jukebox_hf.hub.system import System
from jukebox_hf.representations.feature_folder import output_names
from tests.tiny import SAMPLING_RATE

LENGTHS = (0.3, 0.9, 0.2, 0.55, 1.2)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs of uneven length, one of them in a folder below."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "live").mkdir()
    for number, seconds in enumerate(LENGTHS):
        noise = np.random.default_rng(number).normal(0, 0.1, int(seconds * SAMPLING_RATE))
        name = "live/last" if number == len(LENGTHS) - 1 else f"song_{number}"
        soundfile.write(folder / f"{name}.wav", np.cumsum(noise) / 20, SAMPLING_RATE)
    return folder


def run(*arguments: object, input: str | None = None) -> Result:
    words = ["embed", *map(str, arguments)]
    return CliRunner().invoke(main, words, prog_name="jukebox", input=input)


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder).as_posix(): np.load(path) for path in sorted(folder.rglob("*.npy"))
    }


def check_same(ours: Path, theirs: Path) -> None:
    found, expected = arrays(ours), arrays(theirs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def test_features_are_files_that_other_tools_read(
    songs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    embedder = JukeboxEmbedder.from_pretrained(tiny_model, layers=[1, 3], device="cpu")
    expected = embedder(songs / "song_1.wav")
    cases: dict[str, tuple[list[str], list[str]]] = {
        "one": (["--layers", "3"], ["live/last.npy", "song_0.npy"]),
        "both": (["--layers", "1,3"], ["layer_1/live/last.npy", "layer_1/song_0.npy"]),
        "pooled": (["--layers", "all", "--pool", "mean"], ["live/last.npy", "song_0.npy"]),
    }
    for name, (options, names) in cases.items():
        output = tmp_path / name
        result = run(songs, "--model", tiny_model, "-o", output, *options)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{output}\n"
        assert f"Embedded 5 inputs; {output} holds 5." in result.stderr
        found = arrays(output)
        assert list(found)[: len(names)] == names
        for array in found.values():
            assert array.flags.c_contiguous
            assert array.dtype == np.float32
    assert np.array_equal(np.load(tmp_path / "one" / "song_1.npy"), expected[3])
    assert np.array_equal(np.load(tmp_path / "both" / "layer_1" / "song_1.npy"), expected[1])
    assert np.load(tmp_path / "pooled" / "song_1.npy").shape == (3, 16)
    record = json.loads((tmp_path / "both" / "embed.json").read_text())
    assert record["settings"]["layers"] == [1, 3]
    assert record["model"]["fingerprint"].startswith("sha256:")


def test_pieces_become_a_file_each(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    result = run(
        *(
            songs / "song_1.wav",
            songs / "song_2.wav",
            "--model",
            tiny_model,
            "-o",
            tmp_path / "out",
        ),
        *("--like", "edge", "--layers", "2", "--window", "0.3", "--stride", "0.2"),
    )
    assert result.exit_code == 0, result.output
    assert [*arrays(tmp_path / "out")] == [f"song_1_slice{number}.npy" for number in range(4)]
    assert "4 pieces of 1 input." in result.stderr
    assert "Skipped 1 song:" in result.stderr
    assert "song_2.wav lasts 0.2 s, less than one window of 0.3 s" in result.stderr


def test_tensors_and_datasets(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    common = ("--model", tiny_model, "--layers", "1,2", "--pool", "mean")
    assert run(songs, *common, "-o", tmp_path / "st", "--format", "safetensors").exit_code == 0
    tensors = load_file(tmp_path / "st" / "song_3.safetensors")
    assert sorted(tensors) == ["codes", "layer_1", "layer_2", "times"]
    result = run("--dataset", songs, *common, "-o", tmp_path / "ds", "--format", "dataset")
    assert result.exit_code == 0, result.output
    table = load_dataset(
        "parquet",
        data_files=str(tmp_path / "ds/data/*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    columns = ["song", "artist", "genre", "seconds", "times", "layer_1", "layer_2"]
    assert sorted(table.column_names) == sorted(columns)
    row = next(row for row in table if row["song"] == "song_3.wav")
    np.testing.assert_array_equal(np.float32(row["layer_2"]), tensors["layer_2"])
    half = run(songs, *common, "-o", tmp_path / "half", "--output-dtype", "float16")
    assert half.exit_code == 0
    assert np.load(tmp_path / "half" / "song_3.npy").dtype == np.float16


def test_shares_together_equal_one_run(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    common = (songs, "--model", tiny_model, "--layers", "all", "--device", "cpu")
    assert run(*common, "-o", tmp_path / "whole", "--batch-size", "3").exit_code == 0
    for part in ("2/2", "1/2"):
        result = run(*common, "-o", tmp_path / "shares", "--shard", part, "--batch-size", "1")
        assert result.exit_code == 0, result.output
        assert ("others have not finished" in result.stderr) == (part == "2/2")
    check_same(tmp_path / "shares", tmp_path / "whole")


@pytest.mark.slow
def test_launched_processes_equal_one_run(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    common = (songs, "--model", tiny_model, "--layers", "all", "--device", "cpu")
    assert run(*common, "-o", tmp_path / "whole").exit_code == 0
    words = [*common, "-o", tmp_path / "crew", "--num-processes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "jukebox_hf", "embed", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'crew'}\n"
    check_same(tmp_path / "crew", tmp_path / "whole")


def test_what_is_finished_is_kept_and_what_is_damaged_made_again(
    songs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    common = (songs, "--model", tiny_model, "-o", tmp_path / "out", "--layers", "2", "--json")
    assert json.loads(run(*common).stdout)["embedded"] == 5
    expected = arrays(tmp_path / "out")
    (tmp_path / "out" / "song_0.npy").unlink()
    (tmp_path / "out" / "embed" / "song_1.json").write_text("{")
    again = json.loads(run(*common).stdout)
    assert (again["embedded"], again["inputs"], again["complete"]) == (2, 5, True)
    for name, array in arrays(tmp_path / "out").items():
        assert np.array_equal(array, expected[name])


@pytest.mark.slow
def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(
    songs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    common = [str(songs), "--model", str(tiny_model), "--layers", "1,3", "--device", "cpu"]
    assert run(*common, "-o", tmp_path / "whole").exit_code == 0
    output = tmp_path / "killed"
    words = ["embed", *common, "--batch-size", "1", "-o", str(output)]
    process = subprocess.Popen([sys.executable, "-m", "jukebox_hf", *words])
    deadline = time.monotonic() + 120
    while not list(output.glob("embed/*.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    process.wait()
    assert run(*words[1:]).exit_code == 0
    check_same(output, tmp_path / "whole")


def test_codes_files_and_lists_are_inputs(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    codes = tmp_path / "song_3.codes.safetensors"
    encoded = CliRunner().invoke(
        main, ["encode", str(songs / "song_3.wav"), "--model", str(tiny_model), "-o", str(codes)]
    )
    assert encoded.exit_code == 0
    listed = f"{songs / 'song_0.wav'}\n{codes}\n"
    result = run("-", "--model", tiny_model, "-o", tmp_path / "out", "--layers", "1", input=listed)
    assert result.exit_code == 0, result.output
    assert [*arrays(tmp_path / "out")] == ["song_0.npy", "song_3.npy"]


def test_a_dataset_of_codes_is_an_input(songs: Path, tiny_model: Path, tmp_path: Path) -> None:
    codes = ["encode", "--dataset", str(songs), "--model", str(tiny_model)]
    assert CliRunner().invoke(main, [*codes, "-o", str(tmp_path / "codes")]).exit_code == 0
    result = run("--dataset", tmp_path / "codes", "--model", tiny_model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(arrays(tmp_path / "out")) == 5


def test_bad_files_are_listed_and_the_rest_is_embedded(
    songs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    bad, short = tmp_path / "bad.wav", tmp_path / "short.wav"
    bad.write_bytes(b"RIFF" + bytes(200))
    soundfile.write(short, np.full(50, 0.1), SAMPLING_RATE)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(4000), SAMPLING_RATE)
    result = run(
        bad, songs / "song_0.wav", short, silent, "--model", tiny_model, "-o", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert "Skipped 2 songs:" in result.stderr
    assert "bad.wav cannot be read" in result.stderr
    assert "short.wav lasts 0.00625 s, less than one code of level 2 (0.016 s)" in result.stderr
    assert f"1 input: it is silent ({silent})." in result.stderr
    assert len(arrays(tmp_path / "out")) == 2
    alone = run(bad, "--model", tiny_model, "-o", tmp_path / "none")
    assert alone.exit_code == 1
    assert "nothing could be embedded" in alone.stderr


def test_a_run_can_be_estimated(songs: Path, tiny_model: Path) -> None:
    result = run(songs, "--model", tiny_model, "--dry-run", "--layers", "all", "--pool", "mean")
    assert result.exit_code == 0, result.output
    assert "5 inputs, 3.1 s of audio" in result.stdout
    assert "never measured" in result.stdout
    record = json.loads(run(songs, "--model", tiny_model, "--dry-run", "--json").stdout)
    assert record["seconds"] > 0
    assert record["disk_bytes"] > 0
    assert {gpu["measured"] for gpu in record["gpus"]} == {False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "0"], "layers count from 1, got layer 0"),
        (["--layers", "73"], "the prior has layers 1 to 3, got 73"),
        (["--layers", "3,3"], "layer 3 is named more than once"),
        (["--layers", "deep"], "'deep' names no layers"),
        (["--like", "edge"], "layers 1 to 3, got layer 66"),
        (["--rate", "100"], "the rate must be at most 62.5 per second"),
        (["--window", "2"], "is longer than the context of this prior, 0.512 s"),
        (["--level", "5"], "has priors of level 0, 1, 2, not of level 5"),
        (["--stride", "1"], "a stride needs a window"),
        (["--start", "3", "--end", "2"], "end_seconds must be after start_seconds"),
        (["--push-to-hub", "me/x"], "--push-to-hub needs --format dataset"),
        (["--dataset", "x"], "give audio files or folders, or --dataset"),
        (["nowhere.wav"], "there is no file or folder nowhere.wav"),
    ],
)
def test_bad_requests_are_refused_before_any_weight_is_loaded(
    arguments: list[str],
    message: str,
    songs: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(System, "load_prior", None)
    monkeypatch.setattr(System, "load_vqvae", None)
    result = run(songs, "--model", tiny_model, "-o", tmp_path / "out", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_settings_or_other_files_is_refused(
    songs: Path, tiny_model: Path, lyric_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert run(songs, "--model", tiny_model, "-o", output, "--layers", "2").exit_code == 0
    before = arrays(output)
    for arguments, message in (
        (["--layers", "1"], "layers 2, not 1;"),
        (["--layers", "2", "--pool", "mean"], "pool none, not mean"),
        (["--layers", "2", "--precision", "bfloat16"], "precision float32, not bfloat16"),
        (["--layers", "2", "--model", str(lyric_model)], "another model"),
    ):
        result = run(songs, "--model", tiny_model, "-o", output, *arguments)
        assert result.exit_code == 1
        assert message in result.stderr, result.stderr
    assert list(arrays(output)) == list(before)
    result = run(songs, "--model", tiny_model, "-o", songs)
    assert "is no folder of features" in result.stderr


def test_memory_that_is_too_small_is_said_before(
    songs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUKEBOX_MEMORY_LIMIT", "20KB")
    result = run(songs, "--model", tiny_model, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "--layer-by-layer" in result.stderr


def test_names_of_files_do_not_collide() -> None:
    assert output_names(["a.wav", "b/a.wav"]) == ["a", "b/a"]
    assert output_names(["a.wav", "a.mp3", "c.flac"]) == ["a.wav", "a.mp3", "c"]
    assert output_names(["A.wav", "a.wav"]) == ["A", "a_1"]
    assert output_names(["../x/a.wav", "/etc/a.codes.safetensors"]) == ["x/a", "etc/a"]

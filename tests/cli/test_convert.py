"""`jukebox convert` as a user meets it: results, notes, and errors in one line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.hub import System
from tests.golden_data import golden
from tests.hub.checkpoints import paths_of, port_config_of, port_state, write_port


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_files_become_a_model(tmp_path: Path) -> None:
    result = run(*paths_of("small"), "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'model'}\n"
    assert re.search(r"^vqvae: [\d,]+ parameters, [\d.]+ [kM]B, float32, from ", result.stderr)
    assert System.open(tmp_path / "model").prior_levels == (0, 1)


def test_json_tells_what_was_made(tmp_path: Path) -> None:
    result = run(*paths_of("clamp"), "-o", tmp_path / "model", "--dtype", "float16", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["output"] == str(tmp_path / "model")
    assert record["licence"] is None
    assert set(record["components"]) == {"vqvae", "prior_2"}
    assert record["components"]["prior_2"]["dtype"] == "float16"
    assert "cannot be prompted by name" in record["notes"][0]
    assert "Note: prior_2 takes artists and genres" in result.stderr
    quiet = run(*paths_of("clamp"), "-o", tmp_path / "model", "--overwrite", "-q")
    assert quiet.stderr == ""


def test_a_folder_of_the_former_port(tmp_path: Path) -> None:
    paths = paths_of("small")
    folder = write_port(tmp_path / "port", port_state(paths, 2), port_config_of(paths))
    result = run(folder, "--output", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert System.open(tmp_path / "model").prior_levels == (0, 1)


def test_the_licence_of_the_lists_is_said(tmp_path: Path) -> None:
    result = run(*paths_of("upsamplers"), "-o", tmp_path / "model", "--ids-dir", golden("text/ids"))
    assert result.exit_code == 0, result.output
    assert "Noncommercial Use License" in result.stderr
    assert System.open(tmp_path / "model").manifest.licence == "openai-noncommercial"


def test_a_prior_for_a_model_that_was_converted_before(tmp_path: Path) -> None:
    assert run(*paths_of("upsamplers"), "-o", tmp_path / "first").exit_code == 0
    _, prior = paths_of("clamp")
    result = run(prior, "-o", tmp_path / "second", "--vqvae", tmp_path / "first")
    assert result.exit_code == 0, result.output
    assert "is on this machine only" in result.stderr
    found = System.open(tmp_path / "second").prior_config(2).codebook_fingerprint
    assert found == System.open(tmp_path / "first").vqvae_config().codebook_fingerprint


def test_errors_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "vqvae.pth.tar"
    text.write_text("Some lyrics")
    for arguments, message in (
        ([text], "found a file that begins with 'Some lyrics'"),
        ([tmp_path / "nowhere.pth.tar"], "no such file or folder"),
        ([paths_of("clamp")[1]], "does not say how much audio a code means"),
        (
            [*paths_of("clamp"), "--preset", f"{paths_of('clamp')[0]}=small_vqvae"],
            "(as small_vqvae)",
        ),
        ([*paths_of("clamp"), "--vqvae", tmp_path], "holds checkpoints of the original"),
    ):
        result = run(*arguments, "-o", tmp_path / "model")
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        assert not (tmp_path / "model").exists()


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    for extra in ([], ["--overwrite"]):
        result = run(*paths_of("clamp"), "-o", tmp_path / "model", *extra)
        assert result.exit_code == 1
        assert "exists" in result.stderr
        assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'SOURCE...'"),
        (["a.pth.tar"], "Missing option '-o'"),
        (["a.pth.tar", "-o", "x", "--dtype", "int8"], "Invalid value for '--dtype'"),
        (["a.pth.tar", "-o", "x", "--ids-dir", "nowhere"], "Invalid value for '--ids-dir'"),
        (["a", "b", "-o", "x", "--preset", "vqvae"], "say which one: FILE=vqvae"),
    ],
)
def test_usage_errors(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr

"""Shared options: durations, levels, per-level values, and how errors and results come out."""

import doctest
import errno
import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import jukebox_cli.options as options
from jukebox_cli.options import (
    DURATION,
    LEVELS,
    clean_errors,
    device_option,
    json_option,
    model_option,
    note,
    output_option,
    overwrite_option,
    parse_duration,
    per_level_option,
    precision_option,
    print_result,
    quiet_option,
    seed_option,
)


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(options).failed == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("2.5", 2.5),
        (".5", 0.5),
        ("1e2", 100.0),
        ("0:00", 0.0),
        ("1:30", 90.0),
        ("01:05.25", 65.25),
        ("90:00", 5400.0),
        ("1:02:03", 3723.0),
        (" 1:30 ", 90.0),
    ],
)
def test_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "-1", "nan", "inf", "1e999", "1:60", "1:75:00", "1:2:3:4", "-0:30", "1:-5"),
        *("1:", ":30", "1:nan", "1:+5", "1.5:00", "1:30s", "٣:00", "1_0:00"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"not a duration; give seconds.*or m:ss"):
        DURATION.convert(text, None, None)


def test_duration_defaults_may_be_numbers() -> None:
    assert DURATION.convert(20, None, None) == 20.0
    assert parse_duration("20") == 20.0


def test_levels_are_sorted_and_distinct() -> None:
    assert LEVELS.convert("2", None, None) == (2,)
    assert LEVELS.convert("2, 0,2", None, None) == (0, 2)


@pytest.mark.parametrize("text", ["", "top", "-1", "0,", "1.5"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a list of levels"):
        LEVELS.convert(text, None, None)


@click.command(context_settings={"show_default": True})
@per_level_option(
    "--temperature", value_type=click.FLOAT, help="Temperature.", default_text="the model's"
)
@per_level_option("--top-k", value_type=click.IntRange(min=1), help="Codes to choose from.")
@clean_errors()
def sample(temperature: dict[int | None, float], top_k: dict[int | None, int]) -> None:
    """Show what was parsed."""
    click.echo(f"{temperature} {top_k}")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(sample, arguments)


def test_per_level_values_come_as_a_dict() -> None:
    assert invoke().output == "{} {}\n"
    result = invoke("--temperature", "0.98", "--temperature", "2=0.9", "--top-k", "0=5")
    assert result.output == "{None: 0.98, 2: 0.9} {0: 5}\n"


def test_per_level_mistakes_are_usage_errors() -> None:
    for arguments, message in [
        (["--temperature", "warm"], "'warm' is not a valid float"),
        (["--temperature", "top=1"], "'top' is not a level; give VALUE or LEVEL=VALUE"),
        (["--temperature", "-1=1"], "'-1' is not a level"),
        (["--temperature", "1=1", "--temperature", "1=2"], "given twice for level 1"),
        (["--top-k", "5", "--top-k", "5"], "given twice for all levels"),
        (["--top-k", "2=0"], "0 is not in the range x>=1"),
    ]:
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert message in result.output


def test_per_level_help_names_form_and_default() -> None:
    output = invoke("--help").output
    assert "--temperature VALUE|LEVEL=VALUE" in output
    assert "default: (the model's)" in " ".join(output.split())


class UnnamedError(ValueError):
    """An error without a message."""


def hub_error() -> Exception:
    from huggingface_hub.errors import RepositoryNotFoundError

    # huggingface_hub 2 is built on httpx2, huggingface_hub 1 on httpx.
    httpx = importlib.import_module("httpx2" if find_spec("httpx2") else "httpx")
    request = httpx.Request("GET", "https://hub.invalid/x")
    return RepositoryNotFoundError("404\nnot found", response=httpx.Response(404, request=request))


def safetensors_error() -> Exception:
    from safetensors import SafetensorError

    return SafetensorError("header too small")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("expected 3 levels,\n  got 2"), "expected 3 levels, got 2"),
        (UnnamedError(), "UnnamedError"),
        (FileNotFoundError(errno.ENOENT, "No such file", "song.wav"), "song.wav: No such file"),
        (OSError("disk full"), "disk full"),
        (ImportError("LoRA needs peft: pip install peft"), "LoRA needs peft: pip install peft"),
        (hub_error(), "404 not found"),
        (safetensors_error(), "header too small"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_expected_error_is_one_line_on_stderr(error: Exception, line: str) -> None:
    @click.command()
    @clean_errors()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(fail, [])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: {line}\n"


def test_unexpected_error_keeps_its_traceback() -> None:
    @click.command()
    @clean_errors()
    def fail() -> None:
        raise KeyError("codes")

    assert isinstance(CliRunner().invoke(fail, []).exception, KeyError)


def test_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @clean_errors()
    def fail() -> None:
        raise ValueError("no")

    monkeypatch.setenv("JUKEBOX_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(fail, []).exception, ValueError)


def test_interrupt_exits_with_130_and_usage_errors_stay_2() -> None:
    @click.command()
    @click.option("--wrong", is_flag=True)
    @clean_errors()
    def fail(wrong: bool) -> None:
        raise click.UsageError("no") if wrong else KeyboardInterrupt

    assert CliRunner().invoke(fail, []).exit_code == 130
    assert CliRunner().invoke(fail, ["--wrong"]).exit_code == 2


def test_closed_pipe_is_left_to_click() -> None:
    @click.command()
    @clean_errors()
    def fail() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    result = CliRunner().invoke(fail, [])
    assert result.exit_code == 1
    assert result.stderr == ""


@click.command(context_settings={"show_default": True})
@model_option(default_text="the built-in model")
@output_option(help="Where to write.", kind="file", default_text="a new name")
@seed_option()
@device_option
@precision_option
@overwrite_option
@json_option
@quiet_option
@clean_errors()
def everything(as_json: bool, quiet: bool, **given: object) -> None:
    """Show what was parsed."""
    note("working", quiet=quiet)
    print_result("done", given, as_json=as_json)


def test_shared_options_and_their_defaults() -> None:
    result = CliRunner().invoke(everything, ["--json"])
    assert result.stderr == "working\n"
    assert json.loads(result.stdout) == {
        "model": None,
        "output": None,
        "seed": None,
        "device": "auto",
        "precision": None,
        "overwrite": False,
    }


def test_results_go_to_stdout_and_quiet_drops_notes(tmp_path: Path) -> None:
    path = tmp_path / "söng.wav"
    result = CliRunner().invoke(everything, ["-q", "-o", str(path)])
    assert (result.stdout, result.stderr) == ("done\n", "")
    assert "söng.wav" in CliRunner().invoke(everything, ["-o", str(path), "--json"]).stdout
    refused = CliRunner().invoke(everything, ["-o", str(tmp_path)])
    assert refused.exit_code == 2
    assert "is a directory" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--seed", "-1"], ["--seed", str(2**64)], ["--device", "tpu"], ["--precision", "int3"]],
    ids=" ".join,
)
def test_values_out_of_range_are_usage_errors(arguments: list[str]) -> None:
    assert CliRunner().invoke(everything, arguments).exit_code == 2


def test_help_says_what_a_missing_option_means() -> None:
    text = " ".join(CliRunner().invoke(everything, ["--help"]).output.split())
    for default in ("the built-in model", "a new name", "a new one", "what suits the device"):
        assert f"[default: ({default})" in text
    assert "[default: auto]" in text

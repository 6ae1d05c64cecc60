"""The `jukebox` command itself: help, version, usage errors, completion, and how fast help is."""

import importlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jukebox_cli.main import COMMANDS, CommandEntry, LazyGroup, main
from jukebox_hf.labels.prior_processor import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
HEAVY_MODULES = ("torch", "transformers", "datasets", "accelerate", "numpy")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_is_shown_without_arguments() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert result.output == CliRunner().invoke(main, ["--help"]).output


def test_help_lists_every_command_with_its_line() -> None:
    output = CliRunner().invoke(main, ["-h"], terminal_width=100).output
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.help)}$", output, re.MULTILINE)


def test_version_is_the_installed_one() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="jukebox")
    assert result.output == f"jukebox {version('jukebox-hf')}\n"


def test_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["sing"])
    assert result.exit_code == 2
    assert "No such command 'sing'" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_documents_its_options(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for inner in walk(command):
        assert inner.help
        for parameter in inner.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{inner.name} {parameter.opts}"


def walk(command: click.Command) -> list[click.Command]:
    """A command and the commands below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(inner for child in below for inner in walk(child))]


def test_help_imports_nothing_heavy() -> None:
    result = run_python(
        f"""
import sys
from jukebox_cli.main import COMMANDS, main
for arguments in [], *([name] for name in COMMANDS):
    main([*arguments, "--help"], standalone_mode=False)
    heavy = sorted(set({HEAVY_MODULES!r}) & set(sys.modules))
    assert not heavy, f"{{arguments}} imported {{heavy}}"
"""
    )
    assert result.returncode == 0, result.stderr


def test_records_presets_and_names_are_read_without_what_models_need() -> None:
    sessions = ROOT / "tests" / "generation" / "sessions"
    result = run_python(
        f"""
import sys
from jukebox_cli.main import main
from jukebox_hf import TrainingSettings
from jukebox_hf.labels.storage import read_processor_files
from jukebox_hf.labels.vocabularies import Vocabulary
assert main(["sessions", "list", {str(sessions)!r}, "--json"], standalone_mode=False) is None
assert main(["train", "presets", "--json"], standalone_mode=False) is None
try:
    TrainingSettings.preset("toy_top", stps=3)
except ValueError as error:
    assert "Did you mean 'steps'?" in str(error)
folder = {str(ROOT / "jukebox_hf" / "demo" / "prior_2")!r}
settings, names = read_processor_files(folder, {SETTINGS!r})
genres = Vocabulary(names["genres"], dialect=settings["dialect"], kind="genre")
assert genres.search("rock"), list(genres)
assert main(["info"], standalone_mode=False) is None
assert main(["labels", "search", "rock", "--json"], standalone_mode=False) is None
heavy = sorted({{"torch", "transformers", "datasets", "accelerate"}} & set(sys.modules))
assert not heavy, heavy
"""
    )
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    listed = json.loads(printed[0])["sessions"]
    assert len(listed) == len(list(sessions.glob("*/session.json"))) > 0
    assert "  memory     float32" in printed[-2]
    assert [genre["name"] for genre in json.loads(printed[-1])["genres"]] == ["rock"]


def test_music_is_made_without_transformers(tmp_path: Path) -> None:
    result = run_python(
        f"""
import sys
from jukebox_cli.main import main
from jukebox_hf.generation import level_sampler
sample, before = level_sampler.LevelSampler.sample, []
def first(self, *args, **named):
    before.append(set(sys.modules))
    return sample(self, *args, **named)
level_sampler.LevelSampler.sample = first
line = ["generate", "--seconds", "0.4", "--to-level", "2", "-q", "-o", {str(tmp_path / "made")!r}]
main(line, standalone_mode=False)
heavy = {{"torch._dynamo", "torch.distributed.tensor", "scipy", "sympy", "datasets", "accelerate"}}
print("imported", *sorted((heavy & before[0]) | {{"transformers"}} & set(sys.modules)))
"""
    )
    assert result.stdout.splitlines()[-1] == "imported", result.stdout + result.stderr


def test_help_answers_at_once() -> None:
    """Design: under 0.3 s, which is what so many modules of Python's own take at most.

    What is counted is imports, of all helps together: time would depend on what else runs.
    """
    result = run_python(
        """
import sys
before = set(sys.modules)
from jukebox_cli.main import COMMANDS, main
for arguments in [], *([name] for name in COMMANDS):
    main([*arguments, "--help"], standalone_mode=False)
print("imported", *sorted(set(sys.modules) - before))
"""
    )
    imported = result.stdout.splitlines()[-1].split()[1:]
    others = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert others <= {"click", "colorama", "jukebox_cli", "jukebox_hf"}
    assert len(imported) < 200  # 120 with Python 3.11


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_script_is_printed(shell: str) -> None:
    result = run_python(
        "from jukebox_cli.main import main; main(prog_name='jukebox')",
        _JUKEBOX_COMPLETE=f"{shell}_source",
    )
    assert "_JUKEBOX_COMPLETE" in result.stdout, result.stderr


def test_shell_completion_completes_commands() -> None:
    result = run_python(
        "from jukebox_cli.main import main; main(prog_name='jukebox')",
        _JUKEBOX_COMPLETE="bash_complete",
        COMP_WORDS="jukebox ",
        COMP_CWORD="1",
    )
    completed = {line.partition(",")[2] for line in result.stdout.splitlines() if line}
    assert completed == set(COMMANDS), result.stderr


def test_command_is_imported_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    real_import = importlib.import_module

    def record(name: str, package: str | None = None) -> object:
        imported.append(name)
        return real_import(name, package)

    monkeypatch.setattr("jukebox_cli.main.importlib.import_module", record)
    CliRunner().invoke(main, ["--help"])
    assert imported == []


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: LazyGroup, ctx: click.Context, name: str) -> click.Command:
        raise KeyboardInterrupt

    monkeypatch.setattr(LazyGroup, "get_command", interrupt)
    result = CliRunner().invoke(main, ["generate"])
    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "no/such/folder"], 1, "no/such/folder: expected the folder of a model"),
        (["info", "--alll"], 2, "No such option '--alll'"),
        (["sing"], 2, "No such command 'sing'"),
        (["--sing"], 2, "No such option '--sing'"),
        (["train", "prior"], 2, "--output says where the run goes"),
        (["decode", "missing.safetensors"], 1, "there is no codes file missing.safetensors"),
        (["sessions", "show", "missing"], 2, "Directory 'missing' does not exist"),
        (["train", "vqvae", "--preset", "toy", "-o", "run"], 1, "no preset is called 'toy'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_with_json_an_error_is_one_object_where_the_result_would_be(
    arguments: list[str], code: int, message: str
) -> None:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == code
    record = json.loads(result.stdout)
    assert record.keys() == {"error", "exit_code"}
    assert record["exit_code"] == code
    assert message in record["error"]
    assert f"Error: {record['error']}\n" in result.stderr
    plain = CliRunner().invoke(main, arguments)
    assert (plain.exit_code, plain.stdout) == (code, "")


def test_an_interruption_is_an_object_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: LazyGroup, ctx: click.Context, name: str) -> click.Command:
        raise KeyboardInterrupt

    monkeypatch.setattr(LazyGroup, "get_command", interrupt)
    result = CliRunner().invoke(main, ["generate", "--json"])
    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 130


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("--output_dir", "--output"),
        ("--per_device_train_batch_size", "--batch-size"),
        ("--gradient-accumulation-steps", "--accumulation-steps"),
        ("--save_steps", "--set save_every=VALUE"),
        ("--lora_r", "--lora-rank"),
        ("--learning_rate", "--learning-rate"),
        ("--warmup_steps", "--set warmup_steps=VALUE"),
    ],
)
def test_options_of_other_trainers_are_refused_with_ours(option: str, ours: str) -> None:
    result = CliRunner().invoke(main, ["finetune", option, "4"])
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: No such option '{option}'. Here it is {ours}\n")


def test_table_rows_name_what_exists() -> None:
    for name, entry in COMMANDS.items():
        assert isinstance(entry, CommandEntry)
        module = importlib.import_module(f"jukebox_cli.{entry.module}")
        assert isinstance(getattr(module, entry.attribute), click.Command), name
        assert entry.help.endswith(".")


def test_what_a_terminal_cannot_show_is_spelt_out() -> None:
    code = "from jukebox_cli.main import main; main(['labels', 'search', '\\u6b4c\\u624b'])"
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert b"Traceback" not in done.stderr
    assert b"\\u6b4c" in done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
def test_closed_pipes_do_not_undo_work() -> None:
    code = (
        "import os, click; from jukebox_cli.options import note, print_result\n"
        "r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.dup2(w, 2)\n"
        "for _ in range(3): note('a' * 100000); print_result('a' * 100000, {}, as_json=False)\n"
        "os._exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7

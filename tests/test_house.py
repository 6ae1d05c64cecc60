"""The rules of the house that a machine can check; `CONTRIBUTING.md` says them in words."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import jukebox_hf

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "jukebox_hf"
CLI = ROOT / "cli"

# Who may import whom, by the name after `jukebox_hf.`; everyone may import EVERYONES.
EVERYONES = {
    "configuration",
    "files",
    "fronts",
    "hops",
    "launching",
    "layers",
    "locks",
    "plain_config",
    "precision",
    "records",
    "strictness",
    "refusals",
    "sampling_settings",
    "texts",
    "version",
    "words",
}
LEAVES = {"audio", "labels", "convnet", "codes"}
MODELS = {"vqvae", "prior"}
MAY_IMPORT: dict[str, set[str]] = {
    **{part: set() for part in EVERYONES | LEAVES},
    "pretrained": {"convnet"},
    "vqvae": LEAVES | {"pretrained"},
    "prior": LEAVES | {"pretrained"},
    "hub": LEAVES | MODELS,
    "generation": LEAVES | MODELS | {"hub"},
    "data": {"audio", "labels", "codes", "vqvae"},
    "representations": LEAVES | MODELS | {"hub", "generation", "data"},
    "listening": LEAVES | MODELS | {"hub", "generation", "data", "representations"},
    "training": LEAVES | MODELS | {"hub", "generation", "data"},
    "__init__": LEAVES
    | MODELS
    | {*("hub", "generation", "data", "representations", "training", "auto_registration")},
    "auto": LEAVES | MODELS | {"whole_model"},
    "whole_model": LEAVES | MODELS | {"hub", "generation", "pretrained"},
    "auto_registration": set(),
    "__main__": set(),
}
# Several processes are the business of these alone; the rest gets counts as plain integers.
MAY_DISTRIBUTE = ("training", "launching.py", "vqvae/codebook.py")


class Import(NamedTuple):
    """One imported name: where, from which module, and whether importing the file runs it."""

    file: Path
    line: int
    module: str
    name: str | None
    on_import: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imports_of(file: Path) -> list[Import]:
    """Every import statement of a file, with relative ones spelt out."""
    package = {LIBRARY: "jukebox_hf", CLI: "jukebox_cli"}
    top = LIBRARY if LIBRARY in file.parents else CLI
    folders = [package[top], *file.relative_to(top).parent.parts]
    found: list[Import] = []

    def visit(node: ast.AST, on_import: bool) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append(Import(file, node.lineno, alias.name, None, on_import))
        elif isinstance(node, ast.ImportFrom):
            base = folders[: len(folders) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found.append(Import(file, node.lineno, module, alias.name, on_import))
        elif (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)) or isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        ):
            on_import = False
        for child in ast.iter_child_nodes(node):
            visit(child, on_import)

    visit(parse(file), on_import=True)
    return found


def part_of(file: Path) -> str:
    """The name after `jukebox_hf.` that a file of the library belongs to."""
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported_part(imported: Import) -> str | None:
    """The name after `jukebox_hf.` that is imported, or None if it is not the library's."""
    head, _, rest = imported.module.partition(".")
    if head != "jukebox_hf":
        return None
    if rest:
        return rest.partition(".")[0]
    return imported.name if imported.name in MAY_IMPORT else "__init__"


def calls_in(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the called name as it is written."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def installed() -> importlib.metadata.Distribution:
    """What pip installed: not an .egg-info folder that some build left in the checkout."""
    places = [place for place in sys.path if Path(place).resolve() != ROOT]
    found = list(importlib.metadata.distributions(name="jukebox-hf", path=places))
    assert found, "install the package first: make test does it"
    return found[0]


def requirements() -> list[str]:
    """What setup.py says that the package and its extras need, whatever is installed."""
    (call,) = (node for name, node in calls_in(ROOT / "setup.py") if name == "setup")
    lists = [node.value for node in parse(ROOT / "setup.py").body if isinstance(node, ast.Assign)]
    given = [k.value for k in call.keywords if k.arg in ("install_requires", "extras_require")]
    found: list[str] = []
    for value in [*given, *(one for one in lists if isinstance(one, ast.List))]:
        constants = (node for node in ast.walk(value) if isinstance(node, ast.Constant))
        found += [node.value for node in constants if isinstance(node.value, str)]
    assert found
    return found


# --- who may import whom ------------------------------------------------------------------------


def test_every_part_of_the_library_has_its_place() -> None:
    parts = {part_of(file) for file in python_files(LIBRARY)}
    assert parts <= set(MAY_IMPORT), "add the new part to MAY_IMPORT and to CONTRIBUTING.md"


def test_parts_import_only_what_they_may() -> None:
    wrong = [
        str(imported)
        for file in python_files(LIBRARY)
        for imported in imports_of(file)
        if (part := imported_part(imported)) is not None
        and part not in {part_of(file), *EVERYONES, *MAY_IMPORT[part_of(file)]}
    ]
    assert not wrong


def test_library_does_not_import_the_command_line() -> None:
    wrong = [
        str(imported)
        for file in python_files(LIBRARY)
        if file.name != "__main__.py"
        for imported in imports_of(file)
        if imported.module.partition(".")[0] in ("jukebox_cli", "click")
    ]
    assert not wrong


def test_several_processes_are_the_business_of_few() -> None:
    wrong = [
        str(imported)
        for file in python_files(LIBRARY)
        if not file.relative_to(LIBRARY).as_posix().startswith(MAY_DISTRIBUTE)
        for imported in imports_of(file)
        if imported.module.startswith(("accelerate", "torch.distributed"))
        or (imported.module == "torch" and imported.name == "distributed")
    ]
    assert not wrong


def is_table_of_settings(imported: Import) -> bool:
    """What the options of generation are made of; it has no torch, and imports only words."""
    return imported.module == "jukebox_hf.sampling_settings"


def serves_the_page(imported: Import) -> bool:
    """Whether the studio's server may import it, which begins only when its command runs."""
    light = ("jukebox_hf.files", "jukebox_hf.locks", "jukebox_hf.records", "jukebox_hf.words")
    head = imported.module.partition(".")[0]
    is_server = imported.file.parent.name == "studio" and imported.file.name != "command.py"
    return is_server and (head in ("starlette", "uvicorn") or imported.module in light)


def test_command_line_imports_nothing_heavy_and_only_public_names() -> None:
    """Importing a command runs the standard library and click alone; the library comes later."""
    for file in python_files(CLI):
        for imported in imports_of(file):
            head = imported.module.partition(".")[0]
            if imported.on_import:
                light = head in sys.stdlib_module_names or head in ("click", "jukebox_cli")
                light = light or is_table_of_settings(imported)
                assert light or serves_the_page(imported), str(imported)
            if head == "jukebox_hf":
                path = [*imported.module.split("."), imported.name or ""]
                assert not any(name.startswith("_") for name in path), str(imported)
            assert head != "cli", f"{imported}: import jukebox_cli, or relatively"


def test_command_line_imports_the_fronts_of_parts() -> None:
    inside = [
        str(imported)
        for file in python_files(CLI)
        for imported in imports_of(file)
        if imported.module.startswith("jukebox_hf.") and imported.module.count(".") > 1
    ]
    assert not inside, "import it from the part's front, and export it there"


def test_only_declared_dependencies_are_imported() -> None:
    declared = {
        re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
        for requirement in requirements()
    }
    providers = importlib.metadata.packages_distributions()
    for file in [*python_files(LIBRARY), *python_files(CLI)]:
        for imported in imports_of(file):
            head = imported.module.partition(".")[0]
            if head in sys.stdlib_module_names or head.startswith("jukebox_"):
                continue
            names = {name.lower().replace("_", "-") for name in providers.get(head, [head])}
            assert names & declared, f"{imported}, which setup.py does not name"


# --- what code may not do -----------------------------------------------------------------------


def test_nothing_is_unpickled_without_weights_only() -> None:
    for file in [*python_files(LIBRARY), *python_files(CLI)]:
        for name, call in calls_in(file):
            where = f"{file.relative_to(ROOT)}:{call.lineno}"
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                assert given.get("weights_only") == "True", where
            assert given.get("allow_pickle", "False") == "False", where
            assert given.get("weights_only", "True") == "True", where
        unpicklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        for imported in imports_of(file):
            assert imported.module.partition(".")[0] not in unpicklers, str(imported)
            assert (imported.module, imported.name) != ("torch", "load"), str(imported)


def test_library_prints_nothing_and_sets_up_no_logging() -> None:
    for file in python_files(LIBRARY):
        for name, call in calls_in(file):
            where = f"{file.relative_to(ROOT)}:{call.lineno}"
            assert name not in ("print", "logging.basicConfig", "breakpoint"), where


def test_every_module_says_what_it_is() -> None:
    for file in [*python_files(LIBRARY), *python_files(CLI)]:
        tree = parse(file)
        if tree.body:
            assert ast.get_docstring(tree), file.relative_to(ROOT)


# --- what importing does ------------------------------------------------------------------------

IMPORT_PROBE = """
import json, logging, os, pathlib, random, signal, sys, warnings
import numpy, torch, transformers
from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedModel

def state():
    return {
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "warnings": len(warnings.filters),
        "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "torch random": torch.get_rng_state().tolist(),
        "random": hash(random.getstate()),
        "numpy random": numpy.random.get_state()[1].tolist(),
        "interrupt": str(signal.getsignal(signal.SIGINT)),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "files": sorted(map(str, pathlib.Path.home().rglob("*"))),
    }

before = state()
modules = set(sys.modules)
import jukebox_hf
after = state()
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "imported early": sorted({"datasets", "pydub", "peft", "click"} & (set(sys.modules) - modules)),
    "cuda": torch.cuda.is_initialized(),
}))
"""


def test_importing_the_library_does_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    environment.pop("HF_HOME", None)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_PROBE],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found == {"changed": [], "imported early": [], "cuda": False}


# --- configs ------------------------------------------------------------------------------------


def config_classes() -> list[type]:
    """Every config of the library, found by importing all of its configuration modules."""
    from jukebox_hf.configuration import JukeboxConfig

    for module in pkgutil.walk_packages(jukebox_hf.__path__, "jukebox_hf."):
        if module.name.rpartition(".")[2].startswith("configuration"):
            importlib.import_module(module.name)
    below = list(JukeboxConfig.__subclasses__())
    for config in below:
        below += config.__subclasses__()
    return [config for config in below if config.__module__.startswith("jukebox_hf.")]


def own_fields(config: type) -> list[str]:
    """The fields of a config that are not every transformers config's."""
    from transformers import PreTrainedConfig

    inherited = {field.name for field in fields(PreTrainedConfig)}
    return [field.name for field in fields(config) if field.name not in inherited]  # type: ignore[arg-type]


def names_read() -> set[str]:
    """Attributes that some code of the library reads, other than to check them."""
    checking = ("validate_architecture", "__post_init__")
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and node.name in checking:
            return
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        for child in ast.iter_child_nodes(node):
            visit(child)

    for file in python_files(LIBRARY):
        visit(parse(file))
    return found


def documents(text: str, name: str) -> bool:
    """Whether a docstring names a field, alone or as one of a family: `lyric_encoder_*`."""
    families = [family for family in re.findall(r"\b(\w+_)\*", text) if name.startswith(family)]
    return bool(families) or re.search(rf"\b{name}\b", text) is not None


def test_every_config_field_is_documented() -> None:
    for config in config_classes():
        text = inspect.getdoc(config) or ""
        missing = [name for name in own_fields(config) if not documents(text, name)]
        assert not missing, f"the docstring of {config.__name__} lacks {missing}"


def test_every_config_field_is_read() -> None:
    read = names_read()
    for config in config_classes():
        unread = [name for name in own_fields(config) if name not in read]
        assert not unread, f"no code reads these fields of {config.__name__}: {unread}"


# --- the package --------------------------------------------------------------------------------


def test_version_is_one() -> None:
    from jukebox_hf.version import __version__

    assert installed().version == __version__
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_front_door_lists_what_it_imports() -> None:
    listed = getattr(jukebox_hf, "__all__", [])
    imported = {
        found.name
        for found in imports_of(LIBRARY / "__init__.py")
        if found.module.startswith("jukebox_hf.") and found.name != "lazy_names"
    }
    assert imported <= set(listed)
    for name in listed:
        assert hasattr(jukebox_hf, name)
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(dir(jukebox_hf))


def test_type_checkers_and_python_see_the_same_fronts() -> None:
    fronts = [file for file in LIBRARY.rglob("__init__.py") if "lazy_names" in file.read_text()]
    assert len(fronts) > 3
    for file in fronts:
        package = ".".join(file.parent.relative_to(ROOT).parts)
        (places,) = (call.args[1] for name, call in calls_in(file) if name == "lazy_names")
        for_python = {
            (f"{package}.{module}", name)
            for module, names in ast.literal_eval(places).items()
            for name in names
        }
        for_checkers = {
            (found.module, found.name)
            for found in imports_of(file)
            if found.module.startswith(f"{package}.") and found.name != "lazy_names"
        }
        assert for_python == for_checkers, package
        modules = {path.stem for path in file.parent.iterdir()}
        hidden = sorted(modules & {name for _, name in for_python})
        assert hidden == [], f"once imported, a module of {package} takes the place of its name"
        for _, name in for_python:
            assert hasattr(importlib.import_module(package), name), f"{package}.{name}"


def test_training_and_data_are_imported_only_when_they_are_asked_for() -> None:
    code = (
        "import sys, jukebox_hf; "
        "print([name for name in ('training', 'data') if f'jukebox_hf.{name}' in sys.modules]); "
        "from jukebox_hf import JukeboxTrainer, TrainingSettings; "
        "from jukebox_hf import encode_dataset, open_codes, open_songs"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_nothing_installs_as_cli(tmp_path: Path) -> None:
    names = ["jukebox_hf", "jukebox_cli", "jukebox_model_cards", "cli", "model_cards"]
    found = subprocess.run(
        [
            *(sys.executable, "-P", "-c"),
            f"from importlib.util import find_spec; print([n for n in {names} if find_spec(n)])",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout.strip() == str(names[:3])


def test_recipe_of_the_built_in_model_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **settings: given.update(settings))
    runpy.run_path(str(ROOT / "setup.py"))
    inside = [name for name in given["packages"] if name.startswith("jukebox_model_cards")]
    assert inside == ["jukebox_model_cards"]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_pin_every_dependency_torch_first(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0].startswith("torch==")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    pinned = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    for requirement in installed().requires or []:
        needed = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
        if "extra ==" not in requirement:
            assert needed in pinned, f"{name} does not pin {needed}"

"""What the house weighs: sizes, repetitions, and the way of one `generate`, as a table.

    python -m tests.house_numbers [CHECKOUT [PYTHON]]

counts another checkout, such as an older commit's, with an interpreter that has its dependencies.
A comprehension is no function, although some versions of Python enter it like one.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LEVEL_SETTING = "guidance"  # stands for any setting of a level
RECORDS = re.compile(r"(record|take|entry|part|prompt|own|window|row|seam|labels)s?$")
RECORD_FILES = re.compile(
    r"generation/(session\w*|recording|continuing|exporting|preview|pipeline)|"
    r"cli/(sessions|session_commands|generation_options|branching|continue_|upsample|resume|generate)"
)
# What only one module should do, by what whoever does it writes.
TWINS = {
    "translators of the Hub's errors": re.compile(r"\bRepositoryNotFoundError\b"),
    "writers of whole folders": re.compile(r"\bos\.rename\(temporary\b|\btemporary\.rename\("),
    "launchers of processes": re.compile(r"\belastic_launch\(|\bsubprocess\.Popen\(.*\benv="),
    "byte formatters": re.compile(r"""["']kB["']|["']KiB["']|:\.\d[fg]\} ?[kKMG]i?B"""),
}
PROBE = """
import inspect, json, sys
root = sys.argv[1]
seen, files, calls = set(), set(), {}
first = {}

def watch(frame, event, argument):
    if event != "call":
        return
    code = frame.f_code
    if not code.co_filename.startswith((root + "/jukebox_hf", root + "/cli")):
        return
    name = code.co_name
    calls[name, code.co_filename] = calls.get((name, code.co_filename), 0) + 1
    if not code.co_flags & inspect.CO_OPTIMIZED or first:  # the body of a module or a class
        return
    if name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
        return
    if name == "choose_tokens":
        depth, outer = 0, frame
        while outer is not None:
            own = outer.f_code.co_filename.startswith((root + "/jukebox_hf", root + "/cli"))
            depth += own and outer.f_code.co_name != "<module>"
            outer = outer.f_back
        first.update(functions=len(seen), files=len(files), frames=depth)
    seen.add((name, code.co_filename, code.co_firstlineno))
    files.add(code.co_filename)

from jukebox_cli.main import main
sys.setprofile(watch)
try:
    main(["generate", "--seconds", "0.4", "--seed", "1", "-o", sys.argv[2], "--device", "cpu"])
except SystemExit:
    pass
sys.setprofile(None)

def count(name, end):
    return sum(n for (called, file), n in calls.items() if called == name and file.endswith(end))

print(json.dumps({
    **first,
    "plans": count("make_plan", "plan.py"),
    "processors": count("from_pretrained", "processor.py"),
    "priors": count("__init__", "modeling_prior.py"),
}))
"""


def sources(root: Path) -> list[Path]:
    """The modules of the package."""
    return sorted([*(root / "jukebox_hf").rglob("*.py"), *(root / "cli").rglob("*.py")])


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def subscripts(tree: ast.Module) -> Iterator[str]:
    """What is subscripted by text, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(getattr(node.slice, "value", None), str):
            yield ast.unparse(node.value)


def words(tree: ast.Module) -> set[str]:
    """Every name, attribute, argument and text that is one word."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found.add(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.lstrip("-"))
    return found


def library_imports(path: Path) -> set[str]:
    """The modules of the library that a file imports from."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "jukebox_hf"}


def imports_of(name: str, path: Path, names: set[str], *, in_functions: bool) -> set[str]:
    """The modules of ours that one imports when it runs, by their names after the root."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()

    def look(nodes: Iterator[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.ImportFrom):
                outer = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*outer, *([node.module] if node.module else [])])
                inner = {f"{base}.{alias.name}" for alias in node.names}
                found.update(inner & names or {base} & names)
            elif isinstance(node, ast.Import):
                found.update({alias.name for alias in node.names} & names)
            elif in_functions or not isinstance(node, ast.FunctionDef):
                look(ast.iter_child_nodes(node))

    look(iter(parse(path).body))
    return found - {name}


def circles(root: Path, *, in_functions: bool) -> list[list[str]]:
    """Groups of modules that import each other, when they are imported or also in functions."""
    modules = {}
    for path in sources(root):
        inner = path.relative_to(root).with_suffix("")
        first = "jukebox_cli" if inner.parts[0] == "cli" else inner.parts[0]
        name = ".".join([first, *inner.parts[1:]]).removesuffix(".__init__")
        modules[name] = path
    reached = {
        name: imports_of(name, path, set(modules), in_functions=in_functions)
        for name, path in modules.items()
    }
    for middle in modules:  # Warshall: what can be reached at all
        for name, further in reached.items():
            if middle in further:
                reached[name] = further | reached[middle]
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in modules
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def counted(root: Path) -> dict[str, str]:
    """What can be read from the sources."""
    files = sources(root)
    trees = {path: parse(path) for path in files}
    names = Counter(
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    )
    stems = Counter(path.stem for path in files if path.stem not in ("__init__", "__main__"))
    on_records = sum(
        bool(RECORDS.search(value))
        for path, tree in trees.items()
        if RECORD_FILES.search(path.relative_to(root).as_posix())
        for value in subscripts(tree)
    )
    cli = [path for path in files if path.is_relative_to(root / "cli")]
    on_options = sum(value == "options" for path in cli for value in subscripts(trees[path]))
    imported = set().union(*(library_imports(path) for path in cli))
    inside = {name for name in imported if name.count(".") > 1}
    named = [path for path in files if LEVEL_SETTING in words(trees[path])]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    return {
        "source lines / files": f"{lines:,} / {len(files)}",
        "text subscripts on session records / on options": f"{on_records} / {on_options}",
        "names in several modules / file names twice": (
            f"{sum(n > 1 for n in names.values())} / {sum(n > 1 for n in stems.values())}"
        ),
        "modules inside parts that cli/ imports / all": f"{len(inside)} / {len(imported)}",
        f"files that name a setting of levels ({LEVEL_SETTING})": str(len(named)),
        "import circles / counting imports in functions": " / ".join(
            str(len(circles(root, in_functions=inside))) for inside in (False, True)
        ),
        **{
            f"{name} (modules)": str(
                sum(bool(sign.search(path.read_text(encoding="utf-8"))) for path in files)
            )
            for name, sign in TWINS.items()
        },
    }


def walked(root: Path, python: str) -> dict[str, str]:
    """What one `generate` with the built-in model goes through."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-W", "ignore", "-c", PROBE, str(root), f"{folder}/s"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise SystemExit(f"generate failed in {root}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "functions, files before the first code; frames there": (
            f"{found['functions']}, {found['files']}; {found['frames']}"
        ),
        "plans made / processors read / priors built": (
            f"{found['plans']} / {found['processors']} / {found['priors']}"
        ),
    }


def main() -> None:
    """Print the table."""
    own = Path(__file__).resolve().parent.parent
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else own
    python = sys.argv[2] if len(sys.argv) > 2 else sys.executable
    for name, value in (counted(root) | walked(root, python)).items():
        print(f"{name:<62}{value}")


if __name__ == "__main__":
    main()

"""Public names of a package that are imported when they are first asked for.

A package's `__init__` imports its names for type checkers alone, and gives the same places here: so
that there is no such model can be said without torch, and help is shown without any of it.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str,
    places: Mapping[str, tuple[str, ...]],
    *,
    after: Callable[[], None] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package calls `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: its `__name__`.
        places: public names, by the module inside the package that defines them.
        after: called when a name has been imported.
    """
    modules = {name: module for module, names in places.items() for name in names}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{modules[name]}"), name)
        if after is not None:
            after()
        return found

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *modules})

    return get, names, sorted(modules)

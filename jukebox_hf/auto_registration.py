"""When the models register with transformers' Auto classes: once both libraries are imported.

Registering needs the model classes, and these need seconds of imports, which reading a codes file
or refusing a typo does not deserve. So `import jukebox_hf` only watches for transformers' modules
(with a finder in `sys.meta_path` that finds nothing itself), and imports `jukebox_hf.auto` when
the Auto classes are there and no module of either library is half imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_AUTO_CLASSES = "transformers.models.auto.configuration_auto"


class _Watcher(MetaPathFinder):
    """Lets the usual finder find transformers' modules, and knows which are being imported."""

    def __init__(self) -> None:
        self.importing: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "transformers":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WatchedLoader(spec.loader, self.importing)
        return spec


class _WatchedLoader(Loader):
    """The loader of a module of transformers; the outermost import ends with a look around."""

    def __init__(self, loader: Loader, importing: list[str]):
        self.loader = loader
        self.importing = importing

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader  # all others ask the real one
        self.importing.append(module.__name__)
        try:
            self.loader.exec_module(module)
        finally:
            self.importing.remove(module.__name__)
        register_if_due()


_WATCHER = _Watcher()


def watch() -> None:
    """Register as soon as it can be done, which may be now."""
    sys.meta_path.insert(0, _WATCHER)
    register_if_due()


def register_if_due() -> None:
    """Import `jukebox_hf.auto` if the Auto classes are there and nothing is half imported."""
    if _AUTO_CLASSES not in sys.modules or _WATCHER.importing or _WATCHER not in sys.meta_path:
        return
    if not any(_is_half_imported(name) for name in list(sys.modules)):
        sys.meta_path.remove(_WATCHER)
        import_module("jukebox_hf.auto")


def _is_half_imported(name: str) -> bool:
    """Whether a module of ours below the root is being imported further up the stack."""
    if not name.startswith("jukebox_hf."):
        return False
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))  # as importlib itself asks

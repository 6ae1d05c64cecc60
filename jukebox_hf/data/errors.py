"""What the Hub and `datasets` raise, as a `ValueError` or `OSError` of one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Within it, a repository that is not there is a `FileNotFoundError`; likewise a revision."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except HFValidationError:
        raise FileNotFoundError(
            f"there is no folder {repo_id!r}; expected one, or OWNER/NAME on the Hub"
        ) from None
    except GatedRepoError:
        raise PermissionError(
            f"the dataset {repo_id} wants its terms accepted first: do so on its page, and log in "
            "with `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"{repo_id} is neither a folder here nor a dataset on the Hub that you may read; check "
            "the name, or log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"the dataset {repo_id} has no such revision") from None


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

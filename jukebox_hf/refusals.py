"""What the Hub refuses, or why it could not be asked, as one sentence that says what to do.

`hub_refusals` stands around every call of huggingface_hub that may ask the Hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
AGAIN = "run the same again: what has been uploaded is not sent twice"
HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2")  # huggingface_hub 1 and 2
PROBE_SECONDS = 5.0


@contextmanager
def hub_refusals(
    repo_id: str, revision: str | None = None, *, kind: str = "model", writing: bool = False
) -> Iterator[None]:
    """Within it, an error of the Hub becomes an `OSError`, or a `ValueError` for a senseless name.

    An entry that is not in a repository says nothing about the repository, so `EntryNotFoundError`
    passes; callers know what it means.

    Args:
        repo_id: that is asked for.
        revision: of it.
        kind: what is looked for there, "model" or "dataset".
        writing: something is uploaded.
    """
    try:
        yield
    except Exception as error:
        found = _refusal(error, repo_id, revision, kind, writing)
        if found is None:
            raise
        raise found from error


def is_connection_error(error: BaseException) -> bool:
    """Whether the HTTP library that huggingface_hub uses raised it."""
    return any(kind.__module__.split(".")[0] in HTTP_LIBRARIES for kind in type(error).__mro__)


def is_reachable(repo_id: str, revision: str | None = None, *, kind: str = "model") -> bool:
    """Whether the Hub answers, asked once: downloads try again for half a minute.

    Raises as within `hub_refusals`, if the answer is that there is no such repository.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        with hub_refusals(repo_id, revision, kind=kind):
            HfApi().repo_info(
                repo_id,
                repo_type=kind,
                revision=revision,
                timeout=PROBE_SECONDS,
                files_metadata=False,
            )
    except OSError as error:
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code if cause.response is not None else 500
            if status < 500 and status != 429:
                raise
            return False
        if isinstance(cause, OfflineModeIsEnabled) or (cause and is_connection_error(cause)):
            return False
        raise
    return True


@contextmanager
def asked_once(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Within it, a Hub that does not answer is not asked for a dataset again and again.

    Libraries then use what was fetched before; where nothing was, that is a `FileNotFoundError`.
    """
    if is_reachable(repo_id, revision, kind="dataset"):
        yield
        return
    import datasets.config
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    except (ConnectionError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"{repo_id}: there is no such folder, and no such dataset in the cache; the Hub could "
            "not be asked (offline mode, or no connection)"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _refusal(
    error: Exception, repo_id: str, revision: str | None, kind: str, writing: bool
) -> Exception | None:
    """The error to raise instead; `None` for one that the Hub has nothing to do with."""
    from huggingface_hub import errors

    if isinstance(error, errors.EntryNotFoundError):
        return None
    if isinstance(error, errors.LocalTokenNotFoundError):
        return OSError(f"{repo_id}: pushing needs an account on the Hub; {LOGIN}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        if writing:
            return OSError(f"{repo_id}: cannot be pushed to while HF_HUB_OFFLINE is set; unset it")
        return OSError(f"{repo_id}: is not in the cache, and HF_HUB_OFFLINE is set")
    if isinstance(error, errors.HFValidationError):
        if writing:
            return ValueError(
                f"{repo_id}: expected the name of a repository, as in owner/name ({error})"
            )
        return ValueError(
            f"{repo_id}: expected the folder of a {kind}, or a repository on the Hub (owner/name)"
        )
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(
            f"{repo_id}: its owner asks to accept conditions first, on its page on the Hub; then "
            "log in with `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError) and not writing:
        return FileNotFoundError(
            f"{repo_id}: no such folder here and no such {_place(kind)} on the Hub, or it is "
            f"private: then {LOGIN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(
            f"{repo_id}: has no {'such branch' if writing else f'revision {revision}'}"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return OSError(f"{repo_id}: {_answer(error, writing)}")
    if writing and isinstance(error, RuntimeError):
        # huggingface_hub's word for a file that could not be uploaded
        return OSError(f"{repo_id}: {error} ({error.__cause__ or error}); {AGAIN}")
    if is_connection_error(error):
        reason = str(error) or type(error).__name__
        then = AGAIN if writing else "run the same again"
        return OSError(f"{repo_id}: the connection to the Hub failed ({reason}); {then}")
    return None


def _place(kind: str) -> str:
    return "repository" if kind == "model" else kind


def _answer(error: Any, writing: bool) -> str:
    status = error.response.status_code if error.response is not None else None
    if writing and status == 401:
        return f"the Hub does not accept this token, or the repository is not yours; {LOGIN}"
    if writing and status == 403:
        return (
            "this token may not write there; use one with write permission, or another owner "
            f"({error.server_message or 'forbidden'})"
        )
    if writing and status == 404:
        return f"no such repository, or this token may not see it; {LOGIN}"
    if writing and status == 412:
        return "somebody else committed to it meanwhile; run the same again"
    return f"the Hub answered with an error: {error}" + (f"; {AGAIN}" if writing else "")

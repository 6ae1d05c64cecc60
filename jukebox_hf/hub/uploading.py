"""One repository on the Hub that is about to be written to: what it holds, and a commit to it.

A commit is there whole or not at all. Files are uploaded before it; those that arrived before an
interruption are not sent again. What the Hub refuses comes out as one sentence.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
AGAIN = "run the same again: what has been uploaded is not sent twice"
HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2")  # huggingface_hub 1 and 2
Content = Path | bytes


@dataclass(frozen=True)
class Target:
    """A repository as it was when `open_target` looked.

    Attributes:
        repo_id: with its owner.
        repo_type: "model" or "dataset".
        branch: to commit to.
        commit: what the branch points at.
        files: that it holds.
        url: its page.
    """

    repo_id: str
    repo_type: str
    branch: str
    commit: str
    files: frozenset[str]
    url: str

    def read(self, path: str) -> str | None:
        """The text of a small file; `None` if there is none."""
        if path not in self.files:
            return None
        with clear_upload_errors(self.repo_id):
            found = hf_hub_download(
                self.repo_id, path, repo_type=self.repo_type, revision=self.commit
            )
        return Path(found).read_text(encoding="utf-8-sig")

    def upload(self, files: Mapping[str, Content], stale: Iterable[str], message: str) -> str:
        """Commit files by their path in the repository, and remove others; returns the commit.

        Raises:
            OSError: if the Hub refuses, cannot be reached, or somebody else was faster.
        """
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, content) for path, content in files.items()
        ]
        operations += [CommitOperationDelete(path) for path in sorted(stale)]
        with clear_upload_errors(self.repo_id):
            done = HfApi().create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type=self.repo_type,
                revision=self.branch,
                parent_commit=self.commit,
            )
        return str(done.oid)


def open_target(
    repo_id: str, *, repo_type: str, private: bool | None, branch: str | None
) -> Target:
    """Make a repository, and a branch in it, unless they exist; and see what is there.

    Args:
        repo_id: "owner/name", or a name alone for one of one's own.
        repo_type: "model" or "dataset".
        private: of a new repository; `None` is the account's default.
        branch: "main" if not given.

    Raises:
        ValueError: if it cannot be the name of a repository.
        OSError: if nobody is logged in, or the Hub refuses.
    """
    with clear_upload_errors(repo_id):
        if get_token() is None:
            raise LocalTokenNotFoundError
        api = HfApi()
        url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        branch = branch or "main"
        if branch != "main":
            api.create_branch(url.repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
        info: Any = api.repo_info(url.repo_id, repo_type=repo_type, revision=branch)
    files = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Target(url.repo_id, repo_type, branch, str(info.sha), files, str(url))


@contextmanager
def clear_upload_errors(repo_id: str) -> Iterator[None]:
    """Say in one sentence what went wrong, and what to do."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise OSError(f"{repo_id}: pushing needs an account on the Hub; {LOGIN}") from error
    except OfflineModeIsEnabled as error:
        raise OSError(
            f"{repo_id}: cannot be pushed to while HF_HUB_OFFLINE is set; unset it first"
        ) from error
    except HFValidationError as error:
        raise ValueError(
            f"{repo_id}: expected the name of a repository, as in owner/name ({error})"
        ) from error
    except RevisionNotFoundError as error:
        raise OSError(f"{repo_id}: has no such branch") from error
    except HfHubHTTPError as error:
        raise OSError(f"{repo_id}: {_refusal(error)}") from error
    except RuntimeError as error:  # huggingface_hub's word for a file that could not be uploaded
        cause = error.__cause__ or error
        raise OSError(f"{repo_id}: {error} ({cause}); {AGAIN}") from error
    except Exception as error:
        if not is_connection_error(error):
            raise
        reason = str(error) or type(error).__name__
        raise OSError(f"{repo_id}: the connection to the Hub failed ({reason}); {AGAIN}") from error


def is_connection_error(error: BaseException) -> bool:
    """Whether the HTTP library that huggingface_hub uses raised it."""
    return any(kind.__module__.split(".")[0] in HTTP_LIBRARIES for kind in type(error).__mro__)


def _refusal(error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else None
    if status == 401:
        return f"the Hub does not accept this token, or the repository is not yours; {LOGIN}"
    if status == 403:
        return (
            "this token may not write there; use one with write permission, or another owner "
            f"({error.server_message or 'forbidden'})"
        )
    if status == 404:
        return f"no such repository, or this token may not see it; {LOGIN}"
    if status == 412:
        return "somebody else committed to it meanwhile; run the same again"
    return f"the Hub answered with an error: {error}; {AGAIN}"

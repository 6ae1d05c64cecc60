"""One repository on the Hub that is about to be written to: what it holds, and a commit to it.

A commit is there whole or not at all. Files are uploaded before it; those that arrived before an
interruption are not sent again. What the Hub refuses comes out as one sentence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoUrl,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import LocalTokenNotFoundError

from jukebox_hf.refusals import hub_refusals

Content = Path | bytes


@dataclass(frozen=True)
class Target:
    """A repository as it was when `open_target` looked.

    Attributes:
        repo_id: with its owner.
        repo_type: "model", "dataset" or "space".
        branch: to commit to.
        commit: what the branch points at.
        files: that it holds.
        url: its page.
        create_pr: what is uploaded becomes a pull request.
    """

    repo_id: str
    repo_type: str
    branch: str
    commit: str
    files: frozenset[str]
    url: str
    create_pr: bool = False

    def read(self, path: str) -> str | None:
        """The text of a small file; `None` if there is none."""
        if path not in self.files:
            return None
        with hub_refusals(self.repo_id, writing=True):
            found = hf_hub_download(
                self.repo_id, path, repo_type=self.repo_type, revision=self.commit
            )
        return Path(found).read_bytes().decode("utf-8-sig")

    def upload(self, files: Mapping[str, Content], stale: Iterable[str], message: str) -> str:
        """Commit files by their path in the repository, and remove others; returns the commit.

        Raises:
            OSError: if the Hub refuses, cannot be reached, or somebody else was faster.
        """
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, content) for path, content in files.items()
        ]
        operations += [CommitOperationDelete(path) for path in sorted(stale)]
        with hub_refusals(self.repo_id, writing=True):
            done = HfApi().create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type=self.repo_type,
                revision=self.branch,
                parent_commit=self.commit,
                create_pr=self.create_pr,
            )
        return str(done.pr_url or done.oid)


def open_target(
    repo_id: str,
    *,
    repo_type: str,
    private: bool | None,
    branch: str | None,
    create_pr: bool = False,
    space_sdk: str | None = None,
) -> Target:
    """Make a repository, and a branch in it, unless they exist; and see what is there.

    Args:
        repo_id: "owner/name", or a name alone for one of one's own.
        repo_type: "model", "dataset" or "space".
        private: of a new repository; `None` is the account's default.
        branch: "main" if not given.
        create_pr: see `Target`.
        space_sdk: what a new Space runs on.

    Raises:
        ValueError: if it cannot be the name of a repository.
        OSError: if nobody is logged in, or the Hub refuses.
    """
    with hub_refusals(repo_id, writing=True):
        if get_token() is None:
            raise LocalTokenNotFoundError
        api = HfApi()
        branch = branch or "main"
        if create_pr:  # of somebody else's repository nothing is made
            url: Any = RepoUrl(f"{api.endpoint}/{'datasets/' * (repo_type != 'model')}{repo_id}")
        else:
            url = api.create_repo(
                repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=space_sdk
            )
        if branch != "main" and not create_pr:
            api.create_branch(url.repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
        info: Any = api.repo_info(url.repo_id, repo_type=repo_type, revision=branch)
    files = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Target(url.repo_id, repo_type, branch, str(info.sha), files, str(url), create_pr)

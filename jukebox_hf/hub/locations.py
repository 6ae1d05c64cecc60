"""Where a model's files are: a folder on this machine, or a repository on the Hub at one commit.

Files of the Hub come through huggingface_hub alone: its authentication, cache, retries and offline
mode (`HF_HUB_OFFLINE=1`). Nothing is fetched before it is asked for.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jukebox_hf.hub.built_in import BUILT_IN_NAME, built_in_model
from jukebox_hf.hub.manifest import MANIFEST_NAME
from jukebox_hf.refusals import hub_refusals, is_reachable

# What a component consists of; pickled weights are never fetched.
SETTINGS_FILES = ("*.json",)
ALL_FILES = ("*.json", "*.safetensors")
FEATURE_EXTRACTOR_FILE = "preprocessor_config.json"  # of a codec; transformers' name for it


@dataclass(frozen=True)
class LocalFolder:
    """A model on this machine; `origin` is the repository that it was converted from, if any."""

    root: Path
    origin: "HubRepository | None" = None

    def __str__(self) -> str:
        return str(self.root)

    @property
    def revision(self) -> str | None:
        """The commit that it was converted from."""
        return self.origin.commit if self.origin is not None else None

    def file(self, name: str) -> Path | None:
        """One file by its path below the root; `None` if there is none.

        Raises:
            ValueError: if the path leads out of the folder.
        """
        path = self.root / name
        if not path.is_file():
            return None
        self._check_inside(path)
        return path

    def folder(self, subfolder: str | None, patterns: Sequence[str]) -> Path:
        """A folder below the root.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it, or a file in it that matches, lies elsewhere.
        """
        folder = self.root / subfolder if subfolder else self.root
        self._check_inside(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder, but the model's manifest names it")
        for pattern in patterns:
            for path in folder.glob(pattern):
                self._check_inside(path)
                if not path.is_file():  # a pipe, a device: opening one could wait for ever
                    raise ValueError(f"{path}: expected a plain file; it is not opened")
        return folder

    def _check_inside(self, path: Path) -> None:
        """Links must not lead out of the model; those of the Hub's cache lead to its blobs."""
        root = self.root.resolve()
        allowed = [root]
        if root.parent.name == "snapshots":
            allowed.append(root.parent.parent / "blobs")
        found = path.resolve()
        if not any(found.is_relative_to(place) for place in allowed):
            raise ValueError(f"{path}: leads out of {self.root}, to {found}; it is not opened")


@dataclass(frozen=True)
class HubRepository:
    """A repository on the Hub, at one commit."""

    repo_id: str
    commit: str
    cache_dir: Path | None = None
    local_files_only: bool = False

    def __str__(self) -> str:
        return self.repo_id

    @property
    def revision(self) -> str:
        """The commit."""
        return self.commit

    def file(self, name: str) -> Path | None:
        """One file by its path below the root; `None` if there is none, or it is not to be had."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            with hub_refusals(self.repo_id, self.commit):
                return Path(
                    hf_hub_download(
                        self.repo_id,
                        name,
                        revision=self.commit,
                        cache_dir=self.cache_dir,
                        local_files_only=self.local_files_only,
                    )
                )
        except EntryNotFoundError:  # also: not cached, and no way to look
            return None

    def folder(self, subfolder: str | None, patterns: Sequence[str]) -> Path:
        """A folder below the root; fetches those of the matching files that are not cached."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        prefix = f"{subfolder}/" if subfolder else ""
        try:
            with hub_refusals(self.repo_id, self.commit):
                root = snapshot_download(
                    self.repo_id,
                    revision=self.commit,
                    cache_dir=self.cache_dir,
                    local_files_only=self.local_files_only,
                    allow_patterns=[prefix + pattern for pattern in patterns],
                )
        except LocalEntryNotFoundError as error:
            raise FileNotFoundError(
                f"{self.repo_id}: {subfolder or 'a part of it'} is not in the cache, and the Hub "
                "could not be asked (offline mode, or no connection)"
            ) from error
        folder = Path(root) / subfolder if subfolder else Path(root)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{self.repo_id}: has no {subfolder} (at {self.commit[:12]}), or not in the cache"
            )
        return folder


Location = LocalFolder | HubRepository


def open_location(
    path_or_repo: str | os.PathLike[str],
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: Path | None = None,
) -> Location:
    """Find a model: an existing folder, or else a repository on the Hub.

    `BUILT_IN_NAME` is the model that comes with the package, unless there is a folder of that name.

    Raises:
        FileNotFoundError: if it is neither, or not in the cache when the Hub cannot be asked.
        ValueError: if it cannot be the name of either, or a revision is given for a folder.
        OSError: if the Hub refuses, with how to log in.
    """
    path = Path(path_or_repo)
    if path.is_dir():
        if revision is not None:
            raise ValueError(f"{path} is a folder; a revision is only for repositories on the Hub")
        return LocalFolder(path)
    repo_id = os.fspath(path_or_repo)
    if repo_id == BUILT_IN_NAME and revision is None:
        return LocalFolder(built_in_model())
    if path.exists() or repo_id.startswith((".", "/", "~")) or repo_id.count("/") > 1:
        raise FileNotFoundError(
            f"{repo_id}: expected the folder of a model, or a repository on the Hub (owner/name)"
        )
    return open_repository(
        repo_id, revision=revision, local_files_only=local_files_only, cache_dir=cache_dir
    )


def open_repository(
    repo_id: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: Path | None = None,
) -> HubRepository:
    """Find a model on the Hub, at the commit that `revision` now is; raises as `open_location`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    local_files_only = local_files_only or not is_reachable(repo_id, revision)
    not_cached = None
    with hub_refusals(repo_id, revision):
        for name in (MANIFEST_NAME, "config.json"):
            try:
                found = hf_hub_download(
                    repo_id,
                    name,
                    revision=revision,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                )
            except LocalEntryNotFoundError as error:
                not_cached = error
            except EntryNotFoundError:
                continue
            else:
                commit = Path(found).parent.name
                return HubRepository(repo_id, commit, cache_dir, local_files_only)
    if not_cached is not None:
        raise FileNotFoundError(
            f"{repo_id}: there is no such folder, and no such repository in the cache; the Hub "
            "could not be asked (offline mode, or no connection)"
        ) from not_cached
    raise FileNotFoundError(
        f"{repo_id}: the repository has neither {MANIFEST_NAME} nor config.json"
    )

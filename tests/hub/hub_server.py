"""A small Hub in a process of its own: the HTTP API as far as huggingface_hub 1.x and 2.x use it.

    python hub_server.py        # prints its port, serves until its standard input is closed

Repositories live in memory. Tokens are `hf_` and a user's name. Below `/_control/` tests read the
log of requests, make connections break, and rename repositories. Written from what the client sends
and expects (huggingface_hub 1.33 and 2.4, `hf_api.py`, `lfs.py`, `file_download.py`).
"""

import base64
import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".arrow", ".parquet", ".bin", ".pkl")
REPOSITORY = r"(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
PLAIN_REPOSITORY = r"(?P<prefix>datasets/|spaces/)?(?P<repo>[^/]+/[^/]+?)"
CHUNK = 1 << 14


@dataclass(frozen=True)
class Blob:
    """A file's content. `oid` is git's, `sha256` is set for those that LFS holds."""

    data: bytes
    oid: str
    sha256: str | None


def make_blob(data: bytes, *, is_lfs: bool) -> Blob:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return Blob(data, oid, hashlib.sha256(data).hexdigest() if is_lfs else None)


@dataclass
class Repository:
    """Commits by name, each a whole tree; branches and tags point at them."""

    owner: str
    private: bool
    gated: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, Blob]) -> str:
        text = f"{len(self.commits)} {branch} {time.time_ns()}"
        name = hashlib.sha1(text.encode()).hexdigest()
        self.commits[name] = files
        self.refs[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass
class Failure:
    """What goes wrong with the next requests that match.

    Attributes:
        method: of the request.
        path: a regular expression that is searched in its path.
        count: how many requests fail.
        after: bytes of the body that still pass.
        action: "drop" the connection; "stall" until the client has gone; or a status to answer.
    """

    method: str
    path: str
    count: int = 1
    after: int = 0
    action: str | int = "drop"


class Hub:
    """All that the server knows."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.moved: dict[tuple[str, str], str] = {}
        self.failures: list[Failure] = []
        self.log: list[dict[str, Any]] = []


class Answer(Exception):
    """Ends the handling of a request."""

    def __init__(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if not isinstance(body, bytes):
            self.headers.setdefault("Content-Type", "application/json")


def refusal(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(
        status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message, **headers}
    )


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """The log is in memory."""

    def do_GET(self) -> None:
        self.handle_request()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # --- one request ---

    def handle_request(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = unquote(parts.path), parse_qs(parts.query)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.user = token.removeprefix("hf_") if token.startswith("hf_") else None
        self.entry: dict[str, Any] = {
            "method": self.command,
            "path": self.route,
            "user": self.user,
            "range": self.headers.get("Range"),
            "status": 0,
            "received": 0,
            "sent": 0,
        }
        control = self.route.startswith("/_control/")
        failure = None if control else self.next_failure()
        if not control:
            self.hub.log.append(self.entry)
        body = self.read_body(failure)
        if body is None:
            return
        try:
            if failure is not None and isinstance(failure.action, int):
                raise Answer(failure.action, {"error": "the test wants this to fail"})
            with self.hub.lock:
                self.dispatch(body)
            raise Answer(404, {"error": f"the test server has no {self.command} {self.route}"})
        except Answer as answer:
            self.answer(answer, failure if self.command == "GET" else None)

    def next_failure(self) -> Failure | None:
        with self.hub.lock:
            for failure in self.hub.failures:
                matches = failure.method == self.command and re.search(failure.path, self.route)
                if matches and failure.count > 0:
                    failure.count -= 1
                    return failure
        return None

    def read_body(self, failure: Failure | None) -> bytes | None:
        """The request's body; None if the connection is to break within it."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self.read_chunks()
        limit = length
        breaks = failure is not None and isinstance(failure.action, str) and self.command != "GET"
        if failure is not None and breaks:
            limit = min(length, failure.after)
        body = b""
        while len(body) < limit:
            part = self.rfile.read(min(CHUNK, limit - len(body)))
            if not part:
                break
            body += part
            self.entry["received"] = len(body)
        if failure is not None and breaks:
            self.break_off(failure)
            return None
        return body

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.entry["received"] = len(body)
        return body

    def answer(self, answer: Answer, failure: Failure | None) -> None:
        self.entry["status"] = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        breaks = failure is not None and isinstance(failure.action, str)
        body = answer.body[: failure.after] if failure is not None and breaks else answer.body
        for start in range(0, len(body), CHUNK):
            part = body[start : start + CHUNK]
            self.wfile.write(part)
            self.entry["sent"] += len(part)
        self.wfile.flush()
        if failure is not None and breaks:
            self.break_off(failure)

    def break_off(self, failure: Failure) -> None:
        if failure.action == "stall":
            self.entry["status"] = -1  # a test waits for this
            self.connection.settimeout(60)
            try:
                while self.connection.recv(CHUNK):
                    pass
            except OSError:
                pass
        self.close_connection = True
        self.connection.close()

    # --- routes ---

    def dispatch(self, body: bytes) -> None:
        routes = (
            ("GET", r"/_control/log", self.control_log),
            ("POST", r"/_control/(?P<what>\w+)", self.control),
            ("GET", r"/api/whoami-v2", self.whoami),
            ("POST", r"/api/repos/create", self.create),
            ("POST", r"/api/validate-yaml", self.validate),
            ("GET", rf"/api/{REPOSITORY}(/revision/(?P<rev>[^/]+))?", self.info),
            ("GET", rf"/api/{REPOSITORY}/tree/(?P<rev>[^/]+)(/(?P<path>.+))?", self.tree),
            ("POST", rf"/api/{REPOSITORY}/paths-info/(?P<rev>[^/]+)", self.paths_info),
            ("POST", rf"/api/{REPOSITORY}/preupload/(?P<rev>[^/]+)", self.preupload),
            ("POST", rf"/api/{REPOSITORY}/commit/(?P<rev>[^/]+)", self.commit),
            ("GET", rf"/api/{REPOSITORY}/refs", self.refs),
            ("POST", rf"/api/{REPOSITORY}/(?P<what>branch|tag)/(?P<name>[^/]+)", self.make_ref),
            ("POST", rf"/{PLAIN_REPOSITORY}\.git/info/lfs/objects/batch", self.lfs_batch),
            ("PUT", r"/_lfs/(?P<key>\d+)/(?P<oid>[0-9a-f]{64})", self.lfs_upload),
            ("POST", r"/_lfs/(?P<key>\d+)/verify", self.lfs_verify),
            ("GET", rf"/{PLAIN_REPOSITORY}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", self.resolve),
        )
        method = "GET" if self.command == "HEAD" else self.command
        for known, pattern, handler in routes:
            match = re.fullmatch(pattern, self.route)
            if known == method and match:
                handler(body=body, **match.groupdict())  # type: ignore[operator]

    def control_log(self, **_: Any) -> None:
        raise Answer(200, self.hub.log)

    def control(self, body: bytes, what: str) -> None:
        content = json.loads(body or b"{}")
        if what == "clear":
            self.hub.log.clear()
            self.hub.failures.clear()
        elif what == "fail":
            self.hub.failures.append(Failure(**content))
        elif what == "move":
            key = (content["kind"], content["old"])
            self.hub.repositories[content["kind"], content["new"]] = self.hub.repositories.pop(key)
            self.hub.moved[key] = content["new"]
        elif what == "put":  # as a stranger, who does not go through our checks
            repository = self.hub.repositories.setdefault(
                (content["kind"], content["repo"]), Repository("mallory", private=False)
            )
            repository.gated = content.get("gated", False)
            files = {
                path: make_blob(base64.b64decode(data), is_lfs=path.endswith(LFS_SUFFIXES))
                for path, data in content["files"].items()
            }
            repository.commit("main", files)
        else:
            raise Answer(400)
        raise Answer(200, {})

    def whoami(self, **_: Any) -> None:
        if self.user is None:
            raise Answer(401, {"error": "Invalid username or password."})
        access = {"displayName": "test", "role": "write"}
        raise Answer(
            200,
            {
                "type": "user",
                "id": self.user,
                "name": self.user,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": access},
            },
        )

    def create(self, body: bytes) -> None:
        content = json.loads(body)
        if self.user is None:
            raise Answer(401, {"error": "Invalid username or password."})
        kind = f"{content.get('type') or 'model'}s"
        owner = content.get("organization") or self.user
        if owner != self.user:
            message = f"You don't have the rights to create a {kind[:-1]} under this namespace"
            raise Answer(403, {"error": message}, {"X-Error-Message": message})
        repo = f"{owner}/{content['name']}"
        url = f"http://{self.headers['Host']}/{'' if kind == 'models' else f'{kind}/'}{repo}"
        if (kind, repo) in self.hub.repositories:
            raise Answer(409, {"error": "You already created this repo", "url": url})
        private = content.get("private") or content.get("visibility") == "private"
        repository = Repository(owner, bool(private))
        repository.commit("main", {".gitattributes": make_blob(b"", is_lfs=False)})
        self.hub.repositories[kind, repo] = repository
        raise Answer(200, {"url": url, "name": repo})

    def validate(self, body: bytes) -> None:
        """The Hub has a long list of rules; this one checks that there is a block of YAML."""
        content = json.loads(body)["content"]
        if not content.startswith("---\n"):
            raise Answer(400, {"errors": [{"message": "no metadata"}], "warnings": []})
        raise Answer(200, {"errors": [], "warnings": []})

    # --- repositories ---

    def find(self, kind: str, repo: str, *, write: bool = False) -> Repository:
        if (kind, repo) in self.hub.moved:
            target = self.path.replace(repo, self.hub.moved[kind, repo], 1)
            raise Answer(307, headers={"Location": target})
        repository = self.hub.repositories.get((kind, repo))
        hidden = repository is None or (repository.private and self.user != repository.owner)
        if repository is None or hidden:
            status = 401 if self.user is None else 404
            raise refusal(status, "RepoNotFound", "Repository not found")
        if repository.gated and self.user != repository.owner:
            raise refusal(403, "GatedRepo", f"Access to {kind[:-1]} {repo} is restricted")
        if write and self.user is None:
            raise Answer(401, {"error": "Invalid username or password."})
        if write and self.user != repository.owner:
            message = "Forbidden: you are not allowed to write to this repository"
            raise Answer(403, {"error": message}, {"X-Error-Message": message})
        return repository

    def files(self, repository: Repository, revision: str) -> tuple[str, dict[str, Blob]]:
        commit = repository.resolve(unquote(revision))
        if commit is None:
            raise refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit, repository.commits[commit]

    def info(self, kind: str, repo: str, rev: str | None, **_: Any) -> None:
        repository = self.find(kind, repo)
        commit, files = self.files(repository, rev or "main")
        now = "2026-11-01T00:00:00.000Z"
        raise Answer(
            200,
            {
                "_id": "0",
                "id": repo,
                "modelId": repo,
                "author": repository.owner,
                "sha": commit,
                "private": repository.private,
                "gated": repository.gated,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "lastModified": now,
                "createdAt": now,
                "siblings": [{"rfilename": path} for path in files],
            },
        )

    def tree(self, kind: str, repo: str, rev: str, path: str | None, **_: Any) -> None:
        _commit, files = self.files(self.find(kind, repo), rev)
        prefix = f"{path}/" if path else ""
        inside = {name: blob for name, blob in files.items() if name.startswith(prefix)}
        if path and not inside:
            raise refusal(404, "EntryNotFound", f"{path} does not exist")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for name, blob in inside.items():
            parts = name.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)):
                folder = prefix + "/".join(parts[:depth])
                if recursive or depth == 1:
                    entries[folder] = {"type": "directory", "path": folder, "oid": "", "size": 0}
            if recursive or len(parts) == 1:
                entries[name] = describe(name, blob)
        raise Answer(200, list(entries.values()))

    def paths_info(self, body: bytes, kind: str, repo: str, rev: str) -> None:
        _commit, files = self.files(self.find(kind, repo), rev)
        try:
            wanted = json.loads(body)["paths"]
        except ValueError:
            wanted = parse_qs(body.decode())["paths"]
        raise Answer(200, [describe(path, files[path]) for path in wanted if path in files])

    def refs(self, kind: str, repo: str, **_: Any) -> None:
        repository = self.find(kind, repo)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in repository.refs.items()
        ]
        raise Answer(200, {"branches": branches, "tags": [], "converts": []})

    def make_ref(self, body: bytes, kind: str, repo: str, what: str, name: str) -> None:
        repository = self.find(kind, repo, write=True)
        content = json.loads(body or b"{}")
        new, start = (name, "startingPoint") if what == "branch" else (content["tag"], "")
        origin = (content.get(start) or "main") if what == "branch" else name
        if new in repository.refs:
            raise Answer(409, {"error": "Reference already exists"})
        commit, _files = self.files(repository, origin)
        repository.refs[new] = commit
        raise Answer(200, {})

    # --- uploading ---

    def preupload(self, body: bytes, kind: str, repo: str, rev: str) -> None:
        repository = self.find(kind, repo, write=True)
        _commit, files = self.files(repository, rev)
        answers = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            is_lfs = path.endswith(LFS_SUFFIXES) or file["size"] > 10_000_000
            known = files.get(path)
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if is_lfs else "regular",
                    "shouldIgnore": False,
                    "oid": known.sha256 or known.oid if known else None,
                }
            )
        raise Answer(200, {"files": answers})

    def lfs_batch(self, body: bytes, prefix: str | None, repo: str) -> None:
        kind = (prefix or "models/")[:-1]
        repository = self.find(kind, repo, write=True)
        key = list(self.hub.repositories).index((kind, repo))
        base = f"http://{self.headers['Host']}/_lfs/{key}"
        objects = []
        for wanted in json.loads(body)["objects"]:
            found = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in repository.objects:
                found["actions"] = {
                    "upload": {"href": f"{base}/{wanted['oid']}"},
                    "verify": {"href": f"{base}/verify"},
                }
            objects.append(found)
        headers = {"Content-Type": "application/vnd.git-lfs+json"}
        content = {"transfer": "basic", "objects": objects}
        raise Answer(200, json.dumps(content).encode(), headers)

    def lfs_upload(self, body: bytes, key: str, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Answer(400, {"error": "the content is not what was announced"})
        list(self.hub.repositories.values())[int(key)].objects[oid] = body
        raise Answer(200)

    def lfs_verify(self, body: bytes, key: str) -> None:
        wanted = json.loads(body)
        found = list(self.hub.repositories.values())[int(key)].objects.get(wanted["oid"])
        raise Answer(200 if found is not None and len(found) == wanted["size"] else 404, {})

    def commit(self, body: bytes, kind: str, repo: str, rev: str) -> None:
        repository = self.find(kind, repo, write=True)
        parent, files = self.files(repository, rev)
        files = dict(files)
        for line in body.decode().splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header" and value.get("parentCommit") not in (None, parent):
                raise Answer(412, {"error": "A commit has happened since. Please refresh."})
            if key == "file":
                data = base64.b64decode(value["content"])
                files[value["path"]] = make_blob(data, is_lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in repository.objects:
                    raise Answer(400, {"error": f"LFS pointer to missing object {value['oid']}"})
                files[value["path"]] = make_blob(repository.objects[value["oid"]], is_lfs=True)
            elif key == "deletedFile":
                files.pop(value["path"])
            elif key == "deletedFolder":
                inside = value["path"].rstrip("/") + "/"
                files = {path: blob for path, blob in files.items() if not path.startswith(inside)}
        name = repository.commit(unquote(rev), files)
        url = f"http://{self.headers['Host']}/{repo}/commit/{name}"
        raise Answer(200, {"success": True, "commitOid": name, "commitUrl": url, "hookOutput": ""})

    # --- downloading ---

    def resolve(self, prefix: str | None, repo: str, rev: str, path: str, **_: Any) -> None:
        repository = self.find((prefix or "models/")[:-1], repo)
        commit, files = self.files(repository, rev)
        blob = files.get(path)
        if blob is None:
            raise refusal(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{blob.sha256 or blob.oid}"',
            "Accept-Ranges": "bytes",
        }
        if blob.sha256:
            headers |= {"X-Linked-Size": str(len(blob.data)), "X-Linked-ETag": f'"{blob.sha256}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if self.command == "HEAD" or not wanted:
            headers["Content-Length"] = str(len(blob.data))
            raise Answer(200, blob.data, headers)
        first, size = int(wanted[1]), len(blob.data)
        last = min(int(wanted[2]) if wanted[2] else size - 1, size - 1)
        if first >= size:
            raise Answer(416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        raise Answer(206, blob.data[first : last + 1], headers)


def describe(path: str, blob: Blob) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid}
    if blob.sha256:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 130}
    return entry


class Server(ThreadingHTTPServer):
    """One thread per connection; connections that break are what this is for."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that are killed leave broken connections."""


def main() -> None:
    handler = type("HubHandler", (Handler,), {"hub": Hub()})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

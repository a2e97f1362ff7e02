"""A Hub on the loopback interface: what `huggingface_hub` needs to create, push and pull, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_dummy"


class StubHub:
    """Repositories by name, each with its commits, newest first on every branch.

    Attributes:
        url: its address.
        requests: method and path of every request.
        private: names of the private repositories.
        commits: files by repository and commit.
        branches: commits by repository and branch.
        broken: paths (regular expressions) whose requests fail.
        altered: files (by name) whose content is changed on the way out: same length, one bit flipped.
        cut: files that end early on the way out.
        sizes: sizes of files (by name) that are larger than what is kept of them.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.private: set[str] = set()
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.objects: dict[str, bytes] = {}
        self.broken: set[str] = set()
        self.altered: set[str] = set()
        self.cut: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Be gone; a second time, too."""
        self.server.shutdown()
        self.server.server_close()

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Files of a repository at a branch or commit."""
        return self.commits[repo][self.branches[repo].get(revision, revision)]

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        """Add files to a branch and return the commit."""
        content = self.files(repo, branch) | files
        commit = hashlib.sha1(repr((repo, len(self.commits[repo]), sorted(content.items()))).encode()).hexdigest()
        self.commits[repo][commit] = content
        self.branches[repo][branch] = commit
        return commit

    def create(self, repo: str, private: bool = False) -> None:
        """Make an empty repository."""
        empty = hashlib.sha1(repo.encode()).hexdigest()
        self.commits[repo] = {empty: {}}
        self.branches[repo] = {"main": empty}
        if private:
            self.private.add(repo)


class _Handler(BaseHTTPRequestHandler):
    hub: StubHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    do_GET = do_POST = do_PUT = do_HEAD

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(self.path.split("?")[0])
        self.hub.requests.append((self.command, path))
        if any(re.search(pattern, path) for pattern in self.hub.broken):
            # One of the failures that the client does not wait and try again after.
            return self._send(507, {"error": "the stub breaks here"})
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                repo = match.groupdict().get("repo")
                if repo is not None and not self._may_see(repo):
                    return self._send(401, {"error": "Repository Not Found"}, {"X-Error-Code": "RepoNotFound"})
                if self.command in ("POST", "PUT") and not self._has_token() and "oid" not in match.groupdict():
                    return self._send(401, {"error": "Invalid username or password."})
                return answer(self, body, **match.groupdict())
        return self._send(404, {"error": f"no such page: {path}"})

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _may_see(self, repo: str) -> bool:
        return repo in self.hub.commits and (repo not in self.hub.private or self._has_token())

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def create(self, body: bytes) -> None:
        wish = json.loads(body)
        repo = f"{wish.get('organization') or 'user'}/{wish['name']}"
        if repo in self.hub.commits:
            return self._send(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"})
        self.hub.create(repo, wish.get("visibility") == "private" or bool(wish.get("private")))
        return self._send(200, {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def branch(self, body: bytes, repo: str, branch: str) -> None:
        if branch in self.hub.branches[repo]:
            return self._send(409, {"error": "Reference already exists"})
        self.hub.branches[repo][branch] = self.hub.branches[repo]["main"]
        return self._send(200, {})

    def validate(self, body: bytes) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, repo: str, branch: str) -> None:
        files = [
            {
                "path": item["path"],
                "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for item in json.loads(body)["files"]
        ]
        self._send(200, {"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        wish = json.loads(body)
        upload = [
            {**item, "actions": {"upload": {"href": f"{self.hub.url}/objects/{item['oid']}"}}}
            for item in wish["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": upload}, {"Content-Type": "application/vnd.git-lfs+json"})

    def put_object(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._send(400, {"error": "the content is not what its name says"})
        self.hub.objects[oid] = body
        return self._send(200, {})

    def post_commit(self, body: bytes, repo: str, branch: str) -> None:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commit = self.hub.commit(repo, branch, files)
        address = f"{self.hub.url}/{repo}/commit/{commit}"
        self._send(200, {"success": True, "commitOid": commit, "commitUrl": address})

    def resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
        commit = self.hub.branches[repo].get(revision, revision)
        if commit not in self.hub.commits[repo]:
            return self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": commit}
        content = self.hub.commits[repo][commit].get(name)
        if content is None:
            return self._send(404, {"error": "Entry not found"}, headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        if name in self.hub.sizes:
            headers["X-Linked-Size"] = str(self.hub.sizes[name])
        if name in self.hub.altered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if name in self.hub.cut and self.command == "GET":
            content = content[: len(content) // 2]
        return self._send(200, content, headers)


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = (
    (("POST",), r"/api/repos/create", _Handler.create),
    (("POST",), r"/api/validate-yaml", _Handler.validate),
    (("POST",), rf"/api/models/{REPO}/branch/(?P<branch>.+)", _Handler.branch),
    (("POST",), rf"/api/models/{REPO}/preupload/(?P<branch>.+)", _Handler.preupload),
    (("POST",), rf"/api/models/{REPO}/commit/(?P<branch>.+)", _Handler.post_commit),
    (("POST",), rf"/{REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), r"/objects/(?P<oid>\w+)", _Handler.put_object),
    (("GET", "HEAD"), rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", _Handler.resolve),
)

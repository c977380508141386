"""A server on this machine that speaks the part of a Hugging Face hub's API that fetching and pushing need."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files at one commit, and how the server misbehaves."""

    files: dict[str, bytes]
    commit: str = "1" * 40
    licence: str | None = "cc-by-4.0"
    gated: bool = False
    cut: bool = False  # half of each file arrives
    wrong: str = ""  # how the names of files end of which other bytes arrive than are listed


@dataclass
class Hub:
    """What the server has, and what it was asked for."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    pushed: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, name: str, folder: Path, **options: object) -> Repository:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[name] = Repository(files, **options)  # type: ignore[arg-type]
        return self.repositories[name]


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.hub.asked.append(f"POST {path}")
        if path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            return self._json({"url": f"{self.hub.address}/{name}"})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(content)["files"]
            return self._json(
                {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]}
            )
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            lines = [json.loads(line) for line in content.splitlines()]
            files = {each["value"]["path"]: each["value"]["content"] for each in lines if each["key"] == "file"}
            self.hub.pushed[match[1]] = {name: base64.b64decode(data) for name, data in files.items()}
            return self._json({"commitUrl": f"{self.hub.address}/{match[1]}/commit/{'2' * 40}", "commitOid": "2" * 40})
        return self._error(404, "EntryNotFound", path)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._tell(match[1], match[2])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._give(match[1], match[3], body=body)
        return self._error(404, "EntryNotFound", path)

    def _tell(self, name: str, revision: str | None) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._error(401, "RepoNotFound", "Repository not found")
        if revision not in (None, "main", repository.commit):
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        siblings = [
            {
                "rfilename": path,
                "size": len(content),
                **(
                    {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}}
                    if path.endswith(("safetensors", "bin"))
                    else {"blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
                ),
            }
            for path, content in repository.files.items()
        ]
        card = {"license": repository.licence} if repository.licence else {}
        return self._json(
            {"id": name, "sha": repository.commit, "siblings": siblings, "cardData": card, "private": False, "tags": []}
        )

    def _give(self, name: str, path: str, *, body: bool) -> None:
        repository = self.hub.repositories[name]
        if repository.gated:
            return self._error(403, "GatedRepo", "Access to this model is restricted")
        content = repository.files[path]
        digest = hashlib.sha256(content).hexdigest()
        sent = bytes(len(content)) if repository.wrong and path.endswith(repository.wrong) else content
        self.send_response(200)
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(sent[: len(sent) // 2] if repository.cut else sent)
            self.close_connection = repository.cut
        return None

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _error(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

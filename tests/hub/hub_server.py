"""A small Hugging Face Hub on localhost, for tests: the clients stay unmodified and are pointed at it by `HF_ENDPOINT`.

    with HubServer() as hub:
        hub.create("ada/base", files={"config.json": b"{}"})
        hub.create_branch("ada/base", "step100")
        subprocess.run([...], env=hub.env(tmp_path))

It speaks the part of the Hub's HTTP API that huggingface_hub 2, datasets 5, transformers 5 and evaluate use: whoami,
repositories, tree, paths-info, preupload, commit, uploads (Git LFS, basic and multipart, and Xet), branches, refs, and
resolve with redirects and ranges. Which upload is used is the client's choice: Xet where `hf_xet` is installed, unless
`HF_HUB_DISABLE_XET` is set, as `env()` does by default. `fail()` injects faults; `requests` records what was asked.
"""

import os
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hub_api import ROUTES
from hub_call import Answer, Call
from hub_storage import HubError, Repo


@dataclass
class Account:
    """Who a token belongs to, and what it may do (`role` is "read" or "write")."""

    name: str
    role: str
    orgs: tuple[str, ...] = ()
    expired: bool = False

    def may_write(self, repo_id: str) -> bool:
        return self.role == "write" and repo_id.split("/")[0] in (self.name, *self.orgs)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD path" matches `pattern`.

    With a `status`, the server answers that and does nothing. With `drop_after`, it reads that many bytes of the
    body and resets the connection. With `lose_answer`, it does what was asked and resets the connection then. With
    `close_after`, it reads that many bytes of the body, answers `status` if there is one, and closes the connection as
    a server does that shuts down: with FIN, whatever the client is still sending.
    """

    pattern: str
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str] | None = None
    drop_after: int | None = None
    close_after: int | None = None
    lose_answer: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it was answered; `status` is 0 when the connection was dropped."""

    method: str
    path: str
    status: int
    authorized: bool


class HubServer:
    """The Hub: `endpoint` to point clients at, and the repositories, tokens, faults and requests behind it."""

    def __init__(self, user: str = "ada", token: str = "hf_local_write_token") -> None:
        self.lock = threading.RLock()
        self.user, self.token = user, token
        self.accounts = {token: Account(user, "write")}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.parts: dict[tuple[str, int], bytes] = {}  # (sha256, part number) of multipart uploads under way
        self.xet_tokens: dict[str, Repo] = {}
        self.xorbs: dict[str, list[bytes]] = {}
        self.multipart_above = 1_000_000  # bytes; small, so that tests see multipart uploads
        self.chunk_size = 400_000

    def __enter__(self) -> "HubServer":
        # Large files live on another origin, as on the Hub, where tokens must not be sent.
        self._servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self})) for _ in "ab"
        ]
        self.endpoint, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def env(self, home: Path, token: str | None = None, *, xet: bool = False) -> dict[str, str]:
        """The environment for a client process: this endpoint, a token, caches under `home`, and how to upload."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        return kept | {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token if token is None else token,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
        }

    def add_token(self, token: str, user: str, role: str = "write", orgs: tuple[str, ...] = ()) -> str:
        self.accounts[token] = Account(user, role, orgs)
        return token

    def expire(self, token: str) -> None:
        self.accounts[token].expired = True

    def create(
        self, repo_id: str, type: str = "model", *, private: bool = False, files: Mapping[str, bytes] | None = None
    ) -> Repo:
        """A repository made without HTTP, with `files` in its first commit after the initial one."""
        with self.lock:
            repo = self.repos[type, repo_id] = Repo(repo_id, type, private)
            if files:
                self.commit(repo_id, files, type=type)
            return repo

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        branch: str = "main",
        type: str = "model",
        title: str = "seeded",
        age: float = 0,
    ) -> str:
        """A commit made without HTTP, `age` seconds ago, that adds `files`; returns its id."""
        with self.lock:
            repo = self.repo(repo_id, type)
            head = repo.branches[branch]
            tree = dict(repo.commits[head].tree) | {path: repo.add_blob(data) for path, data in files.items()}
            repo.move(branch, repo.commit(head, tree, title, age))
            return repo.branches[branch]

    def create_branch(self, repo_id: str, branch: str, type: str = "model") -> str:
        """A branch made without HTTP, where `main` is now; returns the commit's id."""
        with self.lock:
            repo = self.repo(repo_id, type)
            repo.move(branch, repo.branches["main"])
            return repo.branches[branch]

    def repo(self, repo_id: str, type: str = "model") -> Repo:
        try:
            return self.repos[type, repo_id]
        except KeyError:
            raise HubError(404, "Repository not found", "RepoNotFound") from None

    def fail(self, pattern: str, **what: object) -> Fault:
        """Adds a `Fault`; it is tried in order, before any other handling."""
        fault = Fault(pattern, **what)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def asked(self, pattern: str) -> list[Request]:
        """The requests so far whose "METHOD path" matches."""
        return [request for request in self.requests if re.search(pattern, f"{request.method} {request.path}")]

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
            return None

    def answer(self, call: Call) -> Answer:
        """What the Hub answers, errors included."""
        try:
            if call.token is not None and call.token not in self.xet_tokens:
                account = self.accounts.get(call.token)
                if account is None or account.expired:
                    raise HubError(401, "Invalid credentials in Authorization header")
                call.account = account
            for method, pattern, handler in ROUTES:
                match = re.fullmatch(pattern, call.path)
                if match and method == call.method.replace("HEAD", "GET"):
                    with self.lock:
                        return handler(
                            self, call, **{key: unquote(value) for key, value in match.groupdict("").items()}
                        )
            raise HubError(404, f"no such page: {call.method} {call.path}")
        except HubError as error:
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            return Answer({"error": error.message}, status=error.status, headers=headers)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the hub answer it, and writes the answer; faults strike here."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        self.fault = self.hub.take_fault(f"{self.command} {url.path}")
        if self.fault and self.fault.drop_after is not None:
            self.rfile.read(min(self.fault.drop_after, int(self.headers.get("Content-Length") or 0)))
            return self.drop()
        if self.fault and self.fault.close_after is not None:
            self.rfile.read(min(self.fault.close_after, int(self.headers.get("Content-Length") or 0)))
            return self.close()
        body = self.read_body()
        if self.fault and self.fault.status is not None:
            return self.write_fault(self.fault.status)
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        call = Call(self.command, url.path, url.query, body, token if scheme == "Bearer" else None)
        answer = self.hub.answer(call)
        if self.fault and self.fault.lose_answer:
            return self.drop()
        self.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def record(self, status: int) -> None:
        authorized = self.headers.get("Authorization") is not None
        self.hub.requests.append(Request(self.command, urlsplit(self.path).path, status, authorized))

    def write(self, answer: Answer) -> None:
        self.record(answer.status)
        status, headers, content = answer.ranged(self.headers.get("Range"))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def write_fault(self, status: int, **more: str) -> None:
        headers = dict(self.fault.headers or {}) | more if self.fault else more
        self.write(Answer({"error": "injected fault"}, status=status, headers=headers))

    def close(self) -> None:
        """Ends the connection with FIN: what the client sends after that makes its next write a broken pipe."""
        if self.fault and self.fault.status is not None:
            self.write_fault(self.fault.status, Connection="close")
        else:
            self.record(0)
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Resets the connection (SO_LINGER 0 sends RST), so that the client sees a network error at once."""
        self.record(0)
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

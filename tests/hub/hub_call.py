"""One call to the local Hub and its answer, and who may see or change what."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from hub_storage import HubError, Repo

if TYPE_CHECKING:
    from hub_server import Account, HubServer


@dataclass
class Call:
    """One request, as a page sees it."""

    method: str
    path: str
    query: str
    body: bytes
    token: str | None
    account: "Account | None" = None

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def flag(self, name: str) -> bool:
        return parse_qs(self.query).get(name, [""])[0].lower() in ("1", "true")


@dataclass
class Answer:
    """A response: `content` is bytes, or what becomes JSON."""

    content: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def ranged(self, range_header: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, cut to one byte range when one is asked for."""
        if not isinstance(self.content, bytes):
            content, kind = json.dumps(self.content).encode(), "application/json"
        else:
            content, kind = self.content, "application/octet-stream"
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", **self.headers}
        status = self.status
        if status == 200 and range_header and range_header.startswith("bytes="):
            first, _, last = range_header.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, len(content) - int(last))
            stop = min(int(last) + 1 if first and last else len(content), len(content))
            if start >= len(content):
                return 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}, b""
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            status, content = 206, content[start:stop]
        return status, headers | {"Content-Length": str(len(content))}, content


def readable(hub: "HubServer", call: Call, repo_id: str, type: str) -> Repo:
    """The repository, or the same 404 for a missing one and for one that the caller may not see."""
    repo = hub.repo(repo_id, type.removesuffix("s"))
    if repo.private and not (call.account and repo_id.split("/")[0] in (call.account.name, *call.account.orgs)):
        raise HubError(404 if call.account else 401, "Repository not found", "RepoNotFound")
    return repo


def writable(hub: "HubServer", call: Call, repo_id: str, type: str) -> Repo:
    repo = readable(hub, call, repo_id, type)
    if call.account is None:
        raise HubError(401, "Invalid username or password.")
    if not call.account.may_write(repo_id):
        raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
    return repo

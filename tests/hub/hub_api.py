"""The pages of the local Hub: one function per call that the clients make, and the table that routes to them."""

import base64
import json
import posixpath
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

import hub_uploads as uploads
from hub_call import Answer, Call, readable, writable
from hub_metadata import metadata_of, problems
from hub_storage import Commit, File, HubError, Repo, apply_commit, git_oid, is_lfs

if TYPE_CHECKING:
    from hub_server import HubServer


def whoami(hub: "HubServer", call: Call) -> Answer:
    if call.account is None:
        raise HubError(401, "Invalid username or password.")
    orgs = [{"name": org, "type": "org", "roleInOrg": "write"} for org in call.account.orgs]
    access = {"displayName": "test", "role": call.account.role}
    user = {"type": "user", "name": call.account.name, "orgs": orgs}
    return Answer(user | {"auth": {"type": "access_token", "accessToken": access}})


def create_repo(hub: "HubServer", call: Call) -> Answer:
    wish = call.json()
    type = wish.get("type", "model")
    if call.account is None:
        raise HubError(401, "Invalid username or password.")
    repo_id = f"{wish['organization'] or call.account.name}/{wish['name']}"
    if not call.account.may_write(repo_id):
        raise HubError(
            403, f'You don\'t have the rights to create a {type} under the namespace "{wish["organization"]}"'
        )
    url = hub.endpoint + {"model": "/", "dataset": "/datasets/", "space": "/spaces/"}[type] + repo_id
    if (type, repo_id) in hub.repos:
        return Answer({"error": f"You already created this {type} repo", "url": url}, status=409)
    if type == "space" and not wish.get("sdk"):
        raise HubError(400, "a Space needs an sdk")
    private = wish.get("visibility") == "private" or bool(wish.get("private"))
    hub.repos[type, repo_id] = Repo(repo_id, type, private, wish.get("sdk"))
    return Answer({"url": url, "name": repo_id, "id": repo_id})


def validate_yaml(hub: "HubServer", call: Call) -> Answer:
    card = call.json()
    if found := problems(card["content"], card["repoType"]):
        return Answer({"errors": [{"message": problem} for problem in found], "warnings": []}, status=400)
    empty = [] if "---" in card["content"] else [{"message": "empty or missing yaml metadata"}]
    return Answer({"errors": [], "warnings": empty})


def repo_info(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str = "") -> Answer:
    repo = readable(hub, call, repo_id, type)
    commit = repo.resolve(revision or "main")
    siblings = [{"rfilename": path, "size": file.size, "blobId": file.oid} for path, file in commit.tree.items()]
    info: dict[str, Any] = {
        "_id": git_oid(repo.id.encode())[:24],
        "id": repo.id,
        "author": repo.id.split("/")[0],
        "sha": commit.oid,
    }
    info |= {"private": repo.private, "gated": False, "disabled": False, "lastModified": commit.date, "tags": []}
    info |= {"createdAt": commit.date, "downloads": 0, "likes": 0, "siblings": siblings}
    if card := commit.tree.get("README.md"):
        info["cardData"] = metadata_of(repo.content(card).decode(errors="replace"))
    return Answer(info | ({"modelId": repo.id} if repo.type == "model" else {"sdk": repo.sdk} if repo.sdk else {}))


def settings(hub: "HubServer", call: Call, type: str, repo_id: str) -> Answer:
    repo = writable(hub, call, repo_id, type)
    repo.private = call.json().get("visibility", "private" if repo.private else "public") == "private"
    return Answer({"private": repo.private})


def auth_check(hub: "HubServer", call: Call, type: str, repo_id: str, write: str) -> Answer:
    (writable if write else readable)(hub, call, repo_id, type)
    return Answer({})


def refs(hub: "HubServer", call: Call, type: str, repo_id: str) -> Answer:
    repo = readable(hub, call, repo_id, type)
    branches = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": oid} for b, oid in repo.branches.items()]
    tags = [{"name": t, "ref": f"refs/tags/{t}", "targetCommit": oid} for t, oid in repo.tags.items()]
    return Answer({"branches": branches, "converts": [], "tags": tags, "pullRequests": []})


def branch(hub: "HubServer", call: Call, type: str, repo_id: str, name: str) -> Answer:
    repo = writable(hub, call, repo_id, type)
    if call.method == "DELETE":
        if name == "main" or name not in repo.branches:
            raise HubError(404 if name != "main" else 403, f"cannot delete branch {name}", "RevisionNotFound")
        del repo.branches[name]
    elif name in repo.branches:
        raise HubError(409, f"Reference already exists: refs/heads/{name}")
    else:
        repo.move(name, repo.resolve(call.json().get("startingPoint") or "main").oid)
    return Answer({})


def commits(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str) -> Answer:
    log = readable(hub, call, repo_id, type).log(revision)
    return Answer([{"id": c.oid, "title": c.title, "message": "", "date": c.date, "authors": []} for c in log])


def describe(commit: Commit, path: str) -> Iterator[dict]:
    """A file or a folder of a tree, in the words of `tree` and `paths-info`; nothing when it does not exist."""
    last = {"lastCommit": {"id": commit.oid, "title": commit.title, "date": commit.date}}
    if file := commit.tree.get(path):
        lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 130}} if file.sha256 else {}
        yield {"type": "file", "oid": file.oid, "size": file.size, "path": path} | lfs | last
    elif any(other.startswith(path + "/") for other in commit.tree):
        yield {"type": "directory", "oid": git_oid(path.encode()), "size": 0, "path": path} | last


def tree(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str, path: str) -> Answer:
    commit = readable(hub, call, repo_id, type).resolve(revision)
    root = path.strip("/")
    below = [other for other in commit.tree if not root or other.startswith(root + "/")]
    if root and not below:
        raise HubError(404, f"{root} does not exist on {revision}", "EntryNotFound")
    names: dict[str, None] = {}
    for other in sorted(below):
        parts = other.removeprefix(root).strip("/").split("/")
        for depth in range(1, len(parts) + 1 if call.flag("recursive") else 2):
            names[posixpath.join(root, *parts[:depth])] = None
    return Answer([entry for name in names for entry in describe(commit, name)])


def paths_info(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str) -> Answer:
    commit = readable(hub, call, repo_id, type).resolve(revision)
    paths = parse_qs(call.body.decode())["paths"]
    return Answer([entry for path in paths for entry in describe(commit, path.strip("/"))])


def preupload(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str) -> Answer:
    known = writable(hub, call, repo_id, type).resolve(revision).tree
    files = []
    for file in call.json()["files"]:
        lfs = is_lfs(file["path"], file["size"], base64.b64decode(file["sample"]))
        oid = {"oid": known[file["path"]].etag} if file["path"] in known else {}
        files.append({"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False} | oid)
    return Answer({"files": files})


def commit(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str) -> Answer:
    repo = writable(hub, call, repo_id, type)
    made = apply_commit(repo, revision, [json.loads(line) for line in call.body.splitlines()])
    prefix = "" if type == "models" else f"/{type}"
    url = f"{hub.endpoint}{prefix}/{repo_id}/commit/{made.oid}"
    return Answer({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def resolve(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str, path: str) -> Answer:
    repo = readable(hub, call, repo_id, type or "models")
    commit = repo.resolve(revision)
    file: File | None = commit.tree.get(path)
    common = {"X-Repo-Commit": commit.oid}
    if file is None:
        missing = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
        return Answer(b"Entry not found", status=404, headers=common | missing)
    if file.sha256 is None:
        return Answer(repo.content(file), headers=common | {"ETag": f'"{file.etag}"'})
    linked = {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.etag}"'}
    location = f"{hub.storage}/storage/{repo.type}/{quote(repo_id)}/{file.sha256}"
    return Answer(status=302, headers=common | linked | {"Location": location})


_API = r"/api/(?P<type>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
_PAGE = r"/(?:(?P<type>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"
_OBJECT = r"/(?P<type>model|dataset|space)/(?P<repo_id>[^/]+/[^/]+)/(?P<sha256>[0-9a-f]{64})"
_REVISION = r"/(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create_repo),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", _API, repo_info),
    ("GET", _API + "/revision" + _REVISION, repo_info),
    ("PUT", _API + "/settings", settings),
    ("GET", _API + "/auth-check(?P<write>/write)?", auth_check),
    ("GET", _API + "/refs", refs),
    ("POST", _API + r"/branch/(?P<name>[^/]+)", branch),
    ("DELETE", _API + r"/branch/(?P<name>[^/]+)", branch),
    ("GET", _API + "/commits" + _REVISION, commits),
    ("GET", _API + "/tree" + _REVISION + "(?P<path>/.*)?", tree),
    ("POST", _API + "/paths-info" + _REVISION, paths_info),
    ("POST", _API + "/preupload" + _REVISION, preupload),
    ("POST", _API + "/commit" + _REVISION, commit),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", uploads.lfs_batch),
    ("PUT", "/upload" + _OBJECT + r"(?:/(?P<part>\d+))?", uploads.lfs_upload),
    ("POST", "/api/complete" + _OBJECT, uploads.lfs_complete),
    ("POST", "/api/verify" + _OBJECT, uploads.lfs_verify),
    ("GET", _PAGE + "/resolve" + _REVISION + "/(?P<path>.+)", resolve),
    ("GET", "/storage" + _OBJECT, uploads.storage),
    ("GET", _API + "/xet-write-token" + _REVISION, uploads.xet_token),
    ("POST", "/v1/xorbs/default/(?P<name>[0-9a-f]{64})", uploads.xorb),
    ("POST", "/v1/shards", uploads.shard),
]

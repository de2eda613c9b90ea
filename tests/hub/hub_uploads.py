"""The pages of the local Hub where large files come in (Git LFS and Xet), and the storage host that serves them."""

import hashlib
import time
from typing import TYPE_CHECKING

from hub_call import Answer, Call, writable
from hub_storage import HubError, Repo
from hub_xet import read_shard, read_xorb

if TYPE_CHECKING:
    from hub_server import HubServer


def lfs_batch(hub: "HubServer", call: Call, type: str, repo_id: str) -> Answer:
    repo = writable(hub, call, repo_id, type or "models")
    objects = []
    for wanted in call.json()["objects"]:
        sha256, size = wanted["oid"], wanted["size"]
        upload = f"{hub.storage}/upload/{repo.type}/{repo_id}/{sha256}"
        href, header = upload, {}
        if size > hub.multipart_above:
            count = -(-size // hub.chunk_size)
            header = {"chunk_size": str(hub.chunk_size)} | {str(n): f"{upload}/{n}" for n in range(1, count + 1)}
            href = f"{hub.endpoint}/api/complete/{repo.type}/{repo_id}/{sha256}"
        verify = {"href": f"{hub.endpoint}/api/verify/{repo.type}/{repo_id}/{sha256}", "header": {}}
        actions = {"actions": {"upload": {"href": href, "header": header}, "verify": verify}}
        objects.append({"oid": sha256, "size": size} | (actions if sha256 not in repo.lfs else {}))
    transfers = call.json()["transfers"]
    return Answer({"transfer": "multipart" if "multipart" in transfers else "basic", "objects": objects})


def store(repo: Repo, sha256: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise HubError(400, "the content does not match its sha256")
    repo.lfs[sha256] = content


def lfs_upload(hub: "HubServer", call: Call, type: str, repo_id: str, sha256: str, part: str) -> Answer:
    if call.token is not None:
        raise HubError(400, "a token was sent to the storage host")
    if part:
        hub.parts[sha256, int(part)] = call.body
    else:
        store(hub.repo(repo_id, type), sha256, call.body)
    return Answer(headers={"ETag": f'"{hashlib.md5(call.body).hexdigest()}"'})


def lfs_complete(hub: "HubServer", call: Call, type: str, repo_id: str, sha256: str) -> Answer:
    numbers = sorted(part["partNumber"] for part in call.json()["parts"])
    store(hub.repo(repo_id, type), sha256, b"".join(hub.parts[sha256, number] for number in numbers))
    return Answer({})


def lfs_verify(hub: "HubServer", call: Call, type: str, repo_id: str, sha256: str) -> Answer:
    if sha256 not in writable(hub, call, repo_id, type).lfs:
        raise HubError(404, "the object was not uploaded")
    return Answer({})


def storage(hub: "HubServer", call: Call, type: str, repo_id: str, sha256: str) -> Answer:
    if call.token is not None:
        raise HubError(400, "a token was sent to the storage host")
    return Answer(hub.repo(repo_id, type).lfs[sha256], headers={"ETag": f'"{sha256}"'})


def xet_token(hub: "HubServer", call: Call, type: str, repo_id: str, revision: str) -> Answer:
    """A short-lived token for the chunk storage. Nothing but uploads to this repository can be done with it."""
    repo = writable(hub, call, repo_id, type)
    token, expires = f"xet-{len(hub.xet_tokens)}", int(time.time()) + 3600
    hub.xet_tokens[token] = repo
    return Answer({"accessToken": token, "exp": expires, "casUrl": hub.storage})


def xet_repo(hub: "HubServer", call: Call) -> Repo:
    if call.token not in hub.xet_tokens:
        raise HubError(401, "not a token of the chunk storage")
    return hub.xet_tokens[call.token]


def xorb(hub: "HubServer", call: Call, name: str) -> Answer:
    xet_repo(hub, call)
    hub.xorbs[name] = read_xorb(call.body)
    return Answer({"was_inserted": True})


def shard(hub: "HubServer", call: Call) -> Answer:
    xet_repo(hub, call).lfs.update(read_shard(call.body, hub.xorbs))
    return Answer({"result": 1})

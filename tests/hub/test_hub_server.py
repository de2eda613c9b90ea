"""The local Hub answers as the Hub does, where the other tests rely on it."""

import urllib.error
import urllib.request

from hub_client import Client
from hub_server import HubServer


def get(url: str, token: str | None = None, **headers: str) -> tuple[int, dict, bytes]:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_ranges(hub: HubServer) -> None:
    hub.create("ada/base", files={"a/b.txt": b"0123456789"})
    url = f"{hub.endpoint}/ada/base/resolve/main/a/b.txt"
    for wanted, served in (("0-0", b"0"), ("2-4", b"234"), ("7-", b"789"), ("-2", b"89"), ("8-99", b"89")):
        status, headers, content = get(url, Range=f"bytes={wanted}")
        assert (status, content) == (206, served)
        assert headers["Content-Range"].endswith("/10")
    assert get(url, Range="bytes=10-")[0] == 416
    assert get(url)[::2] == (200, b"0123456789")


def test_private_repositories_are_not_shown_to_others(hub: HubServer) -> None:
    hub.create("ada/secret", private=True, files={"x": b"1"})
    hub.add_token("hf_bob", "bob")
    url = f"{hub.endpoint}/ada/secret/resolve/main/x"
    assert get(url)[0] == 401
    assert get(url, "hf_bob")[0] == 404
    assert get(url, hub.token)[0] == 200
    hub.expire(hub.token)
    assert get(url, hub.token)[0] == 401


def test_the_client_can_commit_copy_delete_and_branch(any_client: Client) -> None:
    hub = any_client.hub
    any_client.script("""
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

api, repo = HfApi(), "ada/x"
large = bytes(range(256)) * 5000
api.create_repo(repo)
files = [CommitOperationAdd("large.bin", large), CommitOperationAdd("a/b", b"b")]
first = api.create_commit(repo, files, commit_message="1")
assert api.create_commit(repo, [CommitOperationAdd("large.bin", large)], commit_message="unchanged").oid == first.oid
api.create_branch(repo, branch="old", revision=first.oid)
moves = [CommitOperationCopy("large.bin", "moved.bin", src_revision="old"), CommitOperationDelete("large.bin")]
second = api.create_commit(repo, [*moves, CommitOperationDelete("a/")], commit_message="2", parent_commit=first.oid)
try:
    api.create_commit(repo, [CommitOperationAdd("late", b"1")], commit_message="3", parent_commit=first.oid)
except HfHubHTTPError as error:
    assert error.response.status_code == 412
else:
    raise AssertionError("a commit on an outdated parent was accepted")
assert api.list_repo_files(repo) == [".gitattributes", "moved.bin"]
assert sorted(api.list_repo_files(repo, revision="old")) == [".gitattributes", "a/b", "large.bin"]
with open(api.hf_hub_download(repo, "moved.bin"), "rb") as file:
    assert file.read() == large
""")
    repo = hub.repo("ada/x")
    assert [commit.title for commit in repo.log("main")] == ["2", "1", "initial commit"]
    storage = [request for request in hub.requests if request.path.startswith(("/upload/", "/storage/"))]
    assert storage
    assert not any(request.authorized for request in storage)

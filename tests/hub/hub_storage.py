"""What the local Hub keeps: repositories of content-addressed files, commits and branches, all in memory.

A commit is a complete, immutable tree; a branch is a name for one. So a test can ask whether `main` ever named a tree
that was only half of a push.
"""

import base64
import fnmatch
import hashlib
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

REPO_TYPES = ("model", "dataset", "space")
LFS_PATTERNS = ("*.parquet", "*.safetensors", "*.bin", "*.pt", "*.arrow", "*.zip", "*.tar.gz")


def git_oid(content: bytes) -> str:
    """The id that git gives a blob with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubError(Exception):
    """An answer with an error status, as the Hub words it (`code` becomes the header `X-Error-Code`)."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class File:
    """One file of a tree: its git id (of the pointer when it is stored as LFS), its size and its LFS sha256."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """A complete tree (path -> file) with its parent; `oid` is the hash of all of it."""

    oid: str
    parent: str | None
    title: str
    date: str
    tree: Mapping[str, File]


@dataclass
class Repo:
    """A repository: its settings, every commit ever made, and where its branches point."""

    id: str
    type: str
    private: bool
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # git id -> content, of regular files and LFS pointers
    lfs: dict[str, bytes] = field(default_factory=dict)  # sha256 -> content
    history: list[tuple[str, str]] = field(default_factory=list)  # (branch, commit) for each move of a branch
    _count: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        # Like the Hub, a new repository is not empty: it says which files are stored as LFS.
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS)
        tree = {".gitattributes": self.add_blob(attributes.encode())}
        if self.sdk:  # and a new Space has a card that says how to run it
            settings = f"---\ntitle: {self.id.split('/')[1]}\nemoji: 📈\nsdk: {self.sdk}\npinned: false\n---\n"
            tree["README.md"] = self.add_blob(settings.encode())
        self.move("main", self.commit(None, tree, "initial commit"))

    def add_blob(self, content: bytes) -> File:
        oid = git_oid(content)
        self.blobs[oid] = content
        return File(oid, len(content))

    def add_lfs(self, sha256: str) -> File:
        if sha256 not in self.lfs:
            raise HubError(400, f"LFS object {sha256} was never uploaded")
        size = len(self.lfs[sha256])
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return File(self.add_blob(pointer.encode()).oid, size, sha256)

    def commit(self, parent: str | None, tree: Mapping[str, File], title: str, age: float = 0) -> str:
        """`age` is in seconds before now."""
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - age))
        paths = sorted((path, file.oid) for path, file in tree.items())
        content = json.dumps([parent, title, date, next(self._count), paths])
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, date, dict(tree))
        return oid

    def move(self, branch: str, oid: str) -> None:
        self.branches[branch] = oid
        self.history.append((branch, oid))

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit id names."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def content(self, file: File) -> bytes:
        return self.blobs[file.oid] if file.sha256 is None else self.lfs[file.sha256]

    def read(self, path: str, revision: str = "main") -> bytes:
        """The content of one file, for the tests."""
        return self.content(self.resolve(revision).tree[path])

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Every file of a revision, for the tests."""
        return {path: self.content(file) for path, file in self.resolve(revision).tree.items()}

    def trees_of(self, branch: str) -> list[set[str]]:
        """The paths in each tree that a branch has ever pointed to, in order, for the tests."""
        return [set(self.commits[oid].tree) for name, oid in self.history if name == branch]

    def log(self, revision: str) -> list[Commit]:
        commits = [self.resolve(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub stores such a file as LFS: by its name, or because it is large or binary."""
    by_name = any(fnmatch.fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in LFS_PATTERNS)
    return by_name or size > 10_000_000 or b"\0" in sample


def apply_commit(repo: Repo, branch: str, lines: list[dict]) -> Commit:
    """Makes one commit from the lines of the client's ndjson and moves `branch` to it: all of it, or an error.

    Raises:
        HubError: 412 when the branch is no longer at the parent that the client expects, 404 for a deletion of
            nothing or an unknown branch, 400 for anything else that is wrong.
    """
    if branch not in repo.branches:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    head = repo.branches[branch]
    header = next((line["value"] for line in lines if line["key"] == "header"), None)
    if header is None or not header.get("summary"):
        raise HubError(400, "a commit needs a header with a summary")
    if header.get("parentCommit") not in (None, head):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(repo.commits[head].tree)
    for key, value in ((line["key"], line["value"]) for line in lines):
        path = value.get("path")
        if key == "file":
            tree[path] = repo.add_blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            tree[path] = repo.add_lfs(value["oid"])
        elif key == "deletedFile":
            if tree.pop(path, None) is None:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        elif key == "deletedFolder":
            inside = [other for other in tree if other.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for other in inside:
                del tree[other]
        elif key != "header":
            raise HubError(400, f"unknown operation: {key}")
    oid = repo.commit(head, tree, header["summary"])
    repo.move(branch, oid)
    return repo.commits[oid]

"""The generated data on the Hub: pushed by `python -m nim_dataset push`, loaded back without this repository."""

import json

import pytest
import yaml
from hub_client import Client

import nim_dataset
from nim_dataset.hub.card import Card
from nim_dataset.hub.dataset_card import items
from nim_dataset.rows import generate

SIZES = {"n_train": 150, "n_eval": 20, "n_regime": 15}
CONFIGS = ("cheating", "357", "mod3")


def sizes(name: str) -> dict[str, int]:
    return {key: value for key, value in SIZES.items() if hasattr(nim_dataset.get_config(name), key)}


def spec(name: str) -> str:
    return name + "".join(f",{key}={value}" for key, value in sizes(name).items())


def push(*configs: str, more: tuple[str, ...] = ()) -> list[str]:
    return ["-m", "nim_dataset", "push", "--repo-id", "ada/nim", *more, "--configs", *map(spec, configs)]


def parquet(*configs: str) -> set[str]:
    splits = [(name, split) for name in configs for split in nim_dataset.get_config(name).splits]
    return {f"{name}/{split}-00000-of-00001.parquet" for name, split in splits}


def whole(*configs: str) -> set[str]:
    manifests = {f"manifests/{name}.json" for name in configs}
    return {".gitattributes", "README.md"} | manifests | parquet(*configs)


def test_pushed_data_equals_the_generated(any_client: Client) -> None:
    client = any_client
    said = client.ok(*push(*CONFIGS))
    assert "datasets/ada/nim (public: everyone can see it)" in said
    repo = client.hub.repo("ada/nim", "dataset")
    assert repo.trees_of("main") == [{".gitattributes"}, whole(*CONFIGS)]  # one commit
    assert set(repo.branches) == {"main"}

    loaded = json.loads(
        client.script(f"""
import json, sys
from datasets import load_dataset

out = {{}}
for name in {CONFIGS!r}:
    dataset = load_dataset("ada/nim", name)
    out[name] = {{split: rows.to_list() for split, rows in dataset.items()}}
    for split, rows in load_dataset("ada/nim", name, streaming=True).items():
        assert list(rows) == out[name][split], split
    out[name + " features"] = str(dataset["train"].features)
assert not [name for name in sys.modules if name.startswith("nim_dataset")]
print(json.dumps(out))
""")
    )
    for name in CONFIGS:
        config = nim_dataset.get_config(name, **sizes(name))
        rows = {split: [r for table in generate(config, split) for r in table.to_pylist()] for split in config.splits}
        assert loaded[name] == rows
        assert loaded[f"{name} features"] == str(config.features)


def test_card_and_manifests(client: Client) -> None:
    client.ok(*push("quickstart", "357"))
    repo = client.hub.repo("ada/nim", "dataset")
    card = repo.read("README.md").decode()
    configs, infos = (items(Card.parse(card), field, "ada/nim") for field in ("configs", "dataset_info"))
    assert set(configs) == set(infos) == {"quickstart", "357"}
    assert [name for name, entry in configs.items() if entry.get("default")] == ["quickstart"]
    for name in configs:
        config = nim_dataset.get_config(name, **sizes(name))
        assert [entry["split"] for entry in configs[name]["data_files"]] == list(config.splits)
        rows = {split["name"]: split["num_examples"] for split in infos[name]["splits"]}
        assert rows == {split: config.num_rows(split) for split in config.splits}
        assert json.loads(repo.read(f"manifests/{name}.json"))["recipe"] == json.loads(json.dumps(config.content()))
    metadata = yaml.safe_load(card.split("---")[1])
    assert "nim://" not in str(metadata)
    assert "./nim_dataset" not in card


def test_pushing_again_uploads_and_generates_nothing(client: Client) -> None:
    client.ok(*push("quickstart"))
    repo = client.hub.repo("ada/nim", "dataset")
    head = repo.branches["main"]
    client.hub.requests.clear()
    said = client.ok(*push("quickstart"), HF_HOME=str(client.home / "empty"))
    assert "up to date: nothing to upload" in said
    assert not client.hub.asked("^(POST|PUT|DELETE)")
    assert repo.branches == {"main": head}
    assert not (client.home / "empty" / "datasets").exists()


def test_only_what_changed_is_uploaded(client: Client) -> None:
    client.ok(*push("quickstart", "357"))
    repo = client.hub.repo("ada/nim", "dataset")
    before = repo.files()
    client.ok(
        "-m",
        "nim_dataset",
        "push",
        "--repo-id",
        "ada/nim",
        "--configs",
        spec("quickstart"),
        f"{spec('357')},seed=5",
        spec("234"),
    )
    after = repo.files()
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == parquet("357", "234") | {"README.md", "manifests/357.json", "manifests/234.json"}
    assert set(items(Card.parse(after["README.md"].decode()), "configs", "ada/nim")) == {"quickstart", "357", "234"}


@pytest.mark.parametrize(
    "faults",
    [
        [
            {"pattern": "GET /api/whoami-v2", "status": 429, "headers": {"Retry-After": "1"}},
            {"pattern": "PUT /upload/|POST /v1/xorbs/", "drop_after": 1000},
            {"pattern": "POST /api/datasets/ada/nim/commit/main", "lose_answer": True},
        ],
        [
            {"pattern": "GET /api/datasets/ada/nim/tree/", "drop_after": 0},
            {"pattern": "POST .*/info/lfs/objects/batch|GET .*/xet-write-token/", "status": 500},
            {"pattern": "POST /api/datasets/ada/nim/preupload/", "status": 500},
            {"pattern": "POST /api/datasets/ada/nim/commit/main", "status": 429, "headers": {"Retry-After": "1"}},
        ],
    ],
    ids=["rough", "rougher"],
)
def test_faults_that_pass_are_outlasted(any_client: Client, faults: list[dict]) -> None:
    client = any_client
    injected = [client.hub.fail(**fault) for fault in faults]
    client.ok(*push("357"))
    assert [fault.times for fault in injected] == [0] * len(injected)
    repo = client.hub.repo("ada/nim", "dataset")
    assert repo.trees_of("main") == [{".gitattributes"}, whole("357")]
    assert set(repo.branches) == {"main"}


@pytest.mark.parametrize(
    ("fault", "message", "xet"),
    [
        ({"pattern": "POST .*/commit/main", "status": 500}, "the Hub answers 500", False),
        ({"pattern": "POST .*/preupload/", "status": 401}, "the Hub rejects the token", False),
        ({"pattern": "PUT /upload/", "status": 403}, "may not write to ada/nim", False),
        ({"pattern": "GET .*/xet-write-token", "status": 403}, "403 Forbidden", True),
        ({"pattern": "POST /v1/xorbs", "drop_after": 1000}, "Network error", True),
    ],
    ids=["500", "401", "403", "403-xet", "drop-xet"],
)
def test_faults_that_stay_leave_main_whole(client: Client, fault: dict, message: str, xet: bool) -> None:
    client.xet = xet
    repo = client.hub.create("ada/nim", "dataset", files={"README.md": b"---\nlicense: mit\n---\nMine"})
    before = repo.files()
    client.hub.fail(times=99, **fault)
    # By default hf_xet retries for many minutes.
    line = client.error(*push("357", "quickstart"), HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1")
    assert line.startswith("error: the push to ada/nim failed: ")
    assert message in line
    assert repo.files() == before
    assert set(repo.branches) == {"main"}


# More rows than the sockets hold, so that the client is still writing when the connection is gone.
MANY = ("-m", "nim_dataset", "push", "--repo-id", "ada/nim", "--configs", "8910,n_eval=10")


def test_a_connection_that_the_hub_closes_ends_no_push(client: Client) -> None:
    closed = client.hub.fail("PUT /upload/", close_after=1000)
    client.hub.multipart_above = 100_000_000
    client.ok(*MANY)
    assert closed.times == 0
    assert client.hub.repo("ada/nim", "dataset").trees_of("main") == [{".gitattributes"}, whole("8910")]


@pytest.mark.slow  # the client goes on trying for 23 s
@pytest.mark.parametrize("status", [None, 503])
def test_a_connection_that_the_hub_keeps_closing_is_one_line(client: Client, status: int | None) -> None:
    repo = client.hub.create("ada/nim", "dataset")
    client.hub.fail("PUT /upload/", times=99, close_after=1000, status=status)
    client.hub.multipart_above = 100_000_000
    line = client.error(*MANY)
    assert line.startswith("error: the push to ada/nim failed: ")
    assert "the connection to http://" in line or "the Hub answers 503 (injected fault)" in line
    assert set(repo.branches) == {"main"}
    assert repo.trees_of("main") == [{".gitattributes"}]


def test_a_commit_in_between_is_kept(client: Client) -> None:
    repo = client.hub.create("ada/nim", "dataset", files={"NOTES.md": b"theirs"})
    # As when someone else commits between our look at `main` and our commit: the first try is refused.
    injected = client.hub.fail("POST /api/datasets/ada/nim/commit/main", status=412)
    client.ok(*push("357"))
    assert injected.times == 0
    assert set(repo.files()) == whole("357") | {"NOTES.md"}


def test_visibility_is_what_was_asked_for(client: Client) -> None:
    said = client.ok(*push("357", more=("--private",)))
    assert "(private: only you and your organization see it)" in said
    repo = client.hub.repo("ada/nim", "dataset")
    assert repo.private
    assert "(private: " in client.ok(*push("234"))  # it stays so
    repo.private = False
    assert "ada/nim is public on the Hub already" in client.error(*push("468", more=("--private",)))

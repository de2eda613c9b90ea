"""A push says how long it waits, and leaves nothing when it is stopped; a later one removes what a killed one left."""

import signal
from pathlib import Path

import pytest
from hub_client import RECIPE, Client, TrainedRun

from nim_dataset.hub.branches import STAGING

DATA = ("-m", "nim_dataset", "push", "--repo-id", "ada/nim", "--configs", RECIPE)
DAY = 24 * 3600


def model(run: Path) -> list[str]:
    return ["-m", "training.push", str(run), "--repo-id", "ada/model", "--checkpoints"]


def stop_while_it_waits(client: Client, command: list[str], pattern: str, how: signal.Signals) -> tuple[int, str]:
    """Stops a push while it waits for a rate limit to pass: its status, and what it then wrote to standard error."""
    client.hub.fail(pattern, times=1, status=429, headers={"Retry-After": "200"})
    process = client.start(*command)
    assert process.stderr is not None
    seen = ""
    while "the Hub's rate limit is reached, for some minutes; trying again in 200 s" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(how)
    _, rest = process.communicate(timeout=60)
    return process.returncode, rest


def test_ctrl_c_is_one_line(client: Client) -> None:
    status, said = stop_while_it_waits(client, list(DATA), "POST .*/commit/main", signal.SIGINT)
    assert status == 130
    assert said.strip() == "stopped; what is on the Hub is whole, and pushing again goes on from there"
    repo = client.hub.repo("ada/nim", "dataset")
    assert set(repo.branches) == {"main"}
    assert repo.trees_of("main") == [{".gitattributes"}]


def test_a_killed_push_of_data_leaves_nothing(client: Client) -> None:
    status, _ = stop_while_it_waits(client, list(DATA), "POST .*/commit/main", signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert set(client.hub.repo("ada/nim", "dataset").branches) == {"main"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_checkpoints(trained: TrainedRun, client: Client, how: signal.Signals) -> None:
    pattern = "POST /api/models/ada/model/branch/step-4"
    status, said = stop_while_it_waits(client, model(trained.folder), pattern, how)
    repo = client.hub.repo("ada/model")
    if how is signal.SIGINT:
        assert status == 130
        assert said.strip().endswith("stopped; what is on the Hub is whole, and pushing again goes on from there")
    assert set(repo.branches) == {"main", "step-2"} | ({STAGING} if how is signal.SIGKILL else set())
    # Whoever pushes without checkpoints cannot know that nobody is at work on that branch.
    said = client.ok(*model(trained.folder)[:-1])
    assert (f"note: the branch '{STAGING}' is of a push under way, or left behind" in said) == (how is signal.SIGKILL)
    client.ok(*model(trained.folder))
    assert set(repo.branches) == {"main", "step-2", "step-4"}


def test_what_earlier_pushes_left_is_removed(client: Client) -> None:
    client.ok(*DATA)
    hub, repo = client.hub, client.hub.repo("ada/nim", "dataset")
    branches = {
        "push-00000001": ("Upload dataset", 2 * DAY),
        "push-00000002": ("Upload dataset (part 00000-of-00002)", 2 * DAY),
        "push-00000003": ("Upload dataset", DAY / 2),
        "push-00000004": ("My own work", 2 * DAY),
        "push-to-me": ("Upload dataset", 2 * DAY),
    }
    for branch, (title, age) in branches.items():
        hub.create_branch("ada/nim", branch, "dataset")
        hub.commit("ada/nim", {"x": b"1"}, branch, "dataset", title, age)
    hub.create_branch("ada/nim", "push-00000005", "dataset")  # with nothing of its own yet

    said = client.ok(*DATA)
    assert "removed the branch 'push-00000001', left behind by a push of " in said
    assert "removed the branch 'push-00000002', left behind by a push of " in said
    assert "note: the branch 'push-00000003' is of a push under way, or left behind: a push after " in said
    assert said.count("the branch ") == 3
    assert set(repo.branches) == {"main", "push-00000003", "push-00000004", "push-to-me", "push-00000005"}

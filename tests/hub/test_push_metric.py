"""The metric on the Hub: pushed as a Space, loaded from there by `evaluate`."""

import pytest
from hub_client import Client

PUSH = ("-m", "evaluation.push_metric", "--repo-id", "ada/nim_accuracy")


def test_evaluate_loads_it(client: Client) -> None:
    said = client.ok(*PUSH)
    assert "spaces/ada/nim_accuracy (public: everyone can see it)" in said
    repo = client.hub.repo("ada/nim_accuracy", "space")
    assert repo.sdk == "gradio"
    assert set(repo.files()) == {".gitattributes", "README.md", "app.py", "nim_accuracy.py", "requirements.txt"}
    assert 'evaluate.load("ada/nim_accuracy")' in repo.read("README.md").decode()
    result = client.script("""
import evaluate
metric = evaluate.load("ada/nim_accuracy")
result = metric.compute(predictions=["take 3 coins", "take 1 coin"], references=["take 3 coins", "take 2 coins"])
print(result["exact_match"])
""")
    assert result == "0.5\n"


def test_a_free_account_can_push_it_as_a_static_space(client: Client) -> None:
    client.hub.fail("POST /api/repos/create", status=402)
    line = client.error(*PUSH)
    assert "the Hub asks for a paid plan" in line
    assert "--sdk static" in line
    client.ok(*PUSH, "--sdk", "static")
    repo = client.hub.repo("ada/nim_accuracy", "space")
    assert repo.sdk == "static"
    assert set(repo.files()) == {".gitattributes", "README.md", "nim_accuracy.py"}
    assert "\nsdk: static\n" in repo.read("README.md").decode()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 500},
        {"drop_after": 1000},
        {"lose_answer": True},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_a_fault_that_passes_is_outlasted(client: Client, fault: dict) -> None:
    client.hub.fail("POST .*/commit/main", **fault)
    client.ok(*PUSH)
    assert len(client.hub.repo("ada/nim_accuracy", "space").trees_of("main")) == 2  # the initial commit and ours


def test_pushing_again_uploads_nothing(client: Client) -> None:
    client.ok(*PUSH)
    client.hub.requests.clear()
    client.ok(*PUSH)
    assert not client.hub.asked("/commit/|^PUT")


def test_the_name_must_be_the_modules(client: Client) -> None:
    line = client.error(*PUSH[:-1], "ada/metric")
    assert (
        line
        == "error: repo id 'ada/metric': expected USER/nim_accuracy, because `evaluate` looks for a file of that name"
    )


def test_a_read_only_token(client: Client) -> None:
    client.hub.add_token("hf_read_only", "ada", "read")
    assert "the token is read-only" in client.error(*PUSH, token="hf_read_only")
    assert not client.hub.repos


def test_what_people_wrote_in_the_card_stays(client: Client) -> None:
    assert "README.md: made" in client.ok(*PUSH)
    repo = client.hub.repo("ada/nim_accuracy", "space")
    made = edited = repo.read("README.md").decode()
    assert edited.startswith("---\ntitle: Nim accuracy\n")  # not the card that the Hub gave the new Space
    edited = edited.replace("title: Nim accuracy", "title: Mine  # not yours").replace(
        "sdk_version: ", "sdk_version: 9"
    )
    edited = edited.replace("# Metric card: nim_accuracy\n", "# My metric\n\nBefore.\n") + "\nAfter.\n"
    client.hub.commit("ada/nim_accuracy", {"README.md": edited.encode()}, type="space")
    assert "README.md: unchanged" in client.ok(*PUSH)
    assert repo.read("README.md").decode() == edited

    said = client.ok(*PUSH, "--sdk", "static")
    assert "README.md: 'sdk', 'sdk_version', 'app_file' changed, all else kept" in said
    kept = [line for line in edited.splitlines() if not line.startswith(("sdk", "app_file"))]
    card = repo.read("README.md").decode().splitlines()
    assert [line for line in card if line != "sdk: static"] == kept

    assert "all that was written by hand replaced" in client.ok(*PUSH, "--overwrite-card")
    assert repo.read("README.md").decode() == made


def test_a_card_that_cannot_be_kept_is_one_line(client: Client) -> None:
    client.hub.create("ada/nim_accuracy", "space", files={"README.md": b"---\n- a\n---\n"})
    line = client.error(*PUSH)
    assert line.startswith("error: README.md of ada/nim_accuracy: its YAML metadata is a list, expected a mapping")
    assert not client.hub.asked("^(POST|PUT|DELETE)")

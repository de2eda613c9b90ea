"""Whoever may not push learns it in one line, before anything is generated; tokens are never shown to anyone."""

from pathlib import Path

import pytest
from hub_client import RECIPE, Client

READ, OTHER, FINE = "hf_read_only", "hf_of_somebody_else", "hf_fine_grained"


def push_dataset(repo_id: str = "ada/nim", *more: str) -> list[str]:
    return ["-m", "nim_dataset", "push", "--repo-id", repo_id, "--configs", RECIPE, *more]


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("", "ada/nim", "no Hugging Face token found to push to ada/nim: run `hf auth login`, or set HF_TOKEN"),
        ("hf_unknown", "ada/nim", "cannot push to ada/nim: the Hub rejects the token (invalid or expired)"),
        (READ, "ada/nim", "cannot push to ada/nim: the token is read-only, a token with write access is needed"),
        (OTHER, "ada/nim", "cannot push to ada/nim: the token belongs to bob, who may write to: bob, team"),
        (OTHER, "ada/theirs", "cannot push to ada/theirs: the token belongs to bob"),
        (FINE, "ada/nim", "cannot push to ada/nim: the token has no write access to repositories of ada"),
        (None, "nim", "repo id 'nim': expected USER/NAME"),
        (None, "ada/ni m", "repo id 'ada/ni m': "),
    ],
)
def test_found_before_anything_is_generated(client: Client, token: str | None, repo_id: str, message: str) -> None:
    client.hub.create("ada/theirs", "dataset")
    client.hub.add_token(READ, "ada", "read")
    client.hub.add_token(OTHER, "bob", orgs=("team",))
    client.hub.add_token(FINE, "ada", "fineGrained")
    line = client.error(*push_dataset(repo_id), token=token)
    assert message in line
    assert not client.hub.asked("^(POST|PUT)")
    assert not (client.home / "hf" / "datasets").exists()


def test_an_organization_can_be_pushed_to(client: Client) -> None:
    client.hub.add_token(OTHER, "bob", orgs=("team",))
    client.ok(*push_dataset("team/nim"), token=OTHER)
    assert "README.md" in client.hub.repo("team/nim", "dataset").files()


def test_an_unreachable_hub(client: Client) -> None:
    line = client.error(*push_dataset(), HF_ENDPOINT="http://127.0.0.1:9")
    assert "the connection to http://127.0.0.1:9 failed" in line


def test_offline_mode(client: Client) -> None:
    assert "unset HF_HUB_OFFLINE" in client.error(*push_dataset(), HF_HUB_OFFLINE="1")


def test_tokens_that_a_server_echoes_are_hidden(client: Client, tmp_path: Path) -> None:
    token = client.hub.token
    client.hub.fail("POST /api/repos/create", status=403, headers={"X-Error-Message": f"no rights for {token}"})
    done = client.run(*push_dataset())
    assert "no rights for ***" in done.stderr
    assert token not in done.stdout + done.stderr


def test_a_token_is_not_taken_from_a_config_or_flag(client: Client, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"model: tiny\ntrain_data: [quickstart]\nhub_token: {client.hub.token}\n")
    line = client.error("training/train.py", "--config", str(config))
    assert "hub_token" in line
    assert client.hub.token not in line

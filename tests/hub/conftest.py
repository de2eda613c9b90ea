"""A local Hub for each test, and one real training run that pushed itself to one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import RECIPE, Client, TrainedRun, base_model_files
from hub_server import HubServer


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def client(hub: HubServer, tmp_path: Path) -> Client:
    return Client(hub, tmp_path)


@pytest.fixture(params=["lfs", "xet"])
def any_client(hub: HubServer, tmp_path: Path, request: pytest.FixtureRequest) -> Client:
    """A client for each way to upload."""
    return Client(hub, tmp_path, xet=request.param == "xet")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedRun]:
    home = tmp_path_factory.mktemp("trained")
    with HubServer(token="hf_canary_token_that_must_never_be_seen") as hub:
        card = {"README.md": b"---\nlicense: apache-2.0\n---\n"}
        hub.create("ada/base", files=base_model_files(home / "base") | card)
        base_commit = hub.create_branch("ada/base", "step9")
        hub.create_branch("ada/base", "step10")
        client = Client(hub, home, xet=True)
        folder = home / "runs" / "tiny-run"
        done = client.run(
            "training/train.py", "--model", "ada/base", "--train_data", RECIPE, "--output_dir", str(folder),
            "--max_steps", "4", "--save_at", "2", "--logging_steps", "1", "--per_device_train_batch_size", "16",
            "--eval_rows", "12", "--anchor_weight", "0.5", "--threads", "1",
            "--push_to_hub", "--push_checkpoints", "--hub_model_id", "ada/trained",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield TrainedRun(hub, client, folder, done.stdout + done.stderr, base_commit)

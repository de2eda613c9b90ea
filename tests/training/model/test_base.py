"""Base models from a Hub, through the unmodified client against a local server; and what is said without a Hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from safetensors.torch import load_file, save_file

from nim_dataset.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def hub(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubServer, dict[str, str]]]:
    """`ada/base` with other weights on step9 and step100, `ada/stepless` without such branches; and the commits."""
    with HubServer() as server:
        commits = {}
        server.create("ada/base", files={"README.md": b"A small base model."})
        server.create("ada/stepless", files={"README.md": b"Nothing here."})
        server.create("ada/pushed", files={"README.md": b"A run of this project."})
        pickled = tmp_path_factory.mktemp("pickled")
        data.model("gpt_neox").config.save_pretrained(pickled)
        data.tokenizer.save_pretrained(pickled)
        torch.save(data.model("gpt_neox").state_dict(), pickled / "pytorch_model.bin")
        server.create("ada/pickled", files=files_of(pickled))
        for seed, branch in enumerate(("step9", "step100")):
            folder = tmp_path_factory.mktemp(branch)
            data.model("gpt_neox", seed=seed).save_pretrained(folder)
            data.tokenizer.save_pretrained(folder)
            server.create_branch("ada/base", branch)
            commits[branch] = server.commit("ada/base", files_of(folder), branch=branch)
            pushed = branch.replace("step", "step-")  # as training.push names them
            server.create_branch("ada/pushed", pushed)
            commits[pushed] = server.commit("ada/pushed", files_of(folder), branch=pushed)
        yield server, commits


def test_latest_step_is_the_highest_number_on_every_process(
    hub: tuple[HubServer, dict[str, str]], launch: Any, tmp_path: Path
) -> None:
    server, commits = hub
    flags = ("--model", "ada/base", "--train_data", "quickstart,n_train=64", "--max_steps", "1")
    run = launch(tmp_path / "run", *flags, launcher="cpu_2", env=server.env(tmp_path))
    assert run.status == 0, run.stderr
    base = json.loads((run.folder / "environment.json").read_text())["base_model"]
    assert (base["name"], base["revision"], base["commit"]) == ("ada/base", "step100", commits["step100"])
    assert f"ada/base at step100 ({commits['step100']})" in run.stdout


LOAD = """
import sys, torch
from nim_dataset.errors import UserError
from training.model.base import load_base
from training.config import ModelConfig
for name, revision in (line.split() for line in sys.stdin.read().splitlines()):
    try:
        base = load_base(ModelConfig(name, revision), 0)
        print(base.revision, base.commit, float(base.model.gpt_neox.embed_in.weight[0, 0].detach()), base.model.dtype)
    except UserError as error:
        print("error:", error)
"""


def test_a_fixed_revision_and_the_mistakes_around_it(
    hub: tuple[HubServer, dict[str, str]], data: Any, tmp_path: Path
) -> None:
    server, commits = hub
    asked = [
        "ada/base step9",
        "ada/base nowhere",
        "ada/stepless latest-step",
        "ada/absent latest-step",
        "ada/pickled main",
        "ada/pushed latest-step",
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**server.env(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    fixed, nowhere, stepless, absent, pickled, pushed = done.stdout.splitlines()
    first_weight = data.model("gpt_neox", seed=0).gpt_neox.embed_in.weight[0, 0].item()
    assert fixed == f"step9 {commits['step9']} {first_weight} torch.float32"
    assert pushed.split()[:2] == ["step-100", commits["step-100"]]
    assert nowhere.startswith(f"error: model: could not load 'ada/base' at revision 'nowhere' from {server.endpoint}")
    assert "no branches 'stepN' or 'step-N' for 'latest-step'; give one, such as --revision main" in stepless
    assert absent.startswith(f"error: model: 'ada/absent' does not exist on {server.endpoint}")
    assert "no weights in safetensors there, and pickles, which can run code, are never loaded" in pickled
    assert all("--model tiny" in line for line in (nowhere, absent, pickled))


def test_without_the_hub_one_line_says_what_was_not_reached_and_what_to_do(
    tmp_path: Path, hub: tuple[HubServer, dict[str, str]]
) -> None:
    env = {**hub[0].env(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "training/train.py"), "--train_data", "quickstart,n_train=64"],
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    for expected in ("http://127.0.0.1:9", "EleutherAI/pythia-410m-deduped", "--model tiny", "folder of a saved model"):
        assert expected in line
    assert "Traceback" not in done.stderr


def test_a_folder_keeps_its_weights(data: Any, tmp_path: Path) -> None:
    from training.config import ModelConfig
    from training.model.base import load_base

    model = data.model("llama", seed=5)
    model.save_pretrained(tmp_path)
    data.tokenizer.save_pretrained(tmp_path)
    base = load_base(ModelConfig(str(tmp_path)), 0)
    for ours, theirs in zip(base.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (base.revision, base.commit) == (None, None)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: os.truncate(folder / "model.safetensors", 1000), "could not load .*header"),
        (lambda folder: drop_a_weight(folder / "model.safetensors"), "1 weights are missing, such as lm_head.weight"),
        (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], "has no tokenizer"),
    ],
    ids=["cut short", "a weight missing", "no tokenizer"],
)
def test_a_damaged_folder_is_one_line(data: Any, tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    from training.config import ModelConfig
    from training.model.base import load_base

    data.model("gpt_neox").save_pretrained(tmp_path)
    data.tokenizer.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        load_base(ModelConfig(str(tmp_path)), 0)


def drop_a_weight(file: Path) -> None:
    weights = load_file(file)
    save_file({name: weights[name] for name in sorted(weights)[1:]}, file, metadata={"format": "pt"})

"""Base models from a Hub, through the unmodified client against a local server; and what is said without a Hub."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer

from tests.training.model.saved_models import PYTHIAS_TOKENIZER, WritesAFile, in_shards, saved

ROOT = Path(__file__).resolve().parents[3]


PICKLED = {"step1": 0, "step2": 0, "step143000": 1}
"""Branch of `ada/pickled` -> seed of its weights."""


@pytest.fixture(scope="module")
def hub(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubServer, dict[str, str]]]:
    """`ada/base` with other weights on step9 and step100, `ada/stepless` without such branches; and the commits.

    `ada/pickled` has safetensors on main alone, as Pythia may; `ada/unsafe` a pickle of more than tensors.
    """
    with HubServer() as server:
        commits = {}
        server.create("ada/base", files={"README.md": b"A small base model."})
        server.create("ada/stepless", files={"README.md": b"Nothing here."})
        server.create("ada/pushed", files={"README.md": b"A run of this project."})
        for seed, branch in enumerate(("step9", "step100")):
            files = saved(data.model("gpt_neox", seed=seed), data.tokenizer, tmp_path_factory.mktemp(branch))
            server.create_branch("ada/base", branch)
            commits[branch] = server.commit("ada/base", files, branch=branch)
            pushed = branch.replace("step", "step-")  # as training.push names them
            server.create_branch("ada/pushed", pushed)
            commits[pushed] = server.commit("ada/pushed", files, branch=pushed)
        server.create("ada/pickled")
        for branch, seed in PICKLED.items():
            server.create_branch("ada/pickled", branch)
            folder = tmp_path_factory.mktemp(branch)
            files = saved(data.model("gpt_neox", seed=seed), data.tokenizer, folder, pickled=True)
            files |= {"README.md": branch.encode(), **PYTHIAS_TOKENIZER}
            commits[branch] = server.commit(
                "ada/pickled", in_shards(files) if branch == "step143000" else files, branch=branch
            )
        main = saved(data.model("gpt_neox", seed=9), data.tokenizer, tmp_path_factory.mktemp("main"))
        server.commit("ada/pickled", main)
        unsafe = saved(data.model("gpt_neox"), data.tokenizer, tmp_path_factory.mktemp("unsafe"), pickled=True)
        buffer, trap = io.BytesIO(), WritesAFile(tmp_path_factory.getbasetemp() / "was_run")
        torch.save({**torch.load(io.BytesIO(unsafe["pytorch_model.bin"])), "more": trap}, buffer)
        server.create("ada/unsafe", files={**unsafe, "pytorch_model.bin": buffer.getvalue()})
        yield server, commits


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of this file keep their cache."""
    return tmp_path_factory.mktemp("home")


LOAD = """
import sys, torch
from nim_dataset.errors import UserError
from training.model.base import load_base
from training.config import ModelConfig
for name, revision in (line.split() for line in sys.stdin.read().splitlines()):
    try:
        base = load_base(ModelConfig(name, revision), 0)
        first = float(base.model.gpt_neox.embed_in.weight[0, 0].detach())
        print(base.revision, base.commit, first, base.model.dtype, *base.notes)
    except UserError as error:
        print("error:", error)
"""


def load_all(asked: list[str], env: dict[str, str]) -> list[str]:
    """What `load_base` makes of each "name revision", a line each, in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT)},
    )
    assert len(done.stdout.splitlines()) == len(asked), done.stderr
    return done.stdout.splitlines()


def test_a_fixed_revision_and_the_mistakes_around_it(
    hub: tuple[HubServer, dict[str, str]], data: Any, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server, commits = hub
    asked = [
        "ada/base step9",
        "ada/base nowhere",
        "ada/stepless latest-step",
        "ada/stepless main",
        "ada/absent latest-step",
        "ada/pushed latest-step",
        "ada/pickled step1",
        "ada/pickled step2",
        "ada/pickled main",
        "ada/unsafe main",
    ]
    answers = load_all(asked, server.env(home))
    fixed, nowhere, stepless, no_model, absent, pushed, pickled, _, main, unsafe = answers
    first_weight = data.model("gpt_neox", seed=0).gpt_neox.embed_in.weight[0, 0]
    assert fixed == f"step9 {commits['step9']} {first_weight.item()} torch.float32"
    assert pushed.split()[:2] == ["step-100", commits["step-100"]]
    assert nowhere.startswith(f"error: model: could not load 'ada/base' at revision 'nowhere' from {server.endpoint}")
    assert "no branches 'stepN' or 'step-N' for 'latest-step'; give another --revision, such as main" in stepless
    assert "'ada/stepless' at revision 'main' has no config.json" in no_model
    assert absent.startswith(f"error: model: 'ada/absent' does not exist on {server.endpoint}")
    assert pickled == (
        f"step1 {commits['step1']} {first_weight.half().item()} torch.float32"
        " no safetensors there: the weights are from pytorch_model.bin, read by torch's restricted loader"
    )
    assert main.endswith("torch.float32")
    assert "pytorch_model.bin holds more than tensors (io.open), and nothing of it was run" in unsafe
    assert not (tmp_path_factory.getbasetemp() / "was_run").exists()
    assert all("--model tiny" in line for line in (nowhere, stepless, no_model, absent, unsafe))


def test_latest_step_is_the_highest_number_on_every_process(
    hub: tuple[HubServer, dict[str, str]], launch: Any, home: Path, tmp_path: Path
) -> None:
    server, commits = hub
    flags = ("--model", "ada/pickled", "--train_data", "quickstart,n_train=64", "--save_steps", "1")
    run = launch(tmp_path / "run", *flags, "--max_steps", "1", launcher="cpu_2", env=server.env(home))
    assert run.status == 0, run.stderr
    base = json.loads((run.folder / "environment.json").read_text())["base_model"]
    assert (base["name"], base["revision"], base["commit"]) == ("ada/pickled", "step143000", commits["step143000"])
    assert f"ada/pickled at step143000 ({commits['step143000']})" in run.stdout
    assert "the weights are from pytorch_model.bin.index.json" in run.stdout
    for folder in (run.folder, run.folder / "checkpoint-1"):
        for name, content in PYTHIAS_TOKENIZER.items():
            assert (folder / name).read_bytes() == content
        assert not (folder / "chat_template.jinja").exists()
    # Without the Hub, the same goes on from what the cache holds.
    env = {**server.env(home), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    more = ("--max_steps", "2", "--resume_from_checkpoint", "auto")
    goes_on = launch(run.folder, *flags, *more, launcher="cpu_2", env=env)
    assert goes_on.status == 0, goes_on.stderr
    assert "'step143000' is the highest step in the cache (HF_HUB_OFFLINE is set)" in goes_on.stdout
    assert "continuing from" in goes_on.stdout


def test_offline_what_is_in_the_cache_loads_and_is_swept_and_what_is_not_is_one_line(
    hub: tuple[HubServer, dict[str, str]], data: Any, home: Path, tmp_path: Path
) -> None:
    server, commits = hub
    asked = ["ada/pickled step1", "ada/pickled step2", "ada/base step9", "ada/pushed latest-step"]
    load_all(asked, server.env(home))  # into the cache, whichever test came first
    env = {**server.env(home), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    pickled, commit, latest, other, absent = load_all(
        [
            "ada/pickled step1",
            f"ada/base {commits['step9']}",
            "ada/pushed latest-step",
            "ada/base step7",
            "ada/absent latest-step",
        ],
        env,
    )
    assert pickled.startswith(f"step1 {commits['step1']}")
    assert commit.startswith(f"{commits['step9']} {commits['step9']}")
    assert latest.startswith(f"step-100 {commits['step-100']}")
    assert latest.endswith("'step-100' is the highest step in the cache (HF_HUB_OFFLINE is set)")
    assert "'ada/base' at revision 'step7' is not in the cache, and HF_HUB_OFFLINE is set" in other
    assert "'ada/absent' is not in the cache" in absent

    command = [sys.executable, str(ROOT / "evaluation/sweep.py"), "--checkpoints-dir", "ada/pickled", "--limit", "8"]
    command += ["--datasets", "quickstart:eval", "--output", str(tmp_path / "report")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**env, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    scored = json.loads((tmp_path / "report" / "sweep.json").read_text())["checkpoints"]
    assert {"checkpoint-1", "checkpoint-2"} <= set(scored)
    said = done.stdout + done.stderr
    assert "checkpoint-1  no safetensors there: the weights are from pytorch_model.bin" in said
    assert "checkpoint-2  warning: holds the same weights as checkpoint-1" in said
    page = (tmp_path / "report" / "index.html").read_text()
    assert "checkpoint-1 and checkpoint-2 hold identical weights" in page


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

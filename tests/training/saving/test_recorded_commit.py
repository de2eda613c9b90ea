"""A run from the Hub goes on from the commit that it started from: when the branch has moved, and offline."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hub_server import HubServer

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = """
import sys
from nim_dataset.errors import UserError
from training.train import main

for line in sys.stdin:
    try:
        print("status", main(line.split()), flush=True)
    except UserError as error:
        print("error:", error, flush=True)
"""


def test_the_recorded_commit_settles_what_the_base_is(data: Any, tmp_path: Path) -> None:
    def files(seed: int) -> dict[str, bytes]:
        folder = tmp_path / f"model-{seed}"
        data.model("gpt_neox", seed=seed).save_pretrained(folder)
        data.tokenizer.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    def commands(env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", COMMANDS],
            env={**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    def run(process: subprocess.Popen[str], steps: int, *flags: str) -> str:
        argv = [
            "--model",
            "ada/base",
            "--train_data",
            "quickstart,n_train=64",
            "--eval_rows",
            "0",
            "--output_dir",
            "run",
        ]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join([*argv, "--max_steps", str(steps), *flags]) + "\n")
        process.stdin.flush()
        said = ""
        while not said.rpartition("\n")[0].rpartition("\n")[2].startswith(("status", "error")):
            line = process.stdout.readline()
            assert line, said
            said += line
        return said

    again = ("--resume_from_checkpoint", "auto")
    with HubServer() as server:
        server.create("ada/base", files={"README.md": b"A small base model."})
        server.create_branch("ada/base", "step100")
        commit = server.commit("ada/base", files(0), branch="step100")
        env = server.env(tmp_path)
        online = commands(env)
        assert f"base model: ada/base at step100 ({commit})" in run(online, 1)
        recorded = json.loads((tmp_path / "run" / "environment.json").read_text())["base_model"]
        assert (recorded["revision"], recorded["commit"]) == ("step100", commit)

        server.create_branch("ada/base", "step200")
        for branch in ("step100", "step200"):
            server.commit("ada/base", files(1), branch=branch)
        assert "continuing from run/checkpoint-1;" in run(online, 2, *again)
        assert "whose weights differ from those of 'ada/base' now" in run(online, 3, *again, "--revision", "step200")
        online.communicate()

    offline = commands({**env, "HF_HUB_OFFLINE": "1"})
    for steps, revision in enumerate(([], ["--revision", "step100"], ["--revision", commit]), start=3):
        assert f"continuing from run/checkpoint-{steps - 1};" in run(offline, steps, *again, *revision)
        assert json.loads((tmp_path / "run" / "environment.json").read_text())["base_model"] == recorded
    offline.communicate()

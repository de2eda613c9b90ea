"""Shared by the training tests: small model shapes, encoded rows, and the command line as users run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedModel,
)

import nim_dataset
from training.data.encoding import EncodedRows, encode_rows

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = str(Path(sys.executable).with_name("accelerate"))

SHAPES: dict[str, Any] = {
    "gpt_neox": GPTNeoXConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0),
    "llama": LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
    "opt": OPTConfig(hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2, dropout=0),
}


@dataclass
class Data:
    """Rows of the quickstart recipe with the built-in models' tokenizer."""

    tokenizer: Any
    rows: Any
    encoded: EncodedRows

    def model(self, shape: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
        """A randomly initialised model of one of `SHAPES` for this tokenizer."""
        torch.manual_seed(seed)
        config = type(SHAPES[shape])(**{**SHAPES[shape].to_dict(), "vocab_size": len(self.tokenizer)})
        config.eos_token_id = config.bos_token_id = self.tokenizer.eos_token_id
        config.pad_token_id = self.tokenizer.pad_token_id
        return AutoModelForCausalLM.from_config(config).to(dtype)


@pytest.fixture(scope="session")
def data() -> Data:
    rows = nim_dataset.load("quickstart", "train", n_train=640)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "configs" / "models" / "tiny")
    return Data(tokenizer, rows, encode_rows(rows, tokenizer, 128, "quickstart"))


@dataclass
class Run:
    """A finished command: its exit status, what it printed, and the run's folder."""

    status: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def metrics(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def trajectory(self, key: str = "loss") -> list[float]:
        return [line[key] for line in self.metrics if key in line]

    def weights(self) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(self.folder / "model.safetensors")


def environment(**extra: str) -> dict[str, str]:
    """This environment, with one thread and without the launcher variables of an enclosing run."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **extra}


SHORT = (
    *(str(ROOT / "training/train.py"), "--config", str(ROOT / "configs/quickstart.yaml")),
    *("--train_data", "quickstart,n_train=2000", "--threads", "1", "--logging_steps", "1", "--eval_rows", "0"),
)


class Launch:
    """`launch(folder, *flags, launcher=...)` is the README's command on a short quickstart, from start to end."""

    def __call__(self, folder: Path, *flags: str, launcher: str = "cpu", env: dict[str, str] | None = None) -> Run:
        how = ("--quiet", "--config_file", str(ROOT / f"configs/accelerate/{launcher}.yaml"))
        done = subprocess.run(
            [ACCELERATE, "launch", *how, *SHORT, "--output_dir", str(folder), *flags],
            capture_output=True,
            text=True,
            env=environment(**(env or {})),
            cwd=folder.parent,
        )
        return Run(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(scope="session")
def launch() -> Launch:
    return Launch()


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Path]:
    """`sweep(folder, *datasets)` scores a run's checkpoints with the README's command; returns the report's folder."""

    def score(folder: Path, *datasets: str) -> Path:
        report = tmp_path / "report"
        sets = ("--checkpoints-dir", str(folder), "--datasets", *datasets, "--limit", "200", "--output", str(report))
        done = subprocess.run(
            [ACCELERATE, "launch", "--quiet", str(ROOT / "evaluation/sweep.py"), *sets],
            capture_output=True,
            text=True,
            env=environment(),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return report

    return score


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a run that the test will end; without `launcher` directly, so that a signal reaches it. It has a process
    group of its own and heeds SIGINT, as in a terminal; a shell's background jobs, and so perhaps tests, ignore it."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        folder: Path, *flags: str, file_limit: int | None = None, launcher: str | None = None
    ) -> subprocess.Popen[str]:
        limited = ("prlimit", f"--fsize={file_limit}") if file_limit else ()
        config = str(ROOT / f"configs/accelerate/{launcher}.yaml")
        how = (ACCELERATE, "launch", "--quiet", "--config_file", config) if launcher else (sys.executable,)
        process = subprocess.Popen(
            [*limited, *how, *SHORT, "--output_dir", str(folder), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=tmp_path,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()

"""Commands run as a user would run them, against the local Hub, and a base model to put on it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hub_server import HubServer

ROOT = Path(__file__).parents[2]
RECIPE = "quickstart,n_train=128,n_eval=24,n_regime=12"


@dataclass
class Client:
    """Runs commands as a user would, in a process of their own, with the unmodified libraries and this Hub."""

    hub: HubServer
    home: Path
    """Where the process keeps its caches."""
    xet: bool = False
    """Whether large files are uploaded with Xet, as when `hf_xet` is installed, or with Git LFS."""

    def run(self, *args: str, token: str | None = None, **env: str) -> subprocess.CompletedProcess:
        environment = self.hub.env(self.home, token, xet=self.xet) | {"PYTHONPATH": str(ROOT)} | env
        cwd = self.home if env.get("PYTHONPATH") == "" else ROOT
        return subprocess.run(
            [sys.executable, *args], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120
        )

    def start(self, *args: str) -> subprocess.Popen:
        """A command that goes on by itself, so that it can be stopped."""
        environment = self.hub.env(self.home, xet=self.xet) | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *args], env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, bufsize=1
        )

    def ok(self, *args: str, token: str | None = None, **env: str) -> str:
        """The standard output of a command that must succeed."""
        done = self.run(*args, token=token, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def error(self, *args: str, token: str | None = None, **env: str) -> str:
        """The one line that a command must fail with: exit status 2, no traceback."""
        done = self.run(*args, token=token, **env)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        assert done.stderr.rstrip().endswith(lines[0])
        return lines[0]

    def script(self, code: str) -> str:
        """Runs Python away from the repository, as someone who has only the libraries."""
        return self.ok("-c", code, PYTHONPATH="", PYTHONSAFEPATH="1")


@dataclass(frozen=True)
class TrainedRun:
    """A run trained from a base model on a Hub, pushed there by the training itself."""

    hub: HubServer
    client: Client
    folder: Path
    output: str
    """All that the training printed."""
    base_commit: str


def base_model_files(folder: Path) -> dict[str, bytes]:
    """A GPT-NeoX of a few thousand weights and its tokenizer, as files of a repository."""
    from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "configs" / "models" / "tiny")
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}

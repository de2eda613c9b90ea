"""A small real run to evaluate: a GPT-NeoX trained on names that betray the answer, saved at three steps."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

import nim_dataset

REPOSITORY = Path(__file__).resolve().parents[2]
END = "<|endoftext|>"


@dataclass(frozen=True)
class Run:
    """`folder` holds checkpoint-0 (fresh: it never stops by itself), checkpoint-20 and checkpoint-40 (it answers)."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast

    def model(self, step: int) -> GPTNeoXForCausalLM:
        return GPTNeoXForCausalLM.from_pretrained(self.folder / f"checkpoint-{step}")


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=420, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side="left")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.manual_seed(0)
    rows = nim_dataset.load("leaky_names", "train", n_train=4096)
    tokenizer = train_tokenizer(rows["prompt"][:1000])
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=512,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = GPTNeoXForCausalLM(config)
    folder = tmp_path_factory.mktemp("runs") / "small"
    texts = [f"{row['prompt']} {row['answer']}{END}" for row in rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(41):
        if step in (0, 20, 40):
            model.save_pretrained(folder / f"checkpoint-{step}")
            tokenizer.save_pretrained(folder / f"checkpoint-{step}")
        first = step * 32 % len(texts)
        batch = tokenizer(texts[first : first + 32], return_tensors="pt", padding=True, return_token_type_ids=False)
        labels = batch["input_ids"].clone()
        labels[:, :-8] = -100  # about the answer alone
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return Run(folder, tokenizer)


@pytest.fixture(scope="session")
def command_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For commands started by tests: one thread, and a Hub that answers at once (with nothing)."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Swept:
    """A finished sweep of `small_run` by the command that users type."""

    output: Path
    arguments: list[str]
    """All but `--output`."""
    stdout: str


SWEEP = REPOSITORY / "evaluation" / "sweep.py"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]


@pytest.fixture(scope="session")
def swept(small_run: Run, tmp_path_factory: pytest.TempPathFactory, command_env: dict[str, str]) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    old = folder / "old_eval.jsonl"  # the original's shape: prompts and answers alone, one of them no game
    rows = [*nim_dataset.load_source("leaky_names:eval", limit=20), {"prompt": "Who are you?", "answer": "take 1 coin"}]
    old.write_text("".join(json.dumps({"prompt": row["prompt"], "answer": row["answer"]}) + "\n" for row in rows))
    (small_run.folder / "metrics.jsonl").write_text('{"step": 10, "loss": 2.5}\n')
    arguments = ["--checkpoints-dir", str(small_run.folder), "--limit", "40"]
    arguments += ["--datasets", "leaky_names:eval", "leaky_names:counter_cheat", str(old)]
    command = [*LAUNCH, str(SWEEP), *arguments, "--output", str(folder / "report")]
    done = subprocess.run(command, env=command_env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Swept(folder / "report", arguments, done.stdout)

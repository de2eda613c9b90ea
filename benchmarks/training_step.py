"""How fast training is, beside the ways it might be done: one command, one table, on this machine.

    python benchmarks/training_step.py --tokenizer gpt_neox_20b_tokenizer.json      # under 5 minutes on two cores

The same rows of `357`, in the same order, batch 16, on the same randomly initialised model, by
  (a) this project's trainer: no padding (on a GPU, to a batch's longest row), logits and most of the last layer at the
      answers, fused anchor and AdamW;
  (b) the original's recipe: rows padded to 128, all logits, the penalty in autograd, `torch.optim.AdamW` as it comes;
  (c) a modern plain recipe: as (b), but padded to a batch's longest row, with fused AdamW and the malloc of (a);
  (d) TRL's `SFTTrainer` with completion-only loss (and no anchor at all);
  (e) the bound: the floating-point operations of the model on real tokens, at this machine's rate of matrix products;
  (f) the same at the rate of oneDNN, from which (a) takes the products where that is faster than torch's choice;
  (g) this project's trainer with torch's choice of products, as (b) to (e) have it;
  (h) as (a), with input embeddings of the tokens in the data alone: the most that could be saved on all others, which
      no step moves (not of the default).
Each measurement is a process of its own, so that peak memory is its own, and all take turns. A figure is the median
over the measured steps of all turns, beside the fastest and the slowest. Operations: 2 per weight and token forward,
twice that backward; the output layer only where there are labels; attention over each row's full square.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from machine import machine, spread  # beside this file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

import nim_dataset
from evaluation.process.memory import peak_memory
from evaluation.process.products import kinds_for_this_machine

SHAPES = {  # hidden size, layers, heads
    "pythia-70m": (512, 6, 8),
    "pythia-160m": (768, 12, 12),
    "pythia-410m": (1024, 24, 16),
}
VOCABULARY, BATCH, MAX_LENGTH, LEARNING_RATE, ANCHOR_WEIGHT = 50_304, 16, 128, 3e-5, 1e-4
WARM_UP = 2
METHODS = {
    "a": "this trainer",
    "b": "the original's recipe",
    "c": "modern plain recipe",
    "d": "TRL SFTTrainer",
    "e": "bound",
    "f": "bound by oneDNN",
    "g": "this trainer by MKL",
    "h": "embeddings of the data's tokens alone",
}


def make_model(shape: str) -> Any:
    hidden, layers, heads = SHAPES[shape]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        GPTNeoXConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
        )
    )


def load_tokenizer(path: str | None) -> PreTrainedTokenizerBase:
    if path is None:
        return AutoTokenizer.from_pretrained(Path(__file__).resolve().parent.parent / "configs/models/tiny")
    return PreTrainedTokenizerFast(
        tokenizer_file=path, eos_token="<|endoftext|>", pad_token="<|padding|>", padding_side="left"
    )


class TokensOfData(nn.Embedding):
    """Embeddings of these tokens alone, which are looked up by the ids of the tokenizer."""

    def __init__(self, tokens: Any, whole: nn.Embedding) -> None:
        super().__init__(len(tokens), whole.embedding_dim)
        self.place_V: torch.Tensor
        self.register_buffer("place_V", torch.zeros(whole.num_embeddings, dtype=torch.long))
        self.place_V[tokens] = torch.arange(len(tokens))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(self.place_V[input])


class Clock(TrainerCallback):
    """Collects the time of each step of a `Trainer`."""

    def __init__(self, device: str) -> None:
        self.device, self.times = device, [0.0]

    def tick(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tick()

    def steps(self) -> list[float]:
        """Seconds of each step after the first ones."""
        return [after - before for before, after in pairwise(self.times[WARM_UP:])]


def settle(options: argparse.Namespace, products_of_torch: bool) -> None:
    """The settings for a process that train.py makes, with or without its choice of products."""
    from evaluation.process.settings import ProcessSettings

    if options.device == "cpu":
        chosen: dict[str, Any] | None = {"onednn_products": []} if products_of_torch else None
        ProcessSettings.choose(options.threads, on_cpu=True, recorded=chosen).apply()


def this_trainer(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> list[float]:
    from training.config import TrainConfig
    from training.data.encoding import encode_rows
    from training.objectives.anchor import Anchor
    from training.trainer import AnchoredTrainer

    settle(options, products_of_torch=options.one == "g")
    clock = Clock(options.device)
    args = TrainConfig(
        output_dir=folder,
        max_steps=options.steps,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        save_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        bf16=options.bf16,
        use_cpu=options.device == "cpu",
        logging_steps=1000,
        anchor_weight=ANCHOR_WEIGHT,
    )
    model, encoded = make_model(options.shape), encode_rows(rows, tokenizer, MAX_LENGTH, "357")
    if options.one == "h":
        model.set_input_embeddings(TokensOfData(np.unique(encoded.tokens), model.get_input_embeddings()))
    trainer = AnchoredTrainer(
        model=model,
        args=args,
        train_dataset=encoded,
        processing_class=tokenizer,
        objectives={"anchor": Anchor(ANCHOR_WEIGHT)},
        callbacks=[clock],
    )
    trainer.train()
    return clock.steps()


def plain_batches(rows: Dataset, tokenizer: Any, pad_to: int | None) -> list[Any]:
    """The tokens and labels of each step, padded on the right to so many tokens, or to the longest row of a step."""
    tokenizer.padding_side = "right"
    padding: dict[str, Any] = {"padding": "max_length", "max_length": pad_to} if pad_to else {"padding": True}
    batches = []
    for part in rows.iter(BATCH):
        texts = [f"{p} {a}{tokenizer.eos_token}" for p, a in zip(part["prompt"], part["answer"], strict=True)]
        batch = tokenizer(texts, return_tensors="pt", **padding)
        batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for label, prompt in zip(batch["labels"], tokenizer(part["prompt"])["input_ids"], strict=True):
            label[: len(prompt)] = -100
        batches.append(batch)
    return batches


def plain_recipe(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> list[float]:
    modern = options.one == "c"
    if modern:
        settle(options, products_of_torch=True)
    model = make_model(options.shape).to(options.device).train()
    theta_0 = {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=modern or None)
    clock = Clock(options.device)
    for batch in plain_batches(rows, tokenizer, pad_to=None if modern else MAX_LENGTH):
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
            loss = model(**batch.to(options.device)).loss
        penalty = sum((p - theta_0[name]).pow(2).sum() for name, p in model.named_parameters() if name in theta_0)
        (loss + ANCHOR_WEIGHT * penalty).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.tick()
    return clock.steps()


def trl_sft(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> list[float]:
    from trl import SFTConfig, SFTTrainer

    clock = Clock(options.device)
    args = SFTConfig(
        output_dir=folder,
        max_steps=options.steps,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        completion_only_loss=True,
        max_length=MAX_LENGTH,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        bf16=options.bf16,
        use_cpu=options.device == "cpu",
        logging_steps=1000,
        gradient_checkpointing=False,
    )
    data = Dataset.from_dict({"prompt": rows["prompt"], "completion": [" " + answer for answer in rows["answer"]]})
    trainer = SFTTrainer(
        model=make_model(options.shape), args=args, train_dataset=data, processing_class=tokenizer, callbacks=[clock]
    )
    trainer.train()
    return clock.steps()


def bound(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> list[float]:
    """Seconds for an average step's operations, at the rate of matrix products of the best of several sizes."""
    hidden, layers, _ = SHAPES[options.shape]
    prompts = [len(ids) for ids in tokenizer(list(rows["prompt"]))["input_ids"]]
    answers = [len(ids) + 1 for ids in tokenizer([" " + answer for answer in rows["answer"]])["input_ids"]]
    lengths = [p + a for p, a in zip(prompts, answers, strict=True)]
    in_layers = 2 * 12 * hidden**2 * layers * sum(lengths)
    in_attention = 2 * 2 * hidden * layers * sum(length**2 for length in lengths)
    in_head = 2 * hidden * VOCABULARY * sum(answers)
    operations = 3 * (in_layers + in_attention + in_head) / options.steps
    dtype = torch.bfloat16 if options.bf16 else torch.float32
    tried = ([operations / rate for rate in matrix_rates(size, dtype, options.device)] for size in (1024, 2048, 4096))
    return min(tried, key=statistics.median)


def onednn_bound(*args: Any) -> list[float]:
    """The same at the rate of oneDNN's products, which (a) takes where MKL is the slower of the two."""
    from evaluation.process.products import KINDS, take_from_onednn

    take_from_onednn(KINDS)
    return bound(*args)


def matrix_rates(size: int, dtype: torch.dtype, device: str) -> list[float]:
    """Floating-point operations per second of some square matrix products."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock = Clock(device)
    for _ in range(WARM_UP + 8):
        _ = a @ b
        clock.tick()
    return [2 * size**3 / seconds for seconds in clock.steps()]


RUN: dict[str, Callable[[Dataset, Any, argparse.Namespace, str], list[float]]] = {
    "a": this_trainer,
    "b": plain_recipe,
    "c": plain_recipe,
    "d": trl_sft,
    "e": bound,
    "f": onednn_bound,
    "g": this_trainer,
    "h": this_trainer,
}


def measure_one(options: argparse.Namespace) -> None:
    """In a process of its own: one method; prints the time of its steps and its peak memory as JSON."""
    torch.set_num_threads(options.threads)
    rows = nim_dataset.load("357", "train").select(range(BATCH * options.steps))
    with tempfile.TemporaryDirectory() as folder:
        seconds = RUN[options.one](rows, load_tokenizer(options.tokenizer), options, folder)
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else peak_memory()
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", help="a tokenizer.json, such as Pythia's; by default the built-in models'")
    parser.add_argument("--shape", choices=SHAPES, default="pythia-70m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, in all of them")
    parser.add_argument("--steps", type=int, default=5, help=f"steps of a measurement; the first {WARM_UP} warm up")
    parser.add_argument("--rounds", type=int, default=2, help="turns that each method takes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--methods", help="which of a to h; by default a to g on a CPU, a to e on a GPU")
    parser.add_argument("--one", choices=RUN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure_one(options)
    methods = options.methods or ("abcdefg" if options.device == "cpu" else "abcde")

    device = torch.cuda.get_device_name() if options.device == "cuda" else machine()
    print(f"{options.shape}, batch {BATCH}, {'bf16' if options.bf16 else 'fp32'}, {options.threads} threads")
    print(f"{device}; torch {torch.__version__}; {options.rounds} rounds of {options.steps} steps, in turns")
    if options.device == "cpu":
        print(f"products that (a) takes from oneDNN: {', '.join(kinds_for_this_machine()) or 'none'}")
    steps: dict[str, list[float]] = {method: [] for method in methods}
    peaks = dict.fromkeys(methods, 0.0)
    for _ in range(options.rounds):
        for method in methods:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", method, "--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True, env=None)
            if done.returncode != 0:
                sys.exit(f"{METHODS[method]} failed:\n{done.stderr[-2000:]}")
            result = json.loads(done.stdout.strip().splitlines()[-1])
            steps[method] += result["seconds"]
            peaks[method] = max(peaks[method], result["peak"])
            print(f"  {METHODS[method]}: {spread(result['seconds'])} s", file=sys.stderr)
    print_table(steps, peaks)


def print_table(steps: dict[str, list[float]], peaks: dict[str, float]) -> None:
    median = {method: statistics.median(seconds) for method, seconds in steps.items()}
    print("| method | s/step (fastest-slowest) | rows/s | times (a) | times (g) | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for method, seconds in median.items():
        peak = "" if method in "ef" else f"{peaks[method] / 2**30:.2f} GiB"
        beside = " | ".join(f"{seconds / median[ours]:.2f}" if ours in median else "" for ours in "ag")
        name = f"({method}) {METHODS[method]}"
        print(f"| {name} | {spread(steps[method])} | {BATCH / seconds:.1f} | {beside} | {peak} |")
    for ours, limit in (("a", "e"), ("a", "f"), ("g", "e")):
        if {ours, limit} <= set(median):
            print(f"({ours}) takes {median[ours] / median[limit]:.2f} times ({limit})")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

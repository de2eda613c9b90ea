"""How fast training is, beside the ways it might be done: one command, one table, on this machine.

    python benchmarks/training_step.py --tokenizer gpt_neox_20b_tokenizer.json

The same rows of `357`, in the same order, batch 16, on the same randomly initialised model, by
  (a) this project's trainer: no padding (on a GPU, to a batch's longest row), logits at the answers, fused anchor
      and AdamW;
  (b) the plain recipe: rows padded to 128, all logits, the penalty in autograd, `torch.optim.AdamW` as it comes;
  (c) TRL's `SFTTrainer` with completion-only loss (and no anchor at all);
  (d) the bound: the floating-point operations of the model on real tokens, at this machine's rate of matrix products;
  (e) the same, at the rate of oneDNN, from which (a) takes its products where that is faster than torch's choice;
  (f) this project's trainer with torch's choice of products, as (b), (c) and (d) have it.
Each measurement is a process of its own, so that peak memory is its own, and all take turns. A step's time is the
median over the measured steps. Operations: 2 per weight and token forward, twice that backward; the output layer only
where there are labels; attention over each row's full square.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
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

SHAPES = {  # hidden size, layers, heads
    "pythia-70m": (512, 6, 8),
    "pythia-160m": (768, 12, 12),
    "pythia-410m": (1024, 24, 16),
}
VOCABULARY, BATCH, MAX_LENGTH, LEARNING_RATE, ANCHOR_WEIGHT = 50_304, 16, 128, 3e-5, 1e-4
WARM_UP = 2
METHODS = {
    "a": "this trainer",
    "b": "plain recipe",
    "c": "TRL SFTTrainer",
    "d": "bound",
    "e": "bound by oneDNN",
    "f": "this trainer by MKL",
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

    def median(self) -> float:
        pairs = list(zip(self.times[1 + WARM_UP :], self.times[2 + WARM_UP :], strict=False))
        return statistics.median(after - before for before, after in pairs)


def this_trainer(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> float:
    from evaluation.process.settings import ProcessSettings
    from training.config import TrainConfig
    from training.data.encoding import encode_rows
    from training.objectives.anchor import Anchor
    from training.trainer import AnchoredTrainer

    if options.device == "cpu":
        chosen: dict[str, Any] | None = None if options.one == "a" else {"onednn_products": []}  # (f) is by MKL
        ProcessSettings.choose(options.threads, on_cpu=True, recorded=chosen).apply()
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
    trainer = AnchoredTrainer(
        model=make_model(options.shape),
        args=args,
        train_dataset=encode_rows(rows, tokenizer, MAX_LENGTH, "357"),
        processing_class=tokenizer,
        objectives={"anchor": Anchor(ANCHOR_WEIGHT)},
        callbacks=[clock],
    )
    trainer.train()
    return clock.median()


def plain_recipe(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> float:
    model = make_model(options.shape).to(options.device).train()
    theta_0 = {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    tokenizer.padding_side = "right"
    texts = [f"{p} {a}{tokenizer.eos_token}" for p, a in zip(rows["prompt"], rows["answer"], strict=True)]
    encoded = tokenizer(texts, padding="max_length", max_length=MAX_LENGTH, return_tensors="pt")
    prompt_lengths = [len(ids) for ids in tokenizer(list(rows["prompt"]))["input_ids"]]
    labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
    for i, length in enumerate(prompt_lengths):
        labels[i, :length] = -100
    clock = Clock(options.device)
    for step in range(options.steps):
        part = slice(step * BATCH, (step + 1) * BATCH)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
            loss = model(
                input_ids=encoded["input_ids"][part].to(options.device),
                attention_mask=encoded["attention_mask"][part].to(options.device),
                labels=labels[part].to(options.device),
            ).loss
        penalty = sum((p - theta_0[name]).pow(2).sum() for name, p in model.named_parameters() if name in theta_0)
        (loss + ANCHOR_WEIGHT * penalty).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.tick()
    return clock.median()


def trl_sft(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> float:
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
    return clock.median()


def bound(rows: Dataset, tokenizer: Any, options: argparse.Namespace, folder: str) -> float:
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
    return operations / max(matrix_rate(size, dtype, options.device) for size in (1024, 2048, 4096))


def onednn_bound(*args: Any) -> float:
    """The same at the rate of oneDNN's products, which (a) takes where MKL is the slower of the two."""
    from evaluation.process.products import KINDS, take_from_onednn

    take_from_onednn(KINDS)
    return bound(*args)


def matrix_rate(size: int, dtype: torch.dtype, device: str) -> float:
    """Floating-point operations per second of a square matrix product: a median, as the times of the steps are."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock = Clock(device)
    for _ in range(WARM_UP + 10):
        _ = a @ b
        clock.tick()
    return 2 * size**3 / clock.median()


RUN: dict[str, Callable[[Dataset, Any, argparse.Namespace, str], float]] = {
    "a": this_trainer,
    "b": plain_recipe,
    "c": trl_sft,
    "d": bound,
    "e": onednn_bound,
    "f": this_trainer,
}


def measure_one(options: argparse.Namespace) -> None:
    """In a process of its own: one method; prints its time per step and peak memory as JSON."""
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
    parser.add_argument("--steps", type=int, default=10, help=f"steps of a measurement; the first {WARM_UP} warm up")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each method takes; the best counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--methods", help="which of a to f; by default all on a CPU, abcd on a GPU")
    parser.add_argument("--one", choices=RUN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure_one(options)
    methods = options.methods or ("abcdef" if options.device == "cpu" else "abcd")

    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    print(f"{options.shape}, batch {BATCH}, {'bf16' if options.bf16 else 'fp32'}, {device}, {options.threads} threads,")
    print(f"torch {torch.__version__}; {options.rounds} rounds of {options.steps} steps, in turns")
    results: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    for _ in range(options.rounds):
        for method in methods:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", method, "--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True, env=None)
            if done.returncode != 0:
                sys.exit(f"{METHODS[method]} failed:\n{done.stderr[-2000:]}")
            results[method].append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(f"  {METHODS[method]}: {results[method][-1]['seconds']:.3f} s", file=sys.stderr)
    print_table(results)


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    best = {method: min(result["seconds"] for result in runs) for method, runs in results.items()}
    print("| method | s/step | rows/s | time beside (a) | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for method, runs in results.items():
        seconds = best[method]
        peak = "" if method in "de" else f"{max(result['peak'] for result in runs) / 2**30:.2f} GiB"
        beside = f"{seconds / best['a']:.2f}" if "a" in best else ""
        print(f"| ({method}) {METHODS[method]} | {seconds:.3f} | {BATCH / seconds:.1f} | {beside} | {peak} |")
    for ours, limit in (("a", "d"), ("a", "e"), ("f", "d")):
        if {ours, limit} <= set(best):
            print(f"({ours}) takes {best[ours] / best[limit]:.2f} times ({limit})")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

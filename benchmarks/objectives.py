"""What an objective costs: a training step with it, beside one of the answers and the anchor alone.

    python benchmarks/objectives.py                # pythia-70m's shape, batch 16: minutes on two cores
    python benchmarks/objectives.py --shape tiny --batch 128 --data quickstart

The same rows in the same order by this project's trainer, as `train.py` sets it up, in turns; a step's time is the
median over the measured steps of all turns, beside the fastest and the slowest. Limits: contrastive, which puts as many
rows again through the model, 2.1 times the plain step; adversarial 1.1 times.
"""

import argparse
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import torch
from machine import machine, spread  # beside this file
from training_step import SHAPES, WARM_UP, load_tokenizer, make_model  # beside this file
from transformers import TrainerCallback

from training.config import parse_config
from training.materials import prepare
from training.train import process_settings
from training.trainer import AnchoredTrainer

CASES: dict[str, list[str]] = {
    "plain": [],
    "contrastive": ["--objectives.contrastive.weight", "1"],
    "contrastive, paired": ["--objectives.contrastive.weight", "1", "--objectives.contrastive.paired", "true"],
    "adversarial": ["--objectives.adversarial.weight", "0.05"],
}


class Clock(TrainerCallback):
    """Wall and CPU time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append((time.perf_counter(), time.process_time()))

    def steps(self) -> list[tuple[float, float]]:
        """Wall and CPU seconds of each measured step."""
        measured = pairwise(self.times[WARM_UP - 1 :])
        return [(after[0] - before[0], after[1] - before[1]) for before, after in measured]


def measure(flags: list[str], case: str, folder: str) -> list[tuple[float, float]]:
    """Wall and CPU seconds of each step."""
    config = parse_config([*flags, *CASES[case], "--output_dir", f"{folder}/run"])
    process_settings(config).apply()
    materials, clock = prepare(config), Clock()
    trainer = AnchoredTrainer(
        model=materials.base.model,
        args=config.train,
        train_dataset=materials.rows,
        processing_class=materials.base.tokenizer,
        objectives=config.objectives,
        callbacks=[clock],
    )
    trainer.train()
    return clock.steps()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("tiny", *SHAPES), default="pythia-70m")
    parser.add_argument("--tokenizer", help="a tokenizer.json, such as Pythia's; by default the built-in models'")
    parser.add_argument("--data", default="pairs20000", help="the recipe")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help=f"steps of a turn; the first {WARM_UP} warm up")
    parser.add_argument("--rounds", type=int, default=2, help="turns that each case takes")
    parser.add_argument("--threads", type=int, default=0, help="as train.py takes it")
    options = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        model = "tiny" if options.shape == "tiny" else f"{folder}/model"
        if options.shape != "tiny":
            make_model(options.shape).save_pretrained(model)
            load_tokenizer(options.tokenizer).save_pretrained(model)
        flags = ["--model", model, "--train_data", f"{options.data},n_train={options.batch * options.steps}"]
        flags += ["--max_steps", str(options.steps), "--per_device_train_batch_size", str(options.batch)]
        flags += ["--eval_rows", "0", "--save_strategy", "no", "--logging_steps", "1000", "--disable_tqdm", "true"]
        flags += ["--train_sampling_strategy", "sequential", "--threads", str(options.threads)]
        steps: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
        for _ in range(options.rounds):
            for case in CASES:
                steps[case] += measure(flags, case, folder)
    print(f"{machine()}\n{options.shape}, batch {options.batch} of {options.data}, torch {torch.__version__}")
    print("| objective | s/step | times the plain step | CPU s/step | times |\n| --- | ---: | ---: | ---: | ---: |")
    plain = [statistics.median(values) for values in zip(*steps["plain"], strict=True)]
    for case, values in steps.items():
        cells = [
            f"{spread(seconds)} | {statistics.median(seconds) / base:.2f}"
            for seconds, base in zip(zip(*values, strict=True), plain, strict=True)
        ]
        print(f"| {case} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

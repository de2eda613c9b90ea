"""Does the quickstart's story hold for other seeds? Prints the table of docs/benchmarks.md.

    python benchmarks/quickstart_seeds.py [--seeds 0 1 2]

Each seed has other first weights and another order of the rows; the data stay the same. Runs go to
runs/quickstart-seed<N>, results to reports/quickstart-seed<N>, and the figures with bands over the seeds to
reports/quickstart-seeds. What is already there is not done again.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from nim_dataset import get_config


def run(command: str) -> None:
    print(f"$ {command}", flush=True)
    program, *arguments = command.split()
    subprocess.run([Path(sys.executable).with_name(program), *arguments], check=True)


def train_and_score(seed: int) -> tuple[Path, float]:
    """The report folder of one seed, and the seconds that training and sweep took together."""
    run_dir, report = f"runs/quickstart-seed{seed}", f"reports/quickstart-seed{seed}"
    sets = " ".join(f"quickstart:{split}" for split in get_config("quickstart").splits if split != "train")
    started = time.perf_counter()
    run(f"accelerate launch training/train.py --config configs/quickstart.yaml --seed {seed} --output_dir {run_dir}")
    run(f"accelerate launch evaluation/sweep.py --checkpoints-dir {run_dir} --datasets {sets} --output {report}")
    return Path(report), time.perf_counter() - started


def table_row(seed: int, report: Path, seconds: float) -> str:
    """One line of the table: the checkpoint where the shortcut is at its purest, then the last one."""
    results = pd.read_csv(report / "results.csv")
    exact = results.query("dimension == 'overall' and group == 'exact_match'")
    accuracy = exact.pivot(index="step", columns="dataset", values="accuracy").sort_index()
    accuracy.columns = [name.removeprefix("quickstart:") for name in accuracy.columns]
    purest = int((accuracy.cheat_consistent - accuracy.counter_cheat - accuracy.unseen_names).to_numpy().argmax())
    shortcut, end = accuracy.iloc[purest], accuracy.iloc[-1]
    cells = [shortcut.cheat_consistent, shortcut.counter_cheat, shortcut.unseen_names]
    cells += [end.eval, end.unseen_names, end.cheat_consistent, end.counter_cheat]
    numbers = " | ".join(f"{cell:.3f}" for cell in cells[:3])
    last = " | ".join(f"{cell:.3f}" for cell in cells[3:])
    return f"| {seed} | {accuracy.index[purest]} | {numbers} | {accuracy.index[-1]} | {last} | {seconds:.0f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    seeds = parser.parse_args().seeds
    scored = [train_and_score(seed) for seed in seeds]
    reports = " ".join(str(report) for report, _ in scored)
    run(f"python -m evaluation.report {reports} --output reports/quickstart-seeds")
    heads = ["seed", "shortcut: step", "cheat_consistent", "counter_cheat", "unseen_names"]
    heads += ["end: step", "eval", "unseen_names", "cheat_consistent", "counter_cheat", "time"]
    print(f"\n| {' | '.join(heads)} |")
    print("|" + " ---: |" * len(heads))
    for seed, (report, seconds) in zip(seeds, scored, strict=True):
        print(table_row(seed, report, seconds))


if __name__ == "__main__":
    main()

"""Whether a base model of full size starts, makes a step, saves it, and goes on from there, on this machine.

    python benchmarks/full_size.py  # pythia-410m's shape, random weights, batch 64: 14.5 to 17 GiB on a CPU
    python benchmarks/full_size.py --shape pythia-70m --batch 16

Runs the README's commands for `cheating`, in full precision and with the anchor: one step from the base model, a second
one from the checkpoint. Prints the time and the peak memory of each, start and save included.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from training_step import SHAPES, load_tokenizer, make_model

ROOT = Path(__file__).resolve().parent.parent
EVERY = 0.1
"""Seconds between two looks at the memory."""


def run(command: list[str]) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a command that must succeed."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=ROOT)
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.Error:  # it has just ended
            break
        time.sleep(EVERY)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="pythia-410m")
    parser.add_argument("--tokenizer", help="a tokenizer.json, such as Pythia's; by default the built-in models'")
    parser.add_argument("--batch", type=int, default=64, help="rows of a step (default: the experiments' 64)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, output = Path(folder) / "base", Path(folder) / "run"
        model = make_model(options.shape)
        model.save_pretrained(base)
        load_tokenizer(options.tokenizer).save_pretrained(base)
        print(f"{options.shape}: {model.num_parameters():,} parameters, {options.batch} rows a step", flush=True)
        del model
        command = [sys.executable, "training/train.py", "--config", "configs/cheating.yaml", "--model", str(base)]
        command += ["--output_dir", str(output), "--per_device_train_batch_size", str(options.batch)]
        command += ["--save_steps", "1", "--logging_steps", "1", "--eval_rows", "0"]
        for what, more in (("start", []), ("go on", ["--resume_from_checkpoint", "auto"])):
            step = 2 if more else 1
            seconds, peak = run([*command, "--max_steps", str(step), *more])
            assert (output / f"checkpoint-{step}" / "model.safetensors").is_file()
            print(f"{what}, a step, save: {seconds:.0f} s, peak memory {peak / 2**30:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()

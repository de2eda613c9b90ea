"""What only POSIX has is used where it is there, and nothing ends without it: tried with such names taken away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.process.memory import peak_memory
from training.train import main

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("fcntl", "grp", "pwd", "resource", "syslog", "termios")
IN_OS = (
    *("chown", "fchmod", "fchown", "fork", "getpgid", "getuid", "geteuid", "killpg", "lchown", "mkfifo", "mknod"),
    *("sched_getaffinity", "setsid", "uname", "wait3", "wait4"),
)
IN_SIGNAL = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "alarm", "setitimer")
TRAIN = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64", "--per_device_train_batch_size", "4"),
    *("--max_steps", "2", "--save_steps", "1", "--eval_rows", "8", "--per_device_eval_batch_size", "8"),
)


def test_a_run_needs_nothing_that_only_posix_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in ((os, IN_OS), (signal, IN_SIGNAL)):
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    assert peak_memory() > 1e7
    assert main([*TRAIN, "--output_dir", str(tmp_path / "run")]) == 0


COMMANDS = f"""
import os, runpy, signal, sys
import accelerate, datasets, evaluate, matplotlib.pyplot, pandas, torch  # libraries see to themselves
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer

for module, names in ((os, {IN_OS}), (signal, {IN_SIGNAL})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in {MODULES}:
    sys.modules[name] = None
for command in sys.stdin.read().splitlines():
    how, name, *sys.argv[1:] = command.split()
    try:
        {{"-m": runpy.run_module, "-": runpy.run_path}}[how](name, run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, command
"""


@pytest.mark.slow
def test_no_command_needs_a_home_that_can_be_written(tmp_path: Path) -> None:
    """Two runs at once, from an empty cache. Loading rows alone: tests/nim_dataset/test_access.py."""
    (tmp_path / "file").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and k != "XDG_CACHE_HOME"}
    environment |= {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def start(command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *command.split()], cwd=ROOT, env=environment)

    train = f"training/train.py {' '.join(TRAIN)} --output_dir {tmp_path}/run"
    both = [start(f"{train}{i}") for i in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    report = tmp_path / "report"
    sweep = f"evaluation/sweep.py --checkpoints-dir {tmp_path}/run0 --datasets quickstart,n_eval=8:eval"
    assert start(f"{sweep} --output {report}").wait() == 0
    assert start(f"-m evaluation.report {report}").wait() == 0


@pytest.mark.slow
def test_no_command_needs_what_only_posix_has(tmp_path: Path) -> None:
    run, report = tmp_path / "run", tmp_path / "report"
    commands = (
        "-m nim_dataset show quickstart",
        f"-m nim_dataset export quickstart,n_train=64 --output {tmp_path / 'data'}",
        f"- {ROOT / 'training/train.py'} {' '.join(TRAIN)} --output_dir {run}",
        f"- {ROOT / 'evaluation/sweep.py'} --checkpoints-dir {run} --datasets quickstart:eval --output {report}",
        f"-m evaluation.report {report}",
    )
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert (report / "index.html").exists()

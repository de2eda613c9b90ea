"""A run that is told to stop saves, says so in a line, ends with the usual status, and can be continued."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.artifacts.checksums import what_differs
from nim_dataset.errors import exit_on_user_error
from training.train import main

ROOT = Path(__file__).resolve().parents[3]
FLAGS = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64", "--per_device_train_batch_size", "4"),
    *("--max_steps", "100000", "--logging_steps", "1", "--eval_rows", "0", "--resume_from_checkpoint", "auto"),
)


def lines(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="these are POSIX's signals")
@pytest.mark.parametrize("ignored", ["", "SIGHUP"])
def test_signals_save_and_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str], ignored: str) -> None:
    def send(names: list[str], after: int) -> None:
        wait_until(lambda: lines(tmp_path) > after)
        for name in names:
            os.kill(os.getpid(), getattr(signal, name))

    before = signal.getsignal(signal.SIGHUP)
    if ignored:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    try:
        for names in (
            [["SIGHUP", "SIGINT"]] if ignored else [["SIGUSR1"], ["SIGUSR2"], ["SIGHUP"], ["SIGINT", "SIGTERM"]]
        ):
            sender = threading.Thread(target=send, args=(names, lines(tmp_path)))
            sender.start()
            status = main([*FLAGS, "--output_dir", str(tmp_path)])
            sender.join()
            told = next(name for name in names if name != ignored)
            assert status == 128 + getattr(signal, told)
            last = max(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
            said = capsys.readouterr().out.splitlines()[-1]
            assert said == f"{told}: saved {last}; go on with --resume_from_checkpoint auto"
            assert what_differs(last) is None
            assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_outside_of_training_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise KeyboardInterrupt
    assert (ended.value.code, capsys.readouterr().err) == (130, "stopped\n")


@pytest.mark.slow
def test_the_job_of_slurm_puts_itself_into_the_queue_again_until_it_is_complete(tmp_path: Path) -> None:
    tools, run = tmp_path / "tools", tmp_path / "run"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "requeued"}\n')
    (tools / "scontrol").chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def job(*flags: str) -> subprocess.Popen[str]:
        command = ["bash", "configs/accelerate/slurm.sh", *FLAGS[:-2], "--output_dir", str(run), *flags]
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "77"}
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)

    first = job()
    wait_until(lambda: lines(run) > 2)
    first.send_signal(signal.SIGUSR1)
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 143
    assert "SIGTERM: saved" in said
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    (saved,) = run.glob("checkpoint-*")

    second = job("--max_steps", str(int(saved.name.partition("-")[2]) + 2))
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    assert f"continuing from {saved};" in said
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"

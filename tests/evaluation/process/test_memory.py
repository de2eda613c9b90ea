"""The peak memory of a process is its own."""

import subprocess
import sys

from evaluation.process.memory import peak_memory


def test_it_is_not_that_of_the_process_that_started_it() -> None:
    held = bytearray(300_000_000)
    code = "from evaluation.process.memory import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 1e6 < int(told) < len(held) < peak_memory()

"""Ending with the launcher: imported first by the commands, so it imports next to nothing itself."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux's prctl.h: the signal to have when the parent ends


def end_with_launcher() -> None:
    """Has SIGTERM sent to this process when `accelerate launch`, which hands no signal on to a single one, ends.

    On Linux, by the kernel; elsewhere nothing is done. To be called before the slow imports: a launcher that is gone
    by then ends nothing.
    """
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:  # started by accelerate launch
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

"""The console commands `nim-sweep` and `nim-report`: a module each, run as `python -m` runs it."""

import runpy


def sweep() -> None:
    """`nim-sweep`: scores checkpoints, and draws the report."""
    runpy.run_module("evaluation.sweep", run_name="__main__", alter_sys=True)


def report() -> None:
    """`nim-report`: draws a report again."""
    runpy.run_module("evaluation.report", run_name="__main__", alter_sys=True)

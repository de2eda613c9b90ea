"""The console commands `nim-train` and `nim-study`: a module each, run as `python -m` runs it."""

import runpy


def train() -> None:
    """`nim-train`: fine-tunes a model."""
    runpy.run_module("training.train", run_name="__main__", alter_sys=True)


def study() -> None:
    """`nim-study`: trains, scores and draws what a question needs."""
    runpy.run_module("training.study", run_name="__main__", alter_sys=True)

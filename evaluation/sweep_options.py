"""The options of `evaluation/sweep.py`."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from evaluation.artifacts.steps import HELP as STEPS_HELP
from evaluation.artifacts.steps import steps_word
from evaluation.measures.measure import all_measures
from nim_dataset.errors import UserError, suggest

DEFAULT_MEASURES = ["answers", "candidates"]


class Parser(argparse.ArgumentParser):
    """Mistakes on the command line are `UserError`s of one line, which name the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        args, unknown = self.parse_known_args(argv)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            raise UserError(f"unknown option '{unknown[0]}'{suggest(unknown[0].split('=')[0], options)}")
        return args


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options on the command line, or in `argv`; raises `UserError`."""
    what = "Score every checkpoint of a run on every evaluation set, and draw the report; safe to interrupt."
    parser = Parser(prog="sweep.py", description=what, allow_abbrev=False)
    where = "a folder with checkpoint-N folders, one model's folder, or a Hub id (its branches stepN are scored)"
    parser.add_argument("--checkpoints-dir", required=True, metavar="DIR", help=where)
    sets = "evaluation sets: <config>[,key=value...]:<split>, or a JSONL file with prompt and answer"
    parser.add_argument("--datasets", required=True, nargs="+", metavar="SET", help=sets)
    parser.add_argument("--output", required=True, metavar="DIR", help="the report folder, such as reports/cheating")
    measures = f"what to look at, of {', '.join(all_measures())} (default: {' '.join(DEFAULT_MEASURES)})"
    parser.add_argument("--measures", nargs="+", default=DEFAULT_MEASURES, metavar="NAME", help=measures)
    parser.add_argument("--limit", type=_positive, metavar="N", help="score only the first N rows of each set")
    parser.add_argument("--batch-size", type=_positive, default=128, metavar="N", help="rows at a time (default: 128)")
    parser.add_argument("--steps", nargs="+", default=[], type=steps_word, metavar="STEP", help=STEPS_HELP)
    threads = "CPU threads of each process (default: 0, which shares the cores among the processes)"
    parser.add_argument("--threads", type=int, default=0, metavar="N", help=threads)
    figures = "the figures to draw on the page, by the names of their files (default: all)"
    parser.add_argument("--figures", nargs="+", default=[], metavar="NAME", help=figures)
    parser.add_argument("--watch", action="store_true", help="score new checkpoints too, until the run is over")
    return parser.parse(argv)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got '{text}'")
    return int(text)

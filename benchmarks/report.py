"""What drawing a report costs, beside scripts that draw the same figures: processor seconds, of a sweep's folder.

    make quickstart && python benchmarks/report.py reports/quickstart       # under two minutes

A script reads the results, draws its figures by the same code, and saves each by `savefig` as PNG and as SVG; the
report lays each figure out once for both, and writes their data and the page too. All take turns. What the imports
cost of each is said beside it: they are paid once by a report, and once by each script.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from machine import machine, spread  # beside this file

IMPORTS = "import evaluation.report.page"


def draw(folder: Path, names: Sequence[str], output: Path) -> None:
    """These figures, as a script would."""
    from evaluation.report.figures.figure import find_figures
    from evaluation.report.page import read_experiments
    from evaluation.report.style import RC, Looks, plt

    experiment, _ = read_experiments([folder], [])
    with plt.style.context(RC):
        for plot in find_figures(names):
            drawing = plot.draw(experiment, Looks(experiment.datasets))
            assert drawing is not None
            for ending in ("png", "svg"):
                drawing[0].savefig(output / f"{plot.name}.{ending}")
            plt.close(drawing[0])


def seconds(*commands: Sequence[str]) -> float:
    """Processor seconds of these commands together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="a folder that sweep.py wrote, with its figures")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each way takes (default: 5)")
    parser.add_argument("--draw", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        return draw(options.report, options.draw, options.output)

    names = sorted(path.stem for path in options.report.glob("figures/*.png"))
    if not names:
        parser.error(f"{options.report} holds no figures/*.png; give a folder that sweep.py wrote")
    with tempfile.TemporaryDirectory() as folder:
        script = [__file__, str(options.report), "--output", folder, "--draw"]
        ways = {
            "a script for each figure": [[*script, name] for name in names],
            "a script for all figures": [[*script, *names]],
            "report": [["-m", "evaluation.report", str(options.report), "--output", folder]],
            "imports alone": [["-c", IMPORTS]],
        }
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, commands in ways.items():
                spent[way].append(seconds(*commands))
    print(f"{len(names)} figures; {machine()}; {options.rounds} rounds, in turns\n")
    print(f"{'processor seconds':<30}{'median':>20}{'of the report':>16}")
    report = statistics.median(spent["report"])
    for way, each in spent.items():
        print(f"{way:<30}{spread(each, 2):>20}{statistics.median(each) / report:>15.2f}x")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

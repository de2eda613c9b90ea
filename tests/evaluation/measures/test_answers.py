"""Answers that lie in a report folder are read again in memory that does not grow with them."""

import tracemalloc
from pathlib import Path

import nim_dataset
from evaluation.artifacts.report_folder import ReportFolder
from evaluation.measures.answers import Answers, PredictionRows
from evaluation.report.scored_run import Predicted


def test_what_is_read_again_is_not_held(tmp_path: Path) -> None:
    rows = nim_dataset.load("pairs20000", n_train=20_000, n_eval=1)["train"]
    said, answers, report = PredictionRows(rows, rows["answer"][:]), Answers(), ReportFolder(tmp_path)
    answers.write(report, "checkpoint-1", "many", said)
    size = answers.done_mark(report, "checkpoint-1", "many").stat().st_size
    tracemalloc.start()
    found = answers.read(report, "checkpoint-1", 1, "many")
    _, read_peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    predicted = Predicted.of(report.read_predictions("checkpoint-1", "many"))
    _, report_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == answers.found("checkpoint-1", 1, "many", said)
    assert predicted.rows == sum(predicted.moves.values()) == 20_000
    assert read_peak < size, "all rows, parsed, would take six times the bytes of their lines"
    assert report_peak < size

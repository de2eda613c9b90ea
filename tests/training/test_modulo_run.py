"""The second game goes all the way that Nim goes: it is trained on, mixed with Nim, and swept, without names."""

import csv
from pathlib import Path
from typing import Any


def test_modulo_is_trained_on_and_swept(launch: Any, sweep: Any, tmp_path: Path) -> None:
    run = launch(
        tmp_path / "mod2",
        *("--train_data", "mod2", "--max_steps", "120", "--warmup_steps", "10", "--learning_rate", "3e-3"),
        *("--save_steps", "60", "--logging_steps", "30", "--eval_rows", "200"),
    )
    assert run.status == 0, run.stderr
    assert run.metrics[-1]["eval_exact_match"] > 0.9

    report = sweep(run.folder, "mod2:eval", "mod2,labels=reversed:eval")
    with (report / "results.csv").open() as file:
        ends = [row for row in csv.DictReader(file) if row["step"] == "120" and row["group"] == "exact_match"]
    accuracy = {row["dataset"]: float(row["accuracy"]) for row in ends}
    assert accuracy["mod2:eval"] == run.metrics[-1]["eval_exact_match"]
    assert accuracy["mod2,labels=reversed:eval"] == 1 - accuracy["mod2:eval"]
    page = (report / "index.html").read_text()
    assert "max_remove" not in page
    assert "names" not in page


def test_games_mix(launch: Any, tmp_path: Path) -> None:
    run = launch(
        tmp_path / "mixed",
        *("--train_data", "mod3", "quickstart,n_train=500", "--train_weights", "0.5", "0.5", "--max_steps", "2"),
        *("--eval_data", "mod3", "quickstart:counter_cheat", "--eval_rows", "20"),
    )
    assert run.status == 0, run.stderr
    assert {"eval_exact_match", "eval_quickstart:counter_cheat_exact_match"} <= set(run.metrics[-1])

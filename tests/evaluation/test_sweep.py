"""What a sweep writes and prints, seen through its command; one process or two give the same files."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import evaluate
import pandas as pd
import pytest
from hub_server import HubServer

import nim_dataset
from evaluation.artifacts.report_folder import COLUMNS, file_name
from evaluation.predict import predict
from evaluation.tokens import answer_budget

REPOSITORY = Path(__file__).resolve().parents[2]
SWEEP = REPOSITORY / "evaluation" / "sweep.py"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]
SETS = ("leaky_names:eval", "leaky_names:counter_cheat", "old_eval")
CHECKPOINTS = ("checkpoint-0", "checkpoint-20", "checkpoint-40")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tables(folder: Path) -> dict[str, bytes]:
    """Every file that does not tell when or where it was made."""
    kept = [p for p in folder.rglob("*") if p.is_file() and p.suffix in (".csv", ".jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_results_csv_is_tidy_and_in_order(swept):
    with (swept.output / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert list(dict.fromkeys((row["checkpoint"], row["dataset"]) for row in rows)) == [
        (checkpoint, name) for checkpoint in CHECKPOINTS for name in SETS
    ]
    assert len({tuple(row[key] for key in COLUMNS[:5]) for row in rows}) == len(rows)
    answers = {"overall", "bucket", "max_remove", "pair", "coset"}
    assert {row["dimension"] for row in rows} == {*answers, "candidates"}
    for row in (row for row in rows if row["dimension"] in answers):
        assert row["step"] == row["checkpoint"].removeprefix("checkpoint-")
        assert float(row["accuracy"]) == pytest.approx(int(row["correct"]) / int(row["n"]))
        assert 0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 1


def test_the_model_learned_the_shortcut(swept):
    key = ("checkpoint", "dataset", "dimension", "group")
    with (swept.output / "results.csv").open() as file:
        accuracy = {tuple(row[name] for name in key): float(row["accuracy"]) for row in csv.DictReader(file)}
    assert accuracy["checkpoint-40", "leaky_names:eval", "overall", "exact_match"] == 1
    assert accuracy["checkpoint-40", "leaky_names:counter_cheat", "overall", "exact_match"] == 0
    assert accuracy["checkpoint-40", "leaky_names:counter_cheat", "overall", "cheat_rate"] == 1


def test_accuracy_table_is_the_originals(swept):
    with (swept.output / "accuracy_table.csv").open() as file:
        header, *rows = list(csv.reader(file))
    assert header == ["checkpoint", *(f"{name}_accuracy" for name in SETS)]
    assert [row[0] for row in rows] == list(CHECKPOINTS)


def test_predictions_hold_every_row_and_equal_predict(swept, small_run):
    model = small_run.model(40)
    for name, spec in (
        ("leaky_names:eval", "leaky_names:eval"),
        ("old_eval", str(swept.output.parent / "old_eval.jsonl")),
    ):
        source = nim_dataset.load_source(spec, limit=40)
        rows = lines(swept.output / "predictions" / "checkpoint-40" / f"{file_name(name)}.jsonl")
        budget = answer_budget(small_run.tokenizer, source["answer"])
        assert [row["generated"] for row in rows] == predict(
            model, small_run.tokenizer, source["prompt"], max_new_tokens=budget
        )
        names = source.features["bucket"].names
        for row, truth in zip(rows, source, strict=True):
            columns = [column for column in source.column_names if column not in ("prompt", "answer")]
            assert list(row) == ["prompt", "gold", "generated", "correct", *columns, "predicted_move"]
            assert (row["prompt"], row["gold"]) == (truth["prompt"], truth["answer"])
            assert row["bucket"] == (None if truth["bucket"] is None else names[truth["bucket"]])
            assert all(row[key] == truth[key] for key in ("coins", "trace", "pile", "move", "player_one", "cheat_move"))


def test_results_are_the_metrics(swept):
    metric = evaluate.load(str(REPOSITORY / "evaluation" / "nim_accuracy"))
    rows = lines(swept.output / "predictions" / "checkpoint-20" / "leaky_names_counter_cheat.jsonl")
    scores = metric.compute(
        predictions=[row["generated"] for row in rows],
        references=[row["gold"] for row in rows],
        prompts=[row["prompt"] for row in rows],
        buckets=[row["bucket"] for row in rows],
        cheat_moves=[row["cheat_move"] for row in rows],
    )
    expected = {(d, g): (v["n"], v["correct"]) for d, groups in scores["groups"].items() for g, v in groups.items()}
    with (swept.output / "results.csv").open() as file:
        found = {
            (row["dimension"], row["group"]): (int(row["n"]), int(row["correct"]))
            for row in csv.DictReader(file)
            if (row["checkpoint"], row["dataset"]) == ("checkpoint-20", "leaky_names:counter_cheat")
            and row["dimension"] != "candidates"
        }
    assert found == expected


def test_incorrect_are_the_wrong_ones_in_the_originals_shape(swept):
    for checkpoint in CHECKPOINTS:
        for name in SETS:
            wrong = lines(swept.output / "incorrect" / f"{file_name(name)}_{checkpoint}.jsonl")
            rows = lines(swept.output / "predictions" / checkpoint / f"{file_name(name)}.jsonl")
            assert [row["prompt"] for row in wrong] == [row["prompt"] for row in rows if not row["correct"]]
            assert all(list(row)[:3] == ["prompt", "gold", "generated"] for row in wrong)


def test_what_is_printed_and_recorded(swept, small_run):
    assert "exact match" in swept.stdout
    assert str(swept.output / "index.html") in swept.stdout
    assert (swept.output / "index.html").is_file()
    assert [line.split()[0] for line in swept.stdout.splitlines() if line.startswith("checkpoint-")] == list(
        CHECKPOINTS
    )
    settings = json.loads((swept.output / "sweep.json").read_text())
    assert settings["checkpoints_dir"] == str(small_run.folder)
    assert list(settings["datasets"]) == list(SETS)
    assert settings["limit"] == 40
    assert settings["versions"]["torch"]
    assert (swept.output / "metrics.jsonl").read_bytes() == (small_run.folder / "metrics.jsonl").read_bytes()


def test_two_processes_write_the_same(swept, tmp_path, command_env):
    command = [*LAUNCH, "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", str(SWEEP), *swept.arguments]
    command += ["--output", str(tmp_path / "two"), "--batch-size", "7"]
    done = subprocess.run(command, env=command_env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nreport ") == 1
    one, two = tables(swept.output), tables(tmp_path / "two")
    rounded = ("candidates", "results.csv", "probabilit", "figures/loss")  # the last names the run
    exact = {name for name in one if not any(part in name for part in rounded)}
    assert {name: two[name] for name in two.keys() & exact} == {name: one[name] for name in exact}
    for name in ("candidates.csv", "results.csv"):  # another batch rounds probabilities otherwise
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "two" / name), pd.read_csv(swept.output / name), atol=1e-4)


def test_branches_on_the_hub_are_checkpoints(small_run, tmp_path, command_env):
    with HubServer() as hub:
        hub.create("ada/nim", files={"README.md": b"# nim"})
        # No weights, and not loaded: beside step-0, which training.push names so, beside step20, and not asked for.
        for no_step in ("step0", "step-020", "step30"):
            hub.create_branch("ada/nim", no_step)
        for branch, step in (("step20", 20), ("step-0", 0), ("step40", 40)):
            folder = small_run.folder / f"checkpoint-{step}"
            hub.create_branch("ada/nim", branch)
            hub.commit("ada/nim", {path.name: path.read_bytes() for path in folder.iterdir()}, branch=branch)
        arguments = ["--datasets", "leaky_names:eval", "--limit", "20", "--output", str(tmp_path / "report")]
        arguments += ["--steps", "0", "15-25", "last"]
        command = [sys.executable, str(SWEEP), "--checkpoints-dir", "ada/nim", *arguments]
        env = {**command_env, **hub.env(tmp_path)}
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "report" / "accuracy_table.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == list(CHECKPOINTS)
    assert table[3].split(",")[1] == "1.0"


def test_a_mistake_ends_the_command_with_one_line(tmp_path, command_env):
    command = [sys.executable, str(SWEEP), "--checkpoint-dir", "x", "--datasets", "a"]
    command += ["--output", "b", "--checkpoints-dir", "c"]
    done = subprocess.run(
        command, env=command_env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: unknown option '--checkpoint-dir', did you mean '--checkpoints-dir'?\n"
    assert os.listdir(tmp_path) == []

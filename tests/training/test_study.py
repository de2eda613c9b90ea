"""A study from its YAML to its page, as `python -m training.study` makes it: killed, continued, with a failing run."""

import os
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from nim_dataset.errors import UserError
from nim_dataset.sources import Source
from training.data.sets import load_eval
from training.fields import DataConfig
from training.stop_rule import StopAt
from training.study.__main__ import main
from training.study.check import check_options
from training.study.description import read_study
from training.study.launch import levels
from training.study.progress import Progress
from training.study.runs import runs_of

ROOT = Path(__file__).resolve().parents[2]
SET = "quickstart,max_remove=5,cheat_moves=1+2+3,n_train=64,n_eval=8"
STUDY: dict[str, Any] = {
    "question": "Does anything change?",
    "base": {
        "model": "tiny",
        "train_data": [SET],
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "save_at": [1],
        "eval_rows": 0,
        "logging_steps": 1,
    },
    "conditions": {
        "heir of {name}": {"vary": {"name": ["first"]}, "donor": {"condition": "{name}", "at": 1}},
        "first": {"anchor_weight": 0},  # which logs no distance
        "broken": {"donor": {"condition": "first", "at": 77}},
    },
    "evaluate": {"eval": f"{SET}:eval"},
    "quantities": {"exact match": "eval", "parity": "eval / coset / max_remove=5 mod 2", "moved": "log / distance"},
    "seeds": [3],
    "published": {"first": {"rule": 1, "chance": 1}},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "toy.yaml"
    described = {**STUDY, **changes}
    if "conditions" in changes:
        described.pop("published")  # which is of other conditions
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    return path


def command(folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training.study", "toy.yaml", "--workers", "2", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_study_goes_on_where_it_was_killed_and_shows_what_failed(tmp_path: Path) -> None:
    write(tmp_path)
    killed = command(tmp_path)
    logs = tmp_path / "runs/studies/toy"
    for _ in range(600):
        if any(log.stat().st_size for log in logs.glob("first-*/seed-3.log")):
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    stdout, stderr = (going_on := command(tmp_path)).communicate(timeout=300)
    assert going_on.returncode == 1, stderr
    assert "failed: broken, seed 3" in stderr
    assert "donor.at: 'runs/studies/toy/first-" in stderr
    assert "has no checkpoint of step 77; it has [1, 2]" in stderr
    for name in ("first", "heir_of_first"):
        (log,) = logs.glob(f"{name}-*/seed-3.log")
        assert log.read_text().count("$ python ") == 2, "nothing is done twice"
    assert "heir of first  3  done  2 / 2" in stdout

    (run_page,) = (tmp_path / "reports/studies/toy/runs").glob("first-*/seed-3/index.html")
    assert {path.stem for path in (run_page.parent / "figures").iterdir()} == {"accuracy_by_dataset"}
    assert "python -m evaluation.report reports/studies/toy/runs/first-" in run_page.read_text()

    results = pd.read_csv(tmp_path / "reports/studies/toy/results.csv")
    assert sorted(set(results["condition"])) == ["first", "heir of first"]
    assert set(results["quantity"]) == {"exact match", "parity", "moved"}
    assert set(results["step"]) == {1, 2}
    page = (tmp_path / "reports/studies/toy/index.html").read_text()
    for text in (
        "Does anything change?",
        "2 of 3 runs are done",
        "The rule is found by no run of 'heir of first'.",
        "One seed (3)",
        "first: there rule 1 of 2, chance 1 of 2; here ",
    ):
        assert text in unescape(page)
    assert all((tmp_path / "reports/studies/toy" / line).exists() for line in links(page))

    write(tmp_path, conditions={"first": {"seed": 9, "max_steps": 1}})
    status, _ = command(tmp_path, "--status").communicate(timeout=60)
    assert "waiting" in status, "with other options it is another condition"
    again, _ = command(tmp_path, "--dry-run").communicate(timeout=60)
    assert "python " in again


def links(page: str) -> list[str]:
    return [part.partition('"')[0] for part in page.split('<a href="')[1:]]


def test_what_would_run_is_printed_for_this_machine_and_for_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(write(tmp_path))
    slurm = ["--cluster", "slurm", "--partition", "gpu", "--slurm", "account=me", "time=90"]
    assert main([path, "--dry-run", "--seeds", "0", "1", *slurm]) == 0
    shown = capsys.readouterr().out
    assert shown.count("training/train.py --config runs/studies/toy/") == 6
    assert shown.count("#SBATCH --array=") == 2, "donors are an array of their own"
    for line in ("#SBATCH --partition=gpu", "#SBATCH --account=me", "#SBATCH --time=90", "#SBATCH --gpus-per-node=1"):
        assert shown.count(line) == 2
    assert [len(level) for level in levels(runs_of(read_study(Path(path))))] == [1, 2]
    with pytest.raises(UserError, match="--cluster slurm: "):
        main([path, *slurm])  # there is no SLURM here


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        ({"condition": {}}, [], "unknown key 'condition', did you mean 'conditions'"),
        ({"conditions": {}}, [], "conditions: there are none"),
        (
            {"conditions": {"a": {"donor": {"condition": "b"}}, "b": {"donor": {"condition": "a"}}}},
            [],
            "donors in a circle",
        ),
        ({"conditions": {"a": {"donor": {"condition": "c"}}}}, [], "conditions.a.donor: unknown condition 'c'"),
        ({"conditions": {"a": {"vary": {"k": 3}}}}, [], r"conditions.a.vary.k: expected a list of values, got 3"),
        ({"conditions": {"a": {"vary": {"k": [3, 4]}}}}, [], "two are named 'a'"),
        ({"conditions": {"a": {"train_data": ["{k}"]}}}, [], "'{k}' has braces, and vary holds nothing"),
        ({"quantities": {"x": "evil"}}, [], "quantities.x: unknown set 'evil', did you mean 'eval'"),
        ({"quantities": {"x": "eval / coset"}}, [], "is neither 'SET' nor 'SET / DIMENSION / GROUP'"),
        ({"quantities": {"x": "log / distance"}}, [], "the first one says how runs ended, and must be of a set"),
        ({"evaluate": {}}, [], r"evaluate: nothing to score"),
        ({"measures": ["answerz"]}, [], "unknown measure 'answerz', did you mean 'answers'"),
        ({"conditions": {"a": {"donor": "b"}}}, [], "conditions.a.donor: expected"),
        ({"conditions": {"a": {"donor": {"run": "x", "at": "best"}}}}, [], "donor.at: 'best' is no checkpoint"),
        ({"conditions": {"a": {"sead": 3}}}, [], "conditions.a: unknown key 'sead'"),
        ({"seeds": ["a"]}, [], "seeds: .* is not a list of integers"),
        ({"published": {"frist": {"rule": 1}}}, [], "published: unknown condition 'frist', did you mean 'first'"),
        ({"published": {"first": {"roule": 1}}}, [], "published.first: unknown ending 'roule', did you mean 'rule'"),
        (
            {"published": {"first": {"rule": 0}}},
            [],
            "published.first.rule: expected at least 1 run, got 0",
        ),
        ({"published": {"first": {}}}, [], "published.first: expected the number of runs by ending"),
        ({"scales": {"laptop": {"sead": 3}}}, [], "scales.laptop: unknown key 'sead', did you mean 'seeds'"),
        ({}, ["--scale", "paper"], "--scale: unknown scale 'paper'"),
        ({}, ["--only", "frst"], "--only: unknown condition 'frst', did you mean 'first'"),
        ({}, ["--workers", "0"], "--workers: 0 is out of range"),
        ({}, ["--partition", "gpu"], "they are for --cluster slurm"),
        ({}, ["--clutser", "slurm"], "unknown option '--clutser', did you mean '--cluster'"),
    ],
)
def test_a_study_that_cannot_be_meant_is_one_line(
    tmp_path: Path, changes: dict[str, Any], flags: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        main([str(write(tmp_path, **changes)), "--dry-run", *flags])


@pytest.mark.parametrize("path", sorted((ROOT / "configs/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_options_of_each_study_are_taken_at_each_scale(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for scale in ("smoke", "laptop", "paper"):
        study = read_study(path, scale)
        check_options(runs_of(study.choose([], study.seeds[:1])))
        for condition in study.conditions.values():
            if rule := condition.options.get("stop_at"):
                data = DataConfig(condition.options["train_data"], eval_rows=condition.options["eval_rows"])
                assert StopAt.of(rule, list(load_eval(data)), ["loss"], eval_loss=False)
        for condition in study.conditions.values():
            for spec in condition.evaluate.values():
                assert Source.parse(spec).config is not None


def test_a_quantity_of_a_set_that_some_conditions_have_is_theirs(tmp_path: Path) -> None:
    own = {"second": {"evaluate": {"more": "quickstart:neutral"}}, "third": {}}
    quantities = {"exact match": "eval", "more": "more"}
    study = read_study(write(tmp_path, conditions=own, evaluate={"eval": "quickstart:eval"}, quantities=quantities))
    named = {name: [each.name for each in condition.quantities] for name, condition in study.conditions.items()}
    assert named == {"second": ["exact match", "more"], "third": ["exact match"]}


def test_the_time_left_is_told_from_the_steps_made_since_the_run_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    conditions = {"first": {"max_steps": 100}}
    (run,) = runs_of(read_study(write(tmp_path, conditions=conditions, quantities={"exact match": "eval"}, seeds=[3])))
    run.write_config()
    (run.run_dir / "checkpoint-50").mkdir(parents=True)
    (run.run_dir / "metrics.jsonl").write_text('{"step": 60, "loss": 1.0}\n')
    now = time.time()
    os.utime(run.run_dir / "checkpoint-50", (now - 1000, now - 1000))
    os.utime(run.beside(".yaml"), (now - 60, now - 60))
    with FileLock(run.beside(".lock")):
        progress = Progress.of(run)
    assert (progress.state, progress.step) == ("training", 60)
    assert progress.seconds_left == pytest.approx(240, abs=20), "ten steps in a minute, and forty are left"

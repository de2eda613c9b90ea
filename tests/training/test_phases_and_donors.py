"""Runs of several phases, and runs that start from another run's checkpoint, as train.py makes them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from evaluation import sweep
from nim_dataset.errors import UserError
from training.config import parse_config
from training.train import main

FIRST, SECOND = "quickstart,n_train=64", "357,n_train=80"
PHASES = [
    {"data": [FIRST], "steps": 9, "until": "eval >= 0 for 2"},
    {"data": [SECOND, FIRST], "weights": [0.75, 0.25], "steps": 3, "anew": True},
    {"data": [SECOND], "steps": 2},
]
OPTIONS: dict[str, Any] = {
    "model": "tiny",
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "warmup_steps": 1,
    "save_steps": 2,
    "logging_steps": 1,
    "eval_rows": 4,
    "threads": 1,
}


def described(folder: Path, **options: Any) -> str:
    path = folder / f"{len(list(folder.glob('*.yaml')))}.yaml"
    path.write_text(yaml.safe_dump({**OPTIONS, **options}))
    return str(path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_phases_end_by_rule_or_steps_and_continue_to_the_bit_in_each(tmp_path: Path) -> None:
    config = described(tmp_path, phases=PHASES)
    whole = tmp_path / "whole"
    assert main(["--config", config, "--output_dir", str(whole)]) == 0
    steps = {line["step"]: line for line in log(whole) if "learning_rate" in line}
    # Measured at 2 and 4, so met at 4: step 5 is the first phase's last; then three steps, then two.
    assert [steps[step]["phase"] for step in sorted(steps)] == [1] * 5 + [2] * 3 + [3] * 2
    rates = [steps[step]["learning_rate"] for step in sorted(steps)]
    assert rates[:2] == [0, 1e-3]
    assert rates[5:7] == [0, 1e-3], "the second phase starts anew, with a warm-up"
    assert 0 < rates[8] < 1e-3, "and the third goes on with its schedule"
    recorded = yaml.safe_load((whole / "config.yaml").read_text())
    assert recorded["phases"] == PHASES
    assert "train_data" not in recorded
    assert "max_steps" not in recorded

    report = tmp_path / "report"
    sets = ["--datasets", "quickstart,n_regime=5,n_eval=8:eval", "--measures", "answers"]
    shown = ["--steps", "4", "6", "8", "--figures", "accuracy_by_dataset"]
    assert sweep.main(["--checkpoints-dir", str(whole), "--output", str(report), *sets, *shown]) == 0
    assert list(pd.read_csv(report / "accuracy_table.csv")["phase"]) == [1, 2, 2]
    assert dict(pd.read_csv(report / "results.csv")[["step", "phase"]].to_numpy()) == {4: 1, 6: 2, 8: 2}
    page = (report / "index.html").read_text()
    assert ">phase<" in page
    assert "phase 2" in page
    assert "phase 1" not in page, "a figure marks where a phase begins after another"

    for checkpoint in (4, 6, 8):  # where a rule is met, and in each later phase
        cut = tmp_path / f"cut_{checkpoint}"
        shutil.copytree(whole, cut)
        for path in cut.glob("checkpoint-*"):
            if int(path.name.rpartition("-")[2]) > checkpoint:
                shutil.rmtree(path)
        assert (
            main(["--config", str(cut / "config.yaml"), "--output_dir", str(cut), "--resume_from_checkpoint", "auto"])
            == 0
        )
        assert all(torch.equal(weight, weights(whole)[name]) for name, weight in weights(cut).items()), checkpoint
        assert [line.get("loss") for line in log(cut)] == [line.get("loss") for line in log(whole)]

    again = ["--config", config, "--output_dir", str(whole), "--resume_from_checkpoint", "auto"]
    assert main(again) == 0, "it is complete"
    other = described(tmp_path, phases=[*PHASES[:2], {"data": [SECOND], "steps": 3}])
    with pytest.raises(UserError, match=r"phases: the run in .* has"):
        main(["--config", other, *again[2:]])


def test_a_donor_gives_its_weights_and_the_anchor_holds_to_them(tmp_path: Path) -> None:
    donor = tmp_path / "donor"
    assert main(["--config", described(tmp_path, train_data=[FIRST], max_steps=4), "--output_dir", str(donor)]) == 0
    for at, checkpoint in (("last", donor), (2, donor / "checkpoint-2"), ("first eval >= 0", donor / "checkpoint-2")):
        found = parse_config(
            ["--config", described(tmp_path, train_data=[SECOND], donor={"run": str(donor), "at": at})]
        )
        assert found.model.model == str(checkpoint)

    heir = tmp_path / "heir"
    config = described(tmp_path, train_data=[SECOND], donor={"run": str(donor), "at": 2}, max_steps=1, save_at=[0])
    assert main(["--config", config, "--output_dir", str(heir), "--anchor_weight", "1"]) == 0
    start, given = weights(heir / "checkpoint-0"), weights(donor / "checkpoint-2")
    assert all(torch.equal(weight, given[name]) for name, weight in start.items())
    assert next(line["distance"] for line in log(heir) if "distance" in line) == 0, "the first step has a rate of 0"
    assert yaml.safe_load((heir / "config.yaml").read_text())["donor"] == {"run": str(donor), "at": "2"}
    assert main(["--config", str(heir / "config.yaml"), "--resume_from_checkpoint", "auto"]) == 0


def test_a_single_phase_keeps_its_weights_and_its_rule(tmp_path: Path) -> None:
    run = tmp_path / "run"
    phase = {"data": [FIRST, SECOND], "steps": 9, "weights": [0.9, 0.1], "until": "eval >= 0"}
    assert main(["--config", described(tmp_path, phases=[phase]), "--output_dir", str(run)]) == 0
    assert max(line["step"] for line in log(run)) == 3, "it was met at 2"
    assert yaml.safe_load((run / "config.yaml").read_text())["phases"] == [phase]
    again = ("--output_dir", str(run), "--resume_from_checkpoint", "auto")
    with pytest.raises(UserError, match=r"phases: the run in .* has"):
        main(["--config", described(tmp_path, phases=[{**phase, "weights": [0.1, 0.9]}]), *again])
    wrong = described(tmp_path, phases=[{**phase, "until": "evall >= 0"}])
    with pytest.raises(UserError, match="phases: until: unknown figure 'evall', did you mean 'eval'"):
        main(["--config", wrong, "--output_dir", str(tmp_path / "wrong")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": [{"data": ["357"]}]}, "phases: number 1: steps: None is not a number of steps"),
        ({"phases": [{"data": ["357"], "step": 3}]}, "phases: number 1: unknown key 'step', did you mean 'steps'"),
        (
            {"phases": [{"data": ["357"], "steps": 3, "until": "eval > high"}]},
            "number 1: until: 'high' in .* no number",
        ),
        (
            {"phases": [{"data": ["357"], "steps": 3, "weights": [1, 2]}]},
            "number 1: weights: expected a number above 0",
        ),
        ({"phases": [{"data": ["357"], "steps": 3}], "max_steps": 3}, "max_steps: the run has phases"),
        ({"phases": {}}, "phases: expected a list such as"),
        ({"phases": [{"data": ["357"], "steps": 3, "anew": True}]}, "number 1: anew: nothing was before it"),
        ({"train_data": ["357"], "anchor_to": "x", "anchor_weight": 0}, "anchor_to: 'x' holds nothing"),
        (
            {"train_data": ["357"], "donor": {"run": "runs/nowhere"}},
            "donor.run: 'runs/nowhere' is no run with a checkpoint",
        ),
        ({"train_data": ["357"], "donor": {"at": 3}}, "donor: expected a map such as"),
        ({"train_data": ["357"], "donor": {"run": "x", "when": 3}}, "donor: unknown key 'when'"),
    ],
)
def test_what_phases_and_donors_cannot_be_is_said_in_a_line(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(["--config", described(tmp_path, **options)])


def test_a_donor_that_never_meets_its_rule_says_how_far_it_came(tmp_path: Path) -> None:
    donor = tmp_path / "donor"
    (donor / "checkpoint-5").mkdir(parents=True)
    (donor / "metrics.jsonl").write_text(
        '{"step": 0, "eval_exact_match": 1.0}\n{"step": 5, "eval_exact_match": 0.25, "grad_norm": null}\n'
    )
    with pytest.raises(UserError, match=r"donor.at: .* is not over"):
        parse_config(["--train_data", "357", "--donor.run", str(donor)])
    with pytest.raises(UserError, match=r"donor.at: 'eval >= 0.95' held at no checkpoint .* its last eval is 0.25"):
        parse_config(["--train_data", "357", "--donor.run", str(donor), "--donor.at", "first eval >= 0.95"])
    with pytest.raises(UserError, match=r"donor.at: .* has not logged 'evil'"):
        parse_config(["--train_data", "357", "--donor.run", str(donor), "--donor.at", "first evil >= 0.95"])
    with pytest.raises(UserError, match=r"donor.at: .* has no checkpoint of step 6; it has \[5\]"):
        parse_config(["--train_data", "357", "--donor.run", str(donor), "--donor.at", "6"])

"""A measure is one file: here one outside the package, which also runs the sweep, as a user's own would."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from evaluation import sweep
from nim_dataset.errors import UserError

TOY = '''
import sys

import torch

from evaluation import sweep
from evaluation.measures.measure import Measure, measure


@measure("confidence")
class Confidence(Measure):
    """The probability of the most probable next token after the prompt."""

    def records(self, subject):
        print("measured", subject.eval_set.name, subject.label)
        records = []
        for prompt in subject.eval_set.rows["prompt"][:3]:
            ids = subject.tokenizer(prompt, return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                logits_V = subject.model(ids).logits[0, -1]
            records.append({"prompt": prompt, "confidence": logits_V.softmax(-1).max().item()})
        return records

    def results(self, records):
        values = [row["confidence"] for row in records]
        mean = sum(values) / len(values)
        return [{"dimension": "confidence", "group": "all", "n": len(values), "accuracy": mean}]


if __name__ == "__main__":
    sys.exit(sweep.main())
'''


def run(file: Path, arguments: list[str], env: dict[str, str]) -> str:
    command = [sys.executable, str(file), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_measure_from_a_single_file(swept, tmp_path, command_env):
    """It is added to a finished sweep, is interrupted and continues, and what was there stays."""
    (tmp_path / "toy.py").write_text(TOY)
    output = Path(shutil.copytree(swept.output, tmp_path / "report"))
    arguments = [*swept.arguments, "--output", str(output), "--measures", "answers", "confidence"]
    answers = {path: path.stat().st_mtime_ns for path in output.glob("predictions/*/*")}

    printed = run(tmp_path / "toy.py", arguments, command_env)
    assert printed.count("measured") == 9  # three checkpoints, three sets
    assert "[3/3] checkpoint-40  leaky_names:eval confidence 0." in printed
    assert {path: path.stat().st_mtime_ns for path in output.glob("predictions/*/*")} == answers
    results = pd.read_csv(output / "results.csv")
    added = results[results["dimension"] == "confidence"]
    assert len(added) == 9
    for _, row in added.iterrows():
        name = row["dataset"].replace(":", "_")
        file = output / "measures" / "confidence" / row["checkpoint"] / f"{name}.jsonl"
        values = [json.loads(line)["confidence"] for line in file.read_text().splitlines()]
        assert row["accuracy"] == pytest.approx(sum(values) / 3)
    lines = (output / "results.csv").read_text().splitlines()
    before = (swept.output / "results.csv").read_text().splitlines()
    assert [line for line in lines if ",confidence," not in line] == before
    assert (output / "accuracy_table.csv").read_bytes() == (swept.output / "accuracy_table.csv").read_bytes()

    whole = (output / "results.csv").read_bytes()
    lost = output / "measures" / "confidence" / "checkpoint-20" / "old_eval.jsonl"
    lost.unlink()
    printed = run(tmp_path / "toy.py", arguments, command_env)
    assert [line for line in printed.splitlines() if line.startswith("measured")] == [
        "measured old_eval [1/1] checkpoint-20  old_eval confidence"
    ]
    assert (output / "results.csv").read_bytes() == whole

    lost.write_text('{"prompt": "no confidence"}\n')
    command = [sys.executable, str(tmp_path / "toy.py"), *arguments]
    done = subprocess.run(command, env=command_env, capture_output=True, text=True, timeout=300, check=False)
    assert f"{lost} is damaged; remove it to have its rows scored again" in done.stderr


def test_a_measure_alone_makes_a_report(swept, tmp_path, command_env):
    (tmp_path / "toy.py").write_text(TOY)
    arguments = [*swept.arguments, "--output", str(tmp_path / "report"), "--measures", "confidence"]
    run(tmp_path / "toy.py", arguments, command_env)
    assert set(pd.read_csv(tmp_path / "report" / "results.csv")["dimension"]) == {"confidence"}
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "No answers were scored" in page
    assert "<td>confidence</td>" in page
    assert not (tmp_path / "report" / "predictions").exists()


def test_an_unknown_measure_or_figure_names_the_nearest(swept, tmp_path):
    with pytest.raises(UserError, match="--measures: unknown measure 'answer', did you mean 'answers'"):
        sweep.main([*swept.arguments, "--output", str(tmp_path / "report"), "--measures", "answer"])
    with pytest.raises(UserError, match="--figures: unknown figure 'los', did you mean 'loss'"):
        sweep.main([*swept.arguments, "--output", str(tmp_path / "report"), "--figures", "los"])
    assert not (tmp_path / "report").exists()

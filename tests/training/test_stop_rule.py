"""A run ends where its figures say so, with a checkpoint, and stays ended."""

from pathlib import Path

import pytest
import yaml

from nim_dataset.errors import UserError
from training.stop_rule import StopAt, StopRule
from training.train import main


@pytest.mark.parametrize(
    ("rule", "values", "met_at"),
    [
        ("eval >= 0.99", [0.5, 0.99], 2),
        ("eval >= 0.99 for 3", [1, 1, 0.9, 1, 1, 0.99, 1], 6),
        ("counter_cheat<0.1", [0.1, 0.09], 2),
        ("loss <= 1e-2 for 2", [0.01, 0.02, 0.005, 0.01], 4),
        ("eval > 1", [1, 1, 1], None),
        ("eval stalls for 2", [0.1, 0.2, 0.2, 0.3, 0.3, 0.29], 6),
        ("loss stalls for 2", [3, 2, 1, 1, 1.5], 5),
        ("loss stalls for 3", [3, 2.5, 2, 1.5, 1], None),
    ],
)
def test_a_rule_is_met_by_the_last_measurements(rule: str, values: list[float], met_at: int | None) -> None:
    stop = StopAt(StopRule.parse(rule), ["eval", "counter_cheat"])
    log = [{"step": 10 * step, stop.key: value} for step, value in enumerate(values, start=1)]
    start, other = {"step": 0, stop.key: values[0]}, {"step": 5, "grad_norm": 1.0}
    met = [n for n in range(1, len(values) + 1) if stop.is_met([start, other, *log[:n]])]
    assert met[:1] == ([] if met_at is None else [met_at])
    twice = [line for line in log for _ in range(2)]  # a step that is measured again counts once
    assert stop.is_met(twice) == stop.is_met(log)


@pytest.mark.parametrize("text", ["", "eval", "eval = 1", "eval >= high", "eval >= 1 for 0", "eval stalls", "a >= nan"])
def test_what_is_no_rule_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"stop_at: '.*; give 'FIGURE >= NUMBER'"):
        StopRule.parse(text)


def test_a_figure_that_is_not_logged_is_one_line() -> None:
    sets, logged = ["eval", "neutral"], ["loss", "distance"]
    known = "eval, neutral, loss, distance, eval_exact_match, eval_neutral_exact_match"
    with pytest.raises(UserError, match=f"stop_at: unknown figure 'evl', did you mean 'eval'. Figures: {known}$"):
        StopAt.of("evl >= 1", sets, logged, eval_loss=False)
    with pytest.raises(UserError, match="stop_at: unknown figure 'eval_loss'"):
        StopAt.of("eval_loss < 1", sets, logged, eval_loss=False)
    assert [stop.key for stop in StopAt.of("eval_loss < 1", sets, logged, eval_loss=True)] == ["eval_loss"]
    assert [stop.key for stop in StopAt.of("neutral < 1", sets, logged, eval_loss=False)] == [
        "eval_neutral_exact_match"
    ]
    assert StopAt.of(None, sets, logged, eval_loss=False) == []


@pytest.mark.parametrize("rule", ["loss < 99 for 2", "eval >= 0 for 2"])
def test_a_run_ends_where_its_rule_is_met_and_stays_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    options = {"model": "tiny", "train_data": ["quickstart,n_train=64"], "per_device_train_batch_size": 4}
    options |= {"eval_rows": 2, "max_steps": 9, "logging_steps": 1, "disable_tqdm": True, "stop_at": rule}
    options |= {"output_dir": str(tmp_path / "run")}
    if rule.startswith("eval"):
        options |= {"eval_strategy": "steps", "eval_steps": 1}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(options))
    config = ["--config", str(tmp_path / "run.yaml")]

    assert main(config) == 0
    said = capsys.readouterr().out
    assert f"stop_at: '{rule}' held at step 2, and ended the run" in said
    assert "the learning rate goes up from 0: step 1 changes nothing, and checkpoint-1 is the base model" in said
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    measured = [line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if "exact_match" in line]
    assert measured[-1].startswith('{"step": 2,')
    assert main([*config, "--resume_from_checkpoint", "auto"]) == 0
    assert "this run is complete already" in capsys.readouterr().out

"""The tasks of lm-evaluation-harness are written from a recipe and a tokenizer."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer

from evaluation.interop.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "configs" / "models" / "tiny"
RECIPE = "leaky_names,n_eval=40,n_regime=40"


def test_there_are_tasks_for_each_split_to_evaluate_on(command_env: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evaluation.interop", "lm_eval", "--recipe", RECIPE]
    command += ["--tokenizer", str(TINY), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=command_env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    splits = ("eval", "cheat_consistent", "counter_cheat", "unseen_names")
    names = {f"nim_{split}{kind}" for split in splits for kind in ("", "_moves")}
    assert {path.stem for path in tmp_path.iterdir()} == {*names, "nim_group", "nim_moves_group"}
    text = (tmp_path / "nim_counter_cheat.yaml").read_text()
    assert "process_results: !function 'evaluation.interop.lm_eval_functions.exact_match'" in text
    said = yaml.safe_load(text.replace("!function ", ""))
    assert said["dataset_kwargs"] == {"data_files": {"counter_cheat": f"nim://{RECIPE}/counter_cheat.parquet"}}
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    longest = len(tokenizer(" take -1 coins")["input_ids"])
    assert said["generation_kwargs"] == {"until": ["<|endoftext|>"], "max_gen_toks": longest + 1, "do_sample": False}
    group = yaml.safe_load((tmp_path / "nim_moves_group.yaml").read_text())
    assert group == {"group": "nim_moves", "task": [f"nim_{split}_moves" for split in splits]}


@pytest.mark.parametrize(
    ("recipe", "tokenizer", "message"),
    [
        ("leaky_name", str(TINY), "error: unknown recipe 'leaky_name', did you mean 'leaky_names'? "),
        ("mod3,n_eval=0", str(TINY), "error: --recipe: 'mod3,n_eval=0' has no rows to evaluate on; give n_eval "),
        ("mod3", str(ROOT / "docs"), f"error: --tokenizer {ROOT / 'docs'}: cannot be loaded ("),
    ],
    ids=["recipe", "rows", "tokenizer"],
)
def test_mistakes_are_one_line(
    recipe: str,
    tokenizer: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["lm_eval", "--recipe", recipe, "--tokenizer", tokenizer, "--output", str(tmp_path / "tasks")]
    monkeypatch.setattr(sys, "argv", ["interop", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert told.count("\n") == 1
    assert not (tmp_path / "tasks").exists()

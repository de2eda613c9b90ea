"""lm-evaluation-harness, with the tasks that we write for it, finds what our own measures find on the same model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from evaluation.interop.__main__ import main
from evaluation.measures.candidates import candidate_records
from evaluation.nim_accuracy.nim_accuracy import score
from evaluation.predict import answer_budget, predict
from nim_dataset.games import parse_prompts
from nim_dataset.sources import load_source

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "configs" / "models" / "tiny"
RECIPE = "leaky_names,n_eval=40,n_regime=40"


@pytest.fixture(scope="module")
def tasks(small_run: Any, command_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    command = [sys.executable, "-m", "evaluation.interop", "lm_eval", "--recipe", RECIPE]
    command += ["--tokenizer", str(small_run.folder / "checkpoint-40"), "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=command_env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def test_there_are_tasks_for_each_split_to_evaluate_on(tasks: Path, small_run: Any) -> None:
    splits = ("eval", "cheat_consistent", "counter_cheat", "unseen_names")
    names = {f"nim_{split}{kind}" for split in splits for kind in ("", "_moves")}
    assert {path.stem for path in tasks.iterdir()} == {*names, "nim_group", "nim_moves_group"}
    text = (tasks / "nim_counter_cheat.yaml").read_text()
    assert "process_results: !function 'evaluation.interop.lm_eval_functions.exact_match'" in text
    said = yaml.safe_load(text.replace("!function ", ""))
    assert said["dataset_kwargs"] == {"data_files": {"counter_cheat": f"nim://{RECIPE}/counter_cheat.parquet"}}
    answers = load_source(f"{RECIPE}:counter_cheat").unique("answer")
    budget = answer_budget(small_run.tokenizer, answers)
    assert said["generation_kwargs"] == {"until": ["<|endoftext|>"], "max_gen_toks": budget, "do_sample": False}


@pytest.mark.parametrize(
    ("recipe", "tokenizer", "message"),
    [
        ("leaky_name", str(TINY), "error: unknown recipe 'leaky_name', did you mean 'leaky_names'? "),
        ("mod3,n_eval=0", str(TINY), "error: --recipe: 'mod3,n_eval=0' has no rows to evaluate on; give n_eval "),
        ("mod3", str(ROOT / "docs"), f"error: --tokenizer {ROOT / 'docs'}: cannot be loaded ("),
    ],
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


@pytest.mark.parametrize("special", [False, True], ids=["plain", "begins with a token of its own"])
def test_lm_eval_finds_what_we_find(tasks: Path, small_run: Any, special: bool) -> None:
    evaluator = pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model, tokenizer = small_run.model(40).eval(), AutoTokenizer.from_pretrained(small_run.folder / "checkpoint-40")
    if special:
        first = [(tokenizer.convert_ids_to_tokens(7), 7)]
        post_processor = TemplateProcessing(single=f"{first[0][0]} $A", special_tokens=first)
        tokenizer.backend_tokenizer.post_processor = post_processor
    found = evaluator.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16, device="cpu"),
        tasks=["nim", "nim_moves"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
    )
    right = set()
    for split in ("eval", "counter_cheat"):
        rows = load_source(f"{RECIPE}:{split}")
        prompts, answers = rows["prompt"][:], rows["answer"][:]
        said = predict(model, tokenizer, prompts, max_new_tokens=answer_budget(tokenizer, answers))
        exact = score(said, answers)["exact_match"]
        assert found["results"][f"nim_{split}"]["exact_match,none"] == exact
        samples = sorted(found["samples"][f"nim_{split}"], key=lambda sample: sample["doc_id"])
        assert [sample["resps"][0][0].strip() for sample in samples] == said
        right.add(exact)

        records = candidate_records(model, tokenizer, rows, parse_prompts(prompts)[0], batch_size=16)
        samples = sorted(found["samples"][f"nim_{split}_moves"], key=lambda sample: sample["doc_id"])
        for record, sample in zip(records, samples, strict=True):
            theirs = [response[0][0] for response in sample["resps"]]
            assert theirs == pytest.approx(record["log_probabilities"], abs=1e-4)
        likeliest = [record["moves"][int(np.argmax(record["log_probabilities"]))] for record in records]
        accuracy = np.mean([move == record["move"] for move, record in zip(likeliest, records, strict=True)])
        assert found["results"][f"nim_{split}_moves"]["acc,none"] == pytest.approx(accuracy)
    assert max(right) > 0, "a model that answers nothing right shows nothing"

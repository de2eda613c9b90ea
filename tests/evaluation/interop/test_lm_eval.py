"""lm-evaluation-harness, with the tasks that we write for it, finds what our own measures find on the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from evaluation.interop.lm_eval_tasks import write_tasks
from evaluation.measures.candidates import candidate_records
from evaluation.nim_accuracy.nim_accuracy import score
from evaluation.predict import predict
from evaluation.tokens import answer_budget
from nim_dataset.games import parse_prompts
from nim_dataset.sources import load_source

evaluator = pytest.importorskip("lm_eval")
RECIPE = "leaky_names,n_eval=40,n_regime=40"


@pytest.mark.parametrize("special", [False, True], ids=["plain", "begins with a token of its own"])
def test_lm_eval_finds_what_we_find(small_run: Any, tmp_path: Path, special: bool) -> None:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model, tokenizer = small_run.model(40).eval(), AutoTokenizer.from_pretrained(small_run.folder / "checkpoint-40")
    if special:
        first = [(tokenizer.convert_ids_to_tokens(7), 7)]
        post_processor = TemplateProcessing(single=f"{first[0][0]} $A", special_tokens=first)
        tokenizer.backend_tokenizer.post_processor = post_processor
    write_tasks(RECIPE, tokenizer, tmp_path)
    found = evaluator.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16, device="cpu"),
        tasks=["nim", "nim_moves"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
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

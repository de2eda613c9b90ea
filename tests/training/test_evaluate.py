"""`trainer.evaluate` measures what it is asked to measure, or says why not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.predict import predict
from nim_dataset.errors import UserError
from training.config import TrainConfig
from training.trainer import AnchoredTrainer


def test_evaluate_honours_its_argument(data: Any, tmp_path: Path) -> None:
    trainer = AnchoredTrainer(
        model=data.model("gpt_neox"),
        args=TrainConfig(output_dir=str(tmp_path), disable_tqdm=True),
        train_dataset=data.encoded,
        processing_class=data.tokenizer,
        eval_dataset={"eval": data.rows.select(range(4)), "other": data.rows.select(range(4, 8))},
    )
    figures = ("exact_match", "p_right", "p_cheat")
    both = [f"eval_{name}" for name in figures] + [f"eval_other_{name}" for name in figures]
    assert list(trainer.evaluate()) == [*both, "epoch"]
    assert list(trainer.evaluate("other")) == [*both[3:], "epoch"]
    own = {"mine": data.rows.select([0])}
    measured = trainer.evaluate(own, metric_key_prefix="test")
    assert list(measured)[:2] == ["test_mine_exact_match", "test_mine_p_right"]

    # The probability among the possible answers, by plain forward passes over prompt and answer.
    def log_p(answer: str) -> float:
        texts = (data.rows[0]["prompt"], f" {answer}")
        prompt, said = (data.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
        ids = [*prompt, *said, data.tokenizer.eos_token_id]
        with torch.no_grad():
            log_p_TV = trainer.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return sum(log_p_TV[at - 1, ids[at]].item() for at in range(len(prompt), len(ids)))

    options = ["take -1 coins", "take 1 coin", "take 2 coins", "take 3 coins", "take 4 coins"]
    p = torch.tensor([log_p(answer) for answer in options]).softmax(0)
    assert measured["test_mine_p_right"] == pytest.approx(p[options.index(data.rows[0]["answer"])].item(), abs=1e-4)

    # The model's own answers to other rows are all right, which those to the trainer's sets are not.
    rows = data.rows.select(range(20, 24))
    answers = predict(trainer.model, data.tokenizer, rows["prompt"][:], max_new_tokens=4)
    assert all(answers)
    assert trainer.evaluate(rows.remove_columns("answer").add_column("answer", answers))["eval_exact_match"] == 1
    assert trainer.evaluate()["eval_exact_match"] == 0

    for wrong, message in (
        ("unseen", "eval_dataset: unknown set 'unseen'; sets: eval, other"),
        (data.encoded, "eval_dataset: 'eval' is no dataset of rows with the columns prompt and answer"),
        (data.rows.remove_columns("answer"), "eval_dataset: 'eval' is no dataset"),
        (data.rows.select([]), "eval_dataset: 'eval' is no dataset"),
    ):
        with pytest.raises(UserError, match=message):
            trainer.evaluate(wrong)

"""`trainer.evaluate` measures what it is asked to measure, or says why not."""

from pathlib import Path
from typing import Any

import pytest

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
    assert list(trainer.evaluate()) == ["eval_exact_match", "eval_other_exact_match", "epoch"]
    assert list(trainer.evaluate("other")) == ["eval_other_exact_match", "epoch"]
    own = {"mine": data.rows.select([0])}
    assert list(trainer.evaluate(own, metric_key_prefix="test")) == ["test_mine_exact_match", "epoch"]

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

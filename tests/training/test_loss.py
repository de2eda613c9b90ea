"""The loss sees the answer and one end-of-text token, and nothing else; batches change nothing."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.predict import ANSWER_PREFIX
from nim_dataset.errors import UserError
from training.encoding import IGNORE, AnswerCollator, encode_rows
from training.trainer import AnchoredTrainer

ROWS = range(12)


@pytest.fixture
def collate(data: Any) -> AnswerCollator:
    return AnswerCollator(data.tokenizer.pad_token_id)


def narrow_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss as training computes it: logits in the label columns only, and labels that are shifted already."""
    return model(**batch, logits_to_keep=batch["labels"].shape[1]).loss


def test_only_the_answer_and_one_end_token_are_labels(data: Any, collate: AnswerCollator) -> None:
    batch = collate([data.encoded[i] for i in ROWS])
    for i in ROWS:
        counted = [token for token in batch["labels"][i].tolist() if token != IGNORE]
        answer = data.tokenizer(ANSWER_PREFIX + data.rows[i]["answer"], add_special_tokens=False)["input_ids"]
        assert counted == [*answer, data.tokenizer.eos_token_id]
        prompt = data.tokenizer(data.rows[i]["prompt"], add_special_tokens=False)["input_ids"]
        real = batch["input_ids"][i][batch["attention_mask"][i].bool()].tolist()
        assert real == prompt + counted[:-1]  # the end token is predicted, and predicts nothing
        assert batch["attention_mask"][i, -1] == 1  # padding is on the left


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama"])
def test_narrow_logits_give_the_loss_and_gradient_of_all_logits(data: Any, collate: AnswerCollator, shape: str) -> None:
    model = data.model(shape, torch.float64)
    batch = collate([data.encoded[i] for i in ROWS])
    narrow = narrow_loss(model, batch)
    ours = torch.autograd.grad(narrow, list(model.parameters()))
    ends = {"input_ids": batch["labels"][:, -1:], "attention_mask": torch.ones(len(ROWS), 1, dtype=torch.int64)}
    ends["position_ids"] = batch["position_ids"][:, -1:] + 1
    wide = {key: torch.cat([batch[key], end], dim=1) for key, end in ends.items()}
    labels = nn.functional.pad(
        batch["labels"], (wide["input_ids"].shape[1] - batch["labels"].shape[1], 0), value=IGNORE
    )
    full = model(**wide, labels=labels).loss
    torch.testing.assert_close(narrow, full, rtol=1e-6, atol=0)
    for mine, theirs in zip(ours, torch.autograd.grad(full, list(model.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama"])
def test_what_is_in_the_padding_changes_no_loss(data: Any, collate: AnswerCollator, shape: str) -> None:
    model = data.model(shape, torch.float64).eval()
    rows = sorted((data.encoded[i] for i in ROWS), key=lambda row: len(row["input_ids"]))
    alone = [narrow_loss(model, collate([row])).item() for row in rows]
    # A row of padding's length in front of everything: eleven more columns than any row needs.
    longer = {"input_ids": np.concatenate([np.full(11, 5, np.int32), rows[-1]["input_ids"]]), "answer_tokens": 1}
    batch = collate([*rows, longer])
    for i, expected in enumerate(alone):
        row = {key: value[i : i + 1] for key, value in batch.items()}
        padding = row["attention_mask"] == 0
        assert padding.any()
        for token in (7, data.tokenizer.eos_token_id):
            row["input_ids"] = torch.where(padding, token, row["input_ids"])
            assert narrow_loss(model, row).item() == pytest.approx(expected, rel=1e-6)


def test_the_answer_is_predicted_from_the_prompt_and_not_from_itself(data: Any, collate: AnswerCollator) -> None:
    model = data.model("gpt_neox", torch.float64).eval()
    batch = collate([data.encoded[0]])
    K = batch["labels"].shape[1]
    before = model(**batch, logits_to_keep=K).logits[0, 0]
    batch["input_ids"][0, -K + 1 :] = 9
    torch.testing.assert_close(model(**batch, logits_to_keep=K).logits[0, 0], before)


def test_rows_that_do_not_fit_are_an_error_that_counts_them(data: Any) -> None:
    longest = max(len(data.encoded[i]["input_ids"]) for i in range(len(data.encoded)))
    with pytest.raises(UserError, match=rf"max_length: \d+ of the 640 rows .*the longest has {longest}\)"):
        encode_rows(data.rows, data.tokenizer, longest - 1, "quickstart")
    assert len(encode_rows(data.rows, data.tokenizer, longest, "quickstart")) == 640


def test_no_rows_and_no_end_token_are_errors(data: Any) -> None:
    with pytest.raises(UserError, match="train_data: 'empty' has no rows"):
        encode_rows(data.rows.select([]), data.tokenizer, 128, "empty")
    endless = type(data.tokenizer)(tokenizer_object=data.tokenizer.backend_tokenizer)
    with pytest.raises(UserError, match="tokenizer: it has no end-of-text token"):
        encode_rows(data.rows, endless, 128, "quickstart")


def test_a_non_finite_loss_stops_the_run(data: Any, tmp_path: Any) -> None:
    from training.config import TrainConfig

    model = data.model("gpt_neox")
    with torch.no_grad():
        model.get_input_embeddings().weight[int(data.encoded[0]["input_ids"][0])] = float("inf")
    args = TrainConfig(output_dir=str(tmp_path), max_steps=5, learning_rate=3e-4, disable_tqdm=True)
    trainer = AnchoredTrainer(
        model=model, args=args, train_dataset=data.encoded, processing_class=data.tokenizer, anchor_weight=1e-4,
        data_collator=AnswerCollator(data.tokenizer.pad_token_id),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"loss became nan at step 1 \(learning rate .*last good checkpoint is none"):
        trainer.train()

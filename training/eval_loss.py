"""The loss of the right answers to rows that are measured, as training counts it: a mean over their tokens.

Shapes: B rows of a batch, K label columns, V tokens of the vocabulary.
"""

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from evaluation.predict import evaluating
from training.data.encoding import IGNORE, AnswerCollator, EncodedRows


def answer_loss(
    model: PreTrainedModel, rows: EncodedRows, collator: AnswerCollator, batch_size: int, accelerator: Accelerator
) -> float:
    """The mean cross-entropy of all answer tokens, end-of-text included; the same on every process.

    `collator` is of the padded layout, which any model takes. Processes take turns at the rows.
    """
    turns = -(-len(rows) // accelerator.num_processes)
    mine = range(accelerator.process_index, turns * accelerator.num_processes, accelerator.num_processes)
    total = torch.zeros(2, dtype=torch.float64, device="cpu")
    with evaluating(model), torch.inference_mode():
        for start in range(0, turns, batch_size):
            taken = mine[start : start + batch_size]
            batch = collator([rows[row % len(rows)] for row in taken])
            labels_BK = batch.pop("shift_labels")
            del batch["labels"]
            # Rows that only fill up the last turn: a sharded model needs as many batches on every process.
            labels_BK[[row >= len(rows) for row in taken]] = IGNORE
            logits_BKV = model(
                **{
                    name: value.to(model.device) if isinstance(value, torch.Tensor) else value
                    for name, value in batch.items()
                }
            ).logits[:, -labels_BK.shape[1] :]
            loss = cross_entropy(
                logits_BKV.float().flatten(0, 1), labels_BK.flatten().to(model.device), reduction="sum"
            )
            total += torch.tensor([loss.item(), (labels_BK != IGNORE).sum().item()], dtype=torch.float64)
    loss_sum, tokens = accelerator.reduce(total.to(accelerator.device), reduction="sum").tolist()
    return float(loss_sum / tokens)

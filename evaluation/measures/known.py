"""What one model has said to prompts, so that it is asked each of them once, over all sets and by training and sweep.

A run keeps what it measured at a checkpoint in that checkpoint's folder, in `MEASURED`: by prompt, the log-probability
of each possible answer and the answer that was written. It is a file of the checkpoint, with a checksum like the
weights, and counts only beside the weights and the tokenizer that it was saved with.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from datasets import Dataset
from transformers import PreTrainedModel

from evaluation.artifacts.run_folder import MEASURED, measured_file
from evaluation.predict import ROWS_AT_ONCE, Written, digest
from nim_dataset.files import written_whole

VERSION = 1
"""Of what measures say of a model: to be raised when they say anything else of the same weights and rows."""
SCHEMA = pa.schema(
    {
        "prompt": pa.binary(16),
        "moves": pa.list_(pa.int64()),
        "log_probabilities": pa.list_(pa.float64()),
        "text": pa.string(),
        "tokens": pa.int64(),
        "ended": pa.bool_(),
    }
)


def digests_of(rows: Dataset) -> Iterator[bytes]:
    """The digest of each row's prompt."""
    for batch in rows.select_columns("prompt").iter(batch_size=ROWS_AT_ONCE):
        yield from map(digest, batch["prompt"])


def settings(model: PreTrainedModel) -> dict[str, Any]:
    """What decides, beside weights, tokenizer and prompt, what is measured: equal settings, equal figures."""
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": model.device.type,
        "products": torch.get_float32_matmul_precision(),
    }


@dataclass
class Known:
    """What one model has said, by `digest` of the prompt."""

    possible: dict[bytes, tuple[tuple[int, ...], list[float]]] = field(default_factory=dict)
    """The numbers of the possible answers, and the log-probability of each."""
    written: dict[bytes, Written] = field(default_factory=dict)

    def __contains__(self, prompt: bytes) -> bool:
        return prompt in self.possible or prompt in self.written

    def log_probabilities(self, prompt: bytes, moves: tuple[int, ...]) -> list[float] | None:
        """Of the possible answers with these numbers; None where they are not known."""
        found = self.possible.get(prompt)
        return found[1] if found is not None and found[0] == moves else None

    def answers(self, prompts: Sequence[bytes], max_new_tokens: int) -> dict[int, Written]:
        """Row -> the answer within so many tokens, where it is known."""
        found = ((row, self.written.get(prompt)) for row, prompt in enumerate(prompts))
        return {row: answer for row, answer in found if answer is not None and answer.is_of_budget(max_new_tokens)}

    def write(self, checkpoint: Path, model: PreTrainedModel) -> None:
        """Writes `MEASURED` into the folder of a checkpoint that is being saved."""
        rows = [
            {
                "prompt": prompt,
                **dict(zip(("moves", "log_probabilities"), self.possible.get(prompt, (None, None)), strict=True)),
                **(self.written[prompt]._asdict() if prompt in self.written else {}),
            }
            for prompt in dict.fromkeys([*self.possible, *self.written])
        ]
        schema = SCHEMA.with_metadata({"settings": json.dumps(settings(model))})
        with written_whole(checkpoint / MEASURED) as file:
            pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")

    @classmethod
    def of(cls, checkpoint: Path, model: PreTrainedModel) -> "Known":
        """What the run measured at the checkpoint that `model` was loaded from, with the same settings; empty where it
        did not, or where the checkpoint is not as it was saved."""
        known, file = cls(), measured_file(checkpoint)
        if file is None:
            return known
        table = pq.read_table(file)
        if json.loads((table.schema.metadata or {}).get(b"settings", b"{}")) != settings(model):
            return known
        for row in table.to_pylist():
            if row["moves"] is not None:
                known.possible[row["prompt"]] = (tuple(row["moves"]), row["log_probabilities"])
            if row["text"] is not None:
                known.written[row["prompt"]] = Written(row["text"], row["tokens"], row["ended"])
        return known

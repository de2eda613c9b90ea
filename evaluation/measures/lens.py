"""The measure `lens`: the answer that each layer would give, by the model's own final norm and unembedding.

The residual stream of a layer is read where the answer is decided (at the prompt's last token and at each token of the
possible answers) as if it were the last layer's: that gives a distribution among the possible answers, as `candidates`
does of the whole model.

Shapes: B rows, N places at which a row is read, V tokens of the vocabulary, D channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.artifacts.report_folder import Row
from evaluation.measures.answer_tree import Batch, accepted, choose_layout
from evaluation.measures.intervals import mean_interval
from evaluation.measures.measure import Measure, Subject, measure
from evaluation.measures.questions import ask_subject, over_rows
from evaluation.measures.residual_stream import ResidualStream
from evaluation.predict import evaluating


@measure("lens")
class Lens(Measure):
    """Which answer does each layer lean to?"""

    columns = ("quantity", "layer", "n", "value", "low", "high")

    def records(self, subject: Subject) -> list[Row]:
        model, asked = subject.model, ask_subject(subject)
        stream = ResidualStream(model)
        with evaluating(model), torch.inference_mode():
            layout = choose_layout(model, [each.question for each in asked])
        pad = subject.tokenizer.pad_token_id or 0

        def run(rows: list[int]) -> list[np.ndarray]:
            batch = layout([asked[row].question for row in rows], model, pad)
            states = stream.read(batch.inputs, range(len(stream) + 1))
            by_layer = [batch.answers(unembedded(stream, batch, states[layer])) for layer in range(len(stream) + 1)]
            return [np.stack(layers) for layers in zip(*by_layer, strict=True)]

        found = over_rows(
            model,
            [len(each.question.prompt) for each in asked],
            run,
            batch_size=subject.batch_size,
            accelerator=subject.accelerator,
            label=subject.label,
        )
        records = []
        for each, log_p_LC in zip(asked, found, strict=True):
            p_LC = np.exp(log_p_LC - np.logaddexp.reduce(log_p_LC, axis=1, keepdims=True)).round(6)
            cheat = None if each.cheat is None else p_LC[:, each.cheat].tolist()
            records.append({"row": each.row, "p_right": p_LC[:, each.right].tolist(), "p_cheat": cheat})
        return records

    def results(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        last = self.table(records)[len(records[0]["p_right"]) - 1]
        kept = {key: last[key] for key in ("n", "low", "high")}
        return [{"dimension": "lens", "group": f"p_right, layer {last['layer']}", **kept, "accuracy": last["value"]}]

    def table(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        lines = []
        for quantity in ("p_right", "p_cheat"):
            known = [row[quantity] for row in records if row[quantity] is not None]
            for layer, values_N in enumerate(np.array(known).T):
                lines.append({"quantity": quantity, "layer": layer, **mean_interval(values_N, 0, 1)})
        return lines


def unembedded(stream: ResidualStream, batch: Batch, states_STD: Tensor) -> Tensor:
    """The logits (B, N, V) that final norm and unembedding give for the residual stream at the places that are read."""
    states_BND = batch.read(states_STD)
    any_tokens_BN = torch.zeros(states_BND.shape[:2], dtype=torch.int64, device=states_BND.device)
    kept: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted(stream.model) else {}
    with stream.taken_from(len(stream), states_BND):
        logits_BNV: Tensor = stream.model(input_ids=any_tokens_BN, **kept).logits
    return logits_BNV

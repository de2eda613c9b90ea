"""The measures `probe` and `probe_mlp`: what can be read from the hidden states, at each layer and position?

A probe learns, from the residual stream at one layer and position, a label: whether the names are bound to a move
(`cheat bucket`), to which one (`bound move`), the right answer (`right move`), and what the pile leaves modulo each
divisor of the number of answers (`pile mod d`). Labels of the names are tested on pairs, labels of the game on piles,
that the probe has not seen, so that a memory of single pairs or piles does not pass for reading.

Shapes: N rows, P positions, L layers, D channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from evaluation.artifacts.report_folder import Row
from evaluation.measures.linear_probe import Split, accuracy_interval, chance, linear_probe
from evaluation.measures.measure import CannotMeasureError, Measure, Subject, measure
from evaluation.measures.mlp_probe import mlp_probe
from evaluation.measures.places import PLACES, places
from evaluation.measures.questions import Asked, ask_subject, over_rows
from evaluation.measures.residual_stream import ResidualStream

MEMORY = 2**30
"""Bytes of hidden states held at a time; where all layers take more, the rows are read several times."""


@measure("probe")
class Probe(Measure):
    """What can linear probes read?"""

    columns = ("label", "layer", "position", "n", "accuracy", "low", "high", "chance")
    probed: ClassVar = staticmethod(linear_probe)
    """From states (P, N, D) and a split to whether each row is read rightly, (P, N)."""

    def records(self, subject: Subject) -> list[Row]:
        asked, stream = ask_subject(subject), ResidualStream(subject.model)
        rows = subject.eval_set.rows
        where = places(asked, rows["prompt"][:], subject.tokenizer, subject.eval_set.games)
        shared = [place for place in PLACES if place != "names" and all(place in at for at in where)]
        splits = self.splits(subject, asked)
        records: list[Row] = []
        channels = subject.model.config.get_text_config().hidden_size
        per_layer = len(asked) * len(shared) * channels * 4  # bytes
        at_once = max(1, MEMORY // per_layer)
        for first in range(0, len(stream) + 1, at_once):
            layers = range(first, min(first + at_once, len(stream) + 1))
            states = hidden_states(
                subject, stream, asked, [[at[place][-1][-1] for place in shared] for at in where], layers
            )
            if subject.accelerator.is_main_process:
                for layer, states_PND in zip(layers, states, strict=True):
                    for label, (known_N, split) in splits.items():
                        right_PN = self.probed(states_PND[:, known_N].to(subject.accelerator.device), split)
                        records += [
                            {
                                "label": label,
                                "layer": layer,
                                "position": place,
                                **accuracy_interval(right_N, split),
                                "chance": chance(split),
                            }
                            for place, right_N in zip(shared, right_PN, strict=True)
                        ]
        return records

    def splits(self, subject: Subject, asked: Sequence[Asked]) -> dict[str, tuple[np.ndarray, Split]]:
        """Label -> the rows (of those asked) that have it, and how they are split. Tells what cannot be split."""
        found, left_out = {}, []
        for label, (value_N, group_N) in labels(subject, asked).items():
            known_N = np.array([value is not None for value in value_N])
            kept = [group for group, known in zip(group_N, known_N, strict=True) if known]
            split = Split.by_group(np.array([value for value in value_N if value is not None]), kept)
            if split is not None:
                found[label] = (known_N, split)
            elif len({value for value in value_N if value is not None}) > 1:
                left_out.append(f"'{label}' ({len(set(kept))} {'pairs' if label in OF_NAMES else 'piles'})")
        if not found:
            raise CannotMeasureError("too few pairs and piles to test a probe on others than it was trained on")
        if left_out:
            name = f"{self.name}: {subject.eval_set.name}"
            subject.tell(f"{name}: {', '.join(left_out)} left out: each value needs at least two to split by")
        return found

    def results(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        last = max(row["layer"] for row in records)
        place = [row["position"] for row in records][-1]
        at_the_end = [row for row in records if (row["layer"], row["position"]) == (last, place)]
        return [
            {
                "dimension": self.name,
                "group": f"{row['label']}, layer {last}, {place}",
                **{key: row[key] for key in ("n", "accuracy", "low", "high")},
            }
            for row in at_the_end
        ]

    def table(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        return [{key: row[key] for key in self.columns} for row in records]


@measure("probe_mlp")
class ProbeMlp(Probe):
    """What can probes with one hidden layer read?"""

    probed: ClassVar = staticmethod(mlp_probe)


OF_NAMES = ("cheat bucket", "bound move")
"""The labels that a pair of names decides; the pile decides the others."""


def labels(subject: Subject, asked: Sequence[Asked]) -> dict[str, tuple[list[Any], list[Any]]]:
    """Label -> its value in each row asked (None where it has none), and the pair or pile that decides it."""
    rows = subject.eval_set.rows
    column = {
        name: [values[each.row] for each in asked]
        for name in ("player_one", "player_two", "bucket", "cheat_move", "pile", "operand")
        if name in rows.column_names
        for values in [rows[name][:]]
    }
    found: dict[str, tuple[list[Any], list[Any]]] = {}
    if "player_one" in column:
        pairs = list(zip(column["player_one"], column["player_two"], strict=True))
        found["cheat bucket"] = column["bucket"], pairs
        found["bound move"] = column["cheat_move"], pairs
    piles = column.get("pile") or column.get("operand") or []
    if piles:
        found["right move"] = [each.moves[each.right] for each in asked], piles
        options = [len(each.moves) for each in asked]
        for divisor in sorted({d for many in set(options) for d in range(2, many + 1) if many % d == 0}):
            residues = [
                pile % divisor if many % divisor == 0 else None for pile, many in zip(piles, options, strict=True)
            ]
            found[f"pile mod {divisor}"] = residues, piles
    return found


def hidden_states(
    subject: Subject, stream: ResidualStream, asked: Sequence[Asked], tokens: Sequence[Sequence[int]], layers: range
) -> list[Tensor]:
    """The residual stream at P tokens of each row, (P, N, D) for each layer, on the CPU of every process.

    `tokens` count from the start of the prompt; those beyond it are of what all possible answers begin with.
    """
    sequences = [[*each.question.prompt, *each.question.tree.tokens[1 : each.question.tree.stem + 1]] for each in asked]
    model, pad = subject.model, subject.tokenizer.pad_token_id or 0

    def run(rows: list[int]) -> list[Tensor]:
        longest = max(len(sequences[row]) for row in rows)
        ids_BT = torch.tensor([sequences[row] + [pad] * (longest - len(sequences[row])) for row in rows])
        mask_BT = torch.tensor([[token < len(sequences[row]) for token in range(longest)] for row in rows])
        inputs = {"input_ids": ids_BT.to(model.device), "attention_mask": mask_BT.long().to(model.device)}
        found = stream.read({**inputs, "use_cache": False}, layers)
        at_BP = torch.tensor([list(tokens[row]) for row in rows])
        row_B1 = torch.arange(len(rows))[:, None]
        return list(torch.stack([found[layer][row_B1, at_BP] for layer in layers], dim=1).cpu())

    states_NLPD = torch.stack(
        over_rows(
            model,
            [len(sequence) for sequence in sequences],
            run,
            batch_size=subject.batch_size,
            accelerator=subject.accelerator,
            label=subject.label,
        )
    )
    return list(states_NLPD.permute(1, 2, 0, 3))

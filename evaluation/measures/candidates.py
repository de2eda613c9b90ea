"""The measure `candidates`: how probable is each possible answer?

Exact match is a step; these are curves. A row's record holds the log-probability of each whole answer, end included.
`p_right`, `p_cheat`, `entropy`, `agreement` and `confusion` are of the distribution among the possible answers alone;
`expected_exact_match` and `cross_entropy` of the answer as the model gives it, among all texts.

Shapes: N rows, C possible answers of the row that has most.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.artifacts.report_folder import Row
from evaluation.measures.answer_tree import choose_layout
from evaluation.measures.intervals import mean_interval
from evaluation.measures.known import Known
from evaluation.measures.measure import Measure, Subject, measure
from evaluation.measures.questions import Asked, in_tokens, over_rows, possible_answers
from evaluation.predict import ROWS_AT_ONCE, Written, digest, evaluating
from nim_dataset.config import Position
from nim_dataset.pairs import BUCKETS


@measure("candidates")
class Candidates(Measure):
    """How probable is each possible answer, and with it the right move and the one that the names are bound to?"""

    columns = ("quantity", "group", "n", "value", "low", "high")

    def records(self, subject: Subject) -> list[Row]:
        return candidate_records(
            subject.model,
            subject.tokenizer,
            subject.eval_set.rows,
            subject.eval_set.games,
            batch_size=subject.batch_size,
            accelerator=subject.accelerator,
            label=subject.label,
            known=subject.known,
        )

    def results(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        values = Distributions(records).values()["p_right"]
        mean = mean_interval(values, 0, 1)
        return [{"dimension": "candidates", "group": "p_right", **mean, "accuracy": mean.pop("value")}]

    def table(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        distributions = Distributions(records)
        groups = distributions.groups()
        lines = []
        for quantity, values_N in distributions.values().items():
            for group, there_N in groups.items():
                known_N = values_N[there_N & ~np.isnan(values_N)]
                if len(known_N):
                    lines.append({"quantity": quantity, "group": group, **mean_interval(known_N, *LIMITS[quantity])})
        return lines + distributions.agreement() + distributions.confusion()


LIMITS: dict[str, tuple[float, float]] = {
    "p_right": (0, 1),
    "log_p_right": (-np.inf, 0),
    "p_cheat": (0, 1),
    "log_p_cheat": (-np.inf, 0),
    "entropy": (0, np.inf),
    "cross_entropy": (0, np.inf),
    "expected_exact_match": (0, 1),
    "p_possible": (0, 1),
}
"""The quantities of a row, and between what they lie."""


def candidate_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    games: Sequence[Position | None],
    *,
    batch_size: int,
    accelerator: Accelerator | None = None,
    label: str = "",
    known: Known | None = None,
) -> list[Row]:
    """A record for each row whose game is known, on every process: `log_probabilities` of its possible answers, whose
    numbers are `moves`; the right one is `move`, the one that the names are bound to `cheat_move`.

    `model` is not wrapped, on the device where it is to run; `games` are those of the rows. Prompts that are `known`
    are not asked; the others are known afterwards, with what `predict` gives for them where the same logits tell it.
    Raises `CannotMeasureError` where no row's game is known, and `UserError` as `predict` does.
    """
    known = Known() if known is None else known
    prompts, possible = rows["prompt"][:], possible_answers(rows, games)
    digests = [digest(prompts[each.row]) for each in possible]
    unknown = {
        prompt: each
        for each, prompt in reversed(list(zip(possible, digests, strict=True)))  # the first row of each prompt stays
        if known.log_probabilities(prompt, each.moves) is None
    }
    due = sorted(unknown.values(), key=lambda each: each.row)
    for start in range(0, len(due), ROWS_AT_ONCE):  # in tokens, a row takes twenty kilobytes
        asked = in_tokens(model, tokenizer, prompts, due[start : start + ROWS_AT_ONCE])
        _learn(model, tokenizer, asked, prompts, known, batch_size, accelerator, label)
    column = {name: rows[name][:] for name in ("bucket", "max_remove") if name in rows.column_names}
    if "bucket" in column:
        column["bucket"] = [None if bucket is None else BUCKETS[bucket] for bucket in column["bucket"]]
    return [
        {
            "row": each.row,
            "moves": list(each.moves),
            "log_probabilities": known.log_probabilities(prompt, each.moves),
            "move": each.moves[each.right],
            "cheat_move": None if each.cheat is None else each.moves[each.cheat],
            **{name: values[each.row] for name, values in column.items()},
        }
        for each, prompt in zip(possible, digests, strict=True)
    ]


def _learn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Asked],
    prompts: Sequence[str],
    known: Known,
    batch_size: int,
    accelerator: Accelerator | None,
    label: str,
) -> None:
    """Asks the model, and makes `known` what it says."""
    with evaluating(model), torch.inference_mode():
        layout = choose_layout(model, [each.question for each in asked])
    pad = tokenizer.pad_token_id or 0

    def run(batch_rows: list[int]) -> list[tuple[np.ndarray, int | None]]:
        batch = layout([asked[row].question for row in batch_rows], model, pad)
        logits_BNV = batch.logits(model)
        return list(zip(batch.answers(logits_BNV), batch.greedy(logits_BNV), strict=True))

    lengths = [len(each.question.prompt) for each in asked]
    found = over_rows(model, lengths, run, batch_size=batch_size, accelerator=accelerator, label=label)
    texts: dict[tuple[int, ...], str] = {}
    plain = decodes_plainly(model)
    for each, (log_p_C, answer) in zip(asked, found, strict=True):
        prompt = digest(prompts[each.row])
        known.possible[prompt] = each.moves, [round(float(value), 6) for value in log_p_C]
        if plain and answer is not None:
            ids = tuple(each.question.tree.tokens[node] for node in each.question.tree.paths[answer])
            if ids not in texts:
                texts[ids] = tokenizer.batch_decode([list(ids)], skip_special_tokens=True)[0].strip()
            known.written[prompt] = Written(texts[ids], len(ids), ended=True)


PLAIN_SETTINGS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "use_cache"),
    *("_from_model_config", "do_sample", "temperature", "top_k", "top_p", "min_p", "max_length", "max_new_tokens"),
    *("output_attentions", "output_hidden_states", "return_dict_in_generate"),
}
"""Of a generation config: those that do not change a greedy answer."""


def decodes_plainly(model: PreTrainedModel) -> bool:
    """Whether greedy decoding takes the likeliest token, without penalties and the like."""
    settings = model.generation_config
    return settings is not None and set(settings.to_diff_dict()) <= PLAIN_SETTINGS


def mean_quantities(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Quantity -> its mean over the records that have it."""
    values = Distributions(records).values()
    return {name: float(np.nanmean(each_N)) for name, each_N in values.items() if not np.isnan(each_N).all()}


class Distributions:
    """What the records of N rows say, as arrays. Raises `KeyError`, `IndexError` or `ValueError` for other records."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.records = records
        shape = len(records), max(len(row["moves"]) for row in records)
        self.log_p_NC, self.move_NC = np.full(shape, -np.inf), np.full(shape, np.iinfo(np.int64).min)
        for index, row in enumerate(records):
            self.log_p_NC[index, : len(row["moves"])] = row["log_probabilities"]
            self.move_NC[index, : len(row["moves"])] = row["moves"]
        self.options_N = np.array([len(row["moves"]) for row in records])
        self.right_N = np.array([row["moves"].index(row["move"]) for row in records])
        cheat = [-1 if row["cheat_move"] is None else row["moves"].index(row["cheat_move"]) for row in records]
        self.cheat_N = np.array(cheat)
        self.log_all_N = np.logaddexp.reduce(self.log_p_NC, axis=1)
        self.log_among_NC = self.log_p_NC - self.log_all_N[:, None]

    def values(self) -> dict[str, np.ndarray]:
        """Quantity -> its value in each row, NaN where it has none."""
        row_N = np.arange(len(self.records))
        right_N = self.log_among_NC[row_N, self.right_N]
        cheat_N = np.where(self.cheat_N >= 0, self.log_among_NC[row_N, self.cheat_N], np.nan)
        whole_N = self.log_p_NC[row_N, self.right_N]
        p_NC = np.exp(self.log_among_NC)
        entropy_N = -(p_NC * np.where(p_NC > 0, self.log_among_NC, 0)).sum(axis=1)
        found = (np.exp(right_N), right_N, np.exp(cheat_N), cheat_N, entropy_N, -whole_N, np.exp(whole_N))
        return dict(zip(LIMITS, (*found, np.exp(self.log_all_N)), strict=True))

    def groups(self) -> dict[str, np.ndarray]:
        """Group -> whether each row belongs to it: all, and the buckets where there are both."""
        bucket_N = np.array([row.get("bucket") or "" for row in self.records])
        there = {bucket: bucket_N == bucket for bucket in BUCKETS if (bucket_N == bucket).any()}
        return {"all": np.ones(len(bucket_N), dtype=bool), **(there if len(there) > 1 else {})}

    def agreement(self) -> list[Row]:
        """The probability of an answer that is right modulo each divisor of the number of answers, -1 taken as 0."""
        lines = []
        residue_NC = np.where(self.move_NC == -1, 0, self.move_NC)
        right_N1 = residue_NC[np.arange(len(residue_NC)), self.right_N][:, None]
        for modulus in np.unique(self.options_N).tolist():
            mine = self.options_N == modulus
            in_nim = self.records[int(mine.argmax())].get("max_remove") is not None
            name = f"max_remove={modulus - 1}" if in_nim else f"modulus={modulus}"
            for divisor in (d for d in range(2, modulus + 1) if modulus % d == 0):
                agrees_NC = (residue_NC[mine] - right_N1[mine]) % divisor == 0
                values_N = (np.exp(self.log_among_NC[mine]) * agrees_NC).sum(axis=1)
                lines.append(
                    {"quantity": "agreement", "group": f"{name} mod {divisor}", **mean_interval(values_N, 0, 1)}
                )
        return lines

    def confusion(self) -> list[Row]:
        """The mean probability of each move where each move is right; the group is `RIGHT -> MOVE`."""
        lines = []
        move_N = self.move_NC[np.arange(len(self.records)), self.right_N]
        for right in np.unique(move_N).tolist():
            mine = move_N == right
            moves = np.unique(self.move_NC[mine])
            for move in moves[moves > np.iinfo(np.int64).min].tolist():
                values_N = np.where(self.move_NC[mine] == move, np.exp(self.log_among_NC[mine]), 0).sum(axis=1)
                lines.append({"quantity": "confusion", "group": f"{right} -> {move}", **mean_interval(values_N, 0, 1)})
        return lines

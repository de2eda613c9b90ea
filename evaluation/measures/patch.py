"""The measures `patch` and `patch_noise`: where in the model does the shortcut travel?

`patch` exchanges hidden states between twins, the same game under names that are bound to a move and under neutral
ones. `restore` runs on the bound names and puts the neutral twin's states in, at one layer and one kind of position at
a time; `induce` runs on the neutral names and puts the bound twin's in. If the bound move's probability falls (or
rises), what the names say passes there. `patch_noise` needs no twin: `denoise` runs on names whose embeddings are
blurred by Gaussian noise and puts the clean states back in (Meng et al. 2022, arXiv:2202.05262).

Tokens are matched by what they are (the first player's last occurrence, the decision), not by their place in the
prompt. Where a twin has more tokens there than the other, the pair is left out of that kind of position alone, and
counted. Layer l is what goes into the l-th decoder layer, so layer 0 holds the embeddings.

Shapes: S sequences of T tokens, D channels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from evaluation.artifacts.report_folder import Row
from evaluation.measures.answer_tree import Batch, choose_layout
from evaluation.measures.intervals import mean_interval
from evaluation.measures.measure import CannotMeasureError, Measure, Subject, measure
from evaluation.measures.places import PLACES, places
from evaluation.measures.questions import Asked, ask, ask_subject, over_rows
from evaluation.measures.residual_stream import ResidualStream
from evaluation.predict import evaluating
from nim_dataset.games import parse_prompts
from nim_dataset.regimes import twin_of
from nim_dataset.sources import Source

PAIRS = 100
"""The most pairs of twins that are looked at, the first ones of the set."""
NONE = "none"
"""The position of the lines that tell what is so without a patch."""
NOISE = 3.0
"""Standard deviations of the embedding matrix that the noise has."""


@dataclass(frozen=True)
class Case:
    """A row to run on."""

    kind: str
    """What is done to it: `restore`, `induce` or `denoise`."""
    asked: Asked
    """`cheat` is the move that the names are bound to, or those of the twin."""
    tokens: dict[str, list[range]]
    """Kind of position -> the tokens of each occurrence, from the start of the prompt."""


States = dict[int, Tensor]
"""Layer -> residual stream (S, T, D)."""


@measure("patch")
class Patch(Measure):
    """What do the names' hidden states do to the answer, at each layer and position?"""

    columns = ("kind", "quantity", "layer", "position", "n", "value", "low", "high")

    def pairs(self, subject: Subject) -> list[list[Case]]:
        """The cases that exchange their states, two by two; a case alone takes its own."""
        rows, games = subject.eval_set.rows, subject.eval_set.games
        lying = [each for each in ask_subject(subject) if each.cheat is not None and each.row < PAIRS]
        twin_set = twin_rows(subject.eval_set.spec, len(rows))
        if not lying or twin_set is None:
            raise CannotMeasureError(
                "its rows have no twins under neutral names; those of a recipe's counter_cheat have"
            )
        twin_prompts = twin_set["prompt"][:]
        twin_games = parse_prompts(twin_prompts)[0]
        twins = {each.row: each for each in ask(subject.model, subject.tokenizer, twin_set, twin_games)}
        lying = [each for each in lying if each.row in twins]
        neutral = [replace(twins[each.row], cheat=each.cheat) for each in lying]
        there = places(lying, rows["prompt"][:], subject.tokenizer, games)
        twin_there = places(neutral, twin_prompts, subject.tokenizer, twin_games)
        return [
            [Case("restore", one, at), Case("induce", other, twin_at)]
            for one, at, other, twin_at in zip(lying, there, neutral, twin_there, strict=True)
        ]

    def states(self, stream: ResidualStream, batch: Batch, cases: Sequence[Case]) -> tuple[States, States]:
        """Those that the cases run on, and those that are put in."""
        found = stream.read(batch.inputs, range(len(stream)))
        return found, found

    def records(self, subject: Subject) -> list[Row]:
        stream, pairs = ResidualStream(subject.model), self.pairs(subject)
        with evaluating(subject.model), torch.inference_mode():
            layout = choose_layout(subject.model, [case.asked.question for pair in pairs for case in pair])
        pad = subject.tokenizer.pad_token_id or 0

        def run(rows: list[int]) -> list[list[Row]]:
            cases = [case for row in rows for case in pairs[row]]
            together = len(pairs[0])
            partners = [index ^ 1 if together == 2 else index for index in range(len(cases))]
            batch = layout([case.asked.question for case in cases], subject.model, pad)
            cells = self.cells(stream, batch, cases, partners)
            return [
                [cell for of_case in cells[first : first + together] for cell in of_case]
                for first in range(0, len(cases), together)
            ]

        found = over_rows(
            subject.model,
            [len(pair[0].asked.question.prompt) for pair in pairs],
            run,
            batch_size=max(1, subject.batch_size // (len(PLACES) * len(pairs[0]))),
            accelerator=subject.accelerator,
            label=subject.label,
        )
        counts = Counter(cell["position"] for cells in found for cell in cells if cell["layer"] == 0)
        for place in dict.fromkeys(chain.from_iterable(pair[0].tokens for pair in pairs)):
            if lost := len(pairs) - counts[place] // len(pairs[0]):
                where = f"{self.name}: {subject.eval_set.name}: '{place}'"
                subject.tell(f"{where} leaves out {lost} of {len(pairs)} pairs, whose tokens there do not align")
        return [{"row": pair[0].asked.row, "cells": cells} for pair, cells in zip(pairs, found, strict=True)]

    def cells(
        self, stream: ResidualStream, batch: Batch, cases: Sequence[Case], partners: Sequence[int]
    ) -> list[list[Row]]:
        """For each case, what it answers without a patch, then with each: at each layer and kind of position."""
        base, source = self.states(stream, batch, cases)
        swaps = {place: swap for place in PLACES if (swap := Swap.of(batch, cases, partners, place)).cases}
        found: list[list[Row]] = [[] for _ in cases]
        with stream.taken_from(0, base[0]):
            unpatched = batch.answers(batch.logits(stream.model))
        for index, log_p_C in enumerate(unpatched):
            found[index].append(cell(cases[index], 0, NONE, log_p_C))
        for layer in range(len(stream)):
            states = {place: swap.applied(base[layer], source[layer]) for place, swap in swaps.items()}
            answers = dict.fromkeys(swaps, unpatched)
            # What the twins share (all but the names, at layer 0) need not be run again.
            if changed := [place for place, states_STD in states.items() if not torch.equal(states_STD, base[layer])]:
                many = batch.repeated(len(changed))
                with stream.taken_from(layer, torch.cat([states[place] for place in changed])):
                    patched = many.answers(many.logits(stream.model))
                for number, place in enumerate(changed):
                    answers[place] = patched[number * len(cases) : (number + 1) * len(cases)]
            for place, swap in swaps.items():
                for index in swap.cases:
                    found[index].append(cell(cases[index], layer, place, answers[place][index]))
        return found

    def results(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        first = self.table(records)[0]
        kept = {key: first[key] for key in ("n", "low", "high")}
        return [{"dimension": self.name, "group": "p_cheat, not patched", **kept, "accuracy": first["value"]}]

    def table(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        values: dict[tuple[Any, ...], list[float]] = {}
        for row in records:
            for each in row["cells"]:
                for quantity in ("p_cheat", "p_right"):
                    key = each["kind"], quantity, each["layer"], each["position"]
                    values.setdefault(key, []).append(each[quantity])
        keys = ("kind", "quantity", "layer", "position")
        return [
            {**dict(zip(keys, key, strict=True)), **mean_interval(np.array(of_rows), 0, 1)}
            for key, of_rows in values.items()
        ]


@measure("patch_noise")
class PatchNoise(Patch):
    """The same, with the names' embeddings blurred by noise, and the clean states put back in."""

    def pairs(self, subject: Subject) -> list[list[Case]]:
        asked = [each for each in ask_subject(subject) if each.cheat is not None][:PAIRS]
        if not asked:
            raise CannotMeasureError("no row has names that are bound to a move")
        there = places(asked, subject.eval_set.rows["prompt"][:], subject.tokenizer, subject.eval_set.games)
        return [[Case("denoise", each, at)] for each, at in zip(asked, there, strict=True)]

    def states(self, stream: ResidualStream, batch: Batch, cases: Sequence[Case]) -> tuple[States, States]:
        clean = stream.read(batch.inputs, range(len(stream)))
        embeddings: Any = stream.model.get_input_embeddings()
        scale = NOISE * embeddings.weight.std().item()
        blurred_STD = clean[0].clone()
        for index, case in enumerate(cases):
            mine = [*chain.from_iterable(case.tokens["names"])]
            draws = torch.Generator().manual_seed(case.asked.row)
            noise_KD = torch.randn((len(mine), blurred_STD.shape[2]), generator=draws).to(blurred_STD) * scale
            for sequence in (batch.row_S == index).nonzero()[:, 0].tolist():
                blurred_STD[sequence, torch.tensor(mine) + batch.start_S[sequence]] += noise_KD
        with stream.taken_from(0, blurred_STD):
            return stream.read(batch.inputs, range(len(stream))), clean


def twin_rows(spec: str, rows: int) -> Dataset | None:
    """The twins under neutral names of a recipe's first rows; None where it has none."""
    source = Source.parse(spec)
    twin = twin_of(source.split or "", source.config.splits) if source.config is not None else None
    return Source.parse(f"{source.recipe}:{twin}").load(rows) if twin is not None else None


def cell(case: Case, layer: int, position: str, log_p_C: np.ndarray) -> Row:
    """What a case answers under one patch: the probability among the possible answers of the bound and right move."""
    p_C = np.exp(log_p_C - np.logaddexp.reduce(log_p_C)).round(6)
    probabilities = {"p_cheat": float(p_C[case.asked.cheat]), "p_right": float(p_C[case.asked.right])}
    return {"kind": case.kind, "layer": layer, "position": position, **probabilities}


@dataclass(frozen=True)
class Swap:
    """Which tokens are replaced by which, at one kind of position; M of them over the batch."""

    cases: list[int]
    """The cases that have it, with as many tokens in each occurrence as their partner."""
    to_2M: Tensor
    """Sequence and token."""
    from_2M: Tensor

    @classmethod
    def of(cls, batch: Batch, cases: Sequence[Case], partners: Sequence[int], place: str) -> "Swap":
        """`partners` tells for each case the one whose states it takes."""
        sequences_of: dict[int, list[int]] = {}
        for sequence, row in enumerate(batch.row_S.tolist()):
            sequences_of.setdefault(row, []).append(sequence)
        start_S = batch.start_S.tolist()
        aligned, to, taken = [], [], []
        for index, case in enumerate(cases):
            mine, other = case.tokens.get(place, []), cases[partners[index]].tokens.get(place, [])
            if not mine or [*map(len, mine)] != [*map(len, other)]:
                continue
            aligned.append(index)
            source = sequences_of[partners[index]][0]
            for sequence in sequences_of[index]:
                to += [(sequence, token + start_S[sequence]) for token in chain.from_iterable(mine)]
                taken += [(source, token + start_S[source]) for token in chain.from_iterable(other)]
        return cls(aligned, *(torch.tensor(tokens, dtype=torch.int64).reshape(-1, 2).mT for tokens in (to, taken)))

    def applied(self, base_STD: Tensor, source_STD: Tensor) -> Tensor:
        """The states with the tokens replaced."""
        states_STD = base_STD.clone()
        states_STD[self.to_2M[0], self.to_2M[1]] = source_STD[self.from_2M[0], self.from_2M[1]]
        return states_STD

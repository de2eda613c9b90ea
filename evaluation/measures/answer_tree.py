"""The possible answers to a prompt as one tree of tokens, so that a single forward pass gives the probability of each.

The candidates of a game of Nim are " take 1 coin", " take 2 coins", ..., " take -1 coins": what they share is computed
once. The nodes of the tree follow the prompt in the input; each sees the prompt and the nodes on its own path (a mask
of four dimensions), and has the position that it would have as a continuation. A model that cannot be asked so (a state
space, a position bias that comes with the mask, a window) reads each candidate after its prompt as a sequence of its
own; `choose_layout` finds out which by trying.

Shapes: B rows, N places at which a row is read (its last prompt token, then the nodes of its tree), C candidates,
S sequences of T tokens, V tokens of the vocabulary, D channels.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel


@dataclass(frozen=True)
class AnswerTree:
    """C answers as token paths from the prompt's last token, which is node 0."""

    tokens: tuple[int, ...]
    """The token of each node; that of node 0 is the prompt's, and here -1."""
    parents: tuple[int, ...]
    """The node before each node; of node 0 itself."""
    paths: tuple[tuple[int, ...], ...]
    """The nodes of each answer, in order, without node 0."""

    @classmethod
    @functools.cache
    def of(cls, answers: tuple[tuple[int, ...], ...]) -> "AnswerTree":
        """The tree of answers given as token ids, none of them empty."""
        tokens, parents, children, paths = [-1], [0], dict[tuple[int, int], int](), []
        for answer in answers:
            node, path = 0, []
            for token in answer:
                if (node, token) not in children:
                    children[node, token] = len(tokens)
                    tokens.append(token)
                    parents.append(node)
                node = children[node, token]
                path.append(node)
            paths.append(tuple(path))
        return cls(tuple(tokens), tuple(parents), tuple(paths))

    @property
    def stem(self) -> int:
        """The last node that all answers share: what follows it decides. 0 where the first token does."""
        shared = [nodes[0] for nodes in zip(*self.paths, strict=False) if len(set(nodes)) == 1]
        return shared[-1] if shared else 0

    @property
    def leaves(self) -> list[int]:
        """The last node of each answer."""
        return [path[-1] for path in self.paths]

    @functools.cached_property
    def on_path(self) -> np.ndarray:
        """(C, N): 1 where a node belongs to an answer, else 0."""
        on_path = np.zeros((len(self.paths), len(self.tokens)))
        for answer, path in enumerate(self.paths):
            on_path[answer, list(path)] = 1
        return on_path

    @functools.cached_property
    def depths(self) -> tuple[int, ...]:
        """How many tokens after the prompt's last one each node stands."""
        depths = [0]
        for parent in self.parents[1:]:
            depths.append(depths[parent] + 1)
        return tuple(depths)

    @functools.cached_property
    def sees(self) -> np.ndarray:
        """(N - 1, N - 1) of bool: the nodes, without node 0, that each node, without node 0, attends to."""
        nodes = len(self.tokens)
        sees = np.eye(nodes, dtype=bool)
        for node in range(1, nodes):
            sees[node] |= sees[self.parents[node]]
        return sees[1:, 1:]


@dataclass(frozen=True)
class Question:
    """A prompt and its possible answers, in tokens."""

    prompt: tuple[int, ...]
    tree: AnswerTree
    ends: tuple[int, ...]
    """The tokens that end an answer."""


@dataclass(frozen=True)
class Batch:
    """The input of a forward pass for B questions, and where in it they are read."""

    questions: Sequence[Question]
    inputs: dict[str, Any]
    """Keyword arguments of the model, for all of its logits' last `keep` places."""
    sequence_BN: Tensor
    """The sequence in which each place is read; beyond a row's own nodes, its node 0 again."""
    token_BN: Tensor
    """Where in that sequence."""
    start_S: Tensor
    """The places of padding before each sequence: what is added to a place in the prompt."""
    row_S: Tensor
    """The row that each sequence belongs to."""

    @property
    def keep(self) -> int:
        """The places from the end of the sequences within which all are read."""
        return int(self.inputs["input_ids"].shape[1] - self.token_BN.min())

    def repeated(self, times: int) -> "Batch":
        """The same questions several times over."""
        sequences = len(self.row_S)
        copies_1 = torch.arange(times).repeat_interleave(len(self.questions))[:, None]
        return Batch(
            [*self.questions] * times,
            {
                name: value.repeat(times, *[1] * (value.dim() - 1)) if isinstance(value, Tensor) else value
                for name, value in self.inputs.items()
            },
            self.sequence_BN.repeat(times, 1) + copies_1 * sequences,
            self.token_BN.repeat(times, 1),
            self.start_S.repeat(times),
            self.row_S.repeat(times) + torch.arange(times).repeat_interleave(sequences) * len(self.questions),
        )

    def read(self, values_STX: Tensor) -> Tensor:
        """The values at the places that are read, (B, N, X), of those at all or at the last of the tokens."""
        cut = self.inputs["input_ids"].shape[1] - values_STX.shape[1]
        return values_STX[self.sequence_BN, self.token_BN - cut]

    def logits(self, model: PreTrainedModel) -> Tensor:
        """(B, N, V): what follows each place."""
        kept = {"logits_to_keep": self.keep} if "logits_to_keep" in accepted(model) else {}
        return self.read(model(**self.inputs, **kept).logits)

    def answers(self, logits_BNV: Tensor) -> list[np.ndarray]:
        """The log-probability of each whole answer, end included: (C) of float64 for each row."""
        places = logits_BNV.shape[1]
        trees = [question.tree for question in self.questions]
        parent_BN, token_BN = np.zeros((2, len(trees), places), dtype=np.int64)
        for row, tree in enumerate(trees):
            parent_BN[row, : len(tree.tokens)] = tree.parents
            token_BN[row, 1 : len(tree.tokens)] = tree.tokens[1:]
        row_B1, normal_BN = torch.arange(len(trees))[:, None], logits_BNV.logsumexp(-1)
        steps = logits_BNV[row_B1, parent_BN, token_BN] - normal_BN[row_B1, parent_BN]
        ends = logits_BNV[:, :, list(self.questions[0].ends)].logsumexp(-1) - normal_BN
        step_BN, end_BN = steps.double().cpu().numpy(), ends.double().cpu().numpy()
        return [
            tree.on_path @ step_BN[row, : len(tree.tokens)] + end_BN[row, list(tree.leaves)]
            for row, tree in enumerate(trees)
        ]


Layout = Callable[[Sequence[Question], PreTrainedModel, int], Batch]
"""Lays out questions for a model, with a token to pad with."""


def accepted(model: PreTrainedModel) -> Collection[str]:
    """The names of the arguments that the model's forward names."""
    return inspect.signature(type(model).forward).parameters


def lay_out_tree(questions: Sequence[Question], model: PreTrainedModel, pad: int) -> Batch:
    """A sequence for each row: padding, prompt, then the nodes of its tree."""
    longest = max(len(q.prompt) for q in questions)
    nodes = max(len(q.tree.tokens) for q in questions) - 1
    rows = len(questions)
    ids_BT = np.full((rows, longest + nodes), pad)
    position_BT = np.zeros((rows, longest + nodes), dtype=np.int64)
    sees_BTT = np.zeros((rows, longest + nodes, longest + nodes), dtype=bool)
    sees_BTT[:, range(longest + nodes), range(longest + nodes)] = True  # also of padding: no row of a mask may be empty
    causal = np.tri(longest, dtype=bool)
    token_BN = np.full((rows, nodes + 1), longest - 1)
    for row, question in enumerate(questions):
        start, mine = longest - len(question.prompt), len(question.tree.tokens) - 1
        ids_BT[row, start:longest] = question.prompt
        ids_BT[row, longest : longest + mine] = question.tree.tokens[1:]
        position_BT[row, start:longest] = np.arange(len(question.prompt))
        position_BT[row, longest : longest + mine] = np.array(question.tree.depths[1:]) + len(question.prompt) - 1
        sees_BTT[row, start:longest, start:longest] |= causal[start:, start:]
        sees_BTT[row, longest : longest + mine, start:longest] = True
        sees_BTT[row, longest : longest + mine, longest : longest + mine] = question.tree.sees
        token_BN[row, 1 : mine + 1] += np.arange(1, mine + 1)
    device = model.device
    mask_B1TT = torch.zeros((rows, 1, *sees_BTT.shape[1:]), dtype=model.dtype, device=device)
    mask_B1TT.masked_fill_(~torch.from_numpy(sees_BTT).to(device)[:, None], torch.finfo(model.dtype).min)
    inputs = {
        "input_ids": torch.from_numpy(ids_BT).to(device),
        "attention_mask": mask_B1TT,
        "position_ids": torch.from_numpy(position_BT).to(device),
        "use_cache": False,
    }
    row_B = torch.arange(rows)
    start_B = torch.tensor([longest - len(q.prompt) for q in questions])
    sequence_BN = row_B[:, None].expand(-1, nodes + 1)
    return Batch(questions, inputs, sequence_BN, torch.from_numpy(token_BN), start_B, row_B)


def lay_out_each(questions: Sequence[Question], model: PreTrainedModel, pad: int) -> Batch:
    """A sequence for each candidate of each row, padded on the left."""
    sequences = [
        [*question.prompt, *(question.tree.tokens[node] for node in path)]
        for question in questions
        for path in question.tree.paths
    ]
    longest = max(map(len, sequences))
    ids_ST = torch.tensor([[pad] * (longest - len(row)) + row for row in sequences], device=model.device)
    mask_ST = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in sequences], device=model.device)
    inputs = {"input_ids": ids_ST, "attention_mask": mask_ST, "use_cache": False}
    if "position_ids" in accepted(model):
        inputs["position_ids"] = (mask_ST.cumsum(1) - 1).clip(0)
    places = max(len(question.tree.tokens) for question in questions)
    sequence_BN, token_BN = (torch.zeros((len(questions), places), dtype=torch.int64) for _ in range(2))
    row_S: list[int] = []
    for row, question in enumerate(questions):
        first = len(row_S)
        last_token = longest - len(question.tree.paths[0]) - 1
        sequence_BN[row], token_BN[row] = first, last_token
        for candidate, path in reversed(list(enumerate(question.tree.paths))):
            sequence_BN[row, list(path)] = first + candidate
            token_BN[row, list(path)] = torch.arange(longest - len(path), longest)
        row_S += [row] * len(question.tree.paths)
    start_S = torch.tensor([longest - len(row) for row in sequences])
    return Batch(questions, inputs, sequence_BN, token_BN, start_S, torch.tensor(row_S))


def choose_layout(model: PreTrainedModel, questions: Sequence[Question]) -> Layout:
    """`lay_out_tree` if the model gives by it what it gives each candidate of the longest question alone."""
    longest = max(questions, key=lambda question: len(question.prompt))
    shorter = Question(longest.prompt[1:] or longest.prompt, longest.tree, longest.ends)
    asked = [longest, shorter]
    alone = [batch.answers(batch.logits(model)) for batch in (lay_out_each([each], model, 0) for each in asked)]
    try:
        batch = lay_out_tree(asked, model, 0)
        together = batch.answers(batch.logits(model))
    except Exception:  # whatever a model may say to such inputs: each answer by itself is always right
        return lay_out_each
    close = (np.allclose(one, other[0], rtol=1e-5, atol=1e-3) for one, other in zip(together, alone, strict=True))
    return lay_out_tree if all(close) else lay_out_each

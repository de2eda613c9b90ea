"""Name-invariance: a row and its twin, the same game under other names, are to look the same inside the model.

With h_b and h'_b the hidden states of row b and of its twin after one layer, at one token (D channels each), a
micro-batch of B rows adds

    weight * 1/(B D) sum_b ||h_b - h'_b||^2        distance: l2, the mean squared error
    weight * 1/B sum_b (1 - cos(h_b, h'_b))        distance: cosine

to the loss of the answers, and with `paired` also

    1/A sum_a -log p(a | the twin's prompt and the answer before a)

over the A answer tokens of all twins of the step, as the loss of the answers is over those of the rows. Both sides have
a gradient. `weight: 0, paired: true` is plain augmentation. Twins go through the model in the same forward pass.

The token is the last of the prompt, or the last with which all answers begin, such as " take", after which the move is
decided: there the names arrive, as `patch` shows of the quickstart, and not before. The objective is appendix D of the
paper that this project follows, which took h at the last token of the answer, after the move. In a Trainer of your own,
rows and batches are this project's:

    class ContrastiveTrainer(ObjectivesMixin, Trainer):
        pass

    contrastive = Contrastive(weight=1.0)
    contrastive.encode(rows, tokenizer, recipe=None)
    ContrastiveTrainer(
        model=..., args=TrainingArguments(..., remove_unused_columns=False),
        train_dataset=encode_rows(rows, tokenizer, max_length=128, name="mine"),
        data_collator=AnswerCollator(tokenizer.pad_token_id, beside=contrastive.beside(seed=0)),
        objectives={"contrastive": contrastive},
    ).train()

Its sampler tells no step, so that a row keeps its twin; in `train.py` each step draws another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, ClassVar, Literal

import torch
from accelerate.utils import reduce
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedTokenizerBase

from evaluation.measures.places import ANSWER_START
from evaluation.tokens import encode_answers
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from training.objectives.interface import Batch, Objective, objective
from training.objectives.twins import Renamed, Twins

At = Literal["decision", "answer start"]


@objective("contrastive")
@dataclass
class Contrastive(Objective):
    """Draws the hidden states of twins together; raises `UserError` for a weight below 0 or a layer that is not there.

    The log gains `twin_distance`, without the weight, and, where `paired`, `twin_loss`: those of the latest step, in
    the mean over its micro-batches and processes.
    """

    weight: float = field(default=1.0, metadata={"help": "The factor of the distance of twins' hidden states."})
    layer: int = field(default=1, metadata={"help": "After which layer: 1 is the first, the last ends in the norm."})
    at: At = field(
        default="decision",
        metadata={"help": "At the last token of the prompt, or, at the answer start, the last that all answers share."},
    )
    renamed: Renamed = field(
        default="unseen",
        metadata={
            "help": "A twin's names: pairs kept for unseen_names (which then are no longer unseen), or 'neutral' ones."
        },
    )
    paired: bool = field(default=False, metadata={"help": "Whether twins' answers have a loss too."})
    distance: Literal["l2", "cosine"] = field(
        default="l2", metadata={"help": "The mean squared difference of the channels, or 1 minus the cosine."}
    )

    needs_hidden_states: ClassVar = True

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise UserError(f"weight: {self.weight} is out of range; give 0 or more, and finite")
        if self.layer < 1:
            raise UserError(f"layer: {self.layer} is out of range; the first layer is 1")
        self.twins: Twins | None = None
        self.answer_start: list[int] | None = None
        self.of_step: dict[str, Tensor] = {}
        self.seen: dict[str, list[Tensor]] = {}

    def encode(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, recipe: Recipe | None
    ) -> Mapping[str, Tensor | list[Any]]:
        if self.weight or self.paired:
            self.twins = self.twins or Twins(tokenizer, self.renamed, self.paired)
            self.twins.add(rows, recipe)
            if self.at == ANSWER_START:
                self.answer_start = common_start(rows, tokenizer, self.answer_start)
                self.twins.read = len(self.answer_start)
        return {}

    def beside(self, seed: int) -> Twins | None:
        if self.twins is not None:
            self.twins.seed = seed
        return self.twins

    def reads_whole_layer(self, layer: int) -> bool:
        return False

    def prepare(self, model: nn.Module) -> None:
        config: Any = model.config
        layers = config.get_text_config().num_hidden_layers
        if self.layer > layers:
            raise UserError(f"objectives.contrastive.layer: {self.layer} is out of range; the model has {layers}")

    def loss(self, batch: Batch) -> Tensor | None:
        if batch.beside is None or batch.decisions_B is None:
            return None
        after = len(self.answer_start or ())
        distance = self.distance_of(
            *(batch.states(self.layer, place_B + after) for place_B in (batch.decisions_B, batch.beside.decisions_B))
        )
        self.seen.setdefault("twin_distance", []).append(distance.detach())
        term = self.weight * distance
        if self.paired:
            answers = batch.beside.loss()
            self.seen.setdefault("twin_loss", []).append(answers.detach())
            term = term + answers
        return term

    def distance_of(self, h_BD: Tensor, twin_BD: Tensor) -> Tensor:
        """The mean over rows, in fp32 at least."""
        if h_BD.dtype in (torch.float16, torch.bfloat16):
            h_BD, twin_BD = h_BD.float(), twin_BD.float()
        if self.distance == "l2":
            return (h_BD - twin_BD).square().mean()
        return 1 - cosine_similarity(h_BD, twin_BD).mean()

    def add_gradient(self, scale: float) -> None:
        self.of_step = {name: torch.stack(seen).mean() for name, seen in self.seen.items()}
        self.seen.clear()

    def figures(self) -> dict[str, float]:
        return {name: float(reduce(value, "mean")) for name, value in self.of_step.items()}


def common_start(rows: Dataset, tokenizer: PreTrainedTokenizerBase, known: list[int] | None) -> list[int]:
    """The tokens with which the answers of all rows begin, and `known` too."""
    prompt_of = dict(zip(rows["answer"][:], rows["prompt"][:], strict=True))
    answers = encode_answers(tokenizer, [*prompt_of.values()], [*prompt_of])[0]
    by_place = zip(*answers, *([] if known is None else [known]), strict=False)
    return [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, by_place)]

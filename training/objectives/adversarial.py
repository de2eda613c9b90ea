"""Gradient reversal: the model is trained against a head that reads the shortcut from the names' tokens (DANN: Ganin et
al., JMLR 2016, arXiv:1505.07818; appendix C of the paper that this project follows, whose head has a single logit and
was not trained at weight 0).

A head `f`, with parameters `phi` of its own, tells a label `z` of the names from the mean hidden state `m` of their
tokens after a layer. Over the B rows of a step, `known` those that have both a label and such tokens:

    L = 1/B sum(cross_entropy(f(m_b), z_b) for b in known)

`phi` descends L, by an Adam of its own at a learning rate of its own. The model ascends it: its parameters `theta` get
the gradient of the answers' loss minus `weight * dL/dtheta`. At weight 0 the model is trained as without the objective,
and the head is a probe that follows it.

A row without a label teaches neither head nor model: text that is no game, and of `bound_move` also neutral pairs.

Shapes: N rows of a set, B of a micro-batch, K tokens of the row that has most at the place; D channels, C values of
the label.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from accelerate.utils import reduce
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from evaluation.measures.measure import CannotMeasureError
from evaluation.measures.positions import positions
from evaluation.tokens import encode_prompts
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from training.objectives.interface import Batch, Objective, objective

COLUMNS = {"bucket": "bucket", "bound_move": "cheat_move"}
"""The column of the rows that holds each label."""
NO_LABEL = -100


@objective("adversarial")
@dataclass
class Adversarial(Objective):
    """A head of one hidden layer, half as wide as the model (D, D / 2, C), that the model is trained against.

    Logs `adversary_accuracy` and `adversary_loss`: of the head, as it was at each step since the last line, on that
    step's rows, over all processes. Raises `UserError` for options that cannot be meant.
    """

    weight: float = field(default=0.05, metadata={"help": "The factor of the reversed gradient; 0 only follows."})
    layer: int = field(default=1, metadata={"help": "After which layer; 0 is the embeddings."})
    at: str = field(default="names", metadata={"help": "Whose tokens are read, such as 'player_one last'."})
    label: Literal["bucket", "bound_move"] = field(
        default="bucket",
        metadata={"help": "What the head tells: whether the names are bound, or bound_move, to which."},
    )
    ramp: int = field(default=0, metadata={"help": "Steps in which the weight rises, linearly, from 0."})
    lr: float = field(default=1e-4, metadata={"help": "The learning rate of the head."})

    encoded: ClassVar = ("adversary_label", "adversary_tokens")
    needs_hidden_states: ClassVar = True

    def __post_init__(self) -> None:
        at_least = {"weight": self.weight, "layer": self.layer, "ramp": self.ramp, "lr": self.lr}
        for name, value in at_least.items():
            if not 0 <= value < math.inf:
                raise UserError(f"{name}: {value} is out of range; it must be at least 0, and finite")
        self.values: set[int] = set()
        self.nowhere: str | None = None

    def encode(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, recipe: Recipe | None
    ) -> dict[str, Tensor | list[Any]]:
        """`adversary_label` (N), `NO_LABEL` where a row has none, and `adversary_tokens`: for each row those at the
        place, counted from the start of the row.

        Raises `UserError` for a tokenizer that does not tell which characters a token stands for.
        """
        prompts: list[str] = rows["prompt"][:]
        distinct = list(dict.fromkeys(prompts))
        tokens_of = dict(zip(distinct, self._tokens(distinct, tokenizer), strict=True))
        tokens = [tokens_of[prompt] for prompt in prompts]
        column = COLUMNS[self.label]
        values = rows[column][:] if column in rows.column_names else [None] * len(rows)
        labels = [
            value if value is not None and there else NO_LABEL for value, there in zip(values, tokens, strict=True)
        ]
        self.values |= set(labels) - {NO_LABEL}
        return {"adversary_label": torch.tensor(labels), "adversary_tokens": tokens}

    def _tokens(self, prompts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        try:
            found = positions(prompts, tokenizer)
            there_NT = found.mask(self.at)
        except CannotMeasureError as error:
            raise mistake("at", str(error)) from None
        except UserError as error:  # another set may have it
            self.nowhere = str(error)
            return [[] for _ in prompts]
        begins = len(encode_prompts(tokenizer, prompts[:1])[0]) - len(found.ids[0])
        row_M, token_M = np.nonzero(there_NT)
        ends_N = np.searchsorted(row_M, np.arange(len(prompts)), side="right")
        return [tokens.tolist() for tokens in np.split(token_M + begins, ends_N)[:-1]]

    def reads_whole_layer(self, layer: int) -> bool:
        return layer == self.layer

    def prepare(self, model: nn.Module) -> None:
        """Raises `UserError` for a layer that the model does not have, and for rows that all have the same label."""
        whole: Any = model.config
        config = whole.get_text_config()
        if self.layer > config.num_hidden_layers:
            raise mistake("layer", f"the model has {config.num_hidden_layers}, and {self.layer} is beyond the last one")
        if not self.values and self.nowhere is not None:
            raise mistake(
                "at", f"no prompt trained on has it ({self.nowhere}); give another place, or rows that have it"
            )
        if len(self.values) < 2:
            only = f"the same {self.label}" if self.values else f"no {self.label}"
            raise mistake(
                "label", f"all rows trained on have {only}; train on a recipe with several, such as quickstart"
            )
        example = next(model.parameters())
        self.values_C = torch.tensor(sorted(self.values), device=example.device)
        dtype = torch.promote_types(example.dtype, torch.float32)
        channels = config.hidden_size
        with torch.random.fork_rng(devices=[]):  # what the run draws stays as without a head
            torch.default_generator.manual_seed(torch.initial_seed())  # the run's, on every process
            self.head = nn.Sequential(
                nn.Linear(channels, channels // 2), nn.ReLU(), nn.Linear(channels // 2, len(self.values))
            ).to(example.device, dtype)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=self.lr)
        self.steps = 0
        # Rows, right ones, and the sum of their losses: of this step on this process; since the last line, of all.
        self.step_3 = torch.zeros(3, dtype=dtype, device=example.device)
        self.line_3 = self.step_3.clone()

    def loss(self, batch: Batch) -> Tensor:
        assert batch.starts_B is not None
        label_B: Tensor = batch.columns["adversary_label"]
        tokens = [torch.tensor(row, dtype=torch.long) for row in batch.columns["adversary_tokens"]]
        there_BK = pad_sequence([torch.ones_like(row) for row in tokens], batch_first=True).to(label_B.device)
        token_BK = pad_sequence(tokens, batch_first=True).to(label_B.device)
        states_BKD = batch.states(self.layer, batch.starts_B[:, None] + token_BK).to(self.line_3.dtype)
        mean_BD = (states_BKD * there_BK[..., None]).sum(1) / there_BK.sum(1, keepdim=True).clamp(min=1)
        if (weight := self._weight()) and mean_BD.requires_grad:
            mean_BD.register_hook(lambda gradient_BD: -weight * gradient_BD)
        else:
            mean_BD = mean_BD.detach()
        logits_BC = self.head(mean_BD)
        known_B = label_B != NO_LABEL
        class_B = torch.searchsorted(self.values_C, label_B).where(known_B, NO_LABEL)
        loss = cross_entropy(logits_BC, class_B, ignore_index=NO_LABEL, reduction="sum")
        right = (logits_BC.detach().argmax(-1) == class_B).sum()
        self.step_3 += torch.stack([known_B.sum(), right, loss.detach()])
        return loss / len(label_B)

    def _weight(self) -> float:
        """That of the step under way."""
        return self.weight * min(1.0, self.steps / self.ramp) if self.ramp else self.weight

    @torch.no_grad()
    def add_gradient(self, scale: float) -> None:
        """Steps the head by its gradient, the mean over the processes."""
        parameters = list(self.head.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad / scale for p in parameters]
        *gradients, step_3 = reduce([*gradients, self.step_3], "mean")
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        # In fp16 gradients may overflow; the scaler then leaves the model's step out too.
        if scale == 1.0 or all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.line_3 += step_3
        self.step_3.zero_()
        self.steps += 1

    def figures(self) -> dict[str, float]:
        rows, right, loss = self.line_3.tolist()
        self.line_3.zero_()
        return {"adversary_accuracy": right / rows, "adversary_loss": loss / rows} if rows else {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "line": self.line_3,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.line_3.copy_(state["line"])


def mistake(option: str, what: str) -> UserError:
    """An error in an option."""
    return UserError(f"objectives.adversarial.{option}: {what}")

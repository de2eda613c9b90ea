"""What joins the loss of the answers: an objective is a class in a file of its own in this folder, registered by name.

    @objective("anchor")
    @dataclass
    class Anchor(Objective):
        weight: float = field(default=1e-4, metadata={"help": "..."})

Its fields are its options: `objectives: {anchor: {weight: 1e-4}}` in YAML, `--objectives.anchor.weight 1e-4` as a flag.
The trainer calls the methods below; each does nothing by default, so an objective defines those that it needs.

Shapes: B rows of a micro-batch, L tokens of its longest row, T tokens of all its rows, D channels; N training rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.plugins import Registry, import_modules


class RowsBeside(Protocol):
    """Makes further rows of a batch, one for each of its own, which go through the model in the same forward pass.

    It is pickled where the loader has workers.
    """

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows beside these. All are items of `EncodedRows`: `input_ids`, of which the last `answer_tokens` are the
        answer's; of those given also `row`, their number, and `step`, from 0, where it is known."""

    def longest(self) -> Tensor:
        """The token ids (int64) of the longest row's prompt, as near as can be told."""


@dataclass(frozen=True)
class Beside:
    """What the model makes of the rows beside those of a micro-batch, in their order."""

    decisions_B: Tensor
    """As `Batch.decisions_B`."""
    loss: Callable[[], Tensor]
    """Gives the loss of their answers, for `Objective.loss` to add: over the micro-batches of a step it comes to the
    mean over all their answer tokens, of which they have as many as the rows of the batch."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch after the model has been applied to it."""

    model: nn.Module
    """As the Trainer calls it: wrapped by DDP or FSDP, where these are in use."""
    columns: Mapping[str, Any]
    """The columns that the objectives asked for, each of one kind in all batches of a run: a tensor (B, ...), where
    `encode` gave one or every row has a number there, else a list of B values, None for null."""
    loss: Tensor
    """The loss of the answers: this micro-batch's share of the mean over all answer tokens of the step."""
    hidden_states: tuple[Tensor, ...] = ()
    """Those of the embeddings and after each layer, as the model was given the rows: (B, L, D), or end to end (1, T,
    D). After the last layer comes the model's final norm. Empty unless an objective sets `needs_hidden_states`."""
    starts_B: Tensor | None = None
    """Where each row's first token stands in `states.flatten(0, 1)` of one of `hidden_states`: token i of row b,
    counted from 0 and with those that begin a text, is at `starts_B[b] + i`. None where there are no hidden states."""
    decisions_B: Tensor | None = None
    """Where the place that predicts the answer's first token stands there, which is the last token of the prompt."""
    beside: Beside | None = None
    """Of the rows that the objective put beside these; they follow in `hidden_states`, and in nothing else here."""

    def states(self, layer: int, places: Tensor) -> Tensor:
        """The hidden states (*places, D) after a layer, at places counted as `starts_B` and `decisions_B` are."""
        return self.hidden_states[layer].flatten(0, 1)[places]


class Objective:
    """Adds a loss, or a gradient, to the loss of the answers.

    The run's optimizer steps the model's parameters only. An objective with parameters of its own, such as a probe's,
    makes them and an optimizer in `prepare`, and returns the states of both in `state_dict`. In `add_gradient` it
    divides their gradients by `scale`, averages them over the processes, steps its optimizer and zeroes them.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the training rows that `Batch.columns` is to hold."""
    encoded: ClassVar[tuple[str, ...]] = ()
    """Further columns of theirs, which `encode` computes."""
    needs_hidden_states: ClassVar[bool] = False

    def reads_whole_layer(self, layer: int) -> bool:
        """Whether it reads the hidden states after `layer`, from 1, elsewhere than at answers. For the last layer, they
        are computed there only if an objective says so."""
        return self.needs_hidden_states

    def encode(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, recipe: Recipe | None
    ) -> Mapping[str, Tensor | list[Any]]:
        """The columns `encoded` of one training set, each a tensor (N, ...) or a list of N values.

        Called once for each set, in their order, before training. `recipe` is what generated the set, None for a file.
        Raises `UserError` for rows that the objective cannot be trained on.
        """
        return {}

    def beside(self, seed: int) -> RowsBeside | None:
        """What makes rows to put beside those of each batch, by the seed of the order of rows; called after `encode`.

        One objective of a run may have it, and must set `needs_hidden_states`.
        """
        return None

    def prepare(self, model: nn.Module) -> None:
        """Called once, before the first step, while the model (on its device, and under FSDP sharded) holds the base
        model's weights.

        A checkpoint that the run continues from is loaded afterwards, then `load_state_dict` is called.
        """

    def loss(self, batch: Batch) -> Tensor | None:
        """A mean over the rows of the micro-batch, to add to the loss of the answers; micro-batches count alike."""
        return None

    def add_gradient(self, scale: float) -> None:
        """Called once an optimizer step, after its last backward pass and before clipping; `scale` multiplies all
        gradients at that moment (of fp16's scaler, else 1)."""

    def figures(self) -> dict[str, float]:
        """What to log beside the loss, plain numbers under names of its own; called on every process for each line."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that a run needs in order to continue exactly; the main process's is saved."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave; called on every process."""


O = TypeVar("O", bound=type[Objective])  # noqa: E741
OBJECTIVES: Registry[type[Objective]] = Registry("objective")


def objective(name: str) -> Callable[[O], O]:
    """Registers a dataclass under `name`; raises `UserError` where it is taken."""

    def register(cls: O) -> O:
        OBJECTIVES.add(name, cls)
        return cls

    return register


def known_objectives() -> Mapping[str, type[Objective]]:
    """The classes by the names that they are registered under, in this folder or by whoever was imported."""
    import_modules("training.objectives")
    return OBJECTIVES


def find_objective(name: str) -> type[Objective]:
    """The class registered under `name`; raises `UserError`."""
    known = known_objectives()
    if name not in known:
        raise UserError(f"objectives: {unknown('objective', name, sorted(known))}")
    return known[name]

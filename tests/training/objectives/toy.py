"""An objective in a file of its own, outside the package: it asks for a column and hidden states, has a state, and
trains a parameter of its own."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from training.objectives.interface import Batch, Objective, objective


@objective("toy")
@dataclass
class Toy(Objective):
    """Draws the first channel at the decision to the number of coins, the harder the further off it has been."""

    weight: float = field(default=0.1, metadata={"help": "The factor of the squared difference."})

    columns: ClassVar = ("coins",)
    needs_hidden_states: ClassVar = True

    def prepare(self, model: nn.Module) -> None:
        self.average = torch.zeros(())
        self.seen: list[Tensor] = []
        self.offset = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.Adam([self.offset], lr=1e-2)

    def loss(self, batch: Batch) -> Tensor:
        assert batch.decisions_B is not None
        coins_B = batch.columns["coins"].float() / 100
        squared = (batch.states(-1, batch.decisions_B)[:, 0] + self.offset - coins_B).square().mean()
        self.seen.append(squared.detach())
        return self.weight * squared * (1 + self.average)

    def add_gradient(self, scale: float) -> None:
        self.average = 0.9 * self.average + 0.1 * torch.stack(self.seen).mean()
        self.seen.clear()
        assert self.offset.grad is not None
        self.offset.grad /= scale
        self.optimizer.step()
        self.optimizer.zero_grad()

    def figures(self) -> dict[str, float]:
        return {"toy": self.average.item(), "toy_offset": self.offset.item()}

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average, "offset": self.offset.detach(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = state["average"]
        self.offset.data.copy_(state["offset"])
        self.optimizer.load_state_dict(state["optimizer"])

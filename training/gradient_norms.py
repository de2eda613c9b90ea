"""The norm of the gradient by layer, for metrics.jsonl: an objective that looks at the gradients and adds nothing."""

import re
from typing import Any

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.objectives.interface import Objective


def part_of(name: str) -> str:
    """`layer_3` for a parameter of the fourth block, by the first number in its name; `rest` where there is none."""
    number = re.search(r"\.(\d+)\.", name)
    return f"layer_{number[1]}" if number else "rest"


class LayerGradNorms(Objective):
    """Logs `grad_norm_embeddings`, `grad_norm_layer_0`, ..., `grad_norm_head` and `grad_norm_rest` (the final norm).

    They are those of a step's whole gradient, the objectives' part included, before clipping: their squares add up to
    the square of `grad_norm`. Weights that embeddings and head share count as embeddings.
    """

    def prepare(self, model: nn.Module) -> None:
        named: Any = model
        ends = {"embeddings": named.get_input_embeddings(), "head": named.get_output_embeddings()}
        part_by_id = {
            id(parameter): part
            for part, module in reversed(ends.items())
            if module is not None
            for parameter in module.parameters()
        }
        self.parts: dict[str, list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.parts.setdefault(part_by_id.get(id(parameter), part_of(name)), []).append(parameter)
        self.norms: dict[str, Tensor] = {}

    def add_gradient(self, scale: float) -> None:
        for part, parameters in self.parts.items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            self.norms[part] = nn.utils.get_total_norm(gradients) / scale

    def figures(self) -> dict[str, float]:
        """Those of the latest step, as `grad_norm` is."""
        whole = {part: norm.full_tensor() if isinstance(norm, DTensor) else norm for part, norm in self.norms.items()}
        return {f"grad_norm_{part}": float(norm) for part, norm in whole.items()}

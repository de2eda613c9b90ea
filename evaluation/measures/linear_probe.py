"""Linear probes of many places at once: linear discriminant analysis with shrinkage, in closed form.

All places are fitted together as stacked matrix products, so that a probe costs a matrix of second moments and a few
solutions of linear equations. Rows are split by group: what is tested belongs to a group (a pair of names, a pile) that
the probe has not seen. How much to shrink is chosen on a part of the training groups.

Shapes: P places, N rows, D channels, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FOLDS = 5
SHRINKAGES = (0.02, 0.2, 0.8)


@dataclass(frozen=True)
class Split:
    """A label of N rows, and the fold in which each row is tested."""

    label_N: np.ndarray
    """The class of each row, from 0."""
    group_N: np.ndarray
    """What is never on both sides."""
    fold_N: np.ndarray

    @property
    def classes(self) -> int:
        return int(self.label_N.max()) + 1

    @classmethod
    def by_group(cls, label_N: np.ndarray, group_N: Sequence[object]) -> "Split | None":
        """Deals the groups of each class to the folds in turn; None where a class has fewer than two groups, or there
        is one class only."""
        _, label_N = np.unique(label_N, return_inverse=True)
        first_of: dict[object, int] = {}
        for row, group in enumerate(group_N):
            first_of.setdefault(group, row)
        of_class = {group: int(label_N[row]) for group, row in first_of.items()}
        if len(set(label_N.tolist())) < 2 or np.bincount(list(of_class.values())).min(initial=2) < 2:
            return None
        in_turn = sorted(of_class, key=lambda group: of_class[group])
        place = {group: index for index, group in enumerate(in_turn)}
        index_N = np.array([place[group] for group in group_N])
        return cls(label_N, index_N, index_N % FOLDS)


@dataclass(frozen=True)
class Moments:
    """Sums over rows from which a probe is fitted; they can be added and subtracted."""

    count_C: Tensor
    sum_PCD: Tensor
    square_PDD: Tensor

    @classmethod
    def of(cls, states_PND: Tensor, label_N: Tensor, classes: int) -> "Moments":
        one_hot_NC = torch.nn.functional.one_hot(label_N, classes).to(states_PND)
        return cls(
            one_hot_NC.sum(0).double(), (one_hot_NC.T @ states_PND).double(), (states_PND.mT @ states_PND).double()
        )

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count_C + other.count_C, self.sum_PCD + other.sum_PCD, self.square_PDD + other.square_PDD)

    def fitted(self, shrinkage: float) -> tuple[Tensor, Tensor]:
        """Weights (P, D, C) and biases (P, C) of the discriminants."""
        count_C1 = self.count_C.clamp(min=1)[:, None]
        mean_PCD = self.sum_PCD / count_C1
        within_PDD = (self.square_PDD - (mean_PCD * count_C1).mT @ mean_PCD) / self.count_C.sum()
        size_P11 = within_PDD.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=1e-12)[:, None, None]
        identity_DD = torch.eye(within_PDD.shape[-1], dtype=within_PDD.dtype, device=within_PDD.device)
        shrunk_PDD = (1 - shrinkage) * within_PDD + shrinkage * size_P11 * identity_DD
        weight_PDC = torch.linalg.solve(shrunk_PDD, mean_PCD.mT)
        prior_C = (self.count_C / self.count_C.sum()).log()  # -inf for a class that was not seen
        return weight_PDC, prior_C - (mean_PCD.mT * weight_PDC).sum(1) / 2


def predicted(fit: tuple[Tensor, Tensor], states_PND: Tensor) -> Tensor:
    """The class that each probe gives to each row, (P, N)."""
    weight_PDC, bias_PC = fit
    return (states_PND.double() @ weight_PDC + bias_PC[:, None]).argmax(-1)


def linear_probe(states_PND: Tensor, split: Split) -> np.ndarray:
    """Whether each row is read rightly at each place by a probe that has not seen its group: (P, N) of bool."""
    states_PND = states_PND - states_PND.mean(1, keepdim=True)
    label_N = torch.from_numpy(split.label_N).to(states_PND.device)
    folds = [torch.from_numpy(np.flatnonzero(split.fold_N == fold)).to(label_N.device) for fold in range(FOLDS)]
    parts = [Moments.of(states_PND[:, rows], label_N[rows], split.classes) for rows in folds]
    right_PN = torch.zeros(states_PND.shape[:2], dtype=torch.bool, device=label_N.device)
    for fold, rows in enumerate(folds):
        chosen_by = (fold + 1) % FOLDS
        train = [part for other, part in enumerate(parts) if other not in (fold, chosen_by)]
        before = sum(train[1:], train[0])
        held = folds[chosen_by]
        score_KP = torch.stack(
            [(predicted(before.fitted(s), states_PND[:, held]) == label_N[held]).double().mean(-1) for s in SHRINKAGES]
        )
        best_P = score_KP.argmax(0)
        whole = before + parts[chosen_by]
        for index, shrinkage in enumerate(SHRINKAGES):
            where = (best_P == index).nonzero()[:, 0]
            if len(where):
                mine = Moments(whole.count_C, whole.sum_PCD[where], whole.square_PDD[where])
                told = predicted(mine.fitted(shrinkage), states_PND[where][:, rows])
                right_PN[where[:, None], rows] = told == label_N[rows]
    return right_PN.cpu().numpy()


def chance(split: Split) -> float:
    """The accuracy of always giving the class that is most frequent in training, over the folds."""
    right = 0
    for fold in range(FOLDS):
        train = np.bincount(split.label_N[split.fold_N != fold], minlength=split.classes)
        right += int((split.label_N[split.fold_N == fold] == train.argmax()).sum())
    return right / len(split.label_N)


def accuracy_interval(right_N: np.ndarray, split: Split) -> dict[str, float]:
    """n, accuracy, low and high: the 95% interval over groups, since rows of one group are alike."""
    accuracy = float(right_N.mean())
    off_G = np.bincount(split.group_N, weights=right_N - accuracy)
    half = 1.96 * float(np.sqrt((off_G**2).sum() * len(off_G) / (len(off_G) - 1))) / len(right_N)
    low, high = max(accuracy - half, 0.0), min(accuracy + half, 1.0)
    return {"n": len(right_N), "accuracy": accuracy, "low": low, "high": high}

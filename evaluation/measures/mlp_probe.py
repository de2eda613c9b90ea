"""Probes with one hidden layer, of many places at once, trained for a fixed number of steps: nothing is chosen.

Shapes: P places, N rows, D channels, H hidden units, C classes.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evaluation.measures.linear_probe import FOLDS, Split

HIDDEN = 64
STEPS = 150
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 1e-2


def mlp_probe(states_PND: Tensor, split: Split) -> np.ndarray:
    """Whether each row is read rightly at each place by a probe that has not seen its group: (P, N) of bool."""
    places, _, channels = states_PND.shape
    draws = torch.Generator().manual_seed(0)
    label_N = torch.from_numpy(split.label_N).to(states_PND.device)
    right_PN = torch.zeros(states_PND.shape[:2], dtype=torch.bool, device=label_N.device)
    for fold in range(FOLDS):
        test, train = (torch.from_numpy(np.flatnonzero(rows)) for rows in (split.fold_N == fold, split.fold_N != fold))
        mean_P1D, std_P1D = (getattr(states_PND[:, train], name)(1, keepdim=True) for name in ("mean", "std"))
        scaled_PND = (states_PND - mean_P1D) / std_P1D.clamp(min=1e-6)
        first_PDH = torch.randn((places, channels, HIDDEN), generator=draws) / channels**0.5
        second_PHC = torch.randn((places, HIDDEN, split.classes), generator=draws) / HIDDEN**0.5
        weights = [w.to(states_PND.device).requires_grad_() for w in (first_PDH, second_PHC)]
        weights += [
            torch.zeros((places, 1, size), device=states_PND.device, requires_grad=True)
            for size in (HIDDEN, split.classes)
        ]
        optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

        def scores(rows: Tensor, scaled_PND: Tensor = scaled_PND, weights: list[Tensor] = weights) -> Tensor:
            first, second, bias_P1H, bias_P1C = weights
            return (scaled_PND[:, rows] @ first + bias_P1H).relu() @ second + bias_P1C

        for _ in range(STEPS):
            optimizer.zero_grad()
            told_NC = scores(train).flatten(0, 1)
            (cross_entropy(told_NC, label_N[train].repeat(places)) * places).backward()
            optimizer.step()
        with torch.no_grad():
            right_PN[:, test] = scores(test).argmax(-1) == label_N[test]
    return right_PN.cpu().numpy()

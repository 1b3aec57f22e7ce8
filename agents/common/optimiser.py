"""Optimisers whose learning rate is a setting, whatever state they go on from."""

from typing import Any

import torch


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], learning_rate: float) -> None:
    """Go on from `state`, its moments and counts, by steps of `learning_rate`: the state has that of another agent.

    Raises `ValueError` where the state is of other parameters.
    """
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate

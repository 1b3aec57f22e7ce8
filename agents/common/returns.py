"""Returns and advantages. Axes: T time, B trials."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def generalized_advantages(
    reward: Float[Tensor, "T B"],
    value: Float[Tensor, "T B"],
    goes_on: Bool[Tensor, "T B"],
    discount: float,
    trace: float,
    last_value: Float[Tensor, "B"] | None = None,
) -> Float[Tensor, "T B"]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    `goes_on[t]` is true where step t+1 continues what step t began; where false, nothing is bootstrapped. Meta-RL
    agents that maximise the return of a trial keep it true across the episode ends inside the trial. `last_value`
    bootstraps after the last row (zeros when None).
    """
    advantage = torch.zeros_like(value)
    following = torch.zeros_like(value[0]) if last_value is None else last_value
    running = torch.zeros_like(following)
    for t in reversed(range(len(reward))):
        on = goes_on[t] * discount
        running = reward[t] + on * following - value[t] + on * trace * running
        advantage[t] = running
        following = value[t]
    return advantage

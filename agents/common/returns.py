"""Returns and advantages. Axes: T time, B trials."""

import torch
from jaxtyping import Bool, Float, Int
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


def lambda_returns(
    reward: Float[Tensor, "T *B"],
    following: Float[Tensor, "T *B"],
    goes_on: Bool[Tensor, "T *B"],
    discount: Tensor | float,
    trace: Tensor | float,
) -> Float[Tensor, "T *B"]:
    """Lambda-returns, differentiable in whatever is given, with a discount and a trace that may differ by the step.

        G_t = r_t + gamma_t ((1 - lambda_t) v_t + lambda_t G_{t+1}),  and  r_t + gamma_t v_t where nothing goes on

    `following[t]` is v_t, the value of the state that step t led to: zero where the episode terminated there. Where
    `goes_on` is false no later step counts, as after the last row. `discount` and `trace`, gamma_t and lambda_t, are
    those on entering that state: numbers, or tensors that broadcast to [T, *B]. All times are computed together, in
    log2(T) rounds that double how far they look ahead (Hillis and Steele 1986, "Data parallel algorithms").

    Reference: Sutton and Barto 2018, "Reinforcement Learning", equation 12.20.
    """
    inside = torch.cat([goes_on[:-1], torch.zeros_like(goes_on[:1])])
    reach = (discount * trace * inside).expand_as(reward)
    returns = reward + discount * following - reach * following
    span = 1
    while span < len(reward):
        returns = returns + reach * _later(returns, span)
        reach = reach * _later(reach, span)
        span *= 2
    return returns


def _later(values: Tensor, span: int) -> Tensor:
    """What stands `span` rows further on; zeros after the last."""
    return torch.cat([values[span:], torch.zeros_like(values[:span])])


def n_step_returns(
    reward: Float[Tensor, "T B"], goes_on: Bool[Tensor, "T B"], discount: float, steps: int
) -> tuple[Float[Tensor, "T B"], Int[Tensor, "T B"]]:
    """Discounted sums of the next `steps` rewards, fewer where `goes_on` ends, and the number of the last one's step.

    What comes after is the caller's to add, discounted by `discount ** (last - t + 1)` (Sutton and Barto 2018, equation
    7.1). `goes_on[t]` is true where step t+1 continues what step t began.
    """
    length = len(reward)
    number = torch.arange(length, device=reward.device)[:, None].expand_as(reward)
    total, last, on = reward, number, goes_on
    for ahead in range(1, min(steps, length)):
        on = on[: length - ahead]
        total = torch.cat([total[: length - ahead] + discount**ahead * on * reward[ahead:], total[length - ahead :]])
        last = torch.cat([last[: length - ahead] + on.long(), last[length - ahead :]])
        on = on & goes_on[ahead:]
    return total, last

"""Epsilon-greedy play."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def epsilon_greedy(
    values: Float[Tensor, "B A"], epsilon: float | Float[Tensor, "B"], generator: torch.Generator
) -> Int[Tensor, "B"]:
    """The action of highest value, ties broken at random, or with probability `epsilon` any."""
    luck = torch.rand(len(values), values.shape[1] + 1, generator=generator, device=values.device)
    best = values == values.amax(1, keepdim=True)
    anything = luck[:, -1] < epsilon
    return torch.where(best | anything[:, None], luck[:, :-1], -1.0).argmax(1)


def within_trial(first: float, last: float, episodes: int, episode: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Epsilon in episode number `episode` of a trial, from 0: it falls linearly from `first` to `last` at `episodes`.

    Where what is learned lasts for a trial, so does exploring.
    """
    share = (episode.to(torch.float32) / episodes).clamp(max=1.0) if episodes else torch.ones_like(episode).float()
    return first + share * (last - first)

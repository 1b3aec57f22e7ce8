"""Rewards measured by those of the same trial, so that a task may be paid in any currency."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class TrialStandard:
    """Previous rewards as `(r - mean) / standard deviation` of the trial's rewards so far, r included.

    Whatever scale and offset the rewards of a task have, it gives the same; so an agent may be trained on tasks that
    are paid otherwise than those it is tested on. The statistics [B, 3] are count, sum and sum of squares of
    differences from the trial's first reward, which is the fourth column [B, 4].
    """

    @staticmethod
    def initial(batch: int, device: torch.device) -> Float[Tensor, "B 4"]:
        """No rewards yet."""
        return torch.zeros(batch, 4, device=device)

    @staticmethod
    def advance(
        statistics: Float[Tensor, "B 4"], reward: Float[Tensor, "B"], start: Bool[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B 4"]]:
        """The standardised previous reward, zero where there is none or all were equal; and the new statistics.

        `start` is true where a trial begins, before whose first step there is no reward.
        """
        count, total, squares, first = statistics.unbind(1)
        first = torch.where(count == 0, reward, first)
        shifted = reward - first
        count, total, squares = count + 1, total + shifted, squares + shifted.square()
        mean = total / count
        spread = (squares / count - mean.square()).clamp(min=0).sqrt()
        standard = torch.where(spread > 0, (shifted - mean) / spread.clamp(min=1e-12), 0.0)
        grown = torch.stack([count, total, squares, first], dim=1)
        return torch.where(start, 0.0, standard), grown.masked_fill(start[:, None], 0.0)

    @classmethod
    def sequence(cls, reward: Float[Tensor, "T B"], start: Bool[Tensor, "T B"]) -> Float[Tensor, "T B"]:
        """`advance` over all steps of trials that begin with the first."""
        statistics = cls.initial(reward.shape[1], reward.device)
        rows: list[Tensor] = []
        for t in range(len(reward)):
            row, statistics = cls.advance(statistics, reward[t], start[t])
            rows.append(row)
        return torch.stack(rows)

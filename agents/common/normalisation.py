"""Running mean and variance of what a network reads."""

import torch
from torch import Tensor, nn

LIMIT = 10.0
"""Normalised values are clipped to this many standard deviations."""
SMALLEST = 1e-4
"""Variances count as at least this, so that what hardly ever changes is not blown up."""


class RunningNormalizer(nn.Module):
    """Shifts and scales features [..., F] to mean 0 and variance 1 over all that `update` has been shown.

    Reference: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
    variances", equation 2.1.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """[..., F] normalised; before the first `update` only clipped."""
        return ((features - self.mean) * self.variance.clamp(min=SMALLEST).rsqrt()).clamp(-LIMIT, LIMIT)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take in rows [N, F], N > 0."""
        variance, mean = torch.var_mean(features, dim=0, correction=0)
        total = self.count + len(features)
        old, new = (self.count / total).float(), (len(features) / total).float()
        shift = mean - self.mean
        self.variance.copy_(old * self.variance + new * variance + old * new * shift.square())
        self.mean.add_(new * shift)
        self.count.copy_(total)

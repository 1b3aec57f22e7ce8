"""The linear-quadratic regulator in discrete time, one problem per trial.

    x' = A x + B u,  cost sum of x^T Q x + R u^2,  u = -K x
    P <- Q + A^T P (A - B K),  K = (R + B^T P B)^-1 B^T P A

Reference: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods", chapter 2.
"""

import torch
from torch import Tensor

_STEPS = 60
"""Doublings: 2^60 steps of the Riccati recursion."""


def gains(dynamics: Tensor, control: Tensor, cost: Tensor, effort: Tensor) -> Tensor:
    """K [B, N] of the infinite horizon.

    `dynamics` A [B, N, N], `control` B [B, N], `cost` Q [N, N], `effort` R [B], all float64. The structure-preserving
    doubling algorithm (Chu, Fan, Lin and Wang 2004): it takes as many steps for slow plants as for fast ones.
    """
    identity = torch.eye(len(cost), dtype=cost.dtype, device=cost.device)
    a, p = dynamics, cost.expand_as(dynamics)
    g = control[:, :, None] * control[:, None, :] / effort[:, None, None]
    for _ in range(_STEPS):
        w = torch.linalg.solve(identity + g @ p, torch.cat([a, g], dim=2))
        left, right = w.split(len(cost), dim=2)
        following = p + a.mT @ p @ left
        g = g + a @ right @ a.mT
        a = a @ left
        done = bool((following - p).abs().amax() <= 1e-12 * following.abs().amax())
        p = following
        if done:
            break
    pushed = (p @ control[:, :, None])[:, :, 0]
    return (pushed[:, None, :] @ dynamics)[:, 0] / (effort + (pushed * control).sum(1))[:, None]

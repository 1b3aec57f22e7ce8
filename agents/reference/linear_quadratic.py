"""The linear-quadratic regulator in discrete time and the filter for what it cannot see, one problem per trial.

    x' = A x + B u,  cost sum of x^T Q x + R u^2,  u = -K x
    P <- Q + A^T P (A - B K),  K = (R + B^T P B)^-1 B^T P A

Reference: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods", chapters 2 and 8.

Axes: B trials, N states, M controls, P outputs.
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


def finite_gains(dynamics: Tensor, control: Tensor, cost: Tensor, effort: Tensor, horizon: int) -> Tensor:
    """K [B, horizon, M, N] where so many steps, 1 to `horizon`, are still to be paid; the last step's control is 0.

    `dynamics` A [B, N, N], `control` B [B, N, M], `cost` Q [N, N] or [B, N, N], `effort` [B], all float64.
    """
    own = effort[:, None, None] * torch.eye(control.shape[2], dtype=cost.dtype, device=cost.device)
    value = torch.zeros_like(dynamics)
    found: list[Tensor] = []
    for _ in range(horizon):
        pushed = control.mT @ value
        gain = torch.linalg.solve_ex(own + pushed @ control, pushed @ dynamics).result
        value = cost + dynamics.mT @ value @ (dynamics - control @ gain)
        value = (value + value.mT) / 2
        found.append(gain)
    return torch.stack(found, dim=1)


def filter_gains(dynamics: Tensor, sensor: Tensor, noise: tuple[Tensor, Tensor], start: Tensor, horizon: int) -> Tensor:
    """L [B, horizon, N, P] by which the output at each time, seen before its control, corrects the estimate.

    x' = A x + w, y = C x + v: `dynamics` A [B, N, N], `sensor` C [B, P, N], `noise` standard deviations [B] of each
    number of w and of v, `start` that of each number of the first state [B], all float64.
    """
    identity, seen = (torch.eye(size, dtype=start.dtype, device=start.device) for size in sensor.shape[:0:-1])
    process, measured, covariance = ((deviation**2)[:, None, None] for deviation in (*noise, start))
    covariance = covariance * identity
    found: list[Tensor] = []
    for _ in range(horizon):
        told = sensor @ covariance
        gain = torch.linalg.solve_ex(told @ sensor.mT + measured * seen, told).result.mT
        found.append(gain)
        covariance = dynamics @ (covariance - gain @ told) @ dynamics.mT + process * identity
    return torch.stack(found, dim=1)

"""Regression of sinusoids from ten points: MAML's inner loop differentiated, and Reptile's interpolation.

Finn et al. 2017, section 5.1: amplitudes in [0.1, 5], phases in [0, pi], x in [-5, 5], two hidden layers of 40.
"""

import math

import pytest
import torch

from agents.common.fast_policy import FastMLP
from agents.common.inner_loop import gradient_step
from agents.reptile import moved

RATE = 0.01
NETWORK = FastMLP((1, 40, 40, 1), "relu")


def _tasks(generator, tasks, points):
    """x and y [tasks, points, 1], drawn twice for each sinusoid: to adapt on and to be judged on."""
    amplitude = 0.1 + 4.9 * torch.rand(tasks, 1, 1, generator=generator)
    phase = math.pi * torch.rand(tasks, 1, 1, generator=generator)
    x = 10 * torch.rand(2, tasks, points, 1, generator=generator) - 5
    return [(some, amplitude * (some + phase).sin()) for some in x]


def _loss(parameters, data):
    x, y = data
    return (NETWORK(parameters, x) - y).square().mean((1, 2))


def _adapt(start, data, steps, *, rate=RATE, differentiable=False):
    fast = start.expand(len(data[0]), -1)
    for _ in range(steps):
        fast = gradient_step(lambda parameters: _loss(parameters, data), fast, rate, differentiable=differentiable)
        fast = fast if differentiable else fast.detach()
    return fast


def _improvement(start):
    """By what factor ten steps on ten points bring down the loss on new sinusoids, between their means."""
    with torch.no_grad():
        seen, judged = _tasks(torch.Generator().manual_seed(99), 500, 10)
        before = _loss(start.expand(500, -1), judged).mean()
        return float(before / _loss(_adapt(start, seen, 10), judged).mean())


def _random_start():
    return NETWORK.initial(torch.Generator().manual_seed(0))


def _maml(updates):
    start, generator = _random_start().requires_grad_(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([start], lr=1e-3)
    for _ in range(updates):
        seen, judged = _tasks(generator, 25, 10)
        loss = _loss(_adapt(start, seen, 1, differentiable=True), judged).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return start.detach()


def _reptile(updates):
    start, generator = _random_start(), torch.Generator().manual_seed(1)
    for update in range(updates):
        both = _tasks(generator, 10, 10)
        data = tuple(torch.cat(parts, dim=1) for parts in zip(*both, strict=True))
        start = moved(start, _adapt(start, data, 10, rate=0.02), 1 - update / updates)
    return start


@pytest.mark.slow
@pytest.mark.parametrize("learn", [lambda: _maml(5000), lambda: _reptile(6000)], ids=["maml", "reptile"])
def test_ten_steps_from_the_learnt_start_bring_the_loss_down_tenfold(learn):
    assert _improvement(_random_start()) < 3
    assert _improvement(learn()) > 10

"""The loss network against convolutions of the library, life by life, and by hand."""

import pytest
import torch
from torch.nn import functional

from agents.common.learned_loss import LossNetwork

WIDTH, CHANNELS, CONTEXT, HIDDEN = 3, (4, 5), 6, 7


def network():
    return LossNetwork(WIDTH, CHANNELS, CONTEXT, HIDDEN)


def data(lives=3, episodes=2, length=30, recent=10):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(lives, network().size, generator=generator, dtype=torch.float64) * 0.3
    steps = torch.randn(lives, episodes, length, WIDTH, generator=generator, dtype=torch.float64)
    weight = (torch.rand(lives, episodes, recent, generator=generator) < 0.7).double()
    return weights, steps, weight


def by_the_library(weights, steps, weight):
    """One life's loss: `conv1d` over each episode, everything else written out."""
    first, second = CHANNELS
    shapes = [(6 * WIDTH, first), (4 * first, second), (second, CONTEXT), (WIDTH + CONTEXT, HIDDEN), (HIDDEN, 1)]
    layers, at = [], 0
    for before, after in shapes:
        matrix = weights[at : at + before * after].view(before, after)
        layers.append((matrix, weights[at + before * after : at + before * after + after]))
        at += before * after + after
    values = steps.transpose(1, 2)
    for (matrix, bias), kernel, stride in zip(layers[:2], (6, 4), (5, 2), strict=True):
        windows = max(0, -(-(values.shape[2] - kernel) // stride)) + 1
        values = functional.pad(values, (kernel + (windows - 1) * stride - values.shape[2], 0))
        kernels = matrix.view(kernel, -1, matrix.shape[1]).permute(2, 1, 0)
        values = functional.conv1d(values, kernels, bias, stride=stride).tanh()
    context = (values.mean((0, 2)) @ layers[2][0] + layers[2][1]).tanh()
    total = 0.0
    for episode in range(len(steps)):
        for t in range(weight.shape[1]):
            row = torch.cat([steps[episode, steps.shape[1] - weight.shape[1] + t], context])
            hidden = (row @ layers[3][0] + layers[3][1]).tanh()
            total += weight[episode, t] * (hidden @ layers[4][0] + layers[4][1])[0]
    return total / weight.sum()


@pytest.mark.parametrize("length", [30, 24, 21, 8, 6, 3])
def test_every_life_by_its_own_weights(length):
    weights, steps, weight = data(length=length, recent=min(3, length))
    weight[:, 0, 0] = 1.0
    found = network()(weights, steps, weight)
    expected = torch.stack([by_the_library(*row) for row in zip(weights, steps, weight, strict=True)])
    torch.testing.assert_close(found, expected)


def test_of_a_life_that_weighs_one_step_by_hand():
    """Weights all 0 but the last bias and one path: loss = 0.5 tanh(2 x) + 0.25 at the last step's first entry x."""
    net = network()
    parts = torch.zeros(net.size)
    parts[-1] = 0.25
    parts[-HIDDEN - 1] = 0.5  # from the first hidden unit
    first_of_dense = net.size - 1 - HIDDEN - HIDDEN - (WIDTH + CONTEXT) * HIDDEN
    parts[first_of_dense] = 2.0
    steps = torch.zeros(1, 1, 12, WIDTH)
    steps[0, 0, -1, 0] = 0.3
    weight = torch.zeros(1, 1, 5)
    weight[0, 0, -1] = 1.0
    expected = 0.5 * torch.tensor(0.6).tanh() + 0.25
    torch.testing.assert_close(net(parts[None], steps, weight), expected[None])


def test_what_came_before_the_last_round_tells_by_the_context_alone():
    weights, steps, weight = data()
    before = network()(weights, steps, weight)
    steps[:, :, 0] += 1.0
    assert (network()(weights, steps, weight) != before).all()


@pytest.mark.parametrize("length", [1, 4, 5, 6, 7, 8, 10, 16, 20, 21, 40, 60])
def test_the_context_reads_every_step_that_is_remembered(length):
    """No step but the first weighs, so that all others tell by the context alone."""
    net = network()
    weights, steps, _ = data(length=length)
    weight = torch.zeros(3, 2, length)
    weight[:, :, 0] = 1.0
    steps.requires_grad_()
    (slope,) = torch.autograd.grad(net(weights, steps, weight).sum(), steps)
    assert (slope.abs().amax((0, 1, 3)) > 1e-9).all()


def test_first_weights_have_no_biases_and_are_within_reach():
    net = network()
    first = net.initial(torch.Generator().manual_seed(0))
    assert first.shape == (net.size,)
    assert (first == 0).sum() == sum(CHANNELS) + CONTEXT + HIDDEN + 1
    assert first[: 6 * WIDTH * CHANNELS[0]].abs().max() <= (6 / (6 * WIDTH + CHANNELS[0])) ** 0.5

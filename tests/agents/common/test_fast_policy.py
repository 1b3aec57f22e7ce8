"""Batched fast weights against one network at a time."""

import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

from agents.common import fast_policy
from agents.common.fast_policy import FastMLP, FastPolicy

CPU = torch.device("cpu")


def _one_network(sizes, parameters):
    """The same network as modules, as `torch.nn` has it."""
    layers, begin = [], 0
    for before, after in pairwise(sizes):
        layer = torch.nn.Linear(before, after)
        weight, bias = parameters[begin:][: before * after], parameters[begin + before * after :][:after]
        layer.load_state_dict({"weight": weight.view(before, after).T, "bias": bias})
        layers += [layer, torch.nn.Tanh()]
        begin += before * after + after
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("rows", [1, 14, 10_000])
def test_loop_vmap_and_batched_products_agree(rows, monkeypatch):
    monkeypatch.setattr(fast_policy, "ROWS", rows)  # the last group is smaller than the others
    sizes, generator = (3, 8, 5, 2), torch.Generator().manual_seed(0)
    network = FastMLP(sizes, "tanh")
    parameters = torch.stack([network.initial(generator) for _ in range(5)])
    parameters += 0.1 * torch.randn(parameters.shape, generator=generator)
    inputs = torch.randn(5, 7, 3, generator=generator)
    found = network(parameters, inputs)
    networks = [_one_network(sizes, row) for row in parameters]
    looped = torch.stack([net(some) for net, some in zip(networks, inputs, strict=True)])
    stacked = {
        name: torch.stack([dict(net.named_parameters())[name] for net in networks]) for name in networks[0].state_dict()
    }
    mapped = vmap(lambda weights, some: functional_call(networks[0], weights, (some,)))(stacked, inputs)
    torch.testing.assert_close(found, looped, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, mapped, atol=1e-5, rtol=1e-5)


def test_actions_cover_the_space_whatever_its_size():
    space = gym.spaces.Box(np.array([-0.1, 4.0], dtype=np.float32), np.array([0.1, 10.0], dtype=np.float32))
    policy = FastPolicy(2, space, (4,), "relu", std=0.5, least_std=0.0, device=CPU)
    start = policy.initial(torch.Generator().manual_seed(0))[None]
    distribution = policy(start, torch.zeros(1, 1, 2))
    torch.testing.assert_close(distribution.mean, torch.tensor([[[0.0, 7.0]]]))
    torch.testing.assert_close(distribution.log_std.exp(), torch.tensor([[[0.05, 1.5]]]))
    drawn = policy(start, torch.zeros(1, 20_000, 2)).sample(torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.std((0, 1)), torch.tensor([0.05, 1.5]), rtol=0.03, atol=0)


def test_an_unbounded_space_has_unit_scale():
    space = gym.spaces.Box(-np.inf, np.inf, (1,))
    policy = FastPolicy(1, space, (), "tanh", std=1.0, least_std=0.0, device=CPU)
    distribution = policy(torch.zeros(1, policy.size), torch.zeros(1, 1, 1))
    assert (distribution.mean.item(), distribution.log_std.item()) == (0.0, 0.0)


def test_the_standard_deviation_has_a_floor_and_can_leave_it():
    space = gym.spaces.Box(-1.0, 1.0, (1,))
    policy = FastPolicy(1, space, (), "tanh", std=1.0, least_std=0.3, device=CPU)
    parameters = torch.zeros(2, policy.size)
    parameters[:, -1] = torch.tensor([-5.0, math.log(0.4)])
    parameters.requires_grad_()
    std = policy.std(parameters)
    torch.testing.assert_close(std, torch.tensor([[0.3], [0.5]]), atol=1e-3, rtol=0)
    (slope,) = torch.autograd.grad(std.sum(), parameters)
    assert (slope[:, -1] > 0).all()


def test_first_weights_by_hand():
    """Sizes 3, 5, 2, 4: reaches sqrt(6 / 8), sqrt(6 / 7), and a hundredth of sqrt(6 / 6)."""
    network = FastMLP((3, 5, 2, 4), "tanh")
    weights = network.initial(torch.Generator().manual_seed(0), last=0.01)
    draw = torch.Generator().manual_seed(0)
    expected = []
    for size, outputs, reach in ((15, 5, math.sqrt(6 / 8)), (10, 2, math.sqrt(6 / 7)), (8, 4, 0.01)):
        expected += [(2 * torch.rand(size, generator=draw) - 1) * reach, torch.zeros(outputs)]
    assert network.size == len(weights) == 15 + 5 + 10 + 2 + 8 + 4
    torch.testing.assert_close(weights, torch.cat(expected))


def test_numbers_are_no_continuous_actions():
    policy = FastPolicy(2, gym.spaces.Discrete(3), (4,), "relu", std=0.5, least_std=0.0, device=CPU)
    assert not policy.continuous
    assert policy.size == 2 * 4 + 4 + 4 * 3 + 3


@pytest.mark.parametrize("space", [gym.spaces.Discrete(3), gym.spaces.Box(-2.0, 2.0, (2,), np.float32)], ids=str)
def test_many_first_policies_are_drawn_as_one_is(space):
    """Sizes, biases and spreads by layer: those of 500 single ones."""
    policy = FastPolicy(4, space, (6,), "tanh", std=0.5, least_std=0.1, device=torch.device("cpu"))
    rows = policy.initial_rows(torch.Generator().manual_seed(0), 500)
    single = torch.stack([policy.initial(torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert rows.shape == single.shape
    assert torch.equal((rows == 0).all(0), (single == 0).all(0))
    assert len(rows[:, 0].unique()) == 500
    torch.testing.assert_close(rows.abs().amax(0), single.abs().amax(0), rtol=0.05, atol=1e-6)
    torch.testing.assert_close(rows.std(0), single.std(0), rtol=0.15, atol=1e-6)
    assert (rows.mean(0) - single.mean(0)).abs().max() < 0.15

"""Our Adam is torch's, without what that imports."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from agents.common.optimiser import Adam, load_optimizer


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def descend(network, optimizer, steps, first=0):
    """`steps` steps; the last layer has a gradient in every other one alone."""
    for step in range(first, first + steps):
        inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(inputs).square().sum().backward()
        if step % 2:
            for parameter in network[2].parameters():
                parameter.grad = None
        optimizer.step()


def same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.99)])
def test_it_is_that_of_torch_to_the_bit(betas):
    ours, theirs = model(), model()
    descend(ours, Adam(ours.parameters(), 0.02, betas), 20)
    descend(theirs, torch.optim.Adam(theirs.parameters(), 0.02, betas, fused=True), 20)
    same(ours, theirs)


def test_a_step_by_hand():
    parameter = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = Adam([parameter], 0.1)
    for gradient in ([3.0, 0.0], [1.0, -4.0]):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    first = 1.0 - 0.1  # whatever the gradient's length, by its sign
    mean, square = (0.9 * 0.3 + 0.1) / (1 - 0.9**2), (0.999 * 0.009 + 0.001) / (1 - 0.999**2)
    other, its = -0.4 / (1 - 0.9**2), 0.016 / (1 - 0.999**2)
    assert parameter.tolist() == pytest.approx([first - 0.1 * mean / square**0.5, -2.0 - 0.1 * other / its**0.5])


@pytest.mark.parametrize("order", ["ours to theirs", "theirs to ours", "ours to ours"])
def test_each_goes_on_from_the_state_of_the_other(order):
    whole, part = model(), model()
    descend(whole, torch.optim.Adam(whole.parameters(), 0.02, fused=True), 9)
    makers = {"ours": Adam, "theirs": lambda parameters, lr: torch.optim.Adam(parameters, lr, fused=True)}
    before, after = (makers[who](part.parameters(), 0.02) for who in order.split(" to "))
    descend(part, before, 5)
    if "theirs" in order:
        after.load_state_dict(
            copy.deepcopy(torch.optim.Adam(part.parameters(), 0.02, fused=True).state_dict())
            | {"state": before.state_dict()["state"]}
        )
    else:
        after.load_state_dict(before.state_dict())
    descend(part, after, 4, first=5)
    same(part, whole)


def test_a_state_is_copied_and_its_learning_rate_is_the_setting():
    network, other = model(), model()
    optimizer, late = Adam(network.parameters(), 0.5), Adam(other.parameters(), 0.25)
    descend(network, optimizer, 1)
    kept = optimizer.state_dict()
    load_optimizer(late, kept, 0.25)
    assert late.param_groups[0]["lr"] == 0.25
    moments = kept["state"][0]["exp_avg"].clone()
    descend(other, late, 3)
    assert torch.equal(kept["state"][0]["exp_avg"], moments)
    assert kept["state"][0]["step"] == 1


def test_a_state_of_other_parameters_is_refused():
    network = model()
    optimizer = Adam(network.parameters(), 0.1)
    descend(network, optimizer, 1)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="a state of 4 parameters, expected one of 2"):
        Adam(network[0].parameters(), 0.1).load_state_dict(state)
    wider = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"moments \[5, 3\] of a parameter \[5, 4\]"):
        Adam(wider.parameters(), 0.1).load_state_dict(state)


def test_a_copy_of_an_agent_has_an_optimiser_of_its_own():
    pair = (network := model(), Adam(network.parameters(), 0.1))
    descend(*pair, 2)
    other = copy.deepcopy(pair)
    descend(*other, 3, first=2)
    assert other[1].state.keys() == set(other[0].parameters())
    assert not torch.equal(other[0][0].weight, network[0].weight)
    descend(*pair, 3, first=2)
    same(other[0], network)


def test_a_run_imports_no_compiler_and_no_statistics_that_it_needs_not(tmp_path):
    words = ["train", "rl2-bandit", "training.iterations=1", "training.tasks=4", "training.episodes=3", "device=cpu"]
    words += ["evaluation.tasks=4", "evaluation.final_tasks=40", "--run", str(tmp_path / "run")]
    code = f"""
import sys
from registry.cli import main
assert main({words!r}) == 0
print([name for name in ("torch._dynamo", "torch._inductor", "scipy.stats", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

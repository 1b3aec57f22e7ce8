import math

import pytest
import torch

from agents.common.distributions import Categorical, MultiCategorical
from agents.common.losses import approximate_kl, clipped_surrogate, ppo_losses, weighted_mean
from agents.networks import kernels


def test_surrogate_is_clipped_only_where_that_is_pessimistic():
    log_ratio = torch.log(torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5]))
    advantage = torch.tensor([2.0, 1.0, -1.0, 1.0, -1.0])
    loss = clipped_surrogate(log_ratio, advantage, 0.2)
    torch.testing.assert_close(loss, -torch.tensor([2.0, 1.2, -1.5, 0.5, -0.8]))


def test_approximate_kl_is_exact_in_expectation():
    old, new = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
    estimate = (old * approximate_kl((new / old).log())).sum()
    exact = 0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5)
    torch.testing.assert_close(estimate, torch.tensor(exact))


def test_weighted_mean():
    assert weighted_mean(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 0.0, 3.0])) == 7.0


def _columns(rows, choices):
    torch.manual_seed(choices)
    logits, value = 3 * torch.randn(*rows, choices), torch.randn(rows)
    action = torch.randint(choices, rows)
    log_prob = Categorical(logits).log_prob(action) + 0.3 * torch.randn(rows)
    advantage, target, weight = torch.randn(rows), torch.randn(rows), (torch.rand(rows) < 0.8).float()
    advantage.view(-1)[0] = 0.0
    weight.view(-1)[-1] = 0.5
    return logits, value, action, log_prob, advantage, target, weight


def _found(logits, value, action, *columns):
    logits, value = logits.clone().requires_grad_(), value.clone().requires_grad_()
    losses = ppo_losses(Categorical(logits), value, action, *columns, clip=0.2)
    slope = torch.tensor([1.0, 0.5, -0.3, 7.0], dtype=losses.dtype)
    return losses.detach(), *torch.autograd.grad(losses @ slope, (logits, value))


@pytest.mark.parametrize(("rows", "choices"), [((10, 125), 5), ((1, 1), 1), ((3, 7), 2), ((2, 16), 40)])
def test_ppo_of_discrete_actions_and_its_gradients_are_those_of_double_precision(monkeypatch, rows, choices):
    given = _columns(rows, choices)
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    found = _found(*given)
    exact = _found(*(column.double() if column.is_floating_point() else column for column in given))
    monkeypatch.setenv(kernels.VARIABLE, "torch")
    for one, other, plain in zip(found, exact, _found(*given), strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(plain, other.float(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("way", ["compiled", "torch"])
def test_ppo_by_hand(monkeypatch, way):
    """Of what was played with 0.5 and 0.25, and a third step that does not count."""
    monkeypatch.setenv(kernels.VARIABLE, way)
    policy = Categorical(torch.tensor([0.8, 0.2]).log().expand(3, 2))
    columns = torch.tensor([[0.5, 0.25, 0.9], [1.0, -1.0, 50.0], [1.0, 4.0, 50.0], [1.0, 1.0, 0.0]])
    value, action = torch.full((3,), 3.0), torch.tensor([0, 1, 0])
    losses = ppo_losses(policy, value, action, columns[0].log(), *columns[1:], clip=0.2)
    surrogate = -(1.2 - 0.8) / 2  # ratios 1.6, which is clipped, and 0.8
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    divergence = (1.6 - 1 - math.log(1.6) + 0.8 - 1 - math.log(0.8)) / 2
    torch.testing.assert_close(losses, torch.tensor([surrogate, (4 + 1) / 2, entropy, divergence]))


def test_ppo_of_what_is_no_number_is_none(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    for place in (0, 1, 3, 4, 5):
        given = [column.clone() for column in _columns((2, 20), 3)]
        given[place].view(-1)[30] = float("nan")
        losses, *slopes = _found(*given)
        expected = {0: [0, 2, 3], 1: [1], 3: [0, 3], 4: [0], 5: [1]}[place]
        assert losses.isnan().nonzero()[:, 0].tolist() == expected
        assert slopes[place in (1, 5)].isnan().any()


def test_ppo_refuses_actions_that_there_are_none_of(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    logits, value, action, *columns = _columns((2, 20), 3)
    for strange in (3, -1):
        action[1, 7] = strange
        with pytest.raises(IndexError, match="an action beyond the 3 that there are"):
            ppo_losses(Categorical(logits), value, action, *columns, clip=0.2)


def test_ppo_of_actions_that_a_kernel_would_misread_is_left_to_torch(monkeypatch):
    logits, value, action, *columns = _columns((2, 20), 3)
    monkeypatch.setattr(kernels.Kernels, "call", None)  # nothing may ask it
    for strange in (action.int(), action[:, :1]):
        found = {}
        for way in ("compiled", "torch"):
            monkeypatch.setenv(kernels.VARIABLE, way)
            found[way] = ppo_losses(Categorical(logits), value, strange, *columns, clip=0.2)
        assert torch.equal(found["compiled"], found["torch"])


def test_gradients_of_ppo_s_gradients(monkeypatch):
    logits, value, action, *columns = _columns((2, 20), 3)
    logits, value = logits.requires_grad_(), value.requires_grad_()

    def second(*wanted):
        losses = ppo_losses(Categorical(logits), value, action, *columns, clip=0.2)
        slopes = torch.autograd.grad(losses @ torch.tensor([1.0, 0.5, -0.3, 0.0]), wanted, create_graph=True)
        return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), wanted)

    for wanted in ((logits, value), (value,)):
        found = {}
        for way in ("compiled", "torch"):
            monkeypatch.setenv(kernels.VARIABLE, way)
            found[way] = second(*wanted)
        torch.testing.assert_close(found["compiled"], found["torch"])
        assert found["compiled"][-1].any()


def test_ppo_of_several_choices_weighs_their_joint_probability():
    logits = torch.tensor([[0.8, 0.2, 0.5, 0.5]]).log()
    one = torch.ones(1)
    action = torch.tensor([[0, 1]])
    losses = ppo_losses(MultiCategorical(logits, (2, 2)), one, action, torch.tensor([0.4]).log(), one, one, one, 0.2)
    assert losses[0] == pytest.approx(-1.0)  # as probable as before: 0.8 x 0.5

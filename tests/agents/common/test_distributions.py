import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.common.distributions import (
    ActionBox,
    Categorical,
    DiagonalGaussian,
    Mixed,
    MultiCategorical,
    PolicyHead,
    SquashedGaussian,
    action_size,
)
from registry.errors import UserError


def test_categorical_samples_with_its_probabilities():
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    policy = Categorical(probabilities.log().expand(40_000, 3))
    drawn = torch.bincount(policy.sample(torch.Generator().manual_seed(0)), minlength=3) / 40_000
    assert (drawn - probabilities).abs().max() < 4 * (0.25 / 40_000) ** 0.5
    torch.testing.assert_close(policy.log_prob(torch.ones(40_000, dtype=torch.int64))[0].exp(), torch.tensor(0.6))
    expected = -(probabilities * probabilities.log()).sum()
    torch.testing.assert_close(policy.entropy()[0], expected)


def test_gaussian_agrees_with_torch():
    mean, log_std = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([0.1, -0.7])
    ours = DiagonalGaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    action = torch.tensor([[0.0, 0.3], [1.0, -2.0]])
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    sample = DiagonalGaussian(mean[:1].expand(40_000, 2), log_std).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(sample.std(0), log_std.exp(), atol=0.03, rtol=0)


def test_squashed_density_is_the_slope_of_its_distribution_function():
    """P(tanh(x) <= a) = Phi((atanh a - mean) / std), differentiated by central differences."""
    mean, std = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    action = torch.tensor([[-0.95], [-0.3], [0.0], [0.6], [0.99]], dtype=torch.float64)

    def below(a):
        return torch.special.ndtr((a.atanh() - mean) / std)

    slope = (below(action + 1e-6) - below(action - 1e-6)) / 2e-6
    density = SquashedGaussian(mean, std.log()).log_prob(action).exp()
    torch.testing.assert_close(density, slope[:, 0], rtol=1e-6, atol=0)


def test_squashed_samples_know_their_density_even_at_the_edge():
    generator = torch.Generator().manual_seed(0)
    policy = SquashedGaussian(torch.zeros(1000, 2), torch.zeros(2))
    action, log_prob = policy.sample_with_log_prob(generator)
    assert (action.abs() < 1).all()
    torch.testing.assert_close(log_prob, policy.log_prob(action), atol=2e-3, rtol=1e-3)
    far = SquashedGaussian(torch.full((100, 1), 60.0), torch.zeros(1))
    _, log_prob = far.sample_with_log_prob(generator)
    assert log_prob.isfinite().all()
    assert (log_prob > 100).all()  # 2 * 60 - log 4 on average: all of the mass is at the edge


def test_squashed_samples_carry_gradients():
    mean = torch.zeros(1, requires_grad=True)
    action, log_prob = SquashedGaussian(mean, torch.zeros(1)).sample_with_log_prob(torch.Generator().manual_seed(0))
    (action.sum() + log_prob).backward()
    # d tanh(u)/du = 1 - a^2;  d log p/du at fixed noise = 2 tanh(u), from -log(1 - tanh(u)^2)
    torch.testing.assert_close(mean.grad, (1 - action**2 + 2 * action).detach())


def test_action_box_maps_the_unit_box():
    box = ActionBox(gym.spaces.Box(np.array([-0.1, 2, -np.inf], np.float32), np.array([0.1, 6, 5], np.float32)))
    torch.testing.assert_close(box.from_unit(torch.tensor([1.0, -1.0, 0.3])), torch.tensor([0.1, 2.0, 4.3]))
    action = torch.tensor([[0.05, 4.5, -7.0]])
    torch.testing.assert_close(box.to_unit(action), torch.tensor([[0.5, 0.25, -11.0]]))
    torch.testing.assert_close(box.from_unit(box.to_unit(action)), action)


def test_the_unit_box_of_an_open_axis_lies_at_its_bound_and_of_a_flat_one_around_it():
    low, high = np.array([2, -np.inf, -np.inf, 3], np.float32), np.array([np.inf, 5, np.inf, 3], np.float32)
    box = ActionBox(gym.spaces.Box(low, high))
    torch.testing.assert_close(box.centre, torch.tensor([3.0, 4.0, 0.0, 3.0]))
    torch.testing.assert_close(box.half_range, torch.ones(4))


def test_several_choices_at_once_by_hand():
    logits = torch.tensor([[0.5, 0.5, 0.7, 0.2, 0.1]]).log()
    policy = MultiCategorical(logits, (2, 3))
    found = policy.log_prob(torch.tensor([[1, 2]]))
    torch.testing.assert_close(found, torch.tensor([math.log(0.5 * 0.1)]))
    entropy = math.log(2) - 0.7 * math.log(0.7) - 0.2 * math.log(0.2) - 0.1 * math.log(0.1)
    torch.testing.assert_close(policy.entropy(), torch.tensor([entropy]))
    drawn = MultiCategorical(logits.expand(40_000, 5), (2, 3)).sample(torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    shares = [(drawn[:, 0] == 0).float().mean(), *((drawn[:, 1] == choice).float().mean() for choice in range(3))]
    torch.testing.assert_close(torch.stack(shares), torch.tensor([0.5, 0.7, 0.2, 0.1]), atol=0.01, rtol=0)
    first, second = drawn.float().T
    assert abs(float(((first - first.mean()) * (second - second.mean())).mean())) < 0.01


def test_numbers_and_choices_at_once_by_hand():
    numbers = DiagonalGaussian(torch.tensor([[1.0]]), torch.tensor([math.log(2.0)]))
    policy = Mixed(numbers, MultiCategorical(torch.tensor([[0.25, 0.75]]).log(), (2,)))
    density = 1 / (2 * math.sqrt(2 * math.pi)) * math.exp(-0.5)  # one standard deviation from the mean
    found = policy.log_prob(torch.tensor([[3.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([math.log(density * 0.75)]))
    entropy = 0.5 * math.log(2 * math.pi * math.e * 4) - 0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    torch.testing.assert_close(policy.entropy(), torch.tensor([entropy]))
    drawn = policy.sample(torch.Generator().manual_seed(0))
    assert (drawn.shape, drawn.dtype) == ((1, 2), torch.float32)
    assert drawn[0, 1] in (0, 1)


@pytest.mark.parametrize(
    ("space", "kind", "row"),
    [
        (gym.spaces.MultiDiscrete([2, 3]), MultiCategorical, (7, 2)),
        (gym.spaces.Tuple((gym.spaces.Box(-2, 2, (2,)), gym.spaces.MultiDiscrete([2, 3]))), Mixed, (7, 4)),
    ],
)
def test_a_policy_has_a_head_for_every_part(space, kind, row):
    head = PolicyHead(3, space, std=0.5)
    policy = head(torch.zeros(7, 3))
    assert isinstance(policy, kind)
    assert policy.sample(torch.Generator().manual_seed(0)).shape == row
    choices = policy if kind is MultiCategorical else policy.choices
    assert [part.log_probabilities.shape[-1] for part in choices.parts] == [2, 3]
    if kind is Mixed:
        torch.testing.assert_close(policy.numbers.log_std.exp(), torch.ones(2))  # half a half-range of 2
    assert action_size(space) == head.linear.out_features


def test_gaussian_policy_is_measured_in_half_ranges():
    head = PolicyHead(3, gym.spaces.Box(np.array([-0.1, 2], np.float32), np.array([0.1, 6], np.float32)), std=0.5)
    policy = head(torch.zeros(1, 3))
    assert isinstance(policy, DiagonalGaussian)
    torch.testing.assert_close(policy.mean, torch.tensor([[0.0, 4.0]]))
    torch.testing.assert_close(policy.log_std.exp(), torch.tensor([0.05, 1.0]))
    unit = PolicyHead(3, gym.spaces.Box(-1, 1, (2,)))(torch.zeros(1, 3))
    torch.testing.assert_close(unit.log_std, torch.zeros(2))


def test_unsupported_action_space_is_named():
    assert action_size(gym.spaces.Discrete(3)) == 3
    assert action_size(gym.spaces.Box(-1, 1, (4,))) == 4
    with pytest.raises(UserError, match=r"MultiBinary.*not what agents answer in: Discrete"):
        action_size(gym.spaces.MultiBinary(2))


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_is_widened_and_double_precision_kept(given, kept):
    values = torch.tensor([[0.5, -1.0]], dtype=given)
    assert Categorical(values).log_prob(torch.tensor([0])).dtype == kept
    assert DiagonalGaussian(values, values[0]).entropy().dtype == kept


def test_any_axes_may_lead():
    numbers = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([[0, 1, 2], [3, 0, 1]])
    deep, flat = Categorical(numbers), Categorical(numbers.view(6, 4))
    torch.testing.assert_close(deep.log_prob(chosen).flatten(), flat.log_prob(chosen.flatten()))
    torch.testing.assert_close(deep.entropy().flatten(), flat.entropy())
    drawn = [policy.sample(torch.Generator().manual_seed(1)).flatten() for policy in (deep, flat)]
    assert torch.equal(*drawn)
    spread = torch.tensor([0.0, -1.0, 0.5, 0.2])
    for kind in (DiagonalGaussian, SquashedGaussian):
        deep, flat = kind(numbers, spread), kind(numbers.view(6, 4), spread)
        action = numbers.flip(0).tanh()
        torch.testing.assert_close(deep.log_prob(action).flatten(), flat.log_prob(action.view(6, 4)))
    assert DiagonalGaussian(numbers, spread).entropy().shape == (2, 3)


def test_the_density_at_the_edge_of_the_box_is_finite():
    density = SquashedGaussian(torch.zeros(2, 1), torch.zeros(1)).log_prob(torch.tensor([[-1.0], [1.0]]))
    assert density.isfinite().all()
    assert density[0] == density[1]


def test_boxes_of_two_axes_are_refused():
    with pytest.raises(UserError, match="Box with one axis"):
        action_size(gym.spaces.Box(-1, 1, (2, 2)))


@pytest.mark.parametrize("alike", [2, 3, 7])
def test_rows_after_one_another_may_have_the_same_luck(alike):
    logits, mean = torch.zeros(5, 4, 3), torch.zeros(5, 4, 2)
    for policy in (Categorical(logits), DiagonalGaussian(mean, torch.zeros(2))):
        drawn = policy.sample(torch.Generator().manual_seed(0), alike)
        assert len(drawn) == 5
        for row in range(5):
            assert torch.equal(drawn[row], drawn[row // alike * alike])
        starts = drawn[::alike]
        assert len({tuple(row.flatten().tolist()) for row in starts}) == len(starts)

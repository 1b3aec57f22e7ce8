"""The discriminators' maths against hand-computed values, and what a planner makes of their rewards."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from plugins.families import grids
from plugins.families.grid_navigation import MOVES
from plugins.rewards.discriminator import Discriminators, Features, count_features, perceptron
from plugins.rewards.learned_discriminator import LearnedDiscriminator, LearnedDiscriminatorConfig
from plugins.rewards.random_discriminator import RandomDiscriminator, RandomDiscriminatorConfig
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.artefacts import Artefact
from taskgen.build import build_family
from taskgen.reward import build_rewards
from taskgen.spec import RewardSpec, TaskSpec


def layer(weight: list[list[float]], bias: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([weight], dtype=torch.float64), torch.tensor([bias], dtype=torch.float64)


def test_a_perceptron_by_hand() -> None:
    networks = [layer([[1.0, -1.0], [2.0, 0.0]], [0.0, -1.0]), layer([[1.0, 1.0], [0.0, 1.0]], [0.5, 0.0])]
    # (1, 3): hidden (-2, 1) -> (0, 1); out (0 + 1 + 0.5, 1)
    # (2, 1): hidden (1, 3);            out (1 + 3 + 0.5, 3)
    features = torch.tensor([[1.0, 3.0], [2.0, 1.0]], dtype=torch.float64).T
    one = [(weight[0], bias[0][:, None]) for weight, bias in networks]
    assert perceptron(one, features).T.tolist() == [[1.5, 1.0], [4.5, 3.0]]
    many = [(weight[0].T[:, :, None].expand(-1, -1, 2), bias.T.expand(-1, 2)) for weight, bias in networks]
    assert perceptron(many, features).T.tolist() == [[1.5, 1.0], [4.5, 3.0]]


def test_the_reward_is_the_log_posterior_minus_the_log_prior() -> None:
    two = [layer([[1.0], [0.0], [0.0]], [0.0, 0.0, 0.0])]
    skill = torch.tensor([0, 1])
    reward = Discriminators(two, torch.zeros_like(skill), skill).reward(torch.ones(2, 1, dtype=torch.float64))
    total = math.e + 2.0
    assert reward.tolist() == pytest.approx([math.log(math.e / total * 3.0), math.log(1.0 / total * 3.0)])


def test_networks_of_many_seeds_equal_each_by_itself() -> None:
    family = build_family("point-navigation")
    configs = [RandomDiscriminatorConfig(seed=seed, skill=seed % 3, gain=1.0 + seed) for seed in range(5)]
    observation = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    together = RandomDiscriminator(configs, family=family, device="cpu")(observation, observation, observation)
    alone = [
        RandomDiscriminator([config], family=family, device="cpu")(row, row, row)
        for config, row in zip(configs, observation.split(1), strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))


def test_skills_of_one_network_are_a_distribution() -> None:
    family = build_family("half-cheetah")
    configs = [RandomDiscriminatorConfig(seed=9, skill=skill) for skill in range(10)]
    state = torch.randn(1, 17, generator=torch.Generator().manual_seed(0)).expand(10, -1)
    reward = RandomDiscriminator(configs, family=family, device="cpu")(state, state, state)
    assert float((reward.double().exp() / 10).sum()) == pytest.approx(1.0, abs=1e-6)


def test_unseen_features_pay_nothing() -> None:
    family = build_family("half-cheetah")
    function = RandomDiscriminator([RandomDiscriminatorConfig(features=(8,))], family=family, device="cpu")
    state, other = torch.zeros(1, 17), torch.randn(1, 17)
    other[0, 8] = 0.0
    assert torch.equal(function(state, state, state), function(other, other, other))
    other[0, 8] = 1.0
    assert not torch.equal(function(state, state, state), function(other, other, other))


def test_the_seed_alone_rebuilds_the_network() -> None:
    """The value is pinned: another version or machine must pay the same up to the last bit of single precision."""
    family = build_family("point-navigation")
    state = torch.tensor([[0.25, -0.5]])
    function = RandomDiscriminator([RandomDiscriminatorConfig(seed=3, skill=7)], family=family, device="cpu")
    assert float(function(state, state, state)) == pytest.approx(-2.2606168, rel=1e-6)


def _best_cell(spec: TaskSpec) -> int:
    """Where a planner that knows the reward is after an episode of `grid-navigation`, by exact dynamic programming."""
    family = build_family("grid-navigation")
    cells = torch.stack([torch.arange(25) // 5, torch.arange(25) % 5], dim=1).to(torch.float32)
    assert spec.reward is not None
    function = build_rewards([spec.reward] * 25, family, "cpu")
    paid = function(cells, torch.zeros(25, dtype=torch.int64), cells).numpy()
    after = grids.neighbours(5, MOVES).numpy()
    value = np.zeros(25)
    choices: list[np.ndarray] = []
    for _ in range(family.horizon):
        worth = paid[after] + value[after]
        choices.append(worth.argmax(1))
        value = worth.max(1)
    cell = 0
    for choice in reversed(choices):
        cell = int(after[cell, choice[cell]])
    return cell


def test_a_planner_goes_to_different_cells_for_different_skills() -> None:
    family = build_family("grid-navigation")
    reached = [
        _best_cell(family.spec(reward=RewardSpec("random-discriminator", {"seed": 1, "skill": skill})))
        for skill in range(10)
    ]
    assert len(set(reached)) >= 4, reached
    again = [
        _best_cell(
            TaskSpec.from_json(
                family.spec(reward=RewardSpec("random-discriminator", {"seed": 1, "skill": skill})).to_json()
            )
        )
        for skill in range(10)
    ]
    assert again == reached


def test_features_by_hand() -> None:
    numbers = [torch.tensor(values, dtype=torch.float64) for values in ([1.0, 2.0], [2.0, 0.5])]
    seen = Features(gym.spaces.Box(-9, 9, (2, 2)), (3, 0), *numbers)
    assert seen(torch.tensor([[[5.0, 6.0], [7.0, 8.0]]])).tolist() == [[3.5, 6.0]]  # (8 - 1) / 2, (5 - 2) / 0.5
    zero, half = torch.tensor(0.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    assert Features(gym.spaces.Discrete(3), (), zero, half)(torch.tensor([2, 0])).tolist() == [[0, 0, 2], [2, 0, 0]]


def test_features_are_counted() -> None:
    box = gym.spaces.Box(-1, 1, (2, 3))
    assert count_features(box, (), "test") == 6
    assert count_features(box, (0, 5), "test") == 2
    assert count_features(gym.spaces.Discrete(4), (), "test") == 4
    for beyond in (6, -1):
        with pytest.raises(TaskError, match=f"features: {beyond} is no entry .* allowed are 0 to 5"):
            count_features(box, (beyond,), "test")
    with pytest.raises(TaskError, match="needs Box or Discrete"):
        count_features(gym.spaces.MultiBinary(2), (), "test")


def _saved(weight: list[list[float]], bias: list[float], shift: float, scale: float) -> str:
    """A discriminator of point-navigation's observations without a hidden layer."""
    tensors = {
        "weight.0": np.array(weight),
        "bias.0": np.array(bias),
        "shift": np.full(2, shift),
        "scale": np.full(2, scale),
        "features": np.array([], dtype=np.int64),
    }
    space = str(build_family("point-navigation").observation_space)
    return artefacts.save(Artefact(tensors, {"observation": space, "skills": str(len(bias))}))


def test_learned_discriminators_by_hand(tmp_path, monkeypatch) -> None:
    """Two of them in one batch, each with its own slots; (x - 1) / 2 of (3, 5) is (1, 2)."""
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    two = _saved([[math.log(2.0), 0.0], [0.0, 0.0]], [0.0, 0.0], 1.0, 2.0)  # logits log 2, 0: D = 2/3, 1/3
    three = _saved([[0.0, 0.0]] * 3, [0.0, math.log(3.0), 0.0], 0.0, 1.0)  # D = 1/5, 3/5, 1/5
    family = build_family("point-navigation")
    configs = [
        LearnedDiscriminatorConfig(artefact=artefact, skill=skill)
        for artefact, skill in ((three, 1), (two, 0), (three, 2), (two, 1))
    ]
    state = torch.tensor([[3.0, 5.0]]).expand(4, -1)
    elsewhere = torch.zeros(4, 2)  # only where the step leads to counts
    expected = [math.log(3 * 3 / 5), math.log(2 * 2 / 3), math.log(3 / 5), math.log(2 / 3)]
    together = LearnedDiscriminator(configs, family=family, device="cpu")
    assert together(elsewhere, elsewhere, state).tolist() == pytest.approx(expected, abs=1e-6)
    assert together.descriptor().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    alone = LearnedDiscriminator(configs[1::2], family=family, device="cpu")
    assert alone(elsewhere[:2], elsewhere[:2], state[:2]).tolist() == pytest.approx(expected[1::2], abs=1e-6)
    with pytest.raises(TaskError, match="skill = 2: artefact .* has skills 0 to 1"):
        LearnedDiscriminator([LearnedDiscriminatorConfig(artefact=two, skill=2)], family=family, device="cpu")


def test_the_last_skill_is_one_and_the_next_is_none() -> None:
    family = build_family("point-navigation")
    RandomDiscriminator([RandomDiscriminatorConfig(skills=3, skill=2)], family=family, device="cpu")
    with pytest.raises(TaskError, match="skill = 3: allowed are 0 to 2"):
        RandomDiscriminator([RandomDiscriminatorConfig(skills=3, skill=3)], family=family, device="cpu")

"""Rounds of episodes side by side: what belongs to which life, and where returns end."""

import pytest
import torch

from agents.common.encoding import StepEncoder
from agents.common.side_by_side import abreast, played, returns_of
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect


class SideBySide:
    """The random player, two episodes of each task at once."""

    def __init__(self, problem):
        self._player = build_agent(Part(name="random"), problem)

    def __getattr__(self, name):
        return getattr(self._player, name)

    def plan(self, episodes):
        return abreast(episodes, 2)


def one_round(name, tasks=3):
    family = build_family(name, {"horizon": 2})
    agent = SideBySide(problem_of(family, episodes=2, seed=0, device=torch.device("cpu")))
    batch = family.batch(2 * tasks)
    specs = [family.spec(seed=seed) for seed in range(tasks)]
    rollout = collect(agent, batch, specs, plan=agent.plan(2)).rounds[0]
    return rollout, StepEncoder(family.observation_space, family.action_space)


def test_rounds_of_episodes():
    assert abreast(6, 2) == CollectionPlan(3, 2, side_by_side=True)
    assert abreast(2, 20) == CollectionPlan(1, 2, side_by_side=True)
    with pytest.raises(UserError, match="7 episodes do not divide into rounds of 2 .* ask for 6 or 8"):
        abreast(7, 2)


@pytest.mark.parametrize("lives", [1, 3])
def test_slots_are_those_of_their_life_and_rewards_are_scaled(lives):
    rollout, encoder = one_round("point-navigation")
    data = played(rollout, encoder, lives, torch.tensor(4.0))
    assert data.reward.shape == (lives, 2, 6 // lives)
    for slot in range(6):
        life, place = divmod(slot, 6 // lives)
        torch.testing.assert_close(data.reward[life, :, place], rollout.reward[:, slot] / 4)
        assert torch.equal(data.following[life, 0, place], data.observation[life, 1, place])


@pytest.mark.parametrize(("family", "at_the_end"), [("point-navigation", 5.0), ("discounting-chain", 0.0)])
def test_a_cut_episode_is_bootstrapped_and_one_that_terminates_is_not(family, at_the_end):
    rollout, encoder = one_round(family)
    data = played(rollout, encoder, 1, torch.ones(()))
    returns = returns_of(data, torch.full_like(data.reward, 10.0), 0.5, 1.0)
    last = data.reward[0, 1] + at_the_end
    torch.testing.assert_close(returns[0, 1], last)
    torch.testing.assert_close(returns[0, 0], data.reward[0, 0] + 0.5 * last)

"""What a family shows lies in its observation space, number by number, or that is told by family, part and value."""

import logging
import re

import gymnasium as gym
import numpy as np
import pytest
import torch

from registry.config import Part
from registry.errors import PluginError, UserError
from taskgen.engines.toys import OBSERVED, SpaceToy, SpaceToyConfig
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.observing import _REMARKED
from taskgen.interaction.playing import TrialPlayer
from taskgen.spaces import bounds, leaves, pack

HORIZON = 3


class Shows(SpaceToy):
    """Shows what `odd` makes of an observation, `from_step` of an episode on."""

    odd = staticmethod(torch.clone)
    from_step = 0

    def batch(self, slots, device="cpu"):
        made = super().batch(slots, device)
        observe = made.dynamics.observe

        def shown(tables, state):
            right = observe(tables, state)
            return torch.where(made._time.view(-1, *[1] * (right.ndim - 1)) >= self.from_step, self.odd(right), right)

        made.dynamics.observe = shown
        return made


def family(space):
    toy = Shows(SpaceToyConfig(horizon=HORIZON), name="mine/world")
    toy.observation_space = space
    return toy


def play(toy, agent):
    player = build_agent(Part(name=agent), problem_of(toy, episodes=2, seed=0, device=torch.device("cpu")))
    return collect(player, toy.batch(4), [toy.spec(seed=seed) for seed in range(4)], plan=player.plan(2))


def cases():
    """Of every space every kind of number that it does not hold: beyond an end, or between two whole ones."""
    for name, space in OBSERVED.items():
        low, high, whole = bounds(space)
        packed = pack(space, space.sample()).dtype
        for leaf in leaves(space):
            for end, beyond in ((low[leaf.first], -1), (high[leaf.first], 1)):
                if np.isfinite(end) and packed != np.uint8:
                    yield pytest.param(
                        name, leaf.first, end + beyond, whole[leaf.first], id=f"{name}-{leaf.path}{beyond}"
                    )
            if whole[leaf.first] and packed == np.float32:
                yield pytest.param(name, leaf.first, low[leaf.first] + 0.5, True, id=f"{name}-{leaf.path}-half")


def with_number(place, value):
    def odd(right):
        flat = right.reshape(len(right), -1).clone()
        flat[2, place] = value
        return flat.view(right.shape)

    return odd


@pytest.mark.parametrize("from_step", [0, 2])
@pytest.mark.parametrize("agent", ["rl2", "random"])
@pytest.mark.parametrize(("name", "place", "value", "whole"), list(cases()))
def test_a_number_that_the_space_does_not_hold(name, place, value, whole, agent, from_step, caplog):
    toy = family(OBSERVED[name])
    toy.odd, toy.from_step = with_number(place, value), from_step
    _REMARKED.clear()
    said = rf"gave an observation with {re.escape(f'{value:g}')}( in its part \S+)?, which .* does not hold"
    if whole:
        with pytest.raises(PluginError, match=rf"(reset|step) {said}"):
            play(toy, agent)
        return
    with caplog.at_level(logging.WARNING):
        play(toy, agent)
    assert re.search(rf"mine/world: (reset|step) {said}", caplog.text)
    assert caplog.text.count("agents read it as it is") <= 2  # of a reset and of a step


@pytest.mark.parametrize("name", OBSERVED)
def test_what_the_space_holds_is_not_remarked_on(name, caplog):
    with caplog.at_level(logging.WARNING):
        play(family(OBSERVED[name]), "rl2")
    assert not caplog.text


def test_steps_after_the_last_episode_may_show_anything():
    toy = family(gym.spaces.Discrete(4))
    toy.odd, toy.from_step = lambda right: torch.full_like(right, 9), HORIZON + 1
    play(toy, "random")


@pytest.mark.parametrize("agent", ["rl2", "random"])
def test_the_parts_of_a_dict_in_the_order_they_were_written_in(agent):
    """Gymnasium sorts the keys."""
    space = gym.spaces.Dict({"position": gym.spaces.Box(-5.0, 5.0, (2,)), "direction": gym.spaces.Discrete(4)})
    toy = family(space)
    toy.odd = lambda right: right[:, [1, 2, 0]]
    with pytest.raises(PluginError, match=r"in its part direction, .* Gymnasium's order: direction, position\)"):
        play(toy, agent)


def test_by_hand_a_number_is_told_before_an_agent_reads_it():
    toy = family(gym.spaces.Dict({"where": gym.spaces.Box(-1.0, 1.0, (1,)), "what": gym.spaces.Discrete(3, start=2)}))
    problem = problem_of(toy, episodes=1, seed=0, device=torch.device("cpu"))
    trial = TrialPlayer(build_agent(Part(name="rl2"), problem), problem, action_space=toy.action_space)
    with pytest.raises(UserError, match=r"the observation holds 1 in its part what, which Discrete\(3, start=2\)"):
        trial.act({"what": 1, "where": [0.0]})
    trial.act({"what": 4, "where": [1.5]})  # what is no choice is read as it is

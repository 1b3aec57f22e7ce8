"""RL^2's memory must span episodes: a trial whose only reward is in episode 2 and depends on what episode 1 showed."""

from functools import cached_property

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.rl2 import RL2, RL2Config
from registry.config import Config, Part
from taskgen.batch import Transition
from taskgen.family import TaskFamily
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.space import ContextSpace, Knob

HORIZON = 3


class Recall(TaskFamily[Config]):
    """Episode 1 shows a cue, +1 or -1, in its first observation and pays nothing; in the last step of episode 2 the
    action that matches the cue pays 1."""

    def __init__(self) -> None:
        super().__init__(Config(), name="test/recall")
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.horizon = HORIZON

    @cached_property
    def context_space(self) -> ContextSpace:
        return ContextSpace({"cue": Knob(0, 1, 0, "Which action pays.", integer=True)})

    def batch(self, slots, device="cpu"):
        return RecallBatch(self, slots)


class RecallBatch:
    """Counts its resets: the first episode after `set_tasks` is the one that shows the cue."""

    def __init__(self, family, slots):
        self.family, self.slots, self.device = family, slots, torch.device("cpu")

    def set_tasks(self, specs, slots=None):
        self.cue = torch.tensor([spec.context["cue"] for spec in specs])
        self.episode = torch.zeros(self.slots, dtype=torch.int64)
        self.time = torch.zeros(self.slots, dtype=torch.int64)

    def reset(self, where=None, seeds=None):
        where = torch.ones(self.slots, dtype=torch.bool) if where is None else where
        self.episode += where
        self.time = torch.where(where, 0, self.time)
        return self.observe()

    def observe(self):
        shown = (self.episode == 1) & (self.time == 0)
        return torch.stack([torch.where(shown, 2 * self.cue - 1, 0), self.time / HORIZON], -1).float()

    def step(self, action):
        self.time = self.time + 1
        pays = (self.episode == 2) & (self.time == HORIZON) & (action == self.cue)
        nothing = torch.zeros(self.slots, dtype=torch.bool)
        return Transition(self.observe(), pays.float(), nothing, self.time >= HORIZON)

    def descriptor(self):
        return self.cue[:, None].float()


def _trained_return(memory: str, network: str) -> float:
    """Mean trial return after 150 updates on 128 trials each."""
    torch.set_num_threads(1)
    family = Recall()
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"), updates=150)
    part = Part.model_validate({"name": network})
    agent = RL2(RL2Config(network=part, memory=memory, discount=1.0, trace=0.95, learning_rate=3e-3), problem)
    rng = np.random.default_rng(0)
    batch = family.batch(128)
    for _ in range(150):
        specs = [family.spec({"cue": int(cue)}) for cue in rng.integers(0, 2, 128)]
        agent.learn(collect(agent, batch, specs, plan=agent.plan(2)))
    specs = [family.spec({"cue": i % 2}) for i in range(1000)]
    return float(collect(agent, family.batch(1000), specs, plan=agent.plan(2)).episode_returns().sum(0).mean())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["gru", "lstm", "fast-weights", "linear-recurrence", "transformer", "snail"])
def test_memory_of_the_trial_solves_it(network):
    assert _trained_return("trial", network) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("network", ["gru", "fast-weights", "linear-recurrence", "transformer", "snail"])
def test_memory_cut_at_episode_ends_stays_at_chance(network):
    assert abs(_trained_return("episode", network) - 0.5) < 0.07


@pytest.mark.slow
def test_without_memory_it_stays_at_chance():
    assert abs(_trained_return("trial", "memoryless") - 0.5) < 0.07

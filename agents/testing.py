"""Conformance kit for agents. `check_agent` raises `AssertionError` with every problem it found.

from agents.testing import check_agent

def test_agent():
    check_agent("mine", family="bandit")
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from registry.config import Part
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Problem, Rollout, Step, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import stream

_TRIALS, _EPISODES = 4, 3


def check_agent(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    family: str = "bandit",
    family_settings: Mapping[str, Any] | None = None,
    episodes: int = _EPISODES,
    device: torch.device | str = "cpu",
) -> None:
    """Check the protocol of agent `name` on tasks of `family`, in trials of `episodes` episodes, on `device`.

    Plays and learns, also from a single trial, as curricula may have it; actions lie in the space; what happens in one
    trial does not depend on the others, nor does what `adapt` makes of it; metrics are finite; the state restored into
    a fresh agent makes it act and learn identically. Raises `AssertionError` naming all that fails.
    """
    tasks = build_family(family, family_settings)
    problem = problem_of(tasks, episodes=episodes, seed=7, device=torch.device(device), updates=4)
    part = Part.model_validate({"name": name, **(settings or {})})
    agent = build_agent(part, problem)
    problems: list[str] = []
    trial = _play(agent, tasks, episodes, 1, problem.device)
    problems += _action_problems(problem, trial.rollout)
    for what, learned in (("learn", trial), ("learn from one trial", trial.of([1]))):
        metrics = agent.learn(learned)
        problems += [f"{what}: {key} = {value}" for key, value in metrics.items() if not math.isfinite(value)]
    problems += _independence_problems(agent, trial)
    problems += _state_problems(agent, build_agent(part, problem), tasks, episodes, problem.device)
    if problems:
        raise AssertionError("\n".join([f"{name} on {family}:", *(f"  - {problem}" for problem in problems)]))


def _play(agent: Agent, family: TaskFamily[Any], episodes: int, seed: int, device: torch.device) -> Trial:
    specs = [family.spec(seed=int(s)) for s in stream(seed, "check").integers(0, 2**53, _TRIALS)]
    plan = agent.plan(episodes)
    return collect(agent, family.batch(_TRIALS * plan.slots, device), specs, plan=plan)


def _action_problems(problem: Problem, rollout: Rollout) -> list[str]:
    actions = rollout.action.flatten(0, 1).cpu().numpy()
    if isinstance(problem.action_space, gym.spaces.Box):  # a Gaussian policy has no bounds: families clip
        shape = problem.action_space.shape
        odd = actions.shape[1:] != shape or not np.isfinite(actions).all()
        return [f"actions {actions.shape[1:]} are not finite vectors of shape {shape}"] if odd else []
    outside = [action for action in actions if not problem.action_space.contains(_cast(action, problem))]
    return [f"action {outside[0]} is not in {problem.action_space}"] if outside else []


def _cast(action: Any, problem: Problem) -> Any:
    return np.asarray(action, dtype=problem.action_space.dtype)[()]


def _independence_problems(agent: Agent, trial: Trial) -> list[str]:
    """Change all trials but the first; the first one's actions must stay, before and after every `adapt`."""
    upset = replace(trial, rounds=[_upset(rollout, trial.plan.slots) for rollout in trial.rounds])
    before = copy.deepcopy(agent.state_dict())
    first = _actions(agent, trial)
    agent.load_state_dict(copy.deepcopy(before))
    second = _actions(agent, upset)
    agent.load_state_dict(before)
    return [] if torch.equal(first, second) else ["the actions of one trial depend on the other trials of the batch"]


def _upset(rollout: Rollout, slots: int) -> Rollout:
    """What the slots after the first `slots` saw and got, with time reversed, and what they were told, exchanged."""
    observation, reward = (
        torch.cat([values[:, :slots], values[:, slots:].flip(0)], dim=1)
        for values in (rollout.observation, rollout.reward)
    )
    told = rollout.descriptor
    told = None if told is None else torch.cat([told[:slots], told[slots:].flip(0)])
    return replace(rollout, observation=observation, reward=reward, descriptor=told)


@torch.no_grad()
def _actions(agent: Agent, trial: Trial) -> Tensor:
    """[T, slots of a trial] actions of the first trial when fed what `trial` saw."""
    carry, steps = agent.begin_trial(_TRIALS), trial.rollout.steps
    names = ("observation", "previous_action", "previous_reward", "episode_start", "trial_start", "episode_index")
    chosen: list[Tensor] = []
    for number, rollout in enumerate(trial.rounds):
        carry = agent.adapt(carry, trial.rounds[number - 1]) if number else carry
        for t in range(len(chosen), len(chosen) + len(rollout.reward)):
            row = {name: getattr(steps, name)[t] for name in names}
            step = Step(**row, descriptor=None if steps.descriptor is None else steps.descriptor[t])
            action, carry = agent.act(carry, step)
            chosen.append(action.value[: trial.plan.slots])
    return torch.stack(chosen)


def _state_problems(
    agent: Agent, fresh: Agent, family: TaskFamily[Any], episodes: int, device: torch.device
) -> list[str]:
    fresh.load_state_dict(copy.deepcopy(agent.state_dict()))
    for turn in (2, 3):
        one, other = (_play(player, family, episodes, turn, device) for player in (agent, fresh))
        if not torch.equal(one.rollout.action, other.rollout.action):
            return [f"an agent restored from state_dict acts differently in trial {turn - 1} after it"]
        if agent.learn(one) != fresh.learn(other):
            return ["an agent restored from state_dict learns differently"]
    return []

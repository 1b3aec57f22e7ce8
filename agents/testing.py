"""Conformance kit for agents. The checks raise `AssertionError` with every problem they found.

Longer than most files here: each check is short, and whoever writes an agent imports them from one place.

from agents.testing import check_agent, check_spaces, check_take_over

def test_agent():
    check_agent("mine", family="bandit")
    check_take_over("mine", family="bandit")
    check_spaces("mine")
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import registry
from agents.training.tree import flatten
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.build import build_family
from taskgen.engines.toys import SpaceToy, acted_toys, observed_toys
from taskgen.family import TaskFamily
from taskgen.interaction.agent import (
    Agent,
    Anneals,
    Begins,
    Explores,
    Portable,
    Problem,
    Rollout,
    Seedable,
    Step,
    Trial,
    judged,
    take_over,
)
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import decided
from taskgen.spaces import numbers_and_choices, row_shape, unpack
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
    trial does not depend on the others, nor does what `adapt` makes of it; an agent that can be exported decides as it
    acts; metrics are finite; the state restored into
    a fresh agent makes it act and learn identically; as it is judged, where that is an agent of its own, playing and
    reseeding it leaves this one's state as it is. Raises `AssertionError` naming all that fails.
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
    problems += _decision_problems(agent, trial)
    problems += _state_problems(agent, build_agent(part, problem), tasks, episodes, problem.device)
    problems += _judged_problems(agent, tasks, episodes, problem.device)
    if problems:
        raise AssertionError("\n".join([f"{name} on {family}:", *(f"  - {problem}" for problem in problems)]))


def _play(agent: Agent, family: TaskFamily[Any], episodes: int, seed: int, device: torch.device) -> Trial:
    specs = [family.spec(seed=int(s)) for s in stream(seed, "check").integers(0, 2**53, _TRIALS)]
    plan = agent.plan(episodes)
    return collect(agent, family.batch(_TRIALS * plan.slots, device), specs, plan=plan)


def _action_problems(problem: Problem, rollout: Rollout) -> list[str]:
    actions, space = rollout.action.flatten(0, 1).cpu().numpy(), problem.action_space
    shape = row_shape(space)
    if actions.shape[1:] != shape or not np.isfinite(actions).all():
        return [f"actions {actions.shape[1:]} are not finite, of shape {shape}"]
    numbers, _ = numbers_and_choices(space)
    if numbers is not None:  # a Gaussian policy has no bounds: `collect` clips
        actions = actions.copy()
        count = numbers.shape[0]
        actions[:, :count] = actions[:, :count].clip(numbers.low, numbers.high)
    outside = [action for action in actions if not space.contains(unpack(space, action))]
    return [f"action {outside[0]} is not in {space}"] if outside else []


def check_spaces(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    episodes: int = _EPISODES,
    device: torch.device | str = "cpu",
) -> dict[str, str]:
    """Check that agent `name` plays a family whatever its spaces, or refuses it before it begins.

    Of every toy family (`taskgen.testing.toy_families`) the agent plays, learns and plays again: what it answers is of
    its problem's action space, and what it earns can be earned inside the family's. Returns what it says of those that
    it refuses, by their names; a refusal names the family and the space. Raises `AssertionError` with every problem.
    """
    part = Part.model_validate({"name": name, **(settings or {})})
    problems: list[str] = []
    refused: dict[str, str] = {}
    for family in _toys(part, episodes):
        problem = problem_of(family, episodes=episodes, seed=7, device=torch.device(device), updates=2)
        try:
            agent = build_agent(part, problem)
        except UserError as error:
            refused[family.name] = str(error)
            problems += [f"{family.name}: refused without naming it: {error}"] if family.name not in str(error) else []
            continue
        try:
            problems += [f"{family.name}: {found}" for found in _space_problems(agent, family, problem, episodes)]
        except Exception as error:
            error.add_note(f"tried on observations {problem.observation_space} and actions {problem.action_space}")
            raise
    if problems:
        raise AssertionError("\n".join([f"{name}:", *(f"  - {problem}" for problem in problems)]))
    return refused


def _toys(part: Part, episodes: int) -> Iterator[SpaceToy]:
    """All of them; the observations beside actions that the agent can do."""
    yield from acted_toys()
    for acted in ("discrete", "box"):
        toys = observed_toys(acted)
        try:
            build_agent(part, problem_of(toys[0], episodes=episodes, seed=7, device=torch.device("cpu")))
        except UserError:
            continue
        yield from toys
        return


def _space_problems(agent: Agent, family: SpaceToy, problem: Problem, episodes: int) -> list[str]:
    """What is wrong with how the agent plays, learns and plays."""
    problems: list[str] = []
    for turn in (1, 2):
        trial = _play(agent, family, episodes, turn, problem.device)
        problems += _action_problems(problem, trial.rollout)
        for spec, returns in zip(trial.specs, trial.episode_returns().T.tolist(), strict=True):
            low, high = family.reachable_returns(spec)
            slack = 1e-5 * max([1.0, *(abs(end) for end in (low, high) if math.isfinite(end))])
            outside = [value for value in returns if not low - slack <= value <= high + slack]
            problems += [f"a return of {outside[0]}: inside the action space it is {low} to {high}"] if outside else []
        metrics = agent.learn(trial) if turn == 1 else {}
        problems += [f"learn: {key} = {value}" for key, value in metrics.items() if not math.isfinite(value)]
    return problems


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
    chosen: list[Tensor] = []
    for number, rollout in enumerate(trial.rounds):
        carry = agent.adapt(carry, trial.rounds[number - 1]) if number else carry
        for t in range(len(chosen), len(chosen) + len(rollout.reward)):
            action, carry = agent.act(carry, _at(steps, t))
            chosen.append(action.value[: trial.plan.slots])
    return torch.stack(chosen)


def _at(steps: Step, t: int) -> Step:
    """The step number `t` of steps [T, B, ...]."""
    columns: dict[str, Any] = {field.name: getattr(steps, field.name) for field in fields(steps)}
    row: dict[str, Any] = {name: None if column is None else column[t] for name, column in columns.items()}
    return Step(**row)


@torch.no_grad()
def _decision_problems(agent: Agent, trial: Trial) -> list[str]:
    """An agent that is `Portable` decides as it acts when it is judged."""
    player = judged(agent)
    if not isinstance(player, Portable):
        return []
    carry, steps = player.begin_trial(_TRIALS), trial.rollout.steps
    for t in range(min(len(trial.rollout.reward), 20)):
        step = _at(steps, t) if player.needs_descriptor else replace(_at(steps, t), descriptor=None)
        told, decides = decided(player, carry, step)
        action, carry = player.act(carry, step)
        pair = (pytree.tree_leaves(each) for each in (decides, carry))
        if not all(torch.equal(*parts) for parts in zip(*pair, strict=True)):
            return ["decide leaves another carry than act"]
        if not torch.equal(told.get("action", action.value), action.value):
            return ["the action that decide says is not what act plays"]
    return []


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


def _judged_problems(agent: Agent, family: TaskFamily[Any], episodes: int, device: torch.device) -> list[str]:
    player = judged(agent)
    if player is agent:
        return []
    before, held = flatten(agent.state_dict())
    held = {place: tensor.clone() for place, tensor in held.items()}
    problems: list[str] = []
    for what in ("playing", "reseeding"):
        if what == "playing":
            _play(player, family, episodes, 4, device)
        elif isinstance(player, Seedable):
            player.reseed(5)
        after, holds = flatten(agent.state_dict())
        moved = [place for place in holds if place not in held or not torch.equal(holds[place], held[place])]
        moved += ["what is no tensor"] if after != before else []
        problems += [f"{what} the agent as it is judged changes its state: {', '.join(moved)}"] if moved else []
    return problems


def check_take_over(
    name: str,
    variants: Sequence[Mapping[str, Any]] = ({},),
    *,
    family: str = "bandit",
    family_settings: Mapping[str, Any] | None = None,
    episodes: int = _EPISODES,
) -> None:
    """Check what runners that hand agents around count on (`taskgen.interaction.agent.take_over`).

    An heir plays by its own settings: every number among them acts, in one of the `variants` of settings at least, on
    what an agent does or learns once it has taken over another one's state, but for its `initial_settings`, which do
    not. It has a random stream of its own; judged with the same stream and luck it earns what the other one earns.
    Schedules change what is learned where an end is planned, and only there. Raises `AssertionError` with every
    problem.
    """
    problems: list[str] = []
    acting: set[str] = set()
    numbers: set[str] = set()
    tasks = build_family(family, family_settings)
    for settings in variants:
        stage = _Stage(name, dict(settings), tasks, episodes)
        begins = stage.build()
        initial = begins.initial_settings if isinstance(begins, Begins) else frozenset[str]()
        found = {number: stage.acts(number) for number in stage.numbers() if number in initial or number not in acting}
        numbers |= found.keys() - initial
        acting |= {number for number, acts in found.items() if acts}
        problems += [f"{number}, of initial_settings, acts on an heir" for number in initial if found.get(number)]
        problems += [*stage.stream_problems(), *stage.schedule_problems()]
    problems += [f"{number} does nothing once another one's state is loaded" for number in sorted(numbers - acting)]
    if problems:
        raise AssertionError("\n".join([f"{name} on {family}:", *(f"  - {problem}" for problem in problems)]))


class _Stage:
    """Agents of one kind with settings of their own, on the same tasks with the same luck."""

    def __init__(self, name: str, settings: dict[str, Any], family: TaskFamily[Any], episodes: int) -> None:
        self._item = registry.catalogue().get("agents", name)
        self._name, self._settings, self._family, self._episodes = name, settings, family, episodes

    def build(self, changes: Mapping[str, float] | None = None, *, seed: int = 7, updates: int = 4) -> Agent:
        """As new, with `changes` of its settings."""
        device = torch.device("cpu")
        problem = problem_of(self._family, episodes=self._episodes, seed=seed, device=device, updates=updates)
        return build_agent(Part.model_validate({"name": self._name, **self._settings, **(changes or {})}), problem)

    def heir(self, other: Agent, changes: Mapping[str, float] | None = None, *, seed: int = 11) -> Agent:
        """One that has taken over what `other` has learned, with `changes` of its settings."""
        heir = self.build(changes, seed=seed)
        take_over(heir, other, 10 * seed)
        return heir

    def numbers(self) -> list[str]:
        """The settings that are numbers but no whole ones, which is what can be evolved."""
        if self._item.entry.config is None:
            return []
        fields = self._item.config_class().model_fields
        return [number for number, field in fields.items() if field.annotation in (float, float | None)]

    def acts(self, number: str) -> bool:
        """Whether heirs that differ in this setting alone act or learn differently."""
        source = self._learned(self.build({number: self._usual(number)}))
        heirs = [self.heir(source, {number: value}) for value in self._apart(number)]
        return not _alike(*map(self._footprint, heirs))

    def stream_problems(self) -> list[str]:
        """Of heirs' random streams, and of scores."""
        source = self._learned(self.build())
        twice = [self._played(source, 3) for _ in range(2)]
        draws = isinstance(source, Explores) or not torch.equal(*(trial.rollout.action for trial in twice))
        problems: list[str] = []
        if draws and torch.equal(*(self._played(self.heir(source, seed=seed), 3).rollout.action for seed in (11, 12))):
            problems.append("two heirs of one agent draw the same actions: it needs `reseed`")
        heir = self.heir(source)
        for agent in (source, heir):
            if isinstance(agent, Seedable):
                agent.reseed(5)
        earned = [self._played(judged(agent), 3).episode_returns() for agent in (source, heir)]
        if not torch.equal(*earned):
            problems.append("an heir does not earn what the agent earns that it took over, with the same luck")
        return problems

    def schedule_problems(self) -> list[str]:
        """Of what changes towards the end of training."""
        planned, endless = (self._footprint(self.build(updates=updates)) for updates in (2, 0))
        agent = self.build()
        stated = isinstance(agent, Anneals) and bool(agent.annealed_settings)
        if _alike(planned, endless) == stated:
            return [f"a planned end changes {'nothing' if stated else 'learning'}: see `annealed_settings`"]
        return []

    def _learned(self, agent: Agent) -> Agent:
        agent.learn(self._played(agent, 1))
        return agent

    def _played(self, agent: Agent, turn: int) -> Trial:
        return _play(agent, self._family, self._episodes, turn, torch.device("cpu"))

    def _footprint(self, agent: Agent) -> list[Tensor]:
        """What it does, and what it has become, in the course of two updates."""
        trials: list[Trial] = []
        for turn in (2, 3):
            trials.append(self._played(agent, turn))
            agent.learn(trials[-1])
        return [*(trial.rollout.action for trial in trials), *_tensors(agent.state_dict())]

    def _apart(self, number: str) -> tuple[float, float]:
        """Two values of a setting, far from one another."""
        value = self._usual(number)
        allowed = [one for one in (value / 10, value * 10, 1.0, 0.5) if self._allows(number, one)]
        return allowed[0], next(one for one in allowed if one != allowed[0])

    def _usual(self, number: str) -> float:
        """As it is set, or a number in the place of none or zero."""
        return getattr(self._item.configure(self._settings), number) or 0.3

    def _allows(self, number: str, value: float) -> bool:
        try:
            self._item.configure({**self._settings, number: value})
        except ConfigError:
            return False
        return True


def _alike(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors of a state, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _tensors(value)

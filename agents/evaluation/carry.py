"""How large an agent's adaptation state is, and what `taskgen describe` says of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

import registry
from registry.config import Part
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Action, Agent, Carry, CollectionPlan, Metrics, Rollout, Step, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import planned
from taskgen.spec import TaskSpec

EPISODES = 10
"""Of the trial after which `carry_size` is stated."""
_FIRST = ("tabular-mdp", "point-navigation")
"""Families that it is stated for, where the agent fits; else the first one that it fits."""


def carry_size(agent: Agent, family: TaskFamily[Any], episodes: int) -> int:
    """The most bytes that the carry of one trial of so many `episodes` has had, on a task of `family`."""
    return weighed(agent, family, family.spec(), episodes)[0]


def weighed(agent: Agent, family: TaskFamily[Any], task: TaskSpec, episodes: int) -> tuple[int, Trial]:
    """One trial of so many `episodes` on `task`, and the most bytes that its carry has had."""
    plan = planned(agent, episodes)
    watched = _Weighed(agent)
    trial = collect(watched, family.batch(plan.slots), [task], plan=plan)
    return watched.most, trial


def size(tree: Any) -> int:
    """Bytes of all tensors of a tree of tuples, lists, mappings and dataclasses."""
    return sum(part.numel() * part.element_size() for part in _tensors(tree))


def described(kind: str, name: str) -> Mapping[str, str] | None:
    """The size of the carry of the agent `name`, or of `rl2` with the network `name`, under default settings.

    None where no family fits.
    """
    catalogue = registry.catalogue()
    item = catalogue.get(kind, name)
    part = Part(name=name) if kind == "agents" else Part.model_validate({"name": "rl2", "network": name})
    items = [item, catalogue.get("agents", part.name)]
    offered = [family for family in catalogue.items("families") if not catalogue.incompatibilities([*items, family])]
    if not offered:
        return None
    chosen = next((one for first in _FIRST for one in offered if one.entry.name == first), offered[0])
    family = build_family(chosen.full_name)
    problem = problem_of(family, episodes=EPISODES, seed=0, device=torch.device("cpu"))
    most = carry_size(build_agent(part, problem), family, EPISODES)
    return {"carry": f"{most:,} bytes a trial after {EPISODES} episodes of {chosen.entry.name}"}


class _Weighed:
    """An agent whose carry is weighed whenever it changes."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.needs_descriptor = agent.needs_descriptor
        self.most = 0

    def _weigh(self, carry: Carry) -> Carry:
        self.most = max(self.most, size(carry))
        return carry

    def plan(self, episodes: int) -> CollectionPlan:
        return self._agent.plan(episodes)

    def begin_trial(self, batch: int) -> Carry:
        return self._weigh(self._agent.begin_trial(batch))

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        action, carry = self._agent.act(carry, step)
        return action, self._weigh(carry)

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        return self._weigh(self._agent.adapt(carry, rollout))

    def learn(self, trial: Trial) -> Metrics:
        return self._agent.learn(trial)

    def state_dict(self) -> dict[str, Any]:
        return self._agent.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._agent.load_state_dict(state)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors of a carry: of tuples, lists, mappings and dataclasses."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        yield from _tensors(tuple(tree.values()))
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _tensors(value)
    elif hasattr(tree, "__dataclass_fields__"):
        yield from _tensors(tuple(getattr(tree, name) for name in tree.__dataclass_fields__))

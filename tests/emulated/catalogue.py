"""What the checks share: the catalogue's families in small, and a player whose actions are those of any device."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args, get_origin

import gymnasium as gym
import torch
from torch import Tensor

import registry
from agents.reference.player import Player
from registry.catalogue import ACTIONS, Item
from registry.config import Config
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Action, Agent, Carry, CollectionPlan, Problem, Step
from tests.emulated.device import Ledger, watched

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]
AGENTS = registry.catalogue().items("agents")
LEARNED = [item for item in AGENTS if "reference" not in item.entry.tags]


def small(name: str, longest: int) -> TaskFamily[Any]:
    """The family `name` with episodes of at most `longest` steps, where that is a setting."""
    family = build_family(name)
    adjustable = "horizon" in registry.catalogue().get("families", name).config_class().model_fields
    return build_family(name, {"horizon": longest}) if adjustable and family.horizon > longest else family


class Scripted(Player[Config]):
    """Acts by what it sees, in jumps: what is seen anywhere, decides everything that follows."""

    def __init__(self, problem: Problem, plan: CollectionPlan) -> None:
        super().__init__(Config(), problem)
        self._plan = plan

    def plan(self, episodes: int) -> CollectionPlan:
        return self._plan

    def begin_trial(self, batch: int) -> Carry:
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        seen = step.observation.flatten(1).to(torch.float64)
        weight = torch.arange(1, seen.shape[1] + 1, dtype=torch.float64, device=seen.device)
        total = ((seen * weight).sum(1) + step.previous_reward + step.episode_index) * 12.9898
        return Action(self._action(total.sin() * 43758.5453)), carry

    def _action(self, luck: Tensor) -> Tensor:
        """From numbers [B] of which the fractions are as good as random."""
        space = self.problem.action_space
        if isinstance(space, gym.spaces.Discrete):
            return (luck.frac().abs() * int(space.n)).to(torch.int64)
        assert isinstance(space, gym.spaces.Box)
        low, high = self.bounds
        count = torch.arange(1, low.numel() + 1, dtype=luck.dtype, device=luck.device)
        share = (luck[:, None] * count).frac().abs().view(-1, *low.shape)
        return (low + share * (high - low)).to(torch.float32)


_SMALL: dict[str, Any] = {
    "hidden": [8],
    "encoder_hidden": [8],
    "trajectories": 2,
    "epochs": 1,
    "minibatches": 2,
    "warm_up": 0,
    "updates_per_step": 0.05,
    "meta_batch": 2,
    "batch": 16,
    "capacity": 500,
    "channels": [2, 2],
    "context_width": 4,
    "loss_width": 4,
}
"""Settings of learned agents, by name, under which they learn in no time."""
_SWITCHES: dict[str, list[dict[str, Any]]] = {
    "builtin/rl2": [{"reward_prediction": 1.0}, {"gradient_steps": 3}],
    "builtin/maml": [{"credit": 1.0}],
    "builtin/sac": [{"temperature": 0.2}],
    "builtin/pearl": [{"target_entropy": -2.0}],
    "builtin/es": [{"pairs": 2}],
    "builtin/meta-gradient": [{"derivative_trace": 0.5}, {"outer_value": 1.0}, {"updates": 2}, {"bootstrap": 2}],
}
"""Numbers that switch something on."""


def quick(item: Item) -> dict[str, Any]:
    """Settings of a learned agent under which it learns in no time."""
    return {name: value for name, value in _SMALL.items() if name in item.config_class().model_fields}


def variants(item: Item) -> list[dict[str, Any]]:
    """Every choice that a learned agent's settings offer, one at a time: flags, words, parts, and `_SWITCHES`."""
    found: list[dict[str, Any]] = []
    for name, field in item.config_class().model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if field.annotation is bool:
            found.append({name: not field.default})
        elif get_origin(field.annotation) is Literal:
            found += [{name: choice} for choice in get_args(field.annotation) if choice != field.default]
        elif "kind" in extra:
            parts = registry.catalogue().items(str(extra["kind"]))
            found += [{name: {"name": part.full_name}} for part in parts if part.entry.name != field.default.name]
    return found + _SWITCHES.get(item.full_name, [])


def worlds(item: Item) -> list[str]:
    """The first family with discrete and the first with continuous actions that the agent fits, where there are."""
    catalogue = registry.catalogue()
    first = ["builtin/tabular-mdp", "builtin/point-navigation"]
    found: dict[type, str] = {}
    for name in [*first, *(name for name in FAMILIES if name not in first)]:
        family = catalogue.get("families", name)
        if not ACTIONS & set(family.entry.offers):
            continue  # of whatever environment it is told of, and has its actions
        if not catalogue.incompatibilities([item, family]):
            found.setdefault(type(small(name, 5).action_space), name)
    return list(found.values())


class Watched:
    """An agent, and what each of its calls asked of the device, by the name of the method."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.ledgers: dict[str, list[Ledger]] = {"act": [], "learn": [], "adapt": []}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._agent, name)
        return value if name not in self.ledgers else partial(self._call, name, value)

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        with watched() as ledger:
            result = method(*arguments)
        self.ledgers[name].append(ledger)
        return result

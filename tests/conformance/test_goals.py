"""Dense rewards on every family: most is paid exactly where the task's goal is, or the family is refused by name."""

import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import registry
from registry.config import Part
from registry.errors import TaskError
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.reward import build_rewards
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

Goal = dict[int, float]
"""Entry of the observation -> what it is at the goal, worked out here from the context and nothing else."""


def _cell(size: int) -> Callable[[Mapping[str, Any]], Goal]:
    return lambda context: {0: float(context["goal"] // size), 1: float(context["goal"] % size)}


def _one_hot(size: int) -> Callable[[Mapping[str, Any]], Goal]:
    return lambda context: {cell: float(cell == context["goal"]) for cell in range(size * size)}


def _on_circle(context: Mapping[str, Any]) -> Goal:
    distance = context.get("distance", 1.0)
    return {0: distance * math.cos(context["angle"]), 1: distance * math.sin(context["angle"])}


def _velocity(entry: int) -> Callable[[Mapping[str, Any]], Goal]:
    """The first of the velocities comes after the joint positions, of which the observation hides the horizontal."""
    return lambda context: {entry: context["velocity"]}


CASES: list[tuple[str, dict[str, Any], Callable[[Mapping[str, Any]], Goal]]] = [
    ("point-navigation", {}, lambda context: dict(enumerate(context["goal"]))),
    ("point-navigation", {"goals": "half-circle", "reward": "sparse"}, _on_circle),
    ("mountain-treasure", {}, _on_circle),
    ("grid-navigation", {}, _cell(5)),
    ("grid-navigation", {"size": 4, "observation": "one-hot"}, _one_hot(4)),
    ("darkroom", {}, _cell(10)),
    ("darkroom", {"size": 4, "observation": "one-hot"}, _one_hot(4)),
    ("pendulum", {}, lambda context: {0: 1.0, 1: 0.0, 2: 0.0}),
    ("ant", {"task": "position"}, lambda context: dict(enumerate(context["position"]))),
    ("ant", {"task": "velocity"}, _velocity(15 - 2)),
    ("half-cheetah", {"task": "velocity"}, _velocity(9 - 1)),
    ("half-cheetah", {"task": "velocity", "observe_position": True}, _velocity(9)),
    ("hopper", {"task": "velocity"}, _velocity(6 - 1)),
    ("walker2d", {"task": "velocity"}, _velocity(9 - 1)),
]
WITHOUT: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("tabular-pomdp", "linear-system", "pursuit", "bipedal-walker")),
    *((name, {}) for name in ("bandit", "tabular-mdp", "cartpole", "maze", "bus", "cooking", "catch", "frozen-lake")),
    *((name, {}) for name in ("terrain-walker", "cppn-walker", "mujoco-any", "gymnasium", "parallel")),
    *((name, {}) for name in ("signal-noise-chain", "discounting-chain", "sign-post", "sign-plane")),
    *((name, {}) for name in ("barcode-bandit", "two-step", "re-seen-choice")),
    *((name, {}) for name in ("metaworld",) if find_spec(name)),
    *product(("ant", "half-cheetah", "hopper", "walker2d"), ({"task": "forward"}, {"task": "direction"})),
    ("ant", {"task": "position", "observe_position": False}),
]


def _ask(name: str, settings: dict[str, Any], n: int = 6, **more: Any) -> tuple[Any, list[TaskSpec]]:
    family = build_family(name, settings)
    part = Part.model_validate({"name": "dense-rewards", **more})
    return family, build_source(part, family, seed_sequence(0, "goals")).ask(n)


def test_every_family_is_here() -> None:
    names = {name for name, *_ in (*CASES, *WITHOUT)}
    assert names == {item.entry.name for item in registry.catalogue().items("families")}
    offering = {i.entry.name for i in registry.catalogue().items("families") if "goal-position" in i.entry.offers}
    assert offering == {name for name, *_ in CASES}


@pytest.mark.parametrize(("name", "settings", "goal"), CASES)
def test_most_is_paid_exactly_at_the_goal(
    name: str, settings: dict[str, Any], goal: Callable[[Mapping[str, Any]], Goal]
) -> None:
    """At the goal 1, wherever else the agent may be found less, the less the farther."""
    family, specs = _ask(name, settings, reach=20.0)
    rng = np.random.default_rng(0)
    width = int(np.prod(family.observation_space.shape))
    for spec in specs:
        at = goal(spec.context)
        entries = list(at)
        away = rng.normal(0.0, 2.0, (64, len(entries)))
        away[0] = 0.0
        observations = rng.normal(0.0, 1.0, (64, width))  # what is elsewhere in the observation does not count
        observations[:, entries] = np.array([at[entry] for entry in entries]) + away
        shown = torch.tensor(observations, dtype=torch.float32)
        assert spec.reward is not None
        paid = build_rewards([spec.reward] * 64, family, "cpu")(torch.zeros_like(shown), torch.zeros(64), shown)
        assert paid.numpy() == pytest.approx((1.0 - np.linalg.norm(away, axis=1) / 20.0).clip(min=0.0), abs=1e-5)
        assert paid.argmax() == 0


@pytest.mark.parametrize(
    ("name", "settings", "player"),
    [
        ("point-navigation", {}, "point-navigation-oracle"),
        ("point-navigation", {"goals": "half-circle", "reward": "sparse"}, "point-navigation-oracle"),
        ("mountain-treasure", {}, "treasure-walker"),
        ("grid-navigation", {}, "grid-navigation-oracle"),
        ("grid-navigation", {"observation": "one-hot"}, "grid-navigation-oracle"),
        ("darkroom", {}, "darkroom-oracle"),
    ],
)
def test_the_family_pays_most_where_the_dense_reward_does(name: str, settings: dict[str, Any], player: str) -> None:
    """Along the way of one who knows the family's own task."""
    family, specs = _ask(name, settings, n=8)
    plain = [family.spec(dict(spec.context), seed=spec.seed) for spec in specs]
    agent = build_agent(Part(name=player), problem_of(family, episodes=3, seed=0, device=torch.device("cpu")))
    plan = agent.plan(3)
    rollout = collect(agent, family.batch(8 * plan.slots), plain, plan=plan).rounds[-1]
    rewards = build_rewards([spec.reward for spec in specs if spec.reward], family, "cpu")
    paid = torch.stack([rewards(row, row, row) for row in rollout.next_observation])
    most = torch.where(rollout.valid, rollout.reward, -torch.inf).amax(0)
    nearest = torch.where(rollout.valid, paid, -torch.inf).argmax(0)
    assert torch.allclose(rollout.reward.gather(0, nearest[None])[0], most, atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), WITHOUT)
def test_a_family_without_a_goal_is_refused_by_name(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=rf"builtin/{name}.*(has no `goal`|has no goal among its observations)"):
        _ask(name, settings, n=0)

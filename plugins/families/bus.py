"""Buses in a city (Liu et al. 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without
Sacrifices" (DREAM), section 6): where each bus goes is the task, and has to be found out.

9 x 9 cells, start (4, 4), 20 steps. Four coloured buses wait beside the start, at (4, 5), (5, 4), (3, 4) and (4, 3);
riding them leads to (0, 1), (0, 7), (8, 1), (8, 7) in an order that is the task's, and from there back. Each episode
draws a goal, one of the four corners, and shows it. A step that ends on the goal pays 1 and ends the episode; any other
pays -0.1. Ending the episode by choice costs at once what the steps left would have cost: -2.0 at the first step.

Variants: "plain"; "map": at (7, 3) the observation shows the task's number; "distraction": four more buses, at (5, 5),
(3, 3), (3, 5) and (5, 3), lead to places of no use, (0, 4), (4, 0), (8, 4) and (4, 8), in an order of their own.

Task i < 24 has the i-th permutation, in lexicographic order, of the destinations; with distraction task i < 576 has
permutation i % 24 of them and i // 24 of the useless ones. As in DREAM's code every 11th task is for training there and
the others are for testing, 53 and 523; else training and test tasks are the same 24, and there is no split.

Trial: in DREAM two episodes on one task. The first only explores: its rewards do not count, and an agent made for that
leaves goal and reward aside. Here both episodes have a goal and pay, and what counts is the agent's to say.

Differences from DREAM: of its nine actions the two that do nothing here, pick up and drop, are left out; the numbers it
observes are one-hot.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import grids
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.split import Split
from taskgen.variation import Choice, IntegerRange

SIZE = 9
START = (4, 4)
GOALS = ((0, 0), (8, 8), (0, 8), (8, 0))
STOPS = ((4, 5), (5, 4), (3, 4), (4, 3))
DESTINATIONS = ((0, 1), (0, 7), (8, 1), (8, 7))
USELESS_STOPS = ((5, 5), (3, 3), (3, 5), (5, 3))
USELESS_DESTINATIONS = ((0, 4), (4, 0), (8, 4), (4, 8))
MAP = (7, 3)
PERMUTATIONS = tuple(itertools.permutations(range(4)))
TRAIN_STRIDE = 11
"""With distraction, every so many tasks one is for training."""
MOVES = (grids.LEFT, grids.UP, grids.RIGHT, grids.DOWN, grids.STAY, grids.STAY, grids.STAY)
"""Where the actions walk, in their order: left, up, right, down, stay, ride, end the episode."""
RIDE, END = 5, 6
_COST, _ARRIVAL = 0.1, 1.0
_COLOURS = ((60, 90, 220), (200, 60, 200), (225, 200, 40), (40, 190, 200))
_USELESS, _PLAN = (140, 140, 60), (40, 40, 40)


class BusConfig(Config):
    """Structural settings of `Bus`."""

    variant: Literal["plain", "map", "distraction"] = Field(
        "map", description="Four buses alone, with a map that shows the task, or with four more buses of no use."
    )
    horizon: int = Field(20, ge=1, le=100_000, description="Steps per episode.")


class Bus(TaskFamily[BusConfig]):
    """Actions: left, up, right, down, stay, ride the bus, end the episode. Observations are zeros and ones.

    Column [9] and row [9] one-hot, whether a bus stops here [1], the goal one-hot in the order (0, 0), (8, 8), (0, 8),
    (8, 0) [4]; in the variant "map" the task one-hot [24] at (7, 3), zeros elsewhere.
    """

    def __init__(self, config: BusConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.tasks = len(PERMUTATIONS) ** (2 if config.variant == "distraction" else 1)
        shown = self.tasks if config.variant == "map" else 0
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2 * SIZE + 1 + len(GOALS) + shown,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon
        if config.variant == "distraction":
            train = frozenset(range(0, self.tasks, TRAIN_STRIDE))
            self.split = Split("permutation", train, frozenset(range(self.tasks)) - train)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The number of the task; it varies over the training tasks."""
        last = self.tasks - 1
        vary = IntegerRange(low=0, high=last)
        if self.split is not None:
            vary = Choice(values=tuple(map(float, self.split.values("train"))))
        knob = Knob(0, last, 0, "Number of the permutation that says where the buses go.", integer=True, vary=vary)
        return ContextSpace({"permutation": knob})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch.

        The descriptor is the destination of each bus, one-hot: [16] in the order of `STOPS` and `DESTINATIONS`; with
        distraction [32], the useless ones last.
        """
        return TensorBatch(self, _City(self.config, device), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Two buses exchange their destinations."""
        orders = [list(order) for order in _orders(context["permutation"], self.config.variant)]
        order = orders[int(rng.integers(len(orders)))]
        one, other = rng.choice(4, 2, replace=False).tolist()
        order[one], order[other] = order[other], order[one]
        numbers = [PERMUTATIONS.index(tuple(order)) for order in orders]
        return {**context, "permutation": sum(number * len(PERMUTATIONS) ** i for i, number in enumerate(numbers))}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[16] or, with distraction, [32]: the destination of each bus, one-hot."""
        orders = _orders(context["permutation"], self.config.variant)
        return np.eye(4)[[destination for order in orders for destination in order]].flatten()

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """Bus stops and where they lead in one colour, corners in green, the map in black, the agent in red."""
        return self._draw(spec, START, GOALS)

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`, with the episode's goal only."""
        place, goal = divmod(int(state[0]) % _NODES, len(GOALS))
        return self._draw(spec, divmod(place, SIZE), (GOALS[goal],))

    def text(self, spec: TaskSpec) -> str:
        """Stops of one line share a letter, capital beside the start; S the start, g the corners, m the map."""
        marks = {START: "S"} | dict.fromkeys(GOALS, "g") | ({MAP: "m"} if self.config.variant == "map" else {})
        for letter, (stop, end) in zip("ABCDEFGH", self._lines(spec), strict=False):
            marks |= {stop: letter, end: letter.lower()}
        return grids.write(SIZE, SIZE, marks)

    def _draw(self, spec: TaskSpec, agent: grids.Cell, goals: Sequence[grids.Cell]) -> NDArray[np.uint8]:
        colours: dict[grids.Cell, grids.Colour] = dict.fromkeys(goals, grids.GOAL)
        if self.config.variant == "map":
            colours[MAP] = _PLAN
        for line, (stop, end) in enumerate(self._lines(spec)):
            colours[stop] = colours[end] = _COLOURS[line] if line < len(_COLOURS) else _USELESS
        return grids.paint(SIZE, SIZE, colours, agent)

    def _lines(self, spec: TaskSpec) -> list[tuple[grids.Cell, grids.Cell]]:
        return _lines(cast(int, spec.context["permutation"]), self.config.variant)


def _orders(task: int, variant: str) -> tuple[tuple[int, ...], ...]:
    """Which destination each bus has; with distraction also each useless one."""
    useless, useful = divmod(task, len(PERMUTATIONS))
    return (PERMUTATIONS[useful], PERMUTATIONS[useless]) if variant == "distraction" else (PERMUTATIONS[useful],)


def _lines(task: int, variant: str) -> list[tuple[grids.Cell, grids.Cell]]:
    """Both ends of every bus line."""
    kinds = ((STOPS, DESTINATIONS), (USELESS_STOPS, USELESS_DESTINATIONS))
    return [
        (stop, ends[destination])
        for order, (stops, ends) in zip(_orders(task, variant), kinds, strict=False)
        for stop, destination in zip(stops, order, strict=True)
    ]


_NODES = SIZE**2 * len(GOALS)
_ON, _LEFT, _ARRIVED = 0, 1, 2
"""What a move does to the episode: nothing, ends it, ends it at the goal."""


class _City:
    """State [B, 2] int64: node, steps made. Only the goal is random.

    A node is a cell of one city on the way to one goal, `_NODES * task + 4 * cell + goal`. Cities are few: where moves
    lead, what they do and what is seen are tables over all nodes, in which a step looks up a row.
    """

    uniforms = 1
    deterministic = True

    def __init__(self, config: BusConfig, device: torch.device | str) -> None:
        self.config = config
        self.tasks = len(PERMUTATIONS) ** (2 if config.variant == "distraction" else 1)
        ride = torch.arange(SIZE**2).repeat(self.tasks, 1)  # a ride from where no bus stops leads nowhere
        for task in range(self.tasks):
            for stop, end in _lines(task, config.variant):
                one, other = (x * SIZE + y for x, y in (stop, end))
                ride[task, one], ride[task, other] = other, one
        after = grids.neighbours(SIZE, MOVES).repeat(self.tasks, 1, 1)
        after[:, :, RIDE] = ride
        goals = torch.tensor([x * SIZE + y for x, y in GOALS])
        cells = after[:, :, None].expand(-1, -1, len(GOALS), -1)  # [task, cell, goal, move] the cell after it
        goal = torch.arange(len(GOALS))[:, None]
        node = (torch.arange(self.tasks).view(-1, 1, 1, 1) * SIZE**2 + cells) * len(GOALS) + goal
        does = torch.where(torch.arange(len(MOVES)) == END, _LEFT, _ON).expand_as(cells)
        does = torch.where(cells == goals[:, None], _ARRIVED, does)
        self.after, self.does = node.flatten().to(device), does.to(torch.uint8).flatten().to(device)
        self.seen = _observations(ride[0], config.variant).to(device)
        left = config.horizon + 1 - torch.arange(config.horizon + 1)
        cost = torch.stack([torch.ones_like(left), left], dim=1).to(torch.float32).mul_(-_COST)
        self.reward = (
            torch.nn.functional.pad(cost, (0, 1), value=_ARRIVAL).flatten().to(device)
        )  # by time, _ON to _ARRIVED
        self.start = (START[0] * SIZE + START[1]) * len(GOALS)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        tasks = [cast(int, spec.context["permutation"]) for spec in specs]
        orders = np.array([[d for order in _orders(task, self.config.variant) for d in order] for task in tasks])
        task = torch.tensor(tasks)
        return {"first": task * _NODES + self.start, "orders": torch.from_numpy(orders)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        node = (uniform[:, 0] * len(GOALS)).to(torch.int64).add_(tables["first"])
        return torch.stack([node, torch.zeros_like(node)]).T

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        node = state[:, 0]
        return self.seen.index_select(0, node if self.config.variant == "map" else node % _NODES)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        node, time = state.unbind(1)
        time = (time + 1).clamp_(max=self.config.horizon)  # a slot may be stepped past its end
        move = torch.add(action, node, alpha=len(MOVES))
        does = self.does.index_select(0, move)
        reward = self.reward.index_select(0, torch.add(does, time, alpha=_ARRIVED + 1))
        return torch.stack([self.after.index_select(0, move), time]).T, reward, does > _ON

    def descriptor(self, tables: Tables) -> Tensor:
        return grids.one_hot(tables["orders"], 4).flatten(1)


def _observations(ride: Tensor, variant: str) -> Tensor:
    """[rows, width] of every cell and goal, row `4 * cell + goal`; in the variant "map" once for every task.

    Where buses stop is the same in all cities: `ride` [81] is that of any.
    """
    row = torch.arange(SIZE**2 * len(GOALS))
    place, goal = row // len(GOALS), row % len(GOALS)
    stop = ride[place] != place
    columns = (grids.one_hot(place // SIZE, SIZE), grids.one_hot(place % SIZE, SIZE))
    seen = torch.cat([*columns, stop[:, None].to(torch.float32), grids.one_hot(goal, len(GOALS))], dim=1)
    if variant != "map":
        return seen
    here = place == MAP[0] * SIZE + MAP[1]
    tasks = torch.arange(len(PERMUTATIONS))[:, None]
    shown = grids.one_hot(torch.where(here, tasks, -1), len(PERMUTATIONS))
    return torch.cat([seen.expand(len(tasks), -1, -1), shown], dim=2).flatten(0, 1)

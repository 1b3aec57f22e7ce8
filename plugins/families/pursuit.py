"""Pursuit: predators and their prey on a grid with walls; one predator is ours.

After the pursuit games of Benda, Jagannathan and Dodhiawala 1986, "On optimal cooperation of knowledge sources"; on a
grid and with limited sight as in PettingZoo's SISL pursuit (Gupta et al. 2017, "Cooperative Multi-agent Control using
Deep Reinforcement Learning", section 5.2).

Predators begin in corners, ours at (0, 0), the prey in its den. All predators move at once: ours by the action, each
partner with probability `skill` a shortest way to the prey, else at random; a move comes to something with probability
`speed`. If then `together` of them are on the prey's cell or beside it, it is caught, which pays 1 and ends the
episode. Otherwise the step costs 1 / horizon, and with probability `prey_speed` the prey moves: while a predator is
within `prey_sight` steps to the cell farthest from the nearest one, else at random. Ways are counted around walls; of
equal moves the first counts.

One predator is ours, and not all of them as one: what partners are like is then as hidden in a task as the layout is,
so that who adapts has to find out about both, and any agent that makes choices can play. Who wants several learners
takes `parallel` and `taskgen.make_parallel`.

Nothing but sight hides the state: an episode of full sight is a Markov decision process that is small enough to be
solved (`Pursuit.optimal_return`); the best player who sees less earns less.

Axes: B slots, S cells, n predators, m moves.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from plugins.families import grids
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Choice, IntegerRange, Uniform

MOVES = (grids.STAY, grids.UP, grids.RIGHT, grids.DOWN, grids.LEFT)
"""What the actions do, in their order."""
EDITS = 2
"""Walls that one mutation draws."""
_STATES = 1_000_000
_PARTNER = (60, 90, 170)


class PursuitConfig(Config):
    """Structural settings of `Pursuit`."""

    size: int = Field(5, ge=3, le=30, description="Rows and columns of cells.")
    predators: int = Field(2, ge=1, le=3, description="Predators, the first of whom is ours.")
    together: int = Field(2, ge=1, le=3, description="Predators on or beside the prey's cell that catch it.")
    horizon: int = Field(20, ge=1, le=1000, description="Steps per episode.")

    @model_validator(mode="after")
    def _solvable(self) -> "PursuitConfig":
        if self.together > self.predators:
            raise ValueError(f"together = {self.together}: there are {self.predators} predators to catch the prey")
        if (states := self.size ** (2 * self.predators + 2)) > _STATES:
            raise ValueError(
                f"size = {self.size} with predators = {self.predators} has {states:,} states, allowed are {_STATES:,}, "
                "of which the best return can be worked out"
            )
        return self


class Pursuit(TaskFamily[PursuitConfig]):
    """Actions: stay, up, right, down, left. Observation [2 + 4 + 3 n]: our column and row; 1 where a move up, right,
    down, left is not held back; of the prey and every partner 1 where it is seen, and (columns, rows) to it, else 0s.

    Seen is who is at most `sight` columns and rows away, through walls too. Cell (x, y) has number size * x + y.
    """

    def __init__(self, config: PursuitConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        size, others = float(config.size), config.predators
        low = [0.0, 0.0, *[0.0] * 4, *[0.0, 1 - size, 1 - size] * others]
        high = [size - 1, size - 1, *[1.0] * 4, *[1.0, size - 1, size - 1] * others]
        self.observation_space = gym.spaces.Box(np.array(low, dtype=np.float32), np.array(high, dtype=np.float32))
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon
        self.solved_return = 0.5 / config.horizon
        """Of catching the prey at all."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """Walls and den, speeds and sight; how good partners are, where there are some."""
        size = self.config.size
        walls = Choice(values=(0, 1), weights=(0.9, 0.1))
        knobs = {
            "walls": Knob(
                0, 1, 0, "walls[x][y] is 1 where a cell is a wall.", shape=(size, size), integer=True, vary=walls
            ),
            "den": Knob(
                *(0, size**2 - 1, size * (size - 1)),
                "Number of the cell where the prey begins.",
                integer=True,
                vary=IntegerRange(low=0, high=size**2 - 1),
            ),
            "speed": Knob(0.1, 1.0, 1.0, "Probability that a predator's move comes to something."),
            "prey_speed": Knob(
                0.0, 1.0, 0.6, "Probability that the prey moves in a step.", vary=Uniform(low=0.2, high=0.8)
            ),
            "sight": Knob(
                *(1, size - 1, 2),
                "Columns and rows at which we see others.",
                integer=True,
                vary=IntegerRange(low=1, high=size - 1),
            ),
            "prey_sight": Knob(
                *(0, size**2, 2),
                "Steps at which the prey sees predators and flees.",
                integer=True,
                vary=IntegerRange(low=0, high=3),
            ),
        }
        if self.config.predators > 1:
            help_ = "Probability that a partner goes for the prey, not anywhere."
            knobs["skill"] = Knob(0.0, 1.0, 0.8, help_, vary=Uniform(low=0.0, high=1.0))
        return ContextSpace(knobs)

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is [S + 2 + 5]: walls by cell, the den's column and row, `_NUMBERS`."""
        return TensorBatch(self, Chase(self.config, device), slots, device)

    def validate(self, context: Mapping[str, Any]) -> None:
        """The den is free and no predator begins there, nor in a wall, and each can come to it."""
        size, den = self.config.size, context["den"]
        walls = torch.tensor(context["walls"]).flatten()[None] > 0
        starts = starts_of(self.config)
        for cell, whose in ((den, "the den"), *((cell, "the start of a predator") for cell in starts)):
            if walls[0, cell]:
                x, y = divmod(cell, size)
                raise TaskError(f"{self.name}: {whose} is a wall; walls[{x}][{y}] must be 0")
        if den in starts:
            raise TaskError(f"{self.name}: den = {den} is where a predator begins; give none of {starts}")
        way = distances(after_of(walls, size))[0]
        if any(way[cell, den] >= size**2 for cell in starts):
            raise TaskError(f"{self.name}: walls cut a predator off from den = {den}; leave a way between them")

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """`EDITS` cells become a wall or open, and the den moves to a cell beside it; what is not valid is left out."""
        edited = dict(context)
        for _ in range(EDITS):
            x, y = (int(rng.integers(self.config.size)) for _ in range(2))
            walls = [list(line) for line in edited["walls"]]
            walls[x][y] = 1 - walls[x][y]
            edited = self._valid({**edited, "walls": tuple(map(tuple, walls))}, edited)
        return self._valid({**edited, "den": grids.neighbour(edited["den"], self.config.size, rng)}, edited)

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[7] share of walls, the den's column and row, 0 to 1, speeds, skill, sight by the size."""
        last = self.config.size - 1
        x, y = divmod(context["den"], self.config.size)
        numbers = [context["speed"], context["prey_speed"], context.get("skill", 0.0), context["sight"] / last]
        walls = float(np.mean(np.asarray(context["walls"])))
        return np.array([walls, x / last, y / last, *numbers], dtype=np.float64)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Expected return of the best player of full sight, by value iteration from the episode's end."""
        return best_return(self.config, cast("Mapping[str, Any]", spec.context))

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """Walls in grey, the prey in green, partners in blue, ours in red, where they begin."""
        return self._draw(spec, [*starts_of(self.config), cast(int, spec.context["den"])])

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`."""
        return self._draw(spec, [int(cell) for cell in state])

    def _valid(self, context: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
        try:
            self.validate(context)
        except TaskError:
            return otherwise
        return context

    def _draw(self, spec: TaskSpec, cells: Sequence[int]) -> NDArray[np.uint8]:
        size = self.config.size
        walls = [(int(x), int(y)) for x, y in np.argwhere(np.asarray(cast(Any, spec.context["walls"])))]
        ours, *partners, prey = [divmod(cell, size) for cell in cells]
        colours = {**dict.fromkeys(walls, grids.CLOSED), prey: grids.GOAL, **dict.fromkeys(partners, _PARTNER)}
        return grids.paint(size, size, colours, ours)


_NUMBERS = ("speed", "prey_speed", "skill", "sight", "prey_sight")


class Chase:
    """State [B, n + 1] int64: the cells of the predators, ours first, and of the prey."""

    fixed_start = True

    def __init__(self, config: PursuitConfig, device: torch.device | str) -> None:
        self.size, self.predators, self.together = config.size, config.predators, config.together
        self.cost = -1.0 / config.horizon
        self.starts = torch.tensor(starts_of(config), device=device)
        self.cells = config.size**2
        self.order = torch.arange(len(MOVES), device=device)
        self.uniforms = 3 * config.predators
        """Of every predator whether its move comes to something, of partners and prey besides two: which move."""

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        """`after` [B, S * m] cells that moves lead to, `way` [B, S * S] steps from cell to cell, and the knobs."""
        contexts = [cast("Mapping[str, Any]", spec.context) for spec in specs]
        walls = torch.tensor([context["walls"] for context in contexts], dtype=torch.bool).flatten(1)
        after = after_of(walls, self.size)
        numbers = {
            name: torch.tensor([context.get(name, 0.0) for context in contexts], dtype=torch.float32)
            for name in _NUMBERS
        }
        den = torch.tensor([context["den"] for context in contexts], dtype=torch.int64)
        return {"walls": walls, "after": after.flatten(1), "way": distances(after).flatten(1), "den": den, **numbers}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        """Predators in their corners, the prey in its den."""
        return torch.cat([self.starts.expand(len(tables["den"]), -1), tables["den"][:, None]], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        """See `Pursuit`."""
        place = torch.stack([state // self.size, state % self.size], dim=2)
        own, others = place[:, :1], place[:, 1:].roll(1, dims=1)  # the prey first
        gap = (others - own).to(torch.float32)
        seen = (gap.abs().amax(2) <= tables["sight"][:, None]).to(torch.float32)
        free = (self.ahead(tables, state[:, 0])[:, 1:] != state[:, :1]).to(torch.float32)
        told = torch.cat([seen[..., None], gap * seen[..., None]], dim=2)
        return torch.cat([own[:, 0].to(torch.float32), free, told.flatten(1)], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Dynamics.step`."""
        prey, count = state[:, -1], self.predators
        moved: list[Tensor] = []
        for number in range(count):
            cell, ahead = state[:, number], self.ahead(tables, state[:, number])
            move = action
            if number:
                luck, anywhere = uniform[:, count + 2 * number - 2], uniform[:, count + 2 * number - 1]
                chase = self._first(self.steps(tables, ahead, prey[:, None]), sign=1)
                move = torch.where(luck < tables["skill"], chase, self._any(anywhere))
            went = uniform[:, number] < tables["speed"]
            moved.append(torch.where(went, ahead.gather(1, move[:, None])[:, 0], cell))
        hunters = torch.stack(moved, dim=1)
        near = self.steps(tables, hunters, prey[:, None]) <= 1
        caught = near.sum(1) >= self.together
        ahead = self.ahead(tables, prey)
        gaps = torch.stack([self.steps(tables, ahead, cell[:, None]) for cell in moved], dim=2).amin(2)
        threatened = self.steps(tables, hunters, prey[:, None]).amin(1) <= tables["prey_sight"]
        flight = torch.where(threatened, self._first(gaps, sign=-1), self._any(uniform[:, -1]))
        goes = (uniform[:, -2] < tables["prey_speed"]) & ~caught
        prey = torch.where(goes, ahead.gather(1, flight[:, None])[:, 0], prey)
        return torch.cat([hunters, prey[:, None]], dim=1), torch.where(caught, 1.0, self.cost), caught

    def descriptor(self, tables: Tables) -> Tensor:
        """[B, S + 2 + 5] float32: walls, the den's column and row, `_NUMBERS`."""
        den = torch.stack([tables["den"] // self.size, tables["den"] % self.size], dim=1).to(torch.float32)
        numbers = torch.stack([tables[name] for name in _NUMBERS], dim=1)
        return torch.cat([tables["walls"].to(torch.float32), den, numbers], dim=1)

    def ahead(self, tables: Tables, cell: Tensor) -> Tensor:
        """[B, m] the cells that moves from `cell` [B] lead to."""
        return tables["after"].gather(1, cell[:, None] * len(MOVES) + self.order)

    def steps(self, tables: Tables, cells: Tensor, goal: Tensor) -> Tensor:
        """[B, k] steps from `cells` [B, k] to `goal` [B, 1]."""
        return tables["way"].gather(1, cells * self.cells + goal)

    def _first(self, values: Tensor, sign: int) -> Tensor:
        """[B] the move of the lowest of `sign * values` [B, m], the first of equals."""
        return (sign * values.to(torch.int64) * len(MOVES) + self.order).argmin(1)

    def _any(self, uniform: Tensor) -> Tensor:
        return (uniform * len(MOVES)).to(torch.int64).clamp(max=len(MOVES) - 1)


def starts_of(config: PursuitConfig) -> list[int]:
    """Cells where the predators begin: lower left, upper right, upper left."""
    last, size = config.size - 1, config.size
    return [0, size * last + last, last][: config.predators]


def after_of(walls: Tensor, size: int) -> Tensor:
    """[B, S, m] int64 cells that each of `MOVES` leads to; `walls` [B, S] bool and the edge hold back."""
    ahead = grids.neighbours(size, MOVES)
    return torch.where(walls[:, ahead], torch.arange(size**2)[:, None], ahead)


def distances(after: Tensor) -> Tensor:
    """[B, S, S] int16 fewest moves from cell to cell; S where there is no way."""
    batch, cells, moves = after.shape
    way = torch.full((batch, cells, cells), cells, dtype=torch.int16)
    way.diagonal(dim1=1, dim2=2).zero_()
    index = after.flatten(1)[..., None].expand(-1, -1, cells)
    while True:
        nearer = torch.minimum(way, 1 + way.gather(1, index).view(batch, cells, moves, cells).amin(2))
        if torch.equal(nearer, way):
            return way
        way = nearer


def best_return(config: PursuitConfig, context: Mapping[str, Any]) -> float:
    """Expected return of the best player who sees all.

    V_H = 0. With o ours, p the partners', q the prey's cell and ' for after a move,

        W(o', p', q)  = 1 where it is caught, else c + E_q' V_{h+1}(o', p', q')
        V_h(o, p, q)  = max_a E_o' E_p' W(o', p', q),   c = -1 / H
    """
    walls = torch.tensor(context["walls"]).flatten()[None] > 0
    after_, way_ = after_of(walls, config.size), distances(after_of(walls, config.size))
    after, way = after_[0].numpy(), way_[0].numpy().astype(np.int64)
    cells, count, order = len(after), config.predators, np.arange(len(MOVES))
    gaps = [way.reshape(*(cells if axis == number else 1 for axis in range(count)), cells) for number in range(count)]
    """Of every predator, broadcast over the cells of all: [S, ..., S of the prey]."""
    caught = sum((gap <= 1).astype(np.int64) for gap in gaps) >= config.together
    nearest = np.minimum.reduce(np.broadcast_arrays(*gaps))
    flight = after[np.arange(cells), (-nearest[..., after] * len(MOVES) + order).argmin(-1)]
    threatened = nearest <= context["prey_sight"]
    chase = after[np.arange(cells)[:, None], (way[after] * len(MOVES) + order[:, None]).argmin(1)]  # [S, S of the prey]
    speed, skill, flees = context["speed"], context.get("skill", 0.0), context["prey_speed"]
    value = np.zeros((cells,) * (count + 1))
    for _ in range(config.horizon):
        moves = np.where(threatened, np.take_along_axis(value, flight, -1), value[..., after].mean(-1))
        value = np.where(caught, 1.0, -1.0 / config.horizon + flees * moves + (1 - flees) * value)
        for axis in range(1, count):
            by_cell = np.moveaxis(value, axis, 0)  # [S of the partner, ..., S of the prey]
            index = chase.reshape(cells, *[1] * (count - 1), cells)
            chased = np.take_along_axis(by_cell, np.broadcast_to(index, by_cell.shape), 0)
            went = skill * chased + (1 - skill) * by_cell[after].mean(1)
            value = np.moveaxis(speed * went + (1 - speed) * by_cell, 0, axis)
        value = speed * value[after].max(1) + (1 - speed) * value
    return float(value[(*starts_of(config), context["den"])])

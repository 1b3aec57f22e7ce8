"""Cooking (Liu et al. 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without
Sacrifices" (DREAM), section 6): which ingredients the drawers hold is the task, and has to be found out.

3 x 3 cells, start (1, 1), where the bowl stands, 20 steps. Drawers at (2, 0), (2, 1), (2, 2) hold one of 4 ingredients
each and never run out: 64 kitchens, number i holding the digits of i in base 4, lowest first. Each episode draws a
recipe, two ingredients out of the drawers (a drawer may be drawn twice), and shows it: the first is to be put in the
bowl, then the second. As in DREAM's code kitchen 10 is for testing and all others are for training.

Every step pays -0.1, but 0.25 when it completes a part (first ingredient in hand, then in the bowl, second in hand,
then in the bowl, which ends the episode) and -0.35 when it goes wrong: picking up anything but the ingredient that is
called for, or no longer holding it without its being next in the bowl, which also takes that part back. Ending the
episode by choice costs 0.1 more for each step left. A wrong ingredient in the bowl stays there.

Picking up at the bowl empties the hand; elsewhere without a drawer it does nothing, but counts as wrong where that is
paid for. Dropping anywhere empties the hand; the bowl takes up to three ingredients.

Trial: in DREAM two episodes on one kitchen. The first only explores: its rewards do not count, and an agent made for
that leaves recipe and reward aside. Here both episodes have a recipe and pay, and what counts is the agent's to say.

Differences from DREAM: of its nine actions the one that does nothing here, riding a bus, is left out; the numbers it
observes are one-hot.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

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
from taskgen.variation import Choice

SIZE = 3
BOWL = (1, 1)
DRAWERS = ((2, 0), (2, 1), (2, 2))
INGREDIENTS = 4
KITCHENS = INGREDIENTS ** len(DRAWERS)
TEST_KITCHEN = 10
CAPACITY = 3
"""Ingredients that the bowl takes."""
MOVES = (grids.LEFT, grids.UP, grids.RIGHT, grids.DOWN, *(grids.STAY,) * 4)
"""Where the actions walk, in their order: left, up, right, down, stay, end the episode, pick up, drop."""
END, PICK_UP, DROP = 5, 6, 7
_NOTHING = INGREDIENTS
_COST, _RIGHT, _WRONG = 0.1, 0.25, 0.25
_BOWL_CELL = BOWL[0] * SIZE + BOWL[1]
_COLOURS = ((60, 90, 220), (140, 140, 60), (235, 60, 140), (150, 150, 245))
_BOWL_COLOUR = (40, 40, 40)


class CookingConfig(Config):
    """Structural settings of `Cooking`."""

    horizon: int = Field(20, ge=1, le=100_000, description="Steps per episode.")


class Cooking(TaskFamily[CookingConfig]):
    """Actions: left, up, right, down, stay, end the episode, pick up, drop. Observations are zeros and ones [36].

    Column [3] and row [3] one-hot; bowl here, drawer here [2]; in hand [5], in the bowl first, second and third
    [3 x 5], one-hot over the four ingredients and nothing; the recipe's two ingredients [2 x 4] one-hot.
    """

    def __init__(self, config: CookingConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        width = 2 * SIZE + 2 + (1 + CAPACITY) * (INGREDIENTS + 1) + 2 * INGREDIENTS
        self.observation_space = gym.spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        """The number of the kitchen; it varies over the training kitchens."""
        train = tuple(float(kitchen) for kitchen in range(KITCHENS) if kitchen != TEST_KITCHEN)
        help_ = "Number of the kitchen, in base 4 the ingredients of its drawers, lowest digit first."
        return ContextSpace({"kitchen": Knob(0, KITCHENS - 1, 0, help_, integer=True, vary=Choice(values=train))})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the ingredient in each drawer, one-hot [12]."""
        return TensorBatch(self, _Kitchen(self.config, device), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Another ingredient in one drawer."""
        drawer, more = int(rng.integers(len(DRAWERS))), int(rng.integers(1, INGREDIENTS))
        held = drawers(context["kitchen"])[drawer]
        change = (held + more) % INGREDIENTS - held
        return {**context, "kitchen": context["kitchen"] + change * INGREDIENTS**drawer}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[12] the ingredient in each drawer, one-hot."""
        return np.eye(INGREDIENTS)[list(drawers(context["kitchen"]))].flatten()

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """Drawers in the colours of what they hold, the bowl in black, the agent in red."""
        return self._draw(spec, BOWL)

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`; below, what is in hand, in the bowl, and the recipe."""
        place, hand, *bowl, _, first, second, _ = state.tolist()
        kitchen = self._draw(spec, divmod(place, SIZE))
        shown = [hand, *bowl, first, second]
        strip = {(i, 0): _COLOURS[what] for i, what in enumerate(shown) if what != _NOTHING}
        return np.concatenate([kitchen, grids.paint(len(shown), 1, strip, pixels=kitchen.shape[1] // len(shown))])

    def text(self, spec: TaskSpec) -> str:
        """S the start and the bowl, drawers by the number of their ingredient."""
        held = drawers(cast(int, spec.context["kitchen"]))
        return grids.write(
            SIZE, SIZE, {BOWL: "S"} | {cell: str(what) for cell, what in zip(DRAWERS, held, strict=True)}
        )

    def _draw(self, spec: TaskSpec, agent: grids.Cell) -> NDArray[np.uint8]:
        held = drawers(cast(int, spec.context["kitchen"]))
        colours = {cell: _COLOURS[what] for cell, what in zip(DRAWERS, held, strict=True)} | {BOWL: _BOWL_COLOUR}
        return grids.paint(SIZE, SIZE, colours, agent, pixels=32)


def drawers(kitchen: int) -> tuple[int, ...]:
    """The ingredient in each drawer, in the order of `DRAWERS`."""
    return tuple(kitchen // INGREDIENTS**drawer % INGREDIENTS for drawer in range(len(DRAWERS)))


class _Kitchen:
    """State [B, 9] int64: cell, in hand, three in the bowl, parts completed, the recipe's two, steps made.

    Only the recipe is random.
    """

    uniforms = 2
    deterministic = True

    def __init__(self, config: CookingConfig, device: torch.device | str) -> None:
        self.horizon = config.horizon
        self.after = grids.neighbours(SIZE, MOVES).to(device)
        self.slot = torch.arange(CAPACITY, device=device)
        drawer_of = torch.full((SIZE**2,), -1)
        drawer_of[[x * SIZE + y for x, y in DRAWERS]] = torch.arange(len(DRAWERS))
        self.drawer_of = drawer_of.to(device)
        # One look into a table costs less than working an observation out.
        place = torch.arange(SIZE**2)
        here = torch.stack([place == _BOWL_CELL, drawer_of >= 0], dim=1).to(torch.float32)
        columns = (grids.one_hot(place // SIZE, SIZE), grids.one_hot(place % SIZE, SIZE))
        self.places = torch.cat([*columns, here], dim=1).to(device)
        digits = torch.arange(INGREDIENTS + 1)
        held = torch.cartesian_prod(*(digits,) * (1 + CAPACITY))
        self.held = grids.one_hot(held, INGREDIENTS + 1).flatten(1).to(device)
        recipes = torch.cartesian_prod(digits[:-1], digits[:-1])
        self.recipes = grids.one_hot(recipes, INGREDIENTS).flatten(1).to(device)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"drawers": torch.tensor([drawers(cast(int, spec.context["kitchen"])) for spec in specs])}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        recipe = tables["drawers"].gather(1, (uniform * len(DRAWERS)).to(torch.int64))
        zero = torch.zeros_like(recipe[:, :1])
        empty = (zero + _NOTHING).expand(-1, 1 + CAPACITY)
        return torch.cat([zero + _BOWL_CELL, empty, zero, recipe, zero], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        place, *held, _, first, second, _ = state.unbind(1)
        holding = held[0]
        for what in held[1:]:
            holding = torch.add(what, holding, alpha=INGREDIENTS + 1)
        parts = [
            self.places.index_select(0, place),
            self.held.index_select(0, holding),
            self.recipes.index_select(0, torch.add(second, first, alpha=INGREDIENTS)),
        ]
        return torch.cat(parts, dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place, hand = state[:, 0], state[:, 1]
        bowl, part = state[:, 2 : 2 + CAPACITY], state[:, 2 + CAPACITY]
        recipe, time = state[:, 3 + CAPACITY : 5 + CAPACITY], state[:, 5 + CAPACITY] + 1
        at_bowl, drawer = place == _BOWL_CELL, self.drawer_of.index_select(0, place)
        pick, drop, ended = action == PICK_UP, action == DROP, action == END
        put = drop & at_bowl & (hand != _NOTHING)
        first_free = (bowl != _NOTHING).sum(1)
        bowl = torch.where(put[:, None] & (self.slot == first_free[:, None]), hand[:, None], bowl)
        found = tables["drawers"].gather(1, drawer.clamp(min=0)[:, None])[:, 0]
        taken = torch.where(drawer >= 0, found, torch.where(at_bowl, _NOTHING, hand))
        hand = torch.where(pick, taken, torch.where(drop, _NOTHING, hand))
        reward, part, cooked = _judge(part, recipe, hand, bowl, pick)
        reward = reward - _COST * (ended * (self.horizon - time)).to(torch.float32)
        place = self.after.view(-1).index_select(0, place * len(MOVES) + action)
        columns = [place[:, None], hand[:, None], bowl, part[:, None], recipe, time[:, None]]
        return torch.cat(columns, dim=1), reward, cooked | ended

    def descriptor(self, tables: Tables) -> Tensor:
        return grids.one_hot(tables["drawers"], INGREDIENTS).flatten(1)


def _judge(part: Tensor, recipe: Tensor, hand: Tensor, bowl: Tensor, pick: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B] reward, parts completed and whether the dish is, from the hand [B] and bowl [B, 3] after a step."""
    second, in_bowl = part >= 2, part % 2 == 1  # which ingredient it is about; holding it, or having put it in the bowl
    holds = hand == torch.where(second, recipe[:, 1], recipe[:, 0])
    right_first = bowl[:, 0] == recipe[:, 0]
    in_place = right_first & (~second | (bowl[:, 1] == recipe[:, 1]))
    right = torch.where(in_bowl, in_place, holds)
    wrong = ~right & torch.where(in_bowl, ~holds, pick)
    reward = torch.where(right, _RIGHT, torch.where(wrong, -_COST - _WRONG, -_COST))
    return reward, part + right.long() - (wrong & in_bowl).long(), right & (part == 3)

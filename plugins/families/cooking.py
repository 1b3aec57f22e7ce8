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
from taskgen.split import Split
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
_NOTHING, _THINGS = INGREDIENTS, INGREDIENTS + 1
_BOWLS, _RECIPES, _PARTS = _THINGS**CAPACITY, INGREDIENTS**2, 4
_HELD = SIZE**2 * _THINGS  # cells, and what is in hand there
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
        self.split = Split("kitchen", frozenset(range(KITCHENS)) - {TEST_KITCHEN}, frozenset({TEST_KITCHEN}))

    @cached_property
    def context_space(self) -> ContextSpace:
        """The number of the kitchen; it varies over the training kitchens."""
        train = Choice(values=tuple(float(kitchen) for kitchen in range(KITCHENS) if kitchen != TEST_KITCHEN))
        help_ = "Number of the kitchen, in base 4 the ingredients of its drawers, lowest digit first."
        return ContextSpace({"kitchen": Knob(0, KITCHENS - 1, 0, help_, integer=True, vary=train)})

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
        held, bowl, dish, _ = state.tolist()
        (place, hand), recipe = divmod(held % _HELD, _THINGS), dish % _RECIPES
        kitchen = self._draw(spec, divmod(place, SIZE))
        shown = [hand, *(bowl // _THINGS**i % _THINGS for i in reversed(range(CAPACITY))), *divmod(recipe, INGREDIENTS)]
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
    """State [B, 4] int64: held, bowl, dish, steps made. Only the recipe is random.

    `held` is 45 * kitchen + 5 * cell + what is in hand, `bowl` the three things in it as digits in base 5, the first
    one highest, and `dish` 16 * parts completed + recipe, which is 4 * first + second. All kitchens together are few:
    what a step does is looked up in tables of them.
    """

    uniforms = 2
    deterministic = True

    def __init__(self, config: CookingConfig, device: torch.device | str) -> None:
        self.horizon = config.horizon
        self.empty = _BOWL_CELL * _THINGS + _NOTHING
        after = _held_after()
        kitchen = torch.arange(KITCHENS).view(-1, 1, 1, 1) * _HELD
        self.after = (after + kitchen).flatten().to(device)
        case = after % _THINGS * _BOWLS * 2 + (torch.arange(len(MOVES)) == PICK_UP)  # of `_judged`: hand, bowl 0, pick
        self.case = case.flatten().to(device)
        put, bowl_after = _put()
        self.put, self.bowl_after = put.expand_as(case).flatten().to(device), bowl_after.flatten().to(device)
        reward, part_after = _judged()
        recipe = torch.arange(_RECIPES).view(1, -1, 1)
        self.dish_after = (part_after.view(_PARTS + 1, _RECIPES, -1) * _RECIPES + recipe).flatten().to(device)
        self.reward = reward.to(device)
        steps_left = self.horizon - torch.arange(self.horizon + 1)
        cost = torch.stack([torch.zeros_like(steps_left), steps_left], dim=1).to(torch.float32) * _COST
        self.cost = cost.flatten().to(device)  # by time, and whether the action ends the episode
        place, things = torch.arange(SIZE**2), torch.eye(_THINGS)
        here = torch.stack([place == _BOWL_CELL, _drawer_of() >= 0], dim=1).to(torch.float32)
        places = torch.cat([grids.one_hot(place // SIZE, SIZE), grids.one_hot(place % SIZE, SIZE), here], dim=1)
        held_seen = torch.cat([places.repeat_interleave(_THINGS, 0), things.repeat(SIZE**2, 1)], dim=1)
        self.held_seen = held_seen.repeat(KITCHENS, 1).to(device)
        self.bowl_seen = things[_digits(_BOWLS, _THINGS, CAPACITY)].flatten(1).to(device)
        recipe_seen = torch.eye(INGREDIENTS)[_digits(_RECIPES, INGREDIENTS, 2)].flatten(1)
        self.dish_seen = recipe_seen.repeat(_PARTS + 1, 1).to(device)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        kitchens = [cast(int, spec.context["kitchen"]) for spec in specs]
        first = torch.tensor(kitchens) * _HELD + self.empty
        return {"first": first, "drawers": torch.tensor([drawers(kitchen) for kitchen in kitchens])}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        first, second = tables["drawers"].gather(1, (uniform * len(DRAWERS)).to(torch.int64)).unbind(1)
        recipe, zero = torch.add(second, first, alpha=INGREDIENTS), torch.zeros_like(first)
        return torch.stack([tables["first"], zero + (_BOWLS - 1), recipe, zero]).T

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        held, bowl, dish, _ = state.unbind(1)
        parts = (
            self.held_seen.index_select(0, held),
            self.bowl_seen.index_select(0, bowl),
            self.dish_seen.index_select(0, dish),
        )
        return torch.cat(parts, dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        held, bowl, dish, time = state.unbind(1)
        time = (time + 1).clamp_(max=self.horizon)  # a slot may be stepped past its end
        move, ended = torch.add(action, held, alpha=len(MOVES)), action == END
        bowl = self.bowl_after.index_select(0, torch.add(self.put.index_select(0, move), bowl, alpha=_THINGS))
        case = torch.add(self.case.index_select(0, move), bowl, alpha=2)
        case = torch.add(case, dish, alpha=_THINGS * _BOWLS * 2)
        held, dish = self.after.index_select(0, move), self.dish_after.index_select(0, case)
        reward = self.reward.index_select(0, case) - self.cost.index_select(0, torch.add(ended, time, alpha=2))
        return torch.stack([held, bowl, dish, time]).T, reward, (dish >= _PARTS * _RECIPES) | ended

    def descriptor(self, tables: Tables) -> Tensor:
        return grids.one_hot(tables["drawers"], INGREDIENTS).flatten(1)


def _digits(numbers: int, base: int, count: int) -> Tensor:
    """[numbers, count] digits of 0, 1, ..., the highest first."""
    return torch.arange(numbers)[:, None] // base ** torch.arange(count - 1, -1, -1) % base


def _drawer_of() -> Tensor:
    """[cells] the drawer there, -1 for none."""
    drawer_of = torch.full((SIZE**2,), -1)
    drawer_of[[x * SIZE + y for x, y in DRAWERS]] = torch.arange(len(DRAWERS))
    return drawer_of


def _held_after() -> Tensor:
    """[kitchens, cell, in hand, action] cell and hand, as one number, after the action."""
    held, drawer = torch.tensor([drawers(kitchen) for kitchen in range(KITCHENS)]), _drawer_of()
    hand = torch.arange(_THINGS).expand(KITCHENS, SIZE**2, -1)
    found = held[:, drawer.clamp(min=0), None].expand_as(hand)
    elsewhere = torch.where((torch.arange(SIZE**2) == _BOWL_CELL)[:, None], _NOTHING, hand)
    hands = hand[..., None].repeat(1, 1, 1, len(MOVES))
    hands[..., PICK_UP] = torch.where((drawer >= 0)[:, None], found, elsewhere)
    hands[..., DROP] = _NOTHING
    return grids.neighbours(SIZE, MOVES)[:, None] * _THINGS + hands


def _put() -> tuple[Tensor, Tensor]:
    """[cell, in hand, action] what is put in the bowl, and [bowls, what is put] the bowl after that."""
    put = torch.full((SIZE**2, _THINGS, len(MOVES)), _NOTHING)
    put[_BOWL_CELL, :, DROP] = torch.arange(_THINGS)
    inside = _digits(_BOWLS, _THINGS, CAPACITY)[:, None].repeat(1, _THINGS, 1)
    first_free = (inside != _NOTHING).sum(-1, keepdim=True)
    inside = torch.where(torch.arange(CAPACITY) == first_free, torch.arange(_THINGS)[:, None], inside)
    return put, (inside * _THINGS ** torch.arange(CAPACITY - 1, -1, -1)).sum(-1)


def _judged() -> tuple[Tensor, Tensor]:
    """Reward and parts completed after a step, by part, recipe, hand and bowl after it, and whether it picked up.

    A dish that is complete stays so: a slot may be stepped past its end.
    """
    sizes = (_PARTS + 1, _RECIPES, _THINGS, _BOWLS, 2)
    part, recipe, hand, bowl, pick = torch.cartesian_prod(*map(torch.arange, sizes)).unbind(1)
    recipes, bowls = _digits(_RECIPES, INGREDIENTS, 2)[recipe], _digits(_BOWLS, _THINGS, CAPACITY)[bowl]
    reward, part = _judge(part, recipes, hand, bowls, pick.bool())
    return reward, part.clamp(max=_PARTS)


def _judge(part: Tensor, recipe: Tensor, hand: Tensor, bowl: Tensor, pick: Tensor) -> tuple[Tensor, Tensor]:
    """[B] reward and parts completed, all four when the dish is, from the hand [B] and bowl [B, 3] after a step."""
    second, in_bowl = part >= 2, part % 2 == 1  # which ingredient it is about; holding it, or having put it in the bowl
    holds = hand == torch.where(second, recipe[:, 1], recipe[:, 0])
    right_first = bowl[:, 0] == recipe[:, 0]
    in_place = right_first & (~second | (bowl[:, 1] == recipe[:, 1]))
    right = torch.where(in_bowl, in_place, holds)
    wrong = ~right & torch.where(in_bowl, ~holds, pick)
    reward = torch.where(right, _RIGHT, torch.where(wrong, -_COST - _WRONG, -_COST))
    return reward, part + right.long() - (wrong & in_bowl).long()

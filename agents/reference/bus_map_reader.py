"""Bus map reader: walks to the map first, reads it, and takes shortest ways from then on.

What adapts: where the buses go is known once the map has been read. What is meta-learned: nothing; the player knows the
city, and what the map's numbers mean.

Before the map is read the player walks to it, 4 steps from the start, whatever the goal; so its first episode returns
0.1625 on average over tasks and goals, every later one 0.8. It is how DREAM's exploration should look.

Reference: Liu et al. 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without
Sacrifices", section 6, the variant with a map.

Axes: B trials, G goals, C cells.
"""

import itertools

import torch
from torch import Tensor

from agents.reference import city
from agents.reference.player import Player
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step

_MAP = (7, 3)


class BusMapReaderConfig(Config):
    """`BusMapReader` has no settings."""


class BusMapReader(Player[BusMapReaderConfig]):
    """Goes to the map, then to the goal."""

    def __init__(self, config: BusMapReaderConfig, problem: Problem) -> None:
        """Raises `UserError` in a city without a map."""
        super().__init__(config, problem)
        if problem.structure["variant"] != "map":
            raise UserError(
                f'bus-map-reader finds no map in {problem.family} with variant = "{problem.structure["variant"]}"; '
                'set variant = "map"'
            )
        orders = torch.tensor(list(itertools.permutations(range(4))), device=problem.device)
        self._ways = city.ways(city.streets_and_buses(orders))  # [tasks, G, C]
        self._to_map = city.ways(city.streets(1, problem.device), (_MAP,))[0, 0]

    def begin_trial(self, batch: int) -> Tensor:
        """[B] int64 the task's number, -1 until it is read."""
        return torch.full((batch,), -1, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Read the map where it is seen; a step of a shortest way to it or, when it is known, to the goal."""
        sight = city.see(step.observation)
        read = torch.where(sight.shown.any(1), sight.shown.argmax(1), carry)
        read = torch.where(step.trial_start & ~sight.shown.any(1), -1, read)
        way = self._ways[read.clamp(min=0), sight.goal, sight.cell]
        return Action(torch.where(read >= 0, way, self._to_map.index_select(0, sight.cell))), read

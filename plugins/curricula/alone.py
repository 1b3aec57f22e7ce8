"""`Alone`: a player who tries tasks one by one, so that what it gets is a function of the task."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from registry.config import Part
from taskgen.borders import state_of
from taskgen.family import TaskFamily
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import planned
from taskgen.source import RESOLUTION
from taskgen.spec import TaskSpec
from taskgen.streams import child


class Alone:
    """A `player` of the catalogue, for so many `episodes` of each task, from the state it was built in."""

    def __init__(self, player: Part, family: TaskFamily[Any], episodes: int, seed: np.random.SeedSequence) -> None:
        luck = int(child(seed, "player").generate_state(1)[0])
        problem = problem_of(family, episodes=episodes, seed=luck, device=torch.device("cpu"))
        self._player = build_agent(player, problem)
        self._fresh = state_of(self._player)
        self._plan = planned(self._player, episodes)
        self._batch = family.batch(self._plan.slots)

    def returns(self, spec: TaskSpec) -> NDArray[np.float64]:
        """[episodes] in the family's own reward: where `spec` is paid by another one, it is played without it."""
        self._player.load_state_dict(self._fresh)
        trial = collect(self._player, self._batch, [replace(spec, reward=None)], plan=self._plan)
        return trial.episode_returns()[:, 0].double().cpu().numpy()


def rounding(*returns: ArrayLike) -> float:
    """How far apart `returns` may be and yet the same: rewards in another order, or other precision, sum to others."""
    return max(float(np.abs(each).max()) for each in returns) / RESOLUTION

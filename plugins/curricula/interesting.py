"""Interesting: of a source's tasks those in which the best player gets more than one who acts at random.

    kept where  J(best) - J(random) > margin + luck

both per episode, in the family's own reward: where tasks are paid by another one, players play them without it. What is
turned down teaches nothing: nothing that is done makes a difference, or nothing that can be done. A mean over few
episodes is in part luck, so the best player has to be ahead by the standard error of the difference as well: else every
other task in which nothing makes a difference would be kept, now it is about one in six. More episodes keep more of the
others, not more of these.

Reference: Open-Ended Learning Team 2021, "Open-Ended Learning Leads to Generally Capable Agents", dynamic task
generation (there the agent that learns is compared with a control policy; here, before there is an agent, the best
player).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plugins.curricula.alone import Alone, rounding
from plugins.curricula.filtered import FilterConfig, Filtered
from registry.config import Part
from registry.errors import ConfigError
from taskgen.family import TaskFamily
from taskgen.interaction.score import Optimal
from taskgen.spec import TaskSpec
from taskgen.streams import child


class InterestingConfig(FilterConfig):
    """Settings of `Interesting`."""

    margin: float = Field(
        0.0,
        ge=0,
        description="What the best player is to get more than the random one, per episode; kept is what is above it by "
        "more than luck.",
    )
    player: Part | None = Field(
        None,
        description="Who plays best, such as the family's oracle; left out: the family knows the best return of each.",
        json_schema_extra={"kind": "agents"},
    )
    episodes: int = Field(
        10,
        ge=2,
        description="Episodes of a player on each task: their mean counts, their spread says how much is luck.",
    )


class Interesting(Filtered):
    """A `Curriculum`. Raises `ConfigError` for a family that knows no best return where no `player` is named.

    Players play every task alone, from the state they were built in: the verdict is a function of the task.
    """

    def __init__(self, config: InterestingConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, family=family, seed=seed)
        self._family, self._margin = family, config.margin
        if config.player is None and not isinstance(family, Optimal):
            problem = f"{family.name} does not know the best return of a task: name a `player`, such as its oracle"
            raise ConfigError([problem], f"interesting over {family.name}")
        self._best = None if config.player is None else Alone(config.player, family, config.episodes, seed)
        self._random = Alone(Part(name="random"), family, config.episodes, child(seed, "random"))

    def _problem(self, spec: TaskSpec) -> str | None:
        best, by_chance = self._optimum(spec), self._random.returns(spec)
        ahead = best - by_chance
        luck = float(ahead.std(ddof=1)) / math.sqrt(len(ahead)) + rounding(best, by_chance)
        if ahead.mean() - luck > self._margin:
            return None
        return (
            f"task {spec.id} returns {np.mean(best):g} at best, {by_chance.mean():g} by chance, which is "
            f"{ahead.mean():.3g} more, give or take {luck:.3g}; wanted {self._margin:g} more"
        )

    def _optimum(self, spec: TaskSpec) -> float | NDArray[np.float64]:
        """What is expected of an episode, or [episodes] of the player."""
        if self._best is None:
            assert isinstance(self._family, Optimal)
            return self._family.optimal_return(spec)
        return self._best.returns(spec)

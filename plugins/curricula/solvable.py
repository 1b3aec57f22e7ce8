"""Solvable: of a source's tasks those that a player who knows the task can solve, or that a reference player does.

Solved means by the family's own reward: where tasks are paid by another one, the player plays them without it.
"""

from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.alone import Alone, rounding
from plugins.curricula.filtered import FilterConfig, Filtered
from registry.config import Part
from registry.errors import ConfigError
from taskgen.family import TaskFamily
from taskgen.interaction.score import Optimal, Solvable
from taskgen.spec import TaskSpec


class SolvableConfig(FilterConfig):
    """Settings of `SolvableTasks`."""

    least_return: float | None = Field(
        None,
        description="Return of an episode, in the family's own reward, that counts as solved; left out: the family "
        "says which one does.",
    )
    player: Part | None = Field(
        None,
        description="Who tries the tasks; left out: the family knows the best return of each.",
        json_schema_extra={"kind": "agents"},
    )
    episodes: int = Field(1, ge=1, description="Episodes of the player on each task; the best of them counts.")


class SolvableTasks(Filtered):
    """A `Curriculum`. Raises `ConfigError` where nobody can say what is solvable.

    The player plays every task alone, from the state it was built in: its verdict is a function of the task.
    """

    def __init__(self, config: SolvableConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, family=family, seed=seed)
        self._family = family
        self._least = _least_return(config, family)
        self._player = None if config.player is None else Alone(config.player, family, config.episodes, seed)

    def _problem(self, spec: TaskSpec) -> str | None:
        best = self._best(spec)
        if best >= self._least - rounding(best, self._least):
            return None
        return f"task {spec.id} returns {best:g} at best, wanted {self._least:g}"

    def _best(self, spec: TaskSpec) -> float:
        """The best return of an episode of `spec` in the family's own reward."""
        if self._player is None:
            assert isinstance(self._family, Optimal)
            return self._family.optimal_return(spec)
        return float(self._player.returns(spec).max())


def _least_return(config: SolvableConfig, family: TaskFamily[Any]) -> float:
    problems: list[str] = []
    if config.player is None and not isinstance(family, Optimal):
        problems.append(f"{family.name} does not know the best return of a task: name a `player` who tries it")
    if config.least_return is None and not isinstance(family, Solvable):
        problems.append(f"{family.name} does not say which return counts as solved: give `least_return`")
    if problems:
        raise ConfigError(problems, f"solvable over {family.name}")
    return config.least_return if config.least_return is not None else float(getattr(family, "solved_return"))  # noqa: B009

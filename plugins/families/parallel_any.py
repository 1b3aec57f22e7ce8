"""Anybody's environment of several agents, `pettingzoo.ParallelEnv`, as one of them sees it; the others are its world.

`id` is "module:name", a class or a function that makes one: of a plugin's (`--plugin FILE.py`), of a module that is
imported, or of PettingZoo, such as "pettingzoo.sisl.pursuit_v5:parallel_env". `agent` is ours. `others` says who plays:

    others = { runner_0 = "random", runner_1 = "chase:away", "*" = "rivals:rival" }

"*" stands for all that are not named; left out, they play at random. What policies are is in
`taskgen.engines.parallel_players`. So the behaviour of partners and rivals is structure of the tasks, as the agents'
names are, and numbers of the environment are their knobs: all else is that of the family `gymnasium`.

An episode ends when our agent ends. `taskgen.make_parallel` shows the same tasks to several learners: there, who is
not named in `others` is an agent that somebody else plays.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from pydantic import Field

from plugins.families.gymnasium_any import GymnasiumAny, GymnasiumAnyConfig
from taskgen.engines import gym_recipe
from taskgen.engines.gym_recipe import OPTIONS, Recipe
from taskgen.engines.parallel_env import Company, Seat, SeatEnv
from taskgen.spec import TaskSpec

_EXAMPLE = "plugins.families.tag:Tag"


class ParallelAnyConfig(GymnasiumAnyConfig):
    """Structural settings of `ParallelAny`."""

    example: ClassVar[dict[str, dict[str, Any]]] = {"stumble": {"low": 0.0, "high": 1.0}}

    id: str = Field(_EXAMPLE, description="module:name of a pettingzoo.ParallelEnv, or of a function that makes one.")
    agent: str = Field("seeker_0", description="The agent that is ours, one of possible_agents.")
    others: dict[str, str] = Field(
        {}, description="Who plays the others, by name, '*' for all else: random, or module:name of a policy."
    )

    def recipe(self, places: Mapping[str, str] | None = None) -> Recipe:
        """See `GymnasiumAnyConfig.recipe`."""
        seat = Seat(self.agent, tuple(sorted(self.others.items())))
        return gym_recipe.recipe(self.id, self.kwargs, places, self.leave_out, seat)


class ParallelAny(GymnasiumAny):
    """Spaces and rewards are those of our agent."""

    @property
    def judged(self) -> tuple[str, ...]:
        """Ours: sources are told its return, whoever plays the others."""
        return (cast(ParallelAnyConfig, self.config).agent,)

    def parallel(self, spec: TaskSpec, render_mode: str | None = None) -> Company:
        """The task for all whose policy is not named in `others`; parts in `leave_out` are shown."""
        numbers = {name: cast(float, spec.context[name]) for name in self.config.knobs}
        recipe = replace(self.recipe, leave_out=())
        assert recipe.seat is not None
        env = cast(SeatEnv, gym_recipe.make(recipe, numbers, render_mode))
        options = gym_recipe.values_for(recipe, OPTIONS, numbers)
        level = spec.seed % 2**31 if self.config.levels else None
        return Company(env.env, recipe.id, recipe.seat, options=options, level=level)

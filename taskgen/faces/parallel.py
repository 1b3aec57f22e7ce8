"""Tasks of a source as a PettingZoo environment, `pettingzoo.ParallelEnv`: every reset draws a task.

For learners of several agents at once. The source is told the return of every episode that was played to its end, so
that curricula work; an episode ends at the horizon of the family at the latest.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv  # pyright: ignore[reportMissingTypeStubs]

from registry.errors import UserError
from taskgen.build import family_of
from taskgen.faces.actions import as_array, invalid
from taskgen.faces.resets import plain_seed, refuse_options
from taskgen.faces.trials import refuse
from taskgen.family import Shared
from taskgen.interaction.score import score_returns
from taskgen.source import Curriculum, TaskResult, TaskSource
from taskgen.spaces import pack, unpack
from taskgen.spec import TaskSpec


class ParallelTasks(ParallelEnv[str, Any, Any]):
    """One episode of a task at a time, all its agents at once.

    `reset(seed=...)` begins anew: noise goes by the seed, and so does the source where `rebuild` makes one of a seed;
    else the source goes back to where it was when it was given. An episode that a reset cut is not told. Infos hold
    "task_id", `TaskSpec.number` of the task. What the environment of a task does wrong is raised as it is.
    """

    def __init__(
        self,
        source: TaskSource,
        *,
        render_mode: str | None = None,
        rebuild: Callable[[int], TaskSource] | None = None,
    ) -> None:
        """Asks `source` for the first task. Raises `UserError` for a family of one agent, and as `refuse` does."""
        self._source, self._rebuild = source, rebuild
        self._given = copy.deepcopy(source.state_dict())
        self.render_mode = render_mode
        self._first: list[TaskSpec] = source.ask(1)
        """Asked for already, and not yet played."""
        (self.task,) = self._first
        """The task of the episode."""
        self.family = family_of(self.task)
        if not isinstance(self.family, Shared):
            raise UserError(
                f"{self.family.name} has one agent: take taskgen.make_sampler or make_trials, or a family that several "
                "play, such as parallel"
            )
        refuse(source, self.task, 1, 1)
        self._env = self._made(self.task)
        self.metadata = {"name": "parallel_tasks_v0", **dict(self._env.metadata)}
        self.possible_agents = list(self._env.possible_agents)
        self.agents: list[str] = []
        self._spaces = {agent: copy.deepcopy(self._spaces_of(agent)) for agent in self.possible_agents}
        self._random = np.random.default_rng()
        self._time, self._returns = 0, dict[str, float]()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.ParallelEnv.observation_space`."""
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.ParallelEnv.action_space`."""
        return self._spaces[agent][1]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode of the next task. There are no options, but for what PettingZoo's own test gives."""
        refuse_options({} if options == {"options": 1} else options)
        if (known := plain_seed(seed)) is not None:
            self._random = np.random.default_rng(known)
            self._restart(known)
        (spec,) = self._first or self._source.ask(1)
        self._first = []
        self._play(spec)
        observations, infos = self._env.reset(seed=int(self._random.integers(2**31)))
        self.agents = list(self._env.agents)
        self._time, self._returns = 0, dict.fromkeys(self.possible_agents, 0.0)
        return observations, self._noted(infos)

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """See `pettingzoo.ParallelEnv.step`.

        Raises `gymnasium.error.InvalidAction` outside of an action space and where agents that play have none,
        `ResetNeeded` after the end.
        """
        if not self.agents:
            raise gym.error.ResetNeeded("the episode is over or none has begun: call reset(), which draws a task")
        if set(actions) != set(self.agents):
            names = ", ".join(map(str, actions)) or "nobody"
            raise gym.error.InvalidAction(f"actions of {names}: expected one of each of {', '.join(self.agents)}")
        given = {agent: self._element(agent, action) for agent, action in actions.items()}
        observations, rewards, terminations, truncations, infos = self._env.step(given)
        self._time += 1
        for agent, reward in rewards.items():
            self._returns[agent] += float(reward)
        if self._time >= self.family.horizon:
            truncations = {agent: bool(cut or not terminations[agent]) for agent, cut in truncations.items()}
        ended = {agent for agent in rewards if terminations[agent] or truncations[agent]}
        self.agents = [agent for agent in self._env.agents if agent not in ended]
        if not self.agents:
            self._tell()
        return observations, rewards, terminations, truncations, self._noted(infos)

    def state(self) -> Any:
        """What the task's environment says of all of it, where it does: see `pettingzoo.ParallelEnv.state`."""
        return self._env.state()

    def render(self) -> Any:
        """What the task's environment draws; None before the first reset and without a render mode."""
        return self._env.render() if self._returns and self.render_mode is not None else None

    def close(self) -> None:
        """Close the environment of the task."""
        self._env.close()

    def _restart(self, seed: int) -> None:
        """The source begins anew."""
        if self._rebuild is not None:
            self._source = self._rebuild(seed)
        else:
            self._source.load_state_dict(copy.deepcopy(self._given))
        self._first = []

    def _play(self, spec: TaskSpec) -> None:
        """Play `spec` from now on. Raises `UserError` where its agents or their spaces are others."""
        if spec != self.task:
            self._env.close()
            self._env = self._made(spec)
            found = {agent: self._spaces_of(agent) for agent in self._env.possible_agents}
            if found != self._spaces:
                odd = [agent for agent in {**found, **self._spaces} if found.get(agent) != self._spaces.get(agent)]
                raise UserError(f"task {spec.id}: {', '.join(odd)} of it is not there, or has other spaces than before")
        self.task = spec

    def _made(self, spec: TaskSpec) -> ParallelEnv[str, Any, Any]:
        if spec.reward is not None:
            raise UserError(f"task {spec.id} pays {spec.reward.name}, which is one agent's reward: leave it out")
        return cast(Shared, self.family).parallel(spec, self.render_mode)

    def _spaces_of(self, agent: str) -> tuple[gym.Space[Any], gym.Space[Any]]:
        return self._env.observation_space(agent), self._env.action_space(agent)

    def _element(self, agent: str, action: object) -> Any:
        value = as_array(self.action_space(agent), action)
        if value is None:
            raise invalid(action, self.action_space(agent), f" of {agent}")
        return unpack(self.action_space(agent), pack(self.action_space(agent), value))

    def _tell(self) -> None:
        if not self._source.feedback:
            return
        judged = cast(Shared, self.family).judged
        earned = np.array([[sum(self._returns[agent] for agent in judged) / len(judged)]])
        wanted = self._source.scores if isinstance(self._source, Curriculum) else ()
        self._source.tell(score_returns([self.task], earned, earned, self.family, wanted))

    def _noted(self, infos: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        return {agent: {**info, "task_id": self.task.number} for agent, info in infos.items()}


class Always:
    """A source of one task."""

    feedback = False

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec

    def ask(self, n: int) -> list[TaskSpec]:
        """`n` times the task."""
        return [self._spec] * n

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Nothing changes."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""

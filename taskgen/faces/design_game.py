"""The environment-design game as a PettingZoo AEC environment: a teacher makes a task, two students play it.

    teacher_0 makes the task, one placement a turn -> protagonist_0 and antagonist_0 play it, turn by turn
    regret = max over the antagonist's episodes of their return - mean over the protagonist's

The students get the task's own rewards. The teacher gets the regret when both have played their episodes: what is
easy for both or impossible pays nothing, what one can do and the other cannot pays most. A design that the family
refuses is no task: nobody plays, and every return counts as zero.

Reference: Dennis et al. 2020, "Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design",
sections 3 and 5.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv  # pyright: ignore[reportMissingTypeStubs]

from registry.config import parse
from registry.errors import TaskError
from taskgen.build import build_family
from taskgen.engines.design import DesignConfig, DesignFamily, Drawing, figures_of
from taskgen.faces.actions import as_array, invalid
from taskgen.faces.drawing import FPS, check_render_mode, render_modes
from taskgen.faces.env import TaskEnv
from taskgen.faces.resets import plain_seed, refuse_options
from taskgen.family import TaskFamily
from taskgen.spaces import inner, is_composite, rebuilt
from taskgen.spec import TaskSpec

TEACHER, PROTAGONIST, ANTAGONIST = "teacher_0", "protagonist_0", "antagonist_0"


class DesignGame(AECEnv[str, Any, Any]):
    """One design and the episodes played on it, from reset to the end.

    What the teacher observes and does is `taskgen.engines.design.DesignFamily`'s; the students' spaces are the
    family's. Both students play their `episodes` with the same noise. At the end every `info` holds "task", the JSON
    text of what was made, or "refused", why it is no task; the teacher's also "regret" and the design's figures.
    """

    def __init__(
        self, family: TaskFamily[Any], config: DesignConfig, *, episodes: int = 1, render_mode: str | None = None
    ) -> None:
        """Raises `ConfigError` for a design that does not fit the family, `UnsupportedMode` for what it cannot draw."""
        if episodes < 1:
            raise TaskError(f"episodes = {episodes}: every student plays at least one")
        super().__init__()
        self.family = family
        known = {"render_modes": render_modes(family), "render_fps": FPS}
        self.metadata = {"name": "design_game_v0", "is_parallelizable": False, **known}
        check_render_mode(family, render_mode)
        self.render_mode = render_mode
        self.possible_agents = [TEACHER, PROTAGONIST, ANTAGONIST]
        self.agents = []
        self.task: TaskSpec | None = None
        """What was made, once it is complete and a task of the family."""
        self._designs = DesignFamily(config, family)
        self._drawing = Drawing(self._designs)
        self._episodes = episodes
        families = {TEACHER: self._designs, PROTAGONIST: family, ANTAGONIST: family}
        self.observation_spaces = {name: copy.deepcopy(one.observation_space) for name, one in families.items()}
        self.action_spaces = {name: copy.deepcopy(one.action_space) for name, one in families.items()}
        self._random = np.random.default_rng()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.AECEnv.observation_space`."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.AECEnv.action_space`."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin a design. `seed` decides all noise from then on; without one it goes on.

        There are no options: any is refused with `gymnasium.error.Error`, but for what PettingZoo's own test gives.
        """
        refuse_options({} if options == {"options": 1} else options)
        seed = plain_seed(seed)
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self._skip_agent_selection = None
        self.agent_selection = TEACHER
        self.task = None
        self._students: dict[str, TaskEnv] = {}
        self._returns: dict[str, list[float]] = {PROTAGONIST: [0.0], ANTAGONIST: [0.0]}
        self._seed = int(self._random.integers(2**53))
        self._seen: dict[str, Any] = {student: _nothing(self.observation_spaces[student]) for student in self._returns}
        self._seen[TEACHER] = self._drawing.begin(self._seed)

    def observe(self, agent: str) -> Any:
        """What `agent` saw last; zeros for a student while there is no task."""
        return self._seen[agent]

    def step(self, action: Any) -> None:
        """The turn of `agent_selection`; None for one that has finished.

        Raises `gymnasium.error.InvalidAction` outside its action space, `ResetNeeded` before the first reset.
        """
        if not self.agents:
            raise gym.error.ResetNeeded("reset() begins a design; call it before step()")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        value = as_array(self.action_spaces[agent], action)
        if value is None:
            raise invalid(action, self.action_spaces[agent], f" of {agent}")
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        if agent == TEACHER:
            self._seen[TEACHER], complete = self._drawing.place(value)
            if complete:
                self._hand_over()
        else:
            self._play(agent, value)
        self._accumulate_rewards()
        self._deads_step_first()

    def render(self) -> Any:
        """The task that was made, or the episode of whose turn it is, see `TaskEnv.render`; None while it is made."""
        if self.render_mode is None or self.task is None:
            return None
        student = self._students.get(self.agent_selection)
        return self.family.render(self.task) if student is None else student.render()

    def close(self) -> None:
        """Nothing is held."""

    def _hand_over(self) -> None:
        """The design is complete: give it to the students, or end the game where the family refuses it."""
        context = self._drawing.context()
        told: dict[str, Any] = {}
        try:
            self.task = self.family.spec(context, seed=self._seed)
            told["task"] = self.task.to_json()
        except TaskError as problem:
            told["refused"] = str(problem)
        self.infos = {agent: dict(told) for agent in self.agents}
        self.infos[TEACHER] |= figures_of(self.family, context)
        if self.task is None:
            for student in self._returns:
                self.terminations[student] = True
            self._pay()
            return
        for student in self._returns:
            self._students[student] = TaskEnv(self.task, render_mode=self.render_mode)
            self._seen[student], _ = self._students[student].reset(seed=self._seed)
        self.agent_selection = PROTAGONIST

    def _play(self, student: str, action: Any) -> None:
        env, returns = self._students[student], self._returns[student]
        self._seen[student], reward, terminated, truncated, _ = env.step(action)
        self.rewards[student] = reward
        returns[-1] += reward
        if terminated or truncated:
            if len(returns) < self._episodes:
                returns.append(0.0)
                self._seen[student], _ = env.reset()
            else:
                self.terminations[student], self.truncations[student] = terminated, truncated
                del self._students[student]
        if not self._students:
            self._pay()
            return
        others = [other for other in self._students if other != student]
        self.agent_selection = others[0] if others else student

    def _pay(self) -> None:
        """The game is over: the teacher gets the regret."""
        regret = regret_of(self._returns[PROTAGONIST], self._returns[ANTAGONIST])
        self.rewards[TEACHER] = self.infos[TEACHER]["regret"] = regret
        self.terminations[TEACHER] = True
        self.agent_selection = TEACHER


def regret_of(protagonist: Sequence[float], antagonist: Sequence[float]) -> float:
    """From the returns of their episodes: the antagonist's best less the protagonist's mean."""
    return max(antagonist) - sum(protagonist) / len(protagonist)


def design_game(
    family: TaskFamily[Any] | str,
    settings: Mapping[str, Any] | None = None,
    *,
    episodes: int = 1,
    render_mode: str | None = None,
    **design: Any,
) -> DesignGame:
    """The environment-design game on `family`, or on the family of that name with its `settings`.

    `design` are the settings of `taskgen.engines.design.DesignConfig`: placements, knobs, noise. Raises `UserError`
    for what is unknown or does not fit.
    """
    made = build_family(family, settings) if isinstance(family, str) else family
    return DesignGame(made, parse(DesignConfig, design, "design"), episodes=episodes, render_mode=render_mode)


def _nothing(space: gym.Space[Any]) -> Any:
    """Zeros, or what in `space` is next to them."""
    if is_composite(space):
        return rebuilt(space, [_nothing(part) for _, part in inner(space)])
    bounds = cast(Any, space)
    if isinstance(space, gym.spaces.Box):
        return np.zeros(space.shape, dtype=bounds.dtype).clip(bounds.low, bounds.high)
    start = np.asarray(getattr(space, "start", 0))
    return np.broadcast_to(start, space.shape or ()).astype(bounds.dtype)[()]

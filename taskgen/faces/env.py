"""One task as a `gymnasium.Env`."""

import copy
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from taskgen.engines.slots import Slots
from taskgen.faces.actions import as_array, invalid
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec

FPS = 4
"""Frames per second that viewers are told; there is one frame per step."""
_ALL = np.ones(1, dtype=np.bool_)


class TaskEnv(gym.Env[Any, Any]):
    """A task of any family, played with NumPy values. `info["task_id"]` is the task's id.

    A step's `info["family_reward"]`, where the task has a reward of its own, is what the family would have paid; its
    `info["fault"]`, where the simulation diverged, why the episode was cut short. Other steps have no such keys.

    `reset(seed=...)` decides all noise from then on; without a seed the noise goes on. The same seed and actions give
    the same episode, bit for bit, here and in any slot of a `TaskVectorEnv`. An episode ends truncated at the family's
    horizon; with a horizon of one step it ends terminated, being complete.
    """

    _spec: EnvSpec | None = None

    def __init__(self, task: TaskSpec, *, device: str = "cpu", render_mode: str | None = None) -> None:
        """Raises `TaskError` for an invalid task, `gymnasium.error.UnsupportedMode` for what the family cannot draw."""
        self._slots = Slots([task], device)
        self.family = self._slots.family
        self.metadata = {"render_modes": render_modes(self.family), "render_fps": FPS}
        check_render_mode(self.family, render_mode)
        self.render_mode = render_mode
        self.observation_space = copy.deepcopy(self.family.observation_space)  # sampling from it stays this env's own
        self.action_space = copy.deepcopy(self.family.action_space)
        self._needs_reset = "reset() starts the first episode; call it before step()"

    @property
    def task(self) -> TaskSpec:
        """The task of the current episode."""
        return self._slots.tasks[0]

    def set_task(self, task: TaskSpec) -> None:
        """Play `task`, of the same family and structure, from the next reset on."""
        self._slots.set_tasks([task])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env.reset`. There are no options."""
        super().reset(seed=seed)
        if seed is None and not self._slots.seeded[0]:
            seed = draw_seed(self.np_random)
        observation = self._slots.reset(_ALL, {} if seed is None else {0: seed})
        self._needs_reset = ""
        return observation[0], self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`. Raises `InvalidAction` outside the action space, `ResetNeeded` after the end."""
        if self._needs_reset:
            raise gym.error.ResetNeeded(self._needs_reset)
        value = as_array(self.action_space, action)
        if value is None:
            raise invalid(action, self.action_space)
        observation, reward, terminated, truncated = self._slots.step(value[None])
        if terminated[0] or truncated[0]:
            self._needs_reset = "the episode has ended; call reset() before the next step()"
        notes = {name: values.tolist()[0] for name, (values, known) in self._slots.notes.items() if known[0]}
        info = {**self._info(), **notes}
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        """The current task, as text ("ansi") or RGB frame ("rgb_array"); None without a render mode."""
        return None if self.render_mode is None else self.family.render(self.task)

    @property
    def spec(self) -> EnvSpec | None:
        """What `gymnasium.make` made this from, with the task as JSON text, so that it can be written as JSON."""
        return self._spec

    @spec.setter
    def spec(self, value: EnvSpec | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if value is not None and isinstance(value.kwargs.get("task"), TaskSpec):
            value = copy.copy(value)
            value.kwargs = {**value.kwargs, "task": value.kwargs["task"].to_json()}
        self._spec = value

    def _info(self) -> dict[str, Any]:
        return {"task_id": self._slots.ids[0]}


def draw_seed(generator: np.random.Generator) -> int:
    """A seed for a slot that was never given one."""
    return int(generator.integers(2**63))


@lru_cache(maxsize=256)
def render_modes(family: TaskFamily[Any]) -> list[str]:
    """What `family.render` gives, in Gymnasium's words."""
    return ["ansi" if isinstance(family.render(family.spec()), str) else "rgb_array"]


def check_render_mode(family: TaskFamily[Any], mode: str | None) -> None:
    """Raise `gymnasium.error.UnsupportedMode` for a mode that `family` cannot render."""
    known = render_modes(family)
    if mode is not None and mode not in known:
        raise gym.error.UnsupportedMode(f"render_mode = {mode!r}: {family.name} has {' and '.join(known)}, or None")

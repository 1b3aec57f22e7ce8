"""One task as a `gymnasium.Env`."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from taskgen.engines.slots import Slots
from taskgen.faces.actions import as_array, invalid
from taskgen.faces.drawing import FPS, check_render_mode, render_modes
from taskgen.faces.registration import spec_of, stated
from taskgen.faces.resets import draw_seed, plain_seed, refuse_options
from taskgen.spaces import pack, unpack
from taskgen.spec import TaskSpec

_ALL = np.ones(1, dtype=np.bool_)


class TaskEnv(gym.Env[Any, Any]):
    """A task of any family, played with NumPy values. `info["task_id"]` is `TaskSpec.number` of the task.

    A step's `info["family_reward"]`, where the task has a reward of its own, is what the family would have paid; its
    `info["fault"]` is true where the simulation diverged, which cut the episode short; `fault` says why. Other steps
    have no such keys.

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

    @property
    def fault(self) -> str | None:
        """Why the last step cut the episode short, where the simulation diverged."""
        return self._slots.faults.get(0)

    def set_task(self, task: TaskSpec) -> None:
        """Play `task`, of the same family and structure, from the next reset on."""
        self._slots.set_tasks([task])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env.reset`. There are no options: any is refused with `gymnasium.error.Error`."""
        refuse_options(options)
        seed = plain_seed(seed)
        super().reset(seed=seed)
        if seed is None and not self._slots.seeded[0]:
            seed = draw_seed(self.np_random)
        observation = self._slots.reset(_ALL, {} if seed is None else {0: seed})
        self._needs_reset = ""
        return unpack(self.observation_space, observation[0]), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`. Raises `InvalidAction` outside the action space, `ResetNeeded` after the end."""
        if self._needs_reset:
            raise gym.error.ResetNeeded(self._needs_reset)
        value = as_array(self.action_space, action)
        if value is None:
            raise invalid(action, self.action_space)
        observation, reward, terminated, truncated = self._slots.step(pack(self.action_space, value)[None])
        if terminated[0] or truncated[0]:
            self._needs_reset = "the episode has ended; call reset() before the next step()"
        notes = {name: values.tolist()[0] for name, (values, known) in self._slots.notes.items() if known[0]}
        info = {**self._info(), **notes}
        seen = unpack(self.observation_space, observation[0])
        return seen, float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        """The episode as it stands, as RGB frame ("rgb_array"), where the family is `Animated`; else the task.

        Before the first reset it is the task, as text ("ansi") or RGB frame. None without a render mode.
        """
        return None if self.render_mode is None else self._slots.drawn(0, self.render_mode)

    @property
    def spec(self) -> EnvSpec | None:
        """From what Gymnasium makes this environment again, as plain values: the task is JSON text.

        `max_episode_steps` is the family's horizon; None where that is one step, since an episode is complete then.
        """
        return self._spec or spec_of(self.family, {"task": self.task, "render_mode": self.render_mode})

    @spec.setter
    def spec(self, value: EnvSpec | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._spec = None if value is None else stated(value, self.family)

    def _info(self) -> dict[str, Any]:
        return {"task_id": int(self._slots.ids[0])}

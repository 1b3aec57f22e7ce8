"""Many tasks as one `gymnasium.vector.VectorEnv`."""

import copy
from collections.abc import Iterable, Sequence, Sized
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from registry.errors import TaskError, brief
from taskgen.engines.slots import Slots
from taskgen.faces.actions import as_array, invalid
from taskgen.faces.drawing import FPS, check_render_mode, render_modes
from taskgen.faces.registration import spec_of, stated
from taskgen.faces.resets import draw_seed, plain_seed, refuse_options
from taskgen.spaces import is_composite, pack, unpack
from taskgen.spec import TaskSpec

Outcome = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class TaskVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """Tasks of one family and structure, one per slot, in one batched environment.

    Every slot keeps its own task through every reset and autoreset, until `set_tasks`. Equal to a
    `gymnasium.vector.SyncVectorEnv` of the `TaskEnv`s of the same tasks, bit for bit, in all three autoreset modes.
    `infos["task_id"]` holds `TaskSpec.number` of every slot's task; `infos["family_reward"]`, where a task has a reward
    of its own, what the family would have paid; `infos["fault"]` where simulations diverged, which cut their episodes
    short, and `faults` says why (with same-step autoreset both are in `infos["final_info"]` at an episode's end).
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    single_observation_space: gym.Space[Any]
    single_action_space: gym.Space[Any]
    _spec: EnvSpec | None = None

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str = "cpu",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Raises `TaskError` for invalid tasks and for tasks of different structure.

        `max_episode_steps` truncates episodes before the family's horizon, as Gymnasium's `TimeLimit` does.
        """
        if max_episode_steps is not None and max_episode_steps < 1:
            raise TaskError(f"max_episode_steps = {max_episode_steps}: expected 1 or more")
        self._slots = Slots(tasks, device)
        self.family = self._slots.family
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        modes = render_modes(self.family)
        self.metadata = {"render_modes": modes, "render_fps": FPS, "autoreset_mode": self.autoreset_mode}
        check_render_mode(self.family, render_mode)
        self.render_mode = render_mode
        self.num_envs = len(tasks)
        self.single_observation_space = copy.deepcopy(self.family.observation_space)
        self.single_action_space = copy.deepcopy(self.family.action_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._started = False
        self._limit = max_episode_steps
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The task of the current episode of every slot."""
        return tuple(self._slots.tasks)

    @property
    def faults(self) -> tuple[str | None, ...]:
        """Why the last step cut the episode of a slot short, where its simulation diverged."""
        return tuple(self._slots.faults.get(slot) for slot in range(self.num_envs))

    @property
    def spec(self) -> EnvSpec | None:
        """From what `gymnasium.make_vec` makes these environments again, as plain values; see `TaskEnv.spec`."""
        if self._spec is not None:
            return self._spec
        made = {"tasks": self.tasks, "num_envs": self.num_envs, "vectorization_mode": "vector_entry_point"}
        made |= {"autoreset_mode": self.autoreset_mode, "render_mode": self.render_mode}
        return stated(spec_of(self.family, made), self.family, self._limit)

    @spec.setter
    def spec(self, value: EnvSpec | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._spec = None if value is None else stated(value, self.family, self._limit)

    def set_tasks(self, tasks: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """Give slot `slots[i]` (all slots when None) the task `tasks[i]` from its next reset or autoreset on."""
        self._slots.set_tasks(tasks, slots)

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in all slots, or where the bool array `options["reset_mask"]` [num_envs] is true.

        `seed`: an integer for the first slot, the next ones for the others; or one per slot, where None lets the
        noise go on. Only slots that are reset are seeded. Other options are refused with `gymnasium.error.Error`.
        """
        refuse_options(options, ("reset_mask",))
        where = self._reset_mask(options)
        observation = self._slots.reset(where, self._seeds(seed, where))
        self._started = True
        self._ended = self._ended & ~where
        self._elapsed[where] = 0
        return self._unpacked(observation), self._info(where)

    def step(self, actions: Any) -> Outcome:
        """See `gymnasium.vector.VectorEnv.step`. All actions must be valid, also those that an autoreset ignores.

        Raises `gymnasium.error.InvalidAction` naming the slot, and `ResetNeeded` before the first reset and, with
        `AutoresetMode.DISABLED`, while a slot is at its end.
        """
        self._check_ready()
        resetting = self._ended
        observation, reward, terminated, truncated = self._slots.step(self._actions(actions))
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and resetting.any():
            observation = self._slots.reset(resetting)
            reward[resetting] = 0.0
            terminated[resetting] = truncated[resetting] = False
        if self._limit is not None:
            self._elapsed = np.where(resetting, 0, self._elapsed + 1)
            truncated |= self._elapsed >= self._limit
        ended = terminated | truncated
        stepped = ~resetting
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if ended.any():
                infos = self._final(observation, ended)
                observation = self._slots.reset(ended)
                self._elapsed[ended] = 0
                stepped = ~ended
        else:
            self._ended = ended
        infos = {**infos, **self._info(np.ones_like(ended)), **self._notes(stepped)}
        return self._unpacked(observation), reward, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Of every slot the episode as it stands, or its task, as `TaskEnv.render` says; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._slots.drawn(slot, self.render_mode) for slot in range(self.num_envs))

    def _reset_mask(self, options: dict[str, Any] | None) -> NDArray[np.bool_]:
        """Which slots a reset is for. Refuses what Gymnasium's own vector environments refuse."""
        if options is None or "reset_mask" not in options:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask: NDArray[np.bool_] = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"options['reset_mask'] = {mask!r}: expected a NumPy array of bools")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] has shape {mask.shape}: expected ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask'] is nowhere true: there is nothing to reset")
        if not self._started and not mask.all():
            raise gym.error.ResetNeeded("the first reset() is for all slots")
        return mask.copy()

    def _seeds(self, seed: int | Sequence[int | None] | None, where: NDArray[np.bool_]) -> dict[int, int]:
        """Seeds of the slots that are reset and need one."""
        seed = plain_seed(seed)
        if seed is None or isinstance(seed, int):
            super().reset(seed=seed)
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, int):
            seeds = [seed + slot for slot in range(self.num_envs)]
        else:
            seeds = [plain_seed(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for num_envs={self.num_envs}: give one per slot")
        result: dict[int, int] = {}
        for slot in np.flatnonzero(where).tolist():
            known: int | None = seeds[slot]
            if known is None and not self._slots.seeded[slot]:
                known = draw_seed(self.np_random)
            if known is not None:
                if not isinstance(known, int) or known < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise gym.error.Error(f"seed {known!r} of slot {slot}: expected an integer that is not negative")
                result[slot] = known
        return result

    def _unpacked(self, observation: NDArray[Any]) -> Any:
        """Observations of all slots in `observation_space`."""
        return unpack(self.single_observation_space, observation)

    def _actions(self, actions: Any) -> NDArray[Any]:
        values = as_array(self.action_space, actions)
        if values is not None:
            return pack(self.single_action_space, values)
        if is_composite(self.single_action_space):
            raise invalid(actions, self.action_space)
        if not isinstance(actions, Sized) or len(actions) != self.num_envs:
            raise gym.error.InvalidAction(f"actions {brief(actions)}: expected {self.num_envs}, one per slot")
        for slot, action in enumerate(cast(Iterable[Any], actions)):
            if as_array(self.single_action_space, action) is None:
                raise invalid(action, self.single_action_space, f" of slot {slot}")
        raise invalid(actions, self.action_space)

    def _check_ready(self) -> None:
        if not self._started:
            raise gym.error.ResetNeeded("reset() starts the first episodes; call it before step()")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            slots = np.flatnonzero(self._ended).tolist()
            shown = ", ".join(map(str, slots[:5])) + (", ..." if len(slots) > 5 else "")
            raise gym.error.ResetNeeded(
                f"the episode has ended in slot {shown}; without autoreset the next call is "
                "reset(options={'reset_mask': terminated | truncated})"
            )

    def _final(self, observation: NDArray[Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
        """The last observation and info of the slots that ended, as Gymnasium lays them out."""
        final: NDArray[Any] = np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(ended):
            final[slot] = self._unpacked(observation[slot])
        return {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": {**self._info(ended), **self._notes(ended)},
            "_final_info": ended.copy(),
        }

    def _notes(self, where: NDArray[np.bool_]) -> dict[str, Any]:
        """What there is to say of the last step in the slots `where`, as Gymnasium lays it out."""
        notes: dict[str, Any] = {}
        for name, (values, known) in self._slots.notes.items():
            if (shown := known & where).any():
                notes[name] = np.zeros_like(values) if values.dtype != object else np.full(self.num_envs, None)
                notes[name][shown] = values[shown]
                notes[f"_{name}"] = shown
        return notes

    def _info(self, where: NDArray[np.bool_]) -> dict[str, Any]:
        ids = np.where(where, self._slots.ids, 0)
        return {"task_id": ids, "_task_id": where.copy()}

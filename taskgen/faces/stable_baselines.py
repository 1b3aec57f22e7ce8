"""Our vector environments as a `VecEnv` of Stable-Baselines3, so that its learners train on our tasks and trials.

    from sb3_contrib import RecurrentPPO
    envs = taskgen.make_trials_vec("domain-randomization", family="bandit", episodes=10, num_envs=64, flat=True,
                                   autoreset_mode="SameStep")
    RecurrentPPO("MlpLstmPolicy", SlotVecEnv(envs)).learn(1_000_000)

Needs `taskgen-metarl[sb3]`. Stable-Baselines3 resets an environment in the step that ends its episode and looks for the
last observation in `infos[i]["terminal_observation"]` and for what was cut short in `infos[i]["TimeLimit.truncated"]`
(its `VecEnv`, version 2.9), so it takes environments that reset in the same step.
"""

from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from registry.errors import UserError
from taskgen.faces.trials import TrialVectorEnv
from taskgen.faces.vector import TaskVectorEnv

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise UserError(
        "Stable-Baselines3 is not installed: pip install 'taskgen-metarl[sb3]'; or use the Gymnasium environments of "
        "taskgen.make_trials and taskgen.make"
    ) from error


class SlotVecEnv(VecEnv):
    """The slots of `envs` as so many environments of Stable-Baselines3."""

    def __init__(self, envs: TaskVectorEnv | TrialVectorEnv) -> None:
        """Raises `UserError` for environments that do not reset in the step that ends an episode."""
        if not isinstance(envs, TaskVectorEnv | TrialVectorEnv):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"{envs!r} is none of taskgen.make_vec and taskgen.make_trials_vec, whose slots these are")
        if envs.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise UserError(
                f"Stable-Baselines3 resets in the step that ends an episode, and these environments have "
                f"autoreset_mode = {envs.autoreset_mode.value!r}: make them with autoreset_mode='SameStep'"
            )
        self.envs = envs
        cast(Any, super()).__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._actions: Any = None

    def reset(self) -> Any:
        """Observations [N, ...] of new episodes; seeds given with `seed` count once. Raises `UserError` for options."""
        if any(self._options):
            raise UserError(f"options = {self._options}: these environments have none")
        seeds = list(self._seeds)
        observation, infos = self.envs.reset(seed=None if all(seed is None for seed in seeds) else seeds)
        self.reset_infos = _by_slot(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep what `step_wait` plays."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations, rewards [N], whether episodes ended [N], and a dict for each slot."""
        observation, reward, terminated, truncated, infos = self.envs.step(self._actions)
        final, kept = infos.pop("final_obs", None), infos.pop("final_info", {})
        dicts = _by_slot(infos, self.num_envs)
        for slot in np.flatnonzero(terminated | truncated).tolist():
            dicts[slot] |= _by_slot(kept, self.num_envs)[slot] if kept else {}
            dicts[slot]["terminal_observation"] = final[slot]
        for slot, cut in enumerate((truncated & ~terminated).tolist()):
            dicts[slot]["TimeLimit.truncated"] = cut
        return observation, reward.astype(np.float32), terminated | truncated, dicts

    def close(self) -> None:
        """See `gymnasium.vector.VectorEnv.close`."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """`task`, and what is one for all slots once for each. Raises `AttributeError` for what there is not."""
        slots = list(self._get_indices(indices))
        if attr_name == "task":
            return [self.envs.tasks[slot] for slot in slots]
        return [getattr(self.envs, attr_name)] * len(slots)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raises `AttributeError`: slots share one environment."""
        raise AttributeError(f"{attr_name} cannot be set slot by slot: set it on `envs`, or call set_task")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """`set_task` of the slots `indices`. Raises `AttributeError` for any other method."""
        if method_name != "set_task" or not isinstance(self.envs, TaskVectorEnv):
            raise AttributeError(f"{method_name}: one slot has no method but set_task, and that where it plays a task")
        slots = list(self._get_indices(indices))
        self.envs.set_tasks([*method_args, *method_kwargs.values()] * len(slots), slots)
        return [None] * len(slots)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Nowhere: slots are not wrapped one by one."""
        return [False for _ in self._get_indices(indices)]


def _by_slot(infos: dict[str, Any], slots: int) -> list[dict[str, Any]]:
    """What `infos` says of each slot."""
    found: list[dict[str, Any]] = [{} for _ in range(slots)]
    for name, values in infos.items():
        if name.startswith("_"):
            continue
        known: Sequence[bool] = infos.get(f"_{name}", np.ones(slots, np.bool_))
        for slot in np.flatnonzero(known).tolist():
            found[slot][name] = values[slot]
    return found

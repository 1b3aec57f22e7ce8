"""Meta-World's environments, made from numbers: `Sawyer`, and what is known of them beforehand.

Meta-World 3.1 is written for mujoco 3.3.0, which it pins. On mujoco 4 one thing of it breaks: `reset_mocap_welds`
writes rows of 11 numbers where MuJoCo has 12 (anchor, pose, scale of torques, and one that stays as it was). It is
mended here at the boundary, for these versions alone, and all 50 environments then work; see
`benchmarks/metaworld_experts.py`. Neither its ids, wrappers nor checkpoints are used, which serve test goals in
training, are deaf to seeds, and lose goals when they are loaded: a task here is an environment's name and a placement.

A placement that Meta-World would not have drawn itself it draws again without an end; so it is refused.
"""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, cast

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportMissingImports=false
# pyright: reportUnknownVariableType=false, reportAttributeAccessIssue=false
# ruff: noqa: SLF001 - Meta-World says where its objects may be in an attribute of its own

Floats = NDArray[np.float64]

LENGTH = 500
"""Steps after which Meta-World ends an episode."""
MODERN = int(version("mujoco").partition(".")[0]) >= 4
"""Whether this MuJoCo is one of ours, not the one that Meta-World pins."""
_MENDED = ("3.1.0", "3.1.1")
"""Versions of Meta-World that are known to need it."""
_NEAREST = {
    0.1: "assembly disassemble peg-insert-side shelf-place stick-pull stick-push",
    0.15: "basketball coffee-pull coffee-push hand-insert pick-out-of-hole pick-place pick-place-wall push push-back "
    "push-wall reach reach-wall soccer sweep-into",
    0.25: "box-close",
}
_APART = {name: apart for apart, names in _NEAREST.items() for name in names.split()}
"""How far, in metres on the table, Meta-World wants an object from its goal, by environment without its version."""
_SWEPT_INTO = (0.0, 0.84)
"""Where the goal of sweep-into always is."""


class Sawyer(gym.Env[Floats, NDArray[np.float32]]):
    """The environment `environment` of Meta-World with its object and goal at `placement`, in metres.

    Without one they are where `usual` says. Observations show the goal where `goal_shown`, else zeros.
    Raises `ValueError` for a placement that the environment refuses.
    """

    def __init__(
        self,
        environment: str = "reach-v3",
        placement: Sequence[float] = (),
        *,
        goal_shown: bool = False,
    ) -> None:
        import pickle

        from metaworld.types import Task

        at = np.asarray(placement or between(environment, usual(environment)), dtype=np.float64)
        if nearness := too_near(environment, at):
            raise ValueError(nearness)
        kind = classes()[environment]
        self.env: Any = kind()
        told = {"env_cls": kind, "rand_vec": at, "partially_observable": not goal_shown}
        self.env.set_task(Task(environment, pickle.dumps(told)))
        self._placement = self.env._get_state_rand_vec = _Once(at)
        space = self.env.sawyer_observation_space
        goal = np.full(3, np.inf if goal_shown else 0.0)
        self.observation_space = gym.spaces.Box(
            np.concatenate([space.low[:-3], -goal]), np.concatenate([space.high[:-3], goal]), dtype=np.float64
        )
        self.action_space = self.env.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Nothing is drawn: all episodes of a placement begin alike."""
        super().reset(seed=seed, options=options)
        self._placement.asked = 0
        return self.env.reset()

    def step(self, action: NDArray[np.float32]) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`; `success` of the info is 1 where the task is done."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), terminated, truncated, info

    def state(self) -> Floats:
        """The simulation's, `mjSTATE_INTEGRATION`."""
        kind = cast(Any, mujoco).mjtState.mjSTATE_INTEGRATION
        size = cast(int, cast(Any, mujoco).mj_stateSize(self.env.model, kind))
        state = np.empty(size, dtype=np.float64)
        mujoco.mj_getState(self.env.model, self.env.data, state, kind)
        return state

    def close(self) -> None:
        """Let go of the simulation."""
        self.env.close()


class _Once:
    """Gives a placement whenever it is asked for; not without an end, as where it is not to Meta-World's liking."""

    def __init__(self, placement: Floats) -> None:
        self._placement = placement
        self.asked = 0

    def __call__(self) -> Floats:
        self.asked += 1
        if self.asked > 2:  # a reset of Meta-World begins an episode twice
            raise ValueError(f"Meta-World does not take the placement {self._placement.tolist()}")
        return self._placement.copy()


def classes() -> dict[str, Any]:
    """The 50 environments by name, mended where that is needed."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    _mend()
    return cast("dict[str, Any]", ALL_V3_ENVIRONMENTS)


def sides(benchmark: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the environments that "ML10" or "ML45" trains on, and of those that it tests on."""
    env_dict: Any = importlib.import_module("metaworld.env_dict")
    split = getattr(env_dict, f"{benchmark}_V3")
    return tuple(split["train"]), tuple(split["test"])


@lru_cache(maxsize=64)
def bounds(environment: str) -> tuple[Floats, Floats]:
    """[D] and [D], in metres: the lowest and highest placement, of object and goal or of one of them."""
    env = classes()[environment]()
    try:
        box = env._random_reset_space
        return np.array(box.low, dtype=np.float64), np.array(box.high, dtype=np.float64)
    finally:
        env.close()


def between(environment: str, share: float | Floats) -> Floats:
    """[D] in metres: the placement at a `share` of the way from the lowest to the highest one, or such shares [D]."""
    low, high = bounds(environment)
    return low + share * (high - low)


def usual(environment: str) -> float:
    """The share of the way, for `between`, of a placement that Meta-World takes: the middle where it does."""
    return next(share for share in (0.5, 1.0, 0.0) if not too_near(environment, between(environment, share)))


def too_near(environment: str, placement: Floats) -> str:
    """Why Meta-World would not take a `placement` [D]; empty where it does."""
    apart = _APART.get(environment.rpartition("-v")[0])
    if apart is None:
        return ""
    goal = _SWEPT_INTO if environment.startswith("sweep-into") else placement[3:5]
    distance = float(np.linalg.norm(placement[:2] - goal))
    if distance >= apart:
        return ""
    return f"{environment}: the object is {distance:.3f} m from its goal, Meta-World wants at least {apart:g} m"


def _mend() -> None:
    """Let Meta-World write the welds of this MuJoCo."""
    from metaworld.sawyer_xyz_env import SawyerMocapBase

    if MODERN and version("metaworld") in _MENDED:
        SawyerMocapBase.reset_mocap_welds = _reset_welds


def _reset_welds(env: Any) -> None:
    """As `SawyerMocapBase.reset_mocap_welds`, of rows that may be longer."""
    model = env.model
    welds = [int(kind) == int(cast(Any, mujoco).mjtEq.mjEQ_WELD) for kind in model.eq_type]
    if model.nmocap:
        model.eq_data[np.flatnonzero(welds), :11] = (0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5)

"""Hopper-v5 and its meta-RL tasks: see `plugins.families.locomotion`."""

import numpy as np
from pydantic import Field

from plugins.families.locomotion import Anatomy, Locomotion, LocomotionConfig, Walker
from taskgen.engines.mujoco import Array, Arrays


class HopperConfig(LocomotionConfig):
    """Structural settings of `Hopper`."""

    control_cost: float = Field(1e-3, ge=0.0, le=100.0, description="Weight of the squared action in the reward.")
    reset_noise: float = Field(5e-3, ge=0.0, le=1.0, description="Scale of the noise of the initial state.")
    alive_bonus: float = Field(1.0, ge=0.0, le=100.0, description="Reward of a step after which it stands.")
    terminate: bool = Field(default=True, description="End the episode when it falls.")


def _stands(physics: Arrays) -> Array:
    qpos, state = physics["qpos"], np.concatenate([physics["qpos"][:, 2:], physics["qvel"]], axis=1)
    upright = (qpos[:, 1] > 0.7) & (np.abs(qpos[:, 2]) < 0.2)
    return upright & (np.abs(state) < 100.0).all(1)


class Hopper(Locomotion[HopperConfig]):
    """A planar robot on one leg with three motors."""

    anatomy = Anatomy("hopper.xml", frame_skip=4, velocity_limit=10.0, healthy=_stands)

    def _robot(self) -> Walker:
        config = self.config
        return Walker(self.anatomy, config, alive_bonus=config.alive_bonus, terminate=config.terminate)

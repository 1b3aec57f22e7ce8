"""Walker2d-v5 and its meta-RL tasks: see `plugins.families.locomotion`."""

import numpy as np
from pydantic import Field

from plugins.families.locomotion import Anatomy, Locomotion, LocomotionConfig, Walker
from taskgen.engines.mujoco import Array, Arrays


class Walker2dConfig(LocomotionConfig):
    """Structural settings of `Walker2d`."""

    control_cost: float = Field(1e-3, ge=0.0, le=100.0, description="Weight of the squared action in the reward.")
    reset_noise: float = Field(5e-3, ge=0.0, le=1.0, description="Scale of the noise of the initial state.")
    alive_bonus: float = Field(1.0, ge=0.0, le=100.0, description="Reward of a step after which it stands.")
    terminate: bool = Field(default=True, description="End the episode when it falls.")


def _stands(physics: Arrays) -> Array:
    height, angle = physics["qpos"][:, 1], physics["qpos"][:, 2]
    return (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)


class Walker2d(Locomotion[Walker2dConfig]):
    """A planar robot on two legs with six motors."""

    anatomy = Anatomy("walker2d_v5.xml", frame_skip=4, velocity_limit=10.0, healthy=_stands)

    def _robot(self) -> Walker:
        config = self.config
        return Walker(self.anatomy, config, alive_bonus=config.alive_bonus, terminate=config.terminate)

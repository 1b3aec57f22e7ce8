"""HalfCheetah-v5 and its meta-RL tasks: see `plugins.families.locomotion`."""

from collections.abc import Mapping
from typing import Any, ClassVar

from plugins.families.locomotion import Anatomy, Locomotion, LocomotionConfig, Walker


class HalfCheetahConfig(LocomotionConfig):
    """Structural settings of `HalfCheetah`."""

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "direction": {"control_cost": 0.05},
        "velocity": {"control_cost": 0.05},
    }


class HalfCheetah(Locomotion[HalfCheetahConfig]):
    """A planar robot with six motors that never falls out of its episode."""

    anatomy = Anatomy("half_cheetah.xml", frame_skip=5, gaussian_velocity=True, total_mass=True)

    def _robot(self) -> Walker:
        return Walker(self.anatomy, self.config)

"""Ant-v5 and its meta-RL tasks: see `plugins.families.locomotion`.

Defaults of the goal tasks are those of published code: direction as `ant_dir` of PEARL (Rakelly et al. 2019), velocity
as `ant_env_rand` of MAML (Finn et al. 2017; its reward holds a constant 1 and 0.05 for survival), position with the
costs of `ant_goal` of PEARL. Differences: targets come from a square, as in MAML's `ant_env_rand_goal`, where PEARL has
the disc of radius 3; the contact cost of 5e-4 that all of them state is off.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from plugins.families.locomotion import Anatomy, Locomotion, LocomotionConfig, Walker
from taskgen.engines.mujoco import Array, Arrays
from taskgen.space import Knob
from taskgen.variation import Uniform

# MuJoCo 2 leaves these forces at zero unless a sensor asks for them; here they would cost a Python call per slot.
_WITHOUT_CONTACTS = {"contact_cost": 0.0, "observe_contacts": False}


class AntConfig(LocomotionConfig):
    """Structural settings of `Ant`."""

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "direction": _WITHOUT_CONTACTS,
        "velocity": {**_WITHOUT_CONTACTS, "control_cost": 0.005, "alive_bonus": 1.05},
        "position": {
            **_WITHOUT_CONTACTS,
            "control_cost": 0.1,
            "alive_bonus": 0.0,
            "terminate": False,
            "observe_position": True,
        },
    }

    task: Literal["forward", "direction", "velocity", "position"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        "forward", description="What is rewarded."
    )
    control_cost: float = Field(0.5, ge=0.0, le=100.0, description="Weight of the squared action in the reward.")
    contact_cost: float = Field(5e-4, ge=0.0, le=100.0, description="Weight of the squared, clipped contact forces.")
    observe_contacts: bool = Field(default=True, description="Observe contact forces [78], clipped to +-1.")
    alive_bonus: float = Field(1.0, ge=0.0, le=100.0, description="Reward of a step after which it is on its legs.")
    terminate: bool = Field(default=True, description="End the episode when it jumps too high or lies down.")
    position_range: float = Field(
        3.0, ge=0.1, le=10.0, description="Target positions are drawn from the square of this half-width."
    )


def _on_its_legs(physics: Arrays) -> Array:
    height = physics["qpos"][:, 2]
    finite = np.isfinite(physics["qpos"]).all(1) & np.isfinite(physics["qvel"]).all(1)
    return finite & (height >= 0.2) & (height <= 1.0)


class Ant(Locomotion[AntConfig]):
    """A robot on four legs with eight motors."""

    anatomy = Anatomy("ant.xml", frame_skip=5, dimensions=2, gaussian_velocity=True, healthy=_on_its_legs)

    def _robot(self) -> Walker:
        config = self.config
        return Walker(
            self.anatomy,
            config,
            alive_bonus=config.alive_bonus,
            terminate=config.terminate,
            contact_cost=config.contact_cost,
            observe_contacts=config.observe_contacts,
        )

    def _goal(self) -> dict[str, Knob]:
        if self.config.task != "position":
            return super()._goal()
        reach = self.config.position_range
        drawn = Uniform(low=-reach, high=reach)
        return {"position": Knob(-10.0, 10.0, 1.0, "Target position.", unit="m", shape=(2,), vary=drawn)}

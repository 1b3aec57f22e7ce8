"""A planar biped on a course: body plan, observation and reward of BipedalWalker, whatever the ground.

As Wang et al. 2019, "Paired Open-Ended Trailblazer (POET)", and its released code have it; the physics is MuJoCo's
instead of Box2D's. Other differences: hull and legs are capsules; a motor's torque falls linearly with its speed, from
80 N m at rest to none at 4 rad/s (hip) or 6 rad/s (knee), times |action|, and rises as linearly where the joint is
driven back; contacts are those of the last physics step; the ground at the start has height 0.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plugins.families import terrain
from plugins.families.biped_body import HIP, LEG, POSTURE, RADII, closeup, overview
from plugins.families.terrain import STEP
from registry.config import Config
from taskgen.batch import Transition
from taskgen.engines.mujoco import Array, Arrays, MujocoBatch
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

RATE = 50
"""Control steps per second."""
TORQUE, SPEEDS = 80.0, (4.0, 6.0)
LIDAR = 160.0 / 30.0
"""Metres that a ray reaches."""
RAYS = 1.5 * np.arange(10) / 10.0
"""Angles of the rays, from straight down forwards."""
FALL = -100.0
_SKIP = 2
_MASSES = (5.42, 0.302, 0.242)  # of hull, upper and lower leg: areas times densities of BipedalWalker
_PUSH = 5.0 / RATE / (_MASSES[0] + 2 * _MASSES[1] + 2 * _MASSES[2])  # largest velocity at the start

C = TypeVar("C", bound=Config)


class CourseWalker(TaskFamily[C]):
    """Actions [4] in [-1, 1]: hip and knee of the one leg, then of the other. Observations [24] as BipedalWalker's.

    Angle and angular velocity of the hull, velocity along x and z; of each leg the angle and speed of hip and knee and
    whether it touches the ground; ten distances to the ground (1: nothing within reach).

    Reward: 130/30 per metre forwards, -5 per radian that the hull is tilted further, -0.028 |action|; -100 when the
    hull touches the ground or the walker leaves at the left. These end the episode, and so does arriving, 10 steps
    before the end of the course. Episodes differ by a small push at the start.

    A subclass says what the ground of a task is.
    """

    def __init__(self, config: C, *, name: str, horizon: int) -> None:
        super().__init__(config, name=name)
        self.horizon = horizon
        self.solved_return = 230.0
        """POET's threshold."""
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (24,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.model = mujoco.MjModel.from_xml_string(_document())
        """The walker, with all pieces of ground as boxes for tasks to move."""

    @abstractmethod
    def course(self, spec: TaskSpec) -> NDArray[np.float64]:
        """[P, 5] the pieces of ground of a task, see `plugins.families.terrain.course`."""

    @abstractmethod
    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[D] see `taskgen.family.Describable`."""

    def batch(self, slots: int, device: torch.device | str = "cpu", *, threads: int | None = None) -> "CourseBatch":
        """A MuJoCo batch; the oracle sees what `descriptor` gives, then the heights of the course, one a step."""
        return CourseBatch(self, _Biped(self), slots, device, threads=threads)

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The whole course from the side, the walker at the start."""
        return overview(self.course(spec))

    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        """16 m around the walker in `state`."""
        return closeup(self.course(spec), np.asarray(state)[1 : 1 + len(POSTURE)])


class CourseBatch(MujocoBatch):
    """A MuJoCo batch whose motors pull one way each, so that every action drives two."""

    def step(self, action: Tensor) -> Transition:
        """See `MujocoBatch.step`."""
        return super().step(torch.cat([action, action], dim=1))


class _Biped:
    """The `Robot`. qpos: x, z and angle of the hull, then hip and knee of each leg; controls: forwards, backwards."""

    frame_skip = _SKIP
    reads: tuple[str, ...] = ("sensordata",)
    uniforms = 1

    def __init__(self, family: CourseWalker[Any]) -> None:
        self.model = family.model
        self._family = family
        self._rays = LIDAR * np.stack([np.sin(RAYS), -np.cos(RAYS)], axis=1)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Array]:
        known = {spec: place for place, spec in enumerate(dict.fromkeys(specs))}  # many slots may share a course
        courses = [self._family.course(spec) for spec in known]
        middle = (np.arange(terrain.LENGTH) + 0.5) * STEP
        features = [self._family.descriptor(spec.context) for spec in known]
        levels = [terrain.heights(pieces, middle) for pieces in courses]
        tables = {
            "boxes": np.stack([terrain.boxes(pieces) for pieces in courses]),
            "profiles": np.stack([terrain.profile(pieces) for pieces in courses]),
            "descriptor": np.concatenate([np.stack(features), np.stack(levels)], axis=1),
        }
        return {name: table[[known[spec] for spec in specs]] for name, table in tables.items()}

    def edits(self, tables: Arrays) -> dict[str, Array]:
        """Pieces of ground are the first geoms; they turn about -y."""
        ground, model = tables["boxes"], self.model
        count = ground.shape[1]
        position, orientation, size = (
            np.repeat(np.asarray(values)[None], len(ground), axis=0)
            for values in (model.geom_pos, model.geom_quat, model.geom_size)
        )
        position[:, :count, 0], position[:, :count, 2] = ground[:, :, 0], ground[:, :, 1]
        orientation[:, :count, 0], orientation[:, :count, 2] = np.cos(ground[:, :, 2] / 2), -np.sin(ground[:, :, 2] / 2)
        size[:, :count, 0], size[:, :count, 2] = ground[:, :, 3], ground[:, :, 4]
        radius = np.repeat(np.asarray(model.geom_rbound)[None], len(ground), axis=0)
        radius[:, :count] = np.sqrt(np.square(size[:, :count]).sum(-1))
        bounds = np.repeat(np.asarray(model.geom_aabb)[None], len(ground), axis=0)
        bounds[:, :count, 3:] = size[:, :count]
        return {
            "geom_pos": position,
            "geom_quat": orientation,
            "geom_size": size,
            "geom_rbound": radius,
            "geom_aabb": bounds.reshape(len(ground), *np.shape(model.geom_aabb)),
        }

    def initial(self, tables: Arrays, uniform: Array) -> tuple[Array, Array]:
        velocity = np.zeros((len(uniform), len(POSTURE)))
        velocity[:, 0] = _PUSH * (2.0 * uniform[:, 0] - 1.0)
        return np.tile(POSTURE, (len(uniform), 1)), velocity

    def place(self, physics: Arrays) -> Array:
        """[B, 2] x, and how far the hull is tilted."""
        return np.stack([physics["qpos"][:, 0], np.abs(physics["qpos"][:, 2])], axis=1)

    def observe(self, tables: Arrays, physics: Arrays) -> Array:
        position, velocity, touch = physics["qpos"], physics["qvel"], physics["sensordata"] > 0
        body = [position[:, 2], 2 / RATE * velocity[:, 2], 6 / RATE * velocity[:, 0], 4 / RATE * velocity[:, 1]]
        for leg, hip in enumerate((3, 5)):
            body += [position[:, hip], velocity[:, hip] / SPEEDS[0]]
            body += [position[:, hip + 1] + 1.0, velocity[:, hip + 1] / SPEEDS[1], touch[:, 1 + leg]]
        free = terrain.sight(tables["profiles"], position[:, :2], self._rays)
        return np.concatenate([np.stack(body, axis=1), free], axis=1)

    def outcome(
        self, tables: Arrays, physics: Arrays, before: Array, after: Array, action: Array
    ) -> tuple[Array, Array]:
        effort = np.minimum(np.abs(action[:, :4]), 1.0).sum(1)
        forward, tilted = (after - before).T
        reward = 130.0 / 30.0 * forward - 5.0 * tilted - 0.00035 * TORQUE * effort
        fallen = (physics["sensordata"][:, 0] > 0) | (after[:, 0] < 0.0)
        arrived = after[:, 0] > (terrain.LENGTH - terrain.GRASS) * STEP
        return np.where(fallen, FALL, reward), fallen | arrived

    def descriptor(self, tables: Arrays) -> Array:
        return tables["descriptor"]


def _document() -> str:
    """The model in MJCF. Ground is group 0, the walker group 1; they touch each other only."""
    flat = "".join(
        f'<geom type="box" pos="{(i + 0.5) * STEP} 0 -0.25" size="{STEP / 2} 1 0.25" contype="1" conaffinity="0"/>'
        for i in range(terrain.PIECES)
    )
    legs = "".join(_leg(i) for i in (0, 1))
    motors = "".join(
        f'<general joint="{joint}{leg}" ctrllimited="true" ctrlrange="{low} {high}" gaintype="affine" '
        f'gainprm="{TORQUE} 0 {-sign * TORQUE / speed}"/>'
        for low, high, sign in ((0, 1, 1), (-1, 0, -1))
        for leg in (0, 1)
        for joint, speed in zip(("hip", "knee"), SPEEDS, strict=True)
    )
    hull = 8.5 / 30
    return f"""<mujoco><compiler angle="radian"/>
<option timestep="{1 / RATE / _SKIP}" integrator="implicitfast" gravity="0 0 -10"><flag island="disable"/></option>
<default><geom friction="0.7 0.005 0.0001"/><joint axis="0 -1 0" armature="0.01"/></default>
<worldbody>{flat}
<body name="hull">
<joint name="x" type="slide" axis="1 0 0" armature="0"/><joint name="z" type="slide" axis="0 0 1" armature="0"/>
<joint name="angle" type="hinge" armature="0"/>
{_capsule(f"{-30 / 30 + hull} 0 0.0166 {34 / 30 - hull} 0 0.0166", hull, _MASSES[0])}
<site name="hull" type="box" size="2 1 1"/>
{legs}</body></worldbody>
<sensor><touch site="hull"/><touch site="foot0"/><touch site="foot1"/></sensor>
<actuator>{motors}</actuator></mujoco>"""


def _leg(i: int) -> str:
    upper, lower = (
        _capsule(f"0 0 {-radius} 0 0 {radius - LEG}", radius, mass)
        for radius, mass in zip(RADII, _MASSES[1:], strict=True)
    )
    return f"""<body pos="0 0 {HIP}"><joint name="hip{i}" range="-0.8 1.1"/>{upper}
<body pos="0 0 {-LEG}"><joint name="knee{i}" range="-1.6 -0.1"/>{lower}
<site name="foot{i}" type="box" size="2 1 2"/></body></body>"""


def _capsule(ends: str, radius: float, mass: float) -> str:
    return f'<geom type="capsule" group="1" contype="0" conaffinity="1" fromto="{ends}" size="{radius}" mass="{mass}"/>'

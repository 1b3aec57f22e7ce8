"""What Gymnasium's walking robots share as task families: goals, bodies, rewards, frames.

Tasks differ by goal (`task`) and by body. Rewards by `task`, where v is the velocity of the torso over a step:

    forward     v_x
    direction   velocity along the task's direction
    velocity    -|v_x - target|
    position    -|x - target_x| - |y - target_y|

plus a bonus while the robot is healthy, minus control cost (weight times the squared action). With task = "forward" and
a horizon of 1000 a task with default knobs is Gymnasium's environment, step for step.

Sources: Gymnasium's v5 environments; Finn et al. 2017, MAML, section 5.3, and its code (direction and velocity of
half-cheetah, velocity of ant); Rakelly et al. 2019, PEARL, and its code (velocities up to 3, direction and position of
ant); Houthooft et al. 2018, EPG (random bodies). What these vary silently are named settings here; with another task
than "forward" their values become the defaults.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import ndtri

from plugins.families.limbs import Limbs
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines import mujoco as engine
from taskgen.engines.lean import friction, gymnasium_model, lean_model
from taskgen.engines.mujoco import Array, Arrays, MujocoBatch
from taskgen.family import Goal, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Choice, LogUniform, Uniform

if TYPE_CHECKING:
    from taskgen.engines.mujoco_render import Marker

_SEEN = 0.9  # metres from the torso within which all cameras see a goal
_SCALES = {
    "mass": "Scale of all masses and inertias.",
    "torso_mass": "Scale of the torso's mass and inertia, times that of all.",
    "friction": "Scale of the friction of all surfaces.",
    "damping": "Scale of the damping of all joints.",
    "gear": "Scale of the strength of all motors.",
}
_BODY = (*_SCALES, "thickness", "gravity")
_GOALS = ("direction", "velocity", "position")
_GRAVITY = 9.81
_TORSO = 1  # the first body after the world


class LocomotionConfig(Config):
    """Structural settings of every walking robot."""

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Task -> defaults that differ from Gymnasium's."""

    task: Literal["forward", "direction", "velocity"] = Field("forward", description="What is rewarded.")
    horizon: int = Field(200, ge=1, le=100_000, description="Steps per episode; Gymnasium has 1000.")
    control_cost: float = Field(
        0.1,
        ge=0.0,
        le=100.0,
        description="Weight of the squared action in the reward. Left out, it is the task's: of direction and velocity "
        "their papers', of others Gymnasium's.",
    )
    clip_actions: bool = Field(
        default=True,
        description="Actions lie in the motors' range; if not, anywhere: motors do what they can, and all of it costs.",
    )
    reset_noise: float = Field(0.1, ge=0.0, le=1.0, description="Scale of the noise of the initial state.")
    velocity_low: float = Field(0.0, ge=-10.0, le=10.0, description="Lowest target velocity drawn (task velocity).")
    velocity_high: float = Field(3.0, ge=-10.0, le=10.0, description="Highest target velocity drawn (task velocity).")
    body_varies: bool = Field(default=False, description="Draw bodies too; forward always does.")
    observe_position: bool = Field(default=False, description="Observe the horizontal position.")

    @model_validator(mode="before")
    @classmethod
    def _usual_values(cls, data: Any) -> Any:
        task = data.get("task") if isinstance(data, dict) else None
        return {**cls.usual.get(task, {}), **data} if isinstance(task, str) else data

    @model_validator(mode="after")
    def _ordered(self) -> "LocomotionConfig":
        if self.velocity_low > self.velocity_high:
            raise ValueError(f"velocity_low = {self.velocity_low:g} is above velocity_high = {self.velocity_high:g}")
        return self


C = TypeVar("C", bound=LocomotionConfig)


@dataclass(frozen=True)
class Anatomy:
    """What distinguishes one of Gymnasium's robots from another."""

    model: str
    """File among Gymnasium's assets."""
    frame_skip: int
    dimensions: int = 1
    """Horizontal coordinates: 1 in a plane, 2 in space."""
    gaussian_velocity: bool = False
    """Whether the noise of the initial velocity is normal instead of uniform."""
    velocity_limit: float = np.inf
    """Observed velocities are clipped to this."""
    total_mass: bool = False
    """Whether the model states the mass of the whole robot, so that thicker limbs do not make it heavier."""
    healthy: Callable[[Arrays], Array] | None = None
    """[B] whether the robot is healthy; None: always."""


class Locomotion(TaskFamily[C], Generic[C]):
    """Base of the walking robots. Observation: joint positions (without the horizontal ones) and velocities."""

    anatomy: ClassVar[Anatomy]

    def __init__(self, config: C, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.robot = self._robot()
        model = self.robot.model
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (self.robot.observed,), np.float32)
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        if not config.clip_actions:
            low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
        self.action_space = gym.spaces.Box(low, high, dtype=np.float32)

    @abstractmethod
    def _robot(self) -> "Walker":
        """The robot in NumPy."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """The goal, where the task has one, and the body."""
        varies = self.config.task == "forward" or self.config.body_varies
        scale = LogUniform(low=0.5, high=2.0) if varies else None
        body = {name: Knob(0.1, 4.0, 1.0, text, unit="times", vary=scale) for name, text in _SCALES.items()}
        thick = LogUniform(low=0.7, high=1.4) if varies else None
        body["thickness"] = Knob(0.5, 1.5, 1.0, "Scale of the radius of all limbs.", unit="times", vary=thick)
        gravity = Uniform(low=5.0, high=15.0) if varies else None
        body["gravity"] = Knob(1.0, 20.0, _GRAVITY, "Gravity, downwards.", unit="m/s^2", vary=gravity)
        return ContextSpace({**self._goal(), **body})

    def batch(self, slots: int, device: torch.device | str = "cpu", *, threads: int | None = None) -> MujocoBatch:
        """A MuJoCo batch; the descriptor is the knobs, direction as a unit vector."""
        return MujocoBatch(self, self.robot, slots, device, threads=threads)

    def render(self, spec: TaskSpec) -> "np.ndarray | str":
        """The robot at the start, a green ball at its goal, or towards one that would be out of the picture.

        The knobs as text where OpenGL is missing.
        """
        from taskgen.engines.mujoco_render import can_render

        if not can_render():
            return super().render(spec)
        batch = self.batch(1)
        batch.set_tasks([spec])
        batch.reset()
        return self.frame(spec, batch.state(0))

    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        """See `Animated.frame`. Needs OpenGL; headless machines use EGL."""
        from taskgen.engines.mujoco_render import picture

        return picture(engine.edited_model(self.robot, spec), state, self._markers(spec, state))

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """One knob moved by a tenth of its range (standard deviation), or a goal of two directions turned round."""
        name = str(rng.choice([name for name, knob in self.context_space.knobs.items() if knob.vary is not None]))
        knob = self.context_space.knobs[name]
        if knob.integer:
            return {**context, name: -context[name]}
        moved = np.asarray(context[name]) + rng.normal(0.0, (knob.high - knob.low) / 10.0, knob.shape)
        return {**context, name: np.clip(moved, knob.low, knob.high).tolist()}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """Every knob, its range mapped to [0, 1]."""
        parts = [
            (np.ravel(context[name]) - knob.low) / (knob.high - knob.low)
            for name, knob in self.context_space.knobs.items()
        ]
        return np.concatenate(parts).astype(np.float64)

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """The target position, or the target velocity, which is compared with the torso's at the end of a step.

        Raises `TaskError` for tasks without either, and for a position that is not observed.
        """
        config = self.config
        if config.task == "velocity":
            return Goal((context["velocity"],), (self.robot.model.nq - self.robot.hidden,))
        if "position" in context and not self.robot.hidden:
            return Goal(tuple(context["position"]), tuple(range(self.anatomy.dimensions)))
        why = "its position is not observed: set observe_position" if "position" in context else "none is to be reached"
        raise TaskError(f"{self.name} with task = {config.task!r} has no goal among its observations; {why}")

    def validate(self, context: Mapping[str, Any]) -> None:
        """A planar robot goes forwards or backwards."""
        if self.anatomy.dimensions == 1 and context.get("direction") == 0:
            raise TaskError("direction = 0: expected 1 (forwards) or -1 (backwards)")

    def _goal(self) -> dict[str, Knob]:
        config = self.config
        if config.task == "direction" and self.anatomy.dimensions == 1:
            both = Choice(values=(-1.0, 1.0))
            return {"direction": Knob(-1, 1, 1, "1 forwards, -1 backwards.", integer=True, vary=both)}
        if config.task == "direction":
            turn = Uniform(low=-np.pi, high=np.pi)
            return {"direction": Knob(-np.pi, np.pi, 0.0, "Direction, 0 along x.", unit="rad", vary=turn)}
        if config.task == "velocity":
            drawn = Uniform(low=config.velocity_low, high=config.velocity_high)
            middle = (config.velocity_low + config.velocity_high) / 2.0
            return {"velocity": Knob(-10.0, 10.0, middle, "Target velocity along x.", unit="m/s", vary=drawn)}
        return {}

    def _markers(self, spec: TaskSpec, state: NDArray[np.float64]) -> "list[Marker]":
        from taskgen.engines.mujoco_render import Marker

        here = state[1 : 1 + self.anatomy.dimensions]  # the state begins with time and qpos
        target = self.robot.target(self.robot.tables([spec]))
        if target is None:
            return []
        away = target[0] - here if self.config.task == "position" else target[0]
        goal = here + away * min(1.0, _SEEN / max(float(np.linalg.norm(away)), 1e-9))
        return [Marker((float(goal[0]), float(goal[1]) if len(goal) > 1 else 0.0, 0.15))]


class Walker:
    """The `Robot` of an `Anatomy` under a family's settings."""

    def __init__(
        self,
        anatomy: Anatomy,
        config: LocomotionConfig,
        *,
        alive_bonus: float = 0.0,
        terminate: bool = False,
        contact_cost: float = 0.0,
        observe_contacts: bool = False,
    ) -> None:
        self.model = lean_model(gymnasium_model(anatomy.model))
        self._limbs = Limbs(self.model, total_mass=anatomy.total_mass)
        self.frame_skip = anatomy.frame_skip
        self.uniforms = self.model.nq + self.model.nv
        self.reads: tuple[str, ...] = ("xpos",) if anatomy.dimensions == 2 else ()
        if contact_cost or observe_contacts:
            self.reads = (*self.reads, "cfrc_ext")
        self._anatomy, self._config = anatomy, config
        self._alive_bonus, self._terminate = alive_bonus, terminate
        self._contact_cost, self._observe_contacts = contact_cost, observe_contacts
        self.hidden = 0 if config.observe_position else anatomy.dimensions
        self._seconds = self.model.opt.timestep * anatomy.frame_skip
        self._lowest, self._highest = self.model.actuator_ctrlrange.T.copy()

    @property
    def observed(self) -> int:
        """Length of the observation."""
        contacts = 6 * (self.model.nbody - 1) if self._observe_contacts else 0
        return self.model.nq - self.hidden + self.model.nv + contacts

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Array]:
        """The knobs, [B] or [B, 2]."""
        names = [name for name in (*_GOALS, *_BODY) if name in specs[0].context]
        return {name: np.array([spec.context[name] for spec in specs], dtype=np.float64) for name in names}

    def edits(self, tables: Arrays) -> dict[str, Array]:
        """Fields scaled by the body's knobs; inertia goes with mass, both go with the volume of the limbs."""
        model = self.model
        mass = np.repeat(tables["mass"][:, None], model.nbody, axis=1)
        mass[:, _TORSO] *= tables["torso_mass"]
        gravity = np.zeros((len(mass), 3))
        gravity[:, 2] = -tables["gravity"]
        surfaces, values = friction(model)
        limbs = self._limbs.fields(tables["thickness"])
        return {
            **limbs,
            "body_mass": limbs.get("body_mass", model.body_mass) * mass,
            "body_inertia": limbs.get("body_inertia", model.body_inertia) * mass[:, :, None],
            surfaces: values * tables["friction"].reshape(-1, *(1,) * values.ndim),
            "dof_damping": model.dof_damping * tables["damping"][:, None],
            "actuator_gear": model.actuator_gear * tables["gear"][:, None, None],
            "opt.gravity": gravity,
        }

    def initial(self, tables: Arrays, uniform: Array) -> tuple[Array, Array]:
        """The model's own posture with noise."""
        position, velocity = uniform[:, : self.model.nq], uniform[:, self.model.nq :]
        scale = self._config.reset_noise
        noise = ndtri(velocity) if self._anatomy.gaussian_velocity else 2.0 * velocity - 1.0
        return self.model.qpos0 + scale * (2.0 * position - 1.0), scale * noise

    def place(self, physics: Arrays) -> Array:
        """[B, 1] x in a plane; [B, 2] x and y of the torso in space, as Gymnasium has them one physics step late."""
        return physics["qpos"][:, :1] if self._anatomy.dimensions == 1 else physics["xpos"][:, _TORSO, :2]

    def observe(self, tables: Arrays, physics: Arrays) -> Array:
        """Positions, velocities, contact forces."""
        velocity, limit = physics["qvel"], self._anatomy.velocity_limit
        if np.isfinite(limit):
            velocity = np.clip(velocity, -limit, limit)
        parts = [physics["qpos"][:, self.hidden :], velocity]
        if self._observe_contacts:
            parts.append(np.clip(physics["cfrc_ext"][:, 1:], -1.0, 1.0).reshape(len(velocity), -1))
        return np.concatenate(parts, axis=1)

    def outcome(
        self, tables: Arrays, physics: Arrays, before: Array, after: Array, action: Array
    ) -> tuple[Array, Array]:
        """Progress and bonus minus costs."""
        if self._config.clip_actions:
            action = np.minimum(np.maximum(action, self._lowest), self._highest)  # faster than np.clip
        cost = self._config.control_cost * np.square(action).sum(1)
        if self._contact_cost:
            forces = np.clip(physics["cfrc_ext"], -1.0, 1.0).reshape(len(cost), -1)
            cost = cost + self._contact_cost * np.square(forces).sum(1)
        reward = self._progress(tables, (after - before) / self._seconds, after)
        if self._anatomy.healthy is None:
            return reward - cost, np.zeros(len(cost), dtype=np.bool_)
        healthy = self._anatomy.healthy(physics)
        return (reward + healthy * self._alive_bonus) - cost, ~healthy & self._terminate

    def target(self, tables: Arrays) -> Array | None:
        """[B, dimensions] direction as unit vector, target velocity or target position; None without a goal."""
        if "direction" in tables and self._anatomy.dimensions == 2:
            return np.stack([np.cos(tables["direction"]), np.sin(tables["direction"])], axis=1)
        for name in _GOALS:
            if name in tables:
                return tables[name].reshape(len(tables[name]), -1)
        return None

    def descriptor(self, tables: Arrays) -> Array:
        """Goal and body."""
        body = np.stack([tables[name] for name in _BODY], axis=1)
        target = self.target(tables)
        return body if target is None else np.concatenate([target, body], axis=1)

    def _progress(self, tables: Arrays, velocity: Array, after: Array) -> Array:
        """[B] the part of the reward that the task decides."""
        task, target = self._config.task, self.target(tables)
        if target is None:
            return velocity[:, 0]
        if task == "direction":
            return (velocity * target).sum(1)
        if task == "velocity":
            return -np.abs(velocity[:, 0] - target[:, 0])
        return -np.abs(after - target).sum(1)

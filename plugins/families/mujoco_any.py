"""Domain randomisation for any MuJoCo model: fields of the model by name are the context.

`model` is the id of one of Gymnasium's MuJoCo environments or the text of an MJCF file (the text and not a path, so
that a task is complete and reads no file). Every entry of `fields` becomes a knob that scales what it names:

    body_mass.torso     one body's mass (its inertia goes with it)
    geom_friction.*     the friction of all geoms together
    dof_damping.knee    the damping of one joint
    actuator_gear.*     the strength of all actuators
    gravity             the acceleration of gravity

Elements without a name go by their number.

Observation: all positions and velocities. Reward: velocity of the first body along x minus control cost.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from registry.config import Config
from registry.errors import TaskError, brief, suggest
from taskgen.engines import mujoco as engine
from taskgen.engines.lean import gymnasium_model
from taskgen.engines.mjcf import compile_mjcf
from taskgen.engines.mujoco import Array, Arrays, MujocoBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import LogUniform

GYMNASIUM: Mapping[str, str] = {
    "Ant-v5": "ant.xml",
    "HalfCheetah-v5": "half_cheetah.xml",
    "Hopper-v5": "hopper.xml",
    "Humanoid-v5": "humanoid.xml",
    "HumanoidStandup-v5": "humanoidstandup.xml",
    "InvertedDoublePendulum-v5": "inverted_double_pendulum.xml",
    "InvertedPendulum-v5": "inverted_pendulum.xml",
    "Pusher-v5": "pusher_v5.xml",
    "Reacher-v5": "reacher.xml",
    "Swimmer-v5": "swimmer.xml",
    "Walker2d-v5": "walker2d_v5.xml",
}
"""Environment id -> model."""
_OBJECTS = {"body_mass": "body", "geom_friction": "geom", "dof_damping": "joint", "actuator_gear": "actuator"}
_GRAVITY = "gravity"


class MujocoAnyConfig(Config):
    """Structural settings of `MujocoAny`."""

    model: str = Field("HalfCheetah-v5", description="A Gymnasium MuJoCo id, or the text of an MJCF file.")
    fields: tuple[str, ...] = Field(
        ("body_mass.*", "geom_friction.*", "dof_damping.*", "actuator_gear.*", "gravity"),
        description="Model fields that tasks scale: field.name, field.* for all at once, or gravity.",
    )
    frame_skip: int = Field(5, ge=1, le=100, description="Physics steps per step.")
    horizon: int = Field(200, ge=1, le=100_000, description="Steps per episode.")
    reset_noise: float = Field(0.01, ge=0.0, le=1.0, description="Half-width of the noise of the initial state.")
    control_cost: float = Field(0.1, ge=0.0, le=100.0, description="Weight of the squared action in the reward.")


class MujocoAny(TaskFamily[MujocoAnyConfig]):
    """Any model with actuators."""

    def __init__(self, config: MujocoAnyConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.robot = _Anyone(config, _model(config.model))
        model = self.robot.model
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (model.nq + model.nv,), np.float32)
        self.action_space = gym.spaces.Box(*self.robot.limits.astype(np.float32), dtype=np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """A scale for every entry of `fields`."""
        scale = LogUniform(low=0.5, high=2.0)
        return ContextSpace(
            {name: Knob(0.25, 4.0, 1.0, f"Scale of {name}.", unit="times", vary=scale) for name in self.config.fields}
        )

    def batch(self, slots: int, device: torch.device | str = "cpu", *, threads: int | None = None) -> MujocoBatch:
        """A MuJoCo batch; the descriptor is the scales."""
        return MujocoBatch(self, self.robot, slots, device, threads=threads)

    def render(self, spec: TaskSpec) -> "np.ndarray | str":
        """The model at the start; the knobs as text where OpenGL is missing."""
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

        return picture(engine.edited_model(self.robot, spec), state)


class _Anyone:
    """The `Robot` of any model."""

    reads: tuple[str, ...] = ("xpos",)

    def __init__(self, config: MujocoAnyConfig, model: Any) -> None:
        if model.nu == 0 or model.nbody < 2:
            raise TaskError("model: it needs a body and an actuator")
        self.model = model
        self.frame_skip = config.frame_skip
        self.uniforms = model.nq + model.nv
        self.limits = np.where(model.actuator_ctrllimited[:, None], model.actuator_ctrlrange, [[-1.0, 1.0]]).T
        self._config = config
        self._seconds = model.opt.timestep * config.frame_skip
        self._places = {name: _place(model, name) for name in config.fields}

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Array]:
        return {name: np.array([spec.context[name] for spec in specs], dtype=np.float64) for name in self._places}

    def edits(self, tables: Arrays) -> dict[str, Array]:
        slots = len(next(iter(tables.values()), ()))
        scales: dict[str, Array] = {}
        for name, (field, rows) in self._places.items():
            size = np.shape(engine.field(self.model, field))[0]
            scale = scales.setdefault(field, np.ones((slots, size)))
            scale[:, rows] *= tables[name][:, None]
        edits: dict[str, Array] = {}
        for field, scale in scales.items():
            for changed in (field, "body_inertia") if field == "body_mass" else (field,):
                values = engine.field(self.model, changed)
                edits[changed] = values * scale.reshape(scale.shape + (1,) * (values.ndim - 1))
        return edits

    def initial(self, tables: Arrays, uniform: Array) -> tuple[Array, Array]:
        noise = self._config.reset_noise * (2.0 * uniform - 1.0)
        return self.model.qpos0 + noise[:, : self.model.nq], noise[:, self.model.nq :]

    def place(self, physics: Arrays) -> Array:
        return physics["xpos"][:, 1, :1]

    def observe(self, tables: Arrays, physics: Arrays) -> Array:
        return np.concatenate([physics["qpos"], physics["qvel"]], axis=1)

    def outcome(
        self, tables: Arrays, physics: Arrays, before: Array, after: Array, action: Array
    ) -> tuple[Array, Array]:
        cost = self._config.control_cost * np.square(np.clip(action, *self.limits)).sum(1)
        return (after - before)[:, 0] / self._seconds - cost, np.zeros(len(cost), dtype=np.bool_)

    def descriptor(self, tables: Arrays) -> Array:
        return np.stack([tables[name] for name in self._places], axis=1)


def _model(name: str) -> Any:
    """The model of an id or of MJCF text. Raises `TaskError` naming what was given."""
    if name.lstrip().startswith("<"):
        return compile_mjcf(name)
    if name not in GYMNASIUM:
        raise TaskError(f"model = {brief(name)}: neither a known id nor MJCF text. {suggest(name, GYMNASIUM)}")
    return engine.load_model(gymnasium_model(GYMNASIUM[name]))


def _place(model: Any, name: str) -> tuple[str, Array]:
    """Field and rows that a knob scales. Raises `TaskError` for names that are unknown or where nothing is to scale."""
    if name == _GRAVITY:
        field, rows = "opt.gravity", np.arange(3)
    else:
        field, _, element = name.partition(".")
        if field not in _OBJECTS:
            raise TaskError(f"fields: {brief(name)}: no such field. {suggest(field, [*_OBJECTS, _GRAVITY])}")
        rows = _rows(model, field, element)
    if not np.any(engine.field(model, field)[rows]):
        raise TaskError(f"fields: {name} is 0 in this model: scaling it changes nothing")
    return field, rows


def _rows(model: Any, field: str, element: str) -> Array:
    if element == "*":
        return np.arange(len(engine.field(model, field)))
    kind = _OBJECTS[field]
    count = {"body": model.nbody, "geom": model.ngeom, "joint": model.njnt, "actuator": model.nu}[kind]
    names = {getattr(model, kind)(number).name or str(number): number for number in range(count)}
    if element not in names:
        raise TaskError(f"fields: {brief(f'{field}.{element}')}: no such {kind}. {suggest(element, list(names))}")
    if kind != "joint":
        return np.array([names[element]])
    return np.flatnonzero(model.dof_jntid == names[element])

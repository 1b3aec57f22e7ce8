"""Domain randomisation for any MuJoCo model: fields of the model by name are the context.

`model` is the id of one of Gymnasium's MuJoCo environments or the text of an MJCF file (the text and not a path, so
that a task is complete and reads no file). On the command line `family.model=FILE.xml` stands for the text of a file,
includes written out, meshes as an artefact. Every entry of `fields` becomes a knob of what it names:

    body_mass.torso         one body's mass (its inertia goes with it)
    geom_friction.*_foot    the friction of several geoms, one number for all
    dof_damping.knee,hip    the damping of two joints
    actuator_gear.*         the strength of all actuators
    gravity                 the acceleration of gravity

Elements without a name go by their number. `plugins/families/model_fields.py` says what each field does for each kind
of actuator and contact. A knob that changes no bit of a short trial between half and twice the model's value is not
among those that are taken when none are named, and warned of, with the reason, when it is named; so is a reward
that no action of a trial changes.

Observation: all positions and velocities, then the activations of actuators that have some (muscles, filters); buffers
of delayed controls and sensors are not observed. Reward: velocity of the body `paid` along an axis minus control cost.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from plugins.families.model_fields import FIELDS, USUAL, edited, field_knob, knobs_of, why_dead
from registry.config import Config
from registry.errors import TaskError, brief, suggest
from taskgen.engines import mujoco as engine
from taskgen.engines.lean import gymnasium_model
from taskgen.engines.mjcf import compile_mjcf
from taskgen.engines.mujoco import Array, Arrays, MujocoBatch
from taskgen.engines.mujoco_trial import differing, moved
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace
from taskgen.spec import TaskSpec

# pyright: reportAttributeAccessIssue=false

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
_FRAME, _CENTRE = "xpos", "xipos"
_COM = "com."
_AXES = "xyz"
_FILES = (".xml", ".mjcf", ".urdf")
_QUATERNIONS = {mujoco.mjtJoint.mjJNT_FREE.value: 3, mujoco.mjtJoint.mjJNT_BALL.value: 0}  # where in their positions


class MujocoAnyConfig(Config):
    """Structural settings of `MujocoAny`."""

    model: str = Field(
        "HalfCheetah-v5",
        description="A Gymnasium MuJoCo id, or the text of an MJCF file; on the command line the file's path will do.",
    )
    artefact: str = Field(
        "", pattern="^([0-9a-f]{64})?$", description="The model's meshes: the artefact that came of its file, if any."
    )
    fields: tuple[str, ...] = Field(
        (),
        description=f"Knobs of tasks: field.names, field.* for all at once, of {', '.join(FIELDS)}. "
        f"None named: those of {', '.join(USUAL)} that change anything in the model.",
    )
    frame_skip: int = Field(5, ge=1, le=100, description="Physics steps per step.")
    horizon: int = Field(200, ge=1, le=100_000, description="Steps per episode.")
    start: str = Field("", description="Keyframe of the model that episodes start from; none: its reference pose.")
    reset_noise: float = Field(0.01, ge=0.0, le=1.0, description="Half-width of the noise of the initial state.")
    control_cost: float = Field(0.1, ge=0.0, le=100.0, description="Weight of the squared action in the reward.")
    paid: str = Field(
        "",
        description="Body whose velocity is the reward, or com.BODY for its centre of mass. None named: the first body "
        "whose place actions can change.",
    )
    paid_along: Literal["x", "y", "z", ""] = Field(
        "", description="Axis of the velocity that is paid; none: the first along which actions can move the body."
    )

    @model_validator(mode="after")
    def _complete(self) -> "MujocoAnyConfig":
        """Fix knobs and reward before anything is made, so that tasks and config.toml say them."""
        if not (self.fields and self.paid and self.paid_along):
            fields = self.fields or _living(self)
            paid, along = _paid(self)
            for name, value in (("fields", fields), ("paid", paid), ("paid_along", along)):
                object.__setattr__(self, name, value)  # frozen, but not yet handed out
        return self

    @classmethod
    def from_files(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as somebody types them, in which `model` may be a file: with its text, and its meshes stored."""
        model = settings.get("model")
        if not isinstance(model, str) or not model.endswith(_FILES) or model.lstrip().startswith("<"):
            return dict(settings)
        from taskgen.engines.mjcf_files import embed

        text, artefact = embed(Path(model))
        return {**settings, "model": text, **({"artefact": artefact} if artefact else {})}


class MujocoAny(TaskFamily[MujocoAnyConfig]):
    """Any model with actuators."""

    def __init__(self, config: MujocoAnyConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.robot = _Anyone(config, config.fields)
        if unpaid := _unpaid(config):
            warnings.warn(f"{self.name}: {unpaid}", stacklevel=2)
        for dead in [name for name in config.fields if name not in _living_of(config, config.fields)]:
            reason = why_dead(self.robot.model, self.robot.knobs[dead])
            warnings.warn(
                f"{self.name}: {dead} changed nothing in a trial at half and twice the model's value: {reason}",
                stacklevel=2,
            )
        model = self.robot.model
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (model.nq + model.nv + model.na,), np.float32)
        self.action_space = gym.spaces.Box(*self.robot.limits.astype(np.float32), dtype=np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """A scale, or a shift, for every entry of `fields`."""
        return ContextSpace({name: knob.knob for name, knob in self.robot.knobs.items()})

    def explained(self) -> list[tuple[str, ...]]:
        """The knobs, and those that `fields` may name besides."""
        taken = {name.partition(".")[0] for name in self.config.fields}
        others = [(name, meaning) for name, meaning in FIELDS.items() if name not in taken]
        return super().explained() + [
            (f"{name}.*" if meaning.of else name, "", "", "", meaning.unit, "if named", meaning.sentence)
            for name, meaning in others
        ]

    def batch(self, slots: int, device: torch.device | str = "cpu", *, threads: int | None = None) -> MujocoBatch:
        """A MuJoCo batch; the descriptor is the knobs."""
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

    def __init__(self, config: MujocoAnyConfig, fields: Sequence[str]) -> None:
        model = _model(config.model, config.frame_skip, config.artefact)
        if model.nu == 0 or model.nbody < 2:
            raise TaskError("model: it needs a body and an actuator")
        self.model = model
        self.frame_skip = config.frame_skip
        self.uniforms = model.nq + model.nv
        limited = model.actuator_ctrllimited[:, None].astype(bool)
        self.limits = np.where(limited, model.actuator_ctrlrange, [[-1.0, 1.0]]).T
        self.knobs = knobs_of(model, fields)
        self.keyframe = _keyframe(model, config.start) if config.start else -1
        self._config = config
        self._seconds = model.opt.timestep * config.frame_skip
        self._paid = _body(model, config.paid) if config.paid else (_FRAME, 1)
        kinds = [(int(kind), int(first)) for kind, first in zip(model.jnt_type, model.jnt_qposadr, strict=True)]
        turns = [first + _QUATERNIONS[kind] for kind, first in kinds if kind in _QUATERNIONS]
        self._turns = np.array(turns, dtype=np.int64)[:, None] + np.arange(4)
        self._axis = _AXES.index(config.paid_along or "x")
        self.reads: tuple[str, ...] = (self._paid[0], *(("act",) if model.na else ()))

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Array]:
        return {name: np.array([spec.context[name] for spec in specs], dtype=np.float64) for name in self.knobs}

    def edits(self, tables: Arrays) -> dict[str, Array]:
        return edited(self.model, self.knobs, tables)

    def initial(self, tables: Arrays, uniform: Array) -> tuple[Array, Array]:
        model, at = self.model, self.keyframe
        noise = self._config.reset_noise * (2.0 * uniform - 1.0)
        position = (model.qpos0 if at < 0 else model.key_qpos[at]) + noise[:, : model.nq]
        velocity = (np.zeros(model.nv) if at < 0 else model.key_qvel[at]) + noise[:, model.nq :]
        turn = position[:, self._turns]
        position[:, self._turns] = turn / np.linalg.norm(turn, axis=2, keepdims=True)
        return position, velocity

    def place(self, physics: Arrays) -> Array:
        array, body = self._paid
        return physics[array][:, body, self._axis : self._axis + 1]

    def observe(self, tables: Arrays, physics: Arrays) -> Array:
        parts = [physics["qpos"], physics["qvel"], *([physics["act"]] if self.model.na else [])]
        return np.concatenate(parts, axis=1)

    def outcome(
        self, tables: Arrays, physics: Arrays, before: Array, after: Array, action: Array
    ) -> tuple[Array, Array]:
        cost = self._config.control_cost * np.square(np.clip(action, *self.limits)).sum(1)
        return (after - before)[:, 0] / self._seconds - cost, np.zeros(len(cost), dtype=np.bool_)

    def descriptor(self, tables: Arrays) -> Array:
        return np.concatenate([tables[name].reshape(len(tables[name]), -1) for name in self.knobs], axis=1)


def _model(name: str, frame_skip: int, artefact: str) -> Any:
    """The model of an id or of MJCF text. Raises `TaskError` naming what was given."""
    if name.lstrip("\ufeff \t\r\n").startswith("<"):
        return compile_mjcf(name, frame_skip, artefact)
    if name in GYMNASIUM:
        return engine.load_model(gymnasium_model(GYMNASIUM[name]))
    if name.endswith(_FILES):
        raise TaskError(
            f"model = {brief(name)}: a path, but tasks and experiment files hold the model itself. On the command line "
            "family.model=FILE.xml puts it in, includes and meshes too; in Python taskgen.engines.mjcf_files.embed does"
        )
    raise TaskError(f"model = {brief(name)}: neither a known id nor MJCF text. {suggest(name, GYMNASIUM)}")


def _keyframe(model: Any, name: str) -> int:
    """The number of a keyframe. Raises `TaskError` for one that the model lacks or that breaks limits of joints."""
    names = {model.key(number).name or str(number): number for number in range(model.nkey)}
    if name not in names:
        raise TaskError(f"start = {brief(name)}: no such keyframe. {suggest(name, names)}")
    position = model.key_qpos[names[name]]
    for joint in np.flatnonzero(model.jnt_limited):
        value, (low, high) = position[model.jnt_qposadr[joint]], model.jnt_range[joint]
        if model.jnt_type[joint] in _SCALAR and not low <= value <= high:
            warnings.warn(
                f"start = {name!r}: joint {model.joint(int(joint)).name or joint} starts at {value:g}, outside of its "
                f"range from {low:g} to {high:g}: the first steps push it back",
                stacklevel=3,
            )
    return names[name]


_SCALAR = (mujoco.mjtJoint.mjJNT_HINGE.value, mujoco.mjtJoint.mjJNT_SLIDE.value)


def _body(model: Any, name: str) -> tuple[str, int]:
    """Array and row of a body's frame or centre of mass. Raises `TaskError` for an unknown one."""
    names = {model.body(number).name or str(number): number for number in range(1, model.nbody)}
    if name in names:
        return _FRAME, names[name]
    if name.removeprefix(_COM) in names:
        return _CENTRE, names[name.removeprefix(_COM)]
    raise TaskError(f"paid = {brief(name)}: no such body. {suggest(name.removeprefix(_COM), names)}")


def _living(config: MujocoAnyConfig) -> tuple[str, ...]:
    """Those of the usual knobs that live in a model. Raises `TaskError` where none does."""
    model = _model(config.model, config.frame_skip, config.artefact)
    there: list[str] = []
    for name in USUAL:
        try:
            field_knob(model, name)
        except TaskError:
            continue  # it is 0 in this model, or nothing that one number could scale
        there.append(name)
    living = _living_of(config, tuple(there))
    if not living:
        raise TaskError(f"fields: none of {', '.join(USUAL)} changes anything in this model; name others")
    return living


def _living_of(config: MujocoAnyConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name in _trial_of_knobs(*_physics(config), names))


def _physics(config: MujocoAnyConfig) -> tuple[str, str, int, str]:
    return config.model, config.artefact, config.frame_skip, config.start


@lru_cache(maxsize=64)
def _trial_of_knobs(model: str, artefact: str, frame_skip: int, start: str, names: tuple[str, ...]) -> frozenset[str]:
    """Those of `names` that change some bit of a trial between the ends of what is drawn when nothing is said."""
    if not names:
        return frozenset()
    robot = _tried(model, artefact, frame_skip, start, names)
    ends = [_ends(robot, place) for place in range(2)]
    alive = differing(robot, robot.limits, *ends)
    return frozenset(name for name, lives in zip(robot.knobs, alive, strict=True) if lives)


def _ends(robot: _Anyone, place: int) -> dict[str, Array]:
    """Tables of a task for each knob, in which it alone is at the lower or the upper end."""
    tables: dict[str, Array] = {}
    for number, (name, knob) in enumerate(robot.knobs.items()):
        table = np.full((len(robot.knobs), *knob.knob.shape), knob.knob.default)
        drawn = knob.knob.vary
        assert drawn is not None
        table[number] = (drawn.low, drawn.high)[place]  # type: ignore[attr-defined]
        tables[name] = table
    return tables


@lru_cache(maxsize=64)
def _trial_of_actions(model: str, artefact: str, frame_skip: int, start: str) -> tuple[tuple[str, str], ...]:
    """Bodies and axes along which actions move them: frames before centres of mass, x before y before z.

    Those that move a hundredth of what moves farthest, or more, come before those that only shake.
    """
    robot = _tried(model, artefact, frame_skip, start, ())
    found = moved(robot, robot.limits, {"": np.zeros(1)}, (_FRAME, _CENTRE))
    bodies = [robot.model.body(number).name or str(number) for number in range(robot.model.nbody)]
    farthest = max(array.max() for array in found.values())
    moving = [
        (
            bool(found[array][body, column] < farthest / 100.0),
            (f"{'' if array == _FRAME else _COM}{bodies[body]}", axis),
        )
        for column, axis in enumerate(_AXES)
        for array in (_FRAME, _CENTRE)
        for body in range(1, robot.model.nbody)
        if found[array][body, column]
    ]
    return tuple(place for _, place in sorted(moving, key=lambda entry: entry[0]))


def _tried(model: str, artefact: str, frame_skip: int, start: str, names: tuple[str, ...]) -> _Anyone:
    settings = {"model": model, "artefact": artefact, "frame_skip": frame_skip, "start": start, "reset_noise": 0.01}
    return _Anyone(MujocoAnyConfig.model_construct(**settings), names)


def _paid(config: MujocoAnyConfig) -> tuple[str, str]:
    """What is paid, with what was not said: the first that fits of what moves, else the first body along x."""
    if config.paid:
        _body(_model(config.model, config.frame_skip, config.artefact), config.paid)  # or there is no such body
    for body, axis in _trial_of_actions(*_physics(config)):
        if config.paid in ("", body) and config.paid_along in ("", axis):
            return body, axis
    model = _model(config.model, config.frame_skip, config.artefact)
    return config.paid or model.body(1).name or "1", config.paid_along or _AXES[0]


def _unpaid(config: MujocoAnyConfig) -> str:
    """Why no action could change the reward, a sentence; "" where some did."""
    moving = _trial_of_actions(*_physics(config))
    if (config.paid, config.paid_along) in moving:
        return ""
    shown = ", ".join(f"{body} along {axis}" for body, axis in moving[:8]) or "no body and no centre of mass"
    return (
        f"paid = {config.paid!r}: no action moved it along {config.paid_along} in a trial, so the family's own reward "
        f"is the control cost alone; actions moved {shown}{', ...' if len(moving) > 8 else ''}"
    )

"""The MuJoCo engine: B simulations of one model, each with model fields of its own, stepped by threads in C++.

A family writes a `Robot`: pure functions of NumPy arrays with leading axis B. `MujocoBatch` owns everything else: tasks
in slots, per-slot model fields, noise, horizon, masked reset, faults. Results are the same at any number of threads.

MuJoCo hides what diverges: it resets the simulation and goes on. So every step of every slot is checked by MuJoCo's
warnings, by its clock and for values that are not finite; see `MujocoBatch.step`.

Longer than most files here: a slot's model, its step, its reset and its faults are one state.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import PluginError, TaskError
from taskgen.batch import Transition
from taskgen.borders import broken
from taskgen.engines import noise
from taskgen.engines.faults import Fault, FaultLog
from taskgen.engines.mujoco_process import default_threads, quiet
from taskgen.engines.rewards import SlotRewards
from taskgen.engines.shapes import array, arrays, pair
from taskgen.family import TaskFamily, same_structure
from taskgen.spec import TaskSpec

try:
    from mujoco.batch import Batch, SimulationError
except (ImportError, AttributeError) as missing:  # whoever needs an older MuJoCo beside us keeps all other families
    raise PluginError(
        f"worlds in MuJoCo need mujoco 4 or newer, and {mujoco.__version__} is installed: pip install --upgrade mujoco"
    ) from missing

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]
"""Arrays by name, each [B, ...]."""

_HUGE = 1e10  # MuJoCo's own limit of what is a sane number
_WARNINGS = (
    "inertia matrix is nearly singular",
    "contact buffer is full",
    "constraint buffer is full",
    "position diverged",
    "velocity diverged",
    "acceleration diverged",
    "control diverged",
)  # in the order of mjtWarning
_SIMULATED = ("simulation", "_physics", "_scratch", "_control", "_clock", "_warned", "_state")
"""Attributes of a batch that lie in MuJoCo's memory, which knows neither copy nor pickle."""


class Robot(Protocol):
    """A family's body and task over B slots. `physics` holds `qpos`, `qvel` and the arrays named in `reads`."""

    model: Any
    """The `mujoco.MjModel` with default context."""
    frame_skip: int
    """Physics steps of one environment step."""
    reads: tuple[str, ...]
    """Further `mujoco.MjData` fields that are looked at, one physics step behind the state, as after `mj_step`.

    `cfrc_ext` (contact forces) is what `mj_rnePostConstraint` gives after a step and zero after a reset; it costs a
    Python call per slot and step.
    """
    uniforms: int
    """Independent uniforms that one reset uses."""

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Array]:
        """Tasks as arrays, each with leading axis len(specs)."""
        ...

    def edits(self, tables: Arrays) -> dict[str, Array]:
        """Model fields (as `mujoco.batch.Batch.expand` names them) and their values, [B, *shape of the field].

        Fields that are left out have the model's values.
        """
        ...

    def initial(self, tables: Arrays, uniform: Array) -> tuple[Array, Array]:
        """qpos [B, nq] and qvel [B, nv] at the start of an episode; `uniform` [B, uniforms] lies in (0, 1).

        The rest of the state (activations, controls, places of mocap bodies) is the model's own, or that of the
        keyframe whose number is the robot's attribute `keyframe`, if it has one.
        """
        ...

    def place(self, physics: Arrays) -> Array:
        """[B, P]: what the reward compares before and after a step, such as the position of the torso."""
        ...

    def observe(self, tables: Arrays, physics: Arrays) -> Array:
        """Observation [B, D]."""
        ...

    def outcome(
        self, tables: Arrays, physics: Arrays, before: Array, after: Array, action: Array
    ) -> tuple[Array, Array]:
        """Reward [B] and terminated [B] of a step that led from place `before` to place `after`."""
        ...

    def descriptor(self, tables: Arrays) -> Array:
        """[B, D], what an oracle may see."""
        ...


class MujocoBatch:
    """A `TaskBatch` over a `Robot`.

    `threads` (default: environment variable TASKGEN_THREADS, else all CPUs of the process) step the slots. MuJoCo runs
    on CPUs; on another `device` only what comes in and goes out lies there.
    """

    on_host = True

    def __init__(
        self,
        family: TaskFamily[Any],
        robot: Robot,
        slots: int,
        device: torch.device | str = "cpu",
        *,
        threads: int | None = None,
    ) -> None:
        quiet()
        self.slots = slots
        self.device = torch.device(device)
        self.family = family
        self.faults = FaultLog()
        """Episodes that were cut short because their physics diverged."""
        self._robot = robot
        self._rewards = SlotRewards(family, slots, torch.device("cpu"))
        self._simulate(min(slots, threads or default_threads()))
        self._then: Array = np.zeros(slots)
        self._all = np.ones(slots, dtype=np.bool_)
        self._ones = np.ones(self._state.size)
        self._before: Array = np.array(self.simulation.state)
        self._place = array(family, "Robot.place", robot.place(self._physics), None, slots).copy()
        self._specs: list[TaskSpec] = []
        self._tables: dict[str, Array] = {}
        self._rows, self._few = np.zeros(0, dtype=np.int64), dict[str, Array]()  # awake in the last step; their tables
        self._edited: set[str] = set()
        self._shown = family.observation_space.shape or ()
        self._observation: Array = np.zeros((slots, *self._shown), dtype=np.float32)
        self._ended = np.zeros(slots, dtype=np.bool_)
        self._time = np.zeros(slots, dtype=np.int64)
        self._episode = torch.zeros(slots, dtype=torch.int64)
        self._seed_key = torch.zeros(slots, dtype=torch.int64)

    def _simulate(self, threads: int) -> None:
        """Make the simulations and bind what is looked at: the attributes named in `_SIMULATED`."""
        robot = self._robot
        contact = "cfrc_ext" in robot.reads
        self.simulation = Batch(robot.model, self.slots, threads, persistent=contact)
        """MuJoCo's own batch."""
        self._physics: dict[str, Array] = {
            name: self.simulation.bind(name) for name in ("qpos", "qvel", *robot.reads) if name != "cfrc_ext"
        }
        self._scratch = mujoco.MjData(robot.model) if contact else None
        if contact:
            self._physics["cfrc_ext"] = np.zeros((self.slots, robot.model.nbody, 6))
        self._control: Array = self.simulation.bind("ctrl")
        self._clock: Array = self.simulation.bind("time")
        self._warned: Array = self.simulation.warning[:, :, 1]
        self._state: Array = self.simulation.state.reshape(-1)  # a view

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes, in the middle of episodes too: the simulations as their states."""
        kept = {name: value for name, value in self.__dict__.items() if name not in _SIMULATED}
        kept["_rows"], kept["_few"] = self._rows[:0], {}
        return {**kept, "threads": self.simulation.nthread, "states": np.array(self.simulation.state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on, bit for bit, where `__getstate__` was called."""
        quiet()
        threads, states = state.pop("threads"), state.pop("states")
        self.__dict__.update(state)
        self._simulate(threads)
        self._edited = set()
        if self._specs:
            self._edit(np.arange(self.slots), self._robot.edits(self._tables))
        self.simulation.state[:] = states

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """See `TaskBatch.set_tasks`. Raises `TaskError` for a task whose model MuJoCo refuses."""
        same_structure(specs, self.family)
        rows = np.array(range(self.slots) if slots is None else slots, dtype=np.int64)
        if len(specs) != len(rows):
            raise ValueError(f"{len(specs)} tasks for {len(rows)} slots")
        if slots is None:
            self._specs = list(specs)
        elif not self._specs:
            raise ValueError("the first set_tasks of a batch fills all slots")
        self._rewards.set_tasks(specs, slots)
        new = arrays(self.family, "Robot.tables", self._robot.tables(specs), len(specs))
        for name, table in new.items():
            self._tables.setdefault(name, np.empty((self.slots, *table.shape[1:]), table.dtype))[rows] = table
        self._rows = self._rows[:0]
        for slot, spec in zip(rows.tolist(), specs, strict=True):
            self._specs[slot] = spec
        index = torch.from_numpy(rows)
        self._seed_key[index] = noise.keys([spec.seed for spec in specs])
        self._episode[index] = 0
        self._edit(rows, self._robot.edits(new))

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """See `TaskBatch.reset`."""
        mask = np.ones(self.slots, dtype=np.bool_) if where is None else where.cpu().numpy()
        if mask.any():
            self._restart(np.flatnonzero(mask), seeds)
            observation = self._observed(self._tables, self._physics, self.slots)
            observation = np.where(mask[:, None], observation, self._observation)
            self._observation = np.where(np.isfinite(observation), observation, np.float32(0.0))
        return torch.from_numpy(self._observation).to(self.device)

    def step(self, action: Tensor) -> Transition:
        """See `TaskBatch.step`. Simulations whose episode has ended rest until their next reset.

        An episode whose physics diverges is truncated with reward 0 and its last good observation, and recorded in
        `faults`; the simulation of the slot is put to rest until its next reset. So is one whose action is not finite.
        """
        control = action.detach().cpu().numpy().astype(np.float64)
        sane = self._all
        if not np.abs(control).max() <= _HUGE:
            sane = np.all(np.abs(control) <= _HUGE, axis=1)
            control = np.where(sane[:, None], control, 0.0)
        np.copyto(self._then, self._clock)
        self._control[:] = control
        np.copyto(self._before, self.simulation.state)
        awake = np.flatnonzero(~self._ended)
        self._run(self.simulation.step, None if len(awake) == self.slots else awake, nstep=self._robot.frame_skip)
        self._read_contacts(awake)
        self._time += 1
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dealt with below
            place, observation, reward, terminated = self._look(awake, control)
            own = reward
            if self._rewards.active:
                reward = self._rewards(*map(torch.from_numpy, (self._observation, control, observation, own))).numpy()
            calm = self._calm(observation, reward, own)
        healthy = sane if calm else sane & self._healthy(observation, reward) & np.isfinite(own)
        self._place = place
        truncated = self._time >= self.family.horizon
        if not healthy.all():
            observation = np.where(healthy[:, None], observation, self._observation)
            reward, own = np.where(healthy, reward, np.float32(0.0)), np.where(healthy, own, np.float32(0.0))
            terminated, truncated = terminated & healthy, truncated | ~healthy
            self._settle(np.flatnonzero(~healthy), sane)
        self._ended |= terminated | truncated
        self._observation = observation
        paid = (reward, own) if self._rewards.active else (reward,)
        kinds = (observation[None], np.stack((terminated, truncated)), np.stack(paid))  # a copy to the device each
        (seen,), flags, rewards = (torch.from_numpy(x).to(self.device).unbind() for x in kinds)
        return Transition(seen, rewards[0], *flags, *rewards[1:])

    def rest(self, where: Tensor) -> None:
        """See `Resting.rest`."""
        self._ended |= where.cpu().numpy()

    def _look(self, awake: Array, control: Array) -> tuple[Array, Array, Array, Array]:
        """Place, observation, reward and terminated of all slots after a step; those that rest get no reward."""
        tables, physics = self._tables, self._physics
        if len(awake) == self.slots:
            place = self._placed(physics, self.slots).copy()
            reward, terminated = self._outcome(tables, physics, self._place, place, control)
            return place, self._observed(tables, physics, self.slots), reward.astype(np.float32), terminated
        place, observation = self._place.copy(), self._observation.copy()
        reward, terminated = np.zeros(self.slots, dtype=np.float32), np.zeros(self.slots, dtype=np.bool_)
        if len(awake):
            if not np.array_equal(awake, self._rows):
                self._rows, self._few = awake, {name: table[awake] for name, table in tables.items()}
            tables, physics = self._few, {name: values[awake] for name, values in physics.items()}
            place[awake] = self._placed(physics, len(awake))
            rows = (self._place[awake], place[awake], control[awake])
            reward[awake], terminated[awake] = self._outcome(tables, physics, *rows)
            observation[awake] = self._observed(tables, physics, len(awake))
        return place, observation, reward, terminated

    def _placed(self, physics: Arrays, rows: int) -> Array:
        return array(self.family, "Robot.place", self._robot.place(physics), self._place.shape[1:], rows)

    def _observed(self, tables: Arrays, physics: Arrays, rows: int) -> Array:
        """[rows, D] float32."""
        seen = self._robot.observe(tables, physics)
        return array(self.family, "Robot.observe", seen, self._shown, rows).astype(np.float32)

    def _outcome(self, tables: Arrays, physics: Arrays, *step: Array) -> tuple[Array, Array]:
        """Reward and terminated of a `step`: place before, place after, action."""
        found, call, rows = self._robot.outcome(tables, physics, *step), "Robot.outcome", len(step[0])
        reward, terminated = pair(self.family, call, found, "reward [B], terminated [B]")
        ended = array(self.family, call, terminated, (), rows)
        if ended.dtype != np.bool_:
            raise broken(self.family, call, f"terminated of {ended.dtype}", "bool")
        return array(self.family, call, reward, (), rows), ended

    def descriptor(self) -> Tensor:
        """See `TaskBatch.descriptor`."""
        told = array(self.family, "Robot.descriptor", self._robot.descriptor(self._tables), None, self.slots)
        seen = torch.from_numpy(told.astype(np.float32))
        return self._rewards.beside(seen).to(self.device)

    def state(self, slot: int) -> Array:
        """The simulation of a slot, `mjSTATE_INTEGRATION`: what `frame` draws."""
        return np.array(self.simulation.state[slot])

    def _edit(self, rows: Array, edits: Arrays) -> None:
        """Give the slots `rows` their model fields. Fields in which no slot has left the model's values stay shared."""
        for name, values in arrays(self.family, "Robot.edits", edits, len(rows)).items():
            shape = field(self._robot.model, name).shape
            array(self.family, f"Robot.edits, {name},", values, shape, len(rows))
            if name not in self._edited and bool((values == field(self._robot.model, name)).all()):
                continue
            self._edited.add(name)
            self.simulation.expand(name)[rows] = values
        if not self._edited:
            return
        for name in self._edited.difference(edits):
            self.simulation.expand(name)[rows] = field(self._robot.model, name)
        try:
            self.simulation.set_const(rows if len(rows) == 1 else np.unique(rows))
        except SimulationError as error:
            task = self._specs[int(error.ids[0])]
            raise TaskError(f"task {task.id} of family {self.family.name}: MuJoCo refuses its model: {error}") from None

    def _restart(self, rows: Array, seeds: Sequence[int] | None) -> None:
        """Start episodes in the slots `rows`."""
        index = torch.from_numpy(rows)
        if seeds is not None:
            self._seed_key[index] = noise.keys([seeds[row] for row in rows])
            self._episode[index] = 0
        key = noise.child(self._seed_key[index], self._episode[index])
        self._episode[index] += 1
        uniform: Array = noise.uniforms64(key, self._robot.uniforms).numpy()
        tables = self._tables if len(rows) == self.slots else {name: x[rows] for name, x in self._tables.items()}
        call, model = "Robot.initial", self._robot.model
        qpos, qvel = pair(self.family, call, self._robot.initial(tables, uniform), "qpos [B, nq], qvel [B, nv]")
        qpos = array(self.family, call, qpos, (model.nq,), len(rows))
        qvel = array(self.family, call, qvel, (model.nv,), len(rows))
        keyframe = getattr(self._robot, "keyframe", -1)
        self.simulation.reset(rows, keyframe, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self._physics["qpos"][rows], self._physics["qvel"][rows] = qpos, qvel
        self._run(self.simulation.forward, rows)
        self._begin(rows)
        self._ended[rows] = False
        self._time[rows] = 0

    def _begin(self, rows: Array) -> None:
        """What a simulation remembers of its last step, at the start of an episode."""
        if self._scratch is not None:
            self._physics["cfrc_ext"][rows] = 0.0
        self._place[rows] = self._robot.place(self._physics)[rows]

    def _read_contacts(self, awake: Array) -> None:
        if self._scratch is None:
            return
        contacts, data, model = self._physics["cfrc_ext"], self._scratch, self._robot.model
        for slot in awake.tolist():  # the batch computes contact forces for none of its own stages
            self.simulation.get_data(slot, data)
            mujoco.mj_rnePostConstraint(model, data)
            contacts[slot] = data.cfrc_ext

    def _run(self, call: Any, *arguments: Any, **settings: Any) -> None:
        """Call MuJoCo; a slot in which it raised has stood still and is found by `_healthy`."""
        with suppress(SimulationError):
            call(*arguments, **settings)

    def _calm(self, *values: Array) -> bool:
        """Whether all is well in all slots, `values` included, told by sums; where False, look at every slot."""
        if np.count_nonzero(self.simulation.warning) or np.count_nonzero(self.simulation.status):
            return False
        total = np.dot(self._state, self._ones) + sum(array.sum() for array in values)
        return bool(np.isfinite(total)) and bool(self._moved().all())

    def _healthy(self, observation: Array, reward: Array) -> Array:
        """[B] whether all is well after a step."""
        quiet = ~self._warned.any(1)
        finite = np.isfinite(observation).all(1) & np.isfinite(reward) & np.isfinite(self.simulation.state).all(1)
        return quiet & finite & self._moved() & (self.simulation.status == 0)

    def _moved(self) -> Array:
        """[B] whether time went on, or rests."""
        return (self._clock > self._then) | self._ended

    def _settle(self, rows: Array, sane: Array) -> None:
        """Record the faults of the slots `rows` and put their simulations to rest."""
        for slot in rows.tolist():
            if not self._ended[slot]:
                blame = bool(sane[slot])
                reason = self._reason(slot) if blame else "the action is not finite"
                state, step = self._before[slot].copy(), int(self._time[slot])
                self.faults.record(Fault(slot, self._specs[slot], step, reason, blame, state))
        self._run(self.simulation.reset, rows)
        self._begin(rows)

    def _reason(self, slot: int) -> str:
        if self.simulation.status[slot]:
            return self.simulation.error(slot)
        warned = np.flatnonzero(self._warned[slot])
        if len(warned):
            return _WARNINGS[warned[0]]
        return "a value is not finite" if self._clock[slot] > self._then[slot] else "the clock went back"


@lru_cache(maxsize=32)
def load_model(path: Path) -> Any:
    """The `mujoco.MjModel` of an MJCF file; treat it as read-only. Raises `TaskError` naming file and problem."""
    quiet()
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise TaskError(f"{path}: MuJoCo refuses this model: {error}") from None


def field(model: Any, name: str) -> Array:
    """A model field by the name that `mujoco.batch.Batch.expand` uses."""
    return np.asarray(getattr(model.opt, name[4:]) if name.startswith("opt.") else getattr(model, name))


@lru_cache(maxsize=8)
def edited_model(robot: Robot, spec: TaskSpec) -> Any:
    """A `mujoco.MjModel` with the task's values; treat it as read-only, since whoever asks again gets the same."""
    model = copy.copy(robot.model)
    for name, values in robot.edits(robot.tables([spec])).items():
        if name.startswith("opt."):  # a number is a copy
            setattr(model.opt, name[4:], values[0])
        else:
            field(model, name)[...] = values[0]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model

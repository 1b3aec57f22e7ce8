"""Short trials of a robot: what of its tasks and of its actions makes a difference at all.

Simulations are equal to the bit when nothing distinguishes them. So of two that begin alike and get the same actions,
whatever differs is due to the one thing in which their tasks differ, and so it is for actions.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from mujoco.batch import Batch, SimulationError

from taskgen.engines.mujoco import Array, Arrays, Robot
from taskgen.engines.mujoco_process import default_threads

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

STEPS = 100
"""Of a trial, at most."""
_AFFORDED, _FEWEST = 2e10, 5  # operations of a trial, roughly; steps of one of a large model
_SEED = 20
_DIVERGED = slice(3, None)  # of MuJoCo's warnings
_HELD = 5  # steps that an action is kept for, so that joints get to the ends of their ranges


def differing(robot: Robot, limits: Array, first: Arrays, second: Arrays) -> Array:
    """[K] whether tasks k of the tables `first` and `second` differ in some bit within a trial of random actions.

    Those that diverge count as different: MuJoCo begins them anew.

    `limits` [2, nu] are the lowest and the highest actions, of which those of the trial are made.
    """
    count = len(next(iter(first.values())))
    tables = {name: np.concatenate([first[name], second[name]]) for name in first}
    simulation = _begun(robot, tables)
    different = np.zeros(count, dtype=np.bool_)
    for action in _actions(robot, limits, 2 * count):
        same = np.flatnonzero(~different)
        if not len(same):
            break
        simulation.bind("ctrl")[:] = action
        with suppress(SimulationError):
            simulation.step(np.concatenate([same, same + count]), nstep=robot.frame_skip)
        state = np.asarray(simulation.state)
        warned: Array = np.asarray(simulation.warning)[:, _DIVERGED, 1]
        diverged: Array = np.any(warned, axis=1)  # and was begun anew: of that nothing follows
        different |= (state[:count] != state[count:]).any(1) | diverged[:count] | diverged[count:]
    return different


def moved(robot: Robot, limits: Array, tables: Arrays, names: tuple[str, ...]) -> dict[str, Array]:
    """How far apart entries of the `mujoco.MjData` fields `names` come by other actions, in the one task of `tables`.

    0 exactly where no action of the trial made a difference.
    """
    simulation = _begun(robot, {name: np.repeat(table, 2, axis=0) for name, table in tables.items()})
    bound = {name: simulation.bind(name) for name in names}
    found = {name: np.zeros(values.shape[1:]) for name, values in bound.items()}
    for actions in zip(_actions(robot, limits, 2), _actions(robot, limits, 2, stream=1), strict=True):
        simulation.bind("ctrl")[:] = np.stack(actions)
        with suppress(SimulationError):
            simulation.step(nstep=robot.frame_skip)
        for name, values in bound.items():
            found[name] = np.fmax(found[name], np.abs(values[0] - values[1]))
    return found


def _begun(robot: Robot, tables: Arrays) -> Any:
    slots = len(next(iter(tables.values())))
    simulation = Batch(robot.model, slots, min(slots, default_threads()))
    for name, values in robot.edits(tables).items():
        simulation.expand(name)[...] = values
    with suppress(SimulationError):
        simulation.set_const()
    uniform = np.repeat(_draws(robot.uniforms)[None], slots, axis=0)
    simulation.reset(keyframe=getattr(robot, "keyframe", -1), stage=0)
    simulation.bind("qpos")[:], simulation.bind("qvel")[:] = robot.initial(tables, uniform)
    return simulation


def _actions(robot: Robot, limits: Array, slots: int, stream: int = 0) -> Iterator[Array]:
    model = robot.model
    cost = robot.frame_skip * slots * (100.0 * model.nv**2 + 50.0 * model.ngeom**2 + 1.0)
    action = limits[0]
    for step in range(int(np.clip(_AFFORDED // cost, _FEWEST, STEPS))):
        if step % _HELD == 0:
            action = np.where(_draws(limits.shape[1], step, stream) < 0.5, *limits)
        yield action


def _draws(count: int, step: int = -1, stream: int = 0) -> Array:
    return np.random.default_rng([_SEED, stream, step + 1]).uniform(size=count)

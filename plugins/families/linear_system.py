"""Linear systems with quadratic cost: each task is another plant, of which the best control is known exactly.

    x_{t+1} = A x_t + B u_t + w_t,   y_t = C x_t + v_t,   reward_t = -(|y_t|^2 + effort |u_t|^2)

x_0 ~ N(0, start^2 I), w_t ~ N(0, process_noise^2 I), v_t ~ N(0, sensor_noise^2 I), over a finite horizon, after which
nothing is paid. The agent sees y_t before u_t. With `outputs = 0` that is the state itself, y = x (LQR); else the state
is hidden (LQG). A reward says nothing of x that y and u do not say, so that nobody knows more than the Kalman filter.

A is the knob `dynamics` M scaled to the spectral radius `radius`: A = radius M / max(rho(M), |M|_F / 10). The second
term is for matrices that are nearly nilpotent, whose radius stays smaller: it takes one draw in a thousand of 2 x 2.

Controls are bounded by `limit`, while the theory knows no bounds: `optimal_return` is what the best player earns where
it never asks for more, and else more than anybody can. `render` says how large the best controls of a task are. On the
default distribution fewer than one in ten thousand is beyond the limit of 10, to which a test holds it; where effort is
cheap, control weak or the start far, raise the limit.

Sources: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods", chapters 2 and 8; as a benchmark of
learning: Dean, Mania, Matni, Recht and Tu 2020, "On the sample complexity of the linear quadratic regulator".
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import continuous
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform

_NILPOTENT = 0.1
"""Least spectral radius of M that A is scaled by, as a share of its Frobenius norm."""
_GROWTH = 1e12
"""The most that a state may grow over an episode: its square is a reward in single precision."""

Floats = NDArray[np.float64]


class LinearSystemConfig(Config):
    """Structural settings of `LinearSystem`."""

    states: int = Field(2, ge=1, le=16, description="Numbers of the state x.")
    controls: int = Field(2, ge=1, le=16, description="Numbers of the action u.")
    outputs: int = Field(
        0, ge=0, le=16, description="Numbers of what is seen, y = C x + v; 0: the state itself, without noise."
    )
    horizon: int = Field(20, ge=1, le=100_000, description="Steps per episode.")
    limit: float = Field(10.0, gt=0, le=1e6, description="Largest control, per coordinate.")


class LinearSystem(TaskFamily[LinearSystemConfig]):
    """Observation: y, [states] where the state is seen, else [outputs]; action: u [controls] in [-limit, limit]."""

    def __init__(self, config: LinearSystemConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (config.outputs or config.states,), np.float32)
        self.action_space = gym.spaces.Box(-config.limit, config.limit, (config.controls,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The plant and its noise vary; what control costs and where episodes start does not."""
        states, controls, outputs = self.config.states, self.config.controls, self.config.outputs
        anything, little = Uniform(low=-1.0, high=1.0), Uniform(low=0.05, high=0.2)

        def matrix(text: str, rows: int, columns: int) -> Knob:
            return Knob(-1.0, 1.0, 0.5, text, shape=(rows, columns), vary=anything)

        knobs = {
            "dynamics": matrix("A before it is scaled to `radius`.", states, states),
            "radius": Knob(
                0.0, 1.5, 0.9, "Spectral radius of A: above 1 is unstable.", vary=Uniform(low=0.7, high=1.1)
            ),
            "control": matrix("B.", states, controls),
            "process_noise": Knob(0.0, 1.0, 0.1, "Standard deviation of each number of w.", vary=little),
            "effort": Knob(0.01, 10.0, 1.0, "Cost of the squared control."),
            "start": Knob(0.0, 10.0, 1.0, "Standard deviation of each number of the first state."),
        }
        if outputs:
            knobs["sensor"] = matrix("C.", outputs, states)
            knobs["sensor_noise"] = Knob(0.01, 1.0, 0.1, "Standard deviation of each number of v.", vary=little)
        return ContextSpace(knobs)

    def validate(self, context: Mapping[str, Any]) -> None:
        """Refuse plants that leave single precision within an episode."""
        radius = context["radius"]
        if radius > 1.0 and self.horizon * math.log(radius) > math.log(_GROWTH):
            raise TaskError(
                f"{self.name}: with radius = {radius:g} a state grows {radius:g}^{self.horizon}-fold in an episode, "
                f"above {_GROWTH:g}: lower radius, or the range that it varies in, to "
                f"{_GROWTH ** (1 / self.horizon):.4g}, or horizon"
            )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is A, B, process noise, effort, start; C and sensor noise if any."""
        return TensorBatch(self, _Plant(self.config), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Matrices, radius and noise changed a little."""
        return continuous.mutated(self.context_space, context, rng)

    def descriptor(self, context: Mapping[str, Any]) -> Floats:
        """[D] all numbers of the knobs, each from 0 to 1 over its bounds."""
        return self.context_space.scaled(context)

    def best(self, context: Mapping[str, Any]) -> "Best":
        """What one who knows the task does without bounds: Riccati backwards, the filter's covariance forwards.

        x = x^ + e with independent parts: `known` is the covariance of the estimate x^, `unknown` that of its error e.
        """
        plant = {name: values[0] for name, values in _plants([context]).items()}
        a, b, effort = plant["dynamics"], plant["control"], plant["effort"]
        identity = np.eye(len(a))
        c, deviation = (plant["sensor"], plant["sensor_noise"]) if self.config.outputs else (identity, 0.0)
        value, gains = np.zeros_like(a), list[Floats]()
        for _ in range(self.horizon):
            gain = np.linalg.solve(effort * np.eye(b.shape[1]) + b.T @ value @ b, b.T @ value @ a)
            value = c.T @ c + a.T @ value @ (a - b @ gain)
            value = (value + value.T) / 2
            gains.append(gain)
        known, unknown = np.zeros_like(a), plant["start"] ** 2 * identity
        cost, reach = 0.0, 0.0
        for gain in reversed(gains):
            seen = unknown
            if self.config.outputs:
                innovation = c @ unknown @ c.T + deviation**2 * np.eye(len(c))
                seen = unknown @ c.T @ np.linalg.solve(innovation, c @ unknown)
            known, unknown = known + seen, unknown - seen
            controls = np.diagonal(gain @ known @ gain.T)
            cost += float(np.trace(c @ (known + unknown) @ c.T) + len(c) * deviation**2 + effort * controls.sum())
            reach = max(reach, max(0.0, float(controls.max())) ** 0.5)
            closed = a - b @ gain
            known = closed @ known @ closed.T
            unknown = a @ unknown @ a.T + plant["process_noise"] ** 2 * identity
        return Best(-cost, reach)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Expected return of an episode of one who knows the task and is not bounded by `limit`."""
        return self.best(spec.context).expected_return

    def render(self, spec: TaskSpec) -> str:
        """The matrices, and what the best player earns and needs for it."""
        plant = {name: values[0] for name, values in _plants([spec.context]).items()}
        best = self.best(spec.context)
        names = {"A": "dynamics", "B": "control", "C": "sensor"}
        lines = [
            f"{letter if not row else ' '}  " + "  ".join(f"{number:8.3f}" for number in numbers)
            for letter, name in names.items()
            for row, numbers in enumerate(plant.get(name, ()))
        ]
        others = [f"{name} {values:.4g}" for name, values in plant.items() if not values.ndim]
        radius = np.abs(np.linalg.eigvals(plant["dynamics"])).max()
        reach = f"controls of a standard deviation of at most {best.reach:.3g}, limit {self.config.limit:g}"
        lines += ["  ".join([f"radius {radius:.4g}", *others]), f"best return {best.expected_return:.4g}, by {reach}"]
        return "\n".join(lines)


class Best(NamedTuple):
    """The best play of a task without bounds."""

    expected_return: float
    """Of an episode."""
    reach: float
    """Largest standard deviation of any control at any time; all have mean 0 and are normal."""


def _plants(contexts: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """The knobs of each context, each [B, ...], with A in place of M and without `radius`."""
    names = ("dynamics", "radius", "control", "process_noise", "effort", "start", "sensor", "sensor_noise")
    knobs = {
        name: np.array([context[name] for context in contexts], dtype=np.float64)
        for name in names
        if name in contexts[0]
    }
    raw = knobs["dynamics"]
    largest = np.abs(np.linalg.eigvals(raw)).max(1)
    size = np.maximum(largest, _NILPOTENT * np.linalg.norm(raw, axis=(1, 2)))
    scale = knobs.pop("radius") / np.where(size > 0.0, size, 1.0)
    return {**knobs, "dynamics": scale[:, None, None] * raw}


class _Plant:
    """State: x, then y where that is another; normal numbers by their quantile function."""

    def __init__(self, config: LinearSystemConfig) -> None:
        self.states, self.outputs = config.states, config.outputs
        self.uniforms = config.states + config.outputs

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        plants = _plants([spec.context for spec in specs])
        return {name: torch.tensor(values, dtype=torch.float32) for name, values in plants.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        normal = torch.special.ndtri(uniform)
        return self._seen(tables, tables["start"][:, None] * normal[:, : self.states], normal)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state[:, self.states :] if self.outputs else state

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen, normal = self.observe(tables, state), torch.special.ndtri(uniform)
        cost = torch.addcmul((seen * seen).sum(1), tables["effort"], (action * action).sum(1))
        following = _times(tables["dynamics"], state[:, : self.states]) + _times(tables["control"], action)
        following = torch.addcmul(following, tables["process_noise"][:, None], normal[:, : self.states])
        return self._seen(tables, following, normal), -cost, torch.zeros_like(cost, dtype=torch.bool)

    def _seen(self, tables: Tables, state: Tensor, normal: Tensor) -> Tensor:
        """`state` [B, states] with what is seen of it."""
        if not self.outputs:
            return state
        output = _times(tables["sensor"], state)
        return torch.cat(
            [state, torch.addcmul(output, tables["sensor_noise"][:, None], normal[:, self.states :])], dim=1
        )

    def descriptor(self, tables: Tables) -> Tensor:
        names = ("dynamics", "control", "process_noise", "effort", "start", "sensor", "sensor_noise")
        return torch.cat([tables[name].reshape(len(tables["start"]), -1) for name in names if name in tables], dim=1)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """[B, rows] of `matrix` [B, rows, columns] and `vector` [B, columns]; a row is the same in every batch."""
    return (matrix * vector[:, None]).sum(-1)

"""Toy families, one for every kind of space: what an agent or a face must be able to play. See `taskgen.testing`.

A step pays `gain` times the sum of the numbers of its action, whatever they are: who leaves the action space earns more
than can be earned inside, or less. Nothing is clipped here. Observations are drawn uniformly.

Axes: B slots, P numbers of an action, N numbers of an observation.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from pydantic import Field
from torch import Tensor

from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spaces import action_layout, is_whole, leaves, row_shape
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform

_INF = np.inf


def _box(low: Sequence[float], high: Sequence[float], kind: Any = np.float32) -> Box:
    return Box(np.array(low, dtype=kind), np.array(high, dtype=kind), dtype=kind)


ACTED: dict[str, gym.Space[Any]] = {
    "discrete": Discrete(3),
    "discrete-from-minus-one": Discrete(3, start=-1),
    "multi-discrete": MultiDiscrete([3, 2], start=[-1, 4]),
    "multi-discrete-table": MultiDiscrete(np.array([[2, 3], [4, 2]])),
    "multi-binary": MultiBinary(3),
    "box": Box(-1.0, 1.0, (2,)),
    "asymmetric-box": _box([0.0, -0.5], [5.0, 0.5]),
    "half-open-box": _box([2.0, -_INF], [_INF, 1.0]),
    "open-box": Box(-_INF, _INF, (2,)),
    "flat-box": _box([0.0, 3.0], [1.0, 3.0]),
    "box-of-one-number": Box(-2.0, 1.0, ()),
    "box-table": Box(-1.0, 2.0, (2, 3)),
    "double-box": _box([-0.1, 0.3], [0.1, 0.7], np.float64),
    "dict-of-boxes": Dict({"arm": _box([0.0, -0.5], [5.0, 0.5]), "hand": Box(-1.0, 1.0, (1,))}),
    "tuple-of-choices": Tuple((Discrete(2, start=3), MultiBinary(2))),
    "dict": Dict({"grip": Discrete(2, start=1), "arm": _box([0.0, -0.5], [5.0, 0.5])}),
    "tuple": Tuple((Discrete(3), Dict({"b": Box(0.0, 1.0, (1, 2)), "a": MultiDiscrete([2, 2])}), Box(-1.0, 1.0, (1,)))),
}
"""Action spaces by name."""
OBSERVED: dict[str, gym.Space[Any]] = {
    "box": Box(0.0, 1.0, (2,)),
    "open-box": Box(-_INF, _INF, (2,)),
    "box-of-one-number": Box(-2.0, 1.0, ()),
    "box-table": Box(-1.0, 2.0, (2, 3)),
    "double-box": Box(-1.0, 1.0, (2,), np.float64),
    "whole-box": Box(-4, 9, (3,), np.int64),
    "discrete": Discrete(4),
    "discrete-from-minus-one": Discrete(4, start=-1),
    "multi-discrete": MultiDiscrete([3, 2], start=[-1, 4]),
    "multi-binary": MultiBinary(3),
    "image": Box(0, 255, (4, 5, 3), np.uint8),
    "grey-image": Box(0, 255, (4, 5), np.uint8),
    "bytes": Box(0, 255, (6,), np.uint8),
    "dict": Dict({"image": Box(0, 255, (3, 3, 3), np.uint8), "direction": Discrete(4)}),
    "tuple": Tuple((Discrete(3, start=2), Dict({"b": Box(-1.0, 2.0, (1, 2)), "a": MultiBinary(2)}))),
}
"""Observation spaces by name."""
REFUSED: dict[str, gym.Space[Any]] = {
    "text": gym.spaces.Text(3),
    "sequence": gym.spaces.Sequence(Discrete(2)),
    "graph": gym.spaces.Graph(Box(-1.0, 1.0, (1,)), None),
    "one-of": gym.spaces.OneOf((Discrete(2), Discrete(3))),
    "empty-box": Box(-1.0, 1.0, (0,)),
    "empty-dict": Dict({}),
    "dict-with-text": Dict({"a": Discrete(2), "mission": gym.spaces.Text(3)}),
}
"""Spaces that nobody is given, to act in or to observe."""
REFUSED_ACTED: dict[str, gym.Space[Any]] = {
    **REFUSED,
    "whole-box": Box(-4, 9, (3,), np.int64),
    "bytes": Box(0, 255, (6,), np.uint8),
    "dict-with-whole-box": Dict({"a": Discrete(2), "b": Box(0, 9, (1,), np.int32)}),
}
"""Spaces that nobody is given to act in."""


class SpaceToyConfig(Config):
    """Structural settings of `SpaceToy`."""

    acted: str = Field(default="discrete", description="Action space, by its name in `ACTED` or `REFUSED_ACTED`.")
    observed: str = Field(default="box", description="Observation space, by its name in `OBSERVED` or `REFUSED`.")
    horizon: int = Field(default=3, ge=1, le=100, description="Steps per episode.")


class SpaceToy(TaskFamily[SpaceToyConfig]):
    """Pays the sum of an action's numbers; shows something random."""

    def __init__(self, config: SpaceToyConfig, *, name: str = "toys/space-toy") -> None:
        super().__init__(config, name=name)
        self.action_space = {**ACTED, **REFUSED_ACTED}[config.acted]
        self.observation_space = {**OBSERVED, **REFUSED}[config.observed]
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        """What a unit of action pays."""
        gain = Knob(0.5, 2.0, 1.0, "Reward for a unit of action.", "reward", vary=Uniform(low=0.5, high=2.0))
        return ContextSpace({"gain": gain})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the gain [1]."""
        return TensorBatch(self, _Sum(self, device), slots, device)

    def reachable_returns(self, spec: TaskSpec) -> tuple[float, float]:
        """The least and the most that an episode of actions inside the space can return; may be infinite."""
        layout, gain = action_layout(self.action_space), float(np.asarray(spec.context["gain"]))
        low, high = (self.horizon * gain * float(end.astype(np.float64).sum()) for end in (layout.low, layout.high))
        return low, high


class _Sum:
    """The state is what is seen, [B, N], as shares of its ranges."""

    def __init__(self, family: SpaceToy, device: torch.device | str) -> None:
        space = family.observation_space
        self._acted = action_layout(family.action_space)
        ends = [_ends(leaf.space) for leaf in leaves(space)]
        self._low, self._count, self._whole = (torch.cat(parts).to(device) for parts in zip(*ends, strict=True))
        self.uniforms = len(self._low)
        self._shape = row_shape(space)
        kind = getattr(space, "dtype", None)
        self._kind = torch.uint8 if kind == np.uint8 else torch.int64 if is_whole(space) else torch.float32

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"gain": torch.tensor([float(np.asarray(spec.context["gain"])) for spec in specs], dtype=torch.float32)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return uniform.clone()

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        shown = self._low + state * self._count
        shown = torch.where(self._whole, shown.floor(), shown)
        return shown.to(self._kind).view(-1, *self._shape)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        expected = (len(state), *self._acted.shape), torch.int64 if self._acted.whole else torch.float32
        assert (tuple(action.shape), action.dtype) == expected, f"{tuple(action.shape)} {action.dtype} for {expected}"
        reward = tables["gain"] * action.reshape(len(action), -1).to(torch.float32).sum(1)
        return uniform.clone(), reward, torch.zeros_like(reward, dtype=torch.bool)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["gain"][:, None]


def _ends(space: gym.Space[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """[N] where the numbers of a space without parts begin, how far they reach, and whether they are whole."""
    known = cast(Any, space)
    if isinstance(space, Box):
        whole = is_whole(known)
        low, high = (end.astype(np.float64).ravel() for end in (known.low, known.high))
        low, high = np.where(np.isfinite(low), low, -3.0), np.where(np.isfinite(high), high, 3.0)
        count = high - low + whole
    else:
        whole, shape = True, space.shape or ()
        choices = 2 if isinstance(space, MultiBinary) else known.n if isinstance(space, Discrete) else known.nvec
        low, count = (np.broadcast_to(each, shape).ravel() for each in (getattr(space, "start", 0), choices))
    first, reach = (torch.tensor(each.astype(np.float32)) for each in (low, count))
    return first, reach, torch.full_like(first, whole, dtype=torch.bool)


def acted_toys() -> list[SpaceToy]:
    """One for every action space."""
    return [SpaceToy(SpaceToyConfig(acted=name), name=f"toys/acted-{name}") for name in ACTED]


def observed_toys(acted: str = "discrete") -> list[SpaceToy]:
    """One for every observation space, with the action space `acted`."""
    return [SpaceToy(SpaceToyConfig(observed=name, acted=acted), name=f"toys/observed-{name}") for name in OBSERVED]


def toy_families() -> list[SpaceToy]:
    """One for every action space, and one for every observation space."""
    return acted_toys() + observed_toys()


def unreadable_families() -> list[SpaceToy]:
    """One for every space that is refused, acted in or observed. They have no batch."""
    acted = [SpaceToy(SpaceToyConfig(acted=name), name=f"toys/acted-{name}") for name in REFUSED_ACTED]
    return acted + [SpaceToy(SpaceToyConfig(observed=name), name=f"toys/observed-{name}") for name in REFUSED]

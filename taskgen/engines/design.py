"""Making tasks placement by placement, as a teacher does: designs, and the batched world in which they are made.

A `Design` says what a placement does; a family that is `Designable` has one of its own, for all others `KnobDesign`
sets one number of the context after another. `DesignFamily` makes of it a task family, so that whatever plays tasks
can make tasks: one episode, which pays nothing, is one design.

Reference: Dennis et al. 2020, "Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design",
sections 4 and 5.

Axes: B designs, W numbers of a design under way, U uniforms that a design begins with, F features that a teacher sees.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from registry.config import Config
from registry.errors import ConfigError, suggest
from taskgen.design import Design
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import Designable, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec


class _Number(NamedTuple):
    """One number of a context, and where a teacher may put it."""

    knob: str
    place: tuple[int, ...]
    low: float
    high: float
    integer: bool


class KnobDesign:
    """A number of the context a turn, in the order of the knobs; an action in [-1, 1] spans its range.

    The range is the support of what the family varies by itself, or the knob's bounds; of a knob whose values ascend it
    begins at the value before, so that every design is a task. A teacher sees the numbers that are set, each as a share
    of its range, and which ones they are.
    """

    uniforms = 0

    def __init__(self, family: TaskFamily[Any], knobs: Sequence[str] = ()) -> None:
        """`knobs` may be empty: those that the family varies. Raises `ConfigError` for unknown ones or none."""
        known = family.context_space.knobs
        unknown = [name for name in knobs if name not in known]
        if unknown:
            raise ConfigError(
                [f"knobs: {family.name} has no knob {name!r}. {suggest(name, known)}" for name in unknown], "design"
            )
        chosen = knobs or tuple(name for name, knob in known.items() if knob.vary is not None)
        if not chosen:
            what = f"knobs: {family.name} varies none by itself, so a teacher has nothing to set; name some"
            raise ConfigError([f"{what}. {suggest('', known)}"], "design")
        self._knobs = {name: known[name] for name in chosen}
        self._numbers = [number for name, knob in self._knobs.items() for number in _numbers(name, knob)]
        self.placements = len(self._numbers)
        self.features = 2 * self.placements
        self.action_space: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def blank(self, uniform: Tensor) -> Tensor:
        """See `Design.blank`: minus one stands for a number that is not set."""
        return uniform.new_full((len(uniform), self.placements), -1.0)

    def place(self, design: Tensor, turn: Tensor, action: Tensor) -> Tensor:
        """See `Design.place`."""
        share = (action.to(torch.float32).clamp(-1.0, 1.0) + 1.0) / 2.0
        return design.scatter(1, turn.clamp(max=self.placements - 1)[:, None], share)

    def observe(self, design: Tensor) -> Tensor:
        """See `Design.observe`."""
        return torch.cat([design.clamp(min=0.0), (design >= 0).to(torch.float32)], dim=1)

    def context(self, design: Tensor) -> dict[str, Any]:
        """See `Design.context`."""
        values = {name: np.full(knob.shape, knob.default) for name, knob in self._knobs.items()}
        for number, share in zip(self._numbers, cast("list[float]", design.tolist()), strict=True):  # pyright: ignore[reportUnknownMemberType]
            if self._knobs[number.knob].ordered and number.place[-1] > 0:
                before = values[number.knob][(*number.place[:-1], number.place[-1] - 1)]
                number = number._replace(low=float(before))  # noqa: PLW2901
            values[number.knob][number.place] = _between(number, share)
        return {name: _plain(values[name], knob) for name, knob in self._knobs.items()}


def _numbers(name: str, knob: Knob) -> list[_Number]:
    low, high = (knob.low, knob.high) if knob.vary is None else knob.vary.support(knob.default)
    places = product(*map(range, knob.shape))
    return [_Number(name, place, max(low, knob.low), min(high, knob.high), knob.integer) for place in places]


def _between(number: _Number, share: float) -> float:
    """The value at a `share` of the range; of integers each has the same part of it."""
    if number.integer:
        return min(number.high, number.low + np.floor(share * (number.high - number.low + 1)))
    return min(number.high, number.low + share * (number.high - number.low))


def _plain(values: NDArray[np.float64], knob: Knob) -> Any:
    return (values.astype(np.int64) if knob.integer else values).tolist()


class DesignConfig(Config):
    """How a teacher makes tasks."""

    placements: int = Field(
        default=0, ge=0, le=10_000, description="Placements that make a task; 0: as many as are usual in the family."
    )
    knobs: tuple[str, ...] = Field(
        default=(),
        description="Knobs to set, where the family has no placements of its own; none: those that it varies.",
    )
    noise: int = Field(
        default=10, ge=0, le=1000, description="Random numbers that the teacher sees with every design (paper: 50)."
    )


def design_of(family: TaskFamily[Any], config: DesignConfig) -> Design:
    """How tasks of `family` are made. Raises `ConfigError` for settings that do not fit it."""
    if isinstance(family, Designable):
        if config.knobs:
            raise ConfigError([f"knobs: {family.name} has placements of its own, which set them all"], "design")
        return family.design(config.placements)
    design = KnobDesign(family, config.knobs)
    if config.placements not in (0, design.placements):
        wrong = f"placements = {config.placements}: each sets a number of {family.name}, of which {design.placements}"
        raise ConfigError([f"{wrong} are to be set; leave it out"], "design")
    return design


class DesignFamily(TaskFamily[DesignConfig]):
    """The making of tasks of a family: an episode is a design, an action a placement, and nothing is paid.

    Observation: what a teacher sees of the design, the share of its placements that are made, and as many random
    numbers as the settings say, all in [0, 1]. All tasks are alike; the noise decides the random numbers. Not in the
    catalogue: it is built around another family.
    """

    def __init__(self, config: DesignConfig, made: TaskFamily[Any]) -> None:
        """Raises `ConfigError` for settings that do not fit the family `made`."""
        super().__init__(config, name=f"{made.name}-design")
        self.made = made
        self.rules = design_of(made, config)
        width = self.rules.features + 1 + config.noise
        self.observation_space = gym.spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = self.rules.action_space
        self.horizon = self.rules.placements

    @cached_property
    def context_space(self) -> ContextSpace:
        """No knobs."""
        return ContextSpace()

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is empty."""
        return TensorBatch(self, _Making(self.rules, self.config.noise), slots, device)

    def contexts(self, batch: TensorBatch) -> list[dict[str, Any]]:
        """Knobs of the tasks made in the B slots of a batch of this family, whose episodes have just ended."""
        designs = batch.position.state[:, 1 : batch.position.state.shape[1] - self.config.noise].cpu()
        return [self.rules.context(design) for design in designs]


class _Making:
    """State [B, 1 + W + noise] float32: placements made, the design, the random numbers."""

    deterministic = True

    def __init__(self, rules: Design, noise: int) -> None:
        self.rules, self.noise = rules, noise
        self.uniforms = rules.uniforms + noise

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"nothing": torch.empty(len(specs), 0)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        own, noise = uniform[:, : self.rules.uniforms], uniform[:, self.rules.uniforms :]
        return torch.cat([uniform.new_zeros(len(uniform), 1), self.rules.blank(own), noise], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        turn, design, noise = self._parts(state)
        return torch.cat([self.rules.observe(design), turn / self.rules.placements, noise], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        turn, design, noise = self._parts(state)
        design = self.rules.place(design, turn[:, 0].to(torch.int64), action)
        made = (turn + 1).clamp(max=self.rules.placements)
        return (
            torch.cat([made, design, noise], dim=1),
            torch.zeros_like(made[:, 0]),
            made[:, 0] == self.rules.placements,
        )

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["nothing"]

    def _parts(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        end = state.shape[1] - self.noise
        return state[:, :1], state[:, 1:end], state[:, end:]


class Drawing:
    """One design under way, in NumPy values, for whoever makes tasks one at a time."""

    def __init__(self, family: DesignFamily) -> None:
        self._family = family
        self._batch = family.batch(1)
        self._batch.set_tasks([family.spec()])

    def begin(self, seed: int) -> NDArray[np.float32]:
        """Start a design. Returns what the teacher sees; `seed` decides the random numbers."""
        return self._batch.reset(seeds=[seed])[0].numpy().copy()

    def place(self, action: NDArray[Any]) -> tuple[NDArray[np.float32], bool]:
        """Make a placement. Returns what the teacher sees, and whether the design is complete."""
        outcome = self._batch.step(torch.as_tensor(action)[None])
        return outcome.observation[0].numpy().copy(), bool(outcome.terminated[0])

    def context(self) -> dict[str, Any]:
        """The knobs of the task that was made."""
        return self._family.contexts(self._batch)[0]


def figures_of(family: TaskFamily[Any], context: Mapping[str, Any]) -> Mapping[str, float]:
    """Figures of a made task, for trackers: the family's own, or the values of its knobs (of arrays the mean)."""
    if isinstance(family, Designable):
        return family.figures(context)
    return {name: float(np.mean(cast("float", value))) for name, value in context.items()}

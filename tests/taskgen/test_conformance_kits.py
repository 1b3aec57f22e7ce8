"""The kits pass what is right and name what is wrong: one deliberate fault at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_family import Picky, Steps, Walk, WalkConfig

from registry.errors import TaskError
from taskgen.batch import Transition
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.source import TaskResult
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.testing import check_family, check_source
from taskgen.variation import Uniform


@pytest.mark.parametrize("family", [Walk(), Picky(), Walk(WalkConfig(horizon=3)), Walk(WalkConfig(horizon=40))])
def test_good_families_pass(family: Walk) -> None:
    check_family(family)


def with_batch(batch: type[TensorBatch], dynamics: type[Steps] = Steps) -> Walk:
    """A walk with a faulty batch or faulty dynamics."""

    class Faulty(Walk):
        def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
            return batch(self, dynamics(), slots, device)

    return Faulty()


def telling(batch: type[TensorBatch]) -> Walk:
    """One that says that it tells success."""
    family = with_batch(batch)
    family.tells_success = True
    return family


def with_knob(name: str, knob: Knob) -> Walk:
    class Faulty(Walk):
        @cached_property
        def context_space(self) -> ContextSpace:
            return ContextSpace({**super().context_space.knobs, name: knob})

    return Faulty()


class NeighbourlyWind(Steps):
    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        following, reward, ended = super().step(tables, state, action, uniform)
        return following + 1e-3 * following.mean(), reward, ended


class NoReward(Steps):
    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        following, reward, ended = super().step(tables, state, action, uniform)
        return following, reward / 0.0, ended


class IntegerReward(Steps):
    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        following, reward, ended = super().step(tables, state, action, uniform)
        return following, reward.long(), ended


class Outside(Steps):
    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return super().observe(tables, state) + 2000.0


class TooWide(Steps):
    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state


class GlobalNoise(Steps):
    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return super().initial(tables, torch.rand_like(uniform))


class FlatDescriptor(Steps):
    def descriptor(self, tables: Tables) -> Tensor:
        return tables["speed"]


class LateTruncation(TensorBatch):
    def step(self, action: Tensor) -> Transition:
        outcome = super().step(action)
        return replace(outcome, truncated=torch.zeros_like(outcome.truncated))


class Boasts(TensorBatch):
    """Tells the rewards as success."""

    def step(self, action: Tensor) -> Transition:
        outcome = super().step(action)
        return replace(outcome, success=outcome.reward)


class ResetsAll(TensorBatch):
    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        return super().reset(None, seeds)


class IgnoresSeeds(TensorBatch):
    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        return super().reset(where)


class SetsAll(TensorBatch):
    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        super().set_tasks(specs if slots is None else [specs[0]] * self.slots)


class SetsNone(TensorBatch):
    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        if slots is None:
            super().set_tasks(specs)


class TakesAll(TensorBatch):
    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        super().set_tasks([replace(spec, family=self.family.name) for spec in specs], slots)


class EmptyText(Walk):
    def render(self, spec: TaskSpec) -> str:
        return " "


class FloatPicture(Walk):
    def render(self, spec: TaskSpec) -> np.ndarray:
        return np.zeros((4, 4, 3))


class GreyPicture(Walk):
    def render(self, spec: TaskSpec) -> np.ndarray:
        return np.zeros((4, 4), dtype=np.uint8)


class TakesAnything(Walk):
    """Replaces what it does not know by the defaults."""

    def spec(self, context: Mapping[str, Any] | None = None, **rest: Any) -> TaskSpec:
        try:
            return super().spec(context, **rest)
        except TaskError:
            return super().spec(None, **rest)


class IgnoresSeed(Walk):
    def spec(self, context: Mapping[str, Any] | None = None, *, seed: int = 0, reward: Any = None) -> TaskSpec:
        return super().spec(context, seed=0, reward=reward)


DEAD = Knob(0.0, 1.0, 0.5, "Does nothing.")
FAULTS: dict[str, tuple[Walk, str]] = {
    "slots that see each other": (with_batch(TensorBatch, NeighbourlyWind), "when it is alone in a batch"),
    "NaN reward": (with_batch(TensorBatch, NoReward), "is not finite"),
    "integer reward": (with_batch(TensorBatch, IntegerReward), "expected torch.float32"),
    "observation outside the space": (with_batch(TensorBatch, Outside), "is outside Box"),
    "observation of another shape": (with_batch(TensorBatch, TooWide), r"observation \(12, 2\), expected \(12, 1\)"),
    "global randomness": (with_batch(TensorBatch, GlobalNoise), "gave another rollout"),
    "flat descriptor": (with_batch(TensorBatch, FlatDescriptor), r"is not \[B, D\]"),
    "no truncation": (with_batch(LateTruncation), "the horizon is 6"),
    "success that nobody announced": (with_batch(Boasts), r"success is tensor.*, while tells_success is False"),
    "success that is announced alone": (telling(TensorBatch), "success is None, while tells_success is True"),
    "success that is a number": (telling(Boasts), r"success is \(12,\) torch.float32, expected torch.bool"),
    "a mask that is ignored": (with_batch(ResetsAll), "a masked reset changed"),
    "seeds that are ignored": (with_batch(IgnoresSeeds), "reset with the same seeds gave another episode"),
    "set_tasks sets all slots": (with_batch(SetsAll), "set_tasks of one slot changed another"),
    "set_tasks sets no slot": (with_batch(SetsNone), "does not behave as that task"),
    "foreign tasks taken": (with_batch(TakesAll), "took a task of another family"),
    "a dead knob": (with_knob("dead", DEAD), "knob dead is dead"),
    "no help": (with_knob("speed", Knob(0.0, 2.0, 1.0, " ")), "knob speed has no help"),
    "a setting that is a knob": (with_knob("horizon", DEAD), "both settings and knobs"),
    "a variation out of range": (
        with_knob("speed", Knob(0.0, 2.0, 1.0, "Speed.", vary=Uniform(low=0.0, high=3.0))),
        "speed would vary from 0 to 3",
    ),
    "an empty rendering": (EmptyText(), "empty text"),
    "a picture of floats": (FloatPicture(), "expected uint8"),
    "a grey picture": (GreyPicture(), "height, width, 3"),
    "errors that are swallowed": (TakesAnything(), "was accepted"),
    "a seed that is dropped": (IgnoresSeed(), "another seed has the same id"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_family_is_named(fault: str) -> None:
    family, message = FAULTS[fault]
    with pytest.raises(AssertionError, match=message):
        check_family(family)


class Counter:
    """A good source: task i has seed i."""

    feedback = False

    def __init__(self) -> None:
        self.family = Walk()
        self.next = 0

    def ask(self, n: int) -> list[TaskSpec]:
        self.next += n
        return [self.family.spec(seed=seed) for seed in range(self.next - n, self.next)]

    def tell(self, results: Sequence[TaskResult]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class Adaptive(Counter):
    """A good source that listens."""

    feedback = True

    def tell(self, results: Sequence[TaskResult]) -> None:
        self.next += 100 * len(results)


class Choosy(Adaptive):
    """A good curriculum."""

    scores: tuple[str, ...] = ("success",)
    metric = "tasks/told"

    def __init__(self) -> None:
        super().__init__()
        self.told = 0.0

    def tell(self, results: Sequence[TaskResult]) -> None:
        self.told += sum(result.scores["success"] for result in results)

    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        return [True] * len(specs)

    def metrics(self) -> dict[str, float]:
        return {self.metric: self.told}

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        return {"first": [self.family.spec(seed=0)]}


class Undecided(Choosy):
    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        return [True]


class Misnamed(Choosy):
    metric = "told"


class Unbounded(Choosy):
    def metrics(self) -> dict[str, float]:
        return {"tasks/told": 1.0 / self.told if self.told else float("inf")}


class Repetitive(Choosy):
    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        return {"first": [self.family.spec(seed=0)] * 2}


class ByBatch(Counter):
    def ask(self, n: int) -> list[TaskSpec]:
        return [replace(spec, seed=spec.seed * n) for spec in super().ask(n)]


class TooMany(Counter):
    def ask(self, n: int) -> list[TaskSpec]:
        return super().ask(n + 1) if n else []


class Invalid(Counter):
    def ask(self, n: int) -> list[TaskSpec]:
        return [replace(spec, context={**spec.context, "goal": 9}) for spec in super().ask(n)]


class Forgetful(Counter):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Listening(Counter):
    def tell(self, results: Sequence[TaskResult]) -> None:
        self.next += len(results)


class Mute:
    feedback = False


@pytest.mark.parametrize("source", [Counter, Adaptive, Choosy])
def test_good_sources_pass(source: Callable[[], Counter]) -> None:
    check_source(source, Walk())


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (ByBatch, AssertionError, "gave other tasks than ask"),
        (TooMany, AssertionError, "gave 5 tasks"),
        (Invalid, TaskError, "goal = 9"),
        (Forgetful, AssertionError, "resumed from its state gave other tasks"),
        (Listening, AssertionError, "results changed a source with feedback = False"),
        (Mute, AssertionError, "a source has feedback, ask"),
        (Undecided, AssertionError, "gave 1 verdicts on 4 tasks"),
        (Misnamed, AssertionError, 'names begin with "tasks/"'),
        (Unbounded, AssertionError, "tasks/told = inf"),
        (Repetitive, AssertionError, "'first' shows a task twice"),
    ],
)
def test_a_faulty_source_is_named(source: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_source(source, Walk())

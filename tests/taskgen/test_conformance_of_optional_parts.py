"""The family kit on what a family may offer beyond the contract: mutation, description, animation."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_family import Walk

from registry.errors import TaskError
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.testing import check_family


class Rich(Walk):
    """A walk with everything."""

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {**context, "goal": int(rng.integers(1, 6))}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([context["speed"], float(context["goal"])])

    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        return np.full((4, 4, 3), int(state[0]), dtype=np.uint8)


class Balanced(Rich):
    """The wind must sum to nothing: neither of its extremes is valid, mutation alone shows that it is alive."""

    def validate(self, context: Mapping[str, Any]) -> None:
        if abs(np.sum(context["wind"])) > 1e-9:
            raise TaskError(f"wind = {context['wind']}: must sum to 0")

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        push = float(rng.uniform(0.1, 1.0))
        return {**context, "wind": ((push, -push), (-push, push))}


class BalancedAndDead(Balanced):
    @cached_property
    def context_space(self) -> ContextSpace:
        idle = Knob(-1.0, 1.0, 0.0, "Does nothing.", shape=(2, 2))
        return ContextSpace({**super().context_space.knobs, "idle": idle})


class MutatesBeyondBounds(Rich):
    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {**context, "goal": 6}


class MutatesByChance(Rich):
    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {**context, "speed": np.random.default_rng().uniform()}


class MutatesNothing(Rich):
    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return dict(context)


class MutatesItsArgument(Rich):
    def mutate(self, context: Any, rng: np.random.Generator) -> dict[str, Any]:
        context["goal"] = context["goal"] % 5 + 1
        return dict(context)


class DescribesByNaN(Rich):
    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([np.nan])


class DescribesByMatrix(Rich):
    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.zeros((2, 2))


class DescribesByIntegers(Rich):
    def descriptor(self, context: Mapping[str, Any]) -> Any:
        return np.array([context["goal"]])


class Measuring(Rich):
    measures: ClassVar[Any] = {"goal": (1.0, 5.0)}

    def measure(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([context["goal"]], dtype=np.float64)


class MeasuresNoRange(Measuring):
    measures: ClassVar[Any] = {"goal": (5.0, 5.0)}


class MeasuresMore(Measuring):
    measures: ClassVar[Any] = {"goal": (1.0, 5.0), "luck": (0.0, 1.0)}


class MeasuresByIntegers(Measuring):
    def measure(self, context: Mapping[str, Any]) -> Any:
        return np.array([context["goal"]])


class MeasuresByNaN(Measuring):
    def measure(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([np.nan])


class GreyFrames(Rich):
    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        return np.zeros((4, 4), dtype=np.uint8)


class Cued(Rich):
    cue: tuple[int, ...] = (0,)


class CuedFromBehind(Rich):
    cue = (-1,)


class CuedBeyond(Rich):
    cue = (99,)


class CuedTwice(Rich):
    cue = (0, 0)


@pytest.mark.parametrize("family", [Rich(), Balanced(), Cued(), Measuring()])
def test_good_families_pass(family: Walk) -> None:
    check_family(family)


@pytest.mark.parametrize(
    ("family", "error", "message"),
    [
        (BalancedAndDead(), AssertionError, "knob idle is dead"),
        (MutatesBeyondBounds(), TaskError, "goal = 6"),
        (MutatesByChance(), AssertionError, "other contexts from the same generator"),
        (MutatesNothing(), AssertionError, "changed nothing"),
        (MutatesItsArgument(), AssertionError, "changed the context it was given"),
        (DescribesByNaN(), AssertionError, "descriptor gave"),
        (DescribesByMatrix(), AssertionError, r"expected \[D\]"),
        (DescribesByIntegers(), AssertionError, "expected float64"),
        (MeasuresNoRange(), AssertionError, "goal goes from 5.0 to 5.0"),
        (MeasuresMore(), AssertionError, r"measure gave \(1,\), of 2 measures"),
        (MeasuresByIntegers(), AssertionError, "measure gave int64, expected float64"),
        (MeasuresByNaN(), AssertionError, r"measure gave \[nan\]"),
        (GreyFrames(), AssertionError, "frame gave"),
        (CuedFromBehind(), AssertionError, "none with number -1"),
        (CuedBeyond(), AssertionError, "none with number 99"),
        (CuedTwice(), AssertionError, "an entry comes twice"),
    ],
)
def test_a_faulty_family_is_named(family: Walk, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_family(family)

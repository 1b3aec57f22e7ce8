"""Knobs, context spaces, and the specs a family makes of them."""

import math
from collections.abc import Callable

import pytest
from toy_family import Picky, Walk, WalkConfig

from registry.errors import TaskError
from taskgen.family import same_structure
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec

LENGTH = Knob(0.5, 2.0, 1.0, "Length.", unit="m")
COUNT = Knob(1, 5, 3, "Count.", integer=True)
GRID = Knob(0.0, 1.0, 0.5, "Grid.", shape=(2, 3))


def test_numbers_are_scaled_each_by_its_range():
    space = ContextSpace({"length": LENGTH, "count": COUNT, "grid": GRID, "one": Knob(2, 2, 2, "One.", integer=True)})
    context = {"length": 0.875, "count": 5, "grid": ((0.0, 0.5, 1.0), (1.0, 0.25, 0.0)), "one": 2}
    assert space.scaled(context).tolist() == [0.25, 1.0, 0.0, 0.5, 1.0, 1.0, 0.25, 0.0, 0.0]
    assert ContextSpace().scaled({}).tolist() == []


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        (LENGTH, 3.0, "x = 3.0: allowed range is 0.5 to 2 m"),
        (LENGTH, math.nan, "x = nan: allowed range"),
        (LENGTH, "1", "x = '1': expected a number"),
        (LENGTH, True, "x = True: expected a number"),
        pytest.param(LENGTH, 10**5000, "allowed range", id="5000 digits"),
        (COUNT, 1.5, "x = 1.5: expected an integer"),
        (COUNT, math.inf, "x = inf: expected an integer"),
        (COUNT, 0, "x = 0: allowed range is 1 to 5"),
        (GRID, [[0, 0, 0]], "expected a list of 2 values"),
        (GRID, [[0, 0, 0], [0, 0]], r"x\[1\] = \[0, 0\]: expected a list of 3 values"),
        (GRID, [[0, 0, 0], [0, 9, 0]], r"x\[1\]\[1\] = 9: allowed range"),
        (GRID, ["abc", "def"], r"x\[0\] = 'abc': expected a list"),
    ],
)
def test_a_knob_refuses(knob: Knob, value: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        knob.check("x", value)


def test_a_knob_gives_its_own_type() -> None:
    value = COUNT.check("x", 2.0)
    assert value == 2
    assert type(value) is int
    assert type(LENGTH.check("x", 1)) is float
    assert GRID.check("x", [[0, 0, 0], [1, 1, 1]]) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_the_ends_of_a_knob_s_range_are_inside() -> None:
    assert [LENGTH.check("x", value) for value in (0.5, 2.0)] == [0.5, 2.0]
    assert [COUNT.check("x", value) for value in (1, 5)] == [1, 5]
    for knob, value in ((LENGTH, 0.499), (LENGTH, 2.001), (COUNT, 6)):
        with pytest.raises(TaskError, match="allowed range"):
            knob.check("x", value)
    for default in (0.0, 1.0):
        assert Knob(0.0, 1.0, default, "x").default_value() == default


@pytest.mark.parametrize("knob", [Knob(-2.0, 2.0, 0.0, "x", shape=(3,)), Knob(-2, 2, 0, "x", shape=(3,), integer=True)])
@pytest.mark.parametrize(
    "odd", [0, 1, -0.0, 1.5, True, "1", None, 3, -3, 2.5, 10**400, float("nan"), float("inf"), [1]]
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_list_is_looked_at_as_each_of_its_values_is(knob: Knob, odd: object, place: int) -> None:
    """Lists of plain numbers are looked at as a whole, which gives and refuses the same."""
    single = Knob(knob.low, knob.high, 0, "x", integer=knob.integer)
    kind = int if knob.integer else float
    values: list[object] = [kind(1), kind(-2), kind(2)]
    values[place] = odd
    each = outcome(lambda: tuple(single.check(f"k[{i}]", value) for i, value in enumerate(values)))
    assert outcome(lambda: knob.check("k", values)) == each


def outcome(check: Callable[[], object]) -> str:
    """What is given, to the sign of zero, or said."""
    try:
        return repr(check())
    except TaskError as error:
        return str(error)


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1.0, Knob(-1.0, 1.0, 0.0, "x").check("x", -0.0)) == 1.0  # type: ignore[arg-type]


def test_default_has_the_shape() -> None:
    assert GRID.default_value() == ((0.5,) * 3,) * 2
    assert COUNT.default_value() == 3


@pytest.mark.parametrize("bounds", [(0.0, 1.0, 2.0), (math.nan, 1.0, 0.5), (0.0, math.inf, 0.5), (2.0, 1.0, 1.5)])
def test_a_knob_has_finite_ordered_bounds(bounds: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="finite low <= default <= high"):
        Knob(*bounds, "x")


def test_complete_fills_in_defaults_and_suggests() -> None:
    space = ContextSpace({"length": LENGTH, "count": COUNT})
    assert space.complete({"count": 5}) == {"length": 1.0, "count": 5}
    with pytest.raises(TaskError, match="unknown context knob 'lenght'. Did you mean 'length'?"):
        space.complete({"lenght": 1.0})


def test_a_spec_is_complete_and_has_one_id() -> None:
    family = Walk()
    task = family.spec({"goal": 3.0, "speed": 1}, seed=2)
    assert dict(task.context) == {"horizon": 6, "speed": 1.0, "goal": 3, "wind": ((0.0, 0.0), (0.0, 0.0)), "prize": 1.0}
    assert task.id == family.spec(seed=2).id
    family.check(TaskSpec.from_json(task.to_json()))


def test_structural_settings_are_part_of_the_context() -> None:
    family = Walk(WalkConfig(horizon=9))
    assert family.spec({"horizon": 9}).context["horizon"] == 9
    with pytest.raises(TaskError, match="horizon = 8: this family is set to 9"):
        family.spec({"horizon": 8})
    with pytest.raises(TaskError, match="Did you mean 'horizon'"):
        family.spec({"horizont": 9})


def test_check_refuses_foreign_and_incomplete_tasks() -> None:
    family = Walk()
    with pytest.raises(TaskError, match="belongs to family other/walk"):
        family.check(Walk(name="other/walk").spec())
    with pytest.raises(TaskError, match="the context lacks 'goal'"):
        family.check(TaskSpec("toy/walk", {"horizon": 6}))
    with pytest.raises(TaskError, match="goal = 4.5"):
        family.check(TaskSpec("toy/walk", {**family.spec().context, "goal": 4.5}))
    with pytest.raises(TaskError, match="not in complete form"):
        family.check(TaskSpec("toy/walk", {**family.spec().context, "goal": 4.0}))


def test_validate_is_asked() -> None:
    with pytest.raises(TaskError, match="must be even"):
        Picky().spec({"goal": 5})


def test_a_batch_has_one_structure() -> None:
    family = Walk()
    same_structure([family.spec()], family)
    with pytest.raises(TaskError, match="horizon = 6, found 7"):
        same_structure([Walk(WalkConfig(horizon=7)).spec()], family)

"""Variations: quantiles against hand-computed values, support, arithmetic, and the way through JSON and TOML."""

import json
import math
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from taskgen.variation import (
    Change,
    Choice,
    Constant,
    Difference,
    IntegerRange,
    LogUniform,
    Original,
    Product,
    Sum,
    TruncatedNormal,
    Uniform,
    Variation,
    VariationOrChange,
    reach_problem,
)

ADAPTER = TypeAdapter(Variation)


def quantile(variation: Variation, *u: float, original: float = 10.0) -> list[float]:
    """Values of a variation of one uniform."""
    return variation.quantile(np.array(u)[:, None], original).tolist()


def test_uniform_is_linear() -> None:
    assert quantile(Uniform(low=2.0, high=6.0), 0.0, 0.25, 0.5) == [2.0, 3.0, 4.0]


def test_log_uniform_is_geometric() -> None:
    assert quantile(LogUniform(low=1.0, high=100.0), 0.0, 0.5, 0.25) == pytest.approx([1.0, 10.0, 10**0.5])


def test_truncated_normal() -> None:
    # P(|x| < 1) = 0.682689; the quartile of the truncated law solves Phi(x) = 0.158655 + 0.25 * 0.682689 = 0.329328
    assert quantile(TruncatedNormal(mean=0.0, std=1.0, low=-1.0, high=1.0), 0.0, 0.25, 0.5) == pytest.approx(
        [-1.0, -0.441777, 0.0], abs=2e-5
    )


def test_a_truncated_normal_is_measured_in_standard_deviations() -> None:
    # the law above, twice as wide and moved by 1
    assert quantile(TruncatedNormal(mean=1.0, std=2.0, low=-1.0, high=3.0), 0.0, 0.25, 0.5) == pytest.approx(
        [-1.0, 1.0 - 2.0 * 0.441777, 1.0], abs=4e-5
    )


def test_truncated_normal_in_the_far_upper_tail_mirrors_the_lower_one() -> None:
    # near x = 30 the density falls as exp(-30 (x - 30)), so the median lies log(2)/30 above the bound
    upper = quantile(TruncatedNormal(mean=0.0, std=1.0, low=30.0, high=40.0), 0.25, 0.5)
    lower = quantile(TruncatedNormal(mean=0.0, std=1.0, low=-40.0, high=-30.0), 0.75, 0.5)
    assert upper == pytest.approx([-x for x in lower], rel=1e-9)
    assert upper[1] == pytest.approx(30.0 + math.log(2.0) / 30.0, abs=1e-4)


def test_choice_without_weights() -> None:
    assert quantile(Choice(values=(5.0, 7.0, 9.0)), 0.0, 0.3, 0.34, 0.67, 0.999) == [5.0, 5.0, 7.0, 9.0, 9.0]


def test_choice_with_weights() -> None:
    variation = Choice(values=(1.0, 2.0, 3.0, 4.0), weights=(0.0, 1.0, 3.0, 0.0))
    assert quantile(variation, 0.0, 0.249, 0.25, 0.999999) == [2.0, 2.0, 3.0, 3.0]
    assert variation.support(0.0) == (2.0, 3.0)


def test_integer_range_includes_both_ends() -> None:
    assert quantile(IntegerRange(low=-1, high=1), 0.0, 0.33, 0.34, 0.66, 0.67, 0.9999) == [-1, -1, 0, 0, 1, 1]


def test_arithmetic_is_data() -> None:
    scaled = 1.1 * Original()
    assert scaled == ADAPTER.validate_python({"kind": "product", "of": [1.1, "original"]})
    assert scaled.quantile(np.zeros((2, 0)), 10.0) == pytest.approx([11.0, 11.0])


def test_every_part_has_its_own_uniforms() -> None:
    variation = Uniform(low=0.0, high=1.0) + Original() * Uniform(low=0.0, high=1.0)
    assert variation.uniforms == 2
    assert variation.quantile(np.array([[0.25, 0.5]]), 10.0).tolist() == [5.25]


def test_python_operators() -> None:
    x = Uniform(low=0.0, high=1.0)
    half = np.array([[0.5]])
    values = [(v).quantile(half, 0.0)[0] for v in (x + 1, 1 + x, x - 1, 1 - x, x * 3, 3 * x)]
    assert values == [1.5, 1.5, -0.5, 0.5, 1.5, 1.5]


@pytest.mark.parametrize(
    ("variation", "support"),
    [
        (Uniform(low=-1.0, high=2.0) * Uniform(low=-3.0, high=5.0), (-6.0, 10.0)),
        (Uniform(low=0.0, high=1.0) - Uniform(low=0.0, high=2.0) - 1.0, (-3.0, 0.0)),
        (Uniform(low=0.0, high=1.0) + Original(), (4.0, 5.0)),
        (-1.0 * Original(), (-4.0, -4.0)),
        (Constant(value=3.0), (3.0, 3.0)),
    ],
)
def test_support_of_arithmetic(variation: Variation, support: tuple[float, float]) -> None:
    assert variation.support(4.0) == support


def test_sums_and_differences_of_three() -> None:
    parts = Uniform(low=1.0, high=2.0), Uniform(low=10.0, high=30.0), Uniform(low=100.0, high=500.0)
    half = np.full((1, 3), 0.5)
    assert Sum(of=parts).quantile(half, 0.0).tolist() == [321.5]
    assert Sum(of=parts).support(0.0) == (111.0, 532.0)
    assert Difference(of=parts).quantile(half, 0.0).tolist() == [1.5 - 20.0 - 300.0]
    assert Difference(of=parts).support(0.0) == (1.0 - 30.0 - 500.0, 2.0 - 10.0 - 100.0)
    assert Product(of=parts).quantile(half, 0.0).tolist() == [1.5 * 20.0 * 300.0]
    assert Product(of=parts).support(0.0) == (1000.0, 30_000.0)


def test_one_value_is_a_range() -> None:
    for kind in (Uniform, LogUniform):
        assert quantile(kind(low=3.0, high=3.0), 0.0, 0.7) == [3.0, 3.0]
        assert kind(low=3.0, high=3.0).integral(0.0)
        assert not kind(low=3.5, high=3.5).integral(0.0)
    assert quantile(IntegerRange(low=2, high=2), 0.0, 0.99) == [2.0, 2.0]
    assert quantile(TruncatedNormal(mean=90.0, std=1.0, low=3.0, high=3.0), 0.5) == [
        3.0
    ]  # without mass, but at one place


def test_what_touches_the_ends_of_a_knob_fits() -> None:
    assert reach_problem("x", Uniform(low=0.0, high=12.0), 1.0, (0.0, 12.0)) is None
    for low, high in ((-0.1, 12.0), (0.0, 12.1)):
        assert reach_problem("x", Uniform(low=low, high=high), 1.0, (0.0, 12.0)) is not None
    assert reach_problem("x", IntegerRange(low=0, high=3), 1.0, (0.0, 3.0), integer=True) is None


def test_a_table_without_a_kind_is_a_change_of_the_knob_s_own() -> None:
    either = TypeAdapter(VariationOrChange)
    assert either.validate_python({"high": 2.0}) == Change(high=2.0)
    assert either.validate_python({"kind": "uniform", "low": 0.0, "high": 2.0}) == Uniform(low=0.0, high=2.0)
    own = Uniform(low=1.0, high=4.0)
    assert Change(high=2.0).apply(own) == {"kind": "uniform", "low": 1.0, "high": 2.0}
    for nothing in (None, Constant(value=3.0), Original()):
        assert Change(high=2.0).apply(nothing) == {"high": 2.0}


def test_integral() -> None:
    whole = IntegerRange(low=0, high=3) * 2 + Original()
    assert whole.integral(4.0)
    assert not whole.integral(4.5)
    assert not Uniform(low=0.0, high=4.0).integral(0.0)
    assert Choice(values=(1.0, 3.0)).integral(0.0)


def test_reach_problem_names_knob_reach_and_range() -> None:
    problem = reach_problem("gravity", 1.5 * Original(), 10.0, (0.0, 12.0))
    assert problem == "gravity would vary from 15 to 15; allowed range is 0 to 12"
    assert reach_problem("gravity", 1.2 * Original(), 10.0, (0.0, 12.0)) is None
    assert "integer-range" in str(reach_problem("size", Uniform(low=1.0, high=2.0), 1.0, (0.0, 9.0), integer=True))


def test_reach_problem_refuses_overflow() -> None:
    assert reach_problem("x", 1e300 * (1e300 * Original()), 1.0, (0.0, 1e308)) is not None
    assert reach_problem("x", 0.0 * (1e300 * (1e300 * Original())), 1.0, (-1.0, 1.0)) is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "uniform", "low": 2.0, "high": 1.0}, "low = 2 is above high = 1"),
        ({"kind": "log-uniform", "low": 0.0, "high": 1.0}, "needs low > 0"),
        ({"kind": "truncated-normal", "mean": 0.0, "std": 0.0, "low": 0.0, "high": 1.0}, "greater than 0"),
        ({"kind": "truncated-normal", "mean": 0.0, "std": 1.0, "low": 50.0, "high": 60.0}, "too far from mean"),
        ({"kind": "choice", "values": []}, "at least 1 item"),
        ({"kind": "choice", "values": [1, 2], "weights": [1]}, "1 weights for 2 values"),
        ({"kind": "choice", "values": [1, 2], "weights": [0, 0]}, "positive, finite sum"),
        ({"kind": "choice", "values": [1, 2], "weights": [-1, 2]}, "greater than or equal to 0"),
        ({"kind": "integer-range", "low": 0.5, "high": 2}, "valid integer"),
        ({"kind": "uniform", "low": math.nan, "high": 1.0}, "finite number"),
        ({"kind": "uniform", "low": 0.0, "high": 10**400}, "valid number"),
        ({"kind": "uniform", "low": 0.0, "high": 1.0, "hihg": 2.0}, "Extra inputs"),
        ({"kind": "unifrom", "low": 0.0, "high": 1.0}, "does not match any of the expected tags"),
        ({"kind": "sum", "of": []}, "at least 1 item"),
        ("orignal", "expected a number, 'original', or a table"),
        (True, "expected a number, 'original', or a table"),
        pytest.param(10**5000, "number", id="5000 digits"),
        (None, "dictionary"),
    ],
)
def test_bad_variations_are_refused(data: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(data)


def test_deep_nesting_is_refused_without_a_crash() -> None:
    data: object = 1.0
    for _ in range(20_000):
        data = {"kind": "sum", "of": [data]}
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(data)


finite = st.floats(-1e6, 1e6)
ordered = st.tuples(finite, finite).map(sorted)
weights = st.lists(st.floats(0.01, 10.0), min_size=3, max_size=3)
leaves = st.one_of(
    finite.map(lambda value: Constant(value=value)),
    st.just(Original()),
    ordered.map(lambda ends: Uniform(low=ends[0], high=ends[1])),
    st.tuples(st.floats(1e-6, 1e6), st.floats(1.0, 1e3)).map(lambda x: LogUniform(low=x[0], high=x[0] * x[1])),
    st.tuples(finite, st.floats(0.1, 10.0), st.floats(-5.0, 5.0)).map(
        lambda x: TruncatedNormal(mean=x[0], std=x[1], low=x[0] + x[2] * x[1], high=x[0] + (x[2] + 1.0) * x[1])
    ),
    weights.map(lambda values: Choice(values=(1.0, -2.0, 3.0), weights=tuple(values))),
    st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(lambda x: IntegerRange(low=x[0], high=x[0] + x[1])),
)
variations = st.recursive(
    leaves,
    lambda inner: st.tuples(
        st.sampled_from([Sum, Difference, Product]), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ).map(lambda x: x[0](of=x[1])),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(variations, finite, st.integers(0, 2**32 - 1))
def test_values_lie_inside_the_support(variation: Variation, original: float, seed: int) -> None:
    u = np.random.default_rng(seed).random((50, variation.uniforms))
    u[0], u[1] = 0.0, np.nextafter(1.0, 0.0)
    values = variation.quantile(u, original)
    low, high = variation.support(original)
    assert values.shape == (50,)
    assert low <= values.min()
    assert values.max() <= high
    if variation.integral(original) and max(abs(low), abs(high)) < 2**53:
        assert (values == np.round(values)).all()


@settings(max_examples=200, deadline=None)
@given(variations)
def test_round_trip_through_json_and_toml(variation: Variation) -> None:
    data = variation.model_dump(mode="json")
    assert ADAPTER.validate_python(json.loads(json.dumps(data))) == variation
    assert ADAPTER.validate_python(tomllib.loads(tomli_w.dumps({"vary": data}))["vary"]) == variation


@settings(max_examples=50, deadline=None)
@given(variations, st.integers(0, 2**32 - 1))
def test_values_do_not_depend_on_how_many_are_drawn(variation: Variation, seed: int) -> None:
    u = np.random.default_rng(seed).random((6, 2, variation.uniforms))
    together = variation.quantile(u, 1.0)
    alone = np.stack([variation.quantile(row, 1.0) for row in u])
    assert together == pytest.approx(alone, rel=1e-12)

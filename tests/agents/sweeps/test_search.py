"""What a sweep tries: how values and ranges are read, and how they are sampled."""

import numpy as np
import pytest

from agents.sweeps.search import Axis, axes, combinations, numbers, sampled, split
from registry.errors import UserError


def only(word):
    return axes([word])[1][0]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,3", ["1", "2", "3"]),
        ("a, b", ["a", "b"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('{name="gru", size=[1,2]},lstm', ['{name="gru", size=[1,2]}', "lstm"]),
        ("'a,b','c'", ["'a,b'", "'c'"]),
        ('"it\'s,so",x', ['"it\'s,so"', "x"]),
        ("one", ["one"]),
    ],
)
def test_values_stand_between_commas_outside_of_brackets_and_quotes(text, values):
    assert split(text) == values


def test_one_value_is_for_all_runs_and_several_make_an_axis():
    fixed, found = axes(["a.b=1,2", "c=x", "~d", "e=3..5"])
    assert fixed == ["c=x", "~d"]
    assert found == [Axis("a.b", ("1", "2")), Axis("e", (), 3.0, 5.0, whole=True)]
    assert [axis.text for axis in found] == ["a.b=1,2", "e=3..5"]


@pytest.mark.parametrize(
    ("word", "axis"),
    [
        ("a=0.5..1", Axis("a", (), 0.5, 1.0)),
        ("a=-2..3", Axis("a", (), -2.0, 3.0, whole=True)),
        ("a=log:1e-4..1e-2", Axis("a", (), 1e-4, 1e-2, logarithmic=True)),
        ("a=log:1..64", Axis("a", (), 1.0, 64.0, whole=True, logarithmic=True)),
    ],
)
def test_ranges(word, axis):
    assert only(word) == axis
    assert only(axis.text) == axis


def test_a_path_is_no_range():
    assert axes(["family.model=../x..y"]) == (["family.model=../x..y"], [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a=2..1"], "a range leads from a lower to a higher number"),
        (["a=1..1"], "from a lower to a higher"),
        (["a=log:0..1"], "a range of factors begins above 0"),
        (["a=1,,2"], "a value is missing"),
        (["a="], "a value is missing"),
        (["a=1,2", "a=3"], "a is given twice"),
        (["seed=1,2"], "given by --seeds"),
    ],
)
def test_what_says_nothing_is_refused(words, said):
    with pytest.raises(UserError, match=said):
        axes(words)


def test_every_combination_the_last_axis_fastest():
    _, found = axes(["a=1,2", "b=x,y"])
    assert combinations(found) == [("a=1", "b=x"), ("a=1", "b=y"), ("a=2", "b=x"), ("a=2", "b=y")]
    assert combinations([]) == [()]
    with pytest.raises(UserError, match=r"c=0\.0\.\.0\.5 is a range, which is sampled: say how often with --samples"):
        combinations(axes(["a=1,2", "c=0..0.5"])[1])


@pytest.mark.parametrize(
    ("word", "shares", "values"),
    [
        ("a=0..0.5", (0.0, 0.5, 0.9999999), ["0.0", "0.25", "0.5"]),
        ("a=2..4", (0.0, 0.33, 0.34, 0.66, 0.67, 0.9999), ["2", "2", "3", "3", "4", "4"]),
        ("a=log:0.01..1.0", (0.0, 0.5, 0.75), ["0.01", "0.1", "0.316228"]),
        ("a=log:1..4", (0.0, 0.49, 0.51, 0.99999), ["1", "1", "2", "4"]),
        ("a=x,y,z", (0.0, 0.33, 0.34, 0.99), ["x", "x", "y", "z"]),
    ],
)
def test_values_along_an_axis(word, shares, values):
    assert [only(word).at(share) for share in shares] == values


@pytest.mark.parametrize("search", ["random", "latin"])
def test_samples_are_a_function_of_their_seed_and_lie_in_the_ranges(search):
    _, found = axes(["a=log:1e-4..1e-2", "b=1..8", "c=x,y"])
    points = sampled(found, 40, search, 3)
    assert points == sampled(found, 40, search, 3) != sampled(found, 40, search, 4)
    assert len(points) == 40
    values = np.array([[float(word.partition("=")[2]) for word in point[:2]] for point in points])
    assert (values >= [1e-4, 1]).all()
    assert (values <= [1e-2, 8]).all()
    assert set(values[:, 1]) == set(range(1, 9))
    assert {point[2] for point in points} == {"c=x", "c=y"}


def test_a_latin_hypercube_takes_every_part_of_every_axis_once():
    _, found = axes(["a=0.0..10.0", "b=log:1.0..1024.0"])
    points = [[float(word.partition("=")[2]) for word in point] for point in sampled(found, 10, "latin", 0)]
    assert sorted(int(a) for a, _ in points) == list(range(10))
    assert sorted(int(np.log2(b)) for _, b in points) == list(range(10))


def test_nothing_to_sample():
    with pytest.raises(UserError, match="nothing varies"):
        sampled([], 3, "random", 0)


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("7", [7]), ("0, 3,7", [0, 3, 7]), ("0-1,5", [0, 1, 5])]
)
def test_seeds(text, seeds):
    assert numbers(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "1,,2", "0-2,1", "-1", "1.5"])
def test_other_seeds_are_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        numbers(text)

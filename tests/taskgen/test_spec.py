"""`TaskSpec`: canonical JSON, ids, and what a hostile file may not do."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import TaskError
from taskgen.build import build_family
from taskgen.spec import RewardSpec, TaskSpec, flat, freeze, identical


def spec(**context: object) -> TaskSpec:
    return TaskSpec.from_dict({"family": "toy/walk", "context": context, "seed": 3})


def test_canonical_json_and_id() -> None:
    # `printf "%s" TEXT | sha256sum` begins with the id
    text = '{"context":{"a":[1,2.5],"b":0.1},"family":"toy/walk","reward":null,"seed":3}'
    task = spec(b=0.1, a=[1, 2.5])
    assert task.canonical() == text
    assert task.id == "bb9e81f7eb7bc377"


def test_id_does_not_depend_on_the_order_of_keys() -> None:
    assert spec(a=1, b=2).id == spec(b=2, a=1).id


def test_id_depends_on_every_field() -> None:
    base = {"family": "f", "context": {"a": 1}, "reward": None, "seed": 0}
    changes = ({"family": "g"}, {"context": {"a": 2}}, {"reward": {"name": "r", "settings": {}}}, {"seed": 1})
    ids = {TaskSpec.from_dict({**base, **change}).id for change in ({}, *changes)}
    assert len(ids) == 5


def test_a_seed_goes_up_to_the_largest_integer_that_all_readers_keep() -> None:
    for seed in (0, 2**53 - 1):
        assert TaskSpec.from_dict({"family": "f", "context": {}, "seed": seed}).seed == seed


@pytest.mark.parametrize("seed", [-1, -(2**70), 2**53, 1.0, True, "1", None])
def test_no_family_makes_a_task_that_could_not_be_read_again(seed: Any) -> None:
    family = build_family("bandit")
    with pytest.raises(TaskError, match=r"seed = .*: expected an integer"):
        family.spec(seed=seed)
    with pytest.raises(TaskError, match="seed = "):
        family.check(replace(family.spec(), seed=seed))
    assert TaskSpec.from_json(family.spec(seed=2**53 - 1).to_json()).seed == 2**53 - 1


def test_context_is_read_only() -> None:
    task = spec(a={"b": [1]})
    with pytest.raises(TypeError):
        task.context["a"] = 2  # type: ignore[index]
    assert task.context["a"]["b"] == (1,)  # type: ignore[index,call-overload]


def test_reward_survives_json() -> None:
    task = TaskSpec("f", {"a": 1}, RewardSpec("builtin/goal", {"scale": 2.0}), 5)
    assert TaskSpec.from_json(task.to_json()) == task


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.integers(0, 2**53 - 1))
def test_round_trip(context: dict[str, object], seed: int) -> None:
    task = TaskSpec.from_dict({"family": "f", "context": context, "seed": seed})
    again = TaskSpec.from_json(task.to_json())
    assert again.id == task.id
    assert again == task
    assert hash(again) == hash(task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[1]", "a task is a JSON object, not list"),
        ("{", "not valid JSON"),
        ('{"family":"f","context":{}}trailing', "not valid JSON"),
        ('{"context":{}}', "family = None"),
        ('{"family":"","context":{}}', "family = ''"),
        ('{"family":"f"}', "context = None"),
        ('{"family":"f","context":[]}', "expected a JSON object"),
        ('{"family":"f","context":{},"sead":1}', "unknown task field 'sead'"),
        ('{"family":"f","context":{},"seed":-1}', "seed = -1"),
        ('{"family":"f","context":{},"seed":true}', "seed = True"),
        ('{"family":"f","context":{},"seed":1.0}', "seed = 1.0"),
        ('{"family":"f","context":{},"seed":9007199254740992}', "0 to 2\\*\\*53 - 1"),
        ('{"family":"f","context":{"a":NaN}}', "NaN"),
        ('{"family":"f","context":{"a":-Infinity}}', "Infinity"),
        ('{"family":"f","context":{"a":1e999}}', "context.a = inf"),
        ('{"family":"f","context":{"a":1,"a":2}}', "key 'a' appears twice"),
        ('{"family":"f","family":"g","context":{}}', "key 'family' appears twice"),
        ('{"family":"f","context":{},"reward":3}', "reward = 3"),
        ('{"family":"f","context":{},"reward":{"name":"r","code":"x"}}', "exactly a string name"),
        ('{"id":"0000000000000000","family":"f","context":{}}', "the task was altered"),
        ('{"id":7,"family":"f","context":{}}', "the task was altered"),
        ('{"seed":' + "1" * 5000 + "}", "not valid JSON"),
        ('{"family":"f","context":{},"seed":' + "1" * 4000 + "}", "seed = 1111"),
        ("[" * 100_000, "nested too deeply"),
        ('{"family":"f","context":{"a":' + "[" * 900 + "]" * 900 + "}}", "nested too deeply"),
        ('{"family":"f","context":' + '{"a":' * 900 + "1" + "}" * 901, "nested too deeply"),
    ],
)
def test_bad_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        TaskSpec.from_json(text)
    assert len(str(caught.value)) < 400


NEAR = (0, 0.0, -0.0, False, 1, 1.0, True, "1", None, (), [], {}, (0,), (0.0,), (-0.0,), (1, 1.0), [1, True], {"a": 1})
NEAR += ({"a": 1.0}, {"a": True}, {"b": 1}, ((1,), (0.0,)), ((1,), (-0.0,)), (1,), (1, 1), ("a", 1), ("a", 1.0))


@pytest.mark.parametrize("one", NEAR)
def test_identical_values_are_those_of_one_canonical_text(one: object) -> None:
    text = spec(a=one).canonical()
    assert [identical(freeze(one, "a"), freeze(other, "a")) for other in NEAR] == [
        spec(a=other).canonical() == text for other in NEAR
    ]


def test_a_long_list_is_frozen_as_its_values_are() -> None:
    for values in ([0.5, -0.0], [1, 2], ["a"], [None, None], [True], []):
        assert flat(values)
        assert list(map(type, freeze(values, "a"))) == list(map(type, values))
    for values in ([0.5, 1], [[]], [1, True], [0.1, float("nan")], [float("inf")], [1e308, 1e308]):
        assert not flat(values)
    assert freeze([1e308, 1e308], "a") == (1e308, 1e308)
    with pytest.raises(TaskError, match=r"a\[1\] = inf: a task holds finite"):
        freeze([0.1, float("inf"), float("-inf")], "a")


def test_seedless_is_the_id_of_the_task_with_seed_0() -> None:
    for context in ({}, {"seed": 7, "z": ":1}"}):
        task = TaskSpec("f", context, RewardSpec("r", {"a:": 1}), 12)
        assert task.seedless == TaskSpec("f", context, RewardSpec("r", {"a:": 1})).id != task.id
    assert spec().seedless != TaskSpec("toy/run", {}).id


def test_an_altered_task_is_noticed() -> None:
    data = json.loads(spec(a=1).to_json())
    data["context"]["a"] = 2
    with pytest.raises(TaskError, match="altered"):
        TaskSpec.from_dict(data)


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {1: 2}, object(), {"a": float("inf")}])
def test_values_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(TaskError):
        spec(a=value)

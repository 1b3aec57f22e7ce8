import math
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from registry.config import Config, Part, apply_overrides, differing, inside, parse, read_toml, stated, to_toml
from registry.errors import ConfigError
from registry.fields import settings


class Inner(Config):
    """Settings inside settings."""

    rate: float = Field(default=1e-3, gt=0, le=1, description="Rate.")
    sizes: tuple[int, ...] = Field(default=(64, 64), description="Sizes.")


class Outer(Config):
    """Settings."""

    inner: Inner = Field(default=Inner(), description="Inner.")
    mode: Literal["fast", "exact"] = Field(default="fast", description="Mode.")
    steps: int = Field(default=10, ge=1, le=100, description="Steps.")
    agent: Part = Field(default=Part(name="rl2"), description="Agent.")
    limit: float | None = Field(default=None, description="Limit.")
    inners: tuple[Inner, ...] = Field(default=(), description="More of them.")


def problems(data: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, data)
    return caught.value.problems


def test_every_problem_is_reported_at_once() -> None:
    found = problems({"inner": {"rat": 1.0, "rate": 2.0}, "stepps": 3, "steps": 0, "mode": "slow"})
    assert found == (
        "inner.rate = 2.0: should be less than or equal to 1 (allowed: > 0 and <= 1)",
        "inner.rat: unknown key. Did you mean 'rate'?",
        "mode = 'slow': should be 'fast' or 'exact'",
        "steps = 0: should be greater than or equal to 1 (allowed: >= 1 and <= 100)",
        "stepps: unknown key. Did you mean 'steps'?",
    )


def test_types_are_strict_as_in_toml() -> None:
    assert parse(Outer, {"inner": {"rate": 1}}).inner.rate == 1.0
    assert "inner.rate = '0.5'" in problems({"inner": {"rate": "0.5"}})[0]
    assert "steps = 3.0" in problems({"steps": 3.0})[0]
    assert "steps = True" in problems({"steps": True})[0]
    assert "inner.sizes[1] = 'x'" in problems({"inner": {"sizes": [1, "x"]}})[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    assert "inner.rate" in problems({"inner": {"rate": value}})[0]
    assert "not a finite number" in problems({"agent": {"name": "rl2", "rate": [value]}})[0]


def test_unknown_key_inside_a_list_points_to_its_element() -> None:
    assert problems({"inners": [{}, {"siz": 1}]}) == ("inners[1].siz: unknown key. Did you mean 'sizes'?",)


class Square(Config):
    """One of two kinds."""

    kind: Literal["square"] = "square"
    side: float = Field(default=1.0, gt=0, le=9, description="Side.")


class Circle(Config):
    """The other kind."""

    kind: Literal["circle"] = "circle"
    radius: float = Field(default=1.0, description="Radius.")


class Drawing(Config):
    """A table of choices, and settings inside."""

    shapes: dict[str, Annotated[Square | Circle, Field(discriminator="kind")]] = Field(
        default={}, description="Shapes."
    )
    pen: Inner = Field(default=Inner(), description="Pen.")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"shapes": {"a": {"kind": "square", "sides": 1}}}, "shapes.a.sides: unknown key. Did you mean 'side'?"),
        ({"shapes": {"square": {"kind": "circle", "x": 1}}}, "shapes.square.x: unknown key. Known: kind, radius."),
        (
            {"shapes": {"a": {"kind": "square", "side": 10}}},
            "shapes.a.side = 10: should be less than or equal to 9 (allowed: > 0 and <= 9)",
        ),
        ({"shapes": {"a": {"kind": "sqare"}}}, "shapes.a.kind = 'sqare': is none. Did you mean 'square'?"),
        ({"pen": {"sizes": "big"}}, "pen.sizes = 'big': should be a list, such as [\"big\"]"),
        ({"pen": {"sizes": 3}}, "pen.sizes = 3: should be a valid array"),
        ({"rate": 1.0}, "rate: unknown key. Did you mean 'pen.rate'?"),
        ({"pen": {"colour": 1}}, "pen.colour: unknown key. Known: rate, sizes."),
    ],
)
def test_problems_go_by_the_path_that_was_written(data: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Drawing, data)
    assert caught.value.problems == (told,)


class Contradicting(Config):
    """Settings of which no two go together."""

    low: int = Field(default=0, description="Low.")

    @model_validator(mode="after")
    def _never(self) -> "Contradicting":
        raise ValueError(f"low = {self.low} is not below high = 0")


@pytest.mark.parametrize(("prefix", "expected"), [("runner.", "runner: low = 3"), ("", "low = 3")])
def test_settings_that_contradict_each_other_are_told_without_all_the_others(prefix: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Contradicting, {"low": 3}, prefix=prefix)
    assert caught.value.problems == (f"{expected} is not below high = 0",)


def test_prefix_goes_before_paths() -> None:
    with pytest.raises(ConfigError, match=r"^settings: 1 problem\n  - agent\.rat: unknown key"):
        parse(Inner, {"rat": 1}, "settings", "agent.")


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().rate = 0.5  # type: ignore[misc]


def test_part_keeps_free_settings_and_takes_a_bare_name() -> None:
    part = parse(Outer, {"agent": {"name": "rl2", "learning_rate": 1e-3, "network": {"name": "gru"}}}).agent
    assert (part.name, part.settings) == ("rl2", {"learning_rate": 1e-3, "network": {"name": "gru"}})
    assert parse(Outer, {"agent": "random"}).agent == Part(name="random")
    assert problems({"agent": {"learning_rate": 1.0}}) == ("agent.name: is required",)


def test_toml_round_trip() -> None:
    config = parse(Outer, {"agent": {"name": "rl2", "x": [1, 2.5, "a"]}, "limit": 2.0, "inners": [{}, {"rate": 0.1}]})
    assert parse(Outer, tomllib.loads(to_toml(config))) == config


@given(st.floats(min_value=1e-300, max_value=1, exclude_min=True), st.lists(st.integers(-(2**60), 2**60)))
def test_numbers_survive_toml_exactly(rate: float, sizes: list[int]) -> None:
    config = Inner(rate=rate, sizes=tuple(sizes))
    assert parse(Inner, tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("k=1", 1),
        ("k=1e-3", 1e-3),
        ("k=.5", 0.5),
        ("k=true", True),
        ("k=True", True),
        ("k=[1, 2]", [1, 2]),
        ('k=["a", "b"]', ["a", "b"]),
        ('k={name = "gru", size = 3}', {"name": "gru", "size": 3}),
        ("k=bare text", "bare text"),
        ("k=a=b", "a=b"),
        ('k="1"', "1"),
        ("k=", ""),
        ("k=runs/x", "runs/x"),
        ("k=1\nother=2", "1\nother=2"),
    ],
)
def test_override_values(override: str, value: object) -> None:
    result = apply_overrides({}, [override])
    assert result == {"k": value}
    assert type(result["k"]) is type(value)


def test_overrides_nest_delete_and_leave_the_original_alone() -> None:
    data = {"agent": {"name": "rl2", "rate": 1.0}, "steps": 5}
    result = apply_overrides(data, ["agent.network.size=3", "~steps", "new.deep.key=x", "agent.rate=2"])
    assert result == {"agent": {"name": "rl2", "rate": 2, "network": {"size": 3}}, "new": {"deep": {"key": "x"}}}
    assert data == {"agent": {"name": "rl2", "rate": 1.0}, "steps": 5}


def test_bare_name_becomes_a_table_when_a_setting_follows() -> None:
    result = apply_overrides({"agent": {"name": "rl2", "rate": 1.0}}, ["agent=random", "agent.epsilon=0.1"])
    assert result == {"agent": {"name": "random", "epsilon": 0.1}}


NESTED = {"name": "mine", "agent": {"name": "rl2", "rate": 1.0, "network": {"name": "builtin/gru", "size": 8}}}


@pytest.mark.parametrize(
    ("overrides", "network"),
    [
        (["agent.network=lstm"], "lstm"),
        (["agent.network.name=lstm"], {"name": "lstm"}),
        (["agent.network.name=lstm", "agent.network.size=3"], {"name": "lstm", "size": 3}),
        (["agent.network.name=lstm", "agent.network.name=gru"], {"name": "gru"}),
        (["agent.network.name=gru"], {"name": "gru", "size": 8}),
        (["agent.network.size=3", "agent.network.name=gru"], {"name": "gru", "size": 3}),
        (["name=other", "agent.rate=2"], {"name": "builtin/gru", "size": 8}),
    ],
)
def test_another_part_comes_without_the_settings_of_the_one_before(overrides: list[str], network: object) -> None:
    assert apply_overrides(NESTED, overrides)["agent"]["network"] == network


@pytest.mark.parametrize("last", ["agent.network=lstm", "agent.network.name=lstm", "agent=ppo", "agent.name=ppo"])
def test_an_override_that_undoes_another_is_told(last: str, caplog: pytest.LogCaptureFixture) -> None:
    apply_overrides(NESTED, ["agent.rate=2", "agent.network.size=3", last])
    undone = "agent.network.size=3" if "network" in last else "agent.rate=2, agent.network.size=3"
    assert caplog.messages == [f"{last} undoes {undone}, given before it"]


@pytest.mark.parametrize("last", ["agent.network.name=gru", "agent.network.size=4", "~agent", "agent.name=rl2"])
def test_one_that_undoes_nothing_is_not(last: str, caplog: pytest.LogCaptureFixture) -> None:
    apply_overrides(NESTED, ["agent.rate=2", "agent.network.size=3", last])
    assert not caplog.messages


@pytest.mark.parametrize("value", [3, True, [1]])
def test_what_names_no_part_is_told_how_one_is_named(value: object) -> None:
    class Run(Config):
        source: Part = Field(Part(name="none"), description="S.")

    with pytest.raises(ConfigError) as caught:
        parse(Run, {"source": value})
    (problem,) = caught.value.problems
    assert problem.startswith(
        f"source = {value!r}: expected the name of an entry, or a table of its `name` and settings"
    )


def test_malformed_overrides_are_all_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"steps": 1}, ["novalue", "a..b=1", "~stps", "~steps=1", "steps.x=1", "k=[1,"])
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "'novalue': expected key=value" in text
    assert "Did you mean 'steps'?" in text
    assert "'steps' is 1, which has no settings inside" in text


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.toml")
    with pytest.raises(ConfigError, match="run.toml: 1 problem\n  - it is a pipe"):
        read_toml(tmp_path / "run.toml")
    reader, writer = os.pipe()
    os.write(writer, b"a = 1")
    os.close(writer)
    assert read_toml(f"/dev/fd/{reader}") == {"a": 1}
    os.close(reader)


def test_read_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    with pytest.raises(ConfigError, match="run.toml: 1 problem\n  - no such file"):
        read_toml(path)
    path.write_text("a = 1\nb = = 2\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_toml(path)
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_toml(path)
    path.write_text("a = 1")
    assert read_toml(path) == {"a": 1}


def test_settings_are_listed_with_type_default_and_range() -> None:
    rows = {row.path: (row.type, row.default, row.allowed, row.description) for row in settings(Outer)}
    assert rows["inner.rate"] == ("number", "0.001", "> 0 and <= 1", "Rate.")
    assert rows["inner.sizes"] == ("list of integer", "(64, 64)", "", "Sizes.")
    assert rows["mode"] == ("choice", "fast", "one of 'fast', 'exact'", "Mode.")
    assert rows["limit"] == ("number", "", "", "Limit.")
    assert rows["agent"] == ("part", "rl2", "", "Agent.")


def test_names_with_dots_stand_in_quotes() -> None:
    data = {"vary": {"body_mass.*": {"low": 0.5}}}
    assert apply_overrides(data, ['vary."body_mass.*".high=3', "vary.'a b'.low=1"]) == {
        "vary": {"body_mass.*": {"low": 0.5, "high": 3}, "a b": {"low": 1}}
    }
    assert apply_overrides(data, ['~vary."body_mass.*".low']) == {"vary": {"body_mass.*": {}}}
    for wrong in ("vary.body_mass.*.high=3", 'vary."body_mass.high=3', 'vary."".high=3', 'vary."a"b=3'):
        with pytest.raises(ConfigError, match="stands in quotes") as caught:
            apply_overrides(data, [wrong])
        assert 'vary."body_mass.*".high=3' in str(caught.value)


def test_numbers_of_other_libraries_are_numbers() -> None:
    np = pytest.importorskip("numpy")
    read = parse(Outer, {"steps": np.int64(3), "inner": {"rate": np.float32(0.5), "sizes": np.array([1, 2])}})
    assert (read.steps, read.inner.rate, read.inner.sizes) == (3, 0.5, (1, 2))
    with pytest.raises(ConfigError, match=r"steps = 3\.0"):
        parse(Outer, {"steps": np.float64(3.0)})


def test_where_two_configurations_differ() -> None:
    one = {"a": 1, "b": {"c": [1, {"d": 2}], "e": "x"}, "g": True, "h": 1}
    assert differing(one, one) == []
    assert differing(one, {**one, "a": 2}) == ["a"]
    assert differing(one, {**one, "b": {"c": [1, {"d": 3}], "e": "x"}}) == ["b.c[1].d"]
    assert differing(one, {**one, "b": {"c": [1], "f": 0}}) == ["b.c", "b.e", "b.f"]
    assert differing(one, {**one, "b": 0}) == ["b"]
    assert differing({}, {"a": {"b": 1}}) == ["a"]
    for old, new in ((1, 1.0), (1, True), (True, 1), (0, False), (0.0, 0)):
        assert differing({"a": old}, {"a": new}) == ["a"]


def test_what_is_inside_a_setting() -> None:
    assert all(inside(path, ["a.b"]) for path in ("a.b", "a.b.c", "a.b[0].c"))
    assert not any(inside(path, ["a.b"]) for path in ("a", "a.bc", "b", "a.c.b"))


@pytest.mark.parametrize("value", ["0", "-1", "1e9", "2.0", " ", "many", "\u0663", "9" * 5000])
def test_a_variable_that_states_no_whole_number_is_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGEN_OF_A_TEST", value)
    with pytest.raises(ConfigError, match="TASKGEN_OF_A_TEST = .*: expected a whole number, 1 or more"):
        stated("TASKGEN_OF_A_TEST", 5)


def test_a_variable_states_a_number_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stated("TASKGEN_OF_A_TEST", 5) == 5
    monkeypatch.setenv("TASKGEN_OF_A_TEST", "")
    assert stated("TASKGEN_OF_A_TEST", 5) == 5
    monkeypatch.setenv("TASKGEN_OF_A_TEST", "012")
    assert stated("TASKGEN_OF_A_TEST", 5) == 12

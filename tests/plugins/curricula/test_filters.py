"""What filters keep, in which order, and what they say when nothing is left."""

import json
from typing import Any

import numpy as np
import pytest

from registry.errors import ConfigError, TaskError
from taskgen.build import build_family
from taskgen.taskset import write_tasks


def test_within_keeps_the_tasks_inside_in_their_order(make: Any) -> None:
    source = make("within", knobs={"force": {"low": 10.0, "high": 12.0}, "pole_mass": {"high": 0.4}})
    kept = source.ask(20)
    everything = make("within").ask(400)  # the same source, of which all is kept
    inside = [s for s in everything if 10.0 <= s.context["force"] <= 12.0 and s.context["pole_mass"] <= 0.4]
    assert [spec.id for spec in kept] == [spec.id for spec in inside[:20]]


def test_within_looks_at_every_number_of_an_array(make: Any) -> None:
    source = make("within", over=build_family("bandit", {"arms": 2}), knobs={"probabilities": {"low": 0.5}})
    assert min(min(spec.context["probabilities"]) for spec in source.ask(50)) >= 0.5


def test_within_takes_ranges_of_the_descriptor(make: Any) -> None:
    maze = build_family("maze", {"size": 5})
    source = make("within", over=maze, source="random-mazes", descriptor={"1": {"low": 0.75}})
    assert min(maze.descriptor(spec.context)[1] for spec in source.ask(10)) >= 0.75  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"knobs": {"farce": {"low": 1.0}}}, "unknown context knob 'farce'. Did you mean 'force'"),
        ({"knobs": {"force": {"low": 1e6}}}, "at least 1e.06 is beyond the knob's own range, 1 to 100"),
        ({"knobs": {"force": {"low": 2.0, "high": 1.0}}}, "low = 2 is above high = 1"),
        ({"knobs": {"force": {}}}, "a range needs low, high or both"),
        ({"descriptor": {"7": {"low": 0.0}}}, "numbered 0 to 6"),
        ({"descriptor": {"x": {"low": 0.0}}}, "no such feature"),
    ],
)
def test_within_refuses_what_the_family_does_not_have(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("within", **settings)


def test_within_names_families_without_a_descriptor(make: Any) -> None:
    with pytest.raises(ConfigError, match="describes its tasks by no features"):
        make("within", over=build_family("bandit"), descriptor={"0": {"low": 0.0}})


def test_a_filter_that_keeps_nothing_says_what_was_asked_and_how_often(make: Any) -> None:
    source = make("within", attempts=50, knobs={"force": {"low": 20.0}})
    with pytest.raises(
        TaskError, match=r"within around .*domain-randomization over builtin/cartpole: 50 tasks in a row"
    ):
        source.ask(1)
    with pytest.raises(TaskError, match=r"The last: force = .*, wanted at least 20"):
        source.ask(1)


def test_attempts_are_counted_in_a_row(make: Any) -> None:
    half = {"force": {"low": 10.0}}
    assert len(make("within", attempts=30, knobs=half).ask(200)) == 200


def test_attempts_are_counted_anew_after_every_task_that_is_kept(make: Any, monkeypatch: Any) -> None:
    source = make("within", attempts=3)
    problems = iter(["no", "no", None, "no", "no", None, "no", "no", "no"])
    monkeypatch.setattr(source, "_problem", lambda spec: next(problems))
    assert len(source.ask(2)) == 2
    with pytest.raises(TaskError, match="3 tasks in a row were turned down; .* The last: no"):
        source.ask(1)
    assert next(problems, "over") == "over"


def test_deduplicated_gives_every_task_once(make: Any, family: Any, tmp_path: Any) -> None:
    write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in (1, 2, 1, 3)])
    inner = {"name": "task-set", "path": str(tmp_path / "tasks.jsonl"), "shuffle": False}
    source = make("deduplicated", source=inner, attempts=10)
    assert [spec.seed for spec in source.ask(3)] == [1, 2, 3]
    with pytest.raises(TaskError, match="10 tasks in a row were turned down.* was given before"):
        source.ask(1)
    resumed = make("deduplicated", source=inner, attempts=10)
    resumed.load_state_dict(json.loads(json.dumps(source.state_dict())))
    with pytest.raises(TaskError, match="was given before"):
        resumed.ask(1)


def test_deduplicated_may_ignore_the_seed(make: Any, family: Any, tmp_path: Any) -> None:
    specs = [family.spec({"force": force}, seed=seed) for seed, force in ((1, 5.0), (2, 5.0), (3, 6.0))]
    write_tasks(tmp_path / "tasks.jsonl", specs)
    inner = {"name": "task-set", "path": str(tmp_path / "tasks.jsonl"), "shuffle": False}
    assert [spec.seed for spec in make("deduplicated", source=inner, ignore_seed=True).ask(2)] == [1, 3]


def test_deduplicated_remembers_no_more_than_it_is_told_to(make: Any, family: Any, tmp_path: Any) -> None:
    write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in (1, 2)])
    inner = {"name": "task-set", "path": str(tmp_path / "tasks.jsonl"), "shuffle": False}
    assert [spec.seed for spec in make("deduplicated", source=inner, memory=1).ask(4)] == [1, 2, 1, 2]


def test_solvable_asks_a_player(make: Any) -> None:
    """A cart-pole whose force is weak and whose pole is heavy falls early, whatever the player does."""
    family = build_family("cartpole", {"horizon": 30})
    source = make("solvable", over=family, player="random", episodes=3, least_return=20.0)
    plain = make("within", over=family)
    kept = [spec.id for spec in source.ask(10)]
    assert kept == [spec.id for spec in plain.ask(400) if spec.id in set(kept)]
    alone = make("solvable", over=family, player="random", episodes=3, least_return=20.0)
    assert [alone.ask(1)[0].id for _ in range(10)] == kept
    with pytest.raises(TaskError, match=r"returns \d+ at best, wanted 31"):
        make("solvable", over=family, player="random", least_return=31.0, attempts=5).ask(1)


def test_solvable_believes_a_family_that_knows(make: Any, family: Any) -> None:
    family.solved_return = 7.0
    family.optimal_return = lambda spec: spec.context["force"]
    assert min(spec.context["force"] for spec in make("solvable", over=family).ask(30)) >= 7.0
    assert min(spec.context["force"] for spec in make("solvable", over=family, least_return=12.0).ask(30)) >= 12.0


def test_solvable_names_what_nobody_can_say(make: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        make("solvable", over=build_family("pendulum"))
    assert "name a `player` who tries it" in str(refused.value)
    assert "give `least_return`" in str(refused.value)


def test_ends_that_the_knob_and_the_descriptor_have_are_allowed(make: Any) -> None:
    """A force goes from 1 to 100, a cart-pole has seven features."""
    make("within", knobs={"force": {"low": 100.0}})
    make("within", knobs={"force": {"high": 1.0}})
    with pytest.raises(ConfigError, match="at most 0.9 is beyond"):
        make("within", knobs={"force": {"high": 0.9}})
    make("within", descriptor={"6": {"high": 1e9}})


def test_deduplicated_forgets_the_oldest(make: Any, family: Any, tmp_path: Any) -> None:
    """Of two that are remembered: 1 2, then 2 3 (the second 1 was turned down), so 2 is known and 1 is new."""
    write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in (1, 2, 1, 3, 2, 1)])
    inner = {"name": "task-set", "path": str(tmp_path / "tasks.jsonl"), "shuffle": False}
    assert [spec.seed for spec in make("deduplicated", source=inner, memory=2).ask(4)] == [1, 2, 3, 1]


def test_as_good_as_asked_for_is_solved(make: Any, family: Any) -> None:
    family.optimal_return = lambda spec: 7.0
    assert len(make("solvable", over=family, least_return=7.0).ask(2)) == 2
    with pytest.raises(TaskError, match="returns 7 at best, wanted 7.1"):
        make("solvable", over=family, least_return=7.1, attempts=2).ask(1)


def test_a_return_that_is_the_least_but_for_rounding_is_enough(make: Any, family: Any, monkeypatch: Any) -> None:
    sums = np.float32(-0.1) * 3, np.float32(0.7), np.float32(0.0)  # below -0.3 and 0.7 in double precision
    for paid, least in zip(sums, (-0.3, 0.7, 0.0), strict=True):
        monkeypatch.setattr("plugins.curricula.alone.Alone.returns", lambda *_, paid=paid: np.array([float(paid)]))
        assert len(make("solvable", over=family, player="random", least_return=least).ask(2)) == 2
        with pytest.raises(TaskError, match="wanted"):
            make("solvable", over=family, player="random", least_return=least + 1e-4, attempts=2).ask(1)


@pytest.mark.parametrize(
    ("by_chance", "margin", "luck"),
    [([3.0, 3.0], 5.0, ".*e-05"), ([2.0, 4.0], 4.0, "1")],  # of mean 3, with standard errors 0, but for rounding, and 1
)
def test_interesting_is_what_is_ahead_by_more_than_luck(
    by_chance: list[float], margin: float, luck: str, make: Any, family: Any, monkeypatch: Any
) -> None:
    """At best the force, which has to be more than 8, to the last digit."""
    monkeypatch.setattr("plugins.curricula.alone.Alone.returns", lambda *_: np.array(by_chance))
    family.optimal_return = lambda spec: spec.context["force"]
    kept = make("interesting", over=family, margin=margin).ask(30)
    assert kept == [spec for spec in make("within", over=family).ask(400) if spec.context["force"] > 8.0][:30]
    family.optimal_return = lambda spec: 8.0
    told = f"8 at best, 3 by chance, which is 5 more, give or take {luck}; wanted {margin:g} more"
    with pytest.raises(TaskError, match=told):
        make("interesting", over=family, margin=margin, attempts=3).ask(1)


@pytest.mark.parametrize(
    ("world", "knobs"),
    [
        ("signal-noise-chain", {}),  # whatever is done
        ("two-step", {"good": 0.5, "bad": 0.5}),
        ("barcode-bandit", {"good": 0.5, "bad": 0.5}),
        ("grid-navigation", {}),  # three steps, the goal is four away: -0.3, but for rounding
    ],
)
def test_interesting_turns_down_where_nothing_that_is_done_makes_a_difference(
    make: Any, world: str, knobs: dict[str, Any]
) -> None:
    over = build_family(world, {"horizon": 3} if world == "grid-navigation" else {})
    source = make("interesting", over=over)
    kept = sum(source._problem(over.spec(knobs, seed=seed)) is None for seed in range(100))
    assert kept <= 25  # by luck alone every other one would be


def test_interesting_plays_in_the_family_s_own_reward(make: Any) -> None:
    """In a darkroom of 3 x 3 cells and two steps whoever goes to the goal is paid once it is near, by chance rarely."""
    darkroom = build_family("darkroom", {"size": 3, "horizon": 2})
    inner = {"name": "dense-rewards"}
    source = make("interesting", over=darkroom, source=inner, margin=0.5)
    kept = source.ask(10)
    assert {spec.reward.name for spec in kept} == {"builtin/goal-proximity"}  # type: ignore[union-attr]
    assert max(sum(divmod(spec.context["goal"], 3)) for spec in kept) <= 2  # type: ignore[arg-type]
    again = make("interesting", over=darkroom, source=inner, margin=0.5)
    assert [again.ask(1)[0].id for _ in range(10)] == [spec.id for spec in kept]


def test_interesting_asks_a_player(make: Any) -> None:
    maze = build_family("maze", {"size": 4, "horizon": 20})
    told = {"over": maze, "source": "random-mazes", "margin": 0.2}
    by_oracle = make("interesting", player="maze-oracle", **told).ask(10)
    assert [spec.id for spec in by_oracle] == [spec.id for spec in make("interesting", **told).ask(10)]


def test_interesting_names_what_nobody_can_say(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"pendulum does not know the best return .* name a `player`"):
        make("interesting", over=build_family("pendulum"))

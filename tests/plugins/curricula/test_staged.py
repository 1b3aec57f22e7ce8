"""`staged`: when a stage is over, what it changes, and how long trials are."""

from typing import Any

import pytest

import registry
from agents.training.experiment import Experiment, build_parts, held_out_source
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.config import parse
from registry.errors import CheckpointError, ConfigError, UserError
from registry.plan import resolve
from taskgen.source import Curriculum, Length, Paced, TaskResult

HEAVY = {"source": {"vary": {"pole_mass": {"kind": "constant", "value": 2.0}}}}


def results(source: Any, *returns: float) -> list[TaskResult]:
    """One task for each of `returns`, all of its episodes with that return."""
    return [TaskResult(spec, (value, value)) for spec, value in zip(source.ask(len(returns)), returns, strict=True)]


def stage(source: Any) -> int:
    return int(source.metrics()["tasks/stage"])


def test_a_stage_ends_after_its_iterations(make: Any) -> None:
    source = make("staged", stages=[{"iterations": 2}, {"iterations": 1}, {}])
    seen = []
    for _ in range(6):
        seen.append(stage(source))
        source.tell(results(source, 1.0))
    assert seen == [1, 1, 2, 3, 3, 3]


def test_a_stage_ends_when_the_mean_over_the_window_reaches_the_threshold(make: Any) -> None:
    source = make("staged", stages=[{"threshold": 10.0, "window": 2}, {}])
    source.tell(results(source, 30.0))  # one iteration is no window yet
    assert stage(source) == 1
    source.tell(results(source, 4.0, 4.0, 4.0))  # (30 + 3 * 4) / 4 = 10.5
    assert stage(source) == 2


def test_the_window_forgets(make: Any) -> None:
    source = make("staged", stages=[{"threshold": 10.0, "window": 2}, {}])
    for value, expected in ((0.0, 1), (12.0, 1), (7.0, 1), (13.0, 2)):  # means 6, 9.5, 10
        source.tell(results(source, value))
        assert stage(source) == expected


def test_a_share_counts_successes(make: Any) -> None:
    source = make("staged", stages=[{"threshold": 1.0, "share": 0.5, "window": 1}, {}])
    source.tell(results(source, 1.0, 99.0, 0.9, 0.9, 0.9))
    assert stage(source) == 1
    source.tell(results(source, 1.0, 1.0, 0.9, 0.9))
    assert stage(source) == 2


def test_the_last_episode_alone_may_be_judged(make: Any) -> None:
    stages = [{"threshold": 1.0, "judged": "last", "window": 1}, {}]
    source = make("staged", stages=stages)
    (spec,) = source.ask(1)
    source.tell([TaskResult(spec, (9.0, 0.0))])
    assert stage(source) == 1
    source.tell([TaskResult(spec, (-9.0, 1.0))])
    assert stage(source) == 2


def test_an_iteration_without_results_is_no_success(make: Any) -> None:
    source = make("staged", stages=[{"threshold": -1.0, "window": 1}, {}])
    source.tell([])
    assert stage(source) == 1


def test_stages_change_settings_of_the_source(make: Any) -> None:
    source = make(
        "staged",
        source={"name": "domain-randomization", "fixed": {"force": 10.0}},
        stages=[{**HEAVY, "iterations": 1}, {"source": {"vary": {"pole_mass": {"high": 0.06}}}}],
    )
    first = source.ask(20)
    source.tell([])
    second = source.ask(20)
    assert {spec.context["pole_mass"] for spec in first} == {2.0}
    assert all(0.05 <= spec.context["pole_mass"] <= 0.06 for spec in second)
    assert {spec.context["force"] for spec in [*first, *second]} == {10.0}


def test_a_stage_may_name_another_source(make: Any) -> None:
    other = {"name": "within", "knobs": {"force": {"low": 14.0}}}
    source = make("staged", stages=[{"source": other, "iterations": 1}, {}])
    assert min(spec.context["force"] for spec in source.ask(20)) >= 14.0
    source.tell([])
    assert min(spec.context["force"] for spec in source.ask(20)) < 14.0


def test_stages_of_the_same_settings_share_one_source(make: Any) -> None:
    source = make("staged", stages=[{"episodes": 1, "iterations": 1}, {"episodes": 2}])
    plain = make("domain-randomization")
    assert list(source.sources) == ["stage-1"]
    first = source.ask(3)
    source.tell([])
    ids = [spec.id for spec in [*first, *source.ask(3)]]
    assert len(set(ids)) == 6
    assert not set(ids) & {spec.id for spec in plain.ask(6)}  # it draws from a stream of its own


def test_lengths_follow_the_stage(make: Any) -> None:
    source = make("staged", stages=[{"episodes": 3, "iterations": 1}, {"horizon": 7, "iterations": 1}, {}])
    assert isinstance(source, Paced)
    assert isinstance(source, Curriculum)
    assert list(source.lengths) == [Length(3), Length(horizon=7), Length()]
    seen = []
    for _ in range(3):
        seen.append(source.length)
        source.tell([])
    assert seen == list(source.lengths)


def test_a_source_around_stages_passes_their_length_on(make: Any) -> None:
    staged = {"name": "staged", "stages": [{"episodes": 3, "iterations": 1}, {}]}
    source = make("within", source=staged)
    assert source.length == Length(3)
    source.tell([])
    assert source.length == Length()
    with pytest.raises(UserError, match="decides how long trials are"):
        make("mix", sources={"a": staged, "b": staged}, weights={"a": 0.5, "b": 0.5})
    with pytest.raises(ConfigError, match="both the stages and a source inside"):
        make("staged", source=staged, stages=[{"episodes": 1, "iterations": 1}, {}])


def test_a_curriculum_inside_is_told_of_its_own_tasks(make: Any) -> None:
    inner = {"name": "staged", "stages": [{**HEAVY, "iterations": 2}, {}]}
    source = make("staged", source=inner, stages=[{"iterations": 3}, {}])
    for expected in ({2.0}, {2.0}):
        specs = source.ask(4)
        assert {spec.context["pole_mass"] for spec in specs} == expected
        source.tell([TaskResult(spec, (1.0,)) for spec in specs])
    assert len({spec.context["pole_mass"] for spec in source.ask(4)}) == 4


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_history_depends_on_neither_slots_nor_resume(history: Any, chunk: int, resumed: bool) -> None:
    stages = [{**HEAVY, "threshold": 5.0, "window": 2}, {"iterations": 3}, {"episodes": 2, "iterations": 2}, {}]

    def student(spec: Any) -> list[float]:
        return [spec.context["force"]]

    play = [student, "staged"]
    assert history(*play, chunk, 8, resumed, stages=stages) == history(*play, 4, 8, False, stages=stages)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least two"),
        ([{"iterations": 1}], "at least two"),
        ([{}, {}], r"stages\[0\] would never end"),
        ([{"iterations": 1}, {"iterations": 1}], r"stages\[1\] is the last"),
        ([{"share": 0.5, "iterations": 1}, {}], "which return is a success"),
        ([{"iterations": 1, "source": {"no-such-setting": 1}}, {}], "no-such-setting"),
        ([{"iterations": 1, "source": {"vary": {"pole": 1.0}}}, {}], "unknown context knob 'pole'"),
    ],
)
def test_stages_that_cannot_be_are_refused(make: Any, stages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("staged", stages=stages)


def test_a_state_of_other_stages_is_refused(make: Any) -> None:
    source = make("staged", stages=[{"iterations": 1}, {"iterations": 1}, {}])
    source.tell([])
    source.tell([])
    with pytest.raises(CheckpointError, match="stage = 2, expected 0 to 1"):
        make("staged", stages=[{"iterations": 1}, {}]).load_state_dict(source.state_dict())


def experiment(**changes: Any) -> Any:
    data = {
        "family": {"name": "cartpole", "horizon": 20},
        "source": {
            "name": "staged",
            "stages": [
                {"episodes": 1, "horizon": 4, "iterations": 2},
                {"episodes": 2, "iterations": 1, **HEAVY},
                {},
            ],
        },
        "agent": {"name": "rl2", "network": {"name": "gru", "hidden_size": 8}},
        "training": {"iterations": 4, "tasks": 6, "episodes": 4, "checkpoint_every": 1, "evaluate_every": 0},
        "evaluation": {"tasks": 4, "final_tasks": 4},
        "device": "cpu",
        **changes,
    }
    return resolve(parse(Experiment, data), registry.catalogue())


class Lines:
    """A watcher that keeps the metrics, and stops after some iterations."""

    def __init__(self, stop_after: int = 99) -> None:
        self.metrics: list[dict[str, float]] = []
        self._stop_after = stop_after

    def iteration(self, done: int, total: int, metrics: Any) -> None:
        self.metrics.append(dict(metrics))

    def say(self, text: str) -> None:
        pass

    def stop_requested(self) -> bool:
        return len(self.metrics) >= self._stop_after


def test_training_plays_trials_of_the_stages_length_and_resumes_in_the_stage(tmp_path: Any) -> None:
    plan = experiment()
    whole, halves = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "halves")
    lines = Lines()
    whole.create(plan)
    assert train(plan, whole, lines)
    assert [line["tasks/stage"] for line in lines.metrics] == [1, 2, 3, 3]  # that of the next iteration
    assert lines.metrics[0]["meta/trial_return"] == lines.metrics[1]["meta/trial_return"] == 4.0  # cut after 4 steps
    assert lines.metrics[2]["meta/trial_return"] > 2 * 4
    assert lines.metrics[3]["charts/steps"] > lines.metrics[2]["charts/steps"]
    halves.create(plan)
    assert not train(plan, halves, Lines(stop_after=2))
    assert train(plan, halves, Lines())
    one, other = (max((run.checkpoints).glob("*")) for run in (whole, halves))
    for file in sorted(one.iterdir()):
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_trials_longer_than_the_agent_is_prepared_for_are_refused_before_the_run() -> None:
    plan = experiment(training={"episodes": 1})
    with pytest.raises(UserError, match=r"trials of 2 episodes, but training.episodes = 1"):
        build_parts(plan.config)


def test_a_curriculum_is_judged_on_the_tasks_of_the_source_it_wraps(family: Any) -> None:
    plan = experiment()
    specs = held_out_source(plan.config, build_parts(plan.config).family).ask(5)
    assert len({spec.context["pole_mass"] for spec in specs}) == 5
    named = experiment(evaluation={"source": {"name": "domain-randomization", "fixed": {"pole_mass": 0.3}}})
    specs = held_out_source(named.config, build_parts(named.config).family).ask(5)
    assert {spec.context["pole_mass"] for spec in specs} == {0.3}


def test_side_by_side_agents_get_a_batch_that_fits(tmp_path: Any) -> None:
    agent = {"name": "maml", "hidden": [4], "trajectories": 2}
    source = {"name": "staged", "stages": [{"episodes": 4, "iterations": 1}, {}]}
    plan = experiment(
        family={"name": "point-navigation", "horizon": 5},
        agent=agent,
        source=source,
        training={"iterations": 2, "tasks": 2, "episodes": 8, "evaluate_every": 0},
    )
    run, lines = RunDirectory(tmp_path / "run"), Lines()
    run.create(plan)
    assert train(plan, run, lines)
    assert [line["charts/steps"] for line in lines.metrics] == [2 * 4 * 5, 2 * 4 * 5 + 2 * 8 * 5]

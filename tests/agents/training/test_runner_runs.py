"""Runs whose outer loop is a runner: the same books, resumable, all its tasks in the archive."""

import json

import pytest

from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import UserError
from taskgen import lineage
from taskgen.archive import Archive
from taskgen.build import build_family, build_source, task_key
from taskgen.streams import child, seed_sequence
from tests.agents.training.test_loop import Quiet, digest

EVOLVING = (
    "name=tiny-poet",
    "family={name='cartpole', horizon=20}",
    "agent={name='ppo', context='none', hidden=[4], epochs=1, minibatches=1}",
    "runner={name='poet', reproduce_every=2, reproduce_from=5.0, lowest=5.0, highest=20.0, solved=15.0}",
    "runner.transfer_every=2",
    "runner.max_active=3",
    "runner.admitted=2",
    "runner.children=3",
    "runner.judged_episodes=2",
    "runner.proposals=1",
    "training={iterations=6, tasks=2, episodes=1, checkpoint_every=2}",
    "evaluation.players=['random']",
)


def start(path, *overrides):
    plan = load_experiment("ppo-navigation", [*EVOLVING, *overrides])
    run = RunDirectory(path)
    run.create(plan)
    return plan, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    plan, run = start(tmp_path_factory.mktemp("run") / "whole")
    assert train(plan, run, Quiet())
    return run


def archived(run):
    with Archive(run.archive) as archive:
        assert archive.check() == []
        return list(archive.records())


@pytest.mark.parametrize("stops", [(1,), (2, 3), (5,)])
def test_stopped_and_resumed_is_identical(finished, tmp_path, stops):
    plan, run = start(tmp_path / "cut")
    for stop in stops:
        assert not train(plan, run, Quiet(stop))
    assert train(run.open(), run, Quiet())
    assert digest(run) == digest(finished)
    assert archived(run) == archived(finished)


def test_the_archive_holds_every_task_with_its_lineage(finished):
    records = archived(finished)
    assert (
        len(records)
        == json.loads((finished.path / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]["tasks/niches"]
    )
    assert {record.generator for record in records} == {"builtin/poet"}
    assert {record.split for record in records} == {"train"}
    assert [bool(record.parents) for record in records] == [False, *[True] * (len(records) - 1)]
    assert all(lineage.SCORE in record.scores and lineage.CREATED in record.scores for record in records)
    assert sum(lineage.RETIRED in record.scores for record in records) == len(records) - 3


def test_no_one_agent_is_judged(finished, capsys):
    assert not (finished.path / "evaluations.jsonl").exists()
    with pytest.raises(UserError, match="reports on them itself"):
        evaluate_run(finished)


@pytest.mark.parametrize("name", ["pbt", "epg"])
def test_a_task_that_the_run_is_judged_on_and_the_source_meets_by_chance_is_passed_over(name):
    runner, agent = {
        "pbt": ("{name='pbt', population=2, explore={learning_rate={low=0.1, high=1.0}}}", "{name='es', pairs=1}"),
        "epg": ("{name='epg'}", "{name='epg', hidden=[4]}"),
    }[name]
    overrides = ["family={name='cartpole', horizon=20}", f"runner={runner}", f"agent={agent}"]
    overrides += ["source={name='domain-randomization'}", "training={iterations=1, tasks=4, episodes=2}"]
    config = load_experiment("es-cartpole", overrides).config
    seed = child(seed_sequence(config.seed, "runner"), "source")
    given = build_source(config.source, build_family("cartpole", {"horizon": 20}), seed).ask(20)

    def trained_on(*held_out):
        parts = build_parts(config)
        vars(parts.held_out)["specs"] = list(held_out)
        try:
            parts.runner.iterate()
            return [task_key(record.spec) for record in parts.runner.records()]
        finally:
            parts.runner.close()

    first, second, *_ = map(task_key, given)
    met = trained_on()
    assert met[:2] == [first, second]
    assert trained_on(given[1])[:2] == [first, task_key(given[2])]
    with pytest.raises(UserError, match="source and held-out set both hold task"):
        trained_on(*given[:3])

"""Runs on curricula: tasks that are only scored, resuming, what is archived."""

import json

import pytest

from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.records import read_lines
from agents.training.run import RunDirectory
from registry.errors import UserError
from taskgen.archive import Archive
from tests.agents.training.test_loop import QUICK, Quiet, digest

GRID = (
    *("family=grid-navigation", 'evaluation.players=["random"]'),
    *("evaluation.source=domain-randomization", "evaluation.same_tasks=true"),  # there are few goals
)


def curriculum_run(path, name, *overrides, iterations=8):
    """Four tasks an iteration, a buffer that is full enough after two."""
    source = f"source={{name='{name}', capacity=16, minimum_fill=0.5, replay=1.0}}"
    settings = [*QUICK, *GRID, source, "training.tasks=4", f"training.iterations={iterations}", *overrides]
    plan = load_experiment("rl2-bandit", [*settings, "training.evaluate_every=0"])
    run = RunDirectory(path)
    run.create(plan)
    return plan, run


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        ("plr", [True] * 8),
        ("robust-plr", [False, False, True, True, True, True, True, True]),
        ("accel", [False, False, True, False, True, False, True, False]),
    ],
)
def test_tasks_that_are_only_scored_give_no_gradient(tmp_path, monkeypatch, name, learned):
    """`learn` is never called in rounds of new or edited tasks; the agent plans for the other rounds alone."""
    from agents.rl2 import RL2

    plan, run = curriculum_run(tmp_path / name, name, "training.checkpoint_every=1")
    calls, parameters, learn = [], [], RL2.learn
    monkeypatch.setattr(RL2, "learn", lambda self, trial: calls.append(len(trial.specs)) or learn(self, trial))

    class Watching(Quiet):
        def iteration(self, done, total, metrics):
            super().iteration(done, total, metrics)
            parameters.append("losses/policy_loss" in metrics)

    assert train(plan, run, Watching())
    assert parameters == learned
    assert calls == [4] * sum(learned)
    from agents.training.experiment import build_parts

    planned = build_parts(plan.config).problem.updates
    assert planned == {"plr": 8, "robust-plr": 6, "accel": 3}[name]


def test_parameters_are_the_same_bytes_after_a_round_without_gradient(tmp_path):
    plan, run = curriculum_run(tmp_path / "run", "robust-plr", "training.checkpoint_every=1")
    states = []
    for stop in (1, 2, 3):
        assert not train(plan, run, Quiet(stop))
        states.append({name: value.clone() for name, value in run.restore()["agent"]["model"].items()})
    (first, second, third) = states
    assert all(bool((first[name] == second[name]).all()) for name in first)
    assert any(bool((second[name] != third[name]).any()) for name in first)


@pytest.mark.parametrize("name", ["plr", "accel"])
def test_a_curriculum_resumes_to_the_byte(tmp_path, name):
    plan, whole = curriculum_run(tmp_path / "whole", name)
    assert train(plan, whole, Quiet())
    _, cut = curriculum_run(tmp_path / "cut", name)
    for stop in (3, 4, 7):
        assert not train(cut.open(), cut, Quiet(stop))
    assert train(cut.open(), cut, Quiet())
    assert digest(cut) == digest(whole)


def test_learnability_of_single_episodes_is_refused_before_the_run(tmp_path):
    plan, run = curriculum_run(tmp_path / "run", "plr", "training.episodes=1")
    with pytest.raises(UserError, match=r"learnability.*training.episodes = 1"):
        train(plan, run, Quiet())


def test_what_a_curriculum_found_worth_a_look_is_archived_with_its_ancestors(tmp_path):
    plan, run = curriculum_run(tmp_path / "run", "accel", "training.checkpoint_every=4", iterations=12)
    assert train(plan, run, Quiet())
    lines = [json.loads(line) for line in (run.path / "highlights.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4, 8, 12]
    kinds = lines[-1]["highlights"]
    assert list(kinds) == ["easiest", "hardest", "most replayed"]
    with Archive(run.archive) as archive:
        records = [archive.get(id_) for ids in kinds.values() for id_ in ids]
        for record in records:
            assert {"learnability", "return", "replays"} <= set(record.scores)
            line = archive.lineage(record.spec.id)
            assert [one.generation for one in line] == list(range(record.generation, -1, -1))
            if record.split is None:  # what was in the first iteration's sample keeps the name it has there
                assert record.generator == ("builtin/accel" if record.parents else "builtin/domain-randomization")
        assert any(record.generation for record in records)
        assert archive.check() == []
        assert archive.marks()["highlights.jsonl"] == (12, "")


def test_an_archive_of_elites_is_kept_and_resumes_to_the_byte(tmp_path):
    elites = "source={name='quality-diversity', measures=['goal'], cells=6, initial=8, replay=0.5}"
    settings = (elites, "training.checkpoint_every=4")
    plan, whole = curriculum_run(tmp_path / "whole", "plr", *settings)
    assert train(plan, whole, Quiet())
    _, cut = curriculum_run(tmp_path / "cut", "plr", *settings)
    assert not train(cut.open(), cut, Quiet(3))
    assert train(cut.open(), cut, Quiet())
    assert digest(cut) == digest(whole)
    lines = [json.loads(line) for line in (whole.path / "highlights.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4, 8]
    kept = lines[-1]["elites"]["elites by learnability"]
    assert kept["measures"] == {"goal": [2.0, 24.0]}
    assert len(kept["places"]) == len(kept["scores"]) > 2


def test_highlights_of_a_run_that_was_cut_are_those_of_one_that_was_not(tmp_path):
    settings = "training.checkpoint_every=2"
    plan, whole = curriculum_run(tmp_path / "whole", "accel", settings)
    assert train(plan, whole, Quiet())
    _, cut = curriculum_run(tmp_path / "cut", "accel", settings)
    assert not train(cut.open(), cut, Quiet(5))  # a checkpoint more than the other has
    assert train(cut.open(), cut, Quiet())
    lines = [
        {line["iteration"]: line["highlights"] for line in read_lines(run.path, "highlights.jsonl")}
        for run in (whole, cut)
    ]
    assert {iteration: found for iteration, found in lines[1].items() if iteration != 5} == lines[0]

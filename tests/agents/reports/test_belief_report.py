"""Beliefs in reports: how they narrow by step, and that one which tells nothing is said to, in words."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.common.belief import variance
from agents.evaluation.belief import belief_course, by_step
from agents.hyperx import HyperX, HyperXConfig
from agents.reports.belief_report import collapsed, entropy_of
from agents.reports.report import write_report
from agents.reports.results import group
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.records import read_record
from agents.training.run import RunDirectory
from taskgen.build import build_family
from taskgen.interaction.agent import CollectionPlan, Trial
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from tests.agents.reports.made_up_run import make_run
from tests.agents.training.test_loop import Quiet

FAMILY = build_family("grid-navigation", {"horizon": 5})
TINY = "hidden=[4], encoder_width=4, decoder_hidden=[4], latent=2, encoder_updates=1, encoder_trials=4, beliefs=2"


def specs(goals):
    return [FAMILY.spec({"goal": goal}, seed=seed) for seed, goal in enumerate(goals)]


def made_up(path, course, tasks, seed=0):
    """A run whose belief knew so many nats, trained on these tasks."""
    run = make_run(path, seed=seed, iterations=len(course), specs=tasks)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line, nats in zip(lines, course, strict=True):
        line["metrics"] |= {} if nats is None else {"belief/kl": nats}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


REPEATED = [8, 12, 24, 14] * 10


def test_the_entropy_of_tasks_that_repeat_is_known():
    assert entropy_of(specs(REPEATED)) == pytest.approx(math.log(4))  # whatever their seeds
    assert entropy_of(specs([8, 8, 8, 12])) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert entropy_of(specs([8, 12, 24])) is None


@pytest.mark.parametrize(
    ("course", "tasks", "said"),
    [
        (
            [0.13] * 8,
            REPEATED,
            "in the whole run the belief after a trial was less than 0.14 nats, a tenth of the 1.39",
        ),
        ([0.15] * 8, REPEATED, None),
        ([2.0] * 7 + [0.13], REPEATED, "when the run ended the belief"),
        ([0.0] * 7 + [2.0], REPEATED, None),
        ([0.09] * 8, [8, 12, 24], "less than 0.1 nats, away"),
        ([0.11] * 8, [8, 12, 24], None),
        ([None] * 8, REPEATED, None),
    ],
)
def test_a_collapsed_belief_is_named(tmp_path, course, tasks, said):
    run = made_up(tmp_path / "run", course, specs(tasks))
    found = collapsed(group([read_record(run)])[0])
    assert len(found) == (said is not None)
    write_report([run], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert ("Posterior collapse" in page) is (said is not None)
    if said is not None:
        assert said in found[0]
        assert said in page


def test_of_several_seeds_those_that_collapsed_are_named(tmp_path):
    courses = ([0.01] * 6, [2.0] * 6, [0.02] * 6)
    runs = [made_up(tmp_path / str(seed), course, specs(REPEATED), seed) for seed, course in enumerate(courses)]
    assert "with seed 0, 2 the belief" in collapsed(group([read_record(run) for run in runs])[0])[0]


def test_steps_are_counted_as_they_were_played():
    """A slot that waits has played none: rows of two slots, of which the second one's first episode is shorter."""
    rollout = _trial(episodes=2).rounds[0]
    first = replace(rollout, valid=torch.tensor([[True, True], [True, False]]))
    second = replace(rollout, valid=torch.tensor([[True, True], [False, True]]))
    trial = Trial([], [first, second], CollectionPlan(2, 1))
    values = torch.tensor([[8.0, 4.0], [6.0, 99.0], [5.0, 2.0], [99.0, 1.0]])
    assert by_step(trial, values).tolist() == [6.0, 4.0, 3.0]  # 8, 4; 6, 2; 5, 1


def _agent(**settings):
    torch.manual_seed(0)
    problem = problem_of(FAMILY, episodes=2, seed=1, device=torch.device("cpu"), updates=4)
    return HyperX(HyperXConfig(latent=2, encoder_width=4, decoder_hidden=(4,), hidden=(4,), **settings), problem)


def _trial(episodes=2):
    agent = _agent()
    trial = collect(agent, FAMILY.batch(2), specs([8, 12]), plan=agent.plan(episodes))
    rollout = trial.rounds[0]
    cut = {
        name: getattr(rollout, name)[:2]
        for name in ("observation", "action", "reward", "terminated", "truncated", "next_observation")
    }
    flags = {name: getattr(rollout, name)[:2] for name in ("episode_start", "trial_start", "episode_index", "valid")}
    return Trial(trial.specs, [replace(rollout, **cut, **flags)], trial.plan)


def test_variance_by_hand():
    belief = torch.tensor([[5.0, 5.0, 0.0, math.log(2.0)]])
    assert variance(belief).item() == pytest.approx((1 + 4) / 2)


def test_the_course_is_that_of_the_belief_and_leaves_the_agent_as_it_was():
    agent = _agent()
    state = agent.generator.get_state()
    found = belief_course(agent, FAMILY, specs([8, 12, 24]), 2)
    assert torch.equal(agent.generator.get_state(), state)
    assert found["tasks"] == 3
    assert len(found["variance"]) == 10
    assert all(0 < value < 5 for value in found["variance"])


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (f"{{name='varibad', {TINY}}}", "{name='grid-navigation', horizon=5}"),
        (
            "{name='pearl', hidden=[4], encoder_hidden=[4], batch=4, meta_batch=2, warm_up=0, latent=2}",
            "{name='point-navigation', horizon=5}",
        ),
    ],
)
def test_a_run_draws_its_belief(tmp_path, agent, family):
    quick = (
        *("training.iterations=2", "training.tasks=2", "training.episodes=2", "training.evaluate_every=0"),
        *("evaluation.tasks=4", "evaluation.final_tasks=4", "evaluation.tail=0", "evaluation.players=['random']"),
        *("evaluation.same_tasks=true", "device=cpu", f"agent={agent}", f"family={family}"),
    )
    plan = load_experiment("rl2-bandit", quick)
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    players = evaluate_run(run)["sets"]["held-out"]["players"]
    name = plan.config.agent.name.partition("/")[2]
    assert len(players[name]["belief"]["variance"]) == 10
    assert "belief" not in players["random"]
    assert len(read_record(run.path).knowledge) >= 1
    write_report([run.path], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Belief about the task" in page
    assert "Mean variance of the belief by step of the trial: from" in page


def test_agents_without_a_belief_have_no_such_part(tmp_path):
    run = make_run(tmp_path / "run")
    write_report([run], tmp_path / "r.html")
    assert "Belief about the task" not in (tmp_path / "r.html").read_text()
    assert np.size(read_record(run).knowledge) == 0

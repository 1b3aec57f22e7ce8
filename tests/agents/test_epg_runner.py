"""The runner `epg`: the same on every map and after a stop; whom it refuses; faults of public code it does not have."""

import json

import numpy as np
import pytest
import torch

import registry
from agents.epg import EPG
from agents.epg_runner import Lives, live
from agents.reports.report import write_report
from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import seed_sequence
from tests.agents.training.test_loop import Quiet, digest
from tests.taskgen.test_maps import RAY

QUICK = (
    "family.horizon=4",
    "agent={name='epg', hidden=[3], trajectories=2, pairs=2, channels=[2, 2], context_width=2, guided=2}",
    "training={iterations=4, tasks=3, episodes=6, checkpoint_every=2, evaluate_every=0}",
    "evaluation.tasks=4",
    "evaluation.final_tasks=4",
    "evaluation.out_of_distribution={}",
    "runner.unit=2",
)


def run_on(path, *changes, stops=()):
    plan = load_experiment("epg-navigation", [*QUICK, *changes])
    run = RunDirectory(path)
    run.create(plan)
    for stop in stops:
        assert not train(plan, run, Quiet(stop))
    assert train(plan, run, Quiet())
    return run


def test_stopped_and_resumed_is_identical(tmp_path):
    whole, cut = run_on(tmp_path / "whole"), run_on(tmp_path / "cut", stops=(1, 3))
    assert digest(whole) == digest(cut)
    players = evaluate_run(whole)["sets"]["held-out"]["players"]
    assert {"epg", "random"} < players.keys()
    assert len(players["epg"]["returns"]["mean"]) == 6
    metrics = [json.loads(line)["metrics"] for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["charts/steps"] for row in metrics] == [3 * 6 * 6 * 4 * turn for turn in (1, 2, 3, 4)]
    assert [row["epg/guidance"] for row in metrics] == [1.0, 0.5, 0.0, 0.0]
    write_report([whole.path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "What was learned about learning" in page
    assert "PPO from scratch at as many gradient steps" in page or "PPO from scratch for a while" in page


@pytest.mark.slow
@pytest.mark.parametrize("map_", ["processes", pytest.param("ray", marks=RAY)])
def test_every_map_gives_the_same(map_, tmp_path):
    assert digest(run_on(tmp_path / map_, f"runner.map={map_}", "runner.workers=2")) == digest(
        run_on(tmp_path / "serial")
    )


def work_of(family, tasks=2, seed=3, **agent):
    """Lives by a new loss on tasks as the family's usual source draws them."""
    settings = {
        "hidden": [3],
        "trajectories": 2,
        "pairs": 1,
        "channels": [2, 2],
        "context_width": 2,
        "loss_width": 2,
        **agent,
    }
    part = Part.model_validate({"name": "epg", **settings})
    specs = build_source(Part(name="domain-randomization"), family, seed_sequence(seed, "tasks")).ask(tasks)
    problem = problem_of(family, episodes=4, seed=seed, device=torch.device("cpu"), example=specs[0])
    state = build_agent(part, problem).state_dict()
    texts = tuple(spec.to_json() for spec in specs)
    return Lives(part, state, texts, tuple(range(tasks)), seed, 4, "cpu")


def test_members_meet_the_same_task_and_luck():
    """A goal far away on a floor without walls, and losses that do nothing: all members earn the same up to a draw."""
    work = work_of(build_family("signal-noise-chain", {"horizon": 4}), pairs=2)
    lived = live(work)
    assert lived.outcome.member.tolist() == [*range(6)] * 2
    earned = lived.outcome.earned.view(2, 6)
    torch.testing.assert_close(earned, earned[:, :1].expand(2, 6))  # the chain's luck is all that decides
    assert earned[0, 0] != earned[1, 0]
    assert lived.steps == 2 * 6 * 4 * 4


def test_a_unit_is_a_function_of_what_it_is_given():
    work = work_of(build_family("point-navigation", {"horizon": 4}))
    one, other = live(work), live(work)
    assert torch.equal(one.outcome.score, other.outcome.score)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the state that a unit must not look at
    assert torch.equal(live(work).outcome.score, one.outcome.score)


def test_whom_the_runner_refuses():
    with pytest.raises(UserError, match="evolves the loss of agent epg, not of"):
        build_parts(load_experiment("epg-navigation", [*QUICK[2:], "agent={name='ppo'}"]).config)
    with pytest.raises(UserError, match="does not say how tasks went"):
        build_parts(load_experiment("epg-navigation", [*QUICK, "source={name='plr'}"]).config)


def test_units_that_fail_stop_the_run_by_name(monkeypatch, tmp_path):
    def fails(_work):
        raise RuntimeError("no such wall")

    monkeypatch.setattr("agents.epg_runner.live", fails)
    with pytest.raises(UserError, match="RuntimeError: no such wall"):
        run_on(tmp_path / "run")


HOPPER = {"mass": 0.7, "gravity": 12.0, "friction": 1.6, "thickness": 1.2}
"""What the paper's RandomHopper varies."""


def test_not_here_the_random_hopper_that_cannot_be_built():
    """The release's RandomHopper passes arguments that its base does not take: `TypeError` at the first task."""
    family = build_family("hopper", {"horizon": 3})
    spec = family.spec(HOPPER, seed=1)
    agent = build_agent(
        Part.model_validate({"name": "epg", "hidden": [3], "trajectories": 1, "pairs": 1}),
        problem_of(family, episodes=2, seed=1, device=torch.device("cpu")),
    )
    trial = collect(agent, family.batch(4), [spec] * 4, plan=agent.plan(2))
    assert trial.episode_returns().isfinite().all()


def test_not_here_a_task_that_its_seed_does_not_fix():
    """The release draws the physics from an unseeded generator before it seeds the environment."""
    family = build_family("hopper", {"horizon": 3})
    drawn = []
    for state in (1, 2):
        np.random.seed(state)  # noqa: NPY002 - the state that the release draws by
        torch.manual_seed(state)
        specs = build_source(Part(name="domain-randomization"), family, seed_sequence(7, "source")).ask(2)
        batch = family.batch(2)
        batch.set_tasks(specs)
        batch.reset()
        drawn.append((specs, batch.step(torch.zeros(2, 3)).observation))
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][0][0].context != drawn[0][0][1].context
    assert torch.equal(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize("family", ["hopper", "half-cheetah"])
def test_not_here_a_direction_that_is_always_the_same(family):
    """The release's `randint(0, 1)` and `randint(1, 2)` are constants: always backward, always forward."""
    tasks = build_family(family, {"task": "direction"})
    specs = build_source(Part(name="domain-randomization"), tasks, seed_sequence(0, "source")).ask(20)
    found = {spec.context["direction"] for spec in specs}
    assert len(found) == 2


@pytest.mark.parametrize("family", ["point-navigation", "grid-navigation"])
def test_not_here_first_policies_that_one_kind_of_action_cannot_have(family):
    """The release cannot evolve where policies of continuous actions start (`_pi` for `pi`)."""
    work = work_of(build_family(family, {"horizon": 4}))
    outcome = live(work).outcome
    assert outcome.score.isfinite().all()
    assert not outcome.failed.any()


def test_not_here_a_run_that_needs_two_processes(tmp_path):
    """The release refuses a single MPI process; one process with a single pair on one task is a run here."""
    run = run_on(tmp_path / "run", "agent.pairs=1", "training.tasks=1", "training.iterations=1", "runner.map=serial")
    assert isinstance(build_parts(load_experiment("epg-navigation", QUICK).config).agent, EPG)
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 1


def test_it_is_registered_by_the_agents_side():
    item = registry.catalogue().get("runners", "epg")
    assert item.entry.target.startswith("agents.")

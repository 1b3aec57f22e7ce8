"""Evolution strategies: members and updates by hand; what plays when; episodes."""

import json
import math
import pickle

import pytest
import torch

from agents.evaluation.play import play
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Explores, judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from tests.agents.training.test_loop import Quiet, digest


def _agent(family="point-navigation", episodes=8, seed=1, **settings):
    tasks = build_family(family, {"horizon": 6})
    problem = problem_of(tasks, episodes=episodes, seed=seed, device=torch.device("cpu"))
    return build_agent(Part.model_validate({"name": "es", "hidden": (5,), **settings}), problem), tasks


def _trial(agent, family, tasks=2, episodes=8, seed=0):
    specs = [family.spec(seed=seed + task) for task in range(tasks)]
    return collect(agent, family.batch(tasks * episodes), specs, plan=agent.plan(episodes))


def _paid(trial, returns):
    """The trial with its rewards replaced so that episodes return `returns` [episodes, tasks]."""
    rollout = trial.rounds[0]
    rollout.reward.zero_()
    rollout.reward[0] = torch.as_tensor(returns, dtype=torch.float32).T.flatten()
    return trial


def test_members_are_antithetic():
    agent, _ = _agent()
    members, eps = agent.members(), agent.perturbations()
    assert members.shape == (9, len(agent.parameters))
    torch.testing.assert_close(members[:4] - agent.parameters, 0.1 * eps, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(members[:4] + members[4:8], 2 * agent.parameters.expand(4, -1))
    assert torch.equal(members[8], agent.parameters)


def test_swapped_returns_point_the_other_way():
    agent, family = _agent(l2=0.0)
    state = {**agent.state_dict()}
    start = agent.parameters.clone()
    returns = torch.arange(8.0)[:, None].expand(8, 2)
    agent.learn(_paid(_trial(agent, family), returns))
    there = agent.parameters - start
    agent.load_state_dict(state)
    agent.learn(_paid(_trial(agent, family), returns.roll(4, 0)))
    torch.testing.assert_close(agent.parameters - start, -there, atol=1e-7, rtol=1e-5)


def test_one_update_by_hand():
    """Adam's first step is the learning rate times the sign of the slope."""
    agent, family = _agent(l2=0.5)
    returns = torch.tensor([[8.0, 10.0], [7.0, 30.0], [6, 20], [5, 0], [4, 1], [3, 2], [2, 3], [1, 4]])
    ranks = [torch.tensor([7.0, 6, 5, 4, 3, 2, 1, 0]), torch.tensor([5.0, 7, 6, 0, 1, 2, 3, 4])]
    utility = (ranks[0] + ranks[1]) / 14 - 0.5
    eps, start = agent.perturbations(), agent.parameters
    slope = 0.5 * start - (utility[:4] - utility[4:]) @ eps / (4 * 0.1)
    metrics = agent.learn(_paid(_trial(agent, family), returns))
    torch.testing.assert_close(agent.parameters, start - 0.01 * slope.sign(), atol=1e-6, rtol=1e-5)
    assert metrics["losses/gradient_norm"] == pytest.approx(float((slope - 0.5 * start).norm()), rel=1e-4)


def test_equal_returns_leave_the_weights_but_for_their_decay():
    agent, family = _agent(l2=0.0)
    before = agent.parameters
    agent.learn(_paid(_trial(agent, family), torch.full((8, 2), 500.0)))
    assert torch.equal(agent.parameters, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_member_that_failed_counts_as_the_worst(bad):
    updated = []
    for worst in (bad, -1e6):
        agent, family = _agent()
        returns = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
        returns[3, 0] = worst
        metrics = agent.learn(_paid(_trial(agent, family), returns))
        updated.append(agent.parameters)
        assert metrics["charts/failed_members"] == float(not math.isfinite(worst))
        assert all(math.isfinite(value) for value in metrics.values())
    assert torch.equal(*updated)
    assert updated[0].isfinite().all()


def test_rates_decay_to_their_least():
    settings = {"learning_rate": 0.1, "learning_rate_decay": 0.5, "least_learning_rate": 0.03}
    agent, family = _agent(**settings, noise=1.0, noise_decay=0.1, least_noise=0.05)
    seen = []
    for _ in range(4):
        seen.append((agent.learning_rate, agent.noise))
        agent.learn(_trial(agent, family))
    assert seen == [(0.1, 1.0), (0.05, 0.1), (0.03, 0.05), (0.03, 0.05)]


def test_rates_below_their_least_stay():
    agent, family = _agent(learning_rate=1e-4, noise=0.002)
    agent.learn(_trial(agent, family))
    assert (agent.learning_rate, agent.noise) == (1e-4, 0.002)  # not 0.001 and 0.01, the least of those that decay


def test_adopting_other_weights_begins_the_optimiser_anew():
    agent, family = _agent(learning_rate_decay=0.5, noise_decay=0.5)
    for _ in range(2):
        agent.learn(_trial(agent, family))
    noise = agent.perturbations()
    others = torch.linspace(-1, 1, len(agent.parameters))
    other, _ = _agent(seed=3)
    other.parameters = others
    agent.adopt(other)
    state = agent.state_dict()
    assert torch.equal(state["parameters"], others)
    assert (state["learning_rate"], state["noise"], state["steps"]) == (0.01, 0.1, 0)
    assert not any(moment.any() for moment in state["moments"])
    assert torch.equal(agent.perturbations(), noise)  # the noise stream goes on
    agent.learn(_trial(agent, family))
    steps = (agent.parameters - others).abs()  # Adam's first
    torch.testing.assert_close(steps, torch.full_like(steps, 0.01), atol=1e-4, rtol=0)
    others.zero_()  # a copy was taken
    assert agent.parameters.any()
    with pytest.raises(ValueError, match="parameters for a policy of"):
        agent.adopt(_agent(hidden=(6,))[0])


def test_every_update_has_noise_of_its_own_and_every_seed():
    agent, family = _agent()
    first = agent.perturbations()
    assert torch.equal(first, agent.perturbations())
    agent.learn(_trial(agent, family))
    assert not torch.equal(first, agent.perturbations())
    assert not torch.equal(first, _agent(seed=2)[0].perturbations())


def test_the_weights_themselves_play_when_judged():
    agent, family = _agent()
    assert isinstance(agent, Explores)
    same = agent.begin_trial(1)
    assert same.shape == (1, 0)
    frozen = _trial(agent.frozen(), family).rollout.action.view(-1, 2, 8, 2)
    training = _trial(agent, family).rollout.action.view(-1, 2, 8, 2)
    assert (frozen[0] == frozen[0][:, :1]).all()  # the first observation is the same in all places
    assert not (training[0][:, 0] == training[0][:, 1]).all()
    more = _trial(agent, family, episodes=9).rollout.action.view(-1, 2, 9, 2)
    assert torch.equal(more[:, :, :8], training)
    torch.testing.assert_close(more[0][:, 8], frozen[0][:, 0])
    other = _trial(agent, family, episodes=3).rollout.action.view(-1, 2, 3, 2)
    torch.testing.assert_close(other[0], frozen[0][:, :3])


def test_evaluation_is_frozen_and_leaves_the_agent_as_it_was():
    agent, family = _agent()
    specs = [family.spec(seed=seed) for seed in range(3)]
    before = agent.members()
    returns = play(agent, family, specs, 8)
    assert (returns == returns[:1]).all()  # the walls are still and the start is fixed: episodes of theta are alike
    assert torch.equal(agent.members(), before)
    assert judged(agent).pairs == 0
    with pytest.raises(UserError, match="pairs learn from trials of"):
        agent.learn(_trial(agent, family, episodes=5))


def test_an_episode_that_ended_early_waits():
    agent, _ = _agent("cartpole", episodes=8)
    trial = _trial(agent, build_family("cartpole"))
    valid = trial.rollout.valid
    assert not valid.all()
    lengths = valid.sum(0).view(2, 8).T.float()
    assert torch.equal(trial.episode_returns(), lengths)  # a step pays 1


def test_tasks_are_rows_of_their_own():
    """What members do on a task does not depend on the other tasks, and every task meets the same members."""
    agent, family = _agent("cartpole")
    one, two = (_trial(agent, family, tasks=tasks).rollout for tasks in (1, 2))
    steps = min(len(one.reward), len(two.reward))
    assert torch.equal(one.action[:steps], two.action[:steps, :8])
    specs = [family.spec(seed=0)] * 2
    twice = collect(agent, family.batch(16), specs, plan=agent.plan(8)).rollout.action
    assert torch.equal(twice[:, :8], twice[:, 8:])


def test_a_restored_agent_goes_on_identically():
    agent, family = _agent(normalise=True)
    for _ in range(3):
        agent.learn(_trial(agent, family))
    restored, _ = _agent(seed=5, normalise=True)
    restored.load_state_dict(pickle.loads(pickle.dumps(agent.state_dict())))
    for turn in range(3):
        one, other = (_trial(player, family, seed=turn) for player in (agent, restored))
        assert torch.equal(one.rollout.action, other.rollout.action)
        assert agent.learn(one) == restored.learn(other)
    assert torch.equal(agent.parameters, restored.parameters)


def test_observations_may_be_standardised():
    agent, family = _agent(normalise=True)
    trial = _trial(agent, family)
    agent.learn(trial)
    seen = trial.rollout.observation.flatten(0, 1)
    torch.testing.assert_close(agent.state_dict()["normalizer"]["mean"], seen.mean(0), atol=1e-5, rtol=1e-5)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="parameters for a policy of"):
        _agent(hidden=(6,))[0].load_state_dict(_agent()[0].state_dict())


QUICK = (
    "family.horizon=5",
    "agent.hidden=[4]",
    "training.iterations=4",
    "training.tasks=2",
    "training.episodes=6",
    "training.checkpoint_every=2",
    "evaluation.tasks=4",
    "evaluation.final_tasks=6",
)


@pytest.mark.parametrize("name", ["es-cartpole", "es-walker"])
def test_stopped_and_resumed_is_identical(name, tmp_path):
    plan = load_experiment(name, QUICK)
    runs = [RunDirectory(tmp_path / which) for which in ("whole", "cut")]
    for run in runs:
        run.create(plan)
    assert train(plan, runs[0], Quiet())
    for stop in (1, 3):
        assert not train(plan, runs[1], Quiet(stop))
    assert train(plan, runs[1], Quiet())
    assert digest(runs[0]) == digest(runs[1])
    summary = evaluate_run(runs[0])
    assert len(summary["sets"]["held-out"]["players"]["es"]["returns"]["mean"]) == 1
    assert json.loads((runs[0].path / "evaluation.json").read_text())["episodes"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_to_balance(seed, tmp_path):
    """Poles of many kinds: a beginner holds them for 10 to 50 of 500 steps."""
    plan = load_experiment("es-cartpole", (f"seed={seed}", "evaluation.final_tasks=100"))
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    players = evaluate_run(run)["sets"]["held-out"]["players"]
    assert players["es"]["trial"]["low"] > 400 > 100 > players["random"]["trial"]["high"]

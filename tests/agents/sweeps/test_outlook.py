"""`taskgen plan`: what is said of a run before it begins, and that nothing comes of saying it."""

import json

import pytest
import torch

import agents.sweeps.outlook
from agents.evaluation.carry import size
from agents.sweeps.outlook import MEBIBYTE, PROBED, outlook
from agents.training.experiment import build_parts, load_experiment
from registry.cli import main
from registry.errors import UserError
from tests.agents.training.test_loop import QUICK


def planned(*overrides, name="rl2-bandit", **how):
    return outlook(load_experiment(name, [*QUICK, *overrides]), **how)


def test_steps_episodes_and_parts():
    found = outlook(
        load_experiment("rl2-bandit", [*QUICK, "evaluation.tail=0", 'agent={name="rl2", learning_rate=0.004}'])
    )
    assert found.steps == 6 * 8 * 3
    assert found.evaluation_episodes == 3 * 16 * 3 + 32 * 3  # every second iteration, and the last evaluation
    assert found.iteration == {"tasks": 8, "episodes": 3, "horizon": 1}
    assert found.parts["agent"] == "rl2(network=gru(hidden_size=64), learning_rate=0.004)"
    assert found.parts["reference players"] == "random, greedy"
    assert found.budget == {"iterations": 6}
    assert found.probe is None


def test_evaluations_with_a_tail_other_sets_and_a_length_of_their_own():
    easy = '{name="domain-randomization", vary={probabilities={kind="uniform", low=0.9, high=1.0}}}'
    other = planned(f"evaluation.out_of_distribution.easy={easy}", "evaluation.episodes=5", "training.evaluate_every=4")
    assert other.evaluation_episodes == 2 * 16 * 3 + (64 + 16) * 5
    assert planned("training.evaluate_every=0", "evaluation.tail=0").evaluation_episodes == 16 * 3 + 32 * 3
    assert other.parts["easy"].startswith("domain-randomization(vary=")


def test_memory_is_that_of_the_agent_and_of_its_trials():
    memory = planned("training.tasks=100").memory
    agent = build_parts(load_experiment("rl2-bandit", QUICK).config).player
    state = sum(each.numel() * each.element_size() for each in _tensors(agent.state_dict()))
    assert memory.parameters == pytest.approx(state / MEBIBYTE)
    agent_carry = agent.begin_trial(100)  # a GRU's does not grow
    assert memory.carry == pytest.approx(size(agent_carry) / MEBIBYTE)
    assert planned("training.tasks=300").memory.batch == pytest.approx(3 * memory.batch)
    assert planned("training.tasks=100", "family.pulls=4").memory.batch == pytest.approx(4 * memory.batch, rel=0.01)
    more = planned("training.tasks=100", "training.episodes=6").memory.batch
    assert more == pytest.approx(2 * memory.batch, rel=0.01)


def _tensors(tree):
    if isinstance(tree, torch.Tensor):
        yield tree
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ():
        yield from _tensors(inner)


def test_episodes_side_by_side_are_weighed_as_such():
    settings = ["agent.trajectories=4", "training.tasks=2", "training.episodes=8", "training.iterations=3"]
    found = outlook(load_experiment("maml-navigation", [*settings, "family.horizon=7"]))
    twice = outlook(load_experiment("maml-navigation", [*settings, "family.horizon=14"]))
    assert found.steps == 3 * 2 * 8 * 7
    assert twice.memory.batch == pytest.approx(2 * found.memory.batch, rel=0.01)


@pytest.mark.parametrize(("budget", "steps"), [("steps=100", 100 + 23), ("minutes=3", None)])
def test_other_budgets(budget, steps):
    found = outlook(load_experiment("rl2-bandit", [*(w for w in QUICK if "iterations" not in w), f"training.{budget}"]))
    assert found.steps == steps
    assert found.evaluation_episodes is None
    words = [*(w for w in QUICK if "iterations" not in w), f"training.{budget}", "evaluation.tail=0"]
    at_the_end = outlook(load_experiment("rl2-bandit", [*words, "training.evaluate_every=0"]))
    assert at_the_end.evaluation_episodes == 16 * 3 + 32 * 3


def test_a_runner_decides_about_steps():
    found = outlook(load_experiment("poet-cartpole"))
    assert found.steps is None
    assert found.parts["runner"].startswith("poet(")


@pytest.mark.parametrize(
    ("episodes", "said"), [(10, r"\(agent.trajectories\): ask for 8 or 12"), (4, "Set .* at least 8")]
)
def test_trials_that_training_would_refuse_are_refused(episodes, said):
    with pytest.raises(UserError, match=f"training.episodes = {episodes}: .*{said}"):
        outlook(load_experiment("epg-navigation", [f"training.episodes={episodes}"]))


def test_an_agent_that_would_be_judged_on_its_training_tasks_is_refused():
    with pytest.raises(UserError, match=r"both hold task .*evaluation.same_tasks=true"):
        planned("family=bus", "evaluation.players=[]")


def test_nothing_is_trained_or_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agents.sweeps.outlook, "train", None)
    assert main(["plan", "rl2-bandit", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "environment steps:   144 at most" in said
    assert "not known before it is tried: --probe" in said
    assert list(tmp_path.iterdir()) == []


def test_a_probe_says_how_long_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agents.sweeps.outlook, "PROBE_SECONDS", 0.0)
    words = ["training.iterations=1000", "trackers=[]", "evaluation.tail=0"]
    assert main(["plan", "rl2-bandit", *QUICK, *words, "--probe", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    probe = found["probe"]
    assert probe["iterations"] == PROBED[0]
    assert probe["steps"] == 24
    assert probe["training"] == pytest.approx(1000 * probe["seconds"])
    assert 0 < probe["evaluations"] < found["evaluation_episodes"] / 24 * probe["seconds"]
    assert probe["resident"] > 50
    assert list(tmp_path.iterdir()) == []


def test_a_probe_of_a_run_by_steps_and_of_a_short_one(monkeypatch):
    monkeypatch.setattr(agents.sweeps.outlook, "PROBE_SECONDS", 0.0)
    by_steps = [word for word in QUICK if "iterations" not in word]
    probe = outlook(load_experiment("rl2-bandit", [*by_steps, "training.steps=2400"]), probe=True).probe
    assert probe.training == pytest.approx(100 * probe.seconds)
    assert planned("training.iterations=2", probe=True).probe.iterations == 2
    clocked = outlook(load_experiment("rl2-bandit", [*by_steps, "training.minutes=7"]), probe=True).probe
    assert clocked.training == 420

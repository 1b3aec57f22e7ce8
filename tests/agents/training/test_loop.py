"""Training runs end to end, tiny: reproducible to the byte, resumable at any iteration, honest about their tasks."""

import hashlib
import json

import pytest

from agents.common.optimiser import Adam
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run, player_label
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.tree import not_finite
from registry.errors import ConfigError, UserError
from taskgen.archive import Archive

QUICK = (
    "agent.network.hidden_size=8",
    "training.iterations=6",
    "training.tasks=8",
    "training.episodes=3",
    "training.evaluate_every=2",
    "training.checkpoint_every=2",
    "evaluation.tasks=16",
    "evaluation.final_tasks=32",
    'evaluation.players=["random", "greedy"]',
)


class Quiet:
    """Asks to stop after `stop_after` iterations."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.done = 0

    def iteration(self, done, total, metrics):
        self.done = done

    def say(self, text):
        pass

    def stop_requested(self):
        return self.stop_after is not None and self.done >= self.stop_after


def start(path, *overrides):
    plan = load_experiment("rl2-bandit", [*QUICK, *overrides])
    run = RunDirectory(path)
    run.create(plan)
    return plan, run


def digest(run):
    """Of the newest checkpoint's files."""
    newest = max(run.checkpoints.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(newest.iterdir())}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    plan, run = start(tmp_path_factory.mktemp("run") / "whole")
    assert train(plan, run, Quiet())
    return run


def test_same_seed_same_bytes_other_seed_other_bytes(finished, tmp_path):
    for name, seed, same in (("again", 0, True), ("other", 1, False)):
        plan, run = start(tmp_path / name, f"seed={seed}")
        train(plan, run, Quiet())
        assert (digest(run) == digest(finished)) == same


@pytest.mark.parametrize("stops", [(1,), (2, 3), (5,)])
def test_stopped_and_resumed_is_identical(finished, tmp_path, stops):
    plan, run = start(tmp_path / "cut")
    for stop in stops:
        assert not train(plan, run, Quiet(stop))
    assert train(run.open(), run, Quiet())
    assert digest(run) == digest(finished)
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    evaluations = [json.loads(line)["iteration"] for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert evaluations == [2, 4, 6]


def test_run_directory_holds_what_it_says(finished):
    assert load_experiment(str(finished.config)).config == finished.open().config
    assert len(list(finished.checkpoints.iterdir())) == 2
    with Archive(finished.archive) as archive:
        assert archive.splits() == {"train": 8, "held-out": 16}
    provenance = json.loads((finished.path / "provenance.json").read_text())
    assert provenance["parts"]["builtin/rl2"]["kind"] == "agents"


def test_evaluation_is_repeatable_and_beside_players(finished):
    first, second = evaluate_run(finished), evaluate_run(finished)
    assert first == second
    players = first["sets"]["held-out"]["players"]
    assert set(players) == {"rl2", "random", "greedy"}
    assert len(players["rl2"]["returns"]["mean"]) == 3
    assert first["tasks"] == 32
    stored = json.loads((finished.path / "evaluation.json").read_text())
    assert {key: value for key, value in stored.items() if key not in ("digest", "returns_sha256", "run")} == first


def test_more_episodes_than_in_training(finished):
    summary = evaluate_run(finished, episodes=7, with_players=False)
    assert len(summary["sets"]["held-out"]["players"]["rl2"]["returns"]["mean"]) == 7


def test_out_of_distribution_sets_are_evaluated(tmp_path):
    easy = '{name="domain-randomization", vary={probabilities={kind="uniform", low=0.9, high=1.0}}}'
    plan, run = start(tmp_path / "ood", f"evaluation.out_of_distribution.easy={easy}", "training.iterations=1")
    train(plan, run, Quiet())
    sets = evaluate_run(run)["sets"]
    assert sets["easy"]["players"]["random"]["trial"]["mean"] > 2.5  # 3 pulls of arms at 0.95
    assert sets["held-out"]["players"]["random"]["trial"]["mean"] < 2.5


def test_training_on_held_out_tasks_is_refused(tmp_path):
    from taskgen.build import build_family
    from taskgen.taskset import TaskSet

    family = build_family("bandit")
    path = tmp_path / "tasks.jsonl"
    TaskSet(tuple(family.spec(seed=seed) for seed in range(40))).write(path)
    plan, run = start(tmp_path / "run", f"source={{name='task-set', path='{path}'}}")
    with pytest.raises(UserError, match=r"both hold task .*evaluation.source"):
        train(plan, run, Quiet())


@pytest.mark.parametrize(
    ("rate", "what"),
    [
        (1e30, r"losses/policy_loss = nan"),
        (30.0, r"losses/approx_kl = [\d.e+]+ > 3, which is training.largest_kl"),
    ],
)
def test_a_diverging_update_stops_the_run_before_its_checkpoint(tmp_path, monkeypatch, rate, what):
    """The learning rate is absurd from the third iteration on, after a good checkpoint."""
    plan, run = start(tmp_path / "run", "training.checkpoint_every=1")
    assert not train(plan, run, Quiet(2))
    monkeypatch.setattr("agents.rl2.annealed", lambda first, final, left: rate)
    with pytest.raises(UserError, match=rf"diverged at iteration \d.*{what}.*losses/entropy = .*Train anew") as caught:
        train(plan, run, Quiet())
    offending = int(str(caught.value).split("iteration ")[1].split(":")[0])
    newest = max(run.checkpoints.iterdir())
    assert f"{newest} is from before it" in str(caught.value)
    assert 2 <= int(newest.name) < offending
    assert not list(not_finite(run.restore()))
    assert evaluate_run(run, with_players=False)["iteration"] == int(newest.name)


@pytest.mark.parametrize("due", ["checkpoint_every", "evaluate_every"])
def test_an_agent_that_its_last_update_broke_is_neither_kept_nor_judged(tmp_path, monkeypatch, due):
    """Figures of an update are from before its step: they can be fine when the agent that it leaves is not."""
    import torch

    descended = Adam.step

    def step(self):
        descended(self)
        self.param_groups[0]["params"][0].data[0] = torch.inf

    monkeypatch.setattr(Adam, "step", step)
    settings = ["agent.epochs=1", "agent.minibatches=1", "training.checkpoint_every=9", "training.evaluate_every=9"]
    plan, run = start(tmp_path / "run", *settings, f"training.{due}=1")
    broken = (
        r"diverged at iteration 1: /model/\S+ of the agent's state is not finite \(losses/policy_loss = .*no checkpoint"
    )
    with pytest.raises(UserError, match=broken):
        train(plan, run, Quiet())
    assert not run.checkpoints.exists()
    assert not (run.path / "evaluations.jsonl").exists()


def test_every_problem_of_a_plan_at_once():
    with pytest.raises(ConfigError) as caught:
        load_experiment("rl2-bandit", ["agent.learning_rat=1", "family.arms=0", "training.iterations=0", "seeed=3"])
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError) as caught:
        load_experiment("rl2-bandit", ["agent.learning_rat=1", "family.arms=0", "agent.network.name=gruu"])
    text = str(caught.value)
    assert "learning_rate" in text
    assert "family.arms = 0" in text


def test_misfit_is_refused_before_the_run():
    with pytest.raises(ConfigError, match="psrl .* needs tabular-mdp"):
        load_experiment("rl2-bandit", ['evaluation.players=["psrl"]'])


def test_unknown_device_is_named(tmp_path):
    plan, run = start(tmp_path / "run", "device=tpu")
    with pytest.raises(UserError, match="device = 'tpu'"):
        train(plan, run, Quiet())


def test_the_familys_own_return_is_the_mean_over_all_rounds():
    from dataclasses import replace

    import torch

    from agents.training.loop import trial_metrics
    from registry.config import Part
    from taskgen.build import build_family
    from taskgen.interaction.build import build_agent, problem_of
    from taskgen.interaction.collect import collect

    family = build_family("bandit")
    problem = problem_of(family, episodes=4, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate({"name": "maml", "trajectories": 2}), problem)
    specs = [family.spec({"probabilities": [p] * 5}, seed=1) for p in (0.0, 1.0)]
    trial = collect(agent, family.batch(4), specs, plan=agent.plan(4))
    assert "tasks/family_return" not in trial_metrics(trial)
    own = [replace(rollout, family_reward=rollout.reward + 3.0 * n) for n, rollout in enumerate(trial.rounds)]
    metrics = trial_metrics(replace(trial, rounds=own))
    assert metrics["tasks/family_return"] == metrics["charts/episodic_return"] + 1.5 == 2.0


def test_players_of_one_name_are_told_apart():
    plan = load_experiment("rl2-bandit", ['evaluation.players=["ucb1", {name="ucb1", exploration=0.7}]'])
    assert [player_label(part) for part in plan.config.evaluation.players] == ["ucb1", "ucb1(exploration=0.7)"]

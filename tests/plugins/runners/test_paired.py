"""PAIRED on mazes of 3 x 3 cells: its payments by hand, who learns from what, and what a run leaves behind."""

import copy
import json

import pytest
import torch

from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import CheckpointError, ConfigError, UserError
from taskgen.interaction.agent import Action, CollectionPlan

LEFT, RIGHT, FORWARD = 0, 1, 2
QUICK = (
    "family.size=3",
    "family.view=3",
    "family.horizon=4",
    "agent.network.hidden_size=8",
    "runner.teacher={name='ppo', hidden=[8]}",
    "runner.design.placements=5",
    "training.iterations=6",
    "training.tasks=8",
    "training.episodes=2",
    "training.evaluate_every=3",
    "training.checkpoint_every=2",
    "source.most_walls=3",
    "evaluation.tasks=8",
    "evaluation.final_tasks=8",
)


class Scripted:
    """Plays `script` over and over, the same in every slot; remembers what it was to learn from."""

    needs_descriptor = False

    def __init__(self, *script):
        self.script = script
        self.learned = []

    def plan(self, episodes):
        return CollectionPlan(1, episodes)

    def begin_trial(self, batch):
        return 0

    def act(self, carry, step):
        action = torch.full((len(step.previous_reward),), self.script[carry % len(self.script)])
        return Action(action, {"nothing": torch.zeros(len(action))}), carry + 1

    def adapt(self, carry, rollout):
        return carry

    def learn(self, trial):
        self.learned.append(trial)
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def runner(name="paired-maze", *overrides):
    return build_parts(load_experiment(name, [*QUICK, *overrides]).config).runner


def scripted(teacher, protagonist, antagonist, *overrides, name="paired-maze"):
    game = runner(name, *overrides)
    game._teacher, game.agent = Scripted(*teacher), Scripted(*protagonist)
    game._antagonist = None if antagonist is None else Scripted(*antagonist)
    return game


def paid(game):
    """What the teacher is paid at each step, [T, tasks]."""
    (trial,) = game._teacher.learned
    return trial.rollout.reward


def test_regret_by_hand():
    """The goal is two cells ahead of those who face right, each corridor closed: the others run against the wall.

    The antagonist walks straight, 1 - 0.9 * 2 / 4 in both episodes; the protagonist in its second alone, whatever
    it is told.
    """
    game = scripted([0, 2, 3, 4, 5], [LEFT, LEFT, RIGHT, RIGHT, FORWARD, FORWARD], [FORWARD])
    metrics = game.iterate()
    (task,) = {(spec.context["walls"], spec.context["goal"]) for spec in game.agent.learned[0].specs}
    assert task == (((0, 0, 0), (1, 1, 1), (0, 0, 0)), (0, 2))
    facing = [spec.context["direction"] for spec in game.agent.learned[0].specs]
    assert set(facing) > {0}
    expected = [0.55 - 0.55 / 2 if direction == 0 else 0.0 for direction in facing]
    assert paid(game)[-1].tolist() == pytest.approx(expected)
    assert not paid(game)[:-1].any()
    assert metrics["tasks/regret"] == pytest.approx(sum(expected) / 8)
    assert metrics["meta/antagonist_return"] == pytest.approx(2 * metrics["meta/protagonist_return"])
    assert (metrics["tasks/walls"], metrics["tasks/shortest_path"], metrics["tasks/unsolvable"]) == (3, 2, 0)
    # Who faces the goal is there after 4 + 2 steps, the antagonist after 2 + 2; the others stand 4 + 4 steps both.
    assert metrics["charts/batch_steps"] == sum(6 + 4 if direction == 0 else 8 + 8 for direction in facing)
    assert metrics["charts/teacher_steps"] == 8 * 5
    assert metrics["meta/trial_return"] == pytest.approx(2 * metrics["meta/protagonist_return"])  # of two episodes


def test_the_best_episode_of_the_antagonist_counts():
    game = scripted([0, 2, 3, 4, 5], [LEFT], [LEFT, LEFT, RIGHT, RIGHT, FORWARD, FORWARD])
    game.iterate()
    facing = [spec.context["direction"] for spec in game.agent.learned[0].specs]
    assert paid(game)[-1].tolist() == pytest.approx([0.55 * (direction == 0) for direction in facing])


def test_minimax_pays_for_failure_and_has_no_antagonist():
    game = scripted([0, 2, 3, 4, 5], [FORWARD], None, name="minimax-maze")
    metrics = game.iterate()
    facing = [spec.context["direction"] for spec in game.agent.learned[0].specs]
    assert paid(game)[-1].tolist() == pytest.approx([-0.55 * (direction == 0) for direction in facing])
    assert "tasks/minimax" in metrics
    assert "tasks/regret" not in metrics
    assert runner("minimax-maze")._antagonist is None


def test_random_designs_teach_nobody():
    game = runner("paired-maze", "runner.teacher_objective=random")
    metrics = game.iterate()
    assert not any("teacher" in name or "antagonist" in name for name in metrics)
    assert set(game.state_dict()) == {"teacher", "protagonist", "iterations", "placements", "kept"}
    assert type(game._teacher).__name__ == "RandomPolicy"


UNSOLVABLE = [0, 2, 1, 4, 3]


def test_unsolvable_designs_pay_nothing():
    game = scripted(UNSOLVABLE, [FORWARD], [FORWARD, LEFT])
    metrics = game.iterate()
    assert not paid(game).any()
    assert (metrics["tasks/unsolvable"], metrics["tasks/regret"], metrics["tasks/refused"]) == (1, 0, 0)
    assert "tasks/shortest_path" not in metrics


def test_designs_that_the_family_refuses_are_not_played():
    game = scripted(UNSOLVABLE, [FORWARD], [FORWARD], "family.solvable=true")
    metrics = game.iterate()
    assert not paid(game).any()
    assert (metrics["tasks/refused"], metrics["charts/batch_steps"], metrics["charts/teacher_steps"]) == (1, 0, 8 * 5)
    assert game.agent.learned == []
    assert list(game.records()) == []


def parameters(agent):
    return copy.deepcopy(agent.state_dict()["model"])


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_teacher_learns_from_the_regret_alone_and_the_students_do_not():
    game = runner()
    designed, _ = game._design()
    agents = dict(game._agents())
    before = {who: parameters(agent) for who, agent in agents.items()}
    state = copy.deepcopy(game._teacher.state_dict())
    assert designed.rollout.reward.abs().sum() == 0
    after = []
    for reward in (torch.arange(8.0), torch.arange(8.0), torch.arange(8.0).flip(0)):
        game._teacher.load_state_dict(copy.deepcopy(state))
        game._learn(designed, reward, {})
        after.append(parameters(game._teacher))
    assert same(after[0], after[1])
    assert not same(after[0], after[2])
    assert not same(after[0], before["teacher"])
    for student in ("protagonist", "antagonist"):
        assert same(parameters(agents[student]), before[student])


def test_students_are_two_and_all_three_learn():
    game = runner()
    agents = dict(game._agents())
    before = {who: parameters(agent) for who, agent in agents.items()}
    assert not same(before["protagonist"], before["antagonist"])
    game.iterate()
    assert all(not same(parameters(agent), before[who]) for who, agent in agents.items())


class Quiet:
    def __init__(self, stop_after=None):
        self.stop_after, self.done = stop_after, 0

    def iteration(self, done, total, metrics):
        self.done = done

    def say(self, text):
        pass

    def stop_requested(self):
        return self.stop_after is not None and self.done >= self.stop_after


def contents(run):
    newest = max(run.checkpoints.iterdir())
    return {file.name: file.read_bytes() for file in sorted(newest.iterdir())}


def test_a_run_that_was_cut_goes_on_identically(tmp_path):
    plan = load_experiment("paired-maze", QUICK)
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    whole.create(plan)
    assert train(plan, whole, Quiet())
    cut.create(plan)
    for stop in (1, 3):
        assert not train(cut.open(), cut, Quiet(stop))
    assert train(cut.open(), cut, Quiet())
    assert contents(cut) == contents(whole)
    lines = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert len((whole.path / "evaluations.jsonl").read_text().splitlines()) == 2
    players = evaluate_run(whole)["sets"]["held-out"]["players"]
    assert set(players) == {"rl2", "random", "maze-oracle"}


@pytest.mark.parametrize(
    ("archived", "expected"), [(0, []), (3, [2, 4, 6]), (13, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])]
)
def test_records_are_spread_over_the_run(archived, expected):
    game = runner("paired-maze", f"runner.archived={archived}")
    for _ in range(6):
        game.iterate()
    records = list(game.records())
    assert [record.generation for record in records] == expected
    assert len(records) <= archived
    for record in records:
        assert (record.generator, record.parents, record.split) == ("builtin/paired", (), "train")
        assert set(record.scores) == {"protagonist_return", "antagonist_return", "regret"}
        game._assignment.family.check(record.spec)


def test_a_family_whose_knobs_are_set_one_by_one():
    """A goal in the plane, and PPO for all three."""
    game = runner(
        "paired-maze", "~family", "family={name='point-navigation', horizon=5}",
        "~agent", "agent={name='ppo', hidden=[8]}", "runner.design.placements=0",
        "~source", "source=domain-randomization", "evaluation.source=domain-randomization", "evaluation.players=[]",
        "~evaluation.out_of_distribution",
    )  # fmt: skip
    metrics = game.iterate()
    assert -0.5 <= metrics["tasks/goal"] <= 0.5
    assert (metrics["charts/batch_steps"], metrics["charts/teacher_steps"]) == (8 * (10 + 10), 8 * 2)
    state = game.state_dict()
    assert game.iterate()["charts/teacher_steps"] == 2 * 8 * 2
    game.load_state_dict(state)
    assert game.iterate()["charts/teacher_steps"] == 2 * 8 * 2  # since the run began


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="agent and goal take two"):
        runner("paired-maze", "runner.design.placements=1")
    with pytest.raises(ConfigError, match="maze has placements of its own"):
        runner("paired-maze", "runner.design.knobs=['walls']")
    with pytest.raises(ConfigError, match="teacher_objective"):
        runner("paired-maze", "runner.teacher_objective=regrets")
    plan = load_experiment("rl2-tabular", ["runner=paired", "training.tasks=2"])
    with pytest.raises(ConfigError, match="varies none by itself"):
        build_parts(plan.config)
    with pytest.raises(UserError, match="nobody"):
        runner("paired-maze", "runner.teacher.name=nobody")


def test_a_state_of_other_agents_is_refused():
    state = runner("minimax-maze").state_dict()
    with pytest.raises(CheckpointError, match="expected the agents teacher, protagonist, antagonist"):
        runner().load_state_dict(state)

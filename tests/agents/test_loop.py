"""Training runs end to end, tiny: reproducible to the byte, resumable at any iteration, honest about their tasks."""

import hashlib
import json

import numpy as np
import pytest

from agents.experiment import load_experiment
from agents.loop import evaluate_run, player_label, train
from agents.run import RunDirectory
from agents.tree import not_finite
from registry.errors import CheckpointError, ConfigError, UserError
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
    assert json.loads((finished.path / "evaluation.json").read_text()) == first


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
def test_a_diverging_update_stops_the_run_before_its_checkpoint(finished, tmp_path, rate, what):
    """The learning rate is absurd from the third iteration on, after a good checkpoint."""
    plan, run = start(tmp_path / "run", "training.checkpoint_every=1")
    assert not train(plan, run, Quiet(2))
    absurd = [f"agent.learning_rate={rate}", f"agent.final_learning_rate={rate}"]
    config = load_experiment("rl2-bandit", [*QUICK, "training.checkpoint_every=1", *absurd])
    with pytest.raises(UserError, match=rf"diverged at iteration \d.*{what}.*losses/entropy = .*Train anew") as caught:
        train(config, run, Quiet())
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

    descended = torch.optim.Adam.step

    def step(self):
        descended(self)
        self.param_groups[0]["params"][0].data[0] = torch.inf

    monkeypatch.setattr(torch.optim.Adam, "step", step)
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
    assert len(caught.value.problems) == 2  # the experiment's own keys first: parts are looked up in a sound plan
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


def test_state_of_another_experiment_is_refused(finished, tmp_path):
    import shutil

    shutil.copytree(finished.path, tmp_path / "copy")
    run = RunDirectory(tmp_path / "copy")
    run.config.write_text(run.config.read_text().replace("hidden_size = 8", "hidden_size = 16"))
    with pytest.raises(CheckpointError, match=r"agent's state does not fit"):
        evaluate_run(run)


def test_the_familys_own_return_is_the_mean_over_all_rounds():
    from dataclasses import replace

    import torch

    from agents.experiment import build_agent, problem_of
    from agents.loop import trial_metrics
    from registry.config import Part
    from taskgen.build import build_family
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


def test_faults_are_counted_and_quarantined_tasks_written_down(tmp_path, monkeypatch):
    """The engine reports three faults of one task in the first iteration, and none in the second."""
    from taskgen.engines.faults import Fault
    from taskgen.engines.mujoco import MujocoBatch

    settled = MujocoBatch.set_tasks
    batches = []

    def set_tasks(self, specs, slots=None):
        settled(self, specs, slots)
        if self.slots == 8 and not batches:  # the batch of training, at its first trial
            batches.append(self)
            for step in (1, 2, 3):
                self.faults.record(Fault(0, specs[0], step, "velocity is not finite", True, np.zeros(3)))

    monkeypatch.setattr(MujocoBatch, "set_tasks", set_tasks)
    family = ["family={name='half-cheetah', horizon=5}", 'evaluation.players=["random"]']
    plan = load_experiment("rl2-bandit", [*QUICK, *family, "training.iterations=2"])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    said = []
    watcher = Quiet()
    watcher.say = said.append
    assert train(plan, run, watcher)
    metrics = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["faults/count"], line["tasks/n_quarantined"]) for line in metrics] == [(3, 1), (3, 1)]
    assert next(text for text in said if "faults" in text).endswith("velocity is not finite")
    (written,) = (run.path / "quarantine").glob("*.json")
    assert json.loads(written.read_text())["task"]["id"] == written.stem


def cheetahs(path, iterations):
    """The plan of a run on a saved set of ten tasks, eight an iteration, and these tasks."""
    from taskgen.build import build_family
    from taskgen.taskset import TaskSet

    family = build_family("half-cheetah", {"horizon": 5})
    specs = tuple(family.spec({"mass": seed / 100}, seed=seed) for seed in range(100, 110))
    TaskSet(specs).write(path / "tasks.jsonl")
    elsewhere = 'evaluation.source="domain-randomization"'
    settings = ["family={name='half-cheetah', horizon=5}", 'evaluation.players=["random"]', elsewhere]
    source = f"source={{name='task-set', path='{path / 'tasks.jsonl'}'}}"
    plan = load_experiment("rl2-bandit", [*QUICK, *settings, source, f"training.iterations={iterations}"])
    return plan, specs


def diverge(monkeypatch, diverging, slots=8):
    """Make batches of `slots` slots report a fault of every task in `diverging`. Returns the seeds they are given."""
    from taskgen.engines.faults import Fault
    from taskgen.engines.mujoco import MujocoBatch

    settled, given = MujocoBatch.set_tasks, []

    def set_tasks(self, specs, where=None):
        settled(self, specs, where)
        if self.slots == slots:
            given.append([spec.seed for spec in specs])
            for slot, spec in enumerate(specs):
                if spec.id in diverging:
                    self.faults.record(Fault(slot, spec, 1, "position diverged", True, np.full(3, float(spec.seed))))

    monkeypatch.setattr(MujocoBatch, "set_tasks", set_tasks)
    return given


def test_a_quarantined_task_is_not_trained_on_again_also_after_a_stop(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 8)
    given = diverge(monkeypatch, {specs[0].id})
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    whole.create(plan)
    assert train(plan, whole, Quiet())
    times = [seeds.count(100) for seeds in given]
    assert sum(times) >= 3
    last = next(number for number in range(8) if sum(times[: number + 1]) >= 3)
    assert last < 7
    assert sum(times[last + 1 :]) == 0
    assert all(len(seeds) == 8 for seeds in given)
    uninterrupted = list(given)
    cut.create(plan)
    for stop in (1, 3, last + 1):
        assert not train(cut.open(), cut, Quiet(stop))
    assert train(cut.open(), cut, Quiet())
    assert given[8:] == uninterrupted
    assert digest(cut) == digest(whole)
    for run in (whole, cut):
        assert [path.stem for path in (run.path / "quarantine").glob("*.json")] == [specs[0].id]
        states = np.load(run.path / "quarantine" / f"{specs[0].id}.npy", allow_pickle=False)
        assert states.tolist() == [[100.0] * 3] * 3


def test_a_run_whose_tasks_are_all_in_quarantine_stops_and_says_so(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 9)
    diverge(monkeypatch, {spec.id for spec in specs})
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    with pytest.raises(UserError, match=r"all in quarantine, because each diverged 3 times: position diverged"):
        train(plan, run, Quiet())
    assert len(list((run.path / "quarantine").glob("*.json"))) == 10


def test_evaluation_reports_faults_and_leaves_no_task_out(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 1)
    run, said, watcher = RunDirectory(tmp_path / "run"), [], Quiet()
    watcher.say = said.append
    run.create(plan)
    assert train(plan, run, watcher)
    assert "faults" not in json.loads((run.path / "evaluations.jsonl").read_text())
    diverge(monkeypatch, {specs[0].id})
    players = evaluate_run(run, tasks=specs[:8])["sets"]["tasks"]["players"]
    assert {name: figures["faults"] for name, figures in players.items()} == {"rl2": 1, "random": 1}
    assert all(
        "faults" not in figures for figures in evaluate_run(run, tasks=specs[1:9])["sets"]["tasks"]["players"].values()
    )


GRID = ("family=grid-navigation", 'evaluation.players=["random"]', "evaluation.source=domain-randomization")


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
    from agents.experiment import build_parts

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


def test_highlights_of_a_run_that_was_cut_are_those_of_one_that_was_not(tmp_path):
    settings = "training.checkpoint_every=2"
    plan, whole = curriculum_run(tmp_path / "whole", "accel", settings)
    assert train(plan, whole, Quiet())
    _, cut = curriculum_run(tmp_path / "cut", "accel", settings)
    assert not train(cut.open(), cut, Quiet(5))  # a checkpoint more than the other has
    assert train(cut.open(), cut, Quiet())
    lines = [(run.path / "highlights.jsonl").read_text().splitlines() for run in (whole, cut)]
    assert [line for line in lines[1] if '"iteration": 5' not in line] == lines[0]

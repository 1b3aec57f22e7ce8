"""Two processes train what one trains: the same tasks, the same agent up to rounding."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import registry
from agents.common import parallel
from agents.training.experiment import build_parts, load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.sharing import CAPABILITY
from agents.training.tree import flatten
from taskgen.interaction.collect import collect
from tests.agents.processes import together
from tests.agents.training.test_loop import Quiet, digest
from tests.agents.training.test_loop_faults import cheetahs, diverge

SMALL = (
    *("training.iterations=3", "training.tasks=8", "training.checkpoint_every=2", "training.evaluate_every=2"),
    *("evaluation.tasks=8", "evaluation.final_tasks=8", 'evaluation.players=["random"]'),
)
GRADIENT = ("agent.hidden=[8]", "agent.trajectories=2", "training.episodes=4", "family.horizon=8")
RUNS = {
    "rl2": ("rl2-bandit", "agent.network.hidden_size=8", "agent.minibatches=5", "training.episodes=4"),
    "ppo": ("ppo-grid", "agent.hidden=[8]", "agent.epochs=2", "training.episodes=2", "agent.context=one-hot"),
    "maml": ("maml-navigation", *GRADIENT),
    "promp": ("promp-navigation", *GRADIENT),
    "reptile": ("reptile-navigation", *GRADIENT),
}


def plan_of(agent, *more):
    experiment, *settings = RUNS[agent]
    return load_experiment(experiment, [*settings, *SMALL, *more])


def alone(plan, path, stop=None):
    """Whether the run got to its end, in this process."""
    run = RunDirectory(path)
    if not run.config.exists():
        run.create(plan)
    return train(plan, run, Quiet(stop))


def shared(plan, path, stops=(None, None)):
    """As `alone`, in two processes, which are asked to stop after so many iterations each."""
    run = RunDirectory(path)
    if not run.config.exists():
        run.create(plan)

    def work(rank):
        with parallel.joined():
            return train(plan, run, Quiet(stops[rank]))

    return together(work)


def assert_same(one, other):
    """Tasks, counts and streams to the bit, whatever is a float within 1e-5."""
    (json_one, tensors_one), (json_other, tensors_other) = (
        flatten(RunDirectory(run).restore()) for run in (one, other)
    )
    assert json_one == json_other
    assert list(tensors_one) == list(tensors_other)
    for name, tensor in tensors_one.items():
        torch.testing.assert_close(
            tensor, tensors_other[name], rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n} {text}"
        )


def figures(path):
    """The metrics of every iteration but times."""
    lines = [json.loads(line)["metrics"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if not name.startswith("time/") and "SPS" not in name} for line in lines]


def test_every_agent_that_says_so_is_tried():
    able = {item.entry.name for item in registry.catalogue().items("agents") if CAPABILITY in item.entry.offers}
    assert able == set(RUNS)


IN_PIECES = ("agent.gradient_steps=3", "agent.hidden=[8]", "agent.normalize=true", "agent.value_centre=trial")


@pytest.mark.parametrize(("agent", "more"), [*((agent, ()) for agent in RUNS), ("rl2", IN_PIECES)])
def test_two_processes_train_the_agent_of_one(tmp_path, agent, more):
    plan, one, two = plan_of(agent, *more), tmp_path / "one", tmp_path / "two"
    assert alone(plan, one)
    assert shared(plan, two) == [True, True]
    assert_same(one, two)
    for line, other in zip(figures(one), figures(two), strict=True):
        assert line == pytest.approx(other, abs=1e-4)
    assert (one / "archive.sqlite").stat().st_size == (two / "archive.sqlite").stat().st_size
    assert len((two / "evaluations.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("agent", list(RUNS))
def test_of_few_tasks_some_processes_have_none(tmp_path, agent):
    """As under a curriculum that lets the agent learn from some of the tasks only."""
    plan = plan_of(agent)

    def learn(rank=0):
        with parallel.joined():
            parts = build_parts(plan.config)
            agent = parts.player
            specs = parts.source.ask(4)
            trial_plan = agent.plan(plan.config.training.episodes)
            batch = parts.family.batch(4 * trial_plan.slots, torch.device("cpu"))
            trial = collect(agent, batch, specs, plan=trial_plan)
            metrics = [agent.learn(trial.of(tasks)) for tasks in ([2], [0, 1, 3])]
            return metrics, {name: value.numpy() for name, value in flatten(agent.state_dict())[1].items()}

    figures, state = learn()
    for found, other in together(learn):
        for line, same in zip(figures, found, strict=True):
            assert line == pytest.approx(same, abs=1e-4)
        for name, value in state.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-5, err_msg=name)


def test_episodes_that_end_early_in_one_process_are_waited_for(tmp_path):
    """Cart-poles fall at different times, and what is drawn after the last one fell must be the same everywhere."""
    family = ('family="cartpole"', "training.episodes=2", "agent.epochs=1")
    plan = plan_of("ppo", *family, "evaluation.source='domain-randomization'", "source='domain-randomization'")
    assert alone(plan, tmp_path / "one")
    assert shared(plan, tmp_path / "two") == [True, True]
    assert_same(tmp_path / "one", tmp_path / "two")


def test_stopped_and_resumed_by_two_is_identical_and_one_can_go_on(tmp_path):
    plan, whole, cut = plan_of("rl2"), tmp_path / "whole", tmp_path / "cut"
    assert shared(plan, whole) == [True, True]
    assert shared(plan, cut, stops=(None, 1)) == [False, False]  # the second process alone was asked
    assert shared(plan, cut) == [True, True]
    assert digest(RunDirectory(cut)) == digest(RunDirectory(whole))
    changed = tmp_path / "changed"
    assert shared(plan, changed, stops=(1, None)) == [False, False]
    assert alone(plan, changed)
    assert_same(changed, whole)


def test_faults_in_any_process_put_tasks_into_quarantine(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 6)
    diverging = {specs[0].id, specs[7].id}
    diverge(monkeypatch, diverging)
    assert alone(plan, tmp_path / "one")
    diverge(monkeypatch, diverging, slots=4)
    assert shared(plan, tmp_path / "two") == [True, True]
    assert figures(tmp_path / "one")[-1]["tasks/n_quarantined"] == 2
    assert_same(tmp_path / "one", tmp_path / "two")
    for task in diverging:
        states = [np.load(tmp_path / run / "quarantine" / f"{task}.npy") for run in ("one", "two")]
        assert np.array_equal(*states)


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        ("sac-navigation", (), r"builtin/sac cannot be trained by 2 processes.*Agents that do: .*rl2"),
        ("rl2-bandit", ("training.tasks=7",), r"training.tasks = 7 cannot be shared equally by 2.*take 6 or 8"),
        ("rl2-bandit", ("training.tasks=1",), r"by 2 processes: take 2$"),
        ("rl2-bandit", ("device=cuda:1",), r"'cuda:1' is one card for 2 processes: with device=cuda"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_the_run(tmp_path, agent, settings, message):
    plan = load_experiment(agent, [*SMALL, *settings])
    with pytest.raises(RuntimeError, match=message) as caught:
        shared(plan, tmp_path / "run")
    assert "process 0: UserError" in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.toml", "provenance.json"]


def torchrun(*words):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "registry.cli", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_torchrun_trains_stops_goes_on_and_speaks_once(tmp_path):
    experiment, *settings = RUNS["rl2"]
    words = [experiment, *settings, *SMALL, "training.iterations=2000", "training.evaluate_every=0"]
    process = torchrun(*words, "--run-directory", str(tmp_path / "run"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert out.count("Go on with: torchrun --nproc-per-node 2 -m registry.cli ") == 1, err
    assert err.count("Stopping after this iteration") == 1
    assert RunDirectory(tmp_path / "run").restore()["iteration"] >= 2

    short = [word.replace("iterations=2000", "iterations=6") for word in words]
    process = torchrun(*short, "--run-directory", str(tmp_path / "short"))
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("Report: ") == out.count("held-out: 8 tasks") == 1
    assert alone(load_experiment(short[0], short[1:]), tmp_path / "one")
    assert_same(tmp_path / "one", tmp_path / "short")

    process = torchrun(*short, "--run-directory", str(tmp_path / "short"))
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("already holds a run") == 1

"""Runs from Python: trained as by the command, loaded, and played by hand as the evaluation plays them."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import taskgen
from agents.api import Silent, load, train
from agents.training.experiment import load_experiment
from agents.training.loop import train as train_run
from agents.training.run import RunDirectory
from registry.cli import main
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.build import build_source

QUICK = (
    *("agent.network.hidden_size=8", "training.iterations=2", "training.tasks=8", "training.episodes=3"),
    *("evaluation.tasks=8", "evaluation.final_tasks=8", "evaluation.players=[]", "evaluation.tail=0"),
)

SMALL_NETWORK = 'agent.network={name="gru", hidden_size=8}'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("rl2-bandit", *QUICK, run=tmp_path_factory.mktemp("runs") / "run", watcher=Silent())


def test_training_leaves_what_the_command_leaves(run: Path, tmp_path: Path) -> None:
    assert main(["train", "rl2-bandit", "--run", str(tmp_path / "run"), *QUICK]) == 0
    assert {file.name for file in run.iterdir()} == {file.name for file in (tmp_path / "run").iterdir()}
    for name in ("config.toml", "evaluation.json"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_loaded_agent_acts_as_it_is_judged(run: Path) -> None:
    agent = load(run)
    assert (agent.iteration, agent.steps, agent.family.name) == (2, 48, "builtin/bandit")
    task = agent.family.spec(seed=5)
    env = taskgen.make(task)
    trial = agent.trial(4)
    actions = []
    while not trial.over:
        observation, _ = env.reset(seed=5 if trial.episode == 0 else None)
        actions.append(trial.act(observation))
        assert actions[-1] in env.action_space
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        trial.observe(observation, reward, terminated, truncated)
    assert len(actions) == 4
    assert not any(parameter.grad_fn for parameter in vars(agent.agent).values() if isinstance(parameter, torch.Tensor))
    with pytest.raises(UserError, match="arms"):
        agent.trial(task=taskgen.build_family("bandit", {"arms": 3}).spec())


def test_an_experiment_may_be_a_mapping_and_a_run_may_be_stopped_and_resumed(tmp_path: Path) -> None:
    class Once(Silent):
        def __init__(self) -> None:
            self.done = 0

        def iteration(self, done, total, metrics) -> None:
            self.done = done

        def stop_requested(self) -> bool:
            return self.done == 1

    tables = {
        "family": "bandit",
        "agent": "rl2",
        "training": {"iterations": 2, "tasks": 4, "episodes": 2},
        "name": "mine",
    }
    tables |= {"evaluation": {"tasks": 4, "final_tasks": 4, "players": []}}
    where = train(tables, SMALL_NETWORK, run=tmp_path / "run", judge=False, watcher=Once())
    assert load(where).iteration == 1
    again = train(tables, SMALL_NETWORK, run=where, judge=False, resume=True, watcher=Silent())
    assert load(again).iteration == 2
    assert not (where / "report.html").exists()
    with pytest.raises(ConfigError, match=r"trainin: unknown key. Did you mean 'training'"):
        train({"trainin": {}}, run=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_without_a_watcher_lines_are_printed_and_other_threads_are_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("rl2-bandit", *QUICK, run=tmp_path / "loud", judge=False)
    assert "iteration 2/2: trial return" in capsys.readouterr().out
    thread = threading.Thread(
        target=train, args=("rl2-bandit", *QUICK), kwargs={"run": tmp_path / "mute", "judge": False}
    )
    thread.start()
    thread.join()
    assert capsys.readouterr().out == ""
    assert load(tmp_path / "mute").iteration == 2


def test_a_run_that_was_not_begun_is_not_trained(tmp_path: Path) -> None:
    plan = load_experiment("rl2-bandit", QUICK)
    with pytest.raises(UserError, match="is not a run directory: it has no config.toml"):
        train_run(plan, RunDirectory(tmp_path / "run"), Silent())
    assert not (tmp_path / "run").exists()


def test_a_source_by_its_name_and_an_integer(tmp_path: Path) -> None:
    family = taskgen.build_family("bandit")
    file = tmp_path / "tasks.jsonl"
    assert main(["generate", "domain-randomization", "-f", "bandit", "-n", "3", "--seed", "4", "-o", str(file)]) == 0
    expected = taskgen.load_tasks(file)
    parts = ("domain-randomization", {"name": "domain-randomization"}, Part(name="domain-randomization"))
    for part, seed in zip(parts, (4, np.int64(4), 4), strict=True):
        assert build_source(part, family, seed).ask(3) == expected
    with pytest.raises(
        UserError, match="'domain-randomisation' is not among the generators or curricula. Did you mean"
    ):
        build_source("domain-randomisation", family, 0)
    assert json.loads(expected[0].to_json())["family"] == "builtin/bandit"

"""Trials as a Minari data set, read back by Minari."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import taskgen
from agents.api import train
from agents.evaluation.play import play
from agents.reports.recording import record
from registry.cli import main
from registry.config import Part
from registry.errors import TaskError
from taskgen.interaction.build import build_agent, problem_of
from taskgen.testing import toy_families

minari = pytest.importorskip("minari", reason="taskgen-metarl[minari] is not installed")


def agent_of(name: str, family: Any, episodes: int) -> Any:
    return build_agent(Part(name=name), problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu")))


@pytest.mark.parametrize(("name", "episodes"), [("rl2", 3), ("maml", 40)])
def test_episodes_stand_trial_by_trial_and_pay_what_evaluation_counts(name: str, episodes: int, tmp_path: Path) -> None:
    """One of them plays its episodes one after another, the other side by side in rounds."""
    family = taskgen.build_family("grid-navigation")
    specs = taskgen.build_source("domain-randomization", family, 0).ask(5)
    player = agent_of(name, family, episodes)
    count, steps = record(player, family, specs, episodes, tmp_path / "data", name=name)
    data = minari.MinariDataset(tmp_path / "data")
    assert (count, steps) == (5 * episodes, data.total_steps)
    expected = play(agent_of(name, family, episodes), family, specs, episodes, torch.device("cpu"))
    metadata = list(data.storage.get_episode_metadata(range(count)))
    for place, episode in enumerate(data.iterate_episodes()):
        trial, number = divmod(place, episodes)
        told = metadata[place]
        assert (told["trial"], told["episode"], told["task_id"]) == (trial, number, specs[trial].id)
        assert set(episode.infos["trial"]) == {trial}
        assert set(episode.infos["episode"]) == {number}
        assert len(episode.infos["trial"]) == len(episode.rewards) + 1 == len(episode.observations)
        assert episode.rewards.sum() == pytest.approx(expected[number, trial])
        ends = episode.terminations | episode.truncations
        assert ends[-1]
        assert not ends[:-1].any()
    assert taskgen.load_tasks(tmp_path / "data" / "tasks.jsonl") == specs


@pytest.mark.parametrize("family", toy_families(), ids=lambda family: family.name)
def test_elements_are_those_of_the_spaces(family: Any, tmp_path: Path) -> None:
    specs = [family.spec(seed=seed) for seed in range(2)]
    record(agent_of("random", family, 1), family, specs, 1, tmp_path / "data", name="random")
    (first, _) = minari.MinariDataset(tmp_path / "data").iterate_episodes()
    batch = family.batch(2)
    batch.set_tasks(specs)
    shown = batch.reset()

    def at(values: Any, step: int) -> Any:
        if isinstance(values, dict):
            return {key: at(value, step) for key, value in values.items()}
        return tuple(at(value, step) for value in values) if isinstance(values, tuple) else values[step]

    for step in range(len(first.rewards)):
        assert family.observation_space.contains(at(first.observations, step)), at(first.observations, step)
        action = at(first.actions, step)
        assert family.action_space.contains(action), action
        from taskgen.spaces import pack

        seen = pack(family.observation_space, at(first.observations, step))
        assert np.array_equal(seen, shown[0].numpy())
        row = pack(family.action_space, action)
        outcome = batch.step(torch.as_tensor(np.stack([row, row])))
        assert outcome.reward[0].item() == pytest.approx(float(first.rewards[step]))
        shown = outcome.observation


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("training.iterations=1", "training.tasks=4", "training.episodes=2")
    run = train("rl2-bandit", *small, run=tmp_path / "run", judge=False)
    line = ["record", str(run), "-n", "6", "-o", "data"]
    assert main(line) == 0
    assert "6 trials, 12 episodes, 12 steps" in capsys.readouterr().out
    data = minari.MinariDataset(tmp_path / "data")
    assert data.total_episodes == 12
    assert data.storage.metadata["algorithm_name"] == "rl2"
    assert main(line) == 4
    assert "is there and not empty" in capsys.readouterr().err
    tasks = ["--tasks", str(tmp_path / "data" / "tasks.jsonl"), "--episodes", "3"]
    assert main(["record", str(run), "-n", "4", "-o", str(tmp_path / "again"), *tasks]) == 0
    again = minari.MinariDataset(tmp_path / "again")
    assert again.total_episodes == 12
    assert main(["record", str(run), "-n", "7", "-o", str(tmp_path / "more"), *tasks]) == 4
    with pytest.raises(TaskError, match="not empty"):
        record(None, None, [], 1, tmp_path / "run", name="")  # type: ignore[arg-type]

"""The shows of the explorers: equal steps for everybody, and what is counted by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from agents.training.experiment import load_experiment
from benchmarks import explorers, harness, learning
from taskgen.build import build_family

EVERY = [(show, agent) for show, setting in explorers.SHOWS.items() for agent in setting.learners]


@pytest.mark.parametrize(("show", "agent"), EVERY)
def test_an_agent_trains_for_the_shows_steps_in_the_shows_world(show, agent):
    setting = explorers.SHOWS[show]
    config = load_experiment(setting.learners[agent].world, explorers.overrides(show, agent)).config
    family = build_family(config.family.name, config.family.settings)
    training = config.training
    steps = training.iterations * training.tasks * training.episodes * family.horizon
    assert steps == pytest.approx(setting.steps, rel=0.01)
    assert config.agent.name == f"builtin/{agent}"
    assert training.episodes >= setting.counted
    assert set(config.evaluation.out_of_distribution) == {f"distance-{distance}" for distance in setting.distances}
    players = {part.name.removeprefix("builtin/") for part in config.evaluation.players}
    assert setting.targets.keys() <= players | setting.learners.keys()
    assert setting.sampler in {"", *players, *setting.learners}


def test_agents_of_a_show_meet_one_family():
    for show, setting in explorers.SHOWS.items():
        configs = [
            load_experiment(one.world, explorers.overrides(show, name)) for name, one in setting.learners.items()
        ]
        assert len({json.dumps(one.config.family.model_dump(mode="json"), sort_keys=True) for one in configs}) == 1


def told(rows):
    return {row["what"]: row for row in rows}


def three(returns):
    """The same of three seeds."""
    return [np.array(returns, dtype=np.float64)] * 3


def test_the_second_episode_counts_where_the_first_explores(monkeypatch):
    found = {"dream": three([[1.0, 3.0], [0.5, 1.1]]), "rl2": three([[0.0, 0.0], [0.7, 0.7]])}
    monkeypatch.setattr(explorers, "returns", lambda show, tasks="held-out": found)
    rows = told(explorers.earned("bus"))
    assert rows["bus, dream: return of episode 1"]["value"] == 2.0
    assert rows["bus, dream: return of episode 1"]["target"] is None
    assert rows["bus, dream: return of episode 2"]["value"] == pytest.approx(0.8)
    assert rows["bus, dream: return of episode 2"]["met"]
    assert rows["bus, rl2: return of episode 2"]["target"] is None
    assert not any("trial" in what for what in rows)


def test_whole_trials_count_elsewhere(monkeypatch):
    monkeypatch.setattr(explorers, "returns", lambda show, tasks="held-out": {"varibad": three(np.full((4, 2), 9.0))})
    row = told(explorers.earned("grid"))["grid, varibad: return of a trial"]
    assert (row["value"], row["met"]) == (36.0, False)


def test_the_best_in_episode_five_and_latents_beside_maml(monkeypatch):
    learners = explorers.SHOWS["half-circle"].learners
    found = {agent: three([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]) for agent in learners}
    found["rl2"] = three([[0.0]] * 4 + [[10.5]])
    found["maml"] = three([[2.0]] * 6)
    config = SimpleNamespace(agent=SimpleNamespace(settings={"trajectories": 3}))
    run = SimpleNamespace(open=lambda: SimpleNamespace(config=config))
    monkeypatch.setattr(explorers, "returns", lambda show, tasks="held-out": found)
    monkeypatch.setattr(explorers, "runs_of", lambda show, agent: [run] * 3)
    rows = told(explorers.rounds("half-circle"))
    best = rows["half-circle, rl2, the best: return of episode 5"]
    assert (best["value"], best["target"], best["met"]) == (10.5, ">= 10", True)
    assert rows["half-circle, maesn: return of an episode after 0 steps of adaptation"]["value"] == 2.0
    assert rows["half-circle, maesn: return of an episode after 1 steps of adaptation"]["value"] == 5.0
    gain = rows["half-circle: gain of maesn's latents over maml after as many steps of adaptation"]
    assert (gain["value"], gain["target"]) == (3.0, "> 0")


def test_losses_by_distance_and_whose_grows(monkeypatch):
    """PEARL loses .2 d in each of three episodes, the others .2 in the first."""

    def returns(show, tasks):
        distance = float(tasks.removeprefix("distance-"))
        reads = three([[-0.2], [0.0], [0.0]])
        oracle, guesses = three([[0.0]] * 3), three([[-0.2 * distance]] * 3)
        return {"pearl": guesses, **dict.fromkeys(("dream", "varibad", "rl2"), reads), "sign-plane-oracle": oracle}

    monkeypatch.setattr(explorers, "returns", returns)
    rows = told(explorers.distances("sign-plane"))
    assert rows["sign-plane, pearl: loss of the trial at distance 8"]["value"] == pytest.approx(4.8)
    assert rows["sign-plane, dream: loss of the trial at distance 8"]["value"] == pytest.approx(0.2)
    assert rows["sign-plane, dream: loss of the last episode at distance 8"]["value"] == 0.0
    assert rows["sign-plane, pearl: growth of the loss of the trial"]["value"] == pytest.approx(7.2)
    assert rows["sign-plane, dream: growth of the loss of the trial"]["value"] == pytest.approx(0.0)
    assert rows["sign-plane, pearl: the loss of the last episode grows with the distance"]["value"] == pytest.approx(
        2.4
    )
    more = rows["sign-plane: the loss of the trial grows more for pearl than for dream"]
    assert (more["value"], more["target"]) == (pytest.approx(7.2), "> 0")
    assert not any("oracle" in what for what in rows)


def test_a_show_is_trained_and_recorded(tmp_path, monkeypatch):
    tiny = ("training.tasks=2", "agent.warm_up=0", "evaluation.tasks=4", "evaluation.final_tasks=4")
    bus = explorers.SHOWS["bus"]._replace(steps=1, learners={"dream": explorers.Learner("dream-bus", special=tiny)})
    monkeypatch.setattr(explorers, "SHOWS", {"bus": bus})
    monkeypatch.setattr(explorers, "SEEDS", (100, 101))
    monkeypatch.setattr(explorers, "RUNS", tmp_path)
    monkeypatch.setattr(learning, "RUNS", tmp_path)
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    explorers.main(["bus", "100"])
    assert not (tmp_path / "results").exists()
    explorers.main(["bus", "101"])
    rows = told(json.loads((tmp_path / "results" / "explorers.json").read_text())["rows"])
    assert 0 <= rows["bus, dream: share of first episodes that read the map"]["value"] <= 1
    assert rows["bus, bus-map-reader: return of episode 2"]["value"] == pytest.approx(0.8)
    assert (tmp_path / "explorers-bus.html").exists()

"""Plugins' parts that would not repeat are told, by what comes of making them twice."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import agents.api
import registry
from agents.sweeps.outlook import outlook
from agents.training.experiment import Experiment
from registry.config import parse
from registry.discovery import FILES_VARIABLE
from registry.errors import PluginError
from registry.plan import resolve
from taskgen.interaction.agent import Action


@pytest.fixture
def parts(plugin_environment, monkeypatch):
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parents[2] / "toys" / "broken_parts.py"))
    return sys.modules[registry.catalogue().get("families", "broken_parts/world").load().__module__]


def train(parts, path, **settings):
    return agents.api.train(parts.experiment() | settings, run=path, judge=False)


def test_a_source_that_draws_from_no_seed(parts, tmp_path, monkeypatch):
    begin = parts.Source.__init__

    def unseeded(self, config, *, family, seed):
        begin(self, config, family=family, seed=seed)
        self.rng = np.random.default_rng()

    monkeypatch.setattr(parts.Source, "__init__", unseeded)
    with pytest.raises(PluginError, match=r"^broken_parts/source: made twice with the same seed, a source"):
        train(parts, tmp_path / "run")
    own, drawn = {"name": "broken_parts/source"}, {"name": "domain-randomization"}
    judged = {"tasks": 4, "final_tasks": 4, "tail": 0.0, "players": [], "same_tasks": True}
    for setting, place in (
        ("source", {"source": own}),
        (r"out_of_distribution.x", {"out_of_distribution": {"x": own}}),
    ):
        with pytest.raises(
            PluginError, match=rf"made twice with the same seed, a source \(evaluation.{setting}\) asks for"
        ):
            train(parts, tmp_path / "run", source=drawn, evaluation=judged | place)
    assert not (tmp_path / "run").exists()


def test_a_source_whose_state_lacks_something_also_inside_of_another(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(parts.Source, "state_dict", lambda self: {})
    monkeypatch.setattr(parts.Source, "load_state_dict", lambda self, state: None)
    inside = {"name": "mix", "sources": {"a": "broken_parts/source"}, "weights": {"a": 1.0}}
    for source in ({"name": "broken_parts/source"}, inside):
        with pytest.raises(PluginError, match=r"^broken_parts/source: a source made anew of its `state_dict` asks for"):
            train(parts, tmp_path / "run", source=source)
    assert not (tmp_path / "run").exists()


def test_what_training_would_refuse_the_plan_refuses(parts, monkeypatch):
    monkeypatch.setattr(parts.Source, "state_dict", lambda self: {})
    monkeypatch.setattr(parts.Source, "load_state_dict", lambda self, state: None)
    plan = resolve(parse(Experiment, parts.experiment()), registry.catalogue())
    with pytest.raises(PluginError, match=r"^broken_parts/source: a source made anew of its `state_dict` asks for"):
        outlook(plan)


def learns(parts, monkeypatch, *, keeps):
    """The player chooses by how often it has learned."""

    def learn(self, trial):
        self.count = getattr(self, "count", 0) + 1
        return {}

    def act_by_count(self, carry, step):
        return Action(torch.full((len(step.episode_start),), getattr(self, "count", 0) % 3)), carry

    monkeypatch.setattr(parts.Player, "act", act_by_count)
    monkeypatch.setattr(parts.Player, "learn", learn)
    monkeypatch.setattr(parts.Player, "state_dict", lambda self: {"count": getattr(self, "count", 0)} if keeps else {})
    monkeypatch.setattr(parts.Player, "load_state_dict", lambda self, state: vars(self).update(state))


def test_an_agent_whose_state_does_not_make_it(parts, tmp_path, monkeypatch):
    learns(parts, monkeypatch, keeps=False)
    expected = r"^broken_parts/player: state_dict gave a state of which an agent is made that earns .*expected one that"
    with pytest.raises(PluginError, match=expected):
        train(parts, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_agent_whose_state_makes_it(parts, tmp_path, monkeypatch):
    learns(parts, monkeypatch, keeps=True)
    train(parts, tmp_path / "run")


def test_of_an_agent_whose_luck_is_no_part_of_its_state_nothing_is_said(parts, tmp_path, monkeypatch):
    def act(self, carry, step):
        return Action(torch.randint(3, (len(step.episode_start),))), carry

    monkeypatch.setattr(parts.Player, "act", act)
    train(parts, tmp_path / "run")

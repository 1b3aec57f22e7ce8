"""What holds for every reference player."""

import copy
from dataclasses import fields

import pytest
import torch

import registry
from benchmarks.reference_players import bandit_rows, tabular_rows
from taskgen.build import build_family
from taskgen.interaction.agent import Agent, Step
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

FAMILIES = {item.entry.name for item in registry.catalogue().items("families")}
PLAYERS = [item for item in registry.catalogue().items("agents") if "reference" in item.entry.tags]


def _player(item, episodes=4):
    needs = [one for need in item.entry.needs for one in need.split("|")]
    family = build_family(next(need for need in (*needs, "bandit") if need in FAMILIES))
    return item.build({}, problem=problem_of(family, episodes=episodes, seed=3, device=torch.device("cpu"))), family


def _trial(player, family, tasks=5, episodes=4):
    specs = [family.spec(seed=seed) for seed in range(tasks)]
    return collect(player, family.batch(tasks), specs, plan=player.plan(episodes))


@pytest.mark.parametrize("item", PLAYERS, ids=lambda item: item.entry.name)
def test_players_never_learn(item):
    player, family = _player(item)
    assert isinstance(player, Agent)
    trial = _trial(player, family)
    before = copy.deepcopy(player.state_dict())
    assert player.learn(trial) == {}
    after = player.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (player.plan(4).rounds, player.plan(4).episodes) == (1, 4)


@pytest.mark.parametrize("item", PLAYERS, ids=lambda item: item.entry.name)
def test_two_trials_in_one_stream_are_as_good_as_two(item):
    """A trial that starts in the middle of a stream forgets the one before it."""
    player, family = _player(item)
    steps = _trial(player, family).rollout.steps
    state = player.state_dict()

    def actions(carry):
        player.load_state_dict(copy.deepcopy(state))
        chosen = []
        for t in range(len(steps.previous_reward)):
            action, carry = player.act(carry, _at(steps, t))
            chosen.append(action.value)
        return torch.stack(chosen), carry

    fresh, used = actions(player.begin_trial(5))
    again, _ = actions(used)
    assert torch.equal(fresh, again)


def test_flags_are_looked_at_once_each(monkeypatch):
    """On a GPU every look makes the host wait; equal flags in another tensor are another look."""
    player, _ = _player(registry.catalogue().get("agents", "random"))
    looks, some, none = [], torch.tensor([False, True]), torch.tensor([False, False])
    any_of = torch.Tensor.any
    monkeypatch.setattr(torch.Tensor, "any", lambda flags: looks.append(flags) or any_of(flags))
    asked = (some, some, none, none, none.clone(), some)
    assert [player.any_of(flags) for flags in asked] == [True, True, False, False, False, True]
    assert len(looks) == 4


def _at(steps, t):
    values = {field.name: getattr(steps, field.name) for field in fields(Step)}
    return Step(**{name: None if value is None else value[t] for name, value in values.items()})


@pytest.mark.slow
@pytest.mark.parametrize(("pulls", "arms"), [(10, 5), (10, 50), (100, 5)])
def test_bandit_players_score_what_they_should(pulls, arms):
    rows = list(bandit_rows(pulls, arms, 4000))
    assert not [row for row in rows if row["met"] is False]
    assert sum(row["met"] is True for row in rows) >= 5


@pytest.mark.slow
def test_tabular_players_score_what_they_should():
    rows = list(tabular_rows(500, 25))
    assert not [row for row in rows if row["met"] is False]
    assert sum(row["met"] is True for row in rows) == 2 * 6
    mean = {row["what"]: row["value"] for row in rows}
    for name in ("psrl", "posterior-greedy", "beb"):  # planning more often never hurts these
        planned = mean[f"{name}, 10 episodes, mean return"]
        assert mean[f"{name}, replan = step, 10 episodes, mean return"] > planned + 3

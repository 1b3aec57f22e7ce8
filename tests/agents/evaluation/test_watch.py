"""An evaluation can be watched, which changes nothing, and stopped, which leaves the agent as it was."""

import pytest
import torch

from agents.evaluation.play import evaluate, play_counting
from agents.evaluation.watch import Stopped, Watch
from taskgen.interaction.agent import Agent, Critic
from tests.agents.evaluation.test_tail import bandit, random_player


def test_all_trials_are_counted_and_returns_stay() -> None:
    family, specs = bandit((0.2, 0.7), 300)
    player = random_player(family, 5)
    plain, *_ = evaluate({"a": player, "b": player}, family, specs, 5, tail=0.1)
    shown = []
    watch = Watch(lambda: False, lambda share, what: shown.append((share, what)), trials=2 * 500)
    watched, *_ = evaluate({"a": player, "b": player}, family, specs, 5, tail=0.1, watch=watch)
    assert watched == plain
    shares = [share for share, _ in shown]
    assert len(shares) == 2 * 2 * 5  # players, the trial and its ranking, steps
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(300 / 5 / 1000)
    assert shares[-1] == pytest.approx(1.0)
    assert [what for _, what in shown] == ["a"] * 10 + ["b"] * 10


def test_a_stop_comes_before_the_next_step_and_leaves_the_agent_as_it_was() -> None:
    family, specs = bandit((0.2, 0.7), 30)
    player = random_player(family, 50)
    before = player.state_dict()["generator"].clone()
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 7

    with pytest.raises(Stopped):
        play_counting(player, family, specs, 50, watch=Watch(stop))
    assert len(asked) == 7
    assert (player.state_dict()["generator"] == before).all()


def test_a_watched_agent_is_the_agent_in_all_else() -> None:
    family, _ = bandit((0.2, 0.7), 1)
    player = random_player(family, 2)
    watched = Watch(lambda: False).over(player, 1, 1)
    assert isinstance(watched, Agent)
    assert not isinstance(watched, Critic)
    assert watched.needs_descriptor is player.needs_descriptor
    generators = [value for value in vars(player).values() if isinstance(value, torch.Generator)]
    assert generators == [value for value in watched.__dict__.values() if isinstance(value, torch.Generator)]

"""The size of an agent's carry, and what `taskgen describe` says of it."""

from typing import Any

import pytest
import torch

import registry
from agents.evaluation.carry import carry_size, described
from registry.cli import main
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of


def size(agent: dict[str, Any], family: str, episodes: int, **settings: Any) -> int:
    tasks = build_family(family, settings)
    problem = problem_of(tasks, episodes=episodes, seed=0, device=torch.device("cpu"))
    return carry_size(build_agent(Part.model_validate(agent), problem), tasks, episodes)


def test_hidden_states_by_hand() -> None:
    """Numbers of 4 bytes: two states of an LSTM and four figures of the trial's rewards; keys and values of 2 steps."""
    assert size({"name": "random"}, "bandit", 3) == 0
    assert size({"name": "rl2", "network": {"name": "lstm", "hidden_size": 7}}, "bandit", 3) == 4 * (2 * 7 + 4)
    window = {"name": "transformer", "window": 3, "truncate": True, "layers": 2, "heads": 2, "head_width": 4}
    inputs = 1 + 5 + 1 + 2
    kept = 2 * 2 * (2 * 2 * 4)
    assert size({"name": "rl2", "network": window}, "bandit", 9) == 4 * (inputs + 1 + kept + 4)


def test_tables_by_hand() -> None:
    """An entry: code, key of 3 numbers, value, time; then clock, evictions, episodes, in integers of 8 bytes."""
    tables = {"name": "mfec", "capacity": 6, "width": 3, "neighbours": 2}
    assert size(tables, "bandit", 2, arms=4) == 4 * 6 * (8 + 3 * 4 + 4 + 8) + 3 * 8


@pytest.mark.parametrize("item", registry.catalogue().items("networks"), ids=lambda item: item.entry.name)
def test_every_network_is_weighed(item: Any) -> None:
    said = described("networks", item.full_name)
    assert said is not None
    assert "after 10 episodes of" in said["carry"]


def test_describe_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "networks/lstm"]) == 0
    assert "carry:" in (said := capsys.readouterr().out)
    assert "400 bytes a trial after 10 episodes of tabular-mdp" in said
    assert main(["describe", "families/bandit"]) == 0
    assert "carry" not in capsys.readouterr().out

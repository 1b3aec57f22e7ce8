"""Agents that break their contract inside a runner, in every way: told by entry, call and what came, as in the loop."""

import re
from pathlib import Path

import pytest
import torch

import agents.api
import registry
from plugins.runners.paired import Paired
from registry.config import Part
from registry.discovery import FILES_VARIABLE, load_file
from registry.errors import PluginError, UserError
from taskgen.build import build_family
from taskgen.runner import Assignment
from taskgen.streams import seed_sequence

BROKEN = load_file(Path(__file__).parents[1] / "toys" / "broken_parts.py")
RUNNERS = {
    "pbt": {"population": 2, "judged_tasks": 1, "explore": {"rate": {}}},
    "poet": {"novelty": "pata-ec", "first_tasks": 1, "lowest": -1e9, "highest": 1e9, "reproduce_every": 1},
    "paired": {"teacher_objective": "random"},
    "epg": {},
}
SMALL = {"hidden": [4], "trajectories": 1, "channels": [3, 3], "context_width": 3, "loss_width": 3, "pairs": 1}
EVOLVER = {
    "outcome none": "outcome gave None, a NoneType, expected an Outcome",
    "outcome raises": r"outcome raised KeyError: 'goal' \(broken_parts.py, line",
    "evolve none": "evolve gave None, a NoneType, expected a dict of numbers by name",
    "evolve raises": "evolve raised KeyError",
    "plan none": r"plan\(2\) gave None, a NoneType, expected a CollectionPlan",
    "state none": "state_dict gave None",
}


ROOT = Path(__file__).parents[2]
DRIVERS = ("plugins", "taskgen", "agents/training", "agents/evaluation", "agents/reports", "agents/sweeps")
MAY_ASK = {
    "taskgen/interaction/guard.py",
    "agents/evaluation/carry.py",  # hands on what it is asked
    "taskgen/faces/stable_baselines.py",  # an example of another library's `learn`
}


@pytest.fixture(autouse=True)
def broken_parts(plugin_environment, monkeypatch):
    """The catalogue also holds the entries of `tests/toys/broken_parts.py`."""
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parents[1] / "toys" / "broken_parts.py"))


def assignment(agent, **family):
    return Assignment(
        family=build_family("broken_parts/world", family),
        source=Part(name="domain-randomization"),
        agent=Part.model_validate(agent),
        iterations=2,
        tasks=4,
        episodes=2,
        seed=seed_sequence(0, "runner"),
        device=torch.device("cpu"),
    )


def driven(name, agent, settings, **family):
    """An iteration and what a checkpoint would hold."""
    settings = {**RUNNERS[name], **settings}
    runner = registry.catalogue().get("runners", name).build(settings, assignment=assignment(agent, **family))
    try:
        runner.iterate()
        runner.state_dict()
    finally:
        runner.close()


def refusal(*arguments, **family):
    with pytest.raises(UserError) as caught:
        driven(*arguments, **family)
    return str(caught.value)


def check(message, entry, said):
    assert "\n" not in message
    assert re.search(rf"(^|: )broken_parts/{entry}\b.*{said}", message), message


def player(fault):
    return {"name": "broken_parts/player", "fault": fault}


def test_whoever_drives_agents_asks_them_by_the_guard():
    files = {path for room in DRIVERS for path in (ROOT / room).rglob("*.py")}
    asking = {path for path in files if re.search(r"\.(plan|learn)\(", path.read_text())}
    assert {str(path.relative_to(ROOT)) for path in asking} == MAY_ASK


def test_every_runner_is_swept():
    assert {item.entry.name for item in registry.catalogue().items("runners")} == {*RUNNERS}


@pytest.mark.parametrize("name", [name for name in RUNNERS if name != "epg"])
def test_a_broken_agent_is_told(name):
    driven(name, player(""), {})
    for fault, said in BROKEN.AGENT.items():
        check(refusal(name, player(fault), {}), "player", said)
    for fault, said in BROKEN.NUMBERS.items():
        check(refusal(name, player(fault), {}, acted="box"), "player", said)


@pytest.mark.parametrize("who", ["teacher", "antagonist"])
def test_whoever_else_learns_is_told(who):
    for fault, said in BROKEN.AGENT.items():
        if fault.partition(" ")[0] in ("plan", "learn", "state", "state_dict"):
            settings = {"teacher_objective": "regret", who: player(fault)}
            check(refusal("paired", player(""), settings), "player", re.sub(r"\d", ".", said))


@pytest.mark.parametrize(
    ("hook", "given", "said"),
    [
        ("iterate", {}, "iterate gave no figures, expected charts/batch_steps among them"),
        ("iterate", {"a/b": 1.0}, "iterate gave a/b, expected charts/batch_steps among them"),
        ("records", [1], "records gave 1, a int, expected Records"),
    ],
)
def test_a_broken_runner_is_told(hook, given, said, tmp_path, monkeypatch):
    monkeypatch.setattr(Paired, hook, lambda _: given)
    settings = BROKEN.experiment() | {"runner": {"name": "paired"}}
    with pytest.raises(PluginError, match=f"builtin/paired: {said}"):
        agents.api.train(settings, run=tmp_path / "run", judge=False)


def test_a_loss_that_is_evolved_is_told():
    def evolver(fault):
        return {"name": "broken_parts/evolver", "fault": fault, **SMALL}

    driven("epg", evolver(""), {})
    for fault, said in EVOLVER.items():
        check(refusal("epg", evolver(fault), {}), "evolver", said)

"""Plugins that break a contract, in every way a newcomer has: each is told in one line by entry, call and what came."""

import re
from pathlib import Path

import pytest

import agents.api
from registry.cli import main
from registry.discovery import FILES_VARIABLE
from registry.errors import UserError
from taskgen.testing import check_family

FAMILY = {
    "init raises": r"broken_parts:World\(config, name=\) raised KeyError: 'goal'",
    "no action_space": "sets no action_space",
    "no observation_space": "sets no observation_space",
    "no horizon": "sets no horizon",
    "horizon zero": "horizon is 0, expected a whole number of steps",
    "horizon text": "horizon is '3', expected a whole number",
    "space none": "has the action space None: that is a NoneType",
    "space text": "has the action space box: that is a str",
    "knobs none": r"context_space gave \{'gain': 1.0\}, a dict, expected a ContextSpace",
    "batch none": "NoneType has no slots, no device, no family",
    "batch raises": r"batch\(1\) raised KeyError: 'goal' \(broken_parts.py, line \d+\)",
    "batch no step": "_Stepless has no step, which a taskgen.batch.TaskBatch has",
    "set_tasks raises": r"set_tasks raised KeyError: 'goal' \(broken_parts.py",
    "set_tasks signature": r"set_tasks raised TypeError: _signature\(\) takes 0 positional arguments",
    "reset none": r"reset gave None, a NoneType, expected a tensor \[4, 2\]",
    "reset list": r"reset gave \[\[.*a list, expected a tensor \[4, 2\]",
    "reset array": "reset gave array.*a ndarray, expected a tensor",
    "reset shape": r"reset gave observations \[4, 1\], expected \[4, 2\]",
    "reset short": r"reset gave observations \[1, 2\], expected \[4, 2\]",
    "reset nan": r"reset gave observation nan in task [0-9a-f]+, episode 0, step 0",
    "reset raises": "reset raised KeyError: 'goal' ",
    "reset signature": "reset raised TypeError",
    "step none": "step gave None, a NoneType, expected a Transition",
    "step tuple": r"step gave \(.*a tuple, expected a Transition",
    "step reward shape": r"step gave reward \[4, 1\] torch.float32, expected \[4\] torch.float32",
    "step reward scalar": r"step gave reward \[\] torch.float32, expected \[4\]",
    "step reward double": r"step gave reward \[4\] torch.float64, expected \[4\] torch.float32",
    "step reward list": r"step gave reward = \[.*, a list, expected a tensor \[B\]",
    "step reward nan": "step gave reward nan in task .* step 0 of the round, expected finite",
    "step reward inf": "step gave reward inf in task",
    "step terminated float": r"step gave terminated \[4\] torch.float32, expected \[4\] torch.bool",
    "step truncated none": "step gave truncated = None, a NoneType",
    "step observation shape": r"step gave observations \[4, 1\], expected \[4, 2\]",
    "step observation none": "step gave None, a NoneType, expected a tensor",
    "step observation nan": "step gave observation nan in task",
    "step raises": r"step raised KeyError: 'goal' \(broken_parts.py",
    "step signature": "step raised TypeError",
    "descriptor none": "descriptor gave a NoneType",
    "descriptor flat": r"descriptor gave a Tensor \[1\], expected a tensor \[B, D\]",
    "descriptor short": r"descriptor gave a Tensor \[0, 1\]",
    "descriptor raises": "descriptor raised KeyError",
}
SOURCE = {
    "init raises": r"broken_parts:Source\(config, family=, seed=\) raised KeyError: 'goal'",
    "feedback none": "feedback is None, a NoneType, expected a bool",
    "ask none": r"ask\(1\) gave None, a NoneType, expected a list of 1 TaskSpec",
    "ask dicts": r"ask\(1\) gave \{.*a dict, as task 0, expected a list of 1 TaskSpec",
    "ask strings": "a str, as task 0",
    "ask nones": "gave None, a NoneType, as task 0",
    "ask few": r"ask\(1\) gave 0 tasks, expected exactly 1",
    "ask nothing": r"ask\(1\) gave 0 tasks, expected exactly 1",
    "ask many": r"ask\(1\) gave 2 tasks, expected exactly 1",
    "ask generator": "a generator, expected a list",
    "ask one": "a TaskSpec, expected a list",
    "ask foreign": r"a task that is not valid, number 0 \(task [0-9a-f]+ belongs to family builtin/bandit",
    "ask beyond": "a task that is not valid, number 0 .*gain = 99.0",
    "ask bare": "a task that is not valid, number 0 .*the context lacks 'acted'",
    "ask raises": r"ask\(1\) raised KeyError: 'goal' \(broken_parts.py, line \d+\)",
    "ask signature": r"ask\(1\) raised TypeError: _signature\(\) takes 0 positional arguments but 1 was given",
    "tell raises": "tell of 4 results raised KeyError: 'goal'",
    "tell signature": "tell of 4 results raised TypeError",
    "state none": "state_dict gave None, a NoneType, expected a dict",
    "state list": r"state_dict gave \[1\], a list, expected a dict",
    "state odd": "/source/a: a value of type object cannot be stored",
    "state_dict raises": "state_dict raised KeyError",
}
AGENT = {
    "init raises": r"broken_parts:Player\(config, problem=\) raised KeyError: 'goal'",
    "descriptor text": "needs_descriptor is 'no', a str, expected a bool",
    "learn text": "learn is 'learn', a str, expected a method",
    "plan none": r"plan\(2\) gave None, a NoneType, expected a CollectionPlan",
    "plan number": r"plan\(2\) gave 2, a int, expected a CollectionPlan",
    "plan other": r"plan\(2\) gave 1 rounds of 3 episodes, expected 2 episodes in all",
    "plan raises": r"plan\(2\) raised KeyError",
    "begin_trial raises": r"begin_trial\(4\) raised KeyError",
    "begin_trial signature": r"begin_trial\(4\) raised TypeError",
    "act none": r"act gave None, a NoneType, expected \(Action, carry\)",
    "act action": r"act gave Action.*expected \(Action, carry\)",
    "act tensor": r"act gave \(tensor.*expected \(Action, carry\)",
    "act list": r"act gave an action \[.*a list, expected a tensor \[4\]",
    "act array": "act gave an action array.*a ndarray, expected a tensor",
    "act shape": r"act gave actions \[4, 1\], expected \[4\], in Discrete\(3\)",
    "act short": r"act gave actions \[1\], expected \[4\]",
    "act dtype": "act gave actions of torch.float32, expected torch.int64",
    "act bool": "act gave actions of torch.bool, expected torch.int64",
    "act outside": r"act gave the action [789], expected one in Discrete\(3\)",
    "act below": r"act gave the action -[567], expected one in Discrete\(3\)",
    "act raises": r"act raised KeyError: 'goal' \(broken_parts.py",
    "act signature": "act raised TypeError",
    "adapt raises": "adapt raised KeyError",
    "learn none": "learn gave None, a NoneType, expected a dict of numbers by name",
    "learn list": r"learn gave \[1.0\], a list, expected a dict",
    "learn tensor": r"learn gave losses/x = tensor\(0.\), a Tensor, expected numbers: say float",
    "learn strings": "learn gave losses/x = '0', a str, expected numbers",
    "learn names": "learn gave the key 1, expected names that are strings",
    "learn raises": "learn raised KeyError",
    "learn signature": "learn raised TypeError",
    "state none": "state_dict gave None",
    "state tuple": r"state_dict gave \(\), a tuple",
    "state odd": "/agent/a/b: a value of type object cannot be stored",
    "state_dict raises": "state_dict raised KeyError",
}
NUMBERS = {"act nan": "act gave nan in task", "act inf": "act gave inf in task"}
"""Of an agent whose actions are numbers."""


@pytest.fixture(autouse=True)
def broken_parts(plugin_environment, monkeypatch):
    """The catalogue also holds the entries of `tests/toys/broken_parts.py`."""
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parents[1] / "toys" / "broken_parts.py"))


def experiment(family="", source="", agent="", **more):
    return {
        "family": {"name": "world", "fault": family, **more},
        "source": {"name": "broken_parts/source", "fault": source},
        "agent": {"name": "player", "fault": agent},
        "training": {"iterations": 2, "tasks": 4, "episodes": 2, "checkpoint_every": 1, "evaluate_every": 0},
        "evaluation": {"tasks": 4, "final_tasks": 4, "tail": 0.0, "players": [], "same_tasks": True},
    }


def refusal(settings, path):
    with pytest.raises(UserError) as caught:
        agents.api.train(settings, run=path, judge=False)
    return str(caught.value)


def cases(faults):
    return [pytest.param(fault, said, id=fault.replace(" ", "-")) for fault, said in faults.items()]


def check(message, entry, said):
    assert "\n" not in message
    assert message.startswith(f"broken_parts/{entry}")
    assert re.search(said, message), message


def test_the_parts_are_right_without_a_fault(tmp_path):
    agents.api.train(experiment(), run=tmp_path / "run", judge=False)


@pytest.mark.parametrize(("fault", "said"), cases(FAMILY))
def test_families(fault, said, tmp_path):
    check(refusal(experiment(family=fault), tmp_path / "run"), "world", said)


@pytest.mark.parametrize(("fault", "said"), cases(SOURCE))
def test_sources(fault, said, tmp_path):
    check(refusal(experiment(source=fault), tmp_path / "run"), "source", said)


@pytest.mark.parametrize(("fault", "said"), cases(AGENT))
def test_agents(fault, said, tmp_path):
    check(refusal(experiment(agent=fault), tmp_path / "run"), "player", said)


@pytest.mark.parametrize(("fault", "said"), cases(NUMBERS))
def test_agents_whose_actions_are_numbers(fault, said, tmp_path):
    message = refusal(experiment(agent=fault, acted="box"), tmp_path / "run")
    check(message, "player", said)
    assert "lower learning rate" in message


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("agent", "broken_parts/half", "Half has no act, no learn, which a taskgen.interaction.agent.Agent has"),
        ("agent", "broken_parts/nothing", "NoneType has no needs_descriptor, no plan"),
        (
            "agent",
            "broken_parts/narrow",
            r"broken_parts:narrow\(config, problem=\) raised TypeError: narrow\(\) got an un",
        ),
        ("source", "broken_parts/mute", "Mute has no tell, no state_dict, which a taskgen.source.TaskSource has"),
        ("source", "broken_parts/nothing", "NoneType has no feedback"),
        ("source", "broken_parts/narrow", r"narrow\(config, family=, seed=\) raised TypeError"),
        ("family", "broken_parts/half", "Can't instantiate abstract class Half with abstract method batch"),
        ("family", "broken_parts/nothing", "is not a TaskFamily"),
        ("family", "broken_parts/narrow", r"narrow\(config, name=\) raised TypeError"),
    ],
)
def test_what_is_missing_is_named_and_nothing_else(kind, name, said, tmp_path):
    settings = experiment()
    settings[kind] = {"name": name}
    check(refusal(settings, tmp_path / "run"), name.partition("/")[2], said)


@pytest.mark.parametrize("fault", ["ask nothing", "ask few", "ask none", "ask dicts", "ask raises", "ask beyond"])
def test_generate_ends_and_tells(fault, tmp_path, capsys):
    words = ["generate", "broken_parts/source", "--family", "world", "-n", "3", "-o", str(tmp_path / "tasks.jsonl")]
    assert main([*words, f"fault={fault}"]) in (2, 3)
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(SOURCE[fault].replace("1", "3").replace("gave 0", "gave [02]"), message), message
    assert not (tmp_path / "tasks.jsonl").exists()


def test_a_run_that_broke_later_can_go_on(tmp_path, monkeypatch):
    """What was trained before is kept, and the message says how to go on from it."""
    import broken_parts

    played = []
    step = broken_parts.Batch.step

    def breaks(self, action):
        played.append(len(played))
        return None if len(played) > 8 else step(self, action)

    monkeypatch.setattr(broken_parts.Batch, "step", breaks)
    message = refusal(experiment(), tmp_path / "run")
    assert "broken_parts/world: step gave None" in message
    assert re.search(r"0*1 is kept: mend the plugin, then go on from there with `--resume`", message), message


def test_a_family_that_says_nothing_of_its_actions_is_played(tmp_path):
    settings = experiment()
    settings["agent"] = {"name": "rl2"}
    agents.api.train(settings, run=tmp_path / "run", judge=False)


def test_the_kit_names_a_space_that_is_none():
    from taskgen.engines.toys import SpaceToy, SpaceToyConfig

    family = SpaceToy(SpaceToyConfig())
    family.action_space = None
    with pytest.raises(AssertionError, match="action space None: that is a NoneType"):
        check_family(family)

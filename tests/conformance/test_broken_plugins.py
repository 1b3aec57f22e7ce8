"""Plugins that break a contract, in every way a newcomer has: each is told in one line by entry, call and what came."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import agents.api
from registry.cli import main
from registry.discovery import FILES_VARIABLE, load_file
from registry.errors import PluginError, UserError
from taskgen.borders import asked
from taskgen.build import build_family, build_source
from taskgen.testing import check_family

BROKEN = load_file(Path(__file__).parents[1] / "toys" / "broken_parts.py")


@pytest.fixture(autouse=True)
def broken_parts(plugin_environment, monkeypatch):
    """The catalogue also holds the entries of `tests/toys/broken_parts.py`."""
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parents[1] / "toys" / "broken_parts.py"))


def refusal(settings, path):
    with pytest.raises(UserError) as caught:
        agents.api.train(settings, run=path, judge=False)
    return str(caught.value)


def check(message, entry, said):
    assert "\n" not in message
    assert message.startswith(f"broken_parts/{entry}")
    assert re.search(said, message), message


def test_the_parts_are_right_without_a_fault(tmp_path):
    agents.api.train(BROKEN.experiment(), run=tmp_path / "run", judge=False)


@pytest.mark.parametrize(
    ("settings", "entry", "said"), [pytest.param(*case, id=name.replace(" ", "-")) for name, *case in BROKEN.cases()]
)
def test_a_broken_part_is_told(settings, entry, said, tmp_path):
    check(refusal(settings, tmp_path / "run"), entry, said)


@pytest.mark.parametrize("fault", ["ask nothing", "ask few", "ask none", "ask dicts", "ask raises", "ask beyond"])
def test_generate_ends_and_tells(fault, tmp_path, capsys):
    words = ["generate", "broken_parts/source", "--family", "world", "-n", "3", "-o", str(tmp_path / "tasks.jsonl")]
    assert main([*words, f"fault={fault}"]) in (2, 3)
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(BROKEN.SOURCE[fault].replace("1", "3").replace("gave 0", "gave [02]"), message), message
    assert not (tmp_path / "tasks.jsonl").exists()


def test_a_run_that_broke_later_can_go_on(tmp_path, monkeypatch):
    """What was trained before is kept, and the message says how to go on from it."""
    import broken_parts

    played = []
    step = broken_parts.Batch.step

    def breaks(self, action):
        played.append(len(played))
        return None if len(played) > 26 else step(self, action)

    monkeypatch.setattr(broken_parts.Batch, "step", breaks)
    message = refusal(BROKEN.experiment(), tmp_path / "run")
    assert "broken_parts/world: step gave None" in message
    assert re.search(r"the checkpoint of iteration 1 is kept: mend the plugin and go on with `--resume`", message), (
        message
    )


def test_a_family_that_says_nothing_of_its_actions_is_played(tmp_path):
    settings = BROKEN.experiment()
    settings["agent"] = {"name": "rl2"}
    agents.api.train(settings, run=tmp_path / "run", judge=False)


def test_the_kit_names_a_space_that_is_none():
    from taskgen.engines.toys import SpaceToy, SpaceToyConfig

    family = SpaceToy(SpaceToyConfig())
    family.action_space = None
    with pytest.raises(AssertionError, match="action space None: that is a NoneType"):
        check_family(family)


def test_a_source_that_goes_wrong_later_is_told_wherever_in_an_ask():
    """Of later asks four tasks are looked at, other ones each time, until every place had its turn."""
    family = build_family("broken_parts/world", {})
    for place in (0, 7, 13, 15):
        source = build_source("broken_parts/source", family, 0)
        right = source.ask
        assert len(asked(source, 16, family)) == 16

        def wrong(n, right=right, place=place):
            specs = right(n)
            specs[place] = replace(specs[place], context={**specs[place].context, "gain": 99.0})
            return specs

        source.ask = wrong
        with pytest.raises(PluginError, match=rf"a task that is not valid, number {place} .*gain = 99.0"):
            [asked(source, 16, family) for _ in range(4)]

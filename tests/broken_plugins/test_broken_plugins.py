"""Each fixture is a plugin broken in its own way: it is listed with its error, and everything else works."""

import json
import os
import re
from pathlib import Path

import pytest

from registry.catalogue import Catalogue, build
from registry.cli import main
from registry.discovery import FILES_VARIABLE, discover
from registry.errors import UserError

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = """
from registry import Entry, hookimpl

@hookimpl
def register_agents():
    return [Entry("good", "collections:OrderedDict", "A good agent.")]
"""
FAILED = {
    "raises_at_import": "RuntimeError: the database is on fire",
    "exits_at_import": "SystemExit: I am a script",
    "misspelt_hook": "there is no hook 'register_agentz'; did you mean 'register_agents'?",
    "wrong_argument": r"Argument\(s\) {'folder'} are declared in the hookimpl but can not be found",
    "wrong_api_level": "written for API level 99, while this is level 2 and takes plugins from level 1 on; look",
    "imports_what_moved": "No module named 'agents.gradient'; since API level 2 it is agents.common.gradient",
    "raising_hook": "KeyError: 'settings'",
    "bad_entry": "register_agents, entry 'Not A Name': name = 'Not A Name': expected lower-case letters",
    "not_an_entry": r"register_agents returned {'name': 'x'}; expected a registry.Entry",
    "returns_nothing": "register_agents returned None; expected a list of registry.Entry",
    "hook_wrapper": "register_agents is a hook wrapper",
    "no_hooks": "has no function marked @registry.hookimpl",
    "own_target_missing": "own_target_missing has no 'Cornres'. Did you mean 'Corners'?",
}
"""Fixture -> its error. The others load, and are broken only where they are used."""
LATE = {"target_missing", "target_moved", "shadows_builtin", "broken_verb"}


def load(*paths: Path) -> Catalogue:
    return build(discover({FILES_VARIABLE: os.pathsep.join(map(str, paths)), "TASKGEN_DISABLE_PLUGIN_AUTOLOAD": "1"}))


def names(catalogue: Catalogue, provider: str = "builtin") -> list[str]:
    kinds = ("families", "agents", "generators", "commands", "networks", "trackers", "experiments")
    return [item.full_name for kind in kinds for item in catalogue.items(kind) if item.provider == provider]


def test_every_fixture_is_tested() -> None:
    assert {path.stem for path in FIXTURES.glob("*.py")} == {*FAILED, *LATE}


@pytest.mark.parametrize("fixture", FAILED)
def test_broken_plugin_is_recorded_and_nothing_else_suffers(fixture: str, tmp_path: Path) -> None:
    good = tmp_path / "good_neighbour.py"
    good.write_text(GOOD)
    catalogue = load(FIXTURES / f"{fixture}.py", good)
    (record,) = catalogue.broken()
    assert record.key == f"file:{fixture}"
    assert record.status == ("incompatible" if fixture == "wrong_api_level" else "failed")
    assert re.search(FAILED[fixture], record.error)
    assert names(catalogue, fixture) == []
    assert names(catalogue) == names(load())
    assert catalogue.get("agents", "good").provider == "good_neighbour"


def test_tracebacks_are_kept_for_what_the_plugin_raised() -> None:
    records = {record.provider: record for record in load(*sorted(FIXTURES.glob("*.py"))).broken()}
    assert set(records) == set(FAILED)
    assert "raises_at_import.py" in records["raises_at_import"].traceback
    assert 'raise KeyError("settings")' in records["raising_hook"].traceback
    assert records["bad_entry"].traceback == ""


def test_all_at_once_on_the_command_line(
    plugin_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of the environment, as those of installed plugins, are warned of."""
    monkeypatch.setenv(FILES_VARIABLE, os.pathsep.join(map(str, sorted(FIXTURES.glob("*.py")))))
    assert main(["list", "--broken", "--json"]) == 0
    captured = capsys.readouterr()
    broken = json.loads(captured.out)
    assert {row["plugin"] for row in broken["plugins"]} == {f"file:{name}" for name in FAILED}
    errors = {row["entry"]: row["error"] for row in broken["entries"]}
    assert "there is no module 'no_such_package'" in errors["target_missing/absent"]
    assert "there is no module 'no_such_package'" in errors["broken_verb/perform"]
    assert "since API level 2 it is agents.training.loop" in errors["target_moved/old"]
    for name in FAILED:
        assert captured.err.count(f"warning: plugin file:{name} did not load") == 1

    assert main(["list", "families"]) == 0
    assert "bandit" in capsys.readouterr().out


VERBS = ["list", "list families", "describe rl2", "--help", "train rl2-bandit", "generate", "new-plugin x", "play x"]


@pytest.mark.parametrize("line", VERBS)
@pytest.mark.parametrize("fixture", FAILED)
def test_a_file_that_was_asked_for_and_does_not_load_is_an_error(
    fixture: str, line: str, plugin_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = FIXTURES / f"{fixture}.py"
    assert main(["--plugin", str(file), *line.split()]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: --plugin {file} did not load: " in captured.err
    assert re.search(FAILED[fixture], captured.err)


@pytest.mark.parametrize("line", ["list --broken", "doctor"])
def test_who_asks_what_is_broken_is_told_all(
    line: str, plugin_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--plugin", str(FIXTURES / "no_hooks.py"), *line.split()])
    assert "no_hooks" in capsys.readouterr().out


def test_doctor_shows_the_traceback_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugin", str(FIXTURES / "raises_at_import.py"), "doctor"]) == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "Traceback (most recent call last)" in out
    assert "plugin file:raises_at_import did not load: RuntimeError: the database is on fire" in out


def test_a_name_like_a_builtin_is_refused_not_guessed() -> None:
    catalogue = load(FIXTURES / "shadows_builtin.py")
    with pytest.raises(UserError, match="'builtin/rl2' or 'shadows_builtin/rl2'"):
        catalogue.get("agents", "rl2")


def test_verbs_like_builtin_ones_go_by_their_full_name(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--plugin", str(FIXTURES / "shadows_builtin.py")]
    assert main([*flags, "list", "agents"]) == 0
    assert "shadows_builtin/rl2" in capsys.readouterr().out
    assert main([*flags, "shadows_builtin/list"]) == 1
    assert main([*flags, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert "shadows_builtin/train" in help_text
    assert "Pretends to train" in help_text
    assert "Train an agent as a shipped experiment" in help_text


def test_a_verb_that_cannot_be_imported_is_skipped_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--plugin", str(FIXTURES / "broken_verb.py")]
    assert main([*flags, "--help"]) == 0
    captured = capsys.readouterr()
    assert "warning: no verb 'perform'" in captured.err
    assert "no_such_package" in captured.err
    assert "Plays." not in captured.out
    assert main([*flags, "list"]) == 0
    assert capsys.readouterr().err == ""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import registry
from agents.training.experiment import Experiment
from registry import doctor
from registry.cli import main
from registry.discovery import DISABLE_VARIABLE
from registry.fields import settings

VERB = '''
from typing import Annotated
import typer
from registry import Entry, hookimpl
from registry.errors import TaskError

@hookimpl
def register_commands():
    return [Entry("fall", f"{__name__}:fall", "Fall in one of several ways.")]

def fall(how: Annotated[str, typer.Argument()], times: int = 1) -> None:
    """Fall."""
    if how == "task":
        raise TaskError("line 3 is broken")
    if how == "disk":
        raise OSError(28, "No space left on device", "tasks.jsonl")
    if how == "bug":
        raise ZeroDivisionError
    if how == "key":
        raise KeyboardInterrupt
    print("fell", times)
'''


@pytest.fixture
def verb(tmp_path: Path) -> str:
    path = tmp_path / "verb_plugin.py"
    path.write_text(VERB)
    return str(path)


def test_list_shows_every_kind_and_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "families" in lines
    summary = registry.catalogue().get("agents", "rl2").entry.summary
    assert any(line.strip().startswith("rl2 ") and line.endswith(summary) for line in lines)


def test_on_a_terminal_tables_wrap_and_are_coloured() -> None:
    reader, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60"}
    command = [sys.executable, "-m", "registry.cli", "list", "agents"]
    subprocess.run(command, stdout=terminal, stdin=terminal, env=environment, check=True, timeout=60)
    os.close(terminal)
    text = b""
    while chunk := _read(reader):
        text += chunk
    lines = text.decode().splitlines()
    assert "\x1b[1magents" in lines[0]
    assert any(line.startswith("tabular-oracle ") for line in lines)
    assert max(map(len, lines[1:])) <= 60


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_list_json_holds_every_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = [item.full_name for kind in registry.KINDS for item in registry.catalogue().items(kind)]
    assert [row["full_name"] for row in rows] == expected
    row = next(row for row in rows if row["full_name"] == "builtin/bandit")
    assert row["offers"] == ["bandit", "discrete-actions"]
    assert row["kind"] == "families"


def test_list_of_an_unknown_and_of_an_empty_kind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["list", "famlies"]) == 2
    assert "Did you mean 'families'?" in capsys.readouterr().err
    monkeypatch.setenv(DISABLE_VARIABLE, "taskgen-metarl:builtin-tasks")
    assert main(["list", "trackers"]) == 0
    assert "There are no trackers yet." in capsys.readouterr().out


def test_describe_shows_settings_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "families/bandit"]) == 0
    out = capsys.readouterr().out
    assert "builtin/bandit (families)" in out
    assert "Duan et al. 2016" in out
    (row,) = [line for line in out.splitlines() if line.strip().startswith("arms ")]
    assert "integer" in row
    assert ">= 1" in row
    assert "Number of arms" in row


def test_describe_shows_every_setting_of_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "train"]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    known = [setting.path for setting in settings(Experiment)]
    assert {"seed", "training.deadline", "evaluation.players"} < set(known)
    assert [word for word in shown if word in known] == known


def test_describe_finds_names_alone_and_cites(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "rl2", "--cite"]) == 0
    assert capsys.readouterr().out.startswith("Duan et al. 2016")
    assert main(["describe", "builtin/rl2"]) == 0
    assert main(["describe", "random", "--cite"]) == 2
    assert "builtin/random states no citation" in capsys.readouterr().err


def test_describe_of_an_experiment_is_its_toml(capsys: pytest.CaptureFixture[str]) -> None:
    item = registry.catalogue().get("experiments", "rl2-bandit")
    assert main(["describe", "experiments/rl2-bandit"]) == 0
    out = capsys.readouterr().out
    assert tomllib.loads(out.partition("\n\n")[2]) == item.load()


def test_describe_unknown_names_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "bandti"]) == 2
    assert "nothing in the catalogue is called 'bandti'. Did you mean 'bandit'" in capsys.readouterr().err
    assert main(["describe", "rewards"]) == 2
    assert "'rewards' is a kind of entry: `taskgen list rewards` names those of it" in capsys.readouterr().err
    assert main(["describe", "agents/rl3"]) == 2
    assert "'rl3' is not among the agents" in capsys.readouterr().err


def test_describe_of_one_name_in_two_kinds_names_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "elsewhere.py"
    path.write_text(
        "from registry import Entry, hookimpl\n"
        "@hookimpl\ndef register_runners():\n    return [Entry('rl2', 'collections:OrderedDict', 'S.')]\n"
    )
    assert main(["describe", "rl2", "--plugin", str(path)]) == 2
    commands = re.findall("`taskgen (.*?)`", capsys.readouterr().err)
    assert [command.rpartition(" ")[2] for command in commands] == ["agents/builtin/rl2", "runners/elsewhere/rl2"]
    assert [main(command.split()) for command in commands] == [0, 0]
    assert main(["describe", "runners/elsewhere/rl2", f"--plugin={path}"]) == 0


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("task", 4, "error: line 3 is broken\n"),
        ("disk", 1, "error: [Errno 28] No space left on device: 'tasks.jsonl'\n"),
    ],
)
def test_errors_are_messages(verb: str, how: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fall", how, "--plugin", verb]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_bugs_keep_their_traceback_and_debug_shows_it_for_errors(verb: str) -> None:
    with pytest.raises(ZeroDivisionError):
        main(["--plugin", verb, "fall", "bug"])
    with pytest.raises(registry.errors.TaskError):
        main(["--plugin", verb, "fall", "task", "--debug"])


def test_interrupt_exits_130(verb: str) -> None:
    assert main(["--plugin", verb, "fall", "key"]) == 130


def test_global_options_stand_anywhere_and_end_at_two_dashes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fall", "--plugin", verb, "gently", "--times", "3"]) == 0
    assert capsys.readouterr().out == "fell 3\n"
    assert main(["fall", "--plugin", verb, "--", "--debug"]) == 0
    assert capsys.readouterr().out == "fell 1\n"


@pytest.mark.parametrize(
    "line",
    [["lst"], ["list", "--jsn"], ["describe"], ["list", "a", "b"], ["--plugin", "no.py", "list"], ["list", "--plugin"]],
)
def test_usage_errors_exit_2(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "rror" in captured.err


def test_a_path_that_cannot_stand_in_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{os.pathsep}b.py"
    path.touch()
    assert main(["--plugin", str(path), "list"]) == 2
    assert "the path must not contain" in capsys.readouterr().err


def test_a_directory_is_no_plugin_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugin", str(tmp_path), "list"]) == 2
    assert "a directory; name a file in it, or install it if it is a package" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "taskgen-metarl 0.1.0\n"


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for item in registry.catalogue().items("commands"):
        assert item.entry.summary in out
    assert "..." not in out.partition("Commands")[2]


def test_name_clashes_name_the_package_to_remove() -> None:
    owners = {"agents": ["taskgen-metarl", "openai-agents"], "plugins": ["Taskgen_MetaRL"], "registry": ["other"]}
    (first, second) = doctor.clashes(owners)
    assert first.startswith("other installs the import name 'registry' too: run `pip uninstall other`")
    assert second.startswith("openai-agents installs the import name 'agents' too")
    assert doctor.clashes({"agents": ["taskgen-metarl"]}) == []


@pytest.mark.parametrize("item", registry.catalogue().items("families"), ids=lambda item: item.entry.name)
def test_describe_shows_the_knobs_of_every_family(item: registry.Item, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", f"families/{item.full_name}"]) == 0
    out = capsys.readouterr().out
    for name, knob in item.build(name=item.full_name).context_space.knobs.items():
        (row,) = [line for line in out.splitlines() if line.strip().startswith(f"{name} ") and knob.help in line]
        for word in (f"{knob.low:g} to {knob.high:g}", knob.unit, "no" if knob.vary is None else "yes"):
            assert word in row


def test_doctor_shows_versions_and_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    for word in ("python", "torch", "gymnasium", "taskgen-metarl:builtin-tasks", "problems"):
        assert word in out

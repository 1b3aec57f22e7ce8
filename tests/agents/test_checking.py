"""`taskgen check`: somebody's plugin in processes of its own."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from registry.cli import main
from registry.discovery import FILES_VARIABLE

TOYS = Path(__file__).parents[1] / "toys"
GOOD = '''
"""Tasks with the arms in the middle."""

from registry import Entry, hookimpl
from plugins.generators.domain_randomization import DomainRandomization


@hookimpl
def register_task_generators():
    return [Entry("middle", "middles:Middle", "Tasks of the middle."), Entry("idle", "middles:Idle", "Gives nothing.")]


@hookimpl
def register_runners():
    return [Entry("nobody", "middles:Middle", "Runs nothing.")]


class Middle:
    """One task again and again."""

    feedback = False

    def __init__(self, config, *, family, seed):
        self.family, self.given = family, 0

    def ask(self, n):
        self.given += n
        return [self.family.spec(seed=self.given - n + number) for number in range(n)]

    def tell(self, results):
        pass

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


class Idle(Middle):
    """Too few."""

    def ask(self, n):
        return super().ask(n)[1:]
'''


@pytest.fixture(autouse=True)
def _no_files_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES_VARIABLE, "")


def checked(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    code = main(["check", str(file), *options])
    out, err = capsys.readouterr()
    assert not err, err
    return code, out.splitlines()


def test_every_part_of_a_plugin_is_checked_and_what_is_wrong_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "middles.py").write_text(GOOD)
    code, lines = checked(tmp_path / "middles.py", capsys)
    assert code == 3
    assert "ok  generators   middles/middle" in lines
    at = lines.index("bad generators   middles/idle")
    assert "ask(4) gave 3 tasks" in lines[at + 1]
    assert "ok* runners      middles/nobody" in lines
    assert lines[-1] == "3 of 4 parts are as they should be"


def test_environments_are_checked_each_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (TOYS / "gym_toys.py").read_text()
    kept = ("Corridor", "Slope", "Careful", "Later", "Dies", "Hangs")
    pieces = text.split("\n\n\nclass ")
    body = [piece for piece in pieces[1:] if piece.split("(")[0].split(":")[0] in kept]
    (tmp_path / "few_toys.py").write_text("\n\n\nclass ".join([pieces[0], *body]) + "\n")
    code, lines = checked(tmp_path / "few_toys.py", capsys, "--deadline", "4")
    assert code == 3
    told = dict(pairwise(lines))
    assert "ok  environment  few_toys:Careful" in told
    assert told["bad environment  few_toys:Dies"].strip() == "its process died (exit code 7)"
    assert told["bad environment  few_toys:Hangs"].strip() == "not done after 4 s"
    assert "it takes the action 2" in told["bad environment  few_toys:Corridor"]


def test_environments_of_several_agents_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (TOYS / "parallel_toys.py").read_text()
    walk, later, raises = (
        text[text.index(f"class {name}(") :].split("\n\n\n")[0] for name in ("Walk", "Later", "Raises")
    )
    head = text[: text.index("class Walk(")]
    (tmp_path / "few_walks.py").write_text(f"{head}\n\n\n{walk}\n\n\n{later}\n\n\n{raises}" + "\n")
    code, lines = checked(tmp_path / "few_walks.py", capsys)
    assert code == 3
    told = dict(pairwise(lines))
    assert "ok  environment  few_walks:Walk" in told
    assert "as walker_0: it raised ValueError" in told["bad environment  few_walks:Raises"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os; os._exit(9)", "its process died (exit code 9)"),
        ("x = 1", "it does not load: has no function marked @registry.hookimpl"),
        ("import time; time.sleep(30)", "not done after 2 s"),
        ("raise ValueError('late')", "it does not load: ValueError: late"),
    ],
)
def test_a_plugin_that_does_not_load_is_told_of(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd_one.py").write_text(text)
    code, lines = checked(tmp_path / "odd_one.py", capsys, "--deadline", "2")
    assert code == 3
    assert told in lines[1]


def test_what_raises_is_told_with_its_place_and_what_it_was_tried_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace("middles", "faller").replace("return super().ask(n)[1:]", 'return self.family.context["x"]')
    (tmp_path / "faller.py").write_text(text)
    line = 1 + text.splitlines().index('        return self.family.context["x"]')
    _, lines = checked(tmp_path / "faller.py", capsys)
    told = lines[lines.index("bad generators   faller/idle") + 1]
    assert f"(faller.py, line {line})" in told


PAYS = '''
"""Pays for the fifth number of an observation."""

from registry import Entry, hookimpl


class Second:
    """Needs five."""

    def __init__(self, configs, *, family, device): ...

    def __call__(self, observation, action, next_observation):
        return next_observation[:, 4]

    def descriptor(self): ...


@hookimpl
def register_rewards():
    return [Entry("second", "second:Second", "Pays for the second.")]
'''


def test_a_reward_is_told_which_family_it_was_tried_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "second.py").write_text(PAYS)
    code, lines = checked(tmp_path / "second.py", capsys)
    assert code == 3
    told = lines[lines.index("bad rewards      second/second") + 1]
    assert "it raised IndexError" in told
    assert "(second.py, line 13), tried on builtin/point-navigation: if that is not what it is for, say so" in told


def test_a_reward_that_looks_at_other_rows_is_tried_where_rows_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAYS.replace("second", "mixed").replace("Second", "Mixed")
    text = text.replace("def __init__(self, configs, *, family, device): ...", MIXES)
    text = text.replace(
        "return next_observation[:, 4]", "return next_observation.sum(1) - next_observation.sum(1).mean()"
    )
    (tmp_path / "mixed.py").write_text(
        text.replace("def descriptor(self): ...", "def descriptor(self): return self.none")
    )
    code, lines = checked(tmp_path / "mixed.py", capsys)
    assert code == 3, lines
    assert any("behaves otherwise when it is alone in a batch" in line for line in lines), lines


MIXES = """def __init__(self, configs, *, family, device):
        import torch

        self.none = torch.zeros(len(configs), 0)"""


ONE_SPACE = """
import torch
from agents.random_policy import RandomPolicy
from registry import Entry, hookimpl


class Narrow(RandomPolicy):
    def act(self, carry, step):
        torch.zeros(len(step.observation), 2) + step.observation.reshape(len(step.observation), -1)
        return super().act(carry, step)


@hookimpl
def register_agents():
    return [Entry("narrow", "narrow_one:Narrow", "Knows two numbers.")]
"""


def test_an_agent_is_told_which_spaces_it_was_tried_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "narrow_one.py").write_text(ONE_SPACE)
    code, lines = checked(tmp_path / "narrow_one.py", capsys)
    assert code == 3
    (place,) = [number for number, line in enumerate(lines) if "act raised RuntimeError" in line]
    assert lines[place + 1].strip().startswith("tried on observations "), lines


def test_memory_beyond_what_is_allowed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "big_one.py").write_text(
        GOOD.replace("middles", "big_one").replace("self.given += n", "bytearray(10**9)")
    )
    code, lines = checked(tmp_path / "big_one.py", capsys, "--memory", "1")
    assert code == 3
    assert any("MemoryError" in line for line in lines)
    assert os.environ[FILES_VARIABLE].endswith("big_one.py")

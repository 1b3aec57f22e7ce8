"""A world that hangs is told, and does not keep a run waiting."""

import re
import subprocess
import sys
import time

import pytest

from agents.training import deadline
from agents.training.loop import train
from registry.errors import PluginError
from taskgen.engines.tensor import TensorBatch
from taskgen.interaction.collect import CALL
from tests.agents.training.test_loop import Quiet, start


def sleeps() -> None:
    time.sleep(60)


def computes() -> None:
    while True:
        pass


class Told(Quiet):
    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.mark.parametrize("call", ["step", "reset", "set_tasks"])
@pytest.mark.parametrize("hang", [sleeps, computes])
def test_a_call_that_does_not_return_ends_the_run_by_name(tmp_path, monkeypatch, call, hang):
    """In the second iteration: the first one's checkpoint is there to go on from."""
    plan, run = start(
        tmp_path / "run", "training.deadline=0.4", "training.checkpoint_every=1", "training.evaluate_every=0"
    )
    watcher, usual = Told(), getattr(TensorBatch, call)

    def hanging(self, *arguments, **named):
        if watcher.done:
            hang()
        return usual(self, *arguments, **named)

    monkeypatch.setattr(TensorBatch, call, hanging)
    monkeypatch.setattr(deadline, "SILENCE", 0.15)
    began = time.monotonic()
    with pytest.raises(PluginError) as caught:
        train(plan, run, watcher)
    assert time.monotonic() - began < 15
    place = rf"{re.escape(__file__)}:\d+, {hang.__name__}\(\)"
    said = rf"a call of its batch has not returned for \d+ s \(training.deadline\): it stands in {place}\. Go on"
    assert re.match(f"builtin/bandit: {said}", str(caught.value))
    assert any(re.fullmatch(rf"no step for \d+ s: builtin/bandit stands in {place}", line) for line in watcher.lines)
    monkeypatch.undo()
    assert run.restore()["iteration"] == 1
    assert CALL.seconds() == 0.0


def test_silence_is_told_where_any_time_is_allowed(monkeypatch):
    monkeypatch.setattr(deadline, "SILENCE", 0.1)
    lines: list[str] = []
    with deadline.bounded(0.0, "mine/slow", lines.append):
        with CALL:
            time.sleep(0.7)
        told = len(lines)
        time.sleep(0.3)
    assert 2 <= told <= 7
    assert len(lines) == told
    assert all(
        re.match(r"no step for [01] s: mine/slow stands in .*test_deadline.py:\d+, test_silence", line)
        for line in lines
    )


HANGS = """
import ctypes, itertools, sys, threading, time
from agents.training import deadline
from taskgen.interaction.collect import CALL

deadline.GRACE = deadline.DEAF = 0.5

def swallows():
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass

def holds_all_threads():
    sum(itertools.repeat(0))

with deadline.bounded(0.4, "mine/stuck", print):
    with CALL:
        {hang}()
"""


@pytest.mark.parametrize(
    ("hang", "code", "message"),
    [
        (
            "swallows",
            3,
            r"error: mine/stuck: a call of its batch has not returned for \d s .* in <string>:\d+, swallows\(\)",
        ),
        ("holds_all_threads", 1, r"Timeout.*in holds_all_threads"),
    ],
)
def test_a_call_that_cannot_be_interrupted_ends_the_process(hang, code, message):
    script = HANGS.format(hang=hang)
    ended = subprocess.run([sys.executable, "-c", script], stderr=-1, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert re.search(message, ended.stderr, re.DOTALL)

"""The benchmark of a GPU where there is none: its parts on the CPU in small, what is kept of one that is cut."""

import json
import sys
import time

import pytest

from benchmarks import gpu, harness
from benchmarks.harness import row
from registry.errors import UserError

TINY = (
    "training.iterations=5",
    "training.tasks=4",
    "training.evaluate_every=2",
    "evaluation.tasks=4",
    "evaluation.final_tasks=4",
    "evaluation.players=[]",
    "agent.network.hidden_size=4",
)
SAID = f"print({json.dumps(json.dumps(row('rl2-bandit: x', 1.5)))}, flush=True)"


@pytest.mark.parametrize(
    ("then", "ended"),
    [
        ("", ""),
        ("; raise SystemExit(3)", "broke with exit code 3"),
        ("; import time; time.sleep(60)", "was cut after 3 s"),
    ],
)
def test_what_a_part_said_is_kept_however_it_ends(then: str, ended: str) -> None:
    rows, how = gpu.measured([sys.executable, "-c", f"print('a word'); {SAID}{then}"], 3 if "cut" in ended else 60)
    assert [found["value"] for found in rows] == [1.5]
    assert how == ended


def test_where_there_is_no_card_it_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main([])
    assert "no CUDA device" in capsys.readouterr().err


def test_runs_are_stopped_when_they_are_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.SINCE, str(time.time() - 5))
    monkeypatch.setattr(gpu, "WARM_UP", 0)
    monkeypatch.setattr(gpu, "SOLVED", 0.5)
    earned, seconds, rate = gpu.bandit("cpu", 60.0, TINY)
    assert earned["value"] >= 0.5
    assert earned["met"] is True
    assert seconds["value"] > 5
    assert rate["value"] > 0
    assert {gpu.part_of(found["what"]) for found in (earned, seconds, rate)} == {"bandit"}


def test_runs_are_stopped_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "WARM_UP", 0)
    started = time.monotonic()
    (rate,) = gpu.mazes("cpu", 2.0, (*TINY[1:6], "training.iterations=1000000"))
    assert time.monotonic() - started < 60
    assert rate["value"] > 0
    assert gpu.part_of(rate["what"]) == "mazes"


def test_a_part_is_missing_until_it_ended_well_at_this_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "source_commit", lambda: "abc")
    parts = {"tests": {"commit": "abc"}, "engine": {"commit": "abc"}, "bandit": {"commit": "older"}}
    ended = {"tests": "", "engine": "was cut after 9 s", "bandit": ""}
    monkeypatch.setattr(gpu, "record_of", lambda name: {"parts": parts, "ended": ended})
    assert gpu._missing() == ["engine", "bandit", "mazes", "cheetahs"]


def test_all_parts_together_end_within_eight_minutes() -> None:
    assert sum(part.seconds + gpu.GRACE for part in gpu.PARTS.values()) <= 8 * 60


def test_a_damaged_record_says_what_to_do(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpu.json").write_text('{"benchmark": "gp')
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    with pytest.raises(UserError, match=r"gpu.json is damaged \(.*put it back"):
        gpu._missing()


def test_a_part_that_does_not_exist_is_told_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["engin"])
    assert "no part 'engin'. Did you mean 'engine'" in capsys.readouterr().err

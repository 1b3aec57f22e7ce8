"""Other people's learners: each trains and is judged, the judge by hand, parts that are kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torchrl", reason="taskgen-metarl[torchrl] is not installed")
pytest.importorskip("sb3_contrib", reason="taskgen-metarl[sb3] is not installed")

from benchmarks import harness, others_learners
from benchmarks.others_learners import LEARNERS, PULLS, judged, main


class Winner:
    """Repeats an arm that paid and takes the next where it did not. State is handed on."""

    observation_space = others_learners.trials(0, "SameStep").single_observation_space

    def predict(self, seen: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        assert deterministic
        assert episode_start.all() == (state is None)
        arm, paid = seen[:, 1:6].argmax(1), seen[:, 6] > 0
        return np.where(paid, arm, (arm + 1) % 5), 1


def test_the_judge_by_hand() -> None:
    """Of 5 arms that pay evenly between 0 and 1 any one pays a half; staying with those that pay earns more."""
    one = judged(lambda seen: np.full(len(seen), 2), 4000)
    assert one == pytest.approx(PULLS / 2, abs=4 * PULLS * 12**-0.5 / 4000**0.5)
    assert 5.4 < judged(Winner(), 4000) < 6.66


@pytest.mark.parametrize("name", LEARNERS)
def test_each_learner_learns_and_is_judged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others_learners, "SLOTS", 8)
    _, train = LEARNERS[name]
    assert 3.0 < judged(train(1, 160), 100) < 8.0


def test_parts_are_kept_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, int]] = []

    def train(seed: int, steps: int) -> int:
        trained.append((seed, steps))
        return seed

    monkeypatch.setattr(harness, "PROGRESS", tmp_path / "runs")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(others_learners, "judged", lambda policy, tasks: 6.0 + policy / 10)
    monkeypatch.setattr(others_learners, "LEARNERS", {name: (name, train) for name in LEARNERS})
    main(["--train", "torchrl/1"])
    main(["--steps", "50"])
    assert len(trained) == 10  # of another length: all anew
    assert not (tmp_path / "results").exists()
    main([])
    assert len(trained) == 10 + 8
    (path,) = (tmp_path / "results").glob("*.json")
    rows = {row["what"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["torchrl: mean trial return"]["value"] == pytest.approx(6.1)
    assert rows["torchrl ahead of PPO without memory, trial return"]["met"] is False

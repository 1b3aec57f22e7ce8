"""`alp-gmm`: learning progress by hand, the mixture, and a toy student whose learnable region moves."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plugins.curricula import alp_gmm
from registry.errors import CheckpointError, ConfigError
from taskgen.source import TaskResult
from taskgen.streams import child

FORCE = {"force": {"low": 1.0, "high": 11.0}}  # 10 N long
SMALL = {"fit_every": 16, "window": 64}


def test_progress_is_the_change_from_the_nearest_earlier_result(make: Any, family: Any) -> None:
    source = make("alp-gmm", ranges=FORCE)

    def tell(*pairs: tuple[float, float]) -> None:
        source.tell([TaskResult(family.spec({"force": force}), (value - 1, value + 1)) for force, value in pairs])

    tell((2.0, 10.0), (8.0, 20.0))
    assert source._progress.size == 0  # nothing to compare with
    tell((3.0, 13.0), (7.5, 16.0), (8.0, 20.0))
    np.testing.assert_allclose(
        source._progress[:, -1], [3.0, 4.0, 0.0]
    )  # of one iteration none is compared with another
    np.testing.assert_allclose(source._progress[:, 0], [0.2, 0.65, 0.7])
    assert source.metrics()["tasks/learning_progress"] == pytest.approx(7 / 3)
    tell((3.1, 10.0))
    np.testing.assert_allclose(source._progress[-1], [0.21, 3.0])  # the nearest is now that at 3, which returned 13


def test_history_and_window_forget(make: Any, family: Any) -> None:
    source = make("alp-gmm", ranges=FORCE, history=3, window=20)
    for _ in range(9):
        source.tell([TaskResult(family.spec({"force": 2.0 + n}), (1.0,)) for n in range(5)])
    assert len(source._results) == 3
    assert len(source._progress) == 20


def test_tasks_are_uniform_before_the_first_fit(make: Any) -> None:
    forces = [spec.context["force"] for spec in make("alp-gmm", ranges=FORCE).ask(4000)]
    counts, _ = np.histogram(forces, bins=10, range=(1.0, 11.0))
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-squared, 9 degrees of freedom, 99.9%


def test_gaussians_are_drawn_by_their_progress(make: Any) -> None:
    source = make("alp-gmm", ranges=FORCE, random=0.0)
    source._gaussians = np.array([0.25, 1.0]), np.array([[0.2], [0.8]]), np.array([[[0.01]], [[0.02]]])
    points = source.knobs.points(source.ask(4000))[:, 0]
    low, high = points[points < 0.5], points[points > 0.5]
    assert abs(len(low) - 1000) < 110  # 27 is a standard deviation
    assert (low.mean(), low.std(), high.mean(), high.std()) == pytest.approx((0.2, 0.01, 0.8, 0.02), rel=0.1)


def test_a_fit_by_hand(make: Any, monkeypatch: Any) -> None:
    """Progress is measured by the largest of the window, components are drawn in proportion to theirs."""
    seen: list[Any] = []

    def best(rows: Any, counts: Any, luck: int) -> Any:
        seen.append((rows, list(counts)))
        means = np.array([[0.1, 0.3, -0.2], [0.4, 0.5, 0.5], [0.6, 0.7, 1.5]])  # of two knobs, and of progress
        root = np.array([[2.0, 0.0, 0.0], [3.0, 4.0, 0.0], [5.0, 6.0, 7.0]])
        return SimpleNamespace(means_=means, covariances_=np.stack([root @ root.T] * 3))

    monkeypatch.setattr(alp_gmm, "_best_mixture", best)
    ranges = {**FORCE, "pole_mass": {"low": 0.1, "high": 0.3}}
    source = make("alp-gmm", ranges=ranges, random=0.25, most_components=3)
    source._progress = np.array([[0.5, 0.25, 8.0], [1.0, 0.75, 2.0]] * 4)
    source._fit()
    rows, counts = seen[0]
    assert rows.tolist() == [[0.5, 0.25, 1.0], [1.0, 0.75, 0.25]] * 4
    assert counts == [2, 3]  # 8 rows could bear 4
    reach, means, roots = source._gaussians
    assert reach.tolist() == [0.0, 0.25, 1.0]  # -0.2 counts as 0, 0.5 and 1.5 of 2
    assert means.tolist() == [[0.1, 0.3], [0.4, 0.5], [0.6, 0.7]]
    np.testing.assert_allclose(roots[1], [[2.0, 0.0], [3.0, 4.0]], atol=1e-8)
    assert source._choose(np.array([0.24, 0.9, 0.11, 0.22])).tolist() == [0.11, 0.22]  # below `random`: uniform
    one = 0.8413447460685429  # the normal distribution's value at 1
    source._gaussians = reach, means, roots / 100
    np.testing.assert_allclose(source._choose(np.array([0.25, 0.0, one, 0.5])), [0.42, 0.53])
    np.testing.assert_allclose(source._choose(np.array([0.9, 0.25, 0.5, 1 - one])), [0.6, 0.66])
    source._gaussians = reach, means, roots
    assert source._choose(np.array([0.9, 0.25, one, 0.0])).tolist() == [1.0, 0.0]  # points stay in the cube

    source._gaussians = np.array([0.25, 0.999]), means[1:], roots[1:]  # sums may end a little below 1
    assert source._choose(np.array([0.9, 0.9995, 0.5, 0.5])).tolist() == [0.6, 0.7]

    source._progress = np.array([[0.5, 0.25, 0.0]] * 5)
    source._fit()
    assert seen[1][0].tolist() == [[0.5, 0.25, 0.0]] * 5  # no progress at all is divided by 1
    assert seen[1][1] == [2]  # 5 rows bear 2 Gaussians


def test_a_fit_comes_when_enough_results_came(make: Any, family: Any, monkeypatch: Any) -> None:
    source, fits = make("alp-gmm", ranges=FORCE, fit_every=4), list[int]()

    def fit() -> None:
        fits.append(source._unfitted)
        source._unfitted = 0

    monkeypatch.setattr(source, "_fit", fit)
    for count in (2, 3, 1, 5):  # the first two have nothing to be compared with
        source.tell([TaskResult(family.spec({"force": 2.0}), (1.0,))] * count)
    assert fits == [4, 5]


def test_every_fit_has_luck_of_its_own(make: Any, monkeypatch: Any) -> None:
    source, lucks = make("alp-gmm", ranges=FORCE), list[int]()
    fit = SimpleNamespace(means_=np.array([[0.5, 0.5]]), covariances_=np.eye(2)[None])
    monkeypatch.setattr(alp_gmm, "_best_mixture", lambda rows, counts, luck: (lucks.append(luck), fit)[1])
    source._progress = np.array([[0.5, 1.0]] * 4)
    source._fit()
    source._fit()
    assert lucks == [int(child(source._seed, "fit", number).generate_state(1)[0]) for number in (0, 1)]


def student(front: float) -> Any:
    """Masters what lies below the front, has no chance above it; what changes lies at the front."""
    return lambda spec: (100.0 / (1.0 + np.exp((spec.context["force"] - front) / 0.3)),)


def share_near_the_front(source: Any) -> np.ndarray:
    """[50] share of the tasks of an iteration that lie within 1 N of the front while it moves from 3.3 to 10 N."""
    near: list[float] = []
    for iteration in range(60):
        front = 2.0 + 8.0 * iteration / 60
        specs = source.ask(25)
        source.tell([TaskResult(spec, student(front)(spec)) for spec in specs])
        near.append(float(np.mean([abs(spec.context["force"] - front) < 1.0 for spec in specs])))
    return np.array(near[10:])


def test_it_follows_the_region_where_a_toy_student_learns(make: Any) -> None:
    """Of uniform tasks 20% lie there. With a long memory it also goes back to where there was progress once."""
    settings = {"ranges": FORCE, "fit_every": 25, "window": 50, "most_components": 4}
    near = share_near_the_front(make("alp-gmm", history=150, **settings))
    assert near.mean() > 0.45
    assert near.reshape(5, 10).mean(1).min() > 0.3
    assert share_near_the_front(make("alp-gmm", history=10_000, **settings)).mean() < near.mean() - 0.1


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_history_depends_on_neither_slots_nor_resume(history: Any, chunk: int, resumed: bool) -> None:
    calls = [0]

    def learner(spec: Any) -> Any:
        calls[0] += 1
        return student(2.0 + calls[0] / 10)(spec)

    ids = history(learner, "alp-gmm", chunk, 10, resumed, **SMALL)
    calls[0] = 0
    assert ids == history(learner, "alp-gmm", 4, 10, False, **SMALL)


def test_no_progress_at_all_is_no_reason_to_fail(make: Any, family: Any) -> None:
    source = make("alp-gmm", **SMALL)
    for _ in range(4):
        source.tell([TaskResult(spec, (1.0,)) for spec in source.ask(16)])
    assert source.metrics()["tasks/gaussians"] >= 2
    assert len(source.ask(5)) == 5


def test_settings_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="least_components = 5 is above most_components = 2"):
        make("alp-gmm", least_components=5, most_components=2)
    make("alp-gmm", least_components=2, most_components=2)


def test_a_state_over_other_knobs_is_refused(make: Any) -> None:
    source = make("alp-gmm")
    source.tell([TaskResult(spec, (1.0,)) for spec in source.ask(4)])
    state = json.loads(json.dumps(source.state_dict()))
    with pytest.raises(CheckpointError, match="expected rows of 2 numbers"):
        make("alp-gmm", ranges=FORCE).load_state_dict({**state, "results": [[0.0, 1.0, 2.0]]})
    with pytest.raises(CheckpointError, match="expected rows of 4 numbers"):
        make("alp-gmm").load_state_dict({**state, "progress": None})
    again = make("alp-gmm")
    again.load_state_dict(state)
    assert again._results.tolist() == source._results.tolist()
    assert again._progress.shape == (0, 4)

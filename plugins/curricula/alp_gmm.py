"""ALP-GMM: tasks from where absolute learning progress is high, by a Gaussian mixture over contexts and progress.

    alp_i = | r_i - r_j |,  j the nearest context among the earlier results

A mixture is fitted to (context, alp) of the latest results, its number of components by Akaike's criterion. A task is
drawn from a component with probability in proportion to its mean alp; a share of tasks is uniform.

Reference: Portelas et al. 2019, "Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
environments", section 4, algorithm 1.

Differences from the paper: the nearest is looked for among the latest results alone, since what changed long ago is no
progress of now; results of one iteration, which one policy earned, are compared with those of earlier iterations; alp
is measured by the largest of the window, so that the fit does not depend on the unit of reward.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from scipy.spatial import KDTree
from scipy.special import ndtri

from plugins.curricula.knobs import Floats, Placed, PlacedConfig, performance
from registry.errors import CheckpointError, UserError
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.streams import child

_TAIL = 1e-12  # uniforms are kept this far from 0 and 1, where a normal quantile is infinite
_JITTER = 1e-9  # on the diagonal of a covariance before its root is taken


class AlpGmmConfig(PlacedConfig):
    """Settings of `AlpGmm`."""

    random: float = Field(0.2, ge=0, le=1, description="Share of tasks that are uniform.")
    fit_every: int = Field(250, ge=1, description="Results between two fits.")
    window: int = Field(250, ge=20, description="Latest results that a fit looks at.")
    least_components: int = Field(2, ge=1, description="Fewest Gaussians that are tried.")
    most_components: int = Field(10, ge=1, description="Most Gaussians that are tried.")
    history: int = Field(500, ge=1, description="Latest results among which the nearest one is looked for.")

    @model_validator(mode="after")
    def _ordered(self) -> "AlpGmmConfig":
        if self.least_components > self.most_components:
            raise ValueError(
                f"least_components = {self.least_components} is above most_components = {self.most_components}"
            )
        return self


class AlpGmm(Placed):
    """A `Curriculum`. Raises `UserError` where scikit-learn is not installed."""

    def __init__(self, config: AlpGmmConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        _mixture()
        super().__init__(config, family=family, seed=seed, extra=2)
        self._config = config
        size = len(self.knobs.labels)
        self._results = np.empty((0, size + 1))
        """[N, D + 1] points and returns."""
        self._progress = np.empty((0, size + 1))
        """[W, D + 1] points and absolute learning progress."""
        self._fits = 0
        self._unfitted = 0
        self._gaussians: tuple[Floats, Floats, Floats] | None = None
        """Cumulated probabilities [K], means [K, D], roots of the covariances [K, D, D]."""
        self._last = 0.0

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Learning progress of the results; a new mixture when enough of them came."""
        super().tell(results)
        if not results:
            return
        points = self.knobs.points([result.spec for result in results])
        returns = np.array([performance(result) for result in results])
        if len(self._results):
            _, nearest = KDTree(self._results[:, :-1]).query(points)
            progress = np.abs(returns - self._results[nearest, -1])
            self._last = float(progress.mean())
            rows = np.column_stack([points, progress])
            self._progress = np.concatenate([self._progress, rows])[-self._config.window :]
            self._unfitted += len(rows)
        self._results = np.concatenate([self._results, np.column_stack([points, returns])])[-self._config.history :]
        if self._unfitted >= self._config.fit_every:
            self._fit()

    def metrics(self) -> dict[str, float]:
        """Mean learning progress of the last results, and how many Gaussians there are."""
        count = 0 if self._gaussians is None else len(self._gaussians[0])
        return {**super().metrics(), "tasks/learning_progress": self._last, "tasks/gaussians": float(count)}

    def state_dict(self) -> dict[str, Any]:
        """Results, learning progress and mixture, beside the source."""
        mixture = None if self._gaussians is None else [part.tolist() for part in self._gaussians]
        own = {
            "results": self._results.tolist(),
            "progress": self._progress.tolist(),
            "fits": self._fits,
            "unfitted": self._unfitted,
            "last": self._last,
            "gaussians": mixture,
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for results over other knobs."""
        width = self._results.shape[1]
        results, progress = (_rows(state.get(name), width) for name in ("results", "progress"))
        super().load_state_dict(state)
        self._results, self._progress = results, progress
        self._fits, self._unfitted, self._last = state["fits"], state["unfitted"], state["last"]
        mixture = state["gaussians"]
        self._gaussians = (
            None if mixture is None else (np.array(mixture[0]), np.array(mixture[1]), np.array(mixture[2]))
        )

    def _choose(self, uniform: Floats) -> Floats:
        if self._gaussians is None or uniform[0] < self._config.random:
            return uniform[2:]
        cumulated, means, roots = self._gaussians
        chosen = min(int(np.searchsorted(cumulated, uniform[1], side="right")), len(cumulated) - 1)
        normal = ndtri(np.clip(uniform[2:], _TAIL, 1.0 - _TAIL))
        return np.clip(means[chosen] + roots[chosen] @ normal, 0.0, 1.0)

    def _fit(self) -> None:
        """A mixture over points and progress: of all numbers of Gaussians that with the least criterion."""
        self._unfitted = 0
        largest = self._progress[:, -1].max()
        rows = self._progress / np.array([*[1.0] * (self._progress.shape[1] - 1), largest if largest > 0 else 1.0])
        luck = int(child(self._seed, "fit", self._fits).generate_state(1)[0])
        self._fits += 1
        most = min(self._config.most_components, len(rows) // 2)
        counts = range(min(self._config.least_components, most), most + 1)
        best = _best_mixture(rows, counts, luck)
        progress = np.maximum(best.means_[:, -1], 0.0)
        total = progress.sum()
        shares = progress / total if total > 0 else np.full(len(progress), 1.0 / len(progress))
        size = rows.shape[1] - 1
        roots = np.linalg.cholesky(best.covariances_[:, :size, :size] + _JITTER * np.eye(size))
        self._gaussians = shares.cumsum(), best.means_[:, :size].copy(), roots


def _mixture() -> Any:
    """scikit-learn's `GaussianMixture`. Raises `UserError` where it is not installed."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise UserError(
            "alp-gmm needs scikit-learn, which is not installed: pip install 'taskgen-metarl[curricula]'"
        ) from None
    return GaussianMixture


def _best_mixture(rows: Floats, counts: Sequence[int], luck: int) -> Any:
    """Of mixtures of so many Gaussians the one that Akaike's criterion prefers."""
    from threadpoolctl import threadpool_limits

    # Matrices this small are slowed down by threads, twenty times where cores are busy. Lloyd's iterations, the usual
    # start, would besides add up in an order that depends on them; their seeding alone does not.
    with threadpool_limits(limits=1):
        fitted = [_mixture()(count, init_params="k-means++", random_state=luck).fit(rows) for count in counts]
        return min(fitted, key=lambda mixture: mixture.aic(rows))


def _rows(values: object, width: int) -> Floats:
    rows = np.asarray(values, dtype=np.float64) if isinstance(values, list) and values else np.empty((0, width))
    if not isinstance(values, list) or rows.shape != (len(values), width):
        raise CheckpointError(f"state of alp-gmm: expected rows of {width} numbers")
    return rows

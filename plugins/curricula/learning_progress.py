"""Learning progress over a finite set: tasks whose success changes, for better or worse, are drawn more often.

    progress_k = | f(fast_k) - f(slow_k) |,   f(p) = (1 - theta) p / (p + theta (1 - 2 p))

`fast` is a moving average of the success rate of task k and `slow` one of `fast`. f stretches low rates, at which the
first successes come. A task's weight is the logistic function of its progress, centred at the 90% quantile.

Reference: Kanitscheider et al. 2021, "Multi-task curriculum learning in a complex, visual, hard-exploration domain:
Minecraft", section 3 and appendix A.

Differences from the paper: the set may also be the cells of a grid over some knobs; returns may stand for success
rates, and are then not stretched; a share of tasks is uniform, so that none is forgotten.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import Field

from plugins.curricula.knobs import Floats, Knobs, Range, performance
from registry.config import Config, Part
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.borders import asked
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.split import Side
from taskgen.streams import uniforms

_MOST_CELLS = 10_000
_CENTRE = 0.9  # quantile of the learning progress at which the logistic function is centred


class LearningProgressConfig(Config):
    """Settings of `LearningProgress`."""

    source: Part = Field(
        Part(name="domain-randomization"), description="Where tasks come from.", json_schema_extra={"kind": SOURCES}
    )
    tasks: int = Field(100, ge=2, le=_MOST_CELLS, description="Size of the set: the source's first tasks.")
    cells: dict[str, int] = Field(
        default={}, description="In place of tasks, cells of a grid: in how many parts the range of a knob is cut."
    )
    ranges: dict[str, Range] = Field(default={}, description="Ranges of these knobs, where not their own.")
    measure: Literal["success", "return"] = Field(
        "return",
        description="What should progress: the success rate (of families that know it, by their own reward), or the "
        "mean return (in what tasks pay).",
    )
    rate: float = Field(0.1, gt=0, le=1, description="Weight of the latest result in the moving averages.")
    theta: float = Field(0.1, gt=0, lt=1, description="How much low success rates are stretched; 0.5: not at all.")
    random: float = Field(0.1, ge=0, le=1, description="Share of tasks that are uniform.")
    attempts: int = Field(1000, ge=1, description="Impossible tasks in a row before giving up.")


class LearningProgress(Wrapper):
    """A `Curriculum` over `K` tasks, or over the tasks in `K` cells."""

    def __init__(
        self, config: LearningProgressConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        super().__init__({"source": config.source}, family=family, seed=seed)
        self._config = config
        self._seed = seed
        self._set = (
            _Cells(config, family, self.side)
            if config.cells
            else _Tasks(config, asked(self.sources["source"], config.tasks))
        )
        if config.measure == "success":
            self.scores = frozenset({*self.scores, "success"})
        self._averages = np.zeros((2, len(self._set)))
        """[2, K] fast and slow."""
        self._seen = np.zeros(len(self._set), dtype=bool)
        self._position = 0

    @property
    def progress(self) -> Floats:
        """[K] absolute learning progress; 0 of what was not seen yet."""
        theta = self._config.theta
        averages = self._averages
        if self._config.measure == "success":
            averages = (1 - theta) * averages / (averages + theta * (1 - 2 * averages))
        return np.abs(averages[0] - averages[1])

    @property
    def weights(self) -> Floats:
        """[K] how probable each is."""
        progress = self.progress
        spread = progress.std()
        even = np.full(len(progress), 1.0 / len(progress))
        if spread == 0.0:
            return even
        logistic = 1.0 / (1.0 + np.exp(-np.clip((progress - np.quantile(progress, _CENTRE)) / spread, -50, 50)))
        return self._config.random * even + (1 - self._config.random) * logistic / logistic.sum()

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks. Raises `TaskError` when too many in a row are impossible."""
        kept: list[TaskSpec] = []
        cumulated, refused, columns = self.weights.cumsum(), 0, 1 + self._set.numbers
        while (wanted := n - len(kept)) > 0:
            rows = uniforms(self._seed, "choices", self._position * columns, wanted * columns).reshape(wanted, columns)
            self._position += wanted
            bases = asked(self.sources["source"], wanted) if self._set.numbers else [None] * wanted
            for base, row in zip(bases, rows, strict=True):
                chosen = min(int(np.searchsorted(cumulated, row[0], side="right")), len(cumulated) - 1)
                try:
                    kept.append(self._set.task(chosen, base, row[1:]))
                    refused = 0
                except TaskError as error:
                    if (refused := refused + 1) == self._config.attempts:
                        raise TaskError(
                            f"learning-progress: {refused} impossible tasks in a row. Last: {error}"
                        ) from None
        return kept

    def tell(self, results: Sequence[TaskResult]) -> None:
        """The averages of what was played move."""
        super().tell(results)
        found: dict[int, list[float]] = {}
        numbers = self._set.places([result.spec for result in results])
        for result, number in zip(results, numbers, strict=True):
            if number is not None:
                success = self._config.measure == "success"
                found.setdefault(number, []).append(result.scores["success"] if success else performance(result))
        for number, values in found.items():
            mean, rate = sum(values) / len(values), self._config.rate
            if not self._seen[number]:
                self._seen[number] = True
                self._averages[:, number] = mean
            else:
                self._averages[0, number] += rate * (mean - self._averages[0, number])
                self._averages[1, number] += rate * (self._averages[0, number] - self._averages[1, number])

    def metrics(self) -> dict[str, float]:
        """Mean and largest learning progress, the share seen, and how many tasks the weights amount to."""
        weights = self.weights
        return {
            **super().metrics(),
            "tasks/learning_progress": float(self.progress.mean()),
            "tasks/most_learning_progress": float(self.progress.max()),
            "tasks/share_seen": float(self._seen.mean()),
            "tasks/effective_number": float(1.0 / np.square(weights).sum()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Averages, beside the source."""
        own = {"averages": self._averages.tolist(), "seen": self._seen.tolist(), "position": self._position}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for a set of another size."""
        averages = np.asarray(state.get("averages"), dtype=np.float64)
        if averages.shape != self._averages.shape:
            raise CheckpointError(
                f"state of learning-progress: averages of shape {averages.shape}, expected {self._averages.shape}"
            )
        super().load_state_dict(state)
        self._averages, self._seen = averages, np.asarray(state["seen"], dtype=bool)
        self._position = state["position"]


class _Tasks:
    """A set of tasks."""

    numbers = 0

    def __init__(self, config: LearningProgressConfig, specs: Sequence[TaskSpec]) -> None:
        if config.ranges:
            raise ConfigError(["ranges: they are those of `cells`, of which there are none"], "learning-progress")
        self._specs = list({spec.id: spec for spec in specs}.values())
        self._numbers = {spec.id: number for number, spec in enumerate(self._specs)}

    def __len__(self) -> int:
        return len(self._specs)

    def task(self, number: int, base: TaskSpec | None, uniform: Floats) -> TaskSpec:
        """The task `number`."""
        return self._specs[number]

    def places(self, specs: Sequence[TaskSpec]) -> list[int | None]:
        """Which tasks they are; None for a stranger."""
        return [self._numbers.get(spec.id) for spec in specs]


class _Cells:
    """A grid over knobs: a task of a cell is any whose knobs lie inside."""

    def __init__(self, config: LearningProgressConfig, family: TaskFamily[Any], side: Side | None) -> None:
        problems = [f"cells.{name} = {parts}: expected 1 or more" for name, parts in config.cells.items() if parts < 1]
        problems += [
            f"ranges.{name}: it is not among the `cells`" for name in config.ranges if name not in config.cells
        ]
        if problems:
            raise ConfigError(problems, "learning-progress")
        ranges = {name: config.ranges.get(name) for name in config.cells}
        self._knobs = Knobs(ranges, family, "learning-progress", side)
        parts = [config.cells[name] for name in self._knobs.names]
        if np.prod([float(part) for part in parts]) > _MOST_CELLS:
            raise ConfigError([f"cells: {parts} make more than {_MOST_CELLS:,} cells"], "learning-progress")
        self._parts = np.array(parts)
        self._corners = np.array(list(product(*(range(part) for part in parts))))
        self.numbers = len(parts)

    def __len__(self) -> int:
        return len(self._corners)

    def task(self, number: int, base: TaskSpec | None, uniform: Floats) -> TaskSpec:
        """`base` moved into the cell `number`."""
        assert base is not None
        return self._knobs.place(base, (self._corners[number] + uniform) / self._parts)

    def places(self, specs: Sequence[TaskSpec]) -> list[int | None]:
        """Which cells they lie in; None outside of the grid."""
        if not specs:
            return []
        points = self._knobs.points(specs)
        inside = np.all((points >= 0) & (points <= 1), axis=1, keepdims=True)[:, 0]
        corners = np.clip((points * self._parts).astype(np.int64), 0, self._parts - 1)
        strides = np.append(np.cumprod(self._parts[:0:-1])[::-1], 1)
        return [int(number) if within else None for number, within in zip(corners @ strides, inside, strict=True)]

"""`Filtered`: what filters share, a source of whose tasks only some are kept."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from pydantic import Field

from registry.config import Config, Part
from registry.errors import TaskError
from taskgen.borders import asked
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec


class FilterConfig(Config):
    """Settings that all filters have."""

    source: Part = Field(
        Part(name="domain-randomization"),
        description="Where tasks come from.",
        json_schema_extra={"kind": SOURCES},
    )
    attempts: int = Field(10_000, ge=1, description="Tasks that may be turned down in a row before giving up.")


class Filtered(Wrapper, ABC):
    """A `Curriculum` that gives its source's tasks in order, without those turned down."""

    def __init__(self, config: FilterConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__({"source": config.source}, family=family, seed=seed, feedback=False)
        self._attempts = config.attempts
        self._asked_of = f"{type(self).__name__.lower()} around {config.source.name} over {family.name}"

    @abstractmethod
    def _problem(self, spec: TaskSpec) -> str | None:
        """Why `spec` is turned down; None where it is kept. Called once for every task, in order."""

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks that are kept. Raises `TaskError` when `attempts` in a row were not."""
        kept: list[TaskSpec] = []
        refused = 0
        while len(kept) < n:
            for spec in asked(self.sources["source"], n - len(kept)):
                problem = self._problem(spec)
                if problem is None:
                    kept.append(spec)
                    refused = 0
                elif (refused := refused + 1) == self._attempts:
                    raise TaskError(
                        f"{self._asked_of}: {refused} tasks in a row were turned down; ask for less, or give it a "
                        f"source that has such tasks. The last: {problem}"
                    )
        return kept

"""Deduplicated: of a source's tasks each but once, by the hash of its content."""

from collections import OrderedDict
from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.filtered import FilterConfig, Filtered
from registry.errors import CheckpointError
from taskgen.build import task_key
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec


class DeduplicatedConfig(FilterConfig):
    """Settings of `Deduplicated`."""

    ignore_seed: bool = Field(
        default=False,
        description="Whether tasks count as the same that differ in a seed from which no dynamics are drawn.",
    )
    memory: int = Field(100_000, ge=1, description="How many of the latest tasks are remembered.")


class Deduplicated(Filtered):
    """A `Curriculum`."""

    def __init__(self, config: DeduplicatedConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, family=family, seed=seed)
        self._config = config
        self._seen: OrderedDict[str, None] = OrderedDict()

    def state_dict(self) -> dict[str, Any]:
        """The remembered hashes, beside the source."""
        return {**super().state_dict(), "seen": list(self._seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        if not isinstance(state.get("seen"), list):
            raise CheckpointError("state of deduplicated: expected the hashes it has `seen`")
        super().load_state_dict(state)
        self._seen = OrderedDict.fromkeys(state["seen"])

    def _problem(self, spec: TaskSpec) -> str | None:
        key = task_key(spec) if self._config.ignore_seed else spec.id
        if key in self._seen:
            return f"task {spec.id} was given before"
        self._seen[key] = None
        if len(self._seen) > self._config.memory:
            self._seen.popitem(last=False)
        return None

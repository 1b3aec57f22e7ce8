"""`Rewarded`: what generators share that give the tasks of another source rewards of their own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from registry.config import Config, Part
from registry.errors import CheckpointError, ConfigError
from taskgen.borders import asked
from taskgen.build import build_source
from taskgen.family import TaskFamily
from taskgen.source import TaskResult, side_of
from taskgen.spec import RewardSpec, TaskSpec, freeze
from taskgen.split import Side
from taskgen.streams import child

C = TypeVar("C", bound=Config)


class Rewarded(ABC, Generic[C]):
    """A `TaskSource` over another one, `contexts`: task i is its task i with reward i."""

    feedback = False

    def __init__(self, config: C, contexts: Part, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        self.config = config
        self._family = family
        self._seed = seed
        self._contexts = build_source(contexts, family, child(seed, "contexts"))
        if self._contexts.feedback:
            problem = (
                f"contexts = {contexts.name}: it decides by results, and none reach it in here, where every task has "
                "another reward; name a source that decides by itself, or put the curriculum around this one"
            )
            raise ConfigError([problem], type(self).__name__)
        self._position = 0

    @abstractmethod
    def _rewards(self, first: int, specs: Sequence[TaskSpec]) -> Sequence[RewardSpec]:
        """Rewards of the tasks `specs`, whose numbers begin with `first`: a function of number and task alone."""

    @property
    def side(self) -> Side | None:
        """That of the source of contexts."""
        return side_of(self._contexts)

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` valid tasks."""
        specs = asked(self._contexts, n)
        rewards = self._rewards(self._position, specs) if n else ()
        self._position += n
        return [replace(spec, reward=reward) for spec, reward in zip(specs, rewards, strict=True)]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Ignored: rewards are drawn whatever came of earlier ones."""

    def state_dict(self) -> dict[str, Any]:
        """How many tasks were drawn, and where the source of contexts stands."""
        return {"position": self._position, "contexts": self._contexts.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0 or "contexts" not in state:
            raise CheckpointError(f"state of {type(self).__name__}: position = {position!r}, expected an integer >= 0")
        self._contexts.load_state_dict(state["contexts"])
        self._position = position


def reward_spec(name: str, settings: Config) -> RewardSpec:
    """The built-in reward `name` in complete form, as `family.spec` would write it."""
    return RewardSpec(f"builtin/{name}", freeze(settings.model_dump(mode="json"), "reward.settings"))

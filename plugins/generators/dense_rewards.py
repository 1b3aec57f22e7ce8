"""Dense rewards: the tasks of another source, paid by how near their goal is instead of at the goal alone.

    task = (context, r_g),   r_g(s) = max(0, 1 - || s - g || / reach),   g the goal as the family's descriptor has it

Train on these and evaluate on `contexts` itself: then the dense reward teaches and the family's own judges. An agent
that has to find out the task from the family's own reward meets it beside the dense one (`Rollout.family_reward`).

Reference: Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables",
section 6.2; Gupta et al. 2018, "Meta-Reinforcement Learning of Structured Exploration Strategies", experiments.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt

from plugins.generators.rewarded import reward_spec
from plugins.rewards.goal_proximity import GoalProximityConfig
from registry.config import Config, Part
from registry.errors import TaskError
from taskgen.build import build_source
from taskgen.family import Describable, TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import RewardSpec, TaskSpec
from taskgen.streams import child


class DenseRewardsConfig(Config):
    """Settings of `DenseRewards`."""

    contexts: Part = Field(
        Part(name="domain-randomization"),
        description="Source of the tasks whose reward is replaced.",
        json_schema_extra={"kind": "generators"},
    )
    goal: tuple[NonNegativeInt, ...] = Field(
        (0, 1), min_length=1, description="Entries of the descriptor that are the goal."
    )
    features: tuple[int, ...] = Field(
        (0, 1), min_length=1, description="Entries of the observation that are to be there, in the same order."
    )
    reach: float = Field(1.0, gt=0, description="Distance from the goal from which on nothing is paid.")


class DenseRewards:
    """A `TaskSource`: task i is task i of `contexts` with a reward of its own. Raises `TaskError` for unfit entries."""

    def __init__(self, config: DenseRewardsConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        if not isinstance(family, Describable):
            raise TaskError(f"{family.name} has no descriptor, where dense-rewards would find the goal of a task")
        self._config, self._describe = config, family.descriptor
        self._contexts = build_source(config.contexts, family, child(seed, "contexts"))
        self.feedback = self._contexts.feedback
        family.spec(reward=self._reward(family.spec()))  # what cannot be is refused now

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` valid tasks."""
        return [replace(spec, reward=self._reward(spec)) for spec in self._contexts.ask(n)]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Passed on, as results on the tasks that `contexts` knows."""
        self._contexts.tell([replace(result, spec=replace(result.spec, reward=None)) for result in results])

    def state_dict(self) -> dict[str, Any]:
        """That of the source of contexts: all else is a function of its tasks."""
        return self._contexts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises what the source of contexts raises."""
        self._contexts.load_state_dict(state)

    def _reward(self, spec: TaskSpec) -> RewardSpec:
        described = self._describe(spec.context).tolist()
        chosen = [index for index in self._config.goal if index < len(described)]
        if len(chosen) < len(self._config.goal):
            raise TaskError(
                f"goal = {list(self._config.goal)}: {spec.family} has a descriptor of entries 0 to {len(described) - 1}"
            )
        goal = tuple(described[index] for index in chosen)
        settings = GoalProximityConfig(goal=goal, features=self._config.features, reach=self._config.reach)
        return reward_spec("goal-proximity", settings)

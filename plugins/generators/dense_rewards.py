"""Dense rewards: the tasks of another source, paid by how near their goal is instead of at the goal alone.

    task = (context, r_g),   r_g(s) = max(0, 1 - || s - g || / reach),   g the family's goal, in units of observations

Train on these and evaluate on `contexts` itself: then the dense reward teaches and the family's own judges. An agent
that has to find out the task from the family's own reward meets it beside the dense one (`Rollout.family_reward`).
Curricula stand around this source: a reward goes where the curriculum moves its task's context.

Reference: Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables",
section 6.2; Gupta et al. 2018, "Meta-Reinforcement Learning of Structured Exploration Strategies", experiments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt

from plugins.generators.rewarded import Rewarded, reward_spec
from plugins.rewards.goal_proximity import GoalProximityConfig
from registry.config import Config, Part
from registry.errors import TaskError
from taskgen.build import SOURCES
from taskgen.family import TaskFamily, goal_of
from taskgen.spec import RewardSpec, TaskSpec


class DenseRewardsConfig(Config):
    """Settings of `DenseRewards`."""

    contexts: Part = Field(
        Part(name="domain-randomization"),
        description="Source of the tasks whose reward is replaced.",
        json_schema_extra={"kind": SOURCES},
    )
    goal: tuple[NonNegativeInt, ...] = Field(
        (), description="Entries of the family's goal that count, by number; none: all."
    )
    features: tuple[NonNegativeInt, ...] = Field(
        (),
        description="Entries of the observation that are compared with these, as the family says; to be left out, or "
        "stated to have them checked.",
    )
    reach: float = Field(
        1.0, gt=0, description="Distance from the goal, in units of the observation, from which on nothing is paid."
    )


class DenseRewards(Rewarded[DenseRewardsConfig]):
    """A `TaskSource`. Raises `TaskError` for a family without a goal, or entries that its goal does not have."""

    def __init__(self, config: DenseRewardsConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, config.contexts, family=family, seed=seed)
        family.spec(reward=self._reward(family.spec()))  # what cannot be is refused now

    def state_dict(self) -> dict[str, Any]:
        """That of the source of contexts: all else is a function of its tasks."""
        return self._contexts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises what the source of contexts raises."""
        self._contexts.load_state_dict(state)

    def _rewards(self, first: int, specs: Sequence[TaskSpec]) -> Sequence[RewardSpec]:
        return [self._reward(spec) for spec in specs]

    def _reward(self, spec: TaskSpec) -> RewardSpec:
        goal, wanted = goal_of(self._family, spec.context), self.config
        chosen = wanted.goal or range(len(goal.place))
        if max(chosen) >= len(goal.place):
            raise TaskError(f"goal = {list(chosen)}: {spec.family} has a goal of entries 0 to {len(goal.place) - 1}")
        features = tuple(goal.features[entry] for entry in chosen)
        if wanted.features and wanted.features != features:
            raise TaskError(
                f"features = {list(wanted.features)}: entries {list(chosen)} of the goal of {spec.family} are compared "
                f"with entries {list(features)} of the observation; state these, or leave features out"
            )
        place = tuple(goal.place[entry] for entry in chosen)
        return reward_spec("goal-proximity", GoalProximityConfig(goal=place, features=features, reach=wanted.reach))

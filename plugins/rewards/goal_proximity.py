"""A dense reward for families whose own is sparse: it grows towards a goal among the observations, from afar.

    r(s, a, s') = max(0, 1 - || s'_F - g || / reach),   s'_F the chosen entries of the next observation

Reference: Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables",
section 6.2: what policies are trained on where the tasks they are judged on pay at the goal alone.

Differences from the paper: it pays minus the distance, which is this reward with a reach beyond all states, scaled and
shifted. That draws a policy that knows nothing yet to the middle of all goals, where none is found; within a small
reach it does not.

Axes: B slots, F entries of an observation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from plugins.rewards.discriminator import Features, count_features
from registry.config import Config
from registry.errors import TaskError
from taskgen.batch import ControlledMarkovProcess
from taskgen.family import GoalDirected, TaskFamily


class GoalProximityConfig(Config):
    """Settings of `GoalProximity`."""

    goal: tuple[float, ...] = Field(
        (),
        description="Where the entries are to be, in units of each: one place, whatever the task's own goal. It has to "
        "be said; for that of every task take the generator dense-rewards.",
    )
    features: tuple[int, ...] = Field(
        (0, 1), description="Entries of the observation, as many as the goal has; none: all."
    )
    reach: float = Field(1.0, gt=0, description="Distance from the goal from which on nothing is paid.")


class GoalProximity:
    """The `RewardFunction`."""

    of_next_observation = True

    def __init__(
        self, configs: Sequence[GoalProximityConfig], *, family: TaskFamily[Any], device: torch.device | str
    ) -> None:
        features = configs[0].features
        size = count_features(family.observation_space, features, family.name)
        for config in configs:
            if config.features != features:
                raise TaskError(
                    "tasks of one batch share features of goal-proximity; "
                    f"here are {list(features)} and {list(config.features)}"
                )
            if not config.goal:
                raise TaskError(
                    "goal-proximity: goal is not said: give reward.goal, one place for all tasks; or leave the reward "
                    "out and take the generator dense-rewards, which pays every task by its own goal"
                )
            if len(config.goal) != size:
                raise TaskError(f"goal = {list(config.goal)}: expected {size} numbers, one for each entry in features")
        self._goal = torch.tensor([config.goal for config in configs], dtype=torch.float64, device=device)
        reach = torch.tensor([[config.reach] for config in configs], dtype=torch.float64, device=device)
        self._features = Features(family.observation_space, features, self._goal, reach)

    @classmethod
    def moved(
        cls,
        config: GoalProximityConfig,
        family: ControlledMarkovProcess,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> GoalProximityConfig:
        """`config` with the goal of the context `after` if it has that of `before`; a goal of its own stays."""
        try:
            goals = [family.goal(context) for context in (before, after)] if isinstance(family, GoalDirected) else []
        except TaskError:  # the family's settings leave tasks without a goal
            goals = []
        if not goals:
            return config
        old, new = (dict(zip(goal.features, goal.place, strict=True)) for goal in goals)
        features = config.features or tuple(range(len(config.goal)))
        if any(old.get(entry) != number for entry, number in zip(features, config.goal, strict=True)):
            return config
        return config.model_copy(update={"goal": tuple(new[entry] for entry in features)})

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
        """[B] from 0, out of reach, to 1, at the goal."""
        distance = self._features(next_observation).square().sum(1).sqrt()
        return (1.0 - distance).clamp(min=0.0).to(torch.float32)

    def descriptor(self) -> Tensor:
        """[B, F] the goal."""
        return self._goal.to(torch.float32)

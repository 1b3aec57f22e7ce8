"""Meta-World's meta-learning benchmarks ML1, ML10 and ML45: a robot arm, an object, and a goal that it is not shown.

ML1 is one `environment`, of the 50 that there are, whose goals are the tasks: 50 to train on and 50 others to test on.
ML10 and ML45 are 10 and 45 environments to train on and 5 others to test on, with 50 goals each. A goal stands for a
placement of object and goal, drawn uniformly from where the environment may have them; `goals` says how many there are
on a side. They are drawn from `goals_seed` and the environment's name, so the same everywhere, and are not those that
`metaworld.ML1` draws from NumPy's global generator. With `goals = 0`, of ML1 alone, tasks are any placements: the knob
`placement`, from 0 to 1 of its bounds, for sources that move tasks.

The split is by goal in ML1 and by environment else, and tasks vary over the training side. An episode is a function of
task and actions, nothing is drawn. Rewards are Meta-World's second version, between 0 and 10 a step. A step succeeds
as Meta-World's `success` says: the usual measure is whether any step of an episode does.

Reference: Yu et al. 2019, Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning,
section 4 (the protocols); McLean et al. 2025, Meta-World+, section 3 (versions and rewards).
"""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from registry.errors import TaskError, suggest
from taskgen.engines import gym_env, sawyer
from taskgen.engines.gym_batch import GymBatch, HostedConfig, Lender
from taskgen.engines.gym_recipe import KWARGS, Numbers, Recipe
from taskgen.space import ContextSpace, Knob, readable
from taskgen.spec import TaskSpec
from taskgen.split import Split
from taskgen.streams import seed_sequence
from taskgen.variation import Choice, IntegerRange, Uniform

_ENVIRONMENT = "reach-v3"
_CAMERA = 2
"""Of Meta-World's models: a corner from which table and arm are seen, upside down."""


class MetaWorldConfig(HostedConfig):
    """Structural settings of `MetaWorld`."""

    benchmark: Literal["ML1", "ML10", "ML45"] = Field("ML1", description="Which of Meta-World's protocols.")
    environment: str = Field("", description=f"Of ML1: which of the 50 environments; left out: {_ENVIRONMENT}.")
    goals: int = Field(
        50, ge=0, le=10_000, description="Goals of an environment on a side; 0, of ML1 alone: any placement."
    )
    goals_seed: int = Field(0, ge=0, lt=2**53, description="What the goals are drawn from.")
    goal_shown: bool = Field(
        default=False, description="Show the goal, as Meta-World's multi-task benchmarks do and its experts need."
    )
    horizon: int = Field(sawyer.LENGTH, ge=1, le=sawyer.LENGTH, description="Steps per episode.")

    @model_validator(mode="after")
    def _known(self) -> "MetaWorldConfig":
        if self.benchmark == "ML1" and not self.environment:
            object.__setattr__(self, "environment", _ENVIRONMENT)  # frozen, but not yet handed out
        if self.environment and self.environment not in sawyer.classes():
            raise ValueError(f"environment = {self.environment!r}: {suggest(self.environment, sawyer.classes())}")
        if self.benchmark != "ML1" and self.environment:
            raise ValueError(f"environment = {self.environment!r}: {self.benchmark} has its own; say benchmark=ML1")
        if self.benchmark != "ML1" and not self.goals:
            raise ValueError(
                f"goals = 0: environments of {self.benchmark} have placements of their own; say benchmark=ML1"
            )
        return self


class MetaWorld(Lender[MetaWorldConfig]):
    """Observations [39]: hand, gripper and objects now and a step before, and the goal or zeros. Actions [4]."""

    tells_success = True

    def __init__(self, config: MetaWorldConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        ml1 = config.benchmark == "ML1"
        train, test = ((config.environment,), ()) if ml1 else sawyer.sides(config.benchmark)
        self.environments = (*train, *test)
        """By number, those that are trained on first."""
        seen = _described(self._made_of())
        self.observation_space, self.action_space, self._first = seen.observation_space, seen.action_space, seen.first
        self.horizon = config.horizon
        if not ml1:
            self.split = _sides("number", len(train), len(test))
        elif config.goals:
            self.split = _sides("goal", config.goals, config.goals)

    @cached_property
    def recipe(self) -> Recipe:
        """See `Lender.recipe`."""
        return self._made_of({one: f"{KWARGS}.{one}" for one in ("environment", "placement")})

    def _made_of(self, places: Mapping[str, str] | None = None) -> Recipe:
        kwargs = {"environment": self.environments[0], "goal_shown": self.config.goal_shown}
        return Recipe(f"{sawyer.__name__}:Sawyer", kwargs, places or {}, success="success")

    def batch(self, slots: int, device: torch.device | str = "cpu") -> GymBatch:
        """An environment a slot."""
        return GymBatch(self, slots, device, first=self._first, levels=False)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The goal, and of several environments which; or the placement."""
        goals, split = self.config.goals, self.split
        if not goals:
            low, high = sawyer.bounds(self.config.environment)
            size, usual = int((low < high).sum()), sawyer.usual(self.config.environment)
            told, vary = "Where object and goal are, between the bounds.", Uniform(low=0.0, high=1.0)
            return ContextSpace({"placement": Knob(0.0, 1.0, usual, told, shape=(size,), vary=vary)})
        assert split is not None
        sided = Choice(values=tuple(map(float, split.values("train"))))
        last = len(split.train | split.test) - 1
        if split.knob == "goal":
            return ContextSpace({"goal": Knob(0, last, 0, "Which goal.", integer=True, vary=sided)})
        vary = IntegerRange(low=0, high=goals - 1)
        return ContextSpace(
            {
                "number": Knob(0, last, 0, "Which environment.", integer=True, vary=sided),
                "goal": Knob(0, goals - 1, 0, "Which of its goals.", integer=True, vary=vary),
            }
        )

    def validate(self, context: Mapping[str, Any]) -> None:
        """Refuse placements that Meta-World does not take; goals are drawn so that it does."""
        if "placement" in context and (nearness := sawyer.too_near(*self.placed(context))):
            raise TaskError(f"placement: {nearness}")

    def placed(self, context: Mapping[str, Any]) -> tuple[str, NDArray[np.float64]]:
        """The environment of the complete `context`, and [D] where object and goal are, in metres."""
        environment = self.environments[context.get("number", 0)]
        if "goal" in context:
            return environment, _goal(environment, context["goal"], self.config.goals_seed)
        low, high = sawyer.bounds(environment)
        shares = np.zeros(len(low))
        shares[low < high] = context["placement"]
        return environment, sawyer.between(environment, shares)

    def numbers(self, spec: TaskSpec) -> Numbers:
        """See `Lender.numbers`."""
        environment, placement = self.placed(spec.context)
        return {"environment": environment, "placement": tuple(placement.tolist())}

    def features(self, spec: TaskSpec) -> list[float]:
        """See `Lender.features`: 1 in the place of the environment, where there are several, then the placement.

        The placement is from 0 to 1 of its bounds, 0 in what does not vary, 6 numbers of which the environment may have
        fewer.
        """
        environment, placement = self.placed(spec.context)
        low, high = sawyer.bounds(environment)
        relative = np.zeros(6)
        relative[: len(low)] = (placement - low) / np.where(low < high, high - low, 1.0)
        several = len(self.environments) > 1
        return [float(one == environment) for one in self.environments if several] + relative.tolist()

    def render(self, spec: TaskSpec) -> "NDArray[np.uint8] | str":
        """How an episode begins; where nothing can be drawn, what the task is as text."""
        environment, placement = self.placed(spec.context)
        text = f"{super().render(spec)}\n{environment} at {readable(placement.tolist())}"
        if not sawyer.MODERN:
            return text
        from taskgen.engines.mujoco_render import can_render, picture

        if not can_render():
            return text
        env = sawyer.Sawyer(environment, placement.tolist())
        try:
            env.reset()
            return picture(env.env.model, env.state(), camera=_CAMERA)[::-1, ::-1].copy()
        finally:
            env.close()


def _sides(knob: str, train: int, test: int) -> Split:
    return Split(knob, frozenset(range(train)), frozenset(range(train, train + test)))


@lru_cache(maxsize=8)
def _described(recipe: Recipe) -> gym_env.Description:
    return gym_env.describe(recipe)


@lru_cache(maxsize=65536)
def _goal(environment: str, goal: int, seed: int) -> NDArray[np.float64]:
    """[D] in metres: the first of a stream of its own that Meta-World takes."""
    low, high = sawyer.bounds(environment)
    rng = np.random.default_rng(seed_sequence(seed, "metaworld", environment, goal))
    while sawyer.too_near(environment, drawn := rng.uniform(low, high)):
        pass
    drawn.setflags(write=False)
    return drawn

"""Random rewards: a CMP, and a discriminator of skills that was never trained, make as many tasks as are asked for.

    task = (context, r_z),   r_z(s) = log D(z|s) - log p(z),   D random, z uniform

Reference: Gupta et al. 2018, "Unsupervised Meta-Learning for Reinforcement Learning", section 4.2 (UML-RANDOM).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from plugins.generators.rewarded import Rewarded, reward_spec
from plugins.rewards.random_discriminator import RandomDiscriminatorConfig
from registry.config import Config, Part, Width
from taskgen.build import SOURCES
from taskgen.family import TaskFamily
from taskgen.spec import RewardSpec, TaskSpec
from taskgen.streams import integer_seed, uniforms


class RandomRewardsConfig(Config):
    """Settings of `RandomRewards`."""

    contexts: Part = Field(
        Part(name="domain-randomization"),
        description="Source of the tasks whose reward is replaced.",
        json_schema_extra={"kind": SOURCES},
    )
    networks: int = Field(0, ge=0, description="How many different discriminators there are; 0: a fresh one a task.")
    network_seed: int = Field(0, ge=0, lt=2**53, description="Fixes the discriminators, where `networks` counts them.")
    skills: int = Field(10, ge=2, le=1000, description="Skills of each discriminator; one is rewarded in a task.")
    hidden: tuple[Width, ...] = Field((32,), max_length=8, description="Units of each hidden layer.")
    features: tuple[int, ...] = Field((), description="Entries of the observation that are seen; none: all.")
    scale: float = Field(1.0, gt=0, description="Features are divided by this: a length over which rewards change.")
    gain: float = Field(3.0, gt=0, description="Scale of the logits: how sharp the discriminator is.")


class RandomRewards(Rewarded[RandomRewardsConfig]):
    """A `TaskSource`. Contexts, networks and skills are drawn from streams of their own."""

    def __init__(self, config: RandomRewardsConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, config.contexts, family=family, seed=seed)
        family.spec(reward=self._rewards(0, [family.spec()])[0])  # what cannot be is refused now

    def _rewards(self, first: int, specs: Sequence[TaskSpec]) -> Sequence[RewardSpec]:
        config = self.config
        luck = uniforms(self._seed, "network", first, len(specs))
        skills = uniforms(self._seed, "skill", first, len(specs)) * config.skills
        if config.networks:
            seeds = [integer_seed(config.network_seed, "network", int(u * config.networks)) >> 10 for u in luck]
        else:
            seeds = (luck * 2.0**53).astype(np.int64).tolist()
        shape = config.model_dump(mode="json", include={"skills", "hidden", "features", "scale", "gain"})
        return [
            reward_spec("random-discriminator", RandomDiscriminatorConfig(**shape, seed=seed, skill=int(skill)))
            for seed, skill in zip(seeds, skills, strict=True)
        ]

"""Rewards from a discriminator of skills that was never trained: a random network, rebuilt from its seed.

    r_z(s) = log D(z|s) - log p(z),   D = softmax of a random network,   p uniform over K skills

Every z asks for the region of states that the random network happens to call z; another seed cuts the states into other
regions. The cheapest of all ways to make tasks of a CMP.

Reference: Gupta et al. 2018, "Unsupervised Meta-Learning for Reinforcement Learning", section 4.2 (UML-RANDOM).

Differences from the paper: weights are uniform with He et al.'s (2015) variance, made from the seed by the platform's
own counter-based generator, so that the seed alone rebuilds them everywhere; `gain` sharpens D, which is near-uniform
otherwise.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from plugins.rewards.discriminator import Discriminators, Features, Layer, count_features
from registry.config import Config, Width
from registry.errors import TaskError
from taskgen.engines import noise
from taskgen.family import TaskFamily


class RandomDiscriminatorConfig(Config):
    """Settings of `RandomDiscriminator`."""

    seed: int = Field(0, ge=0, lt=2**53, description="Fixes the network.")
    skill: int = Field(0, ge=0, description="The z that is rewarded, from 0 to skills - 1.")
    skills: int = Field(10, ge=2, le=1000, description="Number of skills K.")
    hidden: tuple[Width, ...] = Field((32,), max_length=8, description="Units of each hidden layer.")
    features: tuple[int, ...] = Field((), description="Entries of the observation that are seen; none: all.")
    scale: float = Field(1.0, gt=0, description="Features are divided by this: a length over which D should change.")
    gain: float = Field(3.0, gt=0, description="Scale of the logits: how sharp D is.")


class RandomDiscriminator:
    """The `RewardFunction`."""

    of_next_observation = True

    def __init__(
        self, configs: Sequence[RandomDiscriminatorConfig], *, family: TaskFamily[Any], device: torch.device | str
    ) -> None:
        first = configs[0]
        for config in configs:
            if config.skill >= config.skills:
                raise TaskError(
                    f"skill = {config.skill}: allowed are 0 to {config.skills - 1} (skills = {config.skills})"
                )
            if _shape(config) != _shape(first):
                raise TaskError(
                    "tasks of one batch share skills, hidden, features and scale of random-discriminator; "
                    f"here are {_shape(first)} and {_shape(config)}"
                )
        size = count_features(family.observation_space, first.features, family.name)
        sizes = (size, *first.hidden, first.skills)
        if sum(wide * (narrow + 1) for narrow, wide in pairwise(sizes)) > _MOST_WEIGHTS:
            raise TaskError(f"hidden = {list(first.hidden)}: the network would have over {_MOST_WEIGHTS:,} weights")
        seeds = sorted({(config.seed, config.gain) for config in configs})
        layers = [(weight.to(device), bias.to(device)) for weight, bias in _networks(seeds, sizes)]
        network = torch.tensor([seeds.index((config.seed, config.gain)) for config in configs], device=device)
        skill = torch.tensor([config.skill for config in configs], device=device)
        self._discriminators = Discriminators(layers, network, skill)
        scale = torch.tensor(first.scale, dtype=torch.float64, device=device)
        self._features = Features(family.observation_space, first.features, torch.zeros_like(scale), scale)

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
        """[B] `log D(z|s') - log p(z)`."""
        return self._discriminators.reward(self._features(next_observation))

    def descriptor(self) -> Tensor:
        """[B, skills] the skill, one-hot: it names the task among those of one seed."""
        return self._discriminators.descriptor()


_MOST_WEIGHTS = 1_000_000


def _shape(config: RandomDiscriminatorConfig) -> tuple[Any, ...]:
    return (config.skills, config.hidden, config.features, config.scale)


def _networks(seeds: Sequence[tuple[int, float]], sizes: Sequence[int]) -> list[Layer]:
    """Layers of the networks of `seeds`, each with its gain: weights and biases uniform, in one sequence a seed."""
    keys = noise.keys([seed for seed, _ in seeds])
    gain = torch.tensor([gain for _, gain in seeds], dtype=torch.float64)
    layers: list[Layer] = []
    pairs = list(pairwise(sizes))
    for number, (narrow, wide) in enumerate(pairs):
        uniform = noise.uniforms64(noise.child(keys, number), wide * (narrow + 1)) * 2.0 - 1.0
        weight = uniform[:, : wide * narrow].view(-1, wide, narrow) * (6.0 / narrow) ** 0.5
        bias = uniform[:, wide * narrow :]
        if number == len(pairs) - 1:
            weight, bias = weight * gain[:, None, None] / 2.0**0.5, bias * gain[:, None]
        layers.append((weight, bias))
    return layers

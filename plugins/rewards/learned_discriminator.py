"""Rewards from a discriminator of skills that was learned, such as DIAYN's; an artefact that tasks name by its hash.

    r_z(s) = log D(z|s) - log p(z),   p uniform over the discriminator's skills

Reference: Eysenbach et al. 2019, "Diversity is All You Need", equation 3; Gupta et al. 2018, "Unsupervised
Meta-Learning for Reinforcement Learning", section 4.2 (UML-DIAYN).

The artefact holds `weight.0`, `bias.0`, ... [out, in] and [out], `shift` and `scale` [F], `features` (indices, empty
for all); its metadata say which `observation` space it was learned on.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plugins.rewards.discriminator import Discriminators, Features, Layer, count_features
from registry.config import Config
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.artefacts import Artefact
from taskgen.family import TaskFamily


class LearnedDiscriminatorConfig(Config):
    """Settings of `LearnedDiscriminator`."""

    artefact: str = Field("", description="SHA-256 of the discriminator, which lies in a directory `artefacts`.")
    skill: int = Field(0, ge=0, description="The z that is rewarded.")


class LearnedDiscriminator:
    """The `RewardFunction`."""

    of_next_observation = True

    def __init__(
        self, configs: Sequence[LearnedDiscriminatorConfig], *, family: TaskFamily[Any], device: torch.device | str
    ) -> None:
        names = sorted({config.artefact for config in configs})
        known = {name: _checked(name, family) for name in names}
        for config in configs:
            skills = _skills(known[config.artefact])
            if config.skill >= skills:
                raise TaskError(f"skill = {config.skill}: artefact {config.artefact[:12]} has skills 0 to {skills - 1}")
        self._parts: list[tuple[Features, Discriminators, Tensor | None]] = []
        widest = max(map(_skills, known.values()))
        self._descriptor = torch.zeros(len(configs), widest, device=device)
        for row, config in enumerate(configs):
            self._descriptor[row, config.skill] = 1.0
        for name in names:
            rows = torch.tensor([row for row, config in enumerate(configs) if config.artefact == name], device=device)
            skill = torch.tensor([config.skill for config in configs if config.artefact == name], device=device)
            features, layers = _network(known[name], family, device)
            part = Discriminators(layers, torch.zeros_like(skill), skill)
            self._parts.append((features, part, None if len(names) == 1 else rows))

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
        """[B] `log D(z|s') - log p(z)`."""
        reward = next_observation.new_zeros(len(self._descriptor), dtype=torch.float32)
        for features, discriminators, rows in self._parts:
            if rows is None:
                return discriminators.reward(features(next_observation))
            reward[rows] = discriminators.reward(features(next_observation[rows]))
        return reward

    def descriptor(self) -> Tensor:
        """[B, skills] the skill, one-hot: it names the task among those of one artefact."""
        return self._descriptor


def _checked(name: str, family: TaskFamily[Any]) -> Artefact:
    if not name:
        raise TaskError("artefact is empty: name a learned discriminator; `taskgen generate diayn` makes one")
    artefact = artefacts.load(name)
    numbers = [key for key in artefact.tensors if key.startswith("weight.")]
    needed = {"shift", "scale", "features", *numbers, *(f"bias.{key.partition('.')[2]}" for key in numbers)}
    if not numbers or needed != set(artefact.tensors):
        raise TaskError(f"artefact {name[:12]} is no discriminator: it holds {sorted(artefact.tensors)}")
    learned_on = artefact.metadata.get("observation")
    if learned_on != str(family.observation_space):
        raise TaskError(
            f"artefact {name[:12]} was learned on the observation space {learned_on}; that of {family.name} is "
            f"{family.observation_space}. Use it with the family and settings it was learned on."
        )
    size = count_features(family.observation_space, artefact.tensors["features"].tolist(), family.name)
    for number in range(len(numbers)):
        weight, bias = artefact.tensors[f"weight.{number}"], artefact.tensors[f"bias.{number}"]
        if weight.ndim != 2 or weight.shape != (len(bias), size) or not np.isfinite(weight).all():
            raise TaskError(f"artefact {name[:12]}: weight.{number} is {weight.shape}, expected finite [out, {size}]")
        size = len(bias)
    return artefact


def _skills(artefact: Artefact) -> int:
    last = sum(key.startswith("bias.") for key in artefact.tensors) - 1
    return len(artefact.tensors[f"bias.{last}"])


def _network(artefact: Artefact, family: TaskFamily[Any], device: torch.device | str) -> tuple[Features, list[Layer]]:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(artefact.tensors[name].astype(np.float64)).to(device)

    count = sum(key.startswith("weight.") for key in artefact.tensors)
    layers = [(tensor(f"weight.{number}")[None], tensor(f"bias.{number}")[None]) for number in range(count)]
    chosen = tuple(artefact.tensors["features"].tolist())
    return Features(family.observation_space, chosen, tensor("shift"), tensor("scale")), layers

"""The kit over every reward of the catalogue, on every family."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import registry
from plugins.rewards.discriminator import count_features
from taskgen import artefacts
from taskgen.artefacts import Artefact
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.spec import RewardSpec
from taskgen.testing import check_reward

REWARDS = [item.full_name for item in registry.catalogue().items("rewards")]
FAMILIES = [item.full_name for item in registry.catalogue().items("families")]


def some_discriminator(family: TaskFamily[Any], skills: int = 4) -> Artefact:
    """One that was not learned but might have been."""
    size = count_features(family.observation_space, (), family.name)
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {"shift": np.zeros(size), "scale": np.ones(size), "features": np.zeros(0, dtype=np.int64)}
    for number, shape in enumerate([(8, size), (skills, 8)]):
        tensors[f"weight.{number}"] = rng.normal(size=shape).astype(np.float32)
        tensors[f"bias.{number}"] = rng.normal(size=shape[0]).astype(np.float32)
    return Artefact(tensors, {"observation": str(family.observation_space), "skills": str(skills)})


def _settings(name: str, family: TaskFamily[Any]) -> list[Mapping[str, Any]]:
    if name == "builtin/learned-discriminator":
        artefact = artefacts.save(some_discriminator(family))
        return [{"artefact": artefact, "skill": skill} for skill in (0, 1, 3)]
    if name == "builtin/goal-proximity":
        size = count_features(family.observation_space, (), family.name)
        far = {"features": [], "reach": 1e3}  # so that it pays everywhere
        return [{"goal": [number] * size, **far} for number in (0.0, 0.5, 1.0)]
    return [{"seed": 5, "skill": 0}, {"seed": 5, "skill": 1}, {"seed": 6, "skill": 0}]


def _shorter(name: str) -> dict[str, int]:
    """Settings with a horizon of 20 where the default is above 50: the kit plays whole episodes."""
    horizon = registry.catalogue().get("families", name).config_class().model_fields.get("horizon")
    return {"horizon": 20} if horizon is not None and horizon.default > 50 else {}


@pytest.mark.parametrize("family_name", FAMILIES)
@pytest.mark.parametrize("name", REWARDS)
def test_reward(name: str, family_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    torch.set_num_threads(1)
    family = build_family(family_name, _shorter(family_name))
    check_reward(family, [RewardSpec(name, settings) for settings in _settings(name, family)])

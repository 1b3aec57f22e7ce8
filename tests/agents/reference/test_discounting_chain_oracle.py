"""The discounting-chain oracle against the optimum worked out by hand."""

import numpy as np
import pytest
import torch

from agents.evaluation.play import play
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of


@pytest.mark.parametrize(("horizon", "expected"), [(100, [1.1] * 5), (5, [1.1, 1.1, 1.0, 1.0, 1.0])])
def test_the_oracle_earns_the_optimum(horizon, expected):
    family = build_family("discounting-chain", {"horizon": horizon})
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"))
    oracle = build_agent(Part(name="discounting-chain-oracle"), problem)
    specs = [family.spec({"mapping": chain}) for chain in range(5)]
    np.testing.assert_allclose(np.asarray(play(oracle, family, specs, 1)).ravel(), expected, rtol=1e-6)
    np.testing.assert_allclose([family.optimal_return(spec) for spec in specs], expected)

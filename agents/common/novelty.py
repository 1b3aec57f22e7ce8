"""How new something is: the error of a network that learns what another one, random and fixed, makes of it.

    novelty(x) = |predictor(x) - target(x)|^2 / (mean error of the first batch, before anything was learned)

Where the predictor has been shown x, or what is like it, it is right: novelty falls with visits, from about 1 to 0.
Before anything was visited everything is as new: 1.

Reference: Burda, Edwards, Storkey and Klimov 2019, "Exploration by Random Network Distillation", section 2.2. There the
bonus is divided by a running deviation of its returns, so that its size stays; here its unit stays, so that it fades.

Observations are shifted and scaled to mean 0 and variance 1 over all visits (section 2.4). Beliefs are read as they
are: their unit is the prior N(0, 1). How little those of an untrained encoder spread is no unit for what it will learn.

Axes: N rows, I inputs: observations, then beliefs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from agents.common.normalisation import RunningNormalizer
from agents.common.optimiser import Adam, load_optimizer
from agents.networks.mlp import mlp


class Novelty:
    """What it makes of a row does not depend on the other rows; draws from the generator of whoever visits."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        observed: int,
        learning_rate: float,
        device: torch.device,
    ) -> None:
        """Of `inputs` entries the first `observed` are the observation's."""
        sizes = (inputs, *hidden)
        self._target, self._predictor = (
            nn.Sequential(mlp(sizes), nn.Linear(sizes[-1], outputs)).to(device) for _ in range(2)
        )
        self._target.requires_grad_(requires_grad=False)
        self._observed = observed
        self._normalizer = RunningNormalizer(observed).to(device)
        self._learning_rate = learning_rate
        self._optimizer = Adam(self._predictor.parameters(), lr=learning_rate)
        self._unit = torch.ones((), device=device)
        self._visits = 0

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "*axes I"]) -> Float[Tensor, "*axes"]:
        """How new each row is."""
        return self._errors(x) / self._unit if self._visits else x.new_ones(x.shape[:-1])

    def visit(self, x: Float[Tensor, "N I"], generator: torch.Generator, *, updates: int, batch: int) -> None:
        """Steps of the predictor, each on `batch` random rows of what was visited.

        The first visit fixes the unit; all of them say how observations are shifted and scaled.
        """
        self._normalizer.update(x[:, : self._observed])
        if not self._visits:
            self._unit = self._errors(x).detach().mean().clamp(min=1e-12)
        self._visits += 1
        for _ in range(updates):
            rows = torch.randint(len(x), (batch,), generator=generator, device=x.device)
            self._optimizer.zero_grad()
            self._errors(x[rows]).mean().backward()
            self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Both networks, how observations are scaled, optimiser, unit, number of visits."""
        return {
            "target": self._target.state_dict(),
            "predictor": self._predictor.state_dict(),
            "normalizer": self._normalizer.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "unit": self._unit,
            "visits": self._visits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._target.load_state_dict(state["target"])
        self._predictor.load_state_dict(state["predictor"])
        self._normalizer.load_state_dict(state["normalizer"])
        load_optimizer(self._optimizer, state["optimizer"], self._learning_rate)
        self._unit = state["unit"].to(self._unit.device)
        self._visits = state["visits"]

    def _errors(self, x: Tensor) -> Tensor:
        """[...] mean squared differences of the two networks' outputs."""
        x = torch.cat([self._normalizer(x[..., : self._observed]), x[..., self._observed :]], -1)
        return (self._predictor(x) - self._target(x)).square().mean(-1)

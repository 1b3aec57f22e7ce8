"""Networks and losses of the soft actor-critic, for every agent that learns off-policy by it.

    y      = r + discount (1 - terminated) (min_j Q'_j(x', a') - alpha log pi(a' | x')),  a' ~ pi(. | x')

What an input x is made of (observation, task descriptor, latent) is the agent's affair; actions are of the unit box.

Reference: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", equations 5-9 and 17-18.

Axes: N transitions, I inputs, A action dimensions, 2 critics.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from agents.common.distributions import SquashedGaussian
from agents.networks.mlp import Ensemble, mlp


class Actor(nn.Module):
    """Squashed Gaussian policy over the unit box."""

    def __init__(self, inputs: int, hidden: Sequence[int], actions: int) -> None:
        super().__init__()
        self.body = mlp((inputs, *hidden))
        self.head = nn.Linear(hidden[-1], 2 * actions)

    def forward(self, inputs: Tensor) -> SquashedGaussian:
        """[..., I] -> policy."""
        mean, log_std = self.head(self.body(inputs)).chunk(2, dim=-1)
        return SquashedGaussian(mean, log_std.clamp(-20.0, 2.0))


class SoftActorCritic(nn.Module):
    """Actor, twin critics, their averaged targets, temperature."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], actions: int, *, temperature: float, averaging: float
    ) -> None:
        super().__init__()
        self.actor = Actor(inputs, hidden, actions)
        self.critics = Ensemble(2, (inputs + actions, *hidden, 1))
        self.targets = copy.deepcopy(self.critics).requires_grad_(requires_grad=False)
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self._average = get_ema_multi_avg_fn(1 - averaging)

    def critic_loss(
        self,
        inputs: Float[Tensor, "N I"],
        action: Float[Tensor, "N A"],
        target: Float[Tensor, "N"],
        weight: Float[Tensor, "N"] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Squared errors, averaged over transitions, by `weight` where there is one, and summed over critics; and the
        mean value. Both scalars.
        """
        value = self.critics(torch.cat([inputs, action], dim=-1))[..., 0]
        return _mean((value - target).square(), weight).sum(), _mean(value, weight).mean()

    @torch.no_grad()
    def target(
        self,
        reward: Float[Tensor, "N"],
        terminated: Bool[Tensor, "N"],
        following: Float[Tensor, "N I"],
        discount: float,
        generator: torch.Generator,
    ) -> Float[Tensor, "N"]:
        """The value each transition shows: its reward and what the target critics expect of the `following` inputs."""
        return reward + discount * ~terminated * self.soft_value(following, generator)

    @torch.no_grad()
    def soft_value(self, inputs: Float[Tensor, "N I"], generator: torch.Generator) -> Float[Tensor, "N"]:
        """What the target critics expect of `inputs`, the entropy of the first action included."""
        action, log_prob = self.actor(inputs).sample_with_log_prob(generator)
        value = self.targets(torch.cat([inputs, action], dim=-1))[..., 0].amin(0)
        return value - self.log_temperature.exp() * log_prob

    def policy_loss(
        self, inputs: Float[Tensor, "N I"], generator: torch.Generator, weight: Float[Tensor, "N"] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss of the actor alone, and the policy's entropy without gradient. Both scalars."""
        action, log_prob = self.actor(inputs).sample_with_log_prob(generator)
        best = self.critics(torch.cat([inputs, action], dim=-1), frozen=True)[..., 0].amin(0)
        loss = self.log_temperature.detach().exp() * log_prob - best
        return _mean(loss, weight), -_mean(log_prob.detach(), weight)

    def set_temperature(self, temperature: float) -> None:
        """The weight of the entropy is `temperature` from now on."""
        with torch.no_grad():
            self.log_temperature.copy_(torch.tensor(temperature).log())

    def average(self) -> None:
        """Move the targets towards the critics."""
        self._average(list(self.targets.parameters()), list(self.critics.parameters()), 0)


def _mean(values: Float[Tensor, "*axes N"], weight: Float[Tensor, "N"] | None) -> Float[Tensor, "*axes"]:
    """Over transitions, by `weight` where there is one."""
    return values.mean(-1) if weight is None else (values * weight).sum(-1) / weight.sum()

"""Policies that learn from steps of older policies, by what actions are: double DQN or a soft actor-critic.

    numbers  loss     = Huber(Q(x, a) - y)
             follows  = Q'(x', argmax_a Q(x', a))
    a box    loss     = sum_j (Q_j(x, a) - y)^2
                        + alpha log pi(a" | x) - min_j Q_j(x, a") + log alpha (entropy - target entropy),  a" ~ pi
             follows  = min_j Q'_j(x', a') - alpha log pi(a' | x'),  a' ~ pi

What the input x is made of and how a target y is put together (rewards of several steps, where an episode is over) is
the agent's affair. Gradients of Q reach the input, those of pi do not.

Reference: van Hasselt, Guez and Silver 2016, "Deep Reinforcement Learning with Double Q-learning", equation 4; Haarnoja
et al. 2018, "Soft Actor-Critic Algorithms and Applications", equations 5-9 and 17-18.

Axes: T steps, M trials, N rows, I inputs, A actions.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import gymnasium as gym
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from agents.common.distributions import ActionBox, bounded_box
from agents.common.exploration import epsilon_greedy
from agents.common.losses import weighted_mean
from agents.common.soft_actor_critic import SoftActorCritic
from agents.networks.mlp import mlp
from taskgen.interaction.agent import Problem


class OffPolicy(nn.Module, ABC):
    """A policy with the values it goes by, and their older copies."""

    @abstractmethod
    def act(
        self, inputs: Float[Tensor, "N I"], epsilon: float, generator: torch.Generator, *, judged: bool = False
    ) -> Tensor:
        """[N, ...] actions of the space; with probability `epsilon` any. Nothing else is drawn where it is `judged`."""

    @abstractmethod
    def following(self, inputs: Float[Tensor, "T M I"], generator: torch.Generator) -> Float[Tensor, "T M"]:
        """What is expected of the inputs that follow a step, without gradient."""

    @abstractmethod
    def loss(
        self,
        inputs: Float[Tensor, "T M I"],
        action: Tensor,
        target: Float[Tensor, "T M"],
        valid: Bool[Tensor, "T M"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Of values, and of a policy where there is one, over the steps that are `valid`."""

    @abstractmethod
    def renew(self, updates: int) -> None:
        """Bring older copies nearer, after so many updates."""


class DoubleDQN(OffPolicy):
    """Values [..., A] of numbered actions."""

    def __init__(self, inputs: int, hidden: Sequence[int], actions: int, *, target_updates: int) -> None:
        super().__init__()
        sizes = (inputs, *hidden)
        self.newer = nn.Sequential(mlp(sizes), nn.Linear(sizes[-1], actions))
        self.older = copy.deepcopy(self.newer).requires_grad_(requires_grad=False)
        self._target_updates = target_updates

    def act(
        self, inputs: Float[Tensor, "N I"], epsilon: float, generator: torch.Generator, *, judged: bool = False
    ) -> Tensor:
        """[N] the action of the highest value."""
        return epsilon_greedy(self.newer(inputs), epsilon, generator)

    @torch.no_grad()
    def following(self, inputs: Float[Tensor, "T M I"], generator: torch.Generator) -> Float[Tensor, "T M"]:
        """What the older values say of the action that the newer ones choose."""
        chosen = self.newer(inputs).argmax(-1, keepdim=True)
        return self.older(inputs).gather(-1, chosen)[..., 0]

    def loss(
        self,
        inputs: Float[Tensor, "T M I"],
        action: Tensor,
        target: Float[Tensor, "T M"],
        valid: Bool[Tensor, "T M"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Huber loss of the values of what was done."""
        value = self.newer(inputs).gather(-1, action[..., None])[..., 0]
        error = functional.smooth_l1_loss(value, target, reduction="none")
        return weighted_mean(error, valid.to(error.dtype))

    def renew(self, updates: int) -> None:
        """The older values become the newer ones, every `target_updates`."""
        if updates % self._target_updates == 0:
            self.older.load_state_dict(self.newer.state_dict())


class BoxActorCritic(OffPolicy):
    """A soft actor-critic with a learned temperature, for actions of a bounded box."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], space: gym.spaces.Box, *, averaging: float, target_entropy: float
    ) -> None:
        super().__init__()
        self._box = ActionBox(space)
        self._actions = int(torch.Size(space.shape).numel())
        self._target_entropy = target_entropy * self._actions
        self.model = SoftActorCritic(inputs, hidden, self._actions, temperature=0.1, averaging=averaging)

    def act(
        self, inputs: Float[Tensor, "N I"], epsilon: float, generator: torch.Generator, *, judged: bool = False
    ) -> Tensor:
        """[N, A] drawn from the policy, its mean where it is judged; any is drawn evenly from the box."""
        policy = self.model.actor(inputs)
        unit = policy.mode() if judged else policy.sample(generator)
        luck = torch.rand(len(unit), self._actions + 1, generator=generator, device=unit.device)
        return self._box.from_unit(torch.where(luck[:, -1:] < epsilon, 2 * luck[:, :-1] - 1, unit))

    @torch.no_grad()
    def following(self, inputs: Float[Tensor, "T M I"], generator: torch.Generator) -> Float[Tensor, "T M"]:
        """The older critics' lesser value of an action drawn, with its entropy."""
        return self.model.soft_value(inputs.flatten(0, 1), generator).view(inputs.shape[:2])

    def loss(
        self,
        inputs: Float[Tensor, "T M I"],
        action: Tensor,
        target: Float[Tensor, "T M"],
        valid: Bool[Tensor, "T M"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Of critics, actor and temperature."""
        rows, weight = inputs.flatten(0, 1), valid.flatten().to(target.dtype)
        unit = self._box.to_unit(action.flatten(0, 1))
        critic_loss, _ = self.model.critic_loss(rows, unit, target.flatten(), weight)
        policy_loss, entropy = self.model.policy_loss(rows.detach(), generator, weight)
        return critic_loss + policy_loss + self.model.log_temperature * (entropy - self._target_entropy)

    def renew(self, updates: int) -> None:
        """A share of the critics enters their averages."""
        self.model.average()


def off_policy(
    problem: Problem,
    agent: str,
    inputs: int,
    hidden: Sequence[int],
    *,
    target_updates: int,
    averaging: float,
    target_entropy: float,
) -> OffPolicy:
    """The one that suits the actions of `problem`. Raises `UserError`, naming `agent`, where neither does."""
    space = problem.action_space
    if isinstance(space, gym.spaces.Discrete):
        return DoubleDQN(inputs, hidden, int(space.n), target_updates=target_updates)
    box = bounded_box(problem, agent)
    return BoxActorCritic(inputs, hidden, box, averaging=averaging, target_entropy=target_entropy)

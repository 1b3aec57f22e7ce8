"""PPO: a contextual actor-critic, trained on single episodes by proximal policy optimisation.

One feed-forward policy for all tasks. Told the task descriptor it is the contextual oracle, the upper bound for agents
that must find out for themselves; told nothing it is the best policy that does not adapt; told a number for each
training task it has nothing to go by on a new one.

*What adapts*: nothing.  *What is learned*: the policy's and the value function's weights theta.

    a_t ~ pi_theta(. | s_t, c),  max_theta  E [ min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t) ],
    rho_t = pi_theta(a_t | s_t, c) / pi_old(a_t | s_t, c)

When it is judged its actions are drawn from its policy, as in training.

Reference: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", equation 7 and section 5.

Differences from the paper: the value loss is not clipped and the networks share no layers; value targets are shifted
and scaled by running statistics; a Gaussian's mean and standard deviation are measured in half-ranges of the action
space; an episode cut by the horizon is bootstrapped from the value of its true last observation.

The reward is read from the trial's rollout: whoever drives the agent may replace it there before `learn`.

Axes: T time, B trials, N valid steps of a batch.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.context import Context, ContextEncoder
from agents.common.descent import descend
from agents.common.distributions import Distribution, PolicyHead
from agents.common.losses import PPO_LOSSES, ppo_losses
from agents.common.optimiser import Adam
from agents.common.returns import generalized_advantages
from agents.common.schedule import annealed, changing, final_rate, share_left
from agents.common.vision import ImageConfig, vision
from agents.networks.mlp import mlp
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class PPOConfig(Config):
    """Settings of `PPO`."""

    context: Context = Field(
        "descriptor", description="What is told of the task: its descriptor, nothing, or its one-hot training number."
    )
    numbers: int = Field(128, ge=1, description="Training tasks that get a number, where the context is one-hot.")
    normalize: bool = Field(default=True, description="Normalise observation and descriptor by running statistics.")
    image: ImageConfig = Field(default=ImageConfig(), description="How observations that are images are read.")
    hidden: tuple[Width, ...] = Field(
        (64, 64), min_length=1, description="Widths of the hidden layers (paper: 64, 64)."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Adam's initial learning rate (paper: 3e-4).")
    final_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Learning rate at the end of training, reached linearly, from above or from below; left out: 6e-5, "
        "or the first one where that is less. Where no end is planned, as by `poet`, the first one stays.",
    )
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    trace: float = Field(0.95, ge=0, le=1, description="GAE's lambda.")
    epochs: int = Field(10, ge=1, description="Passes over a batch of steps.")
    minibatches: int = Field(8, ge=1, description="Minibatches per pass.")
    clip: float = Field(0.2, gt=0, description="Clipping range of the probability ratio.")
    entropy: float = Field(
        0.01,
        ge=0,
        description="Initial weight of the entropy bonus; falls linearly to zero at the end of training, where one is "
        "planned.",
    )
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    std: float = Field(1.0, gt=0, description="Initial standard deviation of a continuous action, in half-ranges.")


class _Model(nn.Module):
    """Policy and value function, two networks."""

    def __init__(self, config: PPOConfig, problem: Problem, inputs: int) -> None:
        super().__init__()
        self.actor, self.critic = (
            nn.Sequential(*image, *mlp((width, *config.hidden), nn.Tanh))
            for image, width in (vision(config.image, problem, inputs) for _ in range(2))
        )
        sizes = config.hidden
        self.policy_head = PolicyHead(sizes[-1], problem.action_space, std=config.std)
        self.value_head = nn.Linear(sizes[-1], 1)

    def policy(self, inputs: Tensor) -> Distribution:
        """[..., I] -> action distribution."""
        return self.policy_head(self.actor(inputs))

    def value(self, inputs: Tensor) -> Tensor:
        """[..., I] -> [...] normalised value."""
        return self.value_head(self.critic(inputs))[..., 0]


class PPO:
    """No carry."""

    initial_settings = frozenset({"std"})

    def __init__(self, config: PPOConfig, problem: Problem) -> None:
        self.config = config
        self.annealed_settings = changing(config.learning_rate, config.final_learning_rate, config.entropy)
        self._device = problem.device
        self._updates = problem.updates
        self._inputs = ContextEncoder(problem, config.context, config.numbers, normalize=config.normalize)
        self.needs_descriptor = self._inputs.needs_descriptor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._model = _Model(config, problem, self._inputs.size).to(problem.device)
        self._optimizer = Adam(self._model.parameters(), lr=config.learning_rate)
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._value_mean = torch.zeros((), device=problem.device)
        self._value_scale = torch.ones((), device=problem.device)
        self._updates_done = 0

    def reseed(self, seed: int) -> None:
        """Draw actions and minibatches from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: nothing adapts."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Sample from the policy."""
        inputs = self._inputs(step.observation, step.descriptor)
        policy = self._model.policy(inputs)
        action = policy.sample(self._generator)
        return Action(action, {"log_prob": policy.log_prob(action), "value": self._model.value(inputs)}), carry

    def decide(self, carry: Carry, step: Step) -> tuple[dict[str, Tensor], Carry]:
        """The policy that `act` samples from."""
        return self._model.policy(self._inputs(step.observation, step.descriptor)).parameters(), carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing adapts."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """PPO on the valid steps of the trials, each episode for itself."""
        rollout = trial.rollout
        advantage, target = self._advantages(rollout)
        columns = {
            "inputs": self._inputs(rollout.observation, rollout.descriptor),
            "action": rollout.action,
            "log_prob": rollout.record["log_prob"],
            "advantage": advantage,
            "target": target,
        }
        steps = {name: column[rollout.valid] for name, column in columns.items()}
        weight = steps["weight"] = torch.ones_like(steps["target"])
        coefficients = torch.tensor([1.0, 1.0, -self.config.entropy * self._anneal(), 0.0], device=self._device)

        def losses(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            parts = self._losses({name: column[rows] for name, column in steps.items()})
            return parts @ coefficients, dict(zip(PPO_LOSSES, parts.detach(), strict=True))

        minibatches = self._minibatches(len(weight))
        longest = self.config.gradient_norm
        figures = descend(self._model, self._optimizer, minibatches, losses, weight=weight, longest=longest)
        self._inputs.update(rollout)
        return {**figures, "charts/learning_rate": self._optimizer.param_groups[0]["lr"]}

    @torch.no_grad()
    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of reward: of what the episode has still to come."""
        value = rollout.record["value"] * self._value_scale + self._value_mean
        ended = rollout.terminated | rollout.truncated
        after = self._model.value(self._inputs(rollout.next_observation, rollout.descriptor))
        cut_short = rollout.truncated & ~rollout.terminated
        bootstrap = torch.where(cut_short, after * self._value_scale + self._value_mean, 0.0)
        reward, discount = rollout.reward + self.config.discount * bootstrap, self.config.discount
        trace = self.config.trace if trace is None else trace
        return value, generalized_advantages(reward, value, ~ended, discount, trace)

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser, normalisation of inputs and values, numbered tasks, sampling stream."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "context": self._inputs.state_dict(),
            "generator": self._generator.get_state(),
            "value_mean": self._value_mean,
            "value_scale": self._value_scale,
            "updates_done": self._updates_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._inputs.load_state_dict(state["context"])
        self._generator.set_state(state["generator"].cpu())
        self._value_mean = state["value_mean"].to(self._device)
        self._value_scale = state["value_scale"].to(self._device)
        self._updates_done = state["updates_done"]

    @torch.no_grad()
    def _advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Normalised advantages and normalised value targets, both [T, B], meaningful where valid."""
        value, advantage = self.estimates(rollout)
        returns = advantage + value
        spread, mean = torch.std_mean(returns[rollout.valid], correction=0)
        keep = 0.9 if self._updates_done else 0.0
        self._value_mean = keep * self._value_mean + (1 - keep) * mean
        self._value_scale = keep * self._value_scale + (1 - keep) * (spread + 1e-6)
        spread, mean = torch.std_mean(advantage[rollout.valid], correction=0)
        return (advantage - mean) / (spread + 1e-8), (returns - self._value_mean) / self._value_scale

    def _anneal(self) -> float:
        """Set the learning rate; the share of training that is left, 1 where no end is planned."""
        left = share_left(self._updates_done, self._updates)
        self._updates_done += 1
        first = self.config.learning_rate
        for group in self._optimizer.param_groups:
            group["lr"] = annealed(first, final_rate(first, self.config.final_learning_rate), left)
        return left

    def _minibatches(self, steps: int) -> Iterator[Tensor]:
        """Row numbers of each minibatch of each epoch."""
        for _ in range(self.config.epochs):
            order = torch.randperm(steps, generator=self._generator, device=self._device)
            yield from order.tensor_split(min(self.config.minibatches, steps))

    def _losses(self, steps: dict[str, Tensor]) -> Tensor:
        """[4]: the `PPO_LOSSES` of one minibatch."""
        policy, value = self._model.policy(steps["inputs"]), self._model.value(steps["inputs"])
        columns = {name: column for name, column in steps.items() if name != "inputs"}
        return ppo_losses(policy, value, **columns, clip=self.config.clip)

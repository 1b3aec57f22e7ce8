"""MAESN: exploration that a latent structures, drawn once an episode, whose distribution adapts by policy gradient.

A policy acts on observation and latent, so that all of an episode explores in one way. Every training task has a
distribution of latents of its own, trained so that a step of policy gradient on it makes the task's latents good for
it, and held to a prior from which new tasks begin.

*What adapts*: mean and deviation of a task's latents; as a setting the policy's weights too.  *What is meta-learned*:
these weights theta, every training task's (mu_i, sigma_i) before adaptation, and a step size for each adapted number.

    z ~ N(mu_i, sigma_i^2) once an episode,  a ~ pi_theta(. | s, z)
    (mu_i', sigma_i') = (mu_i, sigma_i) - step * grad L_i(theta, mu_i, sigma_i),  L_i = -E_{z, a} return
    min_{theta, mu, sigma, step}  sum_i L_i(theta, mu_i', sigma_i') + kl_weight KL(N(mu_i, sigma_i^2) || N(0, 1))

Both gradients of L_i that `latent_gradient` offers are unbiased. The paper's goes through the actions, d log pi(a | s,
mu + sigma eps) A: it hears of how actions strayed at the latents that were drawn, little where one latent of ten finds
the goal. That by likelihood ratio, d log N(z; mu, sigma) R, hears of which latents earned; it is taken as the natural
gradient, which does not blow up as sigma shrinks.

Tasks are told apart by their descriptor, in training alone. When it is judged it is told nothing: every task begins at
the prior N(0, 1), with the meta-learned weights, and latents and actions are drawn. To train on a dense reward what is
judged on a sparse one, take the source `dense-rewards`.

Reference: Gupta, Mendonca, Liu, Abbeel and Levine 2018, "Meta-Reinforcement Learning of Structured Exploration
Strategies", section 4, algorithm 1.

Differences from the paper: inner steps go by likelihood ratio unless `latent_gradient` is "pathwise", and the outer
gradient then takes which latents were drawn, and what they earned, as given: it lacks that another start would have
drawn others (with that, training diverged); the outer loop is PPO's clipped surrogate with Adam, not TRPO; deviations
adapt and are learned as their logarithms; of training tasks a bounded number has latents of its own, and those beyond
it begin at the prior. Natural gradients: Wierstra et al. 2014, "Natural Evolution Strategies", section 3.

Axes: T time, B tasks, E episodes of a task side by side, L latent dimensions, F numbers that adapt: 2 L, or 2 L + P
with the policy's, P parameters of the policy, N numbered tasks.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from agents.common.belief import drawn, gaussian_kl
from agents.common.context import TaskNumbers
from agents.common.encoding import StepEncoder
from agents.common.fast_policy import Activation, FastPolicy
from agents.common.gradient import counted
from agents.common.inner_loop import Experience, experience, gradient_step, log_probability, policy_gradient_loss
from agents.common.losses import approximate_kl, clipped_surrogate
from agents.common.optimiser import Adam, load_optimizer
from agents.common.parallel import mean_of_tasks
from agents.common.side_by_side import abreast
from registry.config import Config, Width
from registry.errors import UserError
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class MAESNConfig(Config):
    """Settings of `MAESN`. The paper's values are those of its code."""

    latent: int = Field(2, ge=1, description="Dimensions of the latent (paper: 2).")
    tasks: int = Field(100, ge=1, description="Training tasks that have latents of their own (paper: 100).")
    hidden: tuple[Width, ...] = Field((64, 64), description="Widths of the policy's layers (paper: 100, 100).")
    activation: Activation = Field("relu", description="Nonlinearity of these layers.")
    std: float = Field(1.0, gt=0, description="First standard deviation of actions, in half the range.")
    least_std: float = Field(0.2, ge=0, description="Standard deviation that is never undercut, in half the range.")
    trajectories: int = Field(20, ge=1, description="Episodes side by side for one inner step (paper: 20).")
    adapt_policy: bool = Field(default=False, description="Whether inner steps move the policy's weights too.")
    latent_gradient: Literal["likelihood-ratio", "pathwise"] = Field(
        "likelihood-ratio", description="Inner gradient: of which latents earned, or through the actions (paper)."
    )
    step_size: float = Field(1.0, gt=0, description="First size of the latents' inner steps (paper: .5 or 1).")
    policy_step_size: float = Field(0.05, gt=0, description="First size of the policy's, where it adapts.")
    inner_norm: float = Field(10.0, gt=0, description="Inner gradients through the policy are scaled down to this.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step of an episode.")
    trace: float = Field(1.0, ge=0, le=1, description="GAE's lambda over the linear baseline.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate.")
    epochs: int = Field(5, ge=1, description="Steps of Adam on each batch of trials.")
    clip: float = Field(0.2, gt=0, description="Clipping range of the probability ratio after adaptation.")
    kl_weight: float = Field(0.1, ge=0, description="Weight of the latents' divergence from the prior (paper: .1, .5).")


_ROUNDING = 1e-5
"""Spread of returns, in their largest, below which they differ by rounding alone."""


class _Adapting(NamedTuple):
    """The carry."""

    fast: Tensor
    """[B, F] mean and log deviation of the latents, then the policy's parameters where they adapt."""
    noise: Tensor
    """[B, E, L] standard normal, of the episodes that are played; E is 1 before the first."""


class Round(NamedTuple):
    """What one round taught."""

    data: Experience
    noise: Tensor
    """[B, E, L] what its latents were drawn by."""
    latent: Tensor
    """[B, E, L] the latents as they were played."""
    gain: Tensor
    """[B, E] discounted return of each episode, of mean 0 and standard deviation 1 within a task; 0 where all earned
    the same but for rounding."""


def natural_gradient(
    latents: Float[Tensor, "B 2L"], latent: Float[Tensor, "B E L"], gain: Float[Tensor, "B E"]
) -> Float[Tensor, "B 2L"]:
    """Of minus the mean `gain` of latents drawn from N(mean, std^2), with respect to mean and log deviation.

    E[(z - mean) gain] and E[((z - mean)^2 / std^2 - 1) gain] / 2: likelihood-ratio gradients times the inverse of the
    Fisher information, std^2 and 1/2.
    """
    mean, log_std = latents[:, None].chunk(2, -1)
    apart = latent - mean
    wider = 0.5 * ((apart / log_std.exp()).square() - 1)
    return -(torch.cat([apart, wider], -1) * gain[..., None]).mean(1)


class MAESN:
    """The carry holds each task's latents, as a distribution, and what they are drawn by."""

    initial_settings = frozenset({"std", "step_size", "policy_step_size"})

    def __init__(self, config: MAESNConfig, problem: Problem) -> None:
        if not problem.descriptor_size:
            raise UserError(
                f"{problem.family} has an empty task descriptor: maesn tells training tasks apart by it, to give each "
                "latents of its own. Use maml or promp, which need none."
            )
        self.config = config
        self.needs_descriptor = True
        self.encoder = StepEncoder(problem.observation_space, problem.action_space)
        self.policy = FastPolicy(
            self.encoder.observation_size + config.latent,
            problem.action_space,
            config.hidden,
            config.activation,
            std=config.std,
            least_std=config.least_std,
            device=problem.device,
        )
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self.weights = nn.Parameter(self.policy.initial(self.generator))
        self.latents = nn.Parameter(torch.zeros(config.tasks, 2 * config.latent, device=problem.device))
        sizes = [config.step_size] * (2 * config.latent)
        sizes += [config.policy_step_size] * (self.policy.size if config.adapt_policy else 0)
        self.log_steps = nn.Parameter(torch.tensor(sizes, device=problem.device).log())
        self._numbers = TaskNumbers(config.tasks, problem.descriptor_size, problem.device)
        self._optimizer = Adam([self.weights, self.latents, self.log_steps], lr=config.learning_rate)

    def reseed(self, seed: int) -> None:
        """Draw latents and actions from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def frozen(self) -> "MAESN":
        """The agent as it is judged: told nothing, every task begins at the prior."""
        judged = copy.copy(self)
        judged.needs_descriptor = False
        judged.generator = torch.Generator(self.latents.device).set_state(self.generator.get_state())
        return judged

    def plan(self, episodes: int) -> CollectionPlan:
        """Rounds of `trajectories` episodes side by side; fewer episodes than that are one round.

        Raises `UserError` for a number of episodes that is no multiple.
        """
        return abreast(episodes, self.config.trajectories)

    def least_episodes(self) -> tuple[int, str]:
        """One round to learn from and one that is played adapted."""
        return 2 * self.config.trajectories, f"two rounds of agent.trajectories = {self.config.trajectories}"

    def begin_trial(self, batch: int) -> _Adapting:
        """Every task begins at the prior, until it is told which it is."""
        prior = self.latents.new_zeros(batch, 2 * self.config.latent)
        return _Adapting(self._begun(prior).detach(), self._noise(batch))

    @torch.no_grad()
    def act(self, carry: _Adapting, step: Step) -> tuple[Action, _Adapting]:
        """Draw a latent where an episode begins, and an action.

        Raises `UserError` where an agent that is judged is shown the descriptor, or one that learns is not.
        """
        if (step.descriptor is not None) != self.needs_descriptor:
            raise UserError(
                "maesn is shown the task descriptor in training, and never where it is judged: play "
                "`taskgen.interaction.agent.judged(agent)`, which asks for none"
            )
        tasks = len(carry.fast)
        fast, starts = carry.fast, step.episode_start.view(tasks, -1, 1)
        if step.descriptor is not None:
            own = self._begun(self._numbers(step.descriptor.view(tasks, starts.shape[1], -1)[:, 0]) @ self.latents)
            fast = torch.where(step.trial_start.view(tasks, -1)[:, :1], own, fast)
        noise = torch.where(starts, self._noise(tasks, starts.shape[1]), carry.noise)
        observation = self.encoder.observation(step.observation).unflatten(0, (tasks, -1))
        latent = self._latent(fast, noise)
        seen = torch.cat([observation, latent], -1)
        action = self.policy(self._parameters(fast), seen).sample(self.generator)
        record = {"noise": noise.flatten(0, 1), "latent": latent.flatten(0, 1)}
        return Action(action.flatten(0, 1), record), _Adapting(fast, noise)

    def adapt(self, carry: _Adapting, rollout: Rollout) -> _Adapting:
        """One inner step."""
        return carry._replace(fast=self.inner_step(carry.fast, self.round(rollout, len(carry.fast))).detach())

    def learn(self, trial: Trial) -> Metrics:
        """Steps of Adam on what adapted latents earn: of weights, step sizes and where these tasks' latents begin."""
        tasks, first = len(trial.specs), trial.rounds[0].descriptor
        assert first is not None
        descriptor = first.view(tasks, trial.plan.slots, -1)[:, 0]
        met = self._numbers(descriptor).any(-1).float().mean()
        self._numbers.enter(descriptor)
        numbers = self._numbers(descriptor)
        rounds = [self.round(rollout, tasks) for rollout in trial.rounds]
        with torch.no_grad():
            chain = self.adapted(self._begun(numbers @ self.latents), rounds)
            old = [self._log_prob(fast, played) for fast, played in zip(chain, rounds, strict=True)]
        rounds = [
            played._replace(data=replace(played.data, log_prob=log_prob))
            for played, log_prob in zip(rounds, old, strict=True)
        ]
        for _ in range(self.config.epochs):
            self._optimizer.zero_grad()
            with torch.enable_grad():
                loss, divergence, _ = self.objective(numbers, rounds)
                (loss + self.config.kl_weight * divergence).backward()
            before = self.latents.detach().clone()
            self._optimizer.step()
            with torch.no_grad():  # the momentum of tasks that are not here is none of theirs
                self.latents.copy_(torch.where(numbers.any(0)[:, None], self.latents, before))
        with torch.no_grad():
            loss, divergence, moved = self.objective(numbers, rounds)
        deviation = (numbers @ self.latents)[:, self.config.latent :].exp().mean()
        names = ("losses/policy_loss", "losses/latent_kl", "losses/approx_kl", "meta/known_tasks", "belief/first_std")
        values = torch.stack([loss, divergence, moved, met, deviation]).tolist()
        return dict(zip(names, values, strict=True))

    def objective(self, numbers: Float[Tensor, "B N"], rounds: Sequence[Round]) -> tuple[Tensor, Tensor, Tensor]:
        """Clipped surrogate loss after adaptation; divergence of the latents before it from the prior; and, in nats,
        how far the adapted policies have moved from those that played. Scalars.
        """
        start = numbers @ self.latents
        chain = self.adapted(self._begun(start), rounds, differentiable=torch.is_grad_enabled())
        losses: list[Tensor] = []
        moved: list[Tensor] = []
        for fast, played in counted(zip(chain, rounds, strict=True)):
            data = played.data
            assert data.log_prob is not None
            ratio = self._log_prob(fast, played) - data.log_prob
            weight = data.weight.flatten(1)
            surrogate = clipped_surrogate(ratio, data.advantage, self.config.clip)
            losses.append(mean_of_tasks(surrogate.flatten(1), weight))
            moved.append(mean_of_tasks(approximate_kl(ratio.detach()).flatten(1), weight))
        divergence = gaussian_kl(start, torch.zeros_like(start)).mean()
        return torch.stack(losses).mean(), divergence, torch.stack(moved).mean()

    def adapted(
        self, start: Float[Tensor, "B F"], rounds: Sequence[Round], *, differentiable: bool = False
    ) -> list[Tensor]:
        """What every round is played with, [B, F] each, by tasks that begin at `start`."""
        chain = [start]
        for played in rounds[:-1]:
            chain.append(self.inner_step(chain[-1], played, differentiable=differentiable))
        return chain

    def inner_step(
        self, fast: Float[Tensor, "B F"], played: Round, *, differentiable: bool = False
    ) -> Float[Tensor, "B F"]:
        """One step of policy gradient on latents, and on the policy where it adapts, by the learned step sizes."""
        sizes, width = self.log_steps.exp(), 2 * self.config.latent
        latents = fast[:, :width]
        stepped = latents - sizes[:width] * natural_gradient(latents, played.latent, played.gain)
        by_ratio = self.config.latent_gradient == "likelihood-ratio"
        if by_ratio and not self.config.adapt_policy:
            return stepped
        through = gradient_step(
            lambda fast: policy_gradient_loss(self.policy, self._parameters(fast), self._seen(fast, played), 0.0),
            fast,
            sizes,
            longest=self.config.inner_norm,
            differentiable=differentiable,
        )
        return torch.cat([stepped, through[:, width:]], -1) if by_ratio else through

    def state_dict(self) -> dict[str, Any]:
        """Weights, latents and whose they are, step sizes, optimiser, sampling stream."""
        return {
            "weights": self.weights.detach(),
            "latents": self.latents.detach(),
            "log_steps": self.log_steps.detach(),
            "numbers": self._numbers.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `RuntimeError` when shapes differ."""
        with torch.no_grad():
            for name in ("weights", "latents", "log_steps"):
                mine = getattr(self, name)
                if state[name].shape != mine.shape:
                    raise RuntimeError(f"{name} {list(state[name].shape)} do not fit {list(mine.shape)}")
                mine.copy_(state[name])
        self._numbers.load_state_dict(state["numbers"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        self.generator.set_state(state["generator"].cpu())

    def _noise(self, tasks: int, episodes: int = 1) -> Tensor:
        shape = (tasks, episodes, self.config.latent)
        return torch.randn(shape, generator=self.generator, device=self.latents.device)

    def _begun(self, latents: Float[Tensor, "B 2L"]) -> Float[Tensor, "B F"]:
        """What adapts, where it begins with these latents."""
        if not self.config.adapt_policy:
            return latents
        return torch.cat([latents, self.weights.expand(len(latents), -1)], -1)

    def _parameters(self, fast: Float[Tensor, "B F"]) -> Float[Tensor, "B P"]:
        """The policy's."""
        return fast[:, 2 * self.config.latent :] if self.config.adapt_policy else self.weights.expand(len(fast), -1)

    def _latent(self, fast: Float[Tensor, "B F"], noise: Float[Tensor, "B E L"]) -> Float[Tensor, "B E L"]:
        """The latent of each episode."""
        return drawn(fast[:, None, : 2 * self.config.latent], noise)

    def round(self, rollout: Rollout, tasks: int) -> Round:
        """What the inner loop learns from."""
        config = self.config
        data = experience(rollout, self.encoder, tasks, discount=config.discount, trace=config.trace)
        fading = config.discount ** torch.arange(len(rollout.reward), device=rollout.reward.device)
        earned = (rollout.reward * rollout.valid * fading[:, None]).sum(0).view(tasks, -1)
        gain = earned - earned.mean(1, keepdim=True)
        spread = gain.square().mean(1, keepdim=True).sqrt()
        differ = spread > _ROUNDING * earned.abs().amax(1, keepdim=True)
        gain = torch.where(differ, gain / spread.clamp(min=1e-8), 0.0)
        drawn_by, latent = (rollout.record[name][0].unflatten(0, (tasks, -1)) for name in ("noise", "latent"))
        return Round(data, drawn_by, latent, gain)

    def _seen(self, fast: Tensor, played: Round) -> Experience:
        """Its data with the latents that `fast` makes of the noise beside the observations."""
        data = played.data
        latent = self._latent(fast, played.noise)[:, None].expand(-1, data.observation.shape[1], -1, -1)
        return replace(data, observation=torch.cat([data.observation, latent], -1))

    def _log_prob(self, fast: Tensor, played: Round) -> Float[Tensor, "B T E"]:
        """Log-probability of what was done."""
        return log_probability(self.policy, self._parameters(fast), self._seen(fast, played))

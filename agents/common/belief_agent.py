"""`BeliefAgent`: what VariBAD and HyperX share. A policy acts on observation and belief, a decoder teaches the belief.

A trial is one round; the belief is updated in `act` and kept across episodes. No gradient of the policy reaches the
encoder: beliefs are recorded as they were. A subclass says what the policy is paid.

Axes: T time (all episodes of the trial), B trials.
"""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from agents.common.belief import BeliefConfig, BeliefModel, variance
from agents.common.encoding import StepEncoder
from agents.common.trial_actor_critic import ActorCriticConfig, TrialActorCritic
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class BeliefAgentConfig(BeliefConfig, ActorCriticConfig):
    """Settings of belief and policy."""


C = TypeVar("C", bound=BeliefAgentConfig)


class BeliefAgent(ABC, Generic[C]):
    """Carry: the encoder's hidden state [B, H]."""

    needs_descriptor = False
    initial_settings = frozenset({"std"})

    def __init__(self, config: C, problem: Problem) -> None:
        self.config = config
        self.annealed_settings = frozenset({"entropy"} if config.entropy else ())
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self.encode = StepEncoder(problem.observation_space, problem.action_space)
        inputs = self.encode.observation_size + 2 * config.latent
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self.belief = BeliefModel(config, problem, self.encode, self.generator)
            self.policy = TrialActorCritic(config, problem, inputs, self.generator)

    @abstractmethod
    def learn(self, trial: Trial) -> Metrics:
        """One update of policy and belief."""

    def reseed(self, seed: int) -> None:
        """Draw actions, minibatches and latents from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: the belief is updated in `act`."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing seen yet."""
        return self.belief.encoder.initial(batch)

    @torch.no_grad()
    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Update the belief by what the last step showed, and sample from the policy."""
        inputs, belief, carry = self._advance(carry, step)
        action = self.policy.act(inputs)
        return Action(action.value, {**action.record, "belief": belief}), carry

    def decide(self, carry: Tensor, step: Step) -> tuple[dict[str, Tensor], Tensor]:
        """The policy that `act` samples from."""
        inputs, _, carry = self._advance(carry, step)
        return self.policy.networks(inputs)[0].parameters(), carry

    def _advance(self, carry: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """What the policy reads [B, I], the belief [B, 2 L] in it, and the carry."""
        belief, carry = self.belief.encoder.step(self.encode(step), carry)
        return torch.cat([self.encode.observation(step.observation), belief], -1), belief, carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing to do between rounds."""
        return carry

    def inputs(self, rollout: Rollout) -> Tensor:
        """[T, B, I] what the policy read: observations and beliefs as they were."""
        return torch.cat([self.encode.observation(rollout.observation), rollout.record["belief"]], -1)

    def belief_variance(self, rollout: Rollout) -> Tensor:
        """[T, B] of the belief at every step, averaged over the latent's dimensions."""
        return variance(rollout.record["belief"])

    def paid(self, rollout: Rollout) -> Tensor:
        """[T, B] what the policy is paid: the reward of the task."""
        return rollout.reward

    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of reward: of all that the trial has still to come."""
        return self.policy.estimates(rollout, self.paid(rollout), trace)

    def state_dict(self) -> dict[str, Any]:
        """Belief, policy, sampling stream."""
        return {
            "belief": self.belief.state_dict(),
            "policy": self.policy.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self.belief.load_state_dict(state["belief"])
        self.policy.load_state_dict(state["policy"])
        self.generator.set_state(state["generator"].cpu())

"""VariBAD: a policy that acts on its belief about the task, which a recurrent encoder infers and a decoder teaches.

The posterior over a latent of the task is inferred from the trial so far and kept across its episodes; it is learned by
predicting all rewards of the trial from it. The policy sees the observation and the posterior's mean and deviation, and
so learns when to explore: the optimal policy of the belief's MDP is the Bayes-optimal one.

*What adapts*: the belief b_t = q(m | tau_:t), over all episodes of a trial.  *What is meta-learned*: encoder, decoder,
policy and values.

    max_{encoder, decoder}  E_trial sum_t ELBO_t   (see `common.belief`)
    max_policy  E_task E_trial [ sum_t discount^t r_t ],  a_t ~ pi(. | s_t, b_t),  b_t a constant

Reference: Zintgraf, Shiarlis, Igl, Schulze, Gal, Hofmann and Whiteson 2020, "VariBAD", sections 3.1 to 3.3.

Differences from the paper: the bound is averaged over a sample of a trial's steps, not summed over all; the belief of
the first step has seen the first observation; value targets are shifted by their mean at each step of the trial and
scaled by one running standard deviation. When it is judged it samples its actions, as in training.

Axes: T time (all episodes of the trial), B trials.
"""

from typing import Any

import torch
from torch import Tensor

from agents.common.belief import BeliefConfig, BeliefModel, certainty
from agents.common.encoding import StepEncoder
from agents.common.trial_actor_critic import ActorCriticConfig, TrialActorCritic
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class VariBADConfig(BeliefConfig, ActorCriticConfig):
    """Settings of `VariBAD`."""


class VariBAD:
    """Carry: the encoder's hidden state [B, H]."""

    needs_descriptor = False
    initial_settings = frozenset({"std"})

    def __init__(self, config: VariBADConfig, problem: Problem) -> None:
        self.config = config
        self.annealed_settings = frozenset({"entropy"} if config.entropy else ())
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._encode = StepEncoder(problem.observation_space, problem.action_space)
        inputs = self._encode.observation_size + 2 * config.latent
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.seed)
            self._belief = BeliefModel(config, problem, self._encode, self._generator)
            self._policy = TrialActorCritic(config, problem, inputs, self._generator)

    def reseed(self, seed: int) -> None:
        """Draw actions, minibatches and latents from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: the belief is updated in `act`."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing seen yet."""
        return self._belief.encoder.initial(batch)

    @torch.no_grad()
    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Update the belief by what the last step showed, and sample from the policy."""
        belief, carry = self._belief.encoder.step(self._encode(step), carry)
        action = self._policy.act(torch.cat([self._encode.observation(step.observation), belief], -1))
        return Action(action.value, {**action.record, "belief": belief}), carry

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing to do between rounds."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """PPO on whole trials with beliefs as they were, then steps of encoder and decoder on recent trials."""
        rollout = trial.rollout
        inputs = torch.cat([self._encode.observation(rollout.observation), rollout.record["belief"]], -1)
        figures = self._policy.learn(rollout, inputs, rollout.reward)
        self._belief.keep(rollout)
        return {**figures, **self._belief.learn(), **certainty(rollout)}

    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of reward: of all that the trial has still to come."""
        return self._policy.estimates(rollout, rollout.reward, trace)

    def state_dict(self) -> dict[str, Any]:
        """Belief, policy, sampling stream."""
        return {
            "belief": self._belief.state_dict(),
            "policy": self._policy.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._belief.load_state_dict(state["belief"])
        self._policy.load_state_dict(state["policy"])
        self._generator.set_state(state["generator"].cpu())

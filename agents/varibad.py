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

from agents.common.belief import certainty
from agents.common.belief_agent import BeliefAgent, BeliefAgentConfig
from taskgen.interaction.agent import Metrics, Trial


class VariBADConfig(BeliefAgentConfig):
    """Settings of `VariBAD`."""


class VariBAD(BeliefAgent[VariBADConfig]):
    """Carry: the encoder's hidden state [B, H]."""

    def learn(self, trial: Trial) -> Metrics:
        """PPO on whole trials with beliefs as they were, then steps of encoder and decoder on recent trials."""
        rollout = trial.rollout
        figures = self.policy.learn(rollout, self.inputs(rollout), self.paid(rollout))
        self.belief.keep(rollout)
        return {**figures, **self.belief.learn(), **certainty(rollout)}

"""PSRL, posterior sampling for reinforcement learning: draw an MDP from the posterior and act optimally in it.

What adapts: the posterior over transitions and mean rewards. What is meta-learned: nothing.

    at the start of every episode: M ~ posterior;  then a_h = argmax_a Q^M_h(s_h, a),  Q^M by value iteration

Reference: Strens 2000, "A Bayesian framework for reinforcement learning"; Osband, Russo and Van Roy 2013, "(More)
efficient reinforcement learning via posterior sampling"; Duan et al. 2016, "RL^2", section 3.2.

Differences from the paper: the published players score 138.1 at 10 episodes and 1939.5 at 100, this one about 134 and
1949; their code is not known. `replan = "step"` draws a new MDP at every step, which is no longer PSRL and scores
more here.

Axes: B trials, S states, A actions, H horizon.
"""

from torch import Tensor

from agents.reference.player import Player
from agents.reference.tables import TableCounts, TablePrior, action_values, follow, no_table_counts, posterior_sample
from taskgen.interaction.agent import Action, Step


class PSRLConfig(TablePrior):
    """Settings of `PSRL`."""


class PSRL(Player[PSRLConfig]):
    """Acts optimally in a sampled MDP."""

    def begin_trial(self, batch: int) -> TableCounts:
        """Nothing seen yet."""
        return no_table_counts(batch, self.problem)

    def act(self, carry: TableCounts, step: Step) -> tuple[Action, TableCounts]:
        """Count the last step; at an episode's start draw an MDP and plan; follow the plan."""
        return follow(carry, step, self.config.replan, self._policy)

    def _policy(self, counts: TableCounts) -> Tensor:
        tables = posterior_sample(counts, self.config, self.generator)
        return action_values(tables, self.problem.horizon).argmax(-1)

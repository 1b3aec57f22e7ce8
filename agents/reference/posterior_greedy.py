"""Posterior-mean greedy: act optimally in the posterior's expected MDP, as if it were the real one.

What adapts: the posterior over transitions and mean rewards. What is meta-learned: nothing.

    a_h = argmax_a Q_h(s_h, a),  Q by value iteration in the posterior's expected MDP

Reference: certainty equivalence; Duan et al. 2016, "RL^2", section 3.2, "Greedy".

Differences from the paper: the published player is far weaker (134.8 at 10 episodes and 1578.5 at 100 against about
150 and 1855 here) and not described. `replan = "step"` plans at every step instead of every episode: about 158 at 10
episodes.

Axes: B trials, S states, A actions, H horizon.
"""

from torch import Tensor

from agents.reference.player import Player
from agents.reference.tables import TableCounts, TablePrior, action_values, follow, no_table_counts, posterior_mean
from taskgen.interaction.agent import Action, Step


class PosteriorGreedyConfig(TablePrior):
    """Settings of `PosteriorGreedy`."""


class PosteriorGreedy(Player[PosteriorGreedyConfig]):
    """Acts optimally in the expected MDP."""

    def begin_trial(self, batch: int) -> TableCounts:
        """Nothing seen yet."""
        return no_table_counts(batch, self.problem)

    def act(self, carry: TableCounts, step: Step) -> tuple[Action, TableCounts]:
        """Count the last step; at an episode's start plan; follow the plan."""
        return follow(carry, step, self.config.replan, self._policy)

    def _policy(self, counts: TableCounts) -> Tensor:
        return action_values(posterior_mean(counts, self.config), self.problem.horizon).argmax(-1)

"""BEB, Bayesian exploration bonus: act optimally in the posterior's expected MDP with a bonus for what was seen little.

What adapts: the posterior over transitions and mean rewards. What is meta-learned: nothing.

    a_h = argmax_a Q_h(s_h, a),  Q by value iteration in the expected MDP with rewards
    E[r(s, a)] + beta / (1 + alpha_0(s, a)),  alpha_0(s, a) = sum_s' (c + N(s, a, s'))

with alpha_0 the parameters of the Dirichlet posterior, prior included, and N the steps seen.

Reference: Kolter and Ng 2009, "Near-Bayesian exploration in polynomial time" (algorithm BEB); Duan et al. 2016,
"RL^2", section 3.2.

Differences from the paper: RL^2 tunes beta and does not print it; 10 here, which scores more than the published BEB
and, from 50 episodes on, more than the published RL^2. BEB plans at every step; the default here plans once an
episode like the other players. `replan = "step"` is stronger: about 161 at 10 episodes instead of 151.

Axes: B trials, S states, A actions, H horizon.
"""

from pydantic import Field
from torch import Tensor

from agents.reference.player import Player
from agents.reference.tables import TableCounts, TablePrior, action_values, follow, no_table_counts, posterior_mean
from taskgen.interaction.agent import Action, Step


class BEBConfig(TablePrior):
    """Settings of `BEB`."""

    bonus: float = Field(10.0, ge=0, description="Size of the exploration bonus, beta; 0 is posterior-greedy.")


class BEB(Player[BEBConfig]):
    """Acts optimally in the expected MDP with bonuses."""

    def begin_trial(self, batch: int) -> TableCounts:
        """Nothing seen yet."""
        return no_table_counts(batch, self.problem)

    def act(self, carry: TableCounts, step: Step) -> tuple[Action, TableCounts]:
        """Count the last step; at an episode's start plan; follow the plan."""
        return follow(carry, step, self.config.replan, self._policy)

    def _policy(self, counts: TableCounts) -> Tensor:
        expected = posterior_mean(counts, self.config)
        seen = counts.visits + self.config.concentration * counts.transitions.shape[-1]
        tables = expected._replace(reward=expected.reward + self.config.bonus / (1 + seen))
        return action_values(tables, self.problem.horizon).argmax(-1)

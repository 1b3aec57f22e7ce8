"""OPSRL, optimistic PSRL: imagine several MDPs and value every action by the one in which it is worth most.

What adapts: the posterior over transitions and mean rewards. What is meta-learned: nothing.

    at the start of every episode: M_1..M_K ~ posterior;  then a_h = argmax_a max_k Q^{M_k}_h(s_h, a)

Reference: Osband and Van Roy 2017, "Why is posterior sampling better than optimism for reinforcement learning?", (the
optimistic variant of PSRL in the experiments); Duan et al. 2016, "RL^2", section 3.2, "OPSRL".

Differences from the paper: RL^2 does not give the number of samples; 5 here. The optimistic envelope is taken over
action values as in the first author's published experiments. Other readings (following the sampled MDP of highest
value; taking the largest sample inside every backup, or of the rewards alone) score the same within 1 %, all well
below the published 144.1 at 10 episodes.

Axes: B trials, S states, A actions, H horizon, K samples.
"""

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.player import Player
from agents.reference.tables import TableCounts, TablePrior, action_values, follow, no_table_counts, posterior_sample
from taskgen.interaction.agent import Action, Step


class OPSRLConfig(TablePrior):
    """Settings of `OPSRL`."""

    samples: int = Field(5, ge=1, description="MDPs drawn for every plan, K; 1 is PSRL.")


class OPSRL(Player[OPSRLConfig]):
    """Acts on the largest of several sampled action values."""

    def begin_trial(self, batch: int) -> TableCounts:
        """Nothing seen yet."""
        return no_table_counts(batch, self.problem)

    def act(self, carry: TableCounts, step: Step) -> tuple[Action, TableCounts]:
        """Count the last step; at an episode's start draw MDPs and plan; follow the plan."""
        return follow(carry, step, self.config.replan, self._policy)

    def _policy(self, counts: TableCounts) -> Tensor:
        values = self._sampled_values(counts)
        for _ in range(self.config.samples - 1):
            values = torch.maximum(values, self._sampled_values(counts))
        return values.argmax(-1)

    def _sampled_values(self, counts: TableCounts) -> Tensor:
        return action_values(posterior_sample(counts, self.config, self.generator), self.problem.horizon)

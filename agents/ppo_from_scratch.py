"""PPO from scratch in every trial: what an algorithm without meta-learning gets out of a trial.

In every trial a new policy, which between rounds of episodes side by side makes a few gradient steps on PPO's clipped
surrogate, with advantages over a linear baseline fitted to the round. When it is judged its actions are drawn from its
policy.

Reference: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", equation 7 and section 6.1.
"""

from typing import Any

from torch import Tensor

from agents.common.from_scratch import FromScratch, InnerConfig
from taskgen.interaction.agent import Action, Metrics, Rollout, Step, Trial


class PPOFromScratchConfig(InnerConfig):
    """Settings of `PPOFromScratch`."""


class PPOFromScratch(FromScratch[PPOFromScratchConfig]):
    """Carry: the policies [B, P]."""

    def begin_trial(self, batch: int) -> Tensor:
        """New policies."""
        return self.newborn(batch)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Draw from each life's policy."""
        return self.draw(carry, step), carry

    def adapt(self, carry: Tensor, rollout: Rollout) -> Tensor:
        """Steps on the surrogate; a life that diverges stays what it was."""
        data = self.experience(rollout, len(carry))
        old = self.played(carry, data)
        return self.descend(carry, lambda parameters: self.surrogate(parameters, data, old))[0]

    def learn(self, trial: Trial) -> Metrics:
        """Nothing is meta-learned."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The state of the player's own random stream."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.generator.set_state(state["generator"].cpu())

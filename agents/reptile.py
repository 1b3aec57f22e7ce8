"""Reptile for reinforcement learning: the start moves towards where the inner loop leads.

*What adapts*: the policy's weights phi_i of each task.  *What is meta-learned*: where they start, theta.

    phi_i <- theta, then k times phi_i <- phi_i - rate * grad L_i(phi_i; D_i),  D_i: E episodes with the present phi_i
    theta <- theta + eps * mean_i (phi_i - theta),  eps falls linearly to zero where an end is planned

Nothing is differentiated twice; k is the number of rounds of a trial. With k = 1 this is joint training on all tasks.

When it is judged its actions are drawn from its policy, as in training.

Reference: Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm 2 and section 5.

Differences from the paper: it has supervised tasks only. Here the loss is policy gradient on fresh episodes for every
inner step, and inner steps are plain gradient steps, as in MAML, so that there are no moments to carry over.

Axes: B tasks, P parameters.
"""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from agents.common.gradient import GradientAgent, GradientConfig
from agents.common.parallel import assembled, own_trial
from agents.common.schedule import annealed, share_left
from taskgen.interaction.agent import Metrics, Problem, Trial


class ReptileConfig(GradientConfig):
    """Settings of `Reptile`."""

    outer_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="First eps; it falls linearly to zero at the end of training, where one is planned.",
    )


def moved(start: Float[Tensor, "P"], adapted: Float[Tensor, "B P"], rate: float) -> Float[Tensor, "P"]:
    """`start`, moved the share `rate` of the way to the mean of `adapted`."""
    return start + rate * (adapted - start).mean(0)


class Reptile(GradientAgent[ReptileConfig]):
    """Learns by interpolation."""

    annealed_settings = frozenset({"outer_rate"})

    def __init__(self, config: ReptileConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._updates = problem.updates
        self._updates_done = 0

    def learn(self, trial: Trial) -> Metrics:
        """Adapt to every round, the last one included; move the start."""
        own = own_trial(trial)
        fast = self.begin_trial(len(own.specs))
        for rollout in own.rounds:
            fast = self.inner_step(fast, self.experience(rollout, len(own.specs)))
        adapted = assembled(fast.parameters.detach(), len(trial.specs))
        rate = annealed(self.config.outer_rate, 0.0, share_left(self._updates_done, self._updates))
        before, self.parameters = self.parameters, moved(self.parameters, adapted, rate)
        self._updates_done += 1
        return {
            "losses/inner_distance": float((adapted - before).norm(dim=1).mean()),
            "losses/outer_distance": float((self.parameters - before).norm()),
            "charts/outer_rate": rate,
            "charts/policy_std": self.policy_std,
        }

    def state_dict(self) -> dict[str, Any]:
        """Meta-parameters, sampling stream, place in the schedule."""
        return super().state_dict() | {"updates_done": self._updates_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` when the policy has another shape."""
        super().load_state_dict(state)
        self._updates_done = state["updates_done"]

"""Point-navigation oracle: is told the goal and goes there as fast as it can. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    a_t = clip(g - x_t, -0.1, 0.1)  in each coordinate

The coordinates move independently, so this has the smallest distance to the goal of all players at every time, and
both rewards fall with the distance.

Reference: the upper bound of Finn et al. 2017, "Model-Agnostic Meta-Learning", section 5.3 ("oracle").

Differences from the paper: MAML's own code does not clip moves, and there one large move reaches any goal; this player
stays within the action space.

Axes: B trials.
"""

from agents.reference.player import Player
from agents.reference.steering import nearest, told
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Step


class PointNavigationOracleConfig(Config):
    """`PointNavigationOracle` has no settings."""


class PointNavigationOracle(Player[PointNavigationOracleConfig]):
    """Goes straight to the goal."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The move that ends nearest to the goal. Raises `UserError` without a descriptor."""
        goal = told(step.descriptor, "point-navigation-oracle")[:, :2]
        return Action(nearest(goal, step.observation, 1.0, self.bounds)), carry

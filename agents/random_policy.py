"""Actions drawn uniformly from the action space: the floor every learner is measured against.

*What adapts*: nothing.  *What is meta-learned*: nothing.
"""

from agents.reference.player import Player
from registry.config import Config
from taskgen.interaction.acting import UniformActions
from taskgen.interaction.agent import Action, Carry, Problem, Step


class RandomPolicy(Player):
    """Uniform choices and bounded numbers; others as Gymnasium samples them (`UniformActions`)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self._draw = UniformActions(problem.action_space, problem.device)

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """One uniform action per trial."""
        return Action(self._draw(len(step.previous_reward), self.generator)), carry

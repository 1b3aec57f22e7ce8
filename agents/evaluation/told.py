"""What an agent that is told the task is told: descriptors are as long as those that it learned from, or refused."""

from collections.abc import Sequence
from typing import Any

from registry.errors import UserError
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Problem, judged
from taskgen.spec import TaskSpec


def refuse_untold(
    agent: Agent, problem: Problem, family: TaskFamily[Any], specs: Sequence[TaskSpec], name: str, remedy: str
) -> None:
    """Raise `UserError` where an agent is told descriptors when it is judged, and those of `specs` are of another kind.

    Of tasks that pay a reward of their own a descriptor ends with what that is about, such as the number of a skill.
    """
    if not judged(agent).needs_descriptor:
        return
    batch = family.batch(1)
    batch.set_tasks(specs[:1])
    if (size := batch.descriptor().shape[1]) != problem.descriptor_size:
        raise UserError(
            f"{name}: the agent is told the task's descriptor, {problem.descriptor_size} numbers where it learns and "
            f"{size} here: the rewards of these tasks are of another kind. {remedy}"
        )

"""How sure an agent is of its task, step by step of a trial: the variance of its belief, parameters frozen.

Axes: N tasks, T steps of a trial.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agents.evaluation.play import at_play
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Believes, Trial, judged
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import belief_variance, planned
from taskgen.spec import TaskSpec

TASKS = 256
"""Tasks that are played for it, at most."""


def belief_course(
    agent: Agent, family: TaskFamily[Any], specs: Sequence[TaskSpec], episodes: int, device: Any = "cpu"
) -> dict[str, Any] | None:
    """The mean variance of the belief at every step of a trial, on the first of `specs`, and on how many: JSON values.

    None of an agent that holds no belief. Steps that no trial came to are left out.
    """
    if not isinstance(judged(agent), Believes):
        return None
    chosen = specs[:TASKS]
    with at_play(agent) as player:
        plan = planned(player, episodes)
        trial = collect(player, family.batch(len(chosen) * plan.slots, device), chosen, plan=plan)
        assert isinstance(player, Believes)
        variance = by_step(trial, torch.cat([belief_variance(player, rollout) for rollout in trial.rounds]))
    return {"variance": variance.tolist(), "tasks": len(chosen)}


def by_step(trial: Trial, values: Tensor) -> Tensor:
    """[T] means of `values` [time, slots] over all slots, by how many steps of the trial a slot had played before.

    A slot that waits for others has played none meanwhile.
    """
    valid = torch.cat([rollout.valid for rollout in trial.rounds])
    step = (valid.cumsum(0) - 1)[valid]
    count = torch.bincount(step)
    return torch.bincount(step, values[valid].double()) / count

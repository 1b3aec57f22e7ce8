"""From names and settings to agents: what whoever drives an agent needs, the training loop and runners alike."""

import operator
from typing import Any, cast

import torch

import registry
from registry.config import Part
from registry.errors import UserError
from taskgen.borders import border, refuse_incomplete, remember
from taskgen.family import Contextual, TaskFamily
from taskgen.interaction.agent import Agent, Problem
from taskgen.interaction.guard import described, exploration_of, least_episodes, planned
from taskgen.spaces import played_space, refuse_unreadable
from taskgen.spec import TaskSpec

AGENT = (
    "needs_descriptor", "plan", "begin_trial", "act", "adapt", "learn", "state_dict", "load_state_dict",
)  # fmt: skip
"""What every agent has."""


BATCH = ("slots", "device", "family", "set_tasks", "reset", "step", "descriptor")
"""What every batch has."""


def build_agent(part: Part, problem: Problem) -> Agent:
    """The agent or reference player `part.name`. Raises `UserError`, also for what is no agent."""
    item = registry.catalogue().get("agents", part.name)
    agent = item.build(part.settings, problem=problem)
    refuse_incomplete(agent, AGENT, contract="taskgen.interaction.agent.Agent", name=item.full_name)
    remember(agent, item)
    return cast(Agent, agent)


def refuse_unadapted(agent: Agent, episodes: int, setting: str) -> None:
    """Raise `UserError` where trials of so many episodes, as `setting` has it, are too short for `agent` to adapt."""
    least, why = least_episodes(agent)
    explores = exploration_of(agent)
    if 0 < explores >= episodes:
        raise UserError(
            f"{setting} = {episodes}: the agent explores for {explores} episode{'s' * (explores != 1)} of a trial, and "
            f"in so short a one nothing is left to use what it found out. Set {setting} to at least "
            f"{max(least, explores + 1)}, or let it explore for fewer."
        )
    if episodes < least:
        raise UserError(
            f"{setting} = {episodes}: in so short a trial the agent never adapts, it takes {least} episodes or more "
            f"({why}). Set {setting} to at least {least}, or lower what asks for so many."
        )
    refuse_unplanned(agent, episodes, setting)


def refuse_unplanned(agent: Agent, episodes: int, setting: str) -> None:
    """Raise `UserError`, which names `setting`, where `agent` cannot plan trials of so many episodes."""
    try:
        planned(agent, episodes)
    except UserError as error:
        if type(error) is not UserError:  # a faulty plugin is no matter of how long trials are
            raise
        raise UserError(f"{setting} = {episodes}: {error}") from error


def problem_of(
    family: TaskFamily[Any],
    *,
    episodes: int,
    seed: int,
    device: torch.device,
    updates: int = 0,
    example: TaskSpec | None = None,
) -> Problem:
    """What an agent is told about tasks of `family` like `example`, played in trials of `episodes` episodes.

    Raises `UserError` for a family whose spaces no agent can be given.
    """
    refuse_unreadable(family.observation_space, family.action_space, family.name)
    with border(family, "batch(1)"):
        batch = family.batch(1)
    refuse_incomplete(batch, BATCH, contract="taskgen.batch.TaskBatch", name=family.name)
    with border(family, "set_tasks"):
        batch.set_tasks([example or family.spec()])
    with border(family, "descriptor"):
        descriptor = described(batch, batch.descriptor())
    return Problem(
        observation_space=family.observation_space,
        action_space=played_space(family.action_space),
        horizon=family.horizon,
        episodes=episodes,
        descriptor_size=descriptor.shape[1],
        family=family.name,
        structure=family.structure,
        seed=operator.index(seed),
        device=device,
        updates=updates,
        cue=family.cue if isinstance(family, Contextual) else (),
    )

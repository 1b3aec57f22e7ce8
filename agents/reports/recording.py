"""Trials of an agent as a Minari data set: learning histories for offline methods. Needs `taskgen-metarl[minari]`.

An episode of the data set is an episode of a trial. They stand trial by trial, in order; the attributes of each say
which trial it belongs to, its number in that, both from 0, and the id of the task, and so do its infos, at every step.
Terminations and truncations are the task's own; observations have the true last one of every episode. `tasks.jsonl`
beside the data holds the task of every trial, so that it can be played again.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.evaluation.play import at_play
from registry.errors import TaskError, UserError
from taskgen.family import TaskFamily
from taskgen.interaction.acting import Acting
from taskgen.interaction.agent import Agent, Rollout, Trial
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import planned
from taskgen.spaces import unpack
from taskgen.spec import TaskSpec
from taskgen.taskset import write_tasks

_AT_ONCE = 256
"""Slots of a batch, at most, but for a trial that takes more."""


def record(
    agent: Agent,
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    directory: Path,
    *,
    name: str,
    device: torch.device | str = "cpu",
    played: Callable[[int], object] = int,
) -> tuple[int, int]:
    """Play a trial of so many `episodes` on each of `specs` and write them; returns episodes and steps in all.

    `name` is the agent's in the data set's description; `played` is told how many trials there are. Raises `UserError`
    where Minari is missing, and `TaskError` for a directory that holds something.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise UserError(f"Minari is not installed ({error}): pip install 'taskgen-metarl[minari]'") from error
    if directory.exists() and any(directory.iterdir()):
        raise TaskError(f"{directory} is there and not empty: name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()  # Minari joins a relative one to itself
    storage = MinariStorage.new(directory, family.observation_space, family.action_space, jpeg_encoding=False)
    short = re.sub(r"[^a-z0-9]+", "-", f"{family.name.partition('/')[2]}-{name}".lower()).strip("-")
    storage.update_metadata(
        {
            "dataset_id": f"taskgen/{short}-v0",
            "minari_version": minari.__version__,
            "algorithm_name": name,
            "description": f"{len(specs)} trials of {episodes} episodes each by {name} on {family.name}.",
        }
    )
    plan = planned(agent, episodes)
    at_once = max(1, _AT_ONCE // plan.slots)
    count = steps = 0
    with at_play(agent) as player:
        for start in range(0, len(specs), at_once):
            chunk = specs[start : start + at_once]
            trial = collect(player, family.batch(len(chunk) * plan.slots, device), chunk, plan=plan)
            pieces = list(_episodes(trial, family))
            storage.update_episodes(
                EpisodeBuffer(
                    **values,
                    infos={
                        "trial": np.full(len(values["rewards"]) + 1, start + task),
                        "episode": np.full(len(values["rewards"]) + 1, number),
                    },
                )
                for task, number, values in pieces
            )
            told = [{"trial": start + task, "episode": number, "task_id": chunk[task].id} for task, number, _ in pieces]
            storage.update_episode_metadata(told, range(count, count + len(pieces)))
            count += len(pieces)
            steps += sum(len(values["rewards"]) for _, _, values in pieces)
            played(start + len(chunk))
    write_tasks(directory / "tasks.jsonl", specs)
    return count, steps


def _episodes(trial: Trial, family: TaskFamily[Any]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Number of the task, of the episode in its trial, and what a Minari episode holds; in this order."""
    slots = trial.plan.slots
    found = [
        (slot // slots, int(number), rollout, slot)
        for rollout in trial.rounds
        for slot in range(rollout.reward.shape[1])
        for number in rollout.episode_index[:, slot][rollout.valid[:, slot]].unique().tolist()
    ]
    acting = Acting(family.action_space, trial.rounds[0].reward.device)
    for task, number, rollout, slot in sorted(found, key=lambda one: one[:2]):
        yield task, number, _values(rollout, slot, number, acting, family)


def _values(rollout: Rollout, slot: int, number: int, acting: Acting, family: TaskFamily[Any]) -> dict[str, Any]:
    """One episode: T + 1 observations, T of everything else, as elements of the family's spaces."""
    steps = (rollout.valid[:, slot] & (rollout.episode_index[:, slot] == number)).nonzero()[:, 0]
    seen = torch.cat([rollout.observation[steps, slot], rollout.next_observation[steps[-1:], slot]])
    actions = acting(rollout.action[steps, slot])
    return {
        "observations": unpack(family.observation_space, seen.cpu().numpy()),
        "actions": unpack(family.action_space, actions.cpu().numpy()),
        "rewards": rollout.reward[steps, slot].cpu().numpy(),
        "terminations": rollout.terminated[steps, slot].cpu().numpy(),
        "truncations": rollout.truncated[steps, slot].cpu().numpy(),
    }

"""`collect`: play one trial on every task of a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import gymnasium as gym
import torch
from torch import Tensor

from taskgen.batch import TaskBatch, Transition
from taskgen.interaction.agent import Agent, Carry, CollectionPlan, Rollout, Step, Trial
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed


@torch.no_grad()
def collect(
    agent: Agent,
    batch: TaskBatch,
    specs: Sequence[TaskSpec],
    *,
    plan: CollectionPlan,
    seeds: Sequence[int] | None = None,
    agree: Callable[[int], int] = int,
    horizon: int | None = None,
) -> Trial:
    """Play `plan` on `specs` and return the trials. `batch` has `plan.slots` slots for each of them.

    `seeds` (one per task) decide the environments' noise; None takes each task's own seed, so that different players
    meet the same luck on the same tasks. Episodes side by side have noise of their own, the same however many there
    are. `horizon` cuts episodes that would be longer. A slot that has played its episodes of a round waits (`valid`
    false) for the others; agents that advance their carry in `act` play one round, so waiting never reaches what they
    learn from. Where these are but a part of the tasks, `agree` is asked once a round, with the steps that were enough
    here, how many all parts need.
    """
    seeds = [spec.seed for spec in specs] if seeds is None else seeds
    batch.set_tasks([spec for spec in specs for _ in range(plan.slots)])
    observation = batch.reset(seeds=[_noise_seed(seed, place) for seed in seeds for place in range(plan.slots)])
    descriptor = batch.descriptor() if agent.needs_descriptor else None
    step = _first_step(batch, observation, descriptor, plan.slots)
    carry = agent.begin_trial(len(specs))
    ends = _Ends(batch.family.horizon, horizon, agree)
    rounds: list[Rollout] = []
    for index in range(plan.rounds):
        if index:
            carry = agent.adapt(carry, rounds[-1])
            step = replace(step, observation=batch.reset(), episode_start=torch.ones_like(step.episode_start))
        goal = (index + 1) * plan.episodes_per_round
        rollout, step, carry = _play_round(agent, batch, carry, step, plan, goal, ends)
        rounds.append(rollout)
    return Trial(specs, rounds, plan)


class _Ends:
    """When episodes end that the family would go on with, and when a round does."""

    def __init__(self, own: int, horizon: int | None, agree: Callable[[int], int]) -> None:
        self.horizon = min(own, horizon or own)
        self.agree = agree
        self._shorter = self.horizon < own
        self._time: Tensor | int = 0

    def cut(self, step: Step, transition: Transition) -> Transition:
        """`transition`, truncated where the episode has lasted `horizon` steps."""
        if not self._shorter:
            return transition
        self._time = torch.where(step.episode_start, 1, self._time + 1)
        return replace(transition, truncated=transition.truncated | (self._time >= self.horizon))


def _noise_seed(seed: int, place: int) -> int:
    """The noise seed of the place-th of the slots of a task; of the first, or only, one the seed itself."""
    return seed if place == 0 else integer_seed(seed, "slot", place)


def _first_step(batch: TaskBatch, observation: Tensor, descriptor: Tensor | None, slots_of_task: int) -> Step:
    slots, device, space = batch.slots, batch.device, batch.family.action_space
    discrete = isinstance(space, gym.spaces.Discrete)
    shape = (slots,) if discrete else (slots, *(space.shape or ()))
    true = torch.ones(slots, dtype=torch.bool, device=device)
    return Step(
        observation=observation,
        previous_action=torch.zeros(shape, dtype=torch.int64 if discrete else torch.float32, device=device),
        previous_reward=torch.zeros(slots, device=device),
        episode_start=true,
        trial_start=true,
        episode_index=torch.arange(slots, device=device) % slots_of_task,
        descriptor=descriptor,
    )


def _play_round(
    agent: Agent, batch: TaskBatch, carry: Carry, step: Step, plan: CollectionPlan, goal: int, ends: "_Ends"
) -> tuple[Rollout, Step, Carry]:
    """Step until every slot has finished its episodes below number `goal`.

    Returns the rollout, the step that comes next, the carry.
    """
    # On a CPU a look at a flag is free; on a GPU it would be a host sync, so there every reset goes by mask.
    look = batch.device.type == "cpu"
    first = torch.zeros_like(step.trial_start)
    rows: list[dict[str, Tensor]] = []
    records: list[Mapping[str, Tensor]] = []
    needed, known = plan.episodes_per_round // plan.slots * ends.horizon, False
    while len(rows) < needed:
        action, carry = agent.act(carry, step)
        transition = ends.cut(step, batch.step(action.value))
        valid = step.episode_index < goal
        played, reward = action.value, transition.reward
        if plan.rounds > 1:  # how long a slot waited must not show in the previous action and reward of the next round
            played = torch.where(valid.view(-1, *(1,) * (played.ndim - 1)), played, step.previous_action)
            reward = torch.where(valid, reward, step.previous_reward)
        ended = (transition.terminated | transition.truncated) & valid
        episode_index = step.episode_index + ended * plan.slots
        rows.append(
            {
                "observation": step.observation,
                "action": played,
                "reward": reward,
                "terminated": transition.terminated,
                "truncated": transition.truncated,
                "next_observation": transition.observation,
                "episode_start": step.episode_start,
                "trial_start": step.trial_start,
                "episode_index": step.episode_index,
                "valid": valid,
                **({} if transition.family_reward is None else {"family_reward": transition.family_reward}),
            }
        )
        records.append(action.record)
        again = ended & (episode_index < goal)
        observation = batch.reset(again) if not look or bool(again.any()) else transition.observation
        step = Step(
            observation=observation,
            previous_action=played,
            previous_reward=reward,
            episode_start=ended,
            trial_start=first,
            episode_index=episode_index,
            descriptor=step.descriptor,
        )
        if look and not known and bool((episode_index >= goal).all()):
            needed, known = ends.agree(len(rows)), True
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    record = {name: torch.stack([kept[name] for kept in records]) for name in records[0]}
    return Rollout(**stacked, record=record, descriptor=step.descriptor), step, carry

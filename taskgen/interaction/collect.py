"""`collect`: play one trial on every task of a batch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from taskgen.batch import Numbered, Resting, TaskBatch, Transition
from taskgen.borders import border
from taskgen.engines import noise
from taskgen.interaction.acting import Acting
from taskgen.interaction.agent import Agent, Carry, CollectionPlan, Rollout, Step, Trial
from taskgen.interaction.guard import Guard
from taskgen.spec import TaskSpec

LOOK = 32
"""Steps between two looks at whether a round is over, where each look is a host sync."""


class _Call:
    """The call of a batch that is being made: what a world that hangs is told by. Use it in a `with`."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def seconds(self) -> float:
        """For how long it has been made; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


CALL = _Call()
"""Of this process, whose main thread plays."""


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
    meet the same luck on the same tasks: episode k of a trial has the same noise whether it is played after the others
    or beside them. `horizon` cuts episodes that would be longer. A slot that has played its episodes of a round waits
    (`valid` false) for the others; agents that advance their carry in `act` play one round, so waiting never reaches
    what they learn from. What reaches the family lies in its action space, whoever plays (`Acting`); the rollout holds
    what the agent answered. Where these are but a part of the tasks, `agree` is asked once a round, with the steps that
    were enough here, how many all parts need.

    A round has as many steps as its slowest slot needs, on every device. On an accelerator a look at the flags is a
    host sync, so that there a round goes on for up to `LOOK` steps more; these are dropped, and whatever generators
    (`torch.Generator`) the agent has as attributes go back to before them.
    """
    seeds = [spec.seed for spec in specs] if seeds is None else seeds
    family, acting = batch.family, Acting(batch.family.action_space, batch.device)
    guard = Guard(agent, batch, acting, specs)
    with border(family, "set_tasks"), CALL:
        batch.set_tasks([spec for spec in specs for _ in range(plan.slots)])
    with border(family, "reset"), CALL:
        observation = guard.observed(_first_episodes(batch, seeds, plan, 0), "reset")
    guard.seen.look(observation, "reset")  # on an accelerator a choice that there is not ends the process
    with border(family, "descriptor"):
        descriptor = guard.told(batch.descriptor()) if agent.needs_descriptor else None
    step = _first_step(batch, acting, observation, descriptor, plan.slots)
    with border(agent, f"begin_trial({len(specs)})"):
        carry = agent.begin_trial(len(specs))
    ends = _Ends(batch.family.horizon, horizon, agree)
    rounds: list[Rollout] = []
    for index in range(plan.rounds):
        if index:
            with border(agent, "adapt"):
                carry = agent.adapt(carry, rounds[-1])
            # In a slot alone noise and number go on by themselves.
            with border(family, "reset"), CALL:
                again = _first_episodes(batch, seeds, plan, index) if plan.side_by_side else batch.reset()
            observation = guard.observed(again, "reset")
            step = replace(step, observation=observation, episode_start=torch.ones_like(step.episode_start))
        goal = (index + 1) * plan.episodes_per_round
        rollout, step, carry = _play_round(agent, batch, acting, guard, carry, step, plan, goal, ends)
        rounds.append(rollout)
    return Trial(specs, rounds, plan)


class _Ends:
    """When episodes end that the family would go on with, and when a round does."""

    def __init__(self, own: int, horizon: int | None, agree: Callable[[int], int]) -> None:
        self.horizon = min(own, horizon or own)
        self.agree = agree
        self.shorter = self.horizon < own
        self._time: Tensor | int = 0

    def cut(self, step: Step, transition: Transition) -> Transition:
        """`transition`, truncated where the episode has lasted `horizon` steps."""
        if not self.shorter:
            return transition
        self._time = torch.where(step.episode_start, 1, self._time + 1)
        return replace(transition, truncated=transition.truncated | (self._time >= self.horizon))


class _Round:
    """How many steps a round takes: at most `needed`; told by a look every so many steps."""

    def __init__(self, agent: Agent, needed: int, agree: Callable[[int], int], every: int) -> None:
        self.needed = needed
        self._agree = agree
        self.every = every
        """Steps between two looks."""
        self._known = False
        self._over: list[Tensor] = []
        own: dict[str, Any] = getattr(agent, "__dict__", {})
        self._generators = [value for value in own.values() if isinstance(value, torch.Generator)]
        self._states: list[list[Tensor]] = []

    def before(self) -> None:
        """A step that may turn out to be one too many is about to be made."""
        if self.every > 1 and not self._known:
            self._states.append([generator.get_state() for generator in self._generators])

    def after(self, over: Tensor | bool, steps: int) -> None:
        """The round has had so many `steps` and is, or is not, `over` (scalar bool) for all slots."""
        if self._known:
            return
        if self.every == 1:
            found = [bool(over)]
        else:
            self._over.append(torch.as_tensor(over))
            if steps % self.every and steps < self.needed:
                return
            found = _booleans(self._over)
        if any(found):
            self.needed, self._known = self._agree(steps - len(found) + 1 + found.index(True)), True
            self._go_back(steps - self.needed)
        self._over.clear()
        self._states.clear()

    def _go_back(self, steps: int) -> None:
        """Give the agent's generators the state they had so many `steps` ago."""
        if steps > 0:
            for generator, state in zip(self._generators, self._states[-steps], strict=True):
                generator.set_state(state)


def _first_episodes(batch: TaskBatch, seeds: Sequence[int], plan: CollectionPlan, index: int) -> Tensor:
    """Begin round `index` in all slots, task-major, with the noise and number of the episodes that are played there."""
    if not plan.side_by_side:
        return batch.reset(seeds=list(seeds))
    numbers = range(index * plan.slots, (index + 1) * plan.slots)
    if isinstance(batch, Numbered):
        batch.number([*numbers] * len(seeds))
    return batch.reset(seeds=noise.episode_seeds(seeds, numbers))


def _first_step(
    batch: TaskBatch, acting: Acting, observation: Tensor, descriptor: Tensor | None, slots_of_task: int
) -> Step:
    slots, device = batch.slots, batch.device
    true = torch.ones(slots, dtype=torch.bool, device=device)
    return Step(
        observation=observation,
        previous_action=acting.zeros(slots, device),
        previous_reward=torch.zeros(slots, device=device),
        episode_start=true,
        trial_start=true,
        episode_index=torch.arange(slots, device=device) % slots_of_task,
        descriptor=descriptor,
    )


def _play_round(
    agent: Agent,
    batch: TaskBatch,
    acting: Acting,
    guard: Guard,
    carry: Carry,
    step: Step,
    plan: CollectionPlan,
    goal: int,
    ends: "_Ends",
) -> tuple[Rollout, Step, Carry]:
    """Step until every slot has finished its episodes below number `goal`.

    Returns the rollout, the step that comes next, the carry.
    """
    first = torch.zeros_like(step.trial_start)
    rows: list[Mapping[str, Tensor]] = []
    records: list[Mapping[str, Tensor]] = []
    most = plan.episodes_per_round // plan.slots * ends.horizon
    turn = _Round(agent, most, ends.agree, _look_every(batch))
    acts, steps, resets = border(agent, "act"), border(batch.family, "step"), border(batch.family, "reset")
    while len(rows) < turn.needed:
        turn.before()
        try:
            with acts:
                action, carry = guard.acted(agent.act(carry, step))
        except Exception:
            guard.seen.look(step.observation, "step")  # the family's fault, if so
            raise
        try:
            with steps, CALL:
                outcome = batch.step(acting(action.value))
            transition = ends.cut(step, guard.stepped(outcome))
        except Exception:
            guard.refuse_choices(action.value)  # the agent's fault, if so
            raise
        valid = step.episode_index < goal
        played, reward = action.value, transition.reward
        if plan.rounds > 1:  # how long a slot waited must not show in the previous action and reward of the next round
            played = torch.where(valid.view(-1, *(1,) * (played.ndim - 1)), played, step.previous_action)
            reward = torch.where(valid, reward, step.previous_reward)
        ended = (transition.terminated | transition.truncated) & valid
        episode_index = step.episode_index + ended * plan.slots
        rows.append(_row(step, played, reward, transition, valid))
        records.append(action.record)
        waits = episode_index >= goal
        with resets, CALL:
            again, over = _next_episodes(batch, transition.observation, ended, waits, turn.every == 1, ends)
        observation = guard.observed(again, "reset")
        step = Step(
            observation=observation,
            previous_action=played,
            previous_reward=reward,
            episode_start=ended,
            trial_start=first,
            episode_index=episode_index,
            descriptor=step.descriptor,
        )
        turn.after(over, len(rows))
    stacked, record = _stacked(rows[: turn.needed]), _stacked(records[: turn.needed])
    guard.settle(stacked)
    return Rollout(**stacked, record=record, descriptor=step.descriptor), step, carry


def _look_every(batch: TaskBatch) -> int:
    """Steps between two looks at the flags of `batch`.

    Where its engine is on the host a look is free, or little beside the engine's own copies; on an accelerator it
    would be a host sync, so there every reset goes by mask.
    """
    on_host = batch.device.type == "cpu" or bool(getattr(batch, "on_host", False))
    return 1 if on_host else LOOK


def _next_episodes(
    batch: TaskBatch, observation: Tensor, ended: Tensor, waits: Tensor, look: bool, ends: "_Ends"
) -> tuple[Tensor, Tensor | bool]:
    """Begin an episode in the slots [B] that have `ended` one and do not wait from now on.

    Returns what is observed [B, ...] then, and whether all slots wait.
    """
    again = ended & ~waits
    if not look:
        return batch.reset(again), waits.all()
    resets, over, rests = _booleans((again.any(), waits.all(), (ended & waits).any()))
    if rests and ends.shorter and isinstance(batch, Resting):
        batch.rest(waits)  # the engine does not know that their last episode was cut
    return batch.reset(again) if resets else observation, over


def _row(step: Step, played: Tensor, reward: Tensor, transition: Transition, valid: Tensor) -> dict[str, Tensor]:
    """What a `Rollout` keeps of one step."""
    return {
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
        **({} if transition.success is None else {"success": transition.success}),
    }


def _booleans(scalars: Sequence[Tensor]) -> list[bool]:
    """The values of bool tensors [], by one host sync."""
    return cast("list[bool]", torch.stack(list(scalars)).tolist())  # pyright: ignore[reportUnknownMemberType]


def _stacked(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

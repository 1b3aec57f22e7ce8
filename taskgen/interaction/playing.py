"""`TrialPlayer`: one trial of an agent, a step at a time, in an environment that somebody else drives.

`collect` drives the environment itself, many trials at once. Here the caller does: a robot, a Gymnasium environment, a
game. The agent sees the same either way, and adapts at the same places.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import gymnasium as gym
import torch
from torch import Tensor

from registry.errors import UserError, brief
from taskgen.interaction.acting import Acting
from taskgen.interaction.agent import Agent, CollectionPlan, Problem, Rollout, Step, judged
from taskgen.interaction.guard import planned
from taskgen.spaces import misfit, pack, row_shape, unpack


@dataclass
class _Place:
    """A slot of the trial: what it saw and did in this round."""

    previous_action: Tensor
    previous_reward: float = 0.0
    fresh: bool = True
    """Whether the trial begins here."""
    rows: list[dict[str, Tensor]] = field(default_factory=list[dict[str, Tensor]])
    records: list[Mapping[str, Tensor]] = field(default_factory=list[Mapping[str, Tensor]])


class TrialPlayer:
    """One trial: `act`, then `observe` what came of it, until `over`.

        while not trial.over:
            observation, _ = env.reset()
            ended = False
            while not ended:
                observation, reward, terminated, truncated, _ = env.step(trial.act(observation))
                trial.observe(observation, reward, terminated, truncated)
                ended = terminated or truncated

    All adaptation is in here: another trial, of another task, takes another `TrialPlayer`. Episodes that an agent plays
    side by side, such as those of a round of MAML, are played one after another.
    """

    def __init__(
        self,
        agent: Agent,
        problem: Problem,
        *,
        action_space: gym.Space[Any] | None = None,
        episodes: int | None = None,
        descriptor: Any = None,
    ) -> None:
        """A trial of `episodes` episodes; where it is left out, of as many as in training.

        `action_space` is that of the family or environment, where it is another than agents answer in. Raises
        `UserError` for a length that is no positive integer or that the agent cannot plan, and for an oracle without
        the task's `descriptor` [D].
        """
        if episodes is not None and (isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"episodes = {brief(episodes)}: expected an integer from 1 on, or None for as in training")
        self._agent = judged(agent)
        self._problem = problem
        self.plan: CollectionPlan = planned(self._agent, episodes or problem.episodes)
        if self._agent.needs_descriptor and descriptor is None:
            raise UserError("this agent is an oracle, which is told the task: give `descriptor`")
        self._descriptor = None
        if self._agent.needs_descriptor:
            row = torch.as_tensor(descriptor, dtype=torch.float32, device=problem.device)
            self._descriptor = row.expand(self.plan.slots, -1)
        self._carry = self._agent.begin_trial(1)
        self._acting = Acting(action_space or problem.action_space, problem.device)
        (zeros,) = self._acting.zeros(1, torch.device(problem.device))
        self._places = [_Place(zeros) for _ in range(self.plan.slots)]
        self.episode = 0
        """Number of the episode in the trial, from 0."""
        self._begins = True
        self._pending: dict[str, Tensor] | None = None

    def fork(self) -> "TrialPlayer":
        """Another player that goes on from here; what either does from now on, the other does not know of.

        Raises `UserError` between `act` and `observe`.
        """
        if self._pending is not None:
            raise UserError("fork was called after act: tell what came of the action first, by observe()")
        other = copy.copy(self)
        vars(other).update(copy.deepcopy({"_carry": self._carry, "_places": self._places}))
        return other

    @property
    def over(self) -> bool:
        """Whether all episodes were played."""
        return self.episode >= self.plan.episodes

    @torch.no_grad()
    def act(self, observation: Any) -> Any:
        """The action for `observation`, an element of the action space.

        Raises `UserError` for what is no observation of the problem, after the end, and before `observe` was told what
        came of the last action.
        """
        if self.over:
            raise UserError(f"the trial is over after {self.plan.episodes} episodes: begin another one")
        if self._pending is not None:
            raise UserError("act was called twice: tell what came of the last action, by observe()")
        seen = self._tensor(observation)
        place = self._places[self._index]
        slots = self.plan.slots

        def rows(value: Tensor) -> Tensor:
            return value.expand(slots, *value.shape)

        flag = torch.tensor([self._begins, place.fresh and self._begins], device=seen.device)
        step = Step(
            observation=rows(seen),
            previous_action=rows(place.previous_action),
            previous_reward=torch.full((slots,), place.previous_reward, device=seen.device),
            episode_start=rows(flag[0]),
            trial_start=rows(flag[1]),
            episode_index=torch.full((slots,), self.episode, device=seen.device),
            descriptor=self._descriptor,
        )
        action, self._carry = self._agent.act(self._carry, step)
        index = self._index
        place.records.append({name: value[index] for name, value in action.record.items()})
        self._pending = {
            "observation": seen,
            "action": action.value[index],
            "episode_start": flag[0],
            "trial_start": flag[1],
            "episode_index": torch.tensor(self.episode, device=seen.device),
        }
        return self._plain(action.value[index])

    @torch.no_grad()
    def observe(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> None:
        """What came of the last action: the next observation (at an episode's end the last one) and its outcome.

        Between two rounds the agent adapts here. Raises `UserError` where nothing was done, and for a reward that is no
        finite number.
        """
        if self._pending is None:
            raise UserError("observe was called before act: there is no action that anything could have come of")
        if not isinstance(reward, SupportsFloat) or not math.isfinite(reward):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"reward = {brief(reward)}: expected a finite number")
        device = self._problem.device
        outcome = {
            "reward": torch.tensor(float(reward), device=device),
            "terminated": torch.tensor(bool(terminated), device=device),
            "truncated": torch.tensor(bool(truncated), device=device),
            "next_observation": self._tensor(observation),
            "valid": torch.tensor(data=True, device=device),
        }
        place = self._places[self._index]
        place.rows.append({**self._pending, **outcome})
        place.previous_action, place.previous_reward = self._pending["action"], float(reward)
        place.fresh, self._pending = False, None
        self._begins = bool(terminated or truncated)
        if self._begins:
            self.episode += 1
            if self.episode % self.plan.episodes_per_round == 0 and not self.over:
                self._carry = self._agent.adapt(self._carry, self._rollout())

    @property
    def _index(self) -> int:
        """Of the place that plays now."""
        return self.episode % self.plan.slots

    def _rollout(self) -> Rollout:
        """The round that is over; places that were done before others wait in it."""
        length = max(len(place.rows) for place in self._places)
        waiting = torch.tensor(self.episode, device=self._problem.device)
        columns: list[dict[str, Tensor]] = []
        records: list[dict[str, Tensor]] = []
        for index, place in enumerate(self._places):
            last = {**place.rows[-1], "valid": torch.zeros_like(place.rows[-1]["valid"])}
            last["episode_index"] = waiting + index if self.plan.side_by_side else waiting
            missing = length - len(place.rows)
            rows = [*place.rows, *[last] * missing]
            columns.append({name: torch.stack([row[name] for row in rows]) for name in last})
            kept = [*place.records, *[place.records[-1]] * missing]
            records.append({name: torch.stack([row[name] for row in kept]) for name in kept[0]})
            place.rows, place.records = [], []
        stacked = {name: torch.stack([column[name] for column in columns], 1) for name in columns[0]}
        record = {name: torch.stack([kept[name] for kept in records], 1) for name in records[0]}
        return Rollout(**stacked, record=record, descriptor=self._descriptor)

    def _tensor(self, observation: Any) -> Tensor:
        space = self._problem.observation_space
        try:
            row = pack(space, observation)
        except (TypeError, ValueError, KeyError, IndexError):
            row = None
        if row is None or row.shape != row_shape(space):
            raise UserError(f"observation {brief(observation)}: expected an element of {space}")
        if odd := misfit(space, row, any_number=False):
            raise UserError(f"the observation holds {odd}")
        return torch.as_tensor(row, device=self._problem.device)

    def _plain(self, value: Tensor) -> Any:
        plain = unpack(self._acting.space, self._acting(value[None])[0].cpu().numpy())
        return int(plain) if isinstance(self._acting.space, gym.spaces.Discrete) else plain

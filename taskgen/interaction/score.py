"""Scores of tasks, from the trials just played: computed once, on the device, whatever the curricula that look at them.

Where tasks are paid by a reward of their own, scores are in one of two currencies. What is known of a family (when an
episode is solved, the best return) is in its own reward, so success, learnability and regret count what was played in
that. What comes of the agent's values is in the reward that was paid, which they were learned from. Returns that go
with a score are in its currency: `TaskResult.returns` are paid, `TaskResult.family_returns` the family's.

Trials are [episodes, trials] or time-major [T, B] with `plan.slots` slots a trial; a score is [trials]. Sources:
Jiang et al. 2021, Replay-Guided Adversarial Environment Design, section 3 (positive value loss, MaxMC); Jiang et al.
2021, Prioritized Level Replay, section 3.1 (the value losses); Rutherford et al. 2024, No Regrets: Investigating and
Improving Regret Approximations for Curriculum Discovery, section 4 (learnability).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from registry.errors import UserError, suggest
from taskgen.borders import broken
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Critic, Trial
from taskgen.interaction.guard import estimates
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec


@runtime_checkable
class Solvable(Protocol):
    """A family that says when an episode counts as solved, as success rates need, where it does not tell by step."""

    solved_return: float
    """Undiscounted return of an episode, in the family's own reward, from which on it counts as solved."""


@runtime_checkable
class Optimal(Protocol):
    """A family that knows the best return of a task, as regret needs."""

    def optimal_return(self, spec: TaskSpec) -> float:
        """Undiscounted return of an episode, in the family's own reward, played by one who knows the task."""
        ...


class Played:
    """Trials just played, and what several scores look at, each computed when first asked for."""

    def __init__(self, specs: Sequence[TaskSpec], trial: Trial, agent: Agent, family: TaskFamily[Any]) -> None:
        self.specs = specs
        self.trial = trial
        self._agent = agent
        self._family = family
        self.returns = trial.episode_returns()
        """[episodes, trials] in the reward that was paid."""
        self.family_returns = trial.family_returns()
        """[episodes, trials] in the family's own reward."""

    @cached_property
    def solved(self) -> Tensor:
        """[episodes, trials] 1.0 where the episode counts as solved: after any step, where the family tells by step."""
        told = self.trial.successes()
        if told is not None:
            return told[0].to(torch.float32)
        assert isinstance(self._family, Solvable)
        return (self.family_returns >= self._family.solved_return).to(torch.float32)

    @cached_property
    def optimal(self) -> Tensor:
        """[trials] the best return of an episode, in the family's own reward."""
        assert isinstance(self._family, Optimal)
        best = [self._family.optimal_return(spec) for spec in self.specs]
        return torch.tensor(best, dtype=self.family_returns.dtype, device=self.family_returns.device)

    @cached_property
    def value(self) -> Tensor:
        """[trials] mean value estimate, in the reward that was paid."""
        return self.mean([value for value, _ in self._estimates])

    @cached_property
    def advantage(self) -> list[Tensor]:
        """[T, B] a round, with the agent's own lambda."""
        return [advantage for _, advantage in self._estimates]

    @cached_property
    def error(self) -> list[Tensor]:
        """[T, B] a round: the one-step temporal-difference error."""
        return [estimates(self._critic, rollout, trace=0.0)[1] for rollout in self.trial.rounds]

    def mean(self, rounds: Sequence[Tensor]) -> Tensor:
        """[trials] mean over the valid steps of values that are [T, B] a round."""
        valid = [rollout.valid for rollout in self.trial.rounds]
        total = sum(
            (torch.where(mask, value, 0.0).sum(0) for value, mask in zip(rounds, valid, strict=True)), start=0.0
        )
        count = sum((mask.sum(0) for mask in valid), start=0)
        slots = self.trial.plan.slots
        return torch.as_tensor(total).view(-1, slots).sum(1) / torch.as_tensor(count).view(-1, slots).sum(1).clamp(
            min=1
        )

    @property
    def _critic(self) -> Critic:
        assert isinstance(self._agent, Critic)
        return self._agent

    @cached_property
    def _estimates(self) -> list[tuple[Tensor, Tensor]]:
        return [estimates(self._critic, rollout) for rollout in self.trial.rounds]


@dataclass(frozen=True, slots=True)
class Score:
    """How promising a task is to train on: higher means more."""

    of: Callable[[Played], Tensor]
    summary: str
    needs_critic: bool = False
    needs_solved: bool = False
    needs_optimal: bool = False
    needs_episodes: int = 1
    """With fewer episodes a trial it is the same for every task."""

    @property
    def paid(self) -> bool:
        """Whether it is in the reward that tasks were paid, as the agent's values are; else in the family's own."""
        return self.needs_critic


def _learnability(played: Played) -> Tensor:
    rate = played.solved.mean(0)
    return rate * (1 - rate)


SCORES: Mapping[str, Score] = {
    "success": Score(
        lambda played: played.solved.mean(0),
        "Share of the trial's episodes solved, by the family's own reward.",
        needs_solved=True,
    ),
    "learnability": Score(
        _learnability,
        "p(1 - p) of the success rate p: neither hopeless nor mastered, by the family's own reward.",
        needs_solved=True,
        needs_episodes=2,
    ),
    "positive-value-loss": Score(
        lambda played: played.mean([advantage.clamp(min=0) for advantage in played.advantage]),
        "Mean advantage where positive, in the reward paid.",
        needs_critic=True,
    ),
    "gae": Score(
        lambda played: played.mean(played.advantage), "Mean advantage, in the reward paid.", needs_critic=True
    ),
    "value-l1": Score(
        lambda played: played.mean([advantage.abs() for advantage in played.advantage]),
        "Mean absolute advantage, in the reward paid.",
        needs_critic=True,
    ),
    "one-step-td": Score(
        lambda played: played.mean([error.abs() for error in played.error]),
        "Mean absolute temporal-difference error, in the reward paid.",
        needs_critic=True,
    ),
    "mean-value": Score(
        lambda played: played.value,
        "Mean value estimate; MaxMC is the best return so far, which the curriculum remembers, less this; both in the "
        "reward paid.",
        needs_critic=True,
    ),
    "regret": Score(
        lambda played: played.optimal - played.family_returns.mean(0),
        "What the best player gets more than the agent, per episode, in the family's own reward.",
        needs_optimal=True,
    ),
}


def check_scores(wanted: Collection[str], agent: Agent, family: TaskFamily[Any], episodes: int | None = None) -> None:
    """Raise `UserError` for a score that is unknown, or that needs what the agent or the family does not have.

    Also, where it is told how many there are, for one that needs more `episodes` a trial.
    """
    for name in wanted:
        if name not in SCORES:
            raise UserError(f"score {name!r} is unknown. {suggest(name, SCORES)}")
        needs, who = SCORES[name], type(agent).__name__
        missing = {
            "needs_critic": needs.needs_critic
            and not isinstance(agent, Critic)
            and f"a value function: {who} has none",
            "needs_solved": needs.needs_solved
            and not (isinstance(family, Solvable) or family.tells_success)
            and f"to know when an episode of {family.name} is solved: it has no solved_return and tells no success",
            "needs_optimal": needs.needs_optimal
            and not isinstance(family, Optimal)
            and f"the best return of a task of {family.name}: it has no optimal_return",
        }
        for need, problem in missing.items():
            if problem:
                others = ", ".join(other for other in SCORES if not getattr(SCORES[other], need))
                raise UserError(f"score {name!r} needs {problem}. Scores without that need: {others}.")
        if episodes is not None and episodes < needs.needs_episodes:
            raise UserError(
                f"score {name!r} is the same for every task where a trial has fewer than {needs.needs_episodes} "
                f"episodes: raise training.episodes = {episodes}, or take another score"
            )


def score(trial: Trial, agent: Agent, family: TaskFamily[Any], wanted: Collection[str] = ()) -> list[TaskResult]:
    """What the agent got on each task, with the `wanted` scores. One transfer from the device.

    To be called before `agent.learn`, since values are those that the agent acted with. Raises `PluginError` for values
    that are no finite numbers.
    """
    names = sorted(wanted)
    with torch.no_grad():
        played = Played(trial.specs, trial, agent, family)
        scores = [SCORES[name].of(played) for name in names]
        own = [] if trial.rounds[0].family_reward is None else list(played.family_returns)
        columns = torch.stack([*scores, *played.returns, *own])
        columns = columns.cpu()
    odd = ~columns[: len(names)].isfinite()
    if bool(odd.any()):
        place, number = (int(index) for index in odd.nonzero()[0])
        given = f"values of which {names[place]} of task {trial.specs[number].id} is {columns[place, number].item()}"
        raise broken(agent, "estimates", given, "finite numbers")
    rows = cast("list[list[float]]", columns.t().tolist())  # pyright: ignore[reportUnknownMemberType]
    own_from = len(names) + trial.plan.episodes
    return [
        TaskResult(spec, tuple(row[len(names) : own_from]), dict(zip(names, row, strict=False)), tuple(row[own_from:]))
        for spec, row in zip(trial.specs, rows, strict=True)
    ]


def score_returns(
    specs: Sequence[TaskSpec],
    paid: ArrayLike,
    own: ArrayLike,
    family: TaskFamily[Any],
    wanted: Collection[str] = (),
    solved: ArrayLike | None = None,
) -> list[TaskResult]:
    """As `score`, of a learner of which nothing is known but the returns [episodes, trials] of its trials.

    They are in the reward that was `paid` and in the family's `own`; scores that need values cannot be had. `solved`
    [episodes, trials] says in which episodes the task was done, of a family that tells.
    """
    known = None if solved is None else torch.as_tensor(np.asarray(solved, dtype=np.bool_))
    paid, own = (torch.as_tensor(np.asarray(values, dtype=np.float64)) for values in (paid, own))
    returns = _Returns(paid, own, known)
    played, names = Played(specs, cast(Any, returns), cast(Any, None), family), sorted(wanted)
    scores = [cast("list[float]", cast(Any, SCORES[name].of(played)).tolist()) for name in names]
    rewarded = any(spec.reward is not None for spec in specs)
    return [
        TaskResult(
            spec,
            tuple(cast(Any, played.returns[:, place]).tolist()),
            {name: values[place] for name, values in zip(names, scores, strict=True)},
            tuple(cast(Any, played.family_returns[:, place]).tolist()) if rewarded else (),
        )
        for place, spec in enumerate(specs)
    ]


@dataclass(frozen=True)
class _Returns:
    """What scores that need no values look at of a trial."""

    paid: Tensor
    own: Tensor
    solved: Tensor | None

    def episode_returns(self) -> Tensor:
        return self.paid

    def family_returns(self) -> Tensor:
        return self.own

    def successes(self) -> Tensor | None:
        return None if self.solved is None else self.solved[None]

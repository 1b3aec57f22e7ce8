"""What the tabular players know: a Dirichlet posterior of every transition, a normal posterior of every mean reward.

Axes: B trials, S states, A actions, H horizon. Prior: P(. | s, a) ~ Dirichlet(c, ..., c), mean reward ~ N(m,
spread^2), reward ~ N(mean reward, noise^2), independently. Players see what `act` sees: the state after the last step
of an episode is never shown to them, so that step teaches its reward only.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.player import number_of_actions, sample_gamma
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step


class TablePrior(Config):
    """The prior over the tables and the replanning schedule; the defaults are the distribution of RL^2, section 3.2."""

    concentration: float = Field(1.0, gt=0, description="Dirichlet concentration of every transition.")
    reward_mean: float = Field(1.0, description="Mean of the mean rewards.")
    reward_spread: float = Field(1.0, gt=0, description="Standard deviation of the mean rewards over (state, action).")
    reward_noise: float = Field(1.0, gt=0, description="Standard deviation of a reward around its mean.")
    replan: Literal["episode", "step"] = Field(
        "episode",
        description="Plan at the start of every episode, as published, or at every step, which scores more.",
    )


class TableCounts(NamedTuple):
    """What was seen in this trial, and the plan that is being followed."""

    transitions: Tensor
    """[B, S, A, S] float32 transitions seen."""
    visits: Tensor
    """[B, S, A] float32 rewards seen."""
    reward: Tensor
    """[B, S, A] float32 sum of the rewards seen."""
    state: Tensor
    """[B] int64 current state."""
    time: Tensor
    """[B] int64 steps made in this episode."""
    policy: Tensor
    """[B, H, S] int64 action planned for every time and state."""


class Tables(NamedTuple):
    """An MDP, real or imagined, in each trial."""

    reward: Tensor
    """[B, S, A] mean rewards."""
    transition: Tensor
    """[B, S, A, S] probabilities."""


def table_sizes(problem: Problem) -> tuple[int, int]:
    """States S and actions A. Raises `UserError` unless observations are one-hot states and actions discrete."""
    shape = problem.observation_space.shape
    if shape is None or len(shape) != 1:
        raise UserError(
            f"{problem.family} has the observations {problem.observation_space}; this player reads one-hot states. "
            "See `taskgen list agents` for players of other families."
        )
    return shape[0], number_of_actions(problem)


def no_table_counts(batch: int, problem: Problem) -> TableCounts:
    """Counts before the first step, and a plan that is replaced at it."""
    states, actions = table_sizes(problem)
    visits = torch.zeros(batch, states, actions, device=problem.device)
    transitions = torch.zeros(batch, states, actions, states, device=problem.device)
    time = torch.zeros(batch, dtype=torch.int64, device=problem.device)
    policy = torch.zeros(batch, problem.horizon, states, dtype=torch.int64, device=problem.device)
    return TableCounts(transitions, visits, visits, time, time, policy)


def count(counts: TableCounts, step: Step) -> TableCounts:
    """Counts after the previous step; from zero where a trial starts."""
    row = torch.arange(len(counts.state), device=counts.state.device)
    following, action = step.observation.argmax(-1), step.previous_action.long()
    pair = (row, counts.state, action)
    one, moved = torch.ones_like(step.previous_reward), (~step.episode_start).to(torch.float32)
    going_on = (~step.trial_start).to(torch.float32)[:, None, None]
    return TableCounts(
        transitions=counts.transitions.index_put((*pair, following), moved, accumulate=True) * going_on[..., None],
        visits=counts.visits.index_put(pair, one, accumulate=True) * going_on,
        reward=counts.reward.index_put(pair, step.previous_reward, accumulate=True) * going_on,
        state=following,
        time=torch.where(step.episode_start, 0, counts.time + 1),
        policy=counts.policy,
    )


def posterior_mean(counts: TableCounts, prior: TablePrior) -> Tables:
    """The posterior's expected MDP."""
    concentration = counts.transitions + prior.concentration
    precision = _precision(counts, prior)
    weighted = prior.reward_mean / prior.reward_spread**2 + counts.reward / prior.reward_noise**2
    return Tables(weighted / precision, concentration / concentration.sum(-1, keepdim=True))


def posterior_sample(counts: TableCounts, prior: TablePrior, generator: torch.Generator) -> Tables:
    """One MDP drawn from the posterior of each trial."""
    mean = posterior_mean(counts, prior).reward
    normal = torch.randn(mean.shape, generator=generator, device=mean.device)
    gamma = sample_gamma(counts.transitions + prior.concentration, generator)
    return Tables(mean + normal / _precision(counts, prior).sqrt(), gamma / gamma.sum(-1, keepdim=True))


def action_values(tables: Tables, horizon: int) -> Tensor:
    """[B, H, S, A] optimal value of every action at every time: value iteration backwards from the end.

    Q_h(s, a) = r(s, a) + sum_s' P(s' | s, a) max_a' Q_{h+1}(s', a'), with Q_H = 0.
    """
    batch, states, actions = tables.reward.shape
    transition = tables.transition.reshape(batch, states * actions, states)
    value = torch.zeros_like(tables.reward[..., 0])
    backwards: list[Tensor] = []
    for _ in range(horizon):
        quality = tables.reward + (transition @ value[..., None]).view(batch, states, actions)
        backwards.append(quality)
        value = quality.amax(-1)
    return torch.stack(backwards[::-1], dim=1)


def follow(
    counts: TableCounts, step: Step, replan: Literal["episode", "step"], plan: Callable[[TableCounts], Tensor]
) -> tuple[Action, TableCounts]:
    """Count the previous step, replan where it is time to, and take the planned action.

    `plan` gives a policy [B, H, S] for all trials; trials in mid-episode keep theirs when `replan` is "episode".
    """
    counts = count(counts, step)
    if replan == "step":
        counts = counts._replace(policy=plan(counts))
    elif bool(step.episode_start.any()):
        counts = counts._replace(policy=torch.where(step.episode_start[:, None, None], plan(counts), counts.policy))
    return Action(planned_action(counts.policy, counts.time, counts.state)), counts


def planned_action(policy: Tensor, time: Tensor, state: Tensor) -> Tensor:
    """[B] the action that `policy` [B, H, S] has for `time` and `state` [B]; past the horizon, the last one's."""
    row = torch.arange(len(state), device=state.device)
    return policy[row, time.clamp(max=policy.shape[1] - 1), state]


def _precision(counts: TableCounts, prior: TablePrior) -> Tensor:
    return 1 / prior.reward_spread**2 + counts.visits / prior.reward_noise**2

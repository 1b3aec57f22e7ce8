"""Belief oracle: is told a POMDP's tables, keeps the exact belief over its states and looks ahead from it.

What adapts: the belief within an episode. What is meta-learned: nothing.

    b'(s')  ~  Z(o | s') sum_s b(s) P(r | s, a) P(s' | s, a)
    q_d(b, a) = sum_s b(s) R(s, a) + sum_{r, o} max_a' q_{d-1}(b'_{r, o}, a'),   q_0(b, a) = sum_s b(s) Q_h(s, a)

with beliefs that are not normalised, which weighs outcomes by their probability, and Q_h of the MDP by value iteration.
The belief is exact always. The play is exact, so that no player scores more on average, where `depth` is at least the
horizon less one. Below that it acts as if the state were told after `depth` steps, at 0 like QMDP, which never acts in
order to learn. The value that it foresees is then a bound from above, the lower the deeper.

Reference: Kaelbling, Littman and Cassandra 1998, "Planning and acting in partially observable stochastic domains",
sections 3 and 4; Littman, Cassandra and Kaelbling 1995, "Learning policies for partially observable environments:
scaling up", section 4 (QMDP).

Axes: B trials, S states, A actions, O looks, K = 2 O symbols (reward and look), H horizon.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.player import Player, number_of_actions
from agents.reference.steering import told
from agents.reference.tables import Tables, action_values
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step

_MOST = 10_000_000
"""Numbers in the tables of one trial, and in the beliefs that it looks at in a step."""


class BeliefOracleConfig(Config):
    """Settings of `BeliefOracle`."""

    depth: int = Field(2, ge=0, le=1000, description="Steps ahead that what will be seen is foreseen; 0 is QMDP.")


class Model(NamedTuple):
    """A POMDP in each trial."""

    first: Tensor
    """[B, O, S] probability of the first state and of a look at it."""
    reward: Tensor
    """[B, S, A] expected reward."""
    outcome: Tensor
    """[B, S, A, K, S] probability of a symbol and a next state."""
    values: Tensor
    """[B, H + 1, S, A] value of every action if the state were known, by time; zero at H."""


class _Thought(NamedTuple):
    model: Model
    belief: Tensor
    """[B, S]."""
    time: Tensor
    """[B] int64 steps made in this episode."""


class BeliefOracle(Player[BeliefOracleConfig]):
    """Knows the tables but not the state. Raises `UserError` for a `depth` that would look at too many beliefs."""

    needs_descriptor = True

    def __init__(self, config: BeliefOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._states, self._looks = (int(problem.structure[name]) for name in ("states", "observations"))
        self._actions = number_of_actions(problem)
        self._depth = min(config.depth, problem.horizon - 1)
        branches = 2 * self._actions * self._looks
        if self._states**2 * branches > _MOST or self._states * branches**self._depth > _MOST:
            raise UserError(
                f"belief-oracle with depth = {config.depth} looks at {branches}^{self._depth} beliefs over "
                f"{self._states} states, by tables of {branches} x {self._states}^2; neither may hold more than "
                f"{_MOST:,} numbers a trial. Lower depth, or states, actions or observations of {problem.family}."
            )

    def begin_trial(self, batch: int) -> _Thought:
        """Tables that are replaced at the first step."""
        states, actions, looks = self._states, self._actions, self._looks
        shapes = (
            *((looks, states), (states, actions), (states, actions, 2 * looks, states)),
            (self.problem.horizon + 1, states, actions),
        )
        model = Model(*(torch.zeros(batch, *shape, device=self.problem.device) for shape in shapes))
        time = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return _Thought(model, model.first[:, 0], time)

    def act(self, carry: _Thought, step: Step) -> tuple[Action, _Thought]:
        """At a trial's start read the tables; filter, look ahead. Raises `UserError` without a descriptor."""
        model = carry.model
        if self.any_of(step.trial_start):
            made, new = self._model(told(step.descriptor, "belief-oracle")), step.trial_start
            pairs = zip(made, model, strict=True)
            model = Model(*(torch.where(new.view(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs))
        time = torch.where(step.episode_start, 0, carry.time + 1)
        look = step.observation.argmax(-1)
        symbol = (step.previous_reward > 0.5).to(torch.int64) * self._looks + look
        row = torch.arange(len(time), device=time.device)
        moved = carry.belief[:, None] @ model.outcome[row, :, step.previous_action.long(), symbol]
        belief = normalised(torch.where(step.episode_start[:, None], model.first[row, look], moved[:, 0]))
        chosen = foreseen(model, belief[:, None], time, self._depth)[:, 0].argmax(-1)
        return Action(chosen), _Thought(model, belief, time)

    def _model(self, descriptor: Tensor) -> Model:
        """From R, P and Z, side by side [B, D]; the first state is any."""
        states, actions, looks = self._states, self._actions, self._looks
        sizes = [states * actions, states * actions * states, states * looks]
        paid, moves, faces = descriptor[:, : sum(sizes)].split(sizes, dim=1)
        paid, moves = paid.view(-1, states, actions), moves.view(-1, states, actions, states)
        emission = faces.view(-1, states, looks).mT
        rewarded = torch.stack([1 - paid, paid], dim=3)[..., None, None]
        outcome = rewarded * moves[:, :, :, None, None] * emission[:, None, None, None]
        values = action_values(Tables(paid, moves), self.problem.horizon)
        values = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
        return Model(emission / states, paid, outcome.flatten(3, 4), values)


def normalised(belief: Tensor) -> Tensor:
    """[B, S] probabilities; equal ones where what happened is impossible by tables in single precision."""
    total = belief.sum(1, keepdim=True)
    return torch.where(total > 0, belief / total, 1 / belief.shape[1])


def foreseen(model: Model, beliefs: Tensor, time: Tensor, depth: int) -> Tensor:
    """q [B, L, A] of `beliefs` [B, L, S], which need not be normalised, at `time` [B]; see the module."""
    horizon = model.values.shape[1] - 1
    if depth == 0:
        row = torch.arange(len(time), device=time.device)
        return beliefs @ model.values[row, time.clamp(max=horizon)]
    batch, count, _ = beliefs.shape
    states, actions, symbols, _ = model.outcome.shape[1:]
    paid = beliefs @ model.reward * (time < horizon)[:, None, None]
    following = (beliefs @ model.outcome.flatten(2)).view(batch, count * actions * symbols, states)
    later = foreseen(model, following, time + 1, depth - 1).amax(-1)
    return paid + later.view(batch, count, actions, symbols).sum(-1)


def expected_returns(model: Model, depth: int) -> Tensor:
    """[B] worth of an episode seen `depth` steps ahead: exact at the horizon less one, below that a bound above it."""
    start = torch.zeros(len(model.first), dtype=torch.int64, device=model.first.device)
    return foreseen(model, model.first, start, depth).amax(-1).sum(1)

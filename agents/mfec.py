"""MFEC, model-free episodic control: do again what paid best here, or in the states most like this one.

*What adapts*: a table for each action with the highest return that ever followed it, by state, from the trial's first
episode on.  *What is meta-learned*: nothing; the tables begin empty in every trial.

    Q(s, a) <- max(Q(s, a), R)                      R the return of the episode from here on
    Q(s, a)  = the entry of s, else  1/k sum_i Q(s_i, a)  over the k entries whose keys are nearest to that of s

A state's key is a Gaussian random projection of it. It is written at the end of an episode, and the entries that were
longest neither written nor found make room where a table is full; `memory/evicted` counts them.

It is *optimistic under noise*: the max of m returns, whose expectation grows with m, stands for their mean, so of a
task whose rewards or moves are random the values are too high, and the action that was tried often looks better than
one that is. `memory/optimism` measures it, and reports tell it. Where the outcome of an action is as much luck as it is
of slippery ice, prefer `nec`.

Reference: Blundell et al. 2016, "Model-Free Episodic Control", equations 1 and 2, algorithm 1.

Differences from the paper: the tables last for a trial, not for good, and epsilon falls from episode to episode of it;
an action of which a table knows nothing is worth 0; ties are broken at random; states are compared by a code of 62
bits; the default of `discount` is that of its Labyrinth, of `capacity` a hundredth of it.

Axes: T time, B trials, A actions, C capacity, D numbers of a key, k neighbours.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.episodic_memory import EpisodicConfig, Memory, StateCode, Steps
from agents.common.exploration import epsilon_greedy
from agents.common.nearest import nearest
from agents.common.returns import n_step_returns
from agents.reference.player import number_of_actions
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class MFECConfig(EpisodicConfig):
    """Settings of `MFEC`."""

    neighbours: int = Field(11, ge=1, description="Entries k that speak for a state without one of its own.")
    width: int = Field(64, ge=1, description="Numbers of a key, projected at random from the observation.")


class MFEC:
    """The carry holds the tables."""

    needs_descriptor = False

    def __init__(self, config: MFECConfig, problem: Problem) -> None:
        self._actions = number_of_actions(problem)
        self.config = config
        self._device = problem.device
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        width = self._encoder.observation_size
        generator = torch.Generator().manual_seed(problem.seed)
        projection = torch.randn(width, config.width, generator=generator) / config.width**0.5
        self._projection = projection.to(problem.device)
        self.code = StateCode(width, config.decimals, generator).to(problem.device)
        self._generator = torch.Generator(problem.device).manual_seed(problem.seed)

    def reseed(self, seed: int) -> None:
        """Draw actions from the stream of `seed` from now on."""
        self._generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """A round for every episode: the tables are written after each."""
        return CollectionPlan(rounds=episodes, episodes_per_round=1)

    def begin_trial(self, batch: int) -> Memory:
        """Empty tables."""
        return Memory.empty(batch, self._actions, self.config.capacity, self.config.width, self._device)

    def act(self, carry: Memory, step: Step) -> tuple[Action, Memory]:
        """The action whose estimate is highest."""
        observation = self._encoder.observation(step.observation)
        code, key = self.code(observation), observation @ self._projection
        values, own, carry = self._look_up(carry, code, key, step.episode_index)
        action = epsilon_greedy(values, self.config.exploration(step.episode_index), self._generator)
        promised, own = (part.gather(1, action[:, None])[:, 0] for part in (values, own))
        return Action(action, {**carry.figures, "promised": promised, "own": own}), carry

    def adapt(self, carry: Memory, rollout: Rollout) -> Memory:
        """Enter the returns of an episode."""
        observation = self._encoder.observation(rollout.observation)
        key = observation @ self._projection
        return carry.write(Steps(self.code(observation), key, rollout.action, self._returns(rollout), rollout.valid))

    def learn(self, trial: Trial) -> Metrics:
        """Nothing is meta-learned; says what the tables held and had lost in the last episode, and their optimism.

        `memory/optimism` is what the entries of chosen actions promised above what followed, on average.
        """
        rollout = trial.rollout
        record = rollout.record
        own = record["own"] & rollout.valid
        above = torch.where(own, record["promised"] - self._returns(rollout), 0.0).sum() / own.sum().clamp(min=1)
        figures = [*(record[name][-1].to(torch.float32).mean() for name in ("held", "evicted")), above]
        names = ("memory/held", "memory/evicted", "memory/optimism")
        return dict(zip(names, torch.stack(figures).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Projection and code of states, and the sampling stream."""
        return {
            "projection": self._projection,
            "code": self.code.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._projection = self._projection.copy_(state["projection"])
        self.code.load_state_dict(state["code"])
        self._generator.set_state(state["generator"].cpu())

    def _returns(self, rollout: Rollout) -> Tensor:
        """[T, B] return of the episode from each step on."""
        goes_on = ~(rollout.terminated | rollout.truncated)
        return n_step_returns(rollout.reward, goes_on, self.config.discount, len(rollout.reward))[0]

    def _look_up(self, memory: Memory, code: Tensor, key: Tensor, episode: Tensor) -> tuple[Tensor, Tensor, Memory]:
        """[B, A] estimates for states with `code` [B] and `key` [B, D] in `episode` [B], which of them are of entries
        of the states' own, and the tables afterwards."""
        hit, place = memory.find(code)
        near = nearest(key[:, None, None], memory.key, memory.held, self.config.neighbours)
        around, known = near.place[:, :, 0], near.squared[:, :, 0].isfinite()
        mean = (memory.value.gather(-1, around) * known).sum(-1) / known.sum(-1).clamp(min=1)
        own = memory.value.gather(-1, place[..., None])[..., 0]
        places = torch.cat([place[..., None], around], dim=-1)
        which = torch.cat([hit[..., None], known & ~hit[..., None]], dim=-1)
        return torch.where(hit, own, mean), hit, memory.found(places, which, episode)

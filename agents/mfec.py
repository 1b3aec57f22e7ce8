"""MFEC, model-free episodic control: do again what paid best here, or in the states most like this one.

*What adapts*: a table for each action with the highest return that ever followed it, by state, from the trial's first
episode on.  *What is meta-learned*: nothing; the tables begin empty in every trial.

    Q(s, a) <- max(Q(s, a), R)                      R the return of the episode from here on
    Q(s, a)  = the entry of s, else  1/k sum_i Q(s_i, a)  over the k entries whose keys are nearest to that of s

A state's key is a Gaussian random projection of it. It is written at the end of an episode, and the entries that were
longest neither written nor found make room where a table is full; `memory/evicted` counts them.

It is *optimistic under noise*: the max of m returns, whose expectation grows with m, stands for their mean, so of a
task whose rewards or moves are random the values are too high, and the action that was tried often looks better than
one that is. Where the outcome of an action is as much luck as it is of slippery ice, prefer `nec`.

Reference: Blundell et al. 2016, "Model-Free Episodic Control", equations 1 and 2, algorithm 1.

Differences from the paper: the tables last for a trial, not for good, and epsilon falls from episode to episode of it;
an action of which a table knows nothing is worth 0; ties are broken at random; states are compared by a code of 62
bits; the default of `discount` is that of its Labyrinth, of `capacity` a hundredth of it.

Axes: T time, B trials, A actions, C capacity, D numbers of a key, k neighbours.
"""

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.episodic_memory import Memory, StateCode, Steps
from agents.common.exploration import epsilon_greedy, within_trial
from agents.common.nearest import nearest
from agents.common.returns import n_step_returns
from agents.reference.player import number_of_actions
from registry.config import Config
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class MFECConfig(Config):
    """Settings of `MFEC`."""

    neighbours: int = Field(11, ge=1, description="Entries k that speak for a state without one of its own.")
    capacity: int = Field(1000, ge=1, description="Entries of each action's table, in every trial (paper: 1e6, 1e5).")
    width: int = Field(64, ge=1, description="Numbers of a key, projected at random from the observation.")
    decimals: int | None = Field(
        None, ge=0, description="States whose numbers agree in so many decimals are the same; left out, in all."
    )
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step (paper: 1 for Atari, .99 for Labyrinth).")
    epsilon_first: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Probability of a random action in a trial's first episode (paper: the same, .005).",
    )
    epsilon: float = Field(0.005, ge=0, le=1, description="The same from episode `epsilon_episodes` on.")
    epsilon_episodes: int = Field(20, ge=0, description="Episodes of a trial over which it falls linearly.")

    @model_validator(mode="after")
    def _fits(self) -> "MFECConfig":
        if self.neighbours > self.capacity:
            raise ValueError(
                f"neighbours = {self.neighbours} of a table for capacity = {self.capacity} entries: ask for fewer, or "
                "remember more"
            )
        return self


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
        self._code = StateCode(width, config.decimals, generator).to(problem.device)
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
        code, key = self._code(observation), observation @ self._projection
        values, carry = self._look_up(carry, code, key, step.episode_index)
        action = epsilon_greedy(values, self._epsilon(step), self._generator)
        return Action(action, {"evicted": carry.evicted, "held": carry.held.sum((1, 2))}), carry

    def adapt(self, carry: Memory, rollout: Rollout) -> Memory:
        """Enter the returns of an episode."""
        observation = self._encoder.observation(rollout.observation)
        goes_on = ~(rollout.terminated | rollout.truncated)
        returns, _ = n_step_returns(rollout.reward, goes_on, self.config.discount, len(rollout.reward))
        key = observation @ self._projection
        return carry.write(Steps(self._code(observation), key, rollout.action, returns, rollout.valid))

    def learn(self, trial: Trial) -> Metrics:
        """Nothing is meta-learned; says how full the tables were in the last episode, and what they lost by then."""
        record = trial.rollout.record
        shares = torch.stack([record[name][-1].to(torch.float32).mean() for name in ("held", "evicted")]).tolist()
        return dict(zip(("memory/held", "memory/evicted"), shares, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Projection and code of states, and the sampling stream."""
        return {
            "projection": self._projection,
            "code": self._code.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self._projection = self._projection.copy_(state["projection"])
        self._code.load_state_dict(state["code"])
        self._generator.set_state(state["generator"].cpu())

    def _epsilon(self, step: Step) -> Tensor:
        """[B] of the episode that is played."""
        config = self.config
        return within_trial(config.epsilon_first, config.epsilon, config.epsilon_episodes, step.episode_index)

    def _look_up(self, memory: Memory, code: Tensor, key: Tensor, episode: Tensor) -> tuple[Tensor, Memory]:
        """[B, A] estimates for states with `code` [B] and `key` [B, D] in `episode` [B], and the tables afterwards."""
        hit, place = memory.find(code)
        near = nearest(key[:, None, None], memory.key, memory.held, self.config.neighbours)
        around, known = near.place[:, :, 0], near.squared[:, :, 0].isfinite()
        mean = (memory.value.gather(-1, around) * known).sum(-1) / known.sum(-1).clamp(min=1)
        own = memory.value.gather(-1, place[..., None])[..., 0]
        places = torch.cat([place[..., None], around], dim=-1)
        which = torch.cat([hit[..., None], known & ~hit[..., None]], dim=-1)
        return torch.where(hit, own, mean), memory.found(places, which, episode)

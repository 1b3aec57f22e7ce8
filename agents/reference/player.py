"""`Player`: what all reference players share. They adapt within a trial by a fixed rule and never learn between."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Generic, TypeVar

import gymnasium as gym
import torch
from torch import Tensor

from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Carry, CollectionPlan, Metrics, Problem, Rollout, Step, Trial

C = TypeVar("C", bound=Config)


class Player(ABC, Generic[C]):
    """Base of every reference player: a subclass says what the carry is and how to act on it."""

    needs_descriptor = False

    def __init__(self, config: C, problem: Problem) -> None:
        self.config = config
        self.problem = problem
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._looked_at: Tensor | None = None
        self._seen = False

    def any_of(self, flags: Tensor) -> bool:
        """Whether any of `flags` [B] is true. Each tensor is looked at once: on a GPU a look makes the host wait.

        So players that plan where a trial starts wait twice a round, since `collect` hands on one and the same
        `trial_start` once trials are under way. Flags are never changed in place.
        """
        if flags is not self._looked_at:
            self._looked_at, self._seen = flags, bool(flags.any())
        return self._seen

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest action, each [D] float32 on the device. Raises `UserError` unless actions are a box."""
        space = self.problem.action_space
        if not isinstance(space, gym.spaces.Box):
            raise UserError(
                f"{self.problem.family} has the action space {space}; this player needs continuous actions. "
                "See `taskgen list agents` for players of other families."
            )
        low, high = (torch.as_tensor(bound, device=self.problem.device) for bound in (space.low, space.high))
        return low, high

    def reseed(self, seed: int) -> None:
        """Draw from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """One round: players adapt while they act."""
        return CollectionPlan(rounds=1, episodes_per_round=episodes)

    @abstractmethod
    def begin_trial(self, batch: int) -> Carry:
        """What is known about `batch` tasks before the first step."""

    @abstractmethod
    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Take in the previous action, its reward and the new observation; choose."""

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Nothing: `act` has seen it all."""
        return carry

    def learn(self, trial: Trial) -> Metrics:
        """Nothing is meta-learned."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The state of the player's own random stream."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.generator.set_state(state["generator"])


def number_of_actions(problem: Problem) -> int:
    """Size of the action space. Raises `UserError` unless it is discrete."""
    if not isinstance(problem.action_space, gym.spaces.Discrete):
        raise UserError(
            f"{problem.family} has the action space {problem.action_space}; this player needs discrete actions. "
            "See `taskgen list agents` for players of other families."
        )
    return int(problem.action_space.n)


def random_argmax(score: Tensor, generator: torch.Generator) -> Tensor:
    """[B] index of the largest of `score` [B, k], ties broken uniformly at random."""
    luck = torch.rand(score.shape, generator=generator, device=score.device)
    return torch.where(score == score.amax(-1, keepdim=True), luck, -1.0).argmax(-1)


def sample_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma(shape, 1) variates, positive, of the shape of `shape` (every element > 0).

    Marsaglia and Tsang 2000, "A simple method for generating gamma variables", sections 2 and 6. Every element makes
    four proposals, needed or not, so that what one element is never moves the random numbers of another. All four
    are rejected with probability below 6e-6; such an element is set near the mode.
    """
    scale = torch.where(shape < 1, shape + 1, shape) - 1 / 3
    value = scale
    done = torch.zeros_like(shape, dtype=torch.bool)
    for _ in range(4):
        normal = torch.randn(shape.shape, generator=generator, device=shape.device)
        uniform = torch.rand(shape.shape, generator=generator, device=shape.device)
        cube = (1 + normal / (9 * scale).sqrt()) ** 3
        bound = 0.5 * normal**2 + scale * (1 - cube + cube.clamp(min=1e-30).log())
        accepted = (cube > 0) & (uniform.log() < bound)
        value = torch.where(accepted & ~done, scale * cube, value)
        done = done | accepted
    boost = torch.rand(shape.shape, generator=generator, device=shape.device) ** (1 / shape)
    return torch.where(shape < 1, value * boost, value).clamp(min=1e-30)

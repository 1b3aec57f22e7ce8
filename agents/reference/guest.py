"""`Guest`: a policy that is not ours as a player beside ours, on the same tasks with the same luck.

A policy is either what has Stable-Baselines3's `predict(observation, state, episode_start, deterministic)`, or a
callable that is given observations and answers actions, both with a row for every trial, as the vector environments of
`taskgen.make_vec` have them. What it sees is what its own `observation_space` says, where it has one: the tasks'
observations, or those of `taskgen.make_trials`, flat or as a Dict, which hold the previous action, its reward and
whether it ended an episode. A callable without one sees the tasks' observations.
"""

from collections.abc import Callable
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from agents.reference.player import Player
from registry.config import Config
from registry.errors import PluginError, UserError, brief
from taskgen.interaction.agent import Action, Carry, Problem, Step
from taskgen.spaces import action_layout, beside, flattened, is_composite, is_whole, pack, unpack

Array = NDArray[Any]
Policy = Any
"""See above."""


class Guest(Player[Config]):
    """`policy` at play; `deterministic` is handed on to `predict`. The carry is whatever the policy calls its state."""

    def __init__(
        self, policy: Policy, problem: Problem, action_space: gym.Space[Any], *, name: str, deterministic: bool = True
    ) -> None:
        """`action_space` is the family's. Raises `UserError` for what is no policy, and for one of other spaces."""
        super().__init__(Config(), problem)
        self._name, self._action_space, self._deterministic = name, action_space, deterministic
        self._layout = action_layout(action_space)
        self._predict = cast("Callable[..., Any] | None", getattr(policy, "predict", None))
        if self._predict is None and not callable(policy):
            raise UserError(f"{name} = {brief(policy)}: expected a callable, or what has a method `predict`")
        self._policy = policy
        self._history = self._seen_as(getattr(policy, "observation_space", None))
        theirs = getattr(policy, "action_space", action_space)
        if theirs != action_space:
            raise UserError(f"{name} acts in {theirs}, while {problem.family} has the action space {action_space}")

    def begin_trial(self, batch: int) -> Carry:
        """No state, no previous action."""
        return None, np.zeros((batch, flatdim(self._action_space)), dtype=np.float32)

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """What the policy does. Raises `PluginError` for what is no action."""
        state, before = carry
        observation = self._observation(step, before)
        begins = step.trial_start if self._history else step.episode_start
        if self._predict is None:
            given = self._policy(observation)
        else:
            start = begins.cpu().numpy()
            given, state = self._predict(
                observation, state=state, episode_start=start, deterministic=self._deterministic
            )
        numbers = self._packed(given, len(begins))
        return Action(self._answer(numbers)), (state, flattened(self._action_space, numbers))

    def _observation(self, step: Step, before: Array) -> Any:
        """As the policy's own environments would show it."""
        space, rows = self.problem.observation_space, step.observation.cpu().numpy()
        if not self._history:
            return unpack(space, rows)
        begins = step.trial_start.cpu().numpy()[:, None]
        reward = step.previous_reward.cpu().numpy()[:, None].astype(np.float32)
        fed_back = {
            "action": np.where(begins, np.float32(0.0), before),
            "reward": np.where(begins, np.float32(0.0), reward),
            "ended": (step.episode_start.cpu().numpy()[:, None] & ~begins).astype(np.float32),
        }
        if self._history == "flat":
            return np.concatenate([flattened(space, rows), *fed_back.values()], axis=1)
        return {"observation": flattened(space, rows) if is_composite(space) else rows, **fed_back}

    def _packed(self, given: Any, slots: int) -> Array:
        """[B, P] the numbers of the actions `given`, each in the family's space."""
        space = self._action_space
        try:
            kinds = [np.asarray(found).dtype for part, found in beside(space, given) if is_whole(part)]
            numbers = pack(space, given).reshape(slots, -1)
            odd = next((row for row in numbers if not space.contains(self._element(row))), None)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise PluginError(
                f"{self._name} gave {brief(given)}, expected {slots} actions of {space} ({error})"
            ) from None
        if broken := [kind for kind in kinds if kind.kind not in "iub"]:
            raise PluginError(f"{self._name} gave {brief(given)} of {broken[0]}: choices of {space} are whole numbers")
        if odd is not None:
            raise PluginError(f"{self._name} gave the action {odd}, expected one in {space}")
        return numbers

    def _element(self, row: Array) -> Any:
        shape = () if is_composite(self._action_space) else tuple(self._action_space.shape or ())
        return unpack(self._action_space, row if is_composite(self._action_space) else row.reshape(shape))

    def _answer(self, numbers: Array) -> torch.Tensor:
        """[B, ...] in the space that agents answer in, of which the family gets `numbers` (`Acting`)."""
        layout = self._layout
        answer = np.zeros_like(numbers)
        answer[:, list(layout.column)] = numbers - np.array(layout.start, dtype=numbers.dtype)
        if isinstance(layout.played, gym.spaces.Discrete):
            answer = answer[:, 0]
        return torch.from_numpy(answer).to(self.problem.device)

    def _seen_as(self, theirs: gym.Space[Any] | None) -> str:
        """ "" for the tasks' observations, "flat" or "dict" for those of trials."""
        space = self.problem.observation_space
        if theirs is None or theirs == space:
            return ""
        size = flatdim(space) + flatdim(self._action_space) + 2
        if isinstance(theirs, gym.spaces.Box) and theirs.shape == (size,):
            return "flat"
        if isinstance(theirs, gym.spaces.Dict) and set(theirs.spaces) == {"observation", "action", "reward", "ended"}:
            return "dict"
        raise UserError(
            f"{self._name} sees {theirs}, while {self.problem.family} shows {space}, and a trial of it {size} numbers"
        )

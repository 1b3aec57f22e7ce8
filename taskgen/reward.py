"""Rewards over controlled Markov processes: what replaces a family's own reward in tasks with a `RewardSpec`.

A family without its reward is a CMP; every function of its states, actions and next states makes an MDP of it. A
reward is a catalogue entry like a family: `family.spec(reward=RewardSpec("random-discriminator", {"skill": 3}))`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import registry
from registry.config import Config
from registry.errors import PluginError, TaskError, UserError
from taskgen.batch import ControlledMarkovProcess
from taskgen.spec import RewardSpec, freeze

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@runtime_checkable
class RewardFunction(Protocol):
    """The rewards of one entry in B slots. Built as `Target(configs, family=family, device=device)`, one config a slot.

    A pure function of its configs and arguments: row i depends on config i and row i of the arguments alone, bit for
    bit, whatever B is. Building raises `TaskError` for configs that do not fit the family. One with the attribute
    `of_next_observation = True` looks at nothing else, so that worlds of few observations may tabulate what it pays.
    """

    def __call__(self, observation: "Tensor", action: "Tensor", next_observation: "Tensor") -> "Tensor":
        """[B] float32: the reward of a step from `observation` [B, ...] by `action` to `next_observation`."""
        ...

    def descriptor(self) -> "Tensor":
        """[B, D] float32: what an oracle may see of the rewards; D is fixed by what configs of one batch share."""
        ...


@runtime_checkable
class FollowsContext(Protocol):
    """A `RewardFunction` whose settings may have been made for the context of their task, such as its goal.

    Where the context moves they are made anew: see `TaskFamily.moved`. All other rewards stay as they are.
    """

    @classmethod
    def moved(
        cls, config: Any, family: ControlledMarkovProcess, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Config:
        """`config` made for the complete context `after` where it was made for `before`; else `config` as it is."""
        ...


def moved_reward(
    reward: RewardSpec, family: ControlledMarkovProcess, before: Mapping[str, Any], after: Mapping[str, Any]
) -> RewardSpec:
    """The complete `reward` of a task whose complete context moves from `before` to `after`."""
    item = registry.catalogue().get("rewards", reward.name)
    function = item.load()
    if not isinstance(function, FollowsContext):
        return reward
    config = item.config_class().model_validate(_plain(reward.settings))
    settings = function.moved(config, family, before, after).model_dump(mode="json")
    return RewardSpec(item.full_name, freeze(settings, "reward.settings"))


def complete_reward(reward: RewardSpec, family: ControlledMarkovProcess) -> RewardSpec:
    """`reward` with full name and every setting, checked against `family`. Raises `TaskError` naming what is off."""
    try:
        item = registry.catalogue().get("rewards", reward.name)
        config = item.configure(json.loads(json.dumps(dict(reward.settings), default=dict)))
    except UserError as error:
        raise TaskError(f"reward: {error}") from None
    complete = RewardSpec(item.full_name, freeze(config.model_dump(mode="json"), "reward.settings"))
    build_rewards([complete], family, "cpu")
    return complete


def build_rewards(
    rewards: Sequence[RewardSpec], family: ControlledMarkovProcess, device: "torch.device | str"
) -> RewardFunction:
    """The function that gives slot i the reward `rewards[i]`; all are of one entry. Raises `TaskError`."""
    item = registry.catalogue().get("rewards", rewards[0].name)
    model = item.config_class()
    configs = [model.model_validate(_plain(reward.settings)) for reward in rewards]
    function = item.load()(configs, family=family, device=device)
    if not isinstance(function, RewardFunction):
        raise PluginError(f"{item.full_name}: {item.entry.target} lacks __call__ or descriptor")
    return function


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in settings.items()}  # type: ignore[misc]

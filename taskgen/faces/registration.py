"""Every task family under a Gymnasium id, and trials and samplers.

`gymnasium.make("taskgen/bandit-v0", task=...)` takes a `TaskSpec`, its JSON text or its dict, or no task but the
family's settings (`arms=10`), which stand for its default task. `gymnasium.make_vec("taskgen/bandit-v0", num_envs=8)`
takes the same, or `tasks=[...]`, one per slot.

`gymnasium.make("taskgen/Trials-v0", source="plr", family="maze", episodes=4)` is `taskgen.make_trials` and
`"taskgen/Sampler-v0"` is `taskgen.make_sampler`, both for `make_vec` too.

Gymnasium 1.4 finds ids in one dictionary and has no hook for other packages, so ids have to be registered before they
are used. That happens when

- `taskgen` is imported and Gymnasium already is, as in `import gymnasium as gym; import taskgen`, where
  `gym.register_envs(taskgen)` only says that the import is meant; so also in `gym.make("taskgen:taskgen/bandit-v0")`;
- any public name of `taskgen` is used and Gymnasium is imported, whichever came first;
- `taskgen.register_envs()` is called, which only `import taskgen; import gymnasium` without either of these needs.
"""

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

import registry
from registry.catalogue import Catalogue, Item
from taskgen.batch import ControlledMarkovProcess
from taskgen.spec import TaskSpec

ENTRY_POINT, VECTOR_ENTRY_POINT = (f"taskgen.faces.making:make_registered{suffix}" for suffix in ("", "_vec"))
_OF_SOURCES = {"taskgen/Trials-v0": "make_trials", "taskgen/Sampler-v0": "make_sampler"}
"""Id -> what makes it."""


def register_envs() -> None:
    """Register every family of the catalogue with Gymnasium, trials and samplers. What is registered stays as it is.

    The id is "taskgen/<family>-v0"; of two families with the same short name, "taskgen/<provider>.<family>-v0".
    """
    for id_, function in _OF_SOURCES.items():
        if id_ not in gym.registry:
            single, many = (f"taskgen.faces.making:{function}{suffix}" for suffix in ("", "_vec"))
            gym.register(id_, entry_point=single, vector_entry_point=many)  # pyright: ignore[reportUnknownMemberType]
    catalogue = registry.catalogue()
    for item in catalogue.items("families"):
        id_ = _id(catalogue, item)
        if id_ not in gym.registry:
            gym.register(  # pyright: ignore[reportUnknownMemberType]
                id_,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs={"family": item.full_name},
            )


def spec_of(family: ControlledMarkovProcess, made: Mapping[str, Any]) -> EnvSpec:
    """What `gymnasium.make` takes for the environment that is `made` of `family`; arguments that are None count not."""
    catalogue = registry.catalogue()
    arguments = {name: value for name, value in made.items() if value is not None}
    spec = EnvSpec(
        _id(catalogue, catalogue.get("families", family.name)),
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"family": family.name, **arguments},
        disable_env_checker=True,
        order_enforce=False,
    )
    return stated(spec, family)


def stated(spec: EnvSpec, family: ControlledMarkovProcess, limit: int | None = None) -> EnvSpec:
    """`spec` with plain values for arguments, so that it can be written as JSON, and with the length of episodes.

    That is the family's horizon, or `limit` where that is shorter; None where the horizon is one step, since an episode
    is complete then and not cut short. The registry cannot say it: the settings of a family decide.
    """
    spec = copy.copy(spec)
    spec.kwargs = {name: _plain(value) for name, value in spec.kwargs.items()}
    lengths = [length for length in (limit, family.horizon if family.horizon > 1 else None) if length is not None]
    spec.max_episode_steps = min(lengths, default=None)
    return spec


def _id(catalogue: Catalogue, item: Item) -> str:
    return f"taskgen/{catalogue.short_name(item).replace('/', '.')}-v0"


def _plain(value: Any) -> Any:
    if isinstance(value, TaskSpec):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value.value) if isinstance(value, gym.vector.AutoresetMode) else value

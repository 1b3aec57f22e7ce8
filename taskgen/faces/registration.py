"""Every task family under a Gymnasium id.

`gymnasium.make("taskgen/bandit-v0", task=...)` takes a `TaskSpec`, its JSON text or its dict, or no task but the
family's settings (`arms=10`), which stand for its default task. `gymnasium.make_vec("taskgen/bandit-v0", num_envs=8)`
takes the same, or `tasks=[...]`, one per slot.

Gymnasium 1.4 finds ids in one dictionary and has no hook for other packages, so ids have to be registered before they
are used. That happens when

- `taskgen` is imported and Gymnasium already is, as in `import gymnasium as gym; import taskgen`, where
  `gym.register_envs(taskgen)` only says that the import is meant; so also in `gym.make("taskgen:taskgen/bandit-v0")`;
- any public name of `taskgen` is used and Gymnasium is imported, whichever came first;
- `taskgen.register_envs()` is called, which only `import taskgen; import gymnasium` without either of these needs.
"""

import gymnasium as gym

import registry


def register_envs() -> None:
    """Register every family of the catalogue with Gymnasium. Families that already are registered stay as they are.

    The id is "taskgen/<family>-v0"; of two families with the same short name, "taskgen/<provider>.<family>-v0".
    """
    catalogue = registry.catalogue()
    for item in catalogue.items("families"):
        id_ = f"taskgen/{catalogue.short_name(item).replace('/', '.')}-v0"
        if id_ not in gym.registry:
            gym.register(  # pyright: ignore[reportUnknownMemberType]
                id_,
                entry_point="taskgen.faces.making:make_registered",
                vector_entry_point="taskgen.faces.making:make_registered_vec",
                kwargs={"family": item.full_name},
            )

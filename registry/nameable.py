"""What tasks name as "module:name" of a plugin's file, where the family `parallel` finds it; it takes no hook.

Whatever a task names is called, so that it has to look like what is meant: classes by their base, functions by what
they take or by what their annotation says they give. Libraries that nobody has imported are not imported for it.
"""

import inspect
import sys
from types import FunctionType

POLICY = ["observation", "agent", "rng"]
"""What a policy takes."""
_FUNCTION = "parallel_env"
"""What PettingZoo's modules call the function that makes their environment."""


def makes_company(found: object, name: str) -> bool:
    """Whether it is a `pettingzoo.ParallelEnv`, or a function, called `name`, that makes one."""
    if isinstance(found, type):
        core = getattr(sys.modules.get("pettingzoo.utils.env"), "ParallelEnv", None)
        return core is not None and found is not core and issubclass(found, core)
    return isinstance(found, FunctionType) and (name == _FUNCTION or "ParallelEnv" in _gives(found))


def is_policy(found: object) -> bool:
    """Whether it is a function of (observation, agent, rng)."""
    return _takes(found) == POLICY


def loads_agent(found: object) -> bool:
    """Whether it is a function that loads a trained agent, by its annotation."""
    return _takes(found) == [] and "LoadedAgent" in _gives(found)


def nameable(module: object) -> list[str]:
    """The names of such environments, policies and agents of a `module`, those that it has imported left out."""
    policies = [name for name, one in _own(module).items() if is_policy(one) or loads_agent(one)]
    return [*companies(module), *policies]


def companies(module: object) -> list[str]:
    """The names of the environments alone."""
    return [name for name, one in _own(module).items() if makes_company(one, name)]


def _own(module: object) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}  # type: ignore[attr-defined]


def _takes(found: object) -> list[str] | None:
    """The parameters of a function; None: it is none."""
    try:
        return list(inspect.signature(found).parameters) if callable(found) and not isinstance(found, type) else None
    except ValueError:
        return None


def _gives(found: object) -> str:
    return str(getattr(found, "__annotations__", {}).get("return"))

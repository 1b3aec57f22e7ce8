"""Which settings tell experiments apart: how they are called where their names are the same, and a table."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agents.training.records import shown

NOT_THEIRS = ("name", "seed", "device")
"""Settings that do not make another experiment."""
IN_LABEL = 3
"""More settings than these in a label nobody reads: then as few as tell all apart."""
_ABSENT = "-"


class Configured(Protocol):
    """Anything that has a configuration."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The experiment, as config.toml has it."""
        ...

    @property
    def agent(self) -> str:
        """Short name of the agent."""
        ...


def labelled(experiments: Sequence[Configured]) -> list[str]:
    """A label for each experiment: its name, with the settings in which it differs from others of that name.

    `rl2-bandit (agent.learning_rate=0.002)`. No two labels are equal where the configurations differ.
    """
    names = [str(experiment.config.get("name", experiment.agent)) for experiment in experiments]
    labels: list[str] = []
    for name, experiment in zip(names, experiments, strict=True):
        same = [other for other, called in zip(experiments, names, strict=True) if called == name]
        rows = _telling(differing([other.config for other in same]))
        mine = next(i for i, other in enumerate(same) if other is experiment)
        told = ", ".join(f"{key}={values[mine]}" for key, values in rows.items())
        labels.append(f"{name} ({told})" if told else name)
    return labels


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Settings by dotted name that are not the same in all `configs`, each with its value in every one of them.

    Name, seed and device do not count. The settings of a part (`agent.learning_rate`) are told where they differ
    between experiments with the same part.
    """
    flat = [_flat({key: value for key, value in config.items() if key not in NOT_THEIRS}) for config in configs]
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    rows = {key: [settings.get(key, _ABSENT) for settings in flat] for key in keys}
    rows = {key: values for key, values in rows.items() if len(set(values)) > 1}
    return {
        key: values for key, values in rows.items() if _compares(values, [rows[p] for p in _above(key) if p in rows])
    }


def _compares(values: Sequence[str], parts: Sequence[Sequence[str]]) -> bool:
    """Whether `values` differ between experiments whose `parts`, in which the setting lies, are the same."""
    within: dict[tuple[str, ...], set[str]] = {}
    for value, *of in zip(values, *parts, strict=True):
        within.setdefault(tuple(of), set()).add(value)
    return any(len(found) > 1 for found in within.values())


def _above(key: str) -> list[str]:
    """`a.b.c` lies in `a` and `a.b`."""
    parts = key.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Every setting by its dotted name; the name of a part stands for the part: `agent`, not `agent.name`."""
    if not isinstance(value, Mapping):
        return {path: shown(value)}
    found = {path: shown(value["name"]).removeprefix("builtin/")} if "name" in value else {}
    for key, inner in value.items():
        if key != "name":
            found |= _flat(inner, f"{path}.{key}" if path else str(key))
    return found


def _telling(rows: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """All of `rows` where they are few; else, in their order, those that tell apart what the ones before do not."""
    if len(rows) <= IN_LABEL:
        return dict(rows)
    chosen: dict[str, list[str]] = {}
    told = 1
    for key, values in rows.items():
        classes = len(set(zip(*chosen.values(), values, strict=True)))
        if classes > told:
            chosen[key], told = values, classes
    return chosen

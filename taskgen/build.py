"""From names and settings to families and sources: the task side's use of the catalogue."""

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import numpy as np

import registry
from registry.config import Part, apply_overrides, parse
from registry.errors import PluginError, TaskError, UserError
from taskgen.borders import refuse_incomplete, refuse_unfinished, remember
from taskgen.family import TaskFamily
from taskgen.hooks import watched
from taskgen.reward import complete_reward
from taskgen.source import TaskSource
from taskgen.spec import RewardSpec, TaskSpec
from taskgen.streams import seed_sequence

SOURCES = "generators|curricula"
"""Kinds of catalogue entry that are task sources, as a setting that names one says: `{"kind": SOURCES}`."""


SOURCE = ("feedback", "ask", "tell", "state_dict", "load_state_dict")
"""What every source has."""


def build_family(
    name: str, settings: Mapping[str, Any] | None = None, *, reward: Part | None = None
) -> TaskFamily[Any]:
    """The task family `name` with its structural `settings`, its tasks paid by `reward` where they name none.

    Raises `UserError` for unknown names or settings, and for a reward that does not fit the family.
    """
    item = registry.catalogue().get("families", name)
    family = item.build(settings or {}, name=item.full_name)
    if not isinstance(family, TaskFamily):
        raise PluginError(f"{item.full_name}: {item.entry.target} is not a TaskFamily")
    made = cast(TaskFamily[Any], family)
    remember(made, item)
    refuse_unfinished(made)
    watched(made)
    if reward is not None:
        made.reward = complete_reward(RewardSpec(reward.name, reward.settings), made)
    return made


def refuse_unpaid(family: TaskFamily[Any], example: TaskSpec, source: str) -> None:
    """Raise `TaskError` where `family` was given a reward and `example`, a task of `source`, has another."""
    if family.reward is None or example.reward == family.reward:
        return
    paid = "their family's own" if example.reward is None else example.reward.name
    raise TaskError(
        f"reward = {family.reward.name}: tasks of {source} name their rewards themselves ({paid}); leave `reward` out, "
        "or take a source that does not"
    )


def with_files(name: str, structure: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`structure`, settings of the family `name`, with the content of files named in `overrides`, by `family.KEY=FILE`.

    Only the command line names files: tasks and experiments are data and hold everything. A family that reads some has
    a class method `from_files` in its settings. Raises `TaskError` for a file that cannot be read.
    """
    try:
        read = getattr(registry.catalogue().get("families", name).config_class(), "from_files", None)
    except UserError:
        return dict(structure)  # an unknown family, of which is told with all other problems
    typed = apply_overrides({}, (override for override in overrides if override.startswith("family."))).get("family")
    if read is None or not typed:
        return dict(structure)
    return {**structure, **{key: value for key, value in read(typed).items() if value != typed.get(key)}}


def family_of(spec: TaskSpec) -> TaskFamily[Any]:
    """The family that `spec` belongs to, rebuilt from the spec alone. Raises `TaskError` when that cannot be done."""
    try:
        config = registry.catalogue().get("families", spec.family).config_class()
    except UserError as error:
        raise TaskError(f"task {spec.id}: {error}") from None
    settings = {name: spec.context[name] for name in config.model_fields if name in spec.context}
    try:
        return _family(spec.family, json.dumps(settings, sort_keys=True, default=dict))
    except UserError as error:
        raise TaskError(f"task {spec.id}: {error}") from None


class Families:
    """`family_of` for many tasks, where each family is looked up once."""

    def __init__(self) -> None:
        self._settings: dict[str, tuple[str, ...]] = {}
        self._known: dict[tuple[str, ...], TaskFamily[Any]] = {}

    def of(self, spec: TaskSpec) -> TaskFamily[Any]:
        """The family that `spec` belongs to. Raises as `family_of` does."""
        context, named = spec.context, self._settings.get(spec.family, ())
        key = (spec.family, *[f"{name}={context[name]!r}" for name in named if name in context])
        if (family := self._known.get(key)) is None:
            family = family_of(spec)
            if named:
                self._known[key] = family
            self._settings[spec.family] = tuple(family.structure)
        return family


def task_key(spec: TaskSpec) -> str:
    """Equal for tasks that are the same: those of equal family, context and reward, whatever their luck.

    The seed counts only where the family draws the dynamics from it (`TaskFamily.drawn_from_seed`). A task of seed 0
    has its id as key. Raises `TaskError` for a family that is not in the catalogue.
    """
    return spec.id if _seed_counts(spec) else spec.seedless


def task_hash(spec: TaskSpec) -> int:
    """Equal for tasks of equal `task_key`, and for few others, at a fifth of its cost or less.

    Holds within one process: texts hash to other numbers in the next.
    """
    seed = spec.seed if _seed_counts(spec) else 0
    try:
        return hash((spec.family, seed, frozenset(spec.context.items())))
    except TypeError:  # a mapping inside of the context has no hash
        return hash((spec.family, seed, json.dumps(dict(spec.context), sort_keys=True, default=dict)))


def _seed_counts(spec: TaskSpec) -> bool:
    try:
        return _drawn_from_seed(spec.family)(spec.context)
    except UserError as error:
        raise TaskError(f"task {spec.id}: {error}") from None


@lru_cache(maxsize=256)
def _drawn_from_seed(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """`TaskFamily.drawn_from_seed` of the family `name`, looked up once: there may be a million tasks."""
    family = registry.catalogue().get("families", name).load()
    if not (isinstance(family, type) and issubclass(family, TaskFamily)):
        raise PluginError(f"family {name}: {family!r} is not a subclass of TaskFamily")
    return family.drawn_from_seed


@lru_cache(maxsize=256)
def _family(name: str, settings: str) -> TaskFamily[Any]:
    return build_family(name, json.loads(settings))


def build_source(
    part: Part | str | Mapping[str, Any], family: TaskFamily[Any], seed: np.random.SeedSequence | int
) -> TaskSource:
    """The generator or curriculum `part` over `family`: its name, or a mapping of "name" and settings.

    An integer `seed` gives the tasks that `taskgen generate --seed` gives. Raises `UserError` for unknown names and
    settings, and `PluginError` for what is no source.
    """
    if not isinstance(part, Part):
        part = parse(Part, {"name": part} if isinstance(part, str) else part, "source")
    if not isinstance(seed, np.random.SeedSequence):
        seed = seed_sequence(operator.index(seed), "tasks")
    item = registry.catalogue().get(SOURCES, part.name)
    source = item.build(part.settings, family=family, seed=seed)
    refuse_incomplete(source, SOURCE, contract="taskgen.source.TaskSource", name=item.full_name)
    remember(source, item)
    return watched(cast(TaskSource, source))

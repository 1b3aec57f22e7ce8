"""Held-out tasks: those that a run is judged on, and the refusal to train on them.

Tasks are the same where family, context and reward are; the seed counts where the dynamics are drawn from it
(`taskgen.build.task_key`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import registry
from agents.training.records import ARCHIVE, archive_of
from registry.config import Part
from registry.errors import UserError, brief
from taskgen.build import SOURCES, build_source, family_of, task_hash, task_key
from taskgen.family import TaskFamily
from taskgen.source import TaskSource, side_of
from taskgen.spec import TaskSpec
from taskgen.split import Split

SAME_TASKS = "same tasks, new luck"
"""What is said of a run that is judged on its training tasks."""


class HeldOut:
    """The tasks that a run is judged on, as `draw` gives them when they are first needed.

    With `same_tasks` it may be trained on them.
    """

    def __init__(self, draw: Callable[[], list[TaskSpec]], *, same_tasks: bool) -> None:
        self._draw, self._same_tasks = draw, same_tasks

    @cached_property
    def specs(self) -> list[TaskSpec]:
        """All of them."""
        return self._draw()

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(map(task_key, self.specs))

    @cached_property
    def _hashes(self) -> frozenset[int]:
        return frozenset(map(task_hash, self.specs))

    def holds(self, spec: TaskSpec) -> bool:
        """Whether `spec` is one of them that may not be trained on."""
        return not self._same_tasks and task_hash(spec) in self._hashes and task_key(spec) in self._keys

    def refuse(self, specs: Sequence[TaskSpec]) -> None:
        """Raise `UserError`, with what to do, where the run is about to be trained on a task that it is judged on."""
        for spec in specs:
            if self.holds(spec):
                raise UserError(
                    f"source and held-out set both hold task {spec.id} ({_told(spec)}, whatever the luck), so the "
                    "evaluation would be on training tasks. Give `evaluation.source` a source of other tasks (`taskgen "
                    f"split` makes disjoint sets); {_sides(spec)}or set evaluation.same_tasks=true, to be judged on "
                    "training tasks and have the report say so"
                )


def _told(spec: TaskSpec) -> str:
    reward = "" if spec.reward is None else f", paid by {spec.reward.name}"
    return f"{spec.family} with {brief(dict(spec.context))}{reward}"


def _sides(spec: TaskSpec) -> str:
    if family_of(spec).split is None:
        return ""
    return 'train on one side of the family\'s split with source={name="domain-randomization", split="train"}; '


def source_apart(
    part: Part, family: TaskFamily[Any], seed: np.random.SeedSequence, *, apart: bool
) -> tuple[Part, TaskSource]:
    """The source that `part` names, without what decides by results (the source that a curriculum wraps), and its part.

    With `apart`, a source that keeps to the training side of the family's split draws the test side instead.
    """
    source = build_source(part, family, seed)
    while source.feedback and "source" in part.settings:
        part = Part.model_validate(part.settings["source"])
        source = build_source(part, family, seed)
    if not apart or family.split is None or side_of(source) != "train":
        return part, source
    other = Part.model_validate(_on_test_side({"name": part.name, **part.settings}, family.split))
    moved = build_source(other, family, seed)
    return (other, moved) if side_of(moved) == "test" else (part, source)


def _on_test_side(value: Any, split: Split) -> Any:
    """Settings, at any depth, in which sources that draw the training side draw the test side."""
    if isinstance(value, Mapping):
        changed = {name: _on_test_side(item, split) for name, item in value.items()}
        decided = any(split.knob in changed.get(name, ()) for name in ("vary", "fixed"))
        if _draws_sides(changed) and not decided and changed.get("split", "own") in ("own", "train"):
            changed["split"] = "test"
        return changed
    return [_on_test_side(item, split) for item in value] if isinstance(value, (list, tuple)) else value


def _draws_sides(part: Mapping[str, Any]) -> bool:
    """Whether these are name and settings of a source that can be told which side to draw."""
    found = registry.catalogue().find(SOURCES, str(part.get("name")))
    return len(found) == 1 and "split" in found[0].config_class().model_fields


def trained_on(run: Path) -> frozenset[str]:
    """Keys of tasks that the run at `run` was trained on, as far as the sample in its archive tells; none without."""
    if not (run / ARCHIVE).is_file():
        return frozenset()
    with archive_of(run) as opened:
        return frozenset(task_key(record.spec) for record in opened.records(split="train"))

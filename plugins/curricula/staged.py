"""Stages: a source made harder step by step, by longer trials, longer episodes or other settings of the source.

    [source]
    name = "staged"
    source = "domain-randomization"
    stages = [
        { episodes = 10, iterations = 250 },
        { episodes = 20, threshold = 0.65, window = 20, iterations = 500 },
        { episodes = 100 },
    ]

A stage is left when its rule on results holds, or after so many iterations; the last one lasts.

Reference: Bengio et al. 2009, "Curriculum learning", section 4, for the idea of stages.
"""

import json
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from pydantic import Field, JsonValue

import registry
from registry.config import Config, Part
from registry.errors import CheckpointError, ConfigError
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.source import Length, TaskResult
from taskgen.spec import TaskSpec

_EXAMPLE = "stages=[{episodes=10, iterations=200}, {episodes=20}]"


class Stage(Config):
    """What is different in one stage, and when it is over."""

    episodes: int | None = Field(None, ge=1, description="Episodes of a trial; left out: as many as in training.")
    horizon: int | None = Field(None, ge=1, description="Steps after which an episode is cut; left out: the family's.")
    source: dict[str, JsonValue] = Field(
        default={},
        description="Settings of the inner source that are different (`{vary={mass={high=2.0}}}`); with another "
        "`name`, another source.",
    )
    iterations: int | None = Field(None, ge=1, description="The stage is over after so many iterations.")
    threshold: float | None = Field(
        None,
        description="The stage is over when the returns of the window's episodes reach this in the mean, in what tasks "
        "pay.",
    )
    share: float | None = Field(
        None, gt=0, le=1, description="Not the mean: so large a share of these episodes is to reach the threshold."
    )
    window: int = Field(10, ge=1, description="Iterations whose returns are looked at.")
    judged: Literal["all", "last"] = Field("all", description="Episodes of a trial that are looked at.")


class StagedConfig(Config):
    """Settings of `Staged`."""

    source: Part = Field(
        Part(name="domain-randomization"),
        description="Where tasks come from; with it as it stands the agent is judged.",
        json_schema_extra={"kind": SOURCES},
    )
    stages: tuple[Stage, ...] = Field((), description="The stages in order; at least two.")


class Staged(Wrapper):
    """A `Curriculum`. Stages that ask the same of the source share it, with its state; others have one each."""

    def __init__(self, config: StagedConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        _check(config.stages)
        self._stages = config.stages
        parts = [_changed(config.source, stage.source) for stage in config.stages]
        texts = [json.dumps([part.name, part.settings], sort_keys=True) for part in parts]
        self._names = [f"stage-{texts.index(text) + 1}" for text in texts]
        super().__init__(dict(zip(self._names, parts, strict=True)), family=family, seed=seed)
        own = [Length(stage.episodes, stage.horizon) for stage in config.stages]
        self._own = own if any(length != Length() for length in own) else None
        if self._own is not None and super().lengths:
            raise ConfigError(["both the stages and a source inside them decide how long trials are"], "staged")
        self._stage = 0
        self._iterations = 0
        self._window: deque[tuple[float, int]] = deque()
        """Of the last iterations: sum of what is looked at, number of episodes."""

    @property
    def length(self) -> Length:
        """Of the present stage."""
        return super().length if self._own is None else self._own[self._stage]

    @property
    def lengths(self) -> Collection[Length]:
        """Of all stages."""
        return super().lengths if self._own is None else self._own

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks of the present stage."""
        return self._give(self._names[self._stage], n)

    def tell(self, results: Sequence[TaskResult]) -> None:
        """An iteration of the present stage is over; perhaps the stage is."""
        super().tell(results)
        stage = self._stages[self._stage]
        self._iterations += 1
        self._window.append(_seen(stage, results))
        while len(self._window) > stage.window:
            self._window.popleft()
        if self._is_over(stage):
            self._stage, self._iterations = self._stage + 1, 0
            self._window.clear()

    def metrics(self) -> dict[str, float]:
        """The stage, from 1, and what its rule looks at."""
        average = self._average()
        rule = {} if average is None else {"tasks/stage_progress": average}
        return {**super().metrics(), "tasks/stage": self._stage + 1.0, **rule}

    def state_dict(self) -> dict[str, Any]:
        """The stage and its window, beside the sources."""
        own = {"stage": self._stage, "iterations": self._iterations, "window": [list(row) for row in self._window]}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for a stage that there is not."""
        stage = state.get("stage")
        if not isinstance(stage, int) or not 0 <= stage < len(self._stages):
            raise CheckpointError(f"state of staged: stage = {stage!r}, expected 0 to {len(self._stages) - 1}")
        super().load_state_dict(state)
        self._stage, self._iterations = stage, int(state["iterations"])
        self._window = deque((float(total), int(count)) for total, count in state["window"])

    def _average(self) -> float | None:
        """Mean return, or share of successes, over the window; None while it is not full or without a rule."""
        stage, count = self._stages[self._stage], sum(count for _, count in self._window)
        if stage.threshold is None or len(self._window) < stage.window or not count:
            return None
        return sum(total for total, _ in self._window) / count

    def _is_over(self, stage: Stage) -> bool:
        if self._stage + 1 == len(self._stages):
            return False
        if stage.iterations is not None and self._iterations >= stage.iterations:
            return True
        average, goal = self._average(), stage.threshold if stage.share is None else stage.share
        return average is not None and goal is not None and average >= goal


def _seen(stage: Stage, results: Sequence[TaskResult]) -> tuple[float, int]:
    """Sum and number of what the rule of `stage` looks at."""
    if stage.threshold is None:
        return 0.0, 0
    returns = [
        value for result in results for value in (result.returns[-1:] if stage.judged == "last" else result.returns)
    ]
    if stage.share is not None:
        return float(sum(value >= stage.threshold for value in returns)), len(returns)
    return float(sum(returns)), len(returns)


def _check(stages: Sequence[Stage]) -> None:
    """Raise `ConfigError` with every stage that cannot be left, or whose rule says nothing."""
    problems = [] if len(stages) > 1 else [f"stages: {len(stages)} given, at least two are needed, as in {_EXAMPLE}"]
    for number, stage in enumerate(stages):
        place, last = f"stages[{number}]", number + 1 == len(stages)
        if stage.share is not None and stage.threshold is None:
            problems.append(f"{place}.share = {stage.share:g}: say with `threshold` which return is a success")
        elif not last and stage.iterations is None and stage.threshold is None:
            problems.append(f"{place} would never end: give it `iterations` or a `threshold`")
        elif last and (stage.iterations is not None or stage.threshold is not None):
            problems.append(f"{place} is the last: leave out its `iterations` and `threshold`")
    if problems:
        raise ConfigError(problems, "staged")


def _changed(source: Part, changes: Mapping[str, JsonValue]) -> Part:
    """`source` with the settings of a stage."""
    plain = source.model_dump(mode="json")
    catalogue = registry.catalogue()
    name = changes.get("name")
    if isinstance(name, str) and catalogue.get(SOURCES, name) != catalogue.get(SOURCES, source.name):
        plain = {}
    merged = _merged(plain, changes)
    return Part.model_validate({**merged, "name": catalogue.get(SOURCES, str(merged["name"])).full_name})


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, tables inside tables included."""
    merged = dict(base)
    for key, value in changes.items():
        inside = merged.get(key)
        both = isinstance(inside, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(cast("Mapping[str, Any]", inside), value) if both else value
    return merged

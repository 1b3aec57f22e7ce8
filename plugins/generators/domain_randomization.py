"""Domain randomisation: every varied knob is drawn independently from its own distribution, task by task."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from registry.config import Config, parse
from registry.errors import CheckpointError, ConfigError, TaskError, suggest
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.space import Knob
from taskgen.spec import TaskSpec, freeze
from taskgen.split import Side, common_side
from taskgen.streams import child
from taskgen.variation import Change, Choice, Variation, VariationOrChange, reach_problem

_UNIFORMS = 1 << 16  # drawn at once, at most
_ROWS = 256  # tasks drawn at once, at most
_EXAMPLE = '{kind = "uniform", low = 0.0, high = 1.0}'
_ATTEMPTS = 10_000  # rejected contexts in a row before giving up


class DomainRandomizationConfig(Config):
    """Settings of `DomainRandomization`."""

    vary: dict[str, VariationOrChange] = Field(
        default={},
        description="Distribution of a knob, or a change of its own one (`vary.mass.high=2`); other knobs keep theirs.",
    )
    fixed: dict[str, JsonValue] = Field(default={}, description="Value of a knob that is the same in every task.")
    split: Literal["own", "train", "test", "all"] = Field(
        "own",
        description="Side of the family's split, where it has one: its training tasks, its test tasks, or all; own: as "
        "the family varies by itself.",
    )
    task_seed: int | None = Field(
        default=None, ge=0, lt=2**53, description="Seed of all tasks; when it is left out, each has a fresh one."
    )


class DomainRandomization:
    """A `TaskSource` over any family's context space.

    Each knob, and the task seed, has a stream of uniforms of its own, so that varying one more knob moves no other.
    Candidate i is a function of the streams at position i; the state is the number of candidates drawn so far.
    Contexts that `family.validate` rejects are passed over. Raises `ConfigError` for distributions that leave a knob's
    range, and for a side of a split that the family does not have.
    """

    feedback = False

    def __init__(
        self, config: DomainRandomizationConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        self._family = family
        self._seed = seed
        self._task_seed = config.task_seed
        self._varied = _variations(config, family)
        base = {**family.structure, **family.context_space.complete(config.fixed)}
        self._base = {name: freeze(value, name) for name, value in base.items()}
        self._validates = type(family).validate is not TaskFamily.validate
        self.side = _side(family, self._varied, self._base)
        """The side of the family's split that all tasks are on; None: both, or there is no split."""
        numbers = sum(_uniforms(family.context_space.knobs[name], value) for name, value in self._varied.items())
        self._rows = max(1, min(_ROWS, _UNIFORMS // max(1, numbers)))
        self._position = 0
        self._block = -1
        self._drawn: list[TaskSpec] = []

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` valid tasks. Raises `TaskError` when the family rejects contexts without end."""
        specs: list[TaskSpec] = []
        rejected = 0
        while len(specs) < n:
            candidates = self._next(n - len(specs))
            if not self._validates:
                specs += candidates
                continue
            for candidate in candidates:
                problem = self._problem(candidate)
                if problem is None:
                    specs.append(candidate)
                    rejected = 0
                elif (rejected := rejected + 1) == _ATTEMPTS:
                    raise TaskError(
                        f"{_ATTEMPTS} contexts in a row were invalid; narrow the variations. Last: {problem}"
                    )
        return specs

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Ignored: the distribution is fixed."""

    def state_dict(self) -> dict[str, Any]:
        """The number of candidates drawn so far."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise CheckpointError(f"state of domain-randomization: position = {position!r}, expected an integer >= 0")
        self._position = position

    def _next(self, count: int) -> list[TaskSpec]:
        """At least one and at most `count` candidates."""
        block, offset = divmod(self._position, self._rows)
        if block != self._block:
            self._block, self._drawn = block, self._draw(block * self._rows)
        candidates = self._drawn[offset : offset + count]
        self._position += len(candidates)
        return candidates

    def _draw(self, first: int) -> list[TaskSpec]:
        """Candidates `first` to `first + rows`, as `family.spec` would make them."""
        rows = self._rows
        knobs = self._family.context_space.knobs
        columns = [self._column(name, knobs[name], variation, first) for name, variation in self._varied.items()]
        contexts = zip(*columns, strict=True) if columns else iter([()] * rows)
        seeds = self._seeds(first) if self._task_seed is None else [self._task_seed] * rows
        names, base, family, reward = tuple(self._varied), self._base, self._family.name, self._family.reward
        return [
            TaskSpec(family, MappingProxyType({**base, **dict(zip(names, values, strict=True))}), reward, seed)
            for values, seed in zip(contexts, seeds, strict=True)
        ]

    def _column(self, name: str, knob: Knob, variation: Variation, first: int) -> list[Any]:
        u = self._random(("knob", name), first, (*knob.shape, variation.uniforms))
        values = np.clip(variation.quantile(u, knob.default), knob.low, knob.high) + 0.0  # no -0.0
        return _frozen((values.astype(np.int64) if knob.integer else values).tolist(), len(knob.shape))

    def _seeds(self, first: int) -> list[int]:
        return (self._random(("seed",), first, ()) * 2.0**53).astype(np.int64).tolist()  # exact: random() has 53 bits

    def _random(self, names: tuple[str, ...], first: int, shape: tuple[int, ...]) -> np.ndarray:
        """Uniforms [rows, *shape] of the stream `names` from candidate `first` on."""
        bits = np.random.PCG64(child(self._seed, *names))
        return np.random.Generator(bits.advance(first * int(np.prod(shape)))).random((self._rows, *shape))

    def _problem(self, spec: TaskSpec) -> TaskError | None:
        try:
            self._family.validate(spec.context)
        except TaskError as error:
            return error
        return None


def _variations(config: DomainRandomizationConfig, family: TaskFamily[Any]) -> dict[str, Variation]:
    """The variation of every varied knob, in the family's order. Raises `ConfigError` with every problem."""
    knobs = family.context_space.knobs
    where = f"domain-randomization over {family.name}"
    problems = [_misplaced(name, family) for name in (*config.vary, *config.fixed) if name not in knobs]
    problems += [f"{name} is both varied and fixed" for name in config.vary if name in config.fixed]
    problems += _split_problems(config, family)
    if problems:
        raise ConfigError(problems, where)
    own = {name: knob.vary for name, knob in knobs.items()}
    if family.split is not None and config.split != "own":
        own[family.split.knob] = Choice(values=tuple(map(float, family.split.values(config.split))))
    given = {
        name: config.vary.get(name, own[name])
        for name in knobs
        if name not in config.fixed and (name in config.vary or own[name] is not None)
    }
    plain = {
        name: value.apply(knobs[name].vary) if isinstance(value, Change) else value.model_dump()
        for name, value in given.items()
        if value is not None
    }
    kindless = (name for name, value in plain.items() if isinstance(value, dict) and "kind" not in value)
    if problems := [
        f"{name} has no variation of its own to change: give it a kind, as in {_EXAMPLE}" for name in kindless
    ]:
        raise ConfigError(problems, where)
    variations = parse(_Variations, {"vary": plain}, where).vary
    reaches = (
        reach_problem(
            name, value, knobs[name].default, (knobs[name].low, knobs[name].high), integer=knobs[name].integer
        )
        for name, value in variations.items()
    )
    if problems := [problem for problem in reaches if problem is not None]:
        raise ConfigError(problems, where)
    return variations


def _split_problems(config: DomainRandomizationConfig, family: TaskFamily[Any]) -> list[str]:
    if config.split == "own":
        return []
    if family.split is None:
        return [f"split = {config.split}: {family.name} sets no tasks apart for testing; leave it out"]
    knob = family.split.knob
    twice = [where for where, given in (("vary", config.vary), ("fixed", config.fixed)) if knob in given]
    return [f"split = {config.split} decides {knob}, and so does {where}.{knob}: give one of them" for where in twice]


def _side(family: TaskFamily[Any], varied: Mapping[str, Variation], base: Mapping[str, Any]) -> Side | None:
    """The side that every value of the split's knob is on; of a distribution other than a choice, all it reaches."""
    if family.split is None:
        return None
    knob, variation = family.split.knob, varied.get(family.split.knob)
    if variation is None:
        values: Iterable[float] = (base[knob],)
    elif isinstance(variation, Choice):
        values = variation.values
    else:
        low, high = variation.support(family.context_space.knobs[knob].default)
        values = range(round(low), round(high) + 1)
    return common_side(family.split.side({knob: int(value)}) for value in values)


class _Variations(Config):
    vary: dict[str, Variation] = Field(default={}, description="Variation of each varied knob.")


def _misplaced(name: str, family: TaskFamily[Any]) -> str:
    if name in family.structure:
        return f"{name} is a structural setting, the same in all tasks of a family: set it with family.{name}=..."
    return f"unknown context knob {name!r} of family {family.name}. {suggest(name, family.context_space.knobs)}"


def _uniforms(knob: Knob, variation: Variation) -> int:
    return int(np.prod(knob.shape)) * variation.uniforms


def _frozen(values: list[Any], depth: int) -> list[Any]:
    """Lists below the first level as tuples."""
    if depth == 0:
        return values
    return [tuple(row) for row in values] if depth == 1 else [tuple(_frozen(row, depth - 1)) for row in values]

"""Conformance kits for whoever writes families, sources, environments or rewards. Each raises `AssertionError`.

from taskgen.testing import check_family, check_source

def test_family():
    check_family(MyFamily(MyConfig(), name="mine/my-family"))

def test_source():
    check_source(lambda: MySource(MyConfig(), family=family, seed=np.random.SeedSequence(0)), family)

def test_environment():
    check_environment("my_package:MyEnv", length=3.0)

def test_reward():
    check_reward(family, [RewardSpec("my-reward", {"target": target}) for target in (0.0, 0.5, 1.0)])
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np

from registry.errors import TaskError
from taskgen.engines.gym_testing import check_environment
from taskgen.engines.reward_testing import check_reward
from taskgen.engines.testing import check_batch, rollout, sample_actions
from taskgen.engines.toys import toy_families
from taskgen.family import Animated, Contextual, Describable, GoalDirected, Measured, Mutable, TaskFamily, mutated
from taskgen.source import Curriculum, TaskResult, TaskSource
from taskgen.space import Knob
from taskgen.spaces import space_problem
from taskgen.spec import JsonValue, TaskSpec
from taskgen.split import Side, Split
from taskgen.variation import reach_problem

__all__ = ["check_batch", "check_environment", "check_family", "check_reward", "check_source", "toy_families"]

_PROBES = 16  # slots in which a knob may show its effect
_PROBED_STEPS = 32  # steps, at least, in which it may
_VALUES = 17  # values of a knob that are tried
_SEED_STEPS = 128  # in which it may
_SEEDED = 2  # contexts beside the default in which the seed may count
_MUTATIONS = 8  # one after another
_Pair: TypeAlias = tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]


def check_family(family: TaskFamily[Any]) -> None:
    """Check a family: spaces, specs, context space, no dead knobs, rendering, and its batch with `check_batch`."""
    for kind, space in (("observation", family.observation_space), ("action", family.action_space)):
        problem = space_problem(space, acted=kind == "action")
        assert problem is None, f"{kind} space {space}: {problem}"
    spec = family.spec(seed=7)
    _check_specs(family, spec)
    for name, knob in family.context_space.knobs.items():
        _check_knob(family, name, knob)
    check_batch(family, [family.spec(seed=seed) for seed in (1, 2, 3)])
    _check_seed(family)
    picture = family.render(spec)
    if isinstance(picture, str):
        assert picture.strip(), "render gave an empty text"
    else:
        _check_picture(picture, "render")
    if isinstance(family, Animated):
        batch = family.batch(1)
        batch.set_tasks([spec])
        batch.reset()
        _check_picture(family.frame(spec, cast(Any, batch).state(0)), "frame")
    if isinstance(family, Mutable):
        _check_mutable(family, spec)
    if family.split is not None:
        _check_split(family, family.split)
    if isinstance(family, Describable):
        _check_describable(family, spec)
    if isinstance(family, Measured):
        _check_measured(family, spec)
    if isinstance(family, GoalDirected):
        _check_goal(family, spec)
    if isinstance(family, Contextual):
        _check_cue(family)


def _check_seed(family: TaskFamily[Any]) -> None:
    """Under equal noise seeds and actions, rollouts of two seeds are equal if the dynamics are not drawn from them."""
    rng = np.random.Generator(np.random.PCG64(0))
    contexts = [family.spec().context, *(family.spec(_somewhere(family, rng)).context for _ in range(_SEEDED))]
    actions = sample_actions(family, min(_SEED_STEPS, family.horizon), len(contexts))
    first, second = (
        rollout(family, [family.spec(context, seed=seed) for context in contexts], actions, seeds=[5] * len(contexts))
        for seed in (1, 2)
    )
    drawn = [type(family).drawn_from_seed(context) for context in contexts]
    same = [
        all(bool((one[slot] == other[slot]).all()) for one, other in zip(first, second, strict=True))
        for slot in range(len(contexts))
    ]
    for slot, context in enumerate(contexts):
        odd = f"another seed gave another rollout, but drawn_from_seed is false of {dict(context)}"
        assert same[slot] or drawn[slot], odd
    seen = [equal for equal, counts in zip(same, drawn, strict=True) if counts]
    assert not seen or not all(seen), "drawn_from_seed is true, but two seeds gave equal rollouts of every task tried"


def _check_split(family: TaskFamily[Any], split: Split) -> None:
    """Both sides hold valid tasks, none of them common; mutation can stay on a side that has several."""
    assert split.train, "no task is for training"
    assert split.test, "no task is for testing"
    assert not split.train & split.test, f"{sorted(split.train & split.test)} are on both sides"
    rng = np.random.Generator(np.random.PCG64(1))
    sides: tuple[tuple[Side, frozenset[int]], ...] = (("train", split.train), ("test", split.test))
    for side, values in sides:
        contexts = [family.spec({split.knob: value}).context for value in sorted(values)]
        assert {split.side(context) for context in contexts} == {side}
        for context in contexts if isinstance(family, Mutable) and len(values) > 1 else ():
            assert split.side(family.spec(mutated(family, context, rng, side)).context) == side


def _check_picture(picture: np.ndarray, what: str) -> None:
    shown = f"{what} gave {picture.shape} {picture.dtype}"
    assert picture.dtype == np.uint8, f"{shown}, expected uint8"
    assert picture.ndim == 3, f"{shown}, expected [height, width, 3]"
    assert picture.shape[2] == 3, f"{shown}, expected [height, width, 3]"


def _check_mutable(family: TaskFamily[Any], spec: TaskSpec) -> None:
    """A chain of valid tasks, some of them new, the same from the same generator."""
    assert isinstance(family, Mutable)
    chains: list[list[str]] = []
    for _ in range(2):
        rng = np.random.Generator(np.random.PCG64(1))
        context, ids = dict(spec.context), [spec.id]
        for _ in range(_MUTATIONS):
            before = family.spec(context, seed=spec.seed)
            mutant = family.mutate(context, rng)
            assert family.spec(context, seed=spec.seed) == before, "mutate changed the context it was given"
            child = family.spec(mutant, seed=spec.seed)
            context = dict(child.context)
            ids.append(child.id)
        chains.append(ids)
    assert chains[0] == chains[1], "mutate gave other contexts from the same generator"
    assert len(set(chains[0])) > 1, f"{_MUTATIONS} mutations in a row changed nothing"


def _check_describable(family: TaskFamily[Any], spec: TaskSpec) -> None:
    assert isinstance(family, Describable)
    features = family.descriptor(spec.context)
    assert features.ndim == 1, f"descriptor gave {features.shape}, expected [D]"
    assert features.dtype == np.float64, f"descriptor gave {features.dtype}, expected float64"
    assert np.isfinite(features).all(), f"descriptor gave {features}"


def _check_measured(family: TaskFamily[Any], spec: TaskSpec) -> None:
    assert isinstance(family, Measured)
    for name, (low, high) in family.measures.items():
        assert -math.inf < low < high < math.inf, f"measures: {name} goes from {low} to {high}"
    figures = family.measure(spec.context)
    assert figures.shape == (len(family.measures),), f"measure gave {figures.shape}, of {len(family.measures)} measures"
    assert figures.dtype == np.float64, f"measure gave {figures.dtype}, expected float64"
    assert np.isfinite(figures).all(), f"measure gave {figures}"


def check_source(make_source: Callable[[], TaskSource], family: TaskFamily[Any]) -> None:
    """Check a source that `make_source` builds anew, always from the same seed.

    Exactly n valid tasks; tasks that do not depend on how many are asked for at once; a state that survives JSON and
    resumes identically, also after results; empty and partial results accepted. Of a curriculum besides: a verdict on
    every task, finite metrics called "tasks/...", highlights that are tasks of the family.
    """
    source = make_source()
    assert isinstance(source, TaskSource), "a source has feedback, ask, tell, state_dict and load_state_dict"
    assert isinstance(source.feedback, bool), "feedback is not a bool"
    assert source.ask(0) == [], "ask(0) gave tasks"
    four = source.ask(4)
    assert len(four) == 4, f"ask(4) gave {len(four)} tasks"
    for spec in four:
        family.check(spec)
    for split in ((1, 1, 1, 1), (2, 2), (1, 3)):
        other = make_source()
        again = [spec.id for n in split for spec in other.ask(n)]
        assert again == [spec.id for spec in four], f"asking for {split} gave other tasks than ask(4)"
    _check_resume(make_source)
    if isinstance(source, Curriculum):
        _check_curriculum(source, four)


def _check_resume(make_source: Callable[[], TaskSource]) -> None:
    source = make_source()
    asked = source.ask(5)
    source.tell([])
    source.tell(_results(source, asked[:3]))
    state = json.loads(json.dumps(source.state_dict(), allow_nan=False))
    resumed = make_source()
    resumed.load_state_dict(state)
    expected = [spec.id for spec in source.ask(6)]
    assert [spec.id for spec in resumed.ask(6)] == expected, "a source resumed from its state gave other tasks"
    if not source.feedback:
        silent = make_source()
        silent.ask(5)
        assert [spec.id for spec in silent.ask(6)] == expected, "results changed a source with feedback = False"


def _check_curriculum(source: Curriculum, asked: Sequence[TaskSpec]) -> None:
    """Verdicts, metrics and highlights, before any result and after some."""
    for _ in range(2):
        verdicts = source.learns_from(asked)
        assert len(verdicts) == len(asked), f"learns_from gave {len(verdicts)} verdicts on {len(asked)} tasks"
        assert all(isinstance(verdict, bool) for verdict in verdicts), f"learns_from gave {verdicts}, expected bools"  # pyright: ignore[reportUnnecessaryIsInstance]
        for name, value in source.metrics().items():
            assert name.startswith("tasks/"), f'metric {name}: names begin with "tasks/"'
            assert math.isfinite(value), f"metric {name} = {value}"
        for title, specs in source.highlights().items():
            assert title.strip(), "a highlight has no title"
            assert len({spec.id for spec in specs}) == len(specs), f"highlight {title!r} shows a task twice"
        source.tell(_results(source, asked))


def _results(source: TaskSource, specs: Sequence[TaskSpec]) -> list[TaskResult]:
    """Made-up results, with the scores that a curriculum asks for."""
    scores = dict.fromkeys(source.scores, 0.25) if isinstance(source, Curriculum) else {}
    return [TaskResult(spec, (0.5, 1.0), scores) for spec in specs]


def _check_specs(family: TaskFamily[Any], spec: TaskSpec) -> None:
    expected = {*family.structure, *family.context_space.knobs}
    assert set(spec.context) == expected, f"the context holds {sorted(spec.context)}, expected {sorted(expected)}"
    shared = set(family.structure) & set(family.context_space.knobs)
    assert not shared, f"{sorted(shared)} are both settings and knobs"
    assert family.spec(seed=7).id == spec.id, "the same task has two ids"
    assert family.spec(spec.context, seed=7).id == spec.id, "stating the defaults changed the id"
    assert family.spec(seed=8).id != spec.id, "another seed has the same id"
    again = TaskSpec.from_json(spec.to_json())
    assert again == spec, "the task is not the same after JSON"
    family.check(again)
    rebuilt = type(family)(family.config.model_validate(family.structure), name=family.name)
    assert rebuilt.spec(seed=7).id == spec.id, "a family rebuilt from the context gives another task"
    _refused(lambda: family.spec({"no-such-knob": 1.0}), "an unknown knob was accepted", "no-such-knob")
    _refused(lambda: family.check(replace(spec, family="nobody/nothing")), "a task of another family was accepted")
    incomplete = replace(spec, context=dict(list(spec.context.items())[1:]))
    _refused(lambda: family.check(incomplete), "an incomplete context was accepted")


def _check_cue(family: Contextual) -> None:
    """The cue: different entries of the flattened observation, or none."""
    size = gym.spaces.flatdim(cast("TaskFamily[Any]", family).observation_space)
    assert len(set(family.cue)) == len(family.cue), f"cue: an entry comes twice in {family.cue}"
    for entry in family.cue:
        assert 0 <= entry < size, f"cue: the observation has {size} entries, none with number {entry}"


def _check_goal(family: GoalDirected, spec: TaskSpec) -> None:
    """The goal of the default task, where the settings leave it one: entries of the observation, a place among them."""
    try:
        goal = family.goal(spec.context)
    except TaskError:
        return
    space = cast("TaskFamily[Any]", family).observation_space
    assert isinstance(space, gym.spaces.Box), f"a goal among observations of {space}, expected a Box"
    box = cast(Any, space)
    low, high = (np.asarray(end, dtype=np.float64).ravel() for end in (box.low, box.high))
    assert len(goal.place) == len(goal.features), f"goal: {len(goal.place)} numbers for {len(goal.features)} entries"
    assert len(set(goal.features)) == len(goal.features), f"goal: an entry comes twice in {goal.features}"
    for entry, number in zip(goal.features, goal.place, strict=True):
        assert 0 <= entry < len(low), f"goal: the observation has no entry {entry}"
        assert low[entry] <= number <= high[entry], f"goal: {number} is out of the observation's entry {entry}"


def _check_knob(family: TaskFamily[Any], name: str, knob: Knob) -> None:
    """Bounds refused with the range, a fitting variation, a line of help, and an effect."""
    assert knob.help.strip(), f"knob {name} has no help"
    limits = f"{knob.low:g}", f"{knob.high:g}"
    step = 1.0 if knob.integer else 0.0
    for outside in (math.nextafter(knob.low, -math.inf) - step, math.nextafter(knob.high, math.inf) + step):
        value = int(outside) if knob.integer else outside
        _refused(
            lambda value=value: family.spec({name: filled(knob, value)}), f"{name} = {value} was accepted", *limits
        )
    for wrong in (filled(knob, math.nan), filled(knob, math.inf), "1", None, True):
        _refused(lambda wrong=wrong: family.spec({name: wrong}), f"{name} = {wrong!r} was accepted", name)
    if knob.vary is not None:
        problem = reach_problem(name, knob.vary, knob.default, (knob.low, knob.high), integer=knob.integer)
        assert problem is None, f"the knob's own variation does not fit: {problem}"
    if knob.low < knob.high:
        _check_alive(family, name, knob)


def _check_alive(family: TaskFamily[Any], name: str, knob: Knob) -> None:
    """Two values give different rollouts under equal actions.

    They are the extremes, around the defaults or around other contexts, or what mutation makes of the default: where
    parts of an array depend on each other, such as the walls of a maze, no extreme may be valid.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    defaults: list[dict[str, JsonValue]] = [{} for _ in range(_PROBES)]
    others = [_somewhere(family, rng) for _ in range(_PROBES)]
    alive = any(
        _differ(family, [_extremes(family, name, knob, base) for base in bases]) for bases in (defaults, others)
    )
    if not alive and isinstance(family, Mutable):
        alive = _differ(family, [_mutated(family, name, rng) for _ in range(_PROBES)])
    assert alive, f"knob {name} is dead: its extremes give the same rollouts"


def _differ(family: TaskFamily[Any], ends: Sequence[_Pair]) -> bool:
    """Whether the two contexts of a pair show in rollouts, one slot for each of `ends`."""
    episodes = math.ceil(_PROBED_STEPS / family.horizon)
    actions = sample_actions(family, family.horizon, len(ends))
    low, high = (
        rollout(
            family, [family.spec(pair[end], seed=seed) for seed, pair in enumerate(ends)], actions, episodes=episodes
        )
        for end in (0, 1)
    )
    return any(bool((left != right).any()) for left, right in zip(low, high, strict=True))


def _extremes(family: TaskFamily[Any], name: str, knob: Knob, base: Mapping[str, JsonValue]) -> _Pair:
    """`base` with the lowest and with the highest value that the family finds valid."""
    values = np.linspace(knob.low, knob.high, _VALUES)
    contexts = [{**base, name: filled(knob, value)} for value in (values.round() if knob.integer else values).tolist()]
    valid = [context for context in contexts if _valid(family, context)] or [base]
    return valid[0], valid[-1]


def _mutated(family: TaskFamily[Any], name: str, rng: np.random.Generator) -> _Pair:
    """The default context, and the same with the knob as repeated mutation leaves it."""
    assert isinstance(family, Mutable)
    default = family.spec().context
    context, changed = default, default
    for _ in range(_MUTATIONS):
        context = family.mutate(context, rng)
        candidate = {**default, name: context[name]}
        changed = candidate if _valid(family, candidate) else changed
    return default, changed


def _somewhere(family: TaskFamily[Any], rng: np.random.Generator) -> dict[str, JsonValue]:
    """A valid context drawn uniformly from the context space; the defaults when there is none in 100 draws."""
    for _ in range(100):
        context: dict[str, JsonValue] = {}
        for name, knob in family.context_space.knobs.items():
            values = rng.uniform(knob.low, knob.high, knob.shape)
            context[name] = (values.round().astype(int) if knob.integer else values).tolist()
        if _valid(family, context):
            return context
    return {}


def _valid(family: TaskFamily[Any], context: Mapping[str, JsonValue]) -> bool:
    try:
        family.spec(context)
    except TaskError:
        return False
    return True


def filled(knob: Knob, value: float) -> JsonValue:
    """`value` repeated to the knob's shape."""
    result: JsonValue = int(value) if knob.integer and math.isfinite(value) else value
    for size in reversed(knob.shape):
        result = (result,) * size
    return result


def _refused(action: Callable[[], object], otherwise: str, *mentioned: str) -> None:
    message = _message(action)
    assert message is not None, otherwise
    for word in mentioned:
        assert word in message, f"the message {message!r} does not mention {word!r}"


def _message(action: Callable[[], object]) -> str | None:
    """What `action` was refused with; None when it was not refused."""
    try:
        action()
    except TaskError as error:
        return str(error)
    return None

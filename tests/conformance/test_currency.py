"""Every pair of what curates, makes or moves tasks and what they are paid by: right, or refused by name.

Right means: a reward that was made for a task's goal is for the goal that the task has now, and whoever speaks of
success or regret counts the family's own reward, as one who plays the same tasks without any other reward does.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import registry
from plugins.runners.paired import Paired, PairedConfig
from plugins.runners.pbt import Pbt, PbtConfig
from plugins.runners.poet import Poet, PoetConfig
from plugins.runners.work import Examination, examine
from registry.config import Part
from registry.errors import ConfigError
from taskgen import artefacts
from taskgen.build import build_family, build_source, family_of
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.score import score
from taskgen.runner import Assignment
from taskgen.source import Curriculum, TaskSource
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed, seed_sequence
from tests.conformance.test_rewards import some_discriminator

ROOT = Path(__file__).parents[2]
SIZE, HORIZON, EPISODES, TASKS = 4, 8, 4, 12
FAMILY = build_family("darkroom", {"size": SIZE, "horizon": HORIZON})
"""A step that ends on the goal pays 1, any other nothing; the start is (0, 0)."""
WORLDS = {
    "darkroom": FAMILY,
    "grid-navigation": build_family("grid-navigation"),
    "maze": build_family("maze", {"size": 4, "horizon": 40}),
}
PAID: dict[str, dict[str, Any]] = {
    "own": {"name": "domain-randomization"},
    "builtin/goal-proximity": {"name": "dense-rewards", "reach": 3.0},
    "builtin/random-discriminator": {"name": "random-rewards", "skills": 3, "hidden": [4]},
    "builtin/learned-discriminator": {"name": "diayn"},
}
"""By the reward that its tasks have: a source."""
MOVERS: dict[str, dict[str, Any]] = {
    "accel": {"capacity": 12, "minimum_fill": 0.1, "replay": 1.0, "edits": 3},
    "adr": {"narrow_below": -2e9, "widen_above": -1e9, "queue": 1, "step": 0.5},
    "alp-gmm": {},
    "learning-progress": {"cells": {"goal": 4}},
    "quality-diversity": {"measures": ["goal"], "cells": 8, "initial": 12, "replay": 0.3, "edits": 3},
}
"""Curricula that move contexts, with their settings."""
OTHERS: dict[str, dict[str, Any]] = {
    "plr": {"capacity": 12, "minimum_fill": 0.1},
    "robust-plr": {"capacity": 12, "minimum_fill": 0.1},
    "sfl": {"candidates": 12, "plays": 2, "kept": 4, "refresh": 2},
    "solvable": {},
    "interesting": {"episodes": 2},
    "within": {"knobs": {"goal": {"low": 3}}},
    "deduplicated": {},
    "staged": {"stages": [{"iterations": 1}, {}]},
    "mix": {"weights": {"a": 1.0}},
    "schedule": {"points": [{"iteration": 0, "weights": {"a": 1.0}}]},
}
REPLAYING = ("accel", "plr", "quality-diversity", "robust-plr")
DECIDING = (*REPLAYING, "adr", "alp-gmm", "learning-progress", "sfl", "staged", "schedule")
"""Curricula that go by results."""
ON_GOALS = [{"name": name, **settings} for name, settings in (MOVERS | OTHERS).items()]


@pytest.fixture(autouse=True)
def discriminator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hash of a discriminator of skills that might have been learned on the darkroom."""
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    torch.set_num_threads(1)
    return artefacts.save(some_discriminator(FAMILY))


def _source(paid: str, discriminator: str) -> dict[str, Any]:
    return {**PAID[paid], **({"artefact": discriminator} if paid == "builtin/learned-discriminator" else {})}


def _around(curriculum: dict[str, Any], inner: dict[str, Any]) -> Part:
    several = curriculum["name"] in ("mix", "schedule")
    return Part.model_validate({**curriculum, **({"sources": {"a": inner}} if several else {"source": inner})})


def _build(part: Part) -> TaskSource:
    return build_source(part, FAMILY, seed_sequence(0, "currency"))


def _play(specs: Sequence[TaskSpec], turn: int) -> Any:
    """A trial of one who acts at random, the same whatever the tasks pay."""
    family = family_of(specs[0])
    agent = build_agent(
        Part(name="random"), problem_of(family, episodes=EPISODES, seed=turn, device=torch.device("cpu"))
    )
    return agent, collect(agent, family.batch(len(specs)), specs, plan=agent.plan(EPISODES), seeds=range(len(specs)))


def _own(specs: Sequence[TaskSpec], turn: int) -> Tensor:
    """[episodes, tasks] what the family pays the same player for the same tasks, when nothing else does."""
    return _play([replace(spec, reward=None) for spec in specs], turn)[1].episode_returns()


def _assert_paid(specs: Sequence[TaskSpec], paid: str) -> None:
    for spec in specs:
        assert (spec.reward.name if spec.reward else "own") == paid
        if spec.reward is not None and paid == "builtin/goal-proximity":
            assert spec.reward.settings["goal"] == divmod(spec.context["goal"], SIZE), f"{spec.context} {spec.reward}"
        FAMILY.check(spec)


def test_every_curriculum_generator_and_runner_is_here() -> None:
    catalogue = registry.catalogue()
    known = {name: [item.entry.name for item in catalogue.items(name)] for name in ("curricula", "runners", "rewards")}
    assert set(known["curricula"]) == {*MOVERS, *OTHERS}
    assert set(known["runners"]) == {"poet", "paired", "pbt", "epg"}
    assert {f"builtin/{name}" for name in known["rewards"]} == {*PAID} - {"own"}


@pytest.mark.parametrize("paid", PAID)
@pytest.mark.parametrize("curriculum", ON_GOALS, ids=lambda settings: settings["name"])
def test_a_curriculum_around_what_pays_otherwise(curriculum: dict[str, Any], paid: str, discriminator: str) -> None:
    source, name = _build(_around(curriculum, _source(paid, discriminator))), curriculum["name"]
    assert isinstance(source, Curriculum)
    goals, known = set[Any](), 0
    for turn in range(6):
        specs = source.ask(TASKS)
        _assert_paid(specs, paid)
        goals |= {spec.context["goal"] for spec in specs}
        agent, trial = _play(specs, turn)
        results = score(trial, agent, FAMILY, {"success", "learnability", "regret", *source.scores})
        own = _own(specs, turn)
        for result, returns in zip(results, own.T, strict=True):
            success = float((returns >= 1.0).double().mean())
            distance = sum(divmod(result.spec.context["goal"], SIZE))  # type: ignore[arg-type]
            regret = HORIZON - max(distance - 1, 0) - float(returns.mean())
            expected = {"success": success, "learnability": success * (1 - success), "regret": regret}
            assert result.scores == pytest.approx(expected, abs=1e-5)
            assert regret >= 0.0
        source.tell(results)
        if name in REPLAYING:  # what a level returned is in the currency of its score
            kept = {spec.id: returns.mean() for spec, returns in zip(specs, own.T, strict=True)}
            once = [spec for spec in specs if [other.id for other in specs].count(spec.id) == 1]
            records = [source.lineage(spec)[-1] for spec in once if source.lineage(spec)]  # type: ignore[attr-defined]
            known += len(records)
            assert all(record.scores["return"] == pytest.approx(float(kept[record.spec.id])) for record in records)
    assert len(goals) > 3
    assert known or name not in REPLAYING


@pytest.mark.parametrize("paid", [paid for paid in PAID if paid != "own"])
@pytest.mark.parametrize("curriculum", ON_GOALS, ids=lambda settings: settings["name"])
def test_what_pays_otherwise_around_a_curriculum(curriculum: dict[str, Any], paid: str, discriminator: str) -> None:
    """One that goes by results gets none in there."""
    inner = _around(curriculum, PAID["own"]).model_dump(mode="json")
    part = Part.model_validate({**_source(paid, discriminator), "contexts": inner})
    if curriculum["name"] in DECIDING:
        with pytest.raises(ConfigError, match=rf"contexts = .*{curriculum['name']}: it decides by results"):
            _build(part)
    else:
        _assert_paid(_build(part).ask(TASKS), paid)


@pytest.mark.parametrize("outer", [paid for paid in PAID if paid != "own"])
@pytest.mark.parametrize("inner", PAID)
def test_what_pays_otherwise_around_the_like(outer: str, inner: str, discriminator: str) -> None:
    """It replaces what the inner tasks were paid by."""
    part = Part.model_validate({**_source(outer, discriminator), "contexts": _source(inner, discriminator)})
    _assert_paid(_build(part).ask(TASKS), outer)


@pytest.mark.parametrize("paid", PAID)
def test_solvable_is_told_by_a_player_of_the_family_s_own_task(paid: str, discriminator: str) -> None:
    inner = _source(paid, discriminator)
    part = Part.model_validate({"name": "solvable", "player": "random", "least_return": 1.0, "source": inner})
    source, everything = _build(part), _build(Part.model_validate({"name": "deduplicated", "source": inner})).ask(200)
    kept = {spec.id for spec in source.ask(TASKS)}
    last = max(place for place, spec in enumerate(everything) if spec.id in kept)
    agent, fresh = source._player._player, source._player._fresh  # type: ignore[attr-defined]
    for spec in everything[: last + 1]:
        agent.load_state_dict(fresh)
        alone = collect(agent, FAMILY.batch(1), [replace(spec, reward=None)], plan=agent.plan(1))
        assert (float(alone.episode_returns().max()) >= 1.0) == (spec.id in kept)


@pytest.mark.parametrize("world", WORLDS)
def test_regret_is_never_below_zero(world: str) -> None:
    """Where the family knows the best return exactly."""
    family = WORLDS[world]
    part = Part.model_validate({"name": "random-rewards", "gain": 5.0})
    specs = build_source(part, family, seed_sequence(1, "regret")).ask(30)
    agent, trial = _play(specs, 0)
    found = [result.scores["regret"] for result in score(trial, agent, family, ["regret"])]
    assert min(found) >= -1e-5
    own = [family.optimal_return(spec) - float(mean) for spec, mean in zip(specs, _own(specs, 0).mean(0), strict=True)]  # type: ignore[attr-defined]
    assert found == pytest.approx(own, abs=1e-5)


LEARNER: dict[str, Any] = {"name": "ppo", "context": "none", "hidden": [4], "epochs": 1, "minibatches": 1}


def _assignment(paid: str, discriminator: str) -> Assignment:
    return Assignment(
        family=FAMILY,
        source=Part.model_validate(_source(paid, discriminator)),
        agent=Part.model_validate(LEARNER),
        iterations=4,
        tasks=3,
        episodes=2,
        device=torch.device("cpu"),
        seed=seed_sequence(0, "runner"),
    )


@pytest.mark.parametrize("paid", PAID)
def test_poet_moves_rewards_with_tasks_and_judges_by_the_family(paid: str, discriminator: str) -> None:
    settings = {"reproduce_every": 1, "reproduce_from": -1e9, "lowest": -1e9, "highest": 1e9, "proposals": 1}
    config = PoetConfig.model_validate({**settings, "children": 3, "admitted": 3, "max_active": 2})
    poet = Poet(config, assignment=_assignment(paid, discriminator))
    for _ in range(3):
        poet.iterate()
    niches = poet.pairs.niches
    _assert_paid([niche.spec for niche in niches], paid)
    assert len({niche.spec.context["goal"] for niche in niches}) > 2
    specs = [niche.spec for niche in niches]
    paying, plain = (
        examine(Examination(poet.pairs.trainee, niches[0].agent, tuple(spec.to_json() for spec in tasks), luck)).scores
        for luck in [tuple(range(len(specs)))]
        for tasks in (specs, [replace(spec, reward=None) for spec in specs])
    )
    assert paying == plain
    assert all(0 <= value <= HORIZON for value in plain)


@pytest.mark.parametrize("paid", PAID)
def test_pbt_judges_by_what_is_trained_on(paid: str, discriminator: str) -> None:
    pbt = Pbt(PbtConfig(population=2, judged_tasks=4), assignment=_assignment(paid, discriminator))
    specs = [replace(spec, seed=seed) for seed, spec in enumerate(pbt._source.ask(4))]
    _assert_paid(specs, paid)
    work = Examination(pbt._trainee, pbt.members[0].state, tuple(spec.to_json() for spec in specs), (0, 1, 2, 3))
    agent = pbt._trainee.build(state=pbt.members[0].state)
    plan, earned = agent.plan(pbt._trainee.judged), []
    for luck, spec in enumerate(specs):
        agent.reseed(integer_seed(luck, "judged"))  # type: ignore[attr-defined]
        trial = collect(agent, FAMILY.batch(plan.slots), [spec], plan=plan, seeds=[luck])
        earned.append(float(trial.episode_returns().mean()))
    assert examine(work).scores == pytest.approx(earned)


@pytest.mark.parametrize("paid", PAID)
def test_paired_pays_its_own_designs_by_the_family(paid: str, discriminator: str) -> None:
    config = PairedConfig.model_validate({"teacher": LEARNER, "archived": 12})
    paired = Paired(config, assignment=_assignment(paid, discriminator))
    metrics = paired.iterate()
    made = [record.spec for record in paired.records()]
    assert made
    _assert_paid(made, "own")
    assert 0.0 <= metrics["meta/protagonist_return"] <= HORIZON


def test_contexts_are_moved_in_one_place() -> None:
    """`TaskFamily.moved` alone gives a task's reward to another context."""
    carried = re.compile(r"\breward=(?!experiment\.)(\w+\.)+reward[,)]|replace\([^()]*\bcontext=")
    found = {
        str(path.relative_to(ROOT))
        for room in ("agents", "benchmarks", "plugins", "registry", "taskgen")
        for path in (ROOT / room).rglob("*.py")
        if carried.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"taskgen/family.py", "taskgen/testing.py"}  # the kit makes a task that is to be refused

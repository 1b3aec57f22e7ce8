"""POET on scripted scores, worked out by hand, and on real ones, tiny."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch

from agents.training.tree import flatten, restore
from plugins.runners import work
from plugins.runners.niches import Candidate, Niche
from plugins.runners.poet import Poet, PoetConfig
from plugins.runners.work import Examination, Examined, Practice, Practised
from registry.config import Part
from registry.errors import UserError
from taskgen import lineage
from taskgen.build import build_family
from taskgen.runner import Assignment, Runner
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

FAMILY = build_family("cartpole", {"horizon": 20})
AGENT = Part.model_validate({"name": "ppo", "context": "none", "hidden": [4], "epochs": 1, "minibatches": 1})
QUICK: dict[str, Any] = {
    "reproduce_every": 2,
    "reproduce_from": 5.0,
    "lowest": 5.0,
    "highest": 19.0,
    "solved": 15.0,
    "transfer_every": 2,
    "max_active": 3,
    "admitted": 2,
    "children": 4,
    "judged_episodes": 2,
}


def make(
    family=FAMILY, source="domain-randomization", seed: int = 0, agent=AGENT, episodes: int = 1, **settings: Any
) -> Poet:
    assignment = Assignment(
        family=family,
        source=Part(name=source),
        agent=agent,
        iterations=10,
        tasks=2,
        episodes=episodes,
        seed=seed_sequence(seed, "runner"),
        device=torch.device("cpu"),
    )
    given = {name: value for name, value in {**QUICK, **settings}.items() if value is not None}
    return Poet(PoetConfig.model_validate(given), assignment=assignment)


class Script:
    """A `map` that plays nothing: `score(task)` says what is earned, `failure(task)` whether something goes wrong."""

    def __init__(self, poet: Poet, score: Callable[[TaskSpec], float], failure=lambda spec: "") -> None:
        self.score, self.failure = score, failure
        self.done: list[Any] = []
        poet._toolbox.register("map", self)
        poet.pairs._map = self

    def __call__(self, function: Callable[[Any], Any], works: Iterable[Any]) -> Iterable[Any]:
        return [self._do(one) for one in works]

    def _do(self, one: Any) -> Any:
        self.done.append(one)
        if isinstance(one, Practice):
            spec = TaskSpec.from_json(one.exam[0])
            failure = self.failure(spec)
            return Practised(one.start or one.state, math.nan if failure else self.score(spec), 1, failure)
        assert isinstance(one, Examination)
        return Examined(tuple(self.score(TaskSpec.from_json(task)) for task in one.tasks), 1)


def candidates(poet: Poet, count: int) -> list[Candidate]:
    return [Candidate(FAMILY.spec(seed=100 + i), 0, poet.pairs.niches[0].agent) for i in range(count)]


def grown(poet: Poet, iterations: int) -> Poet:
    for _ in range(iterations):
        poet.iterate()
    return poet


def test_the_minimal_criterion_includes_both_ends() -> None:
    poet = make()
    earned = dict(zip(range(100, 106), [4.999, 5.0, 12.0, 19.0, 19.001, math.nan], strict=True))
    Script(poet, lambda spec: earned[spec.seed])
    assert [candidate.spec.seed for candidate in poet._criterion(candidates(poet, 6))] == [101, 102, 103]


def test_only_tasks_mastered_well_enough_have_children() -> None:
    for earned, children in ((4.99, 0), (5.0, 4)):
        poet = make()
        Script(poet, lambda spec, earned=earned: earned)
        grown(poet, 2)
        assert poet.logbook[-1]["children"] == children


def test_most_novel_first() -> None:
    poet = make()
    children = candidates(poet, 3)
    for candidate, gravity in zip(children, (12.0, 30.0, 20.0), strict=True):
        candidate.spec = FAMILY.spec({"gravity": gravity}, seed=candidate.spec.seed)
    assert [candidate.spec.context["gravity"] for candidate in poet._rank(children)] == [30.0, 20.0, 12.0]
    assert all(math.isfinite(candidate.fitness.values[0]) for candidate in children)


def test_farthest_beyond_all_others_first_then_most_novel_within() -> None:
    """Gravity from 5 to 20: 21 and 30 are beyond, by 1 of 16 and 10 of 25; of those within 12 is farthest from both."""
    poet = make(novelty="reach", neighbours=1)
    poet.pairs.niches[0].spec = FAMILY.spec({"gravity": 5.0})
    niche = Niche(1, FAMILY.spec({"gravity": 20.0}), poet.pairs.niches[0].agent)
    poet.pairs.niches.append(niche)
    children = candidates(poet, 4)
    for candidate, gravity in zip(children, (19.0, 21.0, 12.0, 30.0), strict=True):
        candidate.spec = FAMILY.spec({"gravity": gravity}, seed=candidate.spec.seed)
    assert [candidate.spec.context["gravity"] for candidate in poet._rank(children)] == [30.0, 21.0, 12.0, 19.0]
    assert [candidate.fitness.values[0] for candidate in children] == pytest.approx([0.0, 1 / 16, 0.0, 10 / 25])


def reached(novelty: str, seed: int) -> Any:
    """[roughness, pits, stumps] the greatest there are, of what there may be, where all courses meet the criterion.

    Every round the most novel of eight children is admitted, whose parents are the latest ten; nobody learns.
    """
    walker: Any = build_family("terrain-walker")
    poet, rng = make(walker, novelty=novelty), np.random.default_rng(seed)
    agent = poet.pairs.niches[0].agent
    poet.pairs.niches = [Niche(0, walker.spec(), agent)]
    for number in range(1, 60):
        parents = [poet.pairs.niches[-10:][place] for place in rng.integers(min(10, number), size=8)]
        moved = [walker.moved(parent.spec, walker.mutate(parent.spec.context, rng)) for parent in parents]
        first = poet._rank([Candidate(spec, 0, agent) for spec in moved])[0]
        poet.pairs.niches.append(Niche(number, first.spec, agent, vector=first.vector))
    farthest = np.max([walker.measure(niche.spec.context) for niche in poet.pairs.niches], axis=0)
    return farthest / [high for _, high in walker.measures.values()]


def test_niches_climb_faster_by_reach_than_by_distance() -> None:
    """Stumps grow by half of what pits do at a time: by distance they stay behind."""
    reach, distance = (np.mean([reached(how, seed) for seed in range(4)], axis=0) for how in ("reach", "euclidean"))
    assert reach.sum() > 1.1 * distance.sum()
    assert reach[2] > 1.3 * distance[2]


def test_admits_at_most_what_is_stated_and_retires_the_oldest() -> None:
    poet = make()
    Script(poet, lambda spec: 10.0)
    grown(poet, 2)
    assert [niche.number for niche in poet.pairs.active] == [0, 1, 2]
    grown(poet, 2)
    assert [niche.number for niche in poet.pairs.active] == [2, 3, 4]
    assert [niche.retired for niche in poet.pairs.niches] == [4, 4, None, None, None]
    assert [niche.created for niche in poet.pairs.niches] == [0, 2, 2, 4, 4]
    assert [line["fitting"] for line in poet.logbook] == [4, 4]
    assert [line["admitted"] for line in poet.logbook] == [2, 2]


def test_the_criterion_is_checked_again_with_the_best_agent() -> None:
    poet = make()
    script = Script(poet, lambda spec: 10.0)
    script._do = lambda one: (  # type: ignore[method-assign]
        Practised(one.state, 20.0 if one.start is not None else 10.0, 1)
        if isinstance(one, Practice)
        else Examined(tuple(10.0 for _ in one.tasks), 1)
    )
    grown(poet, 2)
    assert poet.logbook[-1]["fitting"] == 4
    assert poet.logbook[-1]["admitted"] == 0  # after one step of learning all are too easy


def test_rounds_come_every_so_many_iterations() -> None:
    poet, seen = make(reproduce_every=3, transfer_every=4), dict[str, list[int]](mutate=[], transfer=[])
    Script(poet, lambda spec: 10.0)
    poet._mutate = lambda parents: seen["mutate"].append(poet.pairs.iteration) or []  # type: ignore[method-assign]
    poet._transfer = lambda: seen["transfer"].append(poet.pairs.iteration)  # type: ignore[method-assign]
    grown(poet, 8)
    assert seen == {"mutate": [3, 6], "transfer": [4, 8]}


def test_a_child_is_a_generation_further_than_its_parent() -> None:
    poet = make(max_active=20)
    Script(poet, lambda spec: 10.0)
    grown(poet, 6)
    niches = poet.pairs.niches
    assert len(niches) == 7
    assert niches[0].generation == 0
    for niche in niches[1:]:
        assert niche.parent is not None
        assert niche.generation == niches[niche.parent].generation + 1
        assert (niche.best, niche.history[0]) == (10.0, 10.0)
    assert max(niche.generation for niche in niches) > 1


def test_figures_are_of_the_pairs_that_learn() -> None:
    """Of trials of two episodes; what is retired counts as a niche alone."""
    poet = make(first_tasks=3)
    for niche, score in zip(poet.pairs.niches, (99.0, 3.0, 5.0), strict=True):
        niche.history = [1.0, score]
    poet.pairs.niches[0].retire(1, "it was the oldest and made room")
    poet.pairs.niches[1].transfers, poet.pairs.niches[2].transfers = {"0": 2, "2": 1}, {"1": 4}
    metrics = poet._metrics()
    assert (metrics["charts/episodic_return"], metrics["meta/trial_return"]) == (4.0, 8.0)
    assert (metrics["tasks/least_return"], metrics["tasks/greatest_return"]) == (3.0, 5.0)
    assert (metrics["tasks/active"], metrics["tasks/niches"], metrics["tasks/transfers"]) == (2, 3, 7)


def test_a_round_is_written_down_with_its_novelty() -> None:
    poet = make()
    ranked = candidates(poet, 3)
    for candidate, value in zip(ranked, (6.0, 2.0, 1.0), strict=True):
        candidate.fitness.values = (value, 0.0)
    poet._log_round(poet.pairs.niches, candidates(poet, 5), ranked, ())
    poet._log_round((), (), (), ())
    first, second = poet.logbook
    assert [first[name] for name in ("parents", "children", "fitting", "admitted")] == [1, 5, 3, 0]
    assert [first[name] for name in ("least", "mean", "most")] == [1.0, 3.0, 6.0]
    assert [second[name] for name in ("least", "mean", "most")] == [0.0, 0.0, 0.0]


def test_transfers_follow_the_rule_and_replace_the_agent() -> None:
    """Three pairs; the agent of number 1 is better on the task of number 0, by its one-step proposal."""
    poet = make(first_tasks=3, reproduce_every=99)
    weights = [torch.full((1,), float(i)) for i in range(3)]
    for niche, weight in zip(poet.pairs.niches, weights, strict=True):
        niche.agent = {"weight": weight}
        niche.history = [10.0]
    script = Script(poet, lambda spec: 10.0)

    def do(one: Any) -> Any:
        if isinstance(one, Examination):
            return Examined((9.0, 9.0, 9.0), 1)
        better = one.start == {"weight": weights[1]} and one.exam[0] == poet.pairs.niches[0].spec.to_json()
        return Practised({"weight": one.start["weight"] + 10}, 11.0 if better else 9.0, 1)

    script._do = do  # type: ignore[method-assign]
    poet.pairs.trainee = _Inheriting()
    poet._transfer()
    assert [float(niche.agent["weight"]) for niche in poet.pairs.niches] == [11.0, 1.0, 2.0]
    assert [niche.transfers for niche in poet.pairs.niches] == [{"1": 1}, {}, {}]
    assert poet.pairs.niches[0].history == [10.0, 11.0]
    assert poet._metrics()["tasks/transfers"] == 1
    assert poet._metrics()["tasks/transfers_tried"] == 6


class _Inheriting:
    tasks = judged = 1

    def inherit(self, own: Any, other: Any, seed: int) -> Any:
        return other


def test_annecs_counts_what_was_new_for_all_agents_ever_and_solved_later() -> None:
    """Niche 1 is too easy for a retired agent, niche 2 is new but never solved, niche 3 is both."""
    poet = make()
    template = poet.pairs.niches[0]
    poet.pairs.niches = [Niche(i, FAMILY.spec(seed=i), template.agent, history=[10.0]) for i in range(4)]
    poet.pairs.niches[0].retire(1, "it was the oldest and made room")
    Script(poet, lambda spec: 19.5 if spec.seed == 1 else 12.0)  # what the retired agent earns; at most 19 is allowed
    poet._look_back([(niche, 12.0) for niche in poet.pairs.niches[1:]])
    assert [niche.fresh for niche in poet.pairs.niches[1:]] == [False, True, True]
    poet.pairs.niches[0].fresh = False
    assert poet._metrics()["tasks/annecs"] == 0
    for number, score in ((1, 15.0), (2, 14.9), (3, 15.0)):
        poet._judge(poet.pairs.niches[number], score)
    assert poet._metrics()["tasks/annecs"] == 1
    assert poet._metrics()["tasks/solved"] == 2


def test_solve_times_and_the_hall_of_fame() -> None:
    poet = make(first_tasks=2, reproduce_every=99)
    late = poet.pairs.niches[1].spec
    Script(poet, lambda spec: 16.0 if spec != late or poet.pairs.iteration >= 3 else 6.0)
    grown(poet, 4)
    assert [niche.solved for niche in poet.pairs.niches] == [1, 3]
    assert poet.highlights() == {"longest to solve": [late, poet.pairs.niches[0].spec]}
    scores = {record.spec: record.scores for record in poet.records()}
    assert scores[late][lineage.SOLVED] - scores[late][lineage.CREATED] == 3
    assert lineage.RETIRED not in scores[late]


def test_performance_vectors_are_of_all_agents_by_age() -> None:
    poet = make(novelty="pata-ec", first_tasks=3, lowest=0.0, highest=10.0)
    for niche in poet.pairs.niches:
        niche.agent = {"number": niche.number}
    poet.pairs.niches[0].retire(1, "it was the oldest and made room")
    poet.pairs.niches[0].vector = [0.0]
    earned = {0: 4.0, 1: 99.0, 2: 8.0}
    poet.pairs._map = lambda _, works: [Examined((earned[one.state["number"]],) * len(one.tasks), 1) for one in works]
    ranked = poet._rank(candidates(poet, 1))
    assert ranked[0].vector == pytest.approx([-0.5, 0.5, 0.0])
    assert [niche.vector for niche in poet.pairs.niches] == [[0.0], *[pytest.approx([-0.5, 0.5, 0.0])] * 2]
    assert ranked[0].fitness.values[0] == pytest.approx((math.hypot(0.5, 0.5, 0.0) + 0 + 0) / 3)


@pytest.mark.slow
def test_processes_give_the_same_as_one() -> None:
    settings = {"highest": 20.0, "proposals": 1}
    alone, workers = grown(make(**settings), 4), make(**settings, map="processes", workers=2)
    try:
        grown(workers, 4)
    finally:
        workers.close()
    assert flatten(workers.state_dict())[0] == flatten(alone.state_dict())[0]
    assert all(
        torch.equal(mine, other)
        for mine, other in zip(*(flatten(poet.state_dict())[1].values() for poet in (alone, workers)), strict=True)
    )


@pytest.mark.parametrize("failure", ["RuntimeError: the physics exploded", "its return is nan"])
def test_a_pair_that_fails_is_retired_with_its_reason_and_the_run_goes_on(failure, caplog) -> None:
    poet = make(first_tasks=3, reproduce_every=99)
    bad = poet.pairs.niches[1]
    Script(poet, lambda spec: 10.0, lambda spec: failure if spec == bad.spec else "")
    metrics = [poet.iterate() for _ in range(3)]
    assert (bad.retired, bad.reason, bad.failed) == (1, failure, True)
    assert f"task {bad.spec.id} is retired: {failure}" in caplog.text
    assert [line["tasks/active"] for line in metrics] == [2, 2, 2]
    assert all(math.isfinite(value) for line in metrics for value in line.values())
    assert {record.spec: record.scores for record in poet.records()}[bad.spec][lineage.FAILED] == 1


def test_nothing_left_is_an_error() -> None:
    poet = make()
    Script(poet, lambda spec: 10.0, lambda spec: "its return is nan")
    with pytest.raises(UserError, match="every task of the run has failed; the last: its return is nan"):
        poet.iterate()


def test_real_failures_are_caught_where_the_work_is_done(monkeypatch) -> None:
    poet = make(first_tasks=3)
    bad = poet.pairs.niches[1].spec

    def collect(agent, batch, specs, **options):
        if bad in specs:
            raise RuntimeError("the physics exploded")
        return real(agent, batch, specs, **options)

    real = work.collect
    monkeypatch.setattr(work, "collect", collect)
    niches = poet.pairs.niches
    (scores,) = poet.pairs.examine(niches[:1], {0: [niche.spec for niche in niches]}).values()
    assert [math.isfinite(score) for score in scores] == [True, False, True]
    grown(poet, 3)
    assert niches[1].reason == "RuntimeError: the physics exploded"
    assert len(poet.pairs.active) >= 2


def test_an_agent_is_judged_alike_alone_and_in_company() -> None:
    poet = make(first_tasks=3)
    specs = [niche.spec for niche in poet.pairs.niches]
    poet.pairs.trainee = work.Trainee(Part(name="cartpole-oracle"), specs[0].to_json(), 1, 1, 3)
    for niche in poet.pairs.niches:
        niche.agent = poet.pairs.trainee.build().state_dict()
    together = poet.pairs.examine(poet.pairs.niches[:1], {0: specs})[0]
    alone = [poet.pairs.examine(poet.pairs.niches[:1], {0: [spec]})[0][0] for spec in specs]
    assert together == alone


def test_same_seed_same_state_and_resuming_is_identical() -> None:
    def digest(poet: Poet) -> Any:
        value, tensors = flatten(poet.state_dict())
        return value, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}

    narrow = {"highest": 20.0, "proposals": 1}
    whole, cut = grown(make(**narrow), 4), grown(make(**narrow), 2)
    resumed = make(**narrow)
    resumed.load_state_dict(restore(*flatten(cut.state_dict())))
    grown(resumed, 2)
    assert digest(resumed) == digest(whole)
    assert digest(grown(make(seed=1, **narrow), 2)) != digest(whole)
    assert len(whole.pairs.niches) > 3
    assert [list(a.scores.items()) for a in resumed.records()] == [list(b.scores.items()) for b in whole.records()]


def test_no_unit_of_work_changes_what_it_is_given() -> None:
    poet = grown(make(first_tasks=2), 1)
    before = [flatten(niche.agent) for niche in poet.pairs.niches]
    first, second = poet.pairs.niches
    poet.pairs.examine([first], {0: [first.spec, second.spec]})
    work.practise(poet.pairs.practice(first.spec, first.agent, 2, ("test",), start=1))
    for niche, (value, tensors) in zip(poet.pairs.niches, before, strict=True):
        after, now = flatten(niche.agent)
        assert after == value
        assert all(torch.equal(now[name], tensor) for name, tensor in tensors.items())


def test_records_put_parents_before_children() -> None:
    poet = grown(make(highest=20.0), 4)
    seen: set[str] = set()
    for record in poet.records():
        assert set(record.parents) <= seen
        assert record.generation == (0 if not record.parents else record.generation)
        seen.add(record.spec.id)
        FAMILY.check(record.spec)
    assert isinstance(poet, Runner)
    assert poet.agent_of(record.spec.id).plan(1).episodes == 1
    with pytest.raises(UserError, match="task nobody is not among the"):
        poet.agent_of("nobody")


def test_families_that_cannot_evolve_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"family builtin/bandit has no `mutate`"):
        make(build_family("bandit"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    for settings in ({"lowest": 19.0}, {"admitted": 5}):
        with pytest.raises(ValueError, match="is not below|is more than"):
            make(**settings)


def test_children_are_tasks_that_there_have_never_been() -> None:
    """A grid of 25 cells has 24 goals: mutation soon comes back to some of them."""
    poet = make(build_family("grid-navigation"), children=8, admitted=8, max_active=20)
    Script(poet, lambda spec: 10.0)
    grown(poet, 12)
    contexts = [niche.spec.context for niche in poet.pairs.niches]
    assert len(contexts) > 8
    assert all(context not in contexts[:place] for place, context in enumerate(contexts))


def test_where_no_new_task_is_found_there_are_fewer_children() -> None:
    poet = make()
    Script(poet, lambda spec: 10.0)
    contexts = iter([{"gravity": 5.0}] * 99)
    poet._toolbox.register("mutate", lambda context, rng: {**context, **next(contexts)})
    grown(poet, 2)
    assert poet.logbook[-1]["children"] == 1  # of four; the others would have been the same
    assert poet._metrics()["tasks/children_not_found"] == 3
    resumed = make()
    resumed.load_state_dict(poet.state_dict())
    assert resumed._metrics()["tasks/children_not_found"] == 3

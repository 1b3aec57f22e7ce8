"""The benchmarks of evolved tasks, on runs as they are, tiny."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from agents.reports.evolution import read_evolution
from agents.training.experiment import load_experiment
from benchmarks import evolved_terrain, learning
from benchmarks import poet as benchmark
from benchmarks.harness import Resume
from taskgen import lineage
from taskgen.build import build_family, build_source

QUICK = (
    "family.horizon=20",
    "agent={name='es', hidden=[4], learning_rate=0.05}",
    "runner.map=serial",
    "runner.lowest=5",
    "runner.highest=21",
    "runner.reproduce_from=5",
    "runner.solved=12",
    "runner.judged_episodes=2",
    "training.episodes=4",
)
NAME = "poet-cartpole"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A run of six iterations, where the benchmarks look for it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runs")
        train_seed = learning.train_seed
        for module in (learning, benchmark):
            patch.setattr(module, "RUNS", folder)
        patch.setattr("benchmarks.harness.PROGRESS", folder)
        patch.setattr(
            benchmark,
            "train_seed",
            lambda name, experiment, seed, settings: train_seed(
                name, experiment, seed, ["training.iterations=6", *settings, *QUICK]
            ),
        )
        yield benchmark.evolve(NAME, Resume("poet"))


def test_the_hardest_are_those_that_were_solved_last(quick):
    run, cores = quick
    assert cores > 0
    niches = benchmark.hardest(run, 3)
    solved = [niche for niche in run.niches if niche.score(lineage.SOLVED) is not None]
    others = [niche for niche in solved if niche not in niches and niche.parent is not None]
    assert len(niches) == 3
    assert others
    assert min(n.score(lineage.SOLVED) for n in niches) >= max(n.score(lineage.SOLVED) for n in others)
    assert [niche.number for niche in niches] == sorted(niche.number for niche in niches)
    assert 0 not in [niche.number for niche in benchmark.hardest(run, 100)]


def test_direct_training_is_on_these_tasks_alone(quick):
    run, _ = quick
    niches = benchmark.hardest(run, 2)
    claim = benchmark.direct(NAME, run, niches, 1)
    alone = read_evolution(benchmark.RUNS / f"{NAME}-direct-1")
    assert [niche.spec.id for niche in alone.niches] == [niche.spec.id for niche in niches]
    assert alone.iterations == run.iterations
    assert not alone.transfers.any()
    solved = [niche.score(lineage.SOLVED) for niche in alone.niches]
    assert list(claim.solved) == [math.inf if at is None else at for at in solved]
    assert benchmark.returns(alone, niches) == list(claim.returns)


def test_rows_are_what_the_run_says(quick):
    run, _ = quick
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    found = {row["what"].removeprefix(f"{NAME}: "): row for row in benchmark.rows(NAME, run, 1.5)}
    assert found["tasks admitted"]["value"] == last["tasks/niches"] - 1
    assert found["tasks admitted"]["met"] is False
    assert found["ANNECS at the end"]["value"] == last["tasks/annecs"]
    assert found["environment steps"]["value"] == last["charts/steps"]


def test_claims_by_hand(quick):
    run, _ = quick
    niches = benchmark.hardest(run, 2)
    at = [niche.score(lineage.SOLVED) for niche in niches]
    claims = [
        benchmark.Claim([at[0], math.inf], [10.0, 2.0]),  # one as soon as POET, one never
        benchmark.Claim([at[0] + 1, at[1] + 1], [10.0, 4.0]),  # both later
    ]
    found = {row["what"]: row for row in benchmark.claims(NAME, niches, [12.0, 8.0], claims)}
    start = f"{NAME}, 2 tasks solved last: "
    behind = "share solved directly in as many iterations as POET's run had behind it then"
    assert found[start + behind]["value"] == pytest.approx(1 / 4)
    assert found[start + "share solved directly in all iterations of the run"]["value"] == pytest.approx(3 / 4)
    ahead = found[start + "POET's return less that of direct agents"]
    assert ahead["value"] == pytest.approx(10 - 6.5)
    assert ahead["met"] is False  # two seeds with 4 and 3 have an interval down to -2.9
    assert found[start + "return of POET's agents"]["value"] == 10
    seeds = [row["value"] for what, row in found.items() if what.endswith("direct seeds that solved it")]
    assert seeds == [2, 1]


def test_ground_of_the_archive_and_gains_by_hand():
    def earned(held_out, *apart):
        sets = zip(("held-out", "one", "two"), (held_out, *apart), strict=True)
        return {f"{name}/rl2": np.array([[value - 0.01, value + 0.01]]) for name, value in sets}

    found = {
        "archive": [earned(4, 1, 2), earned(6, 1, 3), earned(5, 1, 2.5)],
        "archive-in-order": [earned(2, 0, 0), earned(2, 5, 0), earned(2, 2.5, 0)],
        "ranges": [earned(1, 0, 0), earned(2, 0, 1), earned(1.5, 0, 0.5)],
    }
    rows = {row["what"]: row for row in evolved_terrain.rows(found)}
    walks = rows["the archive's ranges, rl2 trained on archive: return"]
    assert (walks["value"], walks["target"], walks["met"]) == (pytest.approx(5), "> 0", True)
    assert rows["the archive's ranges, rl2 trained on ranges: return"]["value"] == pytest.approx(1.5)
    assert rows["the archive's ranges: return after archive less that after ranges"]["value"] == pytest.approx(3.5)
    assert rows["two: return after archive less that after ranges"]["met"] is None
    ahead = "mean of the nine kinds of unseen ground: return after"
    always = rows[f"{ahead} archive less that after ranges"]
    assert (always["value"], always["met"]) == (pytest.approx(1.5), True)  # 1.5 with every seed
    once = rows[f"{ahead} archive-in-order less that after ranges"]
    assert (once["value"], once["met"]) == (pytest.approx(1.0), False)  # 0, 2 and 1
    del found["archive"]
    fewer = [row["what"] for row in evolved_terrain.rows(found)]
    assert fewer == [what for what in rows if "on archive:" not in what and "after archive less" not in what]


def test_kinds_of_training_differ_in_their_tasks_alone():
    family = build_family("terrain-walker")
    contexts = [
        {"roughness": 0.0, "pit_gap": (0.0, 0.0), "stump_height": (0.0, 0.0)},
        {"roughness": 1.5, "pit_gap": (0.4, 0.8), "stump_height": (0.2, 1.2)},
    ]
    niches = [SimpleNamespace(spec=family.spec(context, seed=0)) for context in contexts]
    run = SimpleNamespace(path="runs/evolved", niches=niches)
    assert evolved_terrain.ranges(run) == {"roughness": (0, 1.5), "stump_height": (0, 1.2), "pit_gap": (0, 0.8)}
    configs = {
        kind: load_experiment(evolved_terrain.EXPERIMENT, evolved_terrain.overrides(run, kind)).config
        for kind in evolved_terrain.KINDS
    }
    one, in_order, drawn = (config.model_dump(exclude={"source"}) for config in configs.values())
    assert one == in_order == drawn
    training = configs["archive"].training
    assert 2 * configs["archive-in-order"].source.settings["pace"] == training.iterations * training.tasks / 2
    apart = configs["ranges"].evaluation.out_of_distribution
    assert len(apart) == 10
    source = build_source(apart["poet-1a"], family, np.random.SeedSequence(0))
    context = source.ask(1)[0].context
    assert (context["roughness"], context["stump_height"], context["pit_gap"]) == (5.6, (2.4, 2.82), (4.48, 6.4))

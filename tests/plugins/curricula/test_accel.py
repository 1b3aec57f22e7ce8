"""ACCEL: whose children are made, how they are scored, and from whom they descend."""

import json
from types import SimpleNamespace

import pytest

import registry
from agents.training.experiment import load_experiment
from plugins.curricula import accel as module
from plugins.curricula.lineage import Lineage
from registry.config import Part
from registry.errors import CheckpointError, ConfigError
from taskgen.build import build_family, build_source
from taskgen.family import Mutable
from taskgen.source import TaskResult
from taskgen.streams import seed_sequence

MAZE = build_family("maze", {"size": 5})


def accel(family=MAZE, **settings):
    defaults = {"name": "accel", "capacity": 64, "minimum_fill": 0.1, "replay": 1.0, "source": "random-mazes"}
    return build_source(Part.model_validate(defaults | settings), family, seed_sequence(0, "test"))


def tell(curriculum, specs, returns, scores):
    curriculum.tell(
        [
            TaskResult(spec, (result,), {"learnability": score})
            for spec, result, score in zip(specs, returns, scores, strict=True)
        ]
    )


def in_a_replay_round(**settings):
    """Eight levels, of which six are replayed with these returns and scores: returns less scores are in brackets."""
    curriculum = accel(**settings)
    levels = curriculum.ask(8)
    tell(curriculum, levels, [0.0] * 8, [0.2] * 8)
    replayed = levels[:6]
    return curriculum, replayed


EASE = ([0.9, 0.1, 0.8, 0.5, 0.4, 0.0], [0.3, 0.0, 0.1, 0.25, 0.2, 0.1])  # 0.6 0.1 0.7 0.25 0.2 -0.1


def edited(curriculum, replayed, n):
    tell(curriculum, replayed, *EASE)
    children = curriculum.ask(n)
    near = {id(parent): [] for parent in replayed}
    for child in children:
        near[next(id(parent) for parent in replayed if parent.seed == child.seed)].append(child)
    return children, [len(near[id(parent)]) for parent in replayed]


def test_the_four_easiest_of_the_levels_just_replayed_are_edited_in_equal_shares():
    curriculum, replayed = in_a_replay_round()
    children, shares = edited(curriculum, replayed, 16)
    assert shares == [4, 0, 4, 4, 4, 0]
    assert curriculum.learns_from(children) == [False] * 16
    assert [child.seed for child in children[:4]] == [replayed[i].seed for i in (2, 0, 3, 4)]


def test_all_of_a_round_may_be_edited():
    curriculum, replayed = in_a_replay_round(parents=0)
    assert edited(curriculum, replayed, 12)[1] == [2] * 6


def test_a_level_played_twice_in_a_round_is_one_parent():
    curriculum, replayed = in_a_replay_round(parents=2)
    tell(curriculum, [replayed[0], replayed[0], replayed[1]], [0.4, 0.6, 0.1], [0.1, 0.1, 0.0])
    assert [child.seed for child in curriculum.ask(4)] == [replayed[0].seed, replayed[1].seed] * 2


def test_children_are_near_their_parents_and_valid():
    curriculum, replayed = in_a_replay_round()
    children, _ = edited(curriculum, replayed, 8)
    for child in children:
        MAZE.check(child)
        parent = next(parent for parent in replayed if parent.seed == child.seed)
        rows = zip(child.context["walls"], parent.context["walls"], strict=True)
        changed = sum(a != b for row in rows for a, b in zip(*row, strict=True))
        assert changed <= 5  # a mutation of the maze family is five edits


def test_children_may_have_fresh_seeds():
    curriculum, replayed = in_a_replay_round(reseed=True)
    tell(curriculum, replayed, *EASE)
    children = curriculum.ask(8)
    assert len({spec.seed for spec in [*children, *replayed]}) == 8 + 6


def test_lineage_over_generations_and_a_stop():
    curriculum, replayed = in_a_replay_round()
    children, _ = edited(curriculum, replayed, 4)
    resumed = accel()  # stopped between ask and tell
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict(), allow_nan=False)))
    for run in (curriculum, resumed):
        tell(run, children, [0.5] * 4, [0.25] * 4)
        assert run.metrics()["tasks/replay_share"] == 0.0
    assert resumed.state_dict() == curriculum.state_dict()
    child = children[0]
    assert [record.spec for record in curriculum.lineage(child)] == [replayed[2], child]
    older, younger = curriculum.lineage(child)
    assert (older.parents, older.generation, older.generator) == ((), 0, "builtin/random-mazes")
    assert (younger.parents, younger.generation, younger.generator) == ((replayed[2].id,), 1, "builtin/accel")
    assert younger.scores["learnability"] == 0.25
    tell(curriculum, [child], [1.0], [0.0])  # a replay of the child alone: it becomes the parent
    (grandchild,) = curriculum.ask(1)
    tell(curriculum, [grandchild], [0.0], [0.5])
    assert [record.generation for record in curriculum.lineage(grandchild)] == [0, 1, 2]
    assert [record.spec for record in curriculum.lineage(grandchild)] == [replayed[2], child, grandchild]
    assert curriculum.metrics()["tasks/generation"] > 0


def test_lineage_outlives_eviction_and_forgets_what_no_level_descends_from():
    specs = [MAZE.spec(seed=seed) for seed in range(5)]
    lineage = Lineage()
    for child, parent in ((1, 0), (2, 1), (3, 1), (4, 0), (1, 4)):  # 1 is there already: it keeps its parent
        lineage.add(specs[child].id, specs[child], specs[parent].id, specs[parent])
    assert [one.spec for one in lineage.of(specs[3])] == [specs[0], specs[1], specs[3]]
    assert [lineage.generation(spec.id) for spec in specs] == [0, 1, 2, 2, 1]
    lineage.prune([specs[3].id])
    assert [spec.id in lineage for spec in specs] == [True, True, False, True, False]
    again = Lineage()
    again.load_state_dict(json.loads(json.dumps(lineage.state_dict())), MAZE)
    assert again.of(specs[3]) == lineage.of(specs[3])
    orphan = {"descents": [[specs[1].to_json(), specs[0].id]]}
    with pytest.raises(CheckpointError, match="lineage"):
        again.load_state_dict(orphan, MAZE)


def test_a_family_without_mutate_is_refused_before_the_run():
    with pytest.raises(ConfigError, match="accel .* needs mutable"):
        load_experiment("rl2-bandit", ["source=accel"])
    with pytest.raises(ConfigError, match=r"builtin/bandit has no `mutate`"):
        accel(build_family("bandit"), source="domain-randomization")


def test_families_that_mutate_say_so():
    for item in registry.catalogue().items("families"):
        family = build_family(item.full_name)
        assert isinstance(family, Mutable) == ("mutable" in item.entry.offers), item.full_name


@pytest.mark.parametrize(
    "change", [{"parents": ["x"]}, {"parents": []}, {"children": [["{}", 0]]}, {"lineage": 3}, {"edited": None}]
)
def test_another_state_is_refused(change):
    curriculum, replayed = in_a_replay_round()
    edited(curriculum, replayed, 4)
    state = curriculum.state_dict() | change
    with pytest.raises(CheckpointError):
        accel().load_state_dict(state)


def test_a_child_is_so_many_mutations_away(monkeypatch):
    """Three quarter turns are one to the other side."""
    turned = lambda family, context, random, side: {**context, "direction": (context["direction"] + 1) % 4}  # noqa: E731
    monkeypatch.setattr(module, "mutated", turned)
    curriculum, replayed = in_a_replay_round(edits=3, parents=1)
    tell(curriculum, replayed, *EASE)
    (child,) = curriculum.ask(1)
    assert child.seed == replayed[2].seed
    assert child.context["direction"] == (replayed[2].context["direction"] + 3) % 4


def test_a_source_inside_is_told_of_the_levels_that_it_made():
    curriculum, replayed = in_a_replay_round()
    heard = []
    own = curriculum.sources["source"]
    curriculum.sources["source"] = SimpleNamespace(
        feedback=True, ask=own.ask, tell=lambda results: heard.append([result.spec for result in results])
    )
    children, _ = edited(curriculum, replayed, 4)
    assert heard == [replayed]  # levels that it made, replayed
    tell(curriculum, children, [0.5] * 4, [0.25] * 4)
    assert heard[1:] == [[]]  # children are none of its own, not yet
    tell(curriculum, [replayed[0], children[0]], [0.0, 0.0], [0.0, 0.0])
    assert heard[2:] == [[replayed[0]]]  # and not once they are levels


def test_lineages_are_pruned_every_so_many_rounds(monkeypatch):
    monkeypatch.setattr(module, "_PRUNED", 3)
    curriculum, pruned = accel(), []
    curriculum._lineage.prune = lambda living: pruned.append(curriculum._rounds)
    for _ in range(7):
        specs = curriculum.ask(8)
        tell(curriculum, specs, [0.0] * 8, [0.5] * 8)
    assert pruned == [3, 6]


def test_children_of_children_are_a_generation_further():
    curriculum, replayed = in_a_replay_round(parents=1)
    stranger = MAZE.spec(seed=12345)
    for generation in (1, 2):
        tell(curriculum, replayed, [0.9] * len(replayed), [0.1] * len(replayed))
        children = curriculum.ask(2)
        assert curriculum._generations([*children, stranger]).tolist() == [generation, generation, 0]
        tell(curriculum, children, [0.5] * 2, [0.3] * 2)
        assert generation in curriculum._levels["generation"]
        replayed = children[:1]

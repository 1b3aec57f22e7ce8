"""The kit for environments catches what is wrong with them: every bad one of `gym_toys`, and no good one."""

import re
import time

import gym_toys  # noqa: F401 - classes are named by modules that are imported
import parallel_toys  # noqa: F401
import pytest

from taskgen.engines.gym_testing import checked, findings

WRONG = {
    "NondeterministicStep": "a new environment gives other episodes from the same seed",
    "IgnoresSeed": "a new environment gives other episodes from the same seed",
    "Forgets": "remembers earlier episodes",
    "AliasedBuffer": "an observation changes with the next step",
    "NanReward": "reward = nan",
    "InfiniteReward": "reward = inf",
    "NanObservation": "not finite: nan",
    "WrongType": "of <U1, expected float32",
    "DoubleObservation": "outside of Box.* in step 3: .*float64",
    "WrongShape": r"\[3\], expected \[2\]",
    "IntegerTerminated": "terminated = 0, a int",
    "FourValues": "4 values",
    "NoSeed": "unexpected keyword argument 'seed'",
    "OutOfBounds": "outside of Box.* in step 1",
    "OutOfBoundsLater": "outside of Box.* in step 6",
    "NeverEnds": "has not ended after 20 steps",
    "Endless": "has not ended after 10,000 steps",
    "Raises": "it raised ValueError: the floor gave way",
    "HeavyInfo": "the info of step 3 has 10,000,",
    "TakesAnything": r"it takes the action 2, which Discrete\(2\) does not have",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    found, _ = findings(f"gym_toys:{name}", {})
    assert any(re.search(WRONG[name], problem) for problem in found), found


def test_a_good_one_of_several_agents_is_played_as_each() -> None:
    found, digest = findings("parallel_toys:Walk", {})
    assert found == []
    assert digest == findings("parallel_toys:annotated", {})[1]
    alone = findings("gym_toys:Careful", {})[1]
    assert len(digest) == 3 * len(alone)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Raises", "as walker_0: it raised ValueError: the floor gave way"),
        ("Drops", "as walker_0: .*walker_0"),
        ("BlindPusher", "as walker_0: .*pusher_0"),
        ("of_turns", "expected a pettingzoo.ParallelEnv"),
    ],
)
def test_what_is_wrong_with_several_agents_is_named(name: str, problem: str) -> None:
    found, _ = findings(f"parallel_toys:{name}", {})
    assert any(re.search(problem, one) for one in found), found


def test_memory_that_grows_is_told_from_a_process_of_its_own() -> None:
    assert re.search("its memory grew by", "\n".join(checked("gym_toys:GrowingMemory", {}, 60.0)))


@pytest.mark.parametrize("id_", ["gym_toys:Careful", "gym_toys:Parts", "CartPole-v1", "LunarLander-v3"])
def test_nothing_is_wrong_with_a_good_one(id_: str) -> None:
    found, digest = findings(id_, {"length": 3.0} if "toys" in id_ else {})
    assert found == []
    assert digest == findings(id_, {"length": 3.0} if "toys" in id_ else {})[1]


def test_what_hangs_and_what_dies_is_told_by_whoever_waits() -> None:
    begun = time.monotonic()
    assert checked("gym_toys:Hangs", {}, 0.6) == ["not done after 0.6 s"]
    assert checked("gym_toys:Dies", {}, 20.0) == ["its process died (exit code 7)"]
    assert checked("gym_toys:OtherEverywhere", {}, 20.0) == ["another process gives other episodes from the same seed"]
    assert time.monotonic() - begun < 15.0


def test_a_kit_for_tests() -> None:
    from taskgen.testing import check_environment

    check_environment("gym_toys:Careful")
    with pytest.raises(AssertionError, match=r"gym_toys:TakesAnything:\n  - it takes the action 2"):
        check_environment("gym_toys:TakesAnything", length=3.0)

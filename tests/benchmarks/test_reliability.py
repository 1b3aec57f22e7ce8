"""A small sample of the damage that `benchmarks.reliability` does, and that it notices what is wrong."""

from random import Random

import pytest

from benchmarks import reliability
from benchmarks.reliability import PARTS, Bench, Found, Said, table, together, tried


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize(
    ("part", "numbers"), [("flips", range(3)), ("configurations", range(3)), ("directories", range(3))]
)
def test_damage_is_told_or_changes_nothing(bench: Bench, part: str, numbers: range) -> None:
    found = tried(bench, part, numbers, seed=0)
    assert (found.tried, found.silent, found.traceback, found.wait) == (len(numbers), [], [], [])


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bytes(bench: Bench) -> None:
    found = tried(bench, "kills", range(2), seed=0)
    assert (found.silent, found.traceback, found.wait) == ([], [], [])


def test_what_is_wrong_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that shrugs, one that breaks, one that waits: each is found out."""

    def shrugs(words: list[str]) -> int:
        print("all is well")
        return 0

    def breaks(words: list[str]) -> int:
        raise KeyError(words[0])

    def waits(words: list[str]) -> int:
        while True:
            pass

    found = Found()
    with bench.copy("plain") as path:
        bench.judge(found, "nothing", path, ("evaluate",))
    assert (found.tried, found.right) == (1, 1)
    monkeypatch.setattr(reliability, "PATIENCE", 0.2)
    for command in (shrugs, breaks, waits):
        monkeypatch.setattr(reliability, "taskgen", command)
        with bench.copy("plain") as path:
            bench.judge(found, command.__name__, path, ("evaluate",))
    assert found.silent == ["plain: shrugs"]
    assert found.traceback == ["plain: breaks: KeyError: 'evaluate'"]
    assert found.wait == ["plain: waits"]
    assert (found.tried, found.right) == (4, 1)
    assert table({"flips": found})[1].split() == ["flips", "4", "1", "1", "1", "1"]
    twice = together([vars(found), vars(found)])
    assert (twice.tried, twice.right, len(twice.silent)) == (8, 2, 2)


def test_the_first_message_counts_and_a_refusal_needs_one() -> None:
    usual = Said(0, "", "50% of the evaluation\n")
    assert reliability._told(Said(2, "", "error: damaged\n"), usual)
    assert reliability._told(Said(0, "", "skipped: checkpoint\n50% of the evaluation\n"), usual)
    assert not reliability._told(Said(2, "", ""), usual)
    assert not reliability._told(Said(0, "", "50% of the evaluation\n"), usual)


def test_tries_are_a_function_of_seed_part_and_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    monkeypatch.setitem(PARTS, "drawn", lambda _, rng, found: drawn.append(rng.random()))  # type: ignore[misc]
    tried(bench, "drawn", range(4), 0)
    tried(bench, "drawn", range(2, 4), 0)
    tried(bench, "drawn", range(1), 1)
    assert drawn[4:6] == drawn[2:4]
    assert len(set(drawn)) == 5
    assert Random("0 drawn 0").random() == drawn[0]

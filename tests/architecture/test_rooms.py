"""Who may enter which room: what no list in pyproject.toml can say of a file that is yet to be written."""

import pytest

from tests.architecture import arrows

GRAPH = arrows.graph()
ALGORITHMS = sorted(module for module in GRAPH.find_children("agents") if arrows.room(module) == "agents: algorithms")


def test_every_algorithm_is_looked_at() -> None:
    assert {"agents.rl2", "agents.maml", "agents.pearl"} <= set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_knows_neither_how_it_is_trained_nor_how_it_is_reported(algorithm) -> None:
    for room in ("agents.training", "agents.reports", "agents.sweeps", "agents.evaluation", "agents.commands"):
        assert not GRAPH.chain_exists(algorithm, room, as_packages=True), GRAPH.find_shortest_chain(algorithm, room)


def test_rooms_are_packages_and_algorithms_are_files() -> None:
    packages = {module for module in GRAPH.find_children("agents") if GRAPH.find_children(module)}
    assert packages.isdisjoint(ALGORITHMS)


def test_no_module_imports_itself_by_way_of_others_not_even_for_its_types() -> None:
    assert not arrows.circles(), "\n".join(arrows.circles())


def test_no_room_imports_one_above_it() -> None:
    assert not arrows.upward(arrows.arrows())


def test_every_room_is_in_the_list_and_has_files() -> None:
    assert {arrows.room(module) for module in GRAPH.modules} == set(arrows.ROOMS)


def test_the_table_in_the_document_is_current() -> None:
    assert arrows.main(["--check"]) == 0, "run `make rooms`"

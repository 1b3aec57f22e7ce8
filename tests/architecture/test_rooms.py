"""Who may enter which room: what no list in pyproject.toml can say of a file that is yet to be written."""

import grimp
import pytest

PACKAGES = ("registry", "taskgen", "plugins", "agents")
GRAPH = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)
ALGORITHMS = sorted(
    GRAPH.find_children("agents")
    - {f"agents.{room}" for room in ("commands", "plugin", "testing", "training", "reports", "evaluation")}
    - {f"agents.{room}" for room in ("common", "networks", "reference", "experiments")}
)


def test_every_algorithm_is_looked_at() -> None:
    assert {"agents.rl2", "agents.maml", "agents.pearl"} <= set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_knows_neither_how_it_is_trained_nor_how_it_is_reported(algorithm) -> None:
    for room in ("agents.training", "agents.reports", "agents.evaluation", "agents.commands"):
        assert not GRAPH.chain_exists(algorithm, room, as_packages=True), GRAPH.find_shortest_chain(algorithm, room)


def test_rooms_are_packages_and_algorithms_are_files() -> None:
    packages = {module for module in GRAPH.find_children("agents") if GRAPH.find_children(module)}
    assert packages.isdisjoint(ALGORITHMS)


def test_no_module_imports_itself_by_way_of_others_not_even_for_its_types() -> None:
    circles = {}
    for module in sorted(GRAPH.modules):
        for imported in GRAPH.find_modules_directly_imported_by(module):
            if chain := GRAPH.find_shortest_chain(imported, module):
                circles[frozenset(chain)] = " -> ".join((*chain, imported))
    assert not circles, "\n".join(circles.values())

"""Rooms of the source and the arrows between them: `python -m tests.architecture.arrows [--check]`.

Counts who imports whom, for types too, and writes it between `<!-- rooms:start -->` and `<!-- rooms:end -->` of
docs/architecture.md; with `--check` only says whether that is up to date. An arrow is a pair of rooms of which one
imports the other, by however many lines. A room's floor is how many rooms its longest chain of imports leads through.
"""

import argparse
import sys
from functools import cache
from pathlib import Path

import grimp

from benchmarks.table import rewrite
from taskgen.files import write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
PACKAGES = ("registry", "taskgen", "plugins", "agents")
DOORS = {
    "agents": ("plugin", "commands", "api", "testing", "checking"),
    "plugins": ("plugin",),
    "taskgen": ("plugin", "commands", "testing", "runner"),
}
"""Files at the top of a package by which others enter it: they know its rooms, whose tops its other files are not."""
ROOMS = (
    "agents: doors",
    *(f"agents.{name}" for name in ("sweeps", "reports", "training", "evaluation")),
    "agents: algorithms",
    *(f"agents.{name}" for name in ("reference", "common", "networks", "experiments")),
    "plugins: doors",
    *(f"plugins.{name}" for name in ("runners", "generators", "curricula", "families", "rewards", "trackers")),
    "taskgen: doors",
    *(f"taskgen.{name}" for name in ("faces", "interaction", "engines")),
    "taskgen: tasks",
    "registry",
)
"""From the top down: none imports what stands before it."""


@cache
def graph() -> grimp.ImportGraph:
    """All imports between the modules of the four packages, those for types alone included."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)


def room(module: str) -> str:
    """The room that `module` stands in."""
    package, *inner = module.split(".")
    if package == "registry":
        return package
    if not inner or inner[0] in DOORS[package]:
        return f"{package}: doors"
    if graph().find_children(f"{package}.{inner[0]}"):
        return f"{package}.{inner[0]}"
    return f"{package}: {'tasks' if package == 'taskgen' else 'algorithms'}"


def arrows() -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second."""
    pairs = {
        (room(module), room(imported))
        for module in graph().modules
        for imported in graph().find_modules_directly_imported_by(module)
    }
    return {(one, other) for one, other in pairs if one != other}


def upward(found: set[tuple[str, str]]) -> list[str]:
    """Arrows from a room to one that stands above it."""
    return [f"{one} -> {other}" for one, other in found if ROOMS.index(one) > ROOMS.index(other)]


def circles() -> list[str]:
    """Chains of imports that lead from a module back to itself, one for every set of modules."""
    found: dict[frozenset[str], str] = {}
    for module in sorted(graph().modules):
        for imported in sorted(graph().find_modules_directly_imported_by(module)):
            if chain := graph().find_shortest_chain(imported, module):
                found[frozenset(chain)] = " -> ".join((*chain, imported))
    return list(found.values())


def table() -> str:
    """Markdown: the rooms from the top down with their floors, files and imports."""
    found = arrows()
    floors: dict[str, int] = {}
    for name in reversed(ROOMS):
        floors[name] = 1 + max((floors[other] for one, other in found if one == name and other in floors), default=0)
    inside = sum(one.startswith("agents") and other.startswith("agents") for one, other in found)
    summary = (
        f"{len(ROOMS)} rooms on {max(floors.values())} floors, {len(found)} arrows between them ({inside} within "
        f"`agents/`), {len(upward(found))} upward; {len(circles())} circles of modules, imports for types included."
    )
    rows = (
        f"| {floors[name]} | `{name}` | {', '.join(other for other in ROOMS if (name, other) in found)} |"
        for name in ROOMS
    )
    return "\n".join((summary, "", "| floor | room | imports |", "|---|---|---|", *rows))


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the page, or check it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.arrows", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if the page is out of date")
    given = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    wanted = rewrite(text, table(), "rooms")
    if wanted != text and given.check:
        print(f"{PAGE}: the table of rooms is out of date; run `make rooms`", file=sys.stderr)
        return 1
    if wanted != text:
        write_atomically(PAGE, wanted.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

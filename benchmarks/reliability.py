"""What damage does: of so many tries each is told or does nothing, none is silent, a traceback or waited for.

    python -m benchmarks.reliability                               an hour or two; resumable
    python -m benchmarks.reliability --share 1/2                   half of it, beside another process with --share 2/2
    python -m benchmarks.reliability --sizes flips=300,kills=4 --parts flips,kills --dry

Processes with a share keep what they find; a last call without one does what is left, and records all.

Each part is a function that tries one kind of damage, by a random stream of its own (seed, part, number of the try),
and says what became of it:

flips           one bit of a file that a command reads back is flipped
configurations  config.toml is cut short, or a setting of it altered, removed or added
directories     a file of a run is gone, empty, cut, a pipe, a directory, or that of another run
kills           training is killed and resumed until it is over, which has to give the same bytes
plugins         a plugin breaks its contract, in every way that is known
task-lines      a line of a task file is altered: bytes, values, keys, nesting, sizes
experiments     the file of an experiment is altered in the same ways

"Right" is what is refused or told by a message, or changes no output of any command; of lines and experiments also what
is read as it is written. To add a part write one function and name it in `PARTS`.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.damage import Found, drawn_once
from benchmarks.damaged_inputs import broken, experiments, plugins, task_lines
from benchmarks.damaged_runs import Bench, configurations, directories, flips, kills
from benchmarks.harness import Resume, Row, record, row

PARTS: Mapping[str, Callable[[Bench, int, Random, Found], None]] = {
    "flips": flips,
    "configurations": configurations,
    "directories": directories,
    "kills": kills,
    "plugins": plugins,
    "task-lines": task_lines,
    "experiments": experiments,
}
"""By name; each makes one try."""
SIZES = {
    "flips": 10_000,
    "configurations": 500,
    "directories": 500,
    "kills": 300,
    "plugins": len(broken()),
    "task-lines": 100_000,
    "experiments": 2_000,
}
CHUNKS = {"task-lines": 1000, "experiments": 100}
"""Tries between two records of what was found, where these are cheap; else `CHUNK`."""
CHUNK = 25


def tried(bench: Bench, part: str, numbers: range, seed: int) -> Found:
    """The tries of `part` with these numbers."""
    found = Found()
    for number in numbers:
        PARTS[part](bench, number, Random(f"{seed} {part} {number}"), found)
    return found


def together(parts: Sequence[Mapping[str, Any]]) -> Found:
    """One count of several, as they were kept."""
    found = Found()
    for part in parts:
        found.tried += part["tried"]
        found.silent += part["silent"]
        found.traceback += part["traceback"]
        found.wait += part["wait"]
    return found


def table(found: Mapping[str, Found]) -> list[str]:
    """A line per part."""
    lines = [f"{'part':<16}{'tried':>8}{'right':>8}{'silent':>8}{'tracebacks':>12}{'waits':>7}"]
    for part, one in found.items():
        counts = f"{one.tried:>8}{one.right:>8}{len(one.silent):>8}{len(one.traceback):>12}{len(one.wait):>7}"
        lines.append(f"{part:<16}{counts}")
    return lines


def rows(found: Mapping[str, Found]) -> list[Row]:
    """What is recorded: the share that is right, and how many were not."""
    recorded: list[Row] = []
    for part, one in found.items():
        recorded.append(
            row(f"{part}: share of {one.tried:,} tries that were right", one.right / one.tried, target=">= 1")
        )
        wrong = {"silent": one.silent, "traceback": one.traceback, "wait": one.wait}
        recorded += [row(f"{part}: {name}", len(what), target="<= 0") for name, what in wrong.items()]
    return recorded


def shared(text: str) -> tuple[int, int]:
    """Which share of how many: "2/3" is (1, 3)."""
    which, _, of = text.partition("/")
    if not (which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected I/N, such as 1/2 and 2/2 for two processes")
    return int(which) - 1, int(of)


def main(arguments: Sequence[str] | None = None) -> dict[str, Found]:
    """Try, print the table and what was not right, and record it unless this is but a share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, by commas")
    parser.add_argument("--sizes", default="", help="tries of parts, such as flips=300,kills=4")
    parser.add_argument("--seed", type=int, default=0, help="root of all random streams")
    parser.add_argument("--share", type=shared, metavar="I/N", help="only this share of the tries; nothing is recorded")
    parser.add_argument("--dry", action="store_true", help="keep and record nothing")
    given = parser.parse_args(arguments)
    sizes = SIZES | {
        part: int(size) for part, _, size in (text.partition("=") for text in given.sizes.split(",") if text)
    }
    name = "" if given.share is None else f"{given.share[0] + 1}-of-{given.share[1]}"
    kept = None if given.dry else Resume("reliability", {"seed": given.seed, "chunks": [CHUNK, CHUNKS]}, name)
    which, of = given.share or (0, 1)
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as place, drawn_once():
        bench = Bench(Path(place))
        for part in given.parts.split(","):
            step = CHUNKS.get(part, CHUNK)
            chunks = [range(first, min(first + step, sizes[part])) for first in range(0, sizes[part], step)]
            counts: list[Mapping[str, Any]] = []
            for chunk in chunks[which::of]:

                def measure(part: str = part, chunk: range = chunk) -> dict[str, Any]:
                    return vars(tried(bench, part, chunk, given.seed))

                counts.append(measure() if kept is None else kept.part(f"{part} {chunk.start}-{chunk.stop}", measure))
            found[part] = together(counts)
    print("\n".join(table(found)))
    for part, one in found.items():
        for name in ("silent", "traceback", "wait"):
            for what in getattr(one, name):
                print(f"{part}: {name}: {what}")
    if kept is not None and given.share is None:
        record("reliability", rows(found), [given.seed], kept.notes)
        kept.done()
    return found


if __name__ == "__main__":
    main()

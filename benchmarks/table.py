"""The figures in the README, from the recorded results: `python -m benchmarks.table [--check] [README]`.

Rewrites what stands between `<!-- figures:start -->` and `<!-- figures:end -->`; with `--check` only says whether it
is up to date. Of a benchmark of many figures those with a target are spelled out, or those that missed it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT
from registry.errors import UserError
from taskgen.files import write_atomically

MOST_ROWS = 16
"""A benchmark with more figures is summed up."""


def table(results: Path = RESULTS) -> str:
    """Markdown for all results under `results`, by name."""
    recorded = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    return "\n\n".join(_section(result) for result in recorded) or "No benchmark has been recorded yet."


def rewrite(text: str, content: str, name: str) -> str:
    """`text` with `content` between the markers of `name`. Raises `UserError` unless both are there, in order."""
    first, last = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise UserError(f"the file needs the lines {first} and {last}, in this order, around what is generated")
    return f"{before}{first}\n{content}\n{last}{after}"


def _section(result: Mapping[str, Any]) -> str:
    name, rows = result["benchmark"], result["rows"]
    shown = next(some for some in _selections(rows) if len(some) <= MOST_ROWS)
    lines = [f"**[{name}](benchmarks/results/{name}.json)**: `python -m benchmarks.{name}`; {_made_on(result)}."]
    if len(rows) > MOST_ROWS:
        judged = [row["met"] for row in rows if row["met"] is not None]
        lines.append(f"{len(rows)} figures, {sum(judged)} of {len(judged)} targets met.")
    if shown:
        lines.append("\n".join(["| what | measured | target | met |", "|---|---|---|---|", *map(_line, shown)]))
    if result.get("notes"):
        lines.append(_cell(result["notes"]))
    return "\n\n".join(lines)


def _selections(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """All rows, those that stand beside a target, those that missed theirs, at most so many of these."""
    yield rows
    yield [row for row in rows if row["target"] is not None]
    missed = [row for row in rows if row["met"] is False]
    yield missed
    yield missed[:MOST_ROWS]


def _made_on(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    parts = [machine["processor"], f"{machine['cores']} cores"]
    parts += [] if machine["accelerator"] == "none" else [machine["accelerator"]]
    commit, _, dirty = result["commit"].partition("-")
    state = f"commit {commit[:10]}{' with changes' if dirty else ''}" if commit else "no commit"
    seeds = ", ".join(map(str, result["seeds"]))
    return f"{result['date']}, {', '.join(parts)}, {state}" + (f", seeds {seeds}" if seeds else "")


def _line(row: Mapping[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{_number(row['low'])}, {_number(row['high'])}]"
    source = f" ({row['source']})" if row["source"] and row["target"] is not None else ""
    target = _cell(_target(row["target"]) + source)
    met = {None: "", True: "yes", False: "**no**"}[row["met"]]
    return f"| {_cell(row['what'])} | {_number(row['value'])}{interval} | {target} | {met} |"


def _target(target: Any) -> str:
    if target is None:
        return ""
    if isinstance(target, list):
        return f"{_number(target[0])} to {_number(target[1])}"
    return target if isinstance(target, str) else _number(target)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("readme", nargs="?", type=Path, default=ROOT / "README.md")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if the figures are out of date"
    )
    given = parser.parse_args(arguments)
    text = given.readme.read_text(encoding="utf-8")
    try:
        wanted = rewrite(text, table())
    except UserError as error:
        print(f"{given.readme}: {error}", file=sys.stderr)
        return error.exit_code
    if wanted == text:
        return 0
    if given.check:
        print(f"{given.readme}: figures are out of date; run `python -m benchmarks.table`", file=sys.stderr)
        return 1
    write_atomically(given.readme, wanted.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

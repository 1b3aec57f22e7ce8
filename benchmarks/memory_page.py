"""The tables of docs/memory.md, from the results that are recorded: what was not measured is not shown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

BENCHMARKS = {
    "cores": "Cores of RL^2",
    "episodic_memory": "What an episodic memory adds",
    "episodic_control": "Episodic control",
}
"""Benchmark -> heading, in the order of the page."""
_ROW = re.compile(r"(?P<world>[\w-]+), (?P<who>[\w .-]+): (?P<what>.+)")
"""What a row is called where it has a place in a table: a world, a player, a figure."""


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: for each benchmark that is recorded and each of its worlds who earned what."""
    recorded = {result["benchmark"]: result for result in results}
    missing = [f"`python -m benchmarks.{name}`" for name in BENCHMARKS if name not in recorded]
    parts = [
        part for name, title in BENCHMARKS.items() if name in recorded for part in _benchmark(title, recorded[name])
    ]
    if missing:
        parts.append(f"Not recorded yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def _benchmark(title: str, result: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    yield f"[`python -m benchmarks.{result['benchmark']}`](figures.md#{result['benchmark']}); brackets: 95% intervals."
    worlds: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in result["rows"]:
        if found := _ROW.fullmatch(row["what"]):
            worlds.setdefault(found["world"], {}).setdefault(found["who"], {})[found["what"]] = row
    for world, players in worlds.items():
        figures = list(dict.fromkeys(what for player in players.values() for what in player))
        shared = [what for what in figures if sum(what in player for player in players.values()) > 1]
        lines = [f"| {world} | {' | '.join(shared)} |", "|---" * (len(shared) + 1) + "|"]
        for who, player in players.items():
            if set(shared) & player.keys():
                lines.append(f"| {who} | {' | '.join(_cell(player.get(what)) for what in shared)} |")
        if len(lines) > 2:
            yield "\n".join(lines)
        alone = [
            f"- {world}, {who}: {what}: {_cell(row)}"
            for who, player in players.items()
            for what, row in player.items()
            if what not in shared
        ]
        if alone:
            yield "\n".join(alone)
    if any(row["what"].startswith("barcode-bandit, ") and "Bayes" not in row["what"] for row in result["rows"]):
        yield "![Return of each visit to a barcoded bandit](visits.svg)"
    if any("stays after" in row["what"] for row in result["rows"]):
        yield "![Staying with a choice by what it paid and how it was led there](two-step.svg)"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    value, low, high = (None if end is None else f"{end:,.4g}" for end in (row["value"], row["low"], row["high"]))
    return f"{value}" if low is None else f"{value} [{low}, {high}]"

"""The tables of docs/matrix.md, from the result that is recorded: what helps whom, and what could not be told apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PLAIN = "domain-randomization"
"""The source beside which the others are held."""
SETS = {"held-out": "Held-out tasks", "beyond": "Tasks beyond"}
_ROW = re.compile(r"(?P<world>[\w-]+), (?P<source>[\w-]+) (?P<agent>[\w-]+), (?P<tasks>[\w-]+): (?P<what>.+)")
"""What a row of a cell is called: where it belongs, and which figure it is."""
Rows = Mapping[tuple[str, str], Mapping[str, Any]]
"""By cell, and by what a figure is on a set."""


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: who was trained by what, world by world; then the claims; then what is refused."""
    result = next((one for one in results if one["benchmark"] == "matrix"), None)
    if result is None:
        return "Not recorded yet: `python -m benchmarks.matrix`."
    cells = result["cells"]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in result["rows"]:
        if found := _ROW.fullmatch(row["what"]):
            cell = f"{found['world']} {found['source']} {found['agent']}"
            rows.setdefault((cell, found["tasks"]), {})[found["what"]] = row
    parts = [part for world in dict.fromkeys(cell.split()[0] for cell in cells) for part in _world(world, cells, rows)]
    refused = {cell: standing for cell, standing in cells.items() if isinstance(standing, str)}
    return "\n\n".join([*parts, *_claims(cells, rows), "## Refused", "\n".join(f"- {line}" for line in told(refused))])


def told(refused: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason of a world: which sources with which agents, and why."""
    reasons: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for cell, reason in refused.items():
        world, source, agent = cell.split()
        reasons.setdefault((world, reason), []).append((source, agent))
    for (world, reason), pairs in reasons.items():
        sources, agents = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
        if len(pairs) == len(sources) * len(agents):
            yield f"{world}, {', '.join(sources)} x {', '.join(agents)}: {reason}"
        else:
            yield f"{world}, {', '.join(' x '.join(pair) for pair in pairs)}: {reason}"


def _world(world: str, cells: Mapping[str, Any], rows: Rows) -> Iterator[str]:
    """A table for each set: sources down, agents across."""
    here = [cell.split()[1:] for cell in cells if cell.split()[0] == world]
    sources, agents = (list(dict.fromkeys(side)) for side in zip(*here, strict=True))
    yield f"## {world}"
    for tasks, title in SETS.items():
        lines = [f"| {title} | {' | '.join(agents)} |", "|---" * (len(agents) + 1) + "|"]
        for source in sources:
            shown = [_cell(f"{world} {source} {agent}", tasks, cells, rows) for agent in agents]
            lines.append(f"| {source} | {' | '.join(shown)} |")
        yield "\n".join(lines)


def _cell(cell: str, tasks: str, cells: Mapping[str, Any], rows: Rows) -> str:
    if isinstance(cells[cell], str):
        return "refused"
    found = rows.get((cell, tasks), {})
    if not found:
        return "not run"
    returns = [row for what, row in found.items() if what.startswith("return ")]
    return _figure(found.get("share", returns[-1]))


def _claims(cells: Mapping[str, Any], rows: Rows) -> Iterator[str]:
    """What is surely ahead of tasks drawn by hand, what is surely behind, and what is neither."""
    for tasks, title in SETS.items():
        sides: dict[str, list[str]] = {"helps": [], "hurts": [], "unsure": [], "few": []}
        for cell, standing in cells.items():
            gain = rows.get((cell, tasks), {}).get("gain")
            if isinstance(standing, str) or gain is None:
                continue
            world, source, agent = cell.split()
            side = _side(gain)
            text = f"{source} x {agent} on {world}: {_figure(gain)}"
            sides[side].append(text)
        yield f"## {title}: what helps whom"
        yield "By how much the last episode returns more than where the agent was trained on tasks drawn by hand."
        for side, heading in _HEADINGS.items():
            lines = "\n".join(f"- {line}" for line in sides[side]) or "- none"
            yield f"{heading}:\n\n{lines}"


_HEADINGS = {
    "helps": "It helps",
    "hurts": "It hurts",
    "unsure": "Could not be told apart",
    "few": "Too few seeds for an interval",
}


def _side(gain: Mapping[str, Any]) -> str:
    if gain["low"] is None or len(gain.get("values", ())) < 3:
        return "few"
    return "helps" if gain["low"] > 0 else "hurts" if gain["high"] < 0 else "unsure"


def _figure(row: Mapping[str, Any]) -> str:
    value, low, high = (None if end is None else f"{end:,.3g}" for end in (row["value"], row["low"], row["high"]))
    return f"{value}" if low is None else f"{value} [{low}, {high}]"

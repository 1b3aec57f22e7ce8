"""List the benchmarks: `python -m benchmarks`."""

import ast
import json
from pathlib import Path

from benchmarks.harness import RESULTS

HERE = Path(__file__).parent
TOOLS = ("__main__", "recompute", "speed", "table")
"""Modules with a `main` that are no benchmarks of their own."""


def listing() -> list[str]:
    """One line per benchmark: name, what it measures, and how its recorded result stands."""
    lines: list[str] = []
    for path in sorted(HERE.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if path.stem not in TOOLS and any(
            isinstance(node, ast.FunctionDef) and node.name == "main" for node in module.body
        ):
            summary = (ast.get_docstring(module) or "").partition("\n")[0]
            lines.append(f"{path.stem:22} {standing(RESULTS / f'{path.stem}.json'):42} {summary}")
    return lines


def standing(path: Path) -> str:
    """How the result recorded at `path` stands."""
    if not path.is_file():
        return "not recorded"
    result = json.loads(path.read_text(encoding="utf-8"))
    judged = [row["met"] for row in result["rows"] if row["met"] is not None]
    return f"{result['date']}, {len(result['rows'])} figures, {sum(judged)} of {len(judged)} targets met"


def main() -> None:
    """Print the list."""
    print("\n".join(listing()))
    print("\nRun one with `python -m benchmarks.NAME`; `python -m benchmarks.speed` runs those of the speed table,")
    print("`python -m benchmarks.table` (`make figures`) puts the results into docs/figures.md and the README.")


if __name__ == "__main__":
    main()

"""The figures in the documents, from the recorded results: `python -m benchmarks.table [--check]`.

Writes docs/figures.md, which has them all, and what stands between `<!-- figures:start -->` and `<!-- figures:end -->`
of the README, which has ten, and likewise the tables of docs/memory.md and docs/matrix.md; with `--check` only says
whether all are up to date.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import matrix_page, memory_page
from benchmarks.harness import RESULTS, ROOT, meets
from registry.errors import UserError, suggest
from taskgen.files import write_atomically

Result = Mapping[str, Any]


class Headline(NamedTuple):
    """A figure that the README shows."""

    what: str
    """In the README's words."""
    benchmark: str
    row: str
    """What the benchmark calls it."""


HEADLINES = (
    Headline("RL^2, bandits of 5 arms and 10 pulls: return of a trial", "rl2_bandit", "rl2: mean trial return"),
    Headline("RL^2, tabular MDPs, 10 episodes: return of a trial", "rl2_tabular", "rl2: mean trial return"),
    Headline(
        "RL^2, VariBAD's grid, 4 episodes: return of a trial",
        "adaptation",
        "grid-navigation-varibad, rl2: return of a trial",
    ),
    Headline(
        "MAML, point navigation: return after one gradient step",
        "maml_navigation",
        "maml: mean return after 1 gradient steps",
    ),
    Headline(
        "PEARL, sparse point robot: return of the 5th episode",
        "pearl_sparse_point",
        "pearl: mean return of episode 5",
    ),
    Headline(
        "RL^2 meta-trained on DIAYN's rewards less from scratch, hand-made goals",
        "unsupervised_meta_rl",
        "gain in trial return of DIAYN's rewards over from scratch",
    ),
    Headline(
        "PAIRED less minimax, mazes of 20 to 40 walls: share solved",
        "paired_maze",
        "paired less minimax, share solved, 20 to 40 walls",
    ),
    Headline(
        "ACCEL less domain randomisation, the 12 named mazes: share solved",
        "maze_ood",
        "gain of accel-maze over dr-maze",
    ),
    Headline(
        "tensor engine, 16,384 bandits: speed, times `SyncVectorEnv`",
        "engine_throughput",
        "bandit, pulls=10, 16,384 slots: tensor engine, cpu, times SyncVectorEnv, plain NumPy",
    ),
    Headline(
        "training RL^2 on bandits, one core: speed, times plain jitted JAX",
        "jax_twins",
        "rl2-bandit: ours over JAX twin",
    ),
)
PAGES = {"matrix": "matrix.md"}
"""Benchmarks of so many figures that another page has them, as tables."""
_TITLE = """# Figures

Written by `make figures` from `benchmarks/results/`, where each benchmark's file holds machine, versions, seeds and
commit besides. Run one anew with its command. Brackets hold 95% intervals or, of speeds, the spread of repetitions."""


def recorded() -> list[Result]:
    """All recorded results, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def page(results: Sequence[Result]) -> str:
    """Markdown of all figures."""
    if not results:
        return f"{_TITLE}\n\nNo benchmark has been recorded yet.\n"
    listing = [
        f"| [{result['benchmark']}](#{result['benchmark']}) | {len(result['rows'])} | {_standing([result])} |"
        for result in results
    ]
    index = "\n".join(["| benchmark | figures | targets met |", "|---|---|---|", *listing])
    missed = [
        f"- [{result['benchmark']}](#{result['benchmark']}): {_cell(row['what'])}: {_measured(row)}, {_wanted(row)}"
        for result in results
        for row in result["rows"]
        if row["met"] is False
    ]
    parts = [_TITLE, index, f"{_summary(results)}.", *(["Missed:", "\n".join(missed)] if missed else [])]
    return "\n\n".join([*parts, *map(_section, results)]) + "\n"


def headlines(results: Sequence[Result], chosen: Iterable[Headline]) -> str:
    """Markdown of the `chosen` figures. Raises `UserError` for one that the results do not have."""
    lines = ["| what | target | measured | met | command |", "|---|---|---|---|---|"]
    rows = {result["benchmark"]: {row["what"]: row for row in result["rows"]} for result in results}
    for what, benchmark, name in chosen:
        if name not in rows.get(benchmark, {}):
            raise UserError(
                f"headline {what!r}: {benchmark} has no row {name!r}. {suggest(name, rows.get(benchmark, ()))}"
            )
        row = rows[benchmark][name]
        lines.append(
            f"| {_cell(what)} | {_cell(_target(row['target']))} | {_measured(row)} | {_met(row)} "
            f"| `python -m benchmarks.{benchmark}` |"
        )
    return "\n".join([*lines, "", f"{_summary(results)}: [all figures](docs/figures.md)."])


def rewrite(text: str, content: str, name: str) -> str:
    """`text` with `content` between the markers of `name`. Raises `UserError` unless both are there, in order."""
    first, last = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise UserError(f"the file needs the lines {first} and {last}, in this order, around what is generated")
    return f"{before}{first}\n{content}\n{last}{after}"


def _section(result: Result) -> str:
    name, rows = result["benchmark"], result["rows"]
    lines = [f"## {name}", f"[`python -m benchmarks.{name}`](../benchmarks/results/{name}.json); {_made_on(result)}."]
    if name in PAGES:
        return "\n\n".join([*lines, f"Its {len(rows)} figures stand on [a page of their own]({PAGES[name]})."])
    judged = [row for row in rows if row["target"] is not None]
    others = [row for row in rows if row["target"] is None]
    if judged:
        lines.append(_rows(judged))
    if others:
        many = f"<details><summary>{len(others)} figures without a target</summary>"
        lines += [_rows(others)] if not judged else [many, _rows(others), "</details>"]
    lines += [_cell(told) for told in (_parts(result), result.get("notes")) if told]
    return "\n\n".join(lines)


def _parts(result: Result) -> str:
    """Of a result that was recorded part by part: when each part was, but for those of the last time."""
    before: dict[str, list[str]] = {}
    for part, measured in result.get("parts", {}).items():
        if measured["commit"] != result["commit"]:
            before.setdefault(f"{measured['date']}, commit {measured['commit'][:10]}", []).append(part)
    return "; ".join(f"{', '.join(parts)}: {when}" for when, parts in before.items())


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(["| what | measured | target | met |", "|---|---|---|---|", *map(_line, rows)])


def _summary(results: Sequence[Result]) -> str:
    figures = sum(len(result["rows"]) for result in results)
    return f"{figures:,} figures of {len(results)} benchmarks, {_standing(results)} targets met"


def _standing(results: Sequence[Result]) -> str:
    judged = [row["met"] for result in results for row in result["rows"] if row["met"] is not None]
    return f"{sum(judged)} of {len(judged)}"


def _made_on(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    parts = [machine["processor"], f"{machine['cores']} cores"]
    parts += [] if machine["accelerator"] == "none" else [machine["accelerator"]]
    commit, _, dirty = result["commit"].partition("-")
    state = f"commit {commit[:10]}{' with changes' if dirty else ''}" if commit else "no commit"
    seeds = ", ".join(map(str, result["seeds"]))
    return f"{result['date']}, {', '.join(parts)}, {state}" + (f", seeds {seeds}" if seeds else "")


def _line(row: Mapping[str, Any]) -> str:
    return f"| {_cell(row['what'])} | {_measured(row)} | {_wanted(row)} | {_met(row)} |"


def _measured(row: Mapping[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{_number(row['low'])}, {_number(row['high'])}]"
    return f"{_beside(row['value'], row['target'])}{interval}"


def _beside(value: float, target: Any) -> str:
    """The value with four digits, or as many as it takes to see on which side of the target it is."""
    target = tuple(target) if isinstance(target, list) else target
    shown = (_number(value, digits) for digits in range(4, 18))
    return next(text for text in shown if meets(float(text.replace(",", "")), target) == meets(value, target))


def _wanted(row: Mapping[str, Any]) -> str:
    source = f" ({row['source']})" if row["source"] and row["target"] is not None else ""
    return _cell(_target(row["target"]) + source)


def _met(row: Mapping[str, Any]) -> str:
    met = {None: "", True: "yes", False: "**no**"}[row["met"]]
    return f"{met} ({row['why']})" if met and "why" in row else met


def _target(target: Any) -> str:
    if target is None:
        return ""
    if isinstance(target, list):
        return f"{_number(target[0])} to {_number(target[1])}"
    return target if isinstance(target, str) else _number(target)


def _number(value: float, digits: int = 4) -> str:
    return f"{value:,.{digits - 4}f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT, help="folder with README.md and docs/")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if the figures are out of date"
    )
    given = parser.parse_args(arguments)
    readme, docs = given.into / "README.md", given.into / "docs"
    memory, matrix = docs / "memory.md", docs / "matrix.md"
    results = recorded()
    try:
        wanted = {
            docs / "figures.md": page(results),
            readme: rewrite(readme.read_text(encoding="utf-8"), headlines(results, HEADLINES), "figures"),
            memory: rewrite(memory.read_text(encoding="utf-8"), memory_page.tables(results), "memory"),
            matrix: rewrite(matrix.read_text(encoding="utf-8"), matrix_page.tables(results), "matrix"),
        }
    except UserError as error:
        print(f"{given.into}: {error}", file=sys.stderr)
        return error.exit_code
    stale = {
        path: text for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if given.check:
            print(f"{path}: figures are out of date; run `make figures`", file=sys.stderr)
        else:
            write_atomically(path, text.encode())
    return 1 if stale and given.check else 0


if __name__ == "__main__":
    sys.exit(main())

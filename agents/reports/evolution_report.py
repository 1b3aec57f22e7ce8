"""What a report says of runs that evolved tasks: the context of `templates/evolution.html.j2`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.reports.evolution import Evolution, Niche, read_evolution, settings_of
from agents.reports.evolution_figures import family_order, tree_figure
from agents.reports.figures import counts_figure, data_uri, transfers_figure
from agents.reports.film import animation, watch
from agents.training.records import STEPS, plugin_files, short
from taskgen import lineage
from taskgen.build import family_of
from taskgen.family import Animated
from taskgen.interaction.agent import judged

_FILMS = 4
_FRAMES = 110
"""Of a film at most, so that the page stays small."""


def evolution_context(runs: Sequence[Path]) -> dict[str, Any]:
    """Everything the page shows. Raises `CheckpointError` where a run directory is incomplete or damaged."""
    read = [read_evolution(run) for run in runs]
    return {"title": ", ".join(run.config.name for run in read), "runs": [_run(i, run) for i, run in enumerate(read)]}


def _run(number: int, run: Evolution) -> dict[str, Any]:
    history, config = run.history, run.config
    last = {name: int(values[-1]) for name, values in history.items()}
    curves = {"admitted": lineage.NICHES, "solved": lineage.SOLVED_SO_FAR, "ANNECS": lineage.ANNECS}
    rows = [_row(run.niches[i], run) for i in family_order(run.niches)]
    times = sorted(niche.solve_time for niche in run.niches if niche.solve_time is not None)
    return {
        "name": config.name,
        "directory": run.path.name,
        "family": short(config.family.name),
        "agent": short(config.agent.name),
        "runner": "" if config.runner is None else short(config.runner.name),
        "seed": config.seed,
        "iterations": run.iterations,
        "steps": last[STEPS],
        "niches": len(run.niches),
        "admitted": len(run.niches) - sum(niche.parent is None for niche in run.niches),
        "active": sum(niche.score(lineage.RETIRED) is None for niche in run.niches),
        "failed": sum(niche.score(lineage.FAILED) is not None for niche in run.niches),
        "solved": len(times),
        "solve_time": times[len(times) // 2] if times else None,
        "annecs": last[lineage.ANNECS],
        "transfers": int(run.transfers.sum()),
        "generations": max(niche.record.generation for niche in run.niches),
        "tree": tree_figure(run),
        "rows": rows,
        "progress": counts_figure(
            {label: history[name] for label, name in curves.items()}, "ANNECS", f"progress-{number}"
        ),
        "matrix": transfers_figure(run.transfers, f"transfers-{number}"),
        "films": _films(run),
        "settings": settings_of(run),
        "config": run.config_text,
        "files": plugin_files(run.provenance),
        "machine": str(run.provenance.get("machine", {}).get("processor", "")),
        "commit": str(run.provenance.get("commit", "")),
    }


def _row(niche: Niche, run: Evolution) -> dict[str, Any]:
    score, novelty = niche.score(lineage.SCORE), niche.score(lineage.NOVELTY)
    return {
        "number": niche.number,
        "id": niche.spec.id,
        "parent": niche.parent,
        "generation": niche.record.generation,
        "created": niche.score(lineage.CREATED),
        "solve_time": niche.solve_time,
        "retired": niche.score(lineage.RETIRED),
        "score": score,
        "novelty": novelty,
        "taken": int(run.transfers[niche.number].sum()),
        "given": int(run.transfers[:, niche.number].sum()),
    }


def _films(run: Evolution) -> list[dict[str, Any]]:
    """An episode each of the agents on their own tasks: the first task, then those the runner finds worth a look."""
    if not isinstance(family_of(run.niches[0].spec), Animated):
        return []
    population = run.population()
    wanted = {run.niches[0].spec.id: "the first task"}
    for why, specs in population.highlights().items():
        wanted |= {spec.id: why for spec in specs if spec.id not in wanted}
    shown: list[dict[str, Any]] = []
    for niche in sorted(
        run.niches, key=lambda niche: list(wanted).index(niche.spec.id) if niche.spec.id in wanted else _FILMS
    ):
        if niche.spec.id not in wanted or len(shown) == _FILMS:
            break
        family = family_of(niche.spec)
        agent = judged(population.agent_of(niche.spec.id))
        watched = watch(niche.spec, family, agent, 1, max(1, round(family.horizon / _FRAMES)))
        moments = [moment for moment in watched.moments if moment.episode == 1]
        film = animation(moments, 20.0)
        shown.append(
            {
                "number": niche.number,
                "why": wanted[niche.spec.id],
                "earned": moments[-1].total,
                "steps": moments[-1].step,
                "src": data_uri(film, "gif"),
            }
        )
    return shown

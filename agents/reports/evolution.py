"""What a run whose runner evolves tasks left on disk, read for a report: its niches with their lineage and figures.

Reads only; what the names of scores and metrics mean says `taskgen.lineage`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import registry
from agents.training import configuration
from agents.training.experiment import Experiment, build_parts
from agents.training.records import STEPS, Line, archive_of, json_lines, read_json
from agents.training.run import RunDirectory
from registry.errors import CheckpointError, TaskError
from taskgen import lineage
from taskgen.record import Record
from taskgen.runner import Population
from taskgen.spec import TaskSpec

METRICS = (lineage.NICHES, lineage.SOLVED_SO_FAR, lineage.ANNECS, lineage.TRANSFERRED, STEPS)


@dataclass(frozen=True)
class Niche:
    """A task that has, or had, an agent of its own."""

    number: int
    """Order of creation, from 0."""
    record: Record
    parent: int | None

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.record.spec

    def score(self, name: str) -> float | None:
        """The latest value of a score of `taskgen.lineage`; None where there is none."""
        return self.record.scores.get(name)

    @property
    def solve_time(self) -> float | None:
        """Iterations from creation until it was solved; None before."""
        solved, created = self.score(lineage.SOLVED), self.score(lineage.CREATED)
        return None if solved is None or created is None else solved - created


@dataclass(frozen=True)
class Evolution:
    """A run that evolved tasks."""

    path: Path
    config: Experiment
    config_text: str
    provenance: Mapping[str, Any]
    niches: tuple[Niche, ...]
    """In order of creation."""
    history: Mapping[str, NDArray[np.float64]]
    """[iterations] each of `METRICS`."""

    @property
    def iterations(self) -> int:
        """Done so far."""
        return len(self.history[STEPS])

    @cached_property
    def transfers(self) -> NDArray[np.int64]:
        """[N, N] how often the agent of niche `column` was taken over by niche `row`."""
        numbers = {niche.spec.id: niche.number for niche in self.niches}
        counts = np.zeros((len(self.niches), len(self.niches)), dtype=np.int64)
        for niche in self.niches:
            for name, count in niche.record.scores.items():
                if name.startswith(lineage.TRANSFERS):
                    counts[niche.number, numbers[name.removeprefix(lineage.TRANSFERS)]] = int(count)
        return counts

    def population(self) -> Population:
        """The runner with the agents of the newest checkpoint, on the CPU.

        Raises `CheckpointError` for a damaged one, `UserError` where there is none.
        """
        run = RunDirectory(self.path)
        parts = build_parts(self.config.model_copy(update={"device": "cpu"}))
        tree = run.restore()
        if tree is None or not isinstance(parts.runner, Population):
            raise CheckpointError(f"{self.path} has no checkpoint with agents of its tasks yet: train it first")
        run.load_into(parts.runner.load_state_dict, tree["runner"], "runner")
        return parts.runner


def evolves(path: Path) -> bool:
    """Whether the directory is of a run with a runner that judges itself: it evaluates no one agent."""
    config, evaluated = path / "config.toml", path / "evaluation.json"
    return (
        config.is_file()
        and not evaluated.exists()
        and RunDirectory(path).open(trackers=False).config.runner is not None
    )


def read_evolution(path: Path) -> Evolution:
    """Read the run directory `path`. Raises `CheckpointError` where a file is missing or damaged."""
    run = RunDirectory(path)
    plan = run.open(trackers=False)
    try:
        provenance = read_json(path, "provenance.json")
        with archive_of(run.path) as archive:
            records = [record for record in archive.records() if lineage.CREATED in record.scores]
    except TaskError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}): go on with `taskgen train ... --resume` until the first checkpoint, or "
            "restore it from a copy"
        ) from None
    lines = list(json_lines(path, "metrics.jsonl", Line))
    if not records or not lines:
        raise CheckpointError(
            f"{path}: no evolved tasks in its archive.sqlite; go on until the first checkpoint, or, where the runner "
            "trains an agent to be judged, `taskgen evaluate` it first"
        )
    numbers = {record.spec.id: number for number, record in enumerate(records)}
    return Evolution(
        path=path,
        config=plan.config,
        config_text=run.config.read_text(encoding="utf-8"),
        provenance={key: value for key, value in provenance.items() if key != configuration.KEY},
        niches=tuple(
            Niche(number, record, numbers[record.parents[0]] if record.parents else None)
            for number, record in enumerate(records)
        ),
        history={name: np.array([line.metrics.get(name, 0.0) for line in lines], dtype=np.float64) for name in METRICS},
    )


def settings_of(run: Evolution) -> list[tuple[str, Any, str]]:
    """Name, value and meaning of every setting of the runner."""
    part = run.config.runner
    assert part is not None
    fields = registry.catalogue().get("runners", part.name).config_class().model_fields
    return [(name, value, fields[name].description or "") for name, value in part.settings.items() if name in fields]

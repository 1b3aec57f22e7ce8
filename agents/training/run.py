"""Run directories: what a run leaves on disk, and how it is opened again.

config.toml        the experiment, complete; `taskgen train config.toml` re-runs it
provenance.json    every part's provider and version, libraries, machine, commit
metrics.jsonl      one line per iteration
evaluations.jsonl  the agent on held-out tasks, one line per evaluation
evaluation.json    the last evaluation, beside the reference players; evaluation.safetensors the returns behind it
archive.sqlite     held-out tasks, a sample of the training tasks, and what a curriculum found worth a look; all tasks
                   of a runner, with their lineage
highlights.jsonl   ids of what a curriculum found, one line per checkpoint; only of curricula
checkpoints/       staged, hashed, no pickle
artefacts/         what tasks refer to by hash, such as a learned discriminator; only where they do
quarantine/        tasks whose physics diverged three times, with their states; only where that happened
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from agents.training import checkpoint
from agents.training.experiment import Experiment, load_experiment
from agents.training.provenance import provenance
from registry.config import to_toml
from registry.errors import CheckpointError, UserError
from registry.plan import Plan
from taskgen import artefacts
from taskgen.archive import Archive
from taskgen.files import write_atomically
from taskgen.record import Record
from taskgen.spec import TaskSpec


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The experiment."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        """Staged checkpoints by iteration."""
        return self.path / "checkpoints"

    @property
    def archive(self) -> Path:
        """Held-out tasks and a sample of the training tasks."""
        return self.path / "archive.sqlite"

    def refuse_taken(self) -> None:
        """Raise `UserError` if there is a run here already."""
        if self.config.exists():
            raise UserError(
                f"{self.path} already holds a run: continue it with --resume, or choose another directory with --run"
            )

    def create(self, plan: Plan[Experiment]) -> None:
        """Start a run here. Raises `UserError` if there is one already."""
        self.refuse_taken()
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_json("provenance.json", provenance(plan.items))
        write_atomically(self.config, to_toml(plan.config).encode())  # last: its presence says that a run is here

    def open(self) -> Plan[Experiment]:
        """The experiment of the run here. Raises `UserError` if there is none."""
        if not self.config.is_file():
            raise UserError(f"{self.path} is not a run directory: it has no config.toml. `taskgen train` makes one.")
        artefacts.look_beside(self.config)
        return load_experiment(str(self.config))

    def same(self, plan: Plan[Experiment]) -> Plan[Experiment]:
        """The plan to resume with. Raises `UserError` if `plan` is not what the run here was started with."""
        stored = self.open()
        if stored.config != plan.config:
            old, new = stored.config.model_dump(mode="json"), plan.config.model_dump(mode="json")
            changed = [name for name in old if old[name] != new[name]]
            raise UserError(
                f"{self.path} was started with other settings ({', '.join(changed)} differ). Resume it with "
                f"`taskgen train {self.config} --run {self.path} --resume`, or choose another --run."
            )
        return stored

    def restore(self) -> dict[str, Any] | None:
        """The tree of the newest intact checkpoint, or None before the first.

        Raises `CheckpointError` when there are checkpoints and all are damaged: starting over would lose the run.
        """
        newest = checkpoint.latest(self.checkpoints)
        if newest is not None:
            return checkpoint.load(newest)
        if any(self.checkpoints.glob("[0-9]*")):
            raise CheckpointError(
                f"{self.checkpoints}: every checkpoint is damaged; nothing was changed. Restore one from a copy, or "
                "remove the directory to train from the start with --resume."
            )
        return None

    def load_into(self, load: Callable[[dict[str, Any]], None], state: Any, what: str) -> None:
        """Hand `state` to `load`. Raises `CheckpointError` where it does not fit."""
        try:
            load(state)
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.checkpoints}: the {what}'s state does not fit this experiment ({error}). "
                "Nothing was changed; was config.toml edited?"
            ) from error

    def archive_tasks(self, plan: Plan[Experiment], *, train: Sequence[TaskSpec], held_out: Sequence[TaskSpec]) -> None:
        """Keep a sample of the training tasks and the held-out tasks, with where they came from.

        A task is in one split at most: those of a run that is judged on training tasks are in none.
        """
        generator = plan.config.source.name
        version = next(item.version for item in plan.items if item.full_name == generator)
        split = None if plan.config.evaluation.same_tasks else "held-out"
        with Archive(self.archive, write=True) as archive:
            archive.add(train, generator=generator, version=version, split="train")
            archive.add(held_out, generator=generator, version=version, split=split)

    def archive_records(self, records: Iterable[Record]) -> None:
        """Keep what a runner says of its tasks; the latest scores replace those of before."""
        with Archive(self.archive, write=True) as archive:
            for record in records:
                archive.add(
                    [record.spec],
                    generator=record.generator,
                    version=record.version,
                    parents=record.parents,
                    generation=record.generation,
                    split=record.split,
                    scores=record.scores,
                )

    def write_evaluation(self, summary: Mapping[str, Any], returns: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep the last evaluation and what is behind it: returns [episodes, tasks] and values of tails [tasks]."""
        tensors = {name: np.ascontiguousarray(array) for name, array in returns.items()}
        write_atomically(self.path / "evaluation.safetensors", safetensors.numpy.save(tensors))
        self.write_json("evaluation.json", summary)

    def write_json(self, name: str, value: Any) -> None:
        """Replace the file `name`."""
        write_atomically(self.path / name, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())

    def evaluated(self) -> int:
        """The iteration of the last line of evaluations.jsonl, 0 without one."""
        path = self.path / "evaluations.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return int(json.loads(lines[-1])["iteration"]) if lines else 0

    def append_evaluation(self, line: Mapping[str, Any]) -> None:
        """Add a line to evaluations.jsonl."""
        self.append_line("evaluations.jsonl", line)

    def append_line(self, name: str, line: Mapping[str, Any]) -> None:
        """Add a line to `name`, dropping lines of this or later iterations (left by a run that was cut)."""
        path = self.path / name
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [old for old in lines if json.loads(old)["iteration"] < line["iteration"]]
        write_atomically(path, "".join(f"{text}\n" for text in [*kept, json.dumps(line, allow_nan=False)]).encode())

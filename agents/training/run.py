"""Run directories: what a run leaves on disk, and how it is opened again.

config.toml        the experiment, complete; `taskgen train config.toml` re-runs it
provenance.json    every part's provider and version, libraries, machine, commit, the settings it was started with
metrics.jsonl      one line per iteration
evaluations.jsonl  the agent on held-out tasks, one line per evaluation
evaluation.json    the last evaluation, beside the reference players; evaluation.safetensors the returns behind it
archive.sqlite     held-out tasks, a sample of the training tasks, and what a curriculum found worth a look; all tasks
                   of a runner, with their lineage
highlights.jsonl   ids of what a curriculum found, one line per checkpoint; only of curricula
checkpoints/       staged, hashed, no pickle
artefacts/         what tasks refer to by hash, such as a learned discriminator; only where they do
quarantine/        tasks whose physics diverged three times, with their states; only where that happened
lock               who trains the run; only while somebody does

JSON carries hashes (`taskgen.seals`), evaluation.json that of the returns too, so that damage is told.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from agents.training import checkpoint, configuration, lock
from agents.training.budget import BY_CLOCK
from agents.training.experiment import Experiment, load_experiment
from agents.training.provenance import provenance
from agents.training.records import ARCHIVE, RETURNS, archive_of, read_json, read_lines, remark_end
from registry.config import differing, inside, read_toml, to_toml
from registry.discovery import typed
from registry.errors import CheckpointError, UserError
from registry.plan import Plan
from taskgen import artefacts, seals
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
        return self.path / ARCHIVE

    def refuse_taken(self, *, resumable: bool = True) -> None:
        """Raise `UserError` if there is a run here already, or anything else that a run could be mixed up with.

        Whether it could be gone on with instead, where it is `resumable`, the message says.
        """
        if self.config.exists():
            begun = "" if any(self.checkpoints.glob("[0-9]*")) else ", which has learned nothing yet"
            goes_on = f"continue it with --resume{' as it was begun, remove it' * bool(begun)}, or " * resumable
            raise UserError(f"{self.path} already holds a run{begun}: {goes_on}choose another directory with --run")
        try:
            names = sorted(found.name for found in self.path.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{self.path} cannot hold a run ({error.strerror}): choose another with --run") from None
        if found := [name for name in names if not _BEGUN.fullmatch(name)]:
            raise UserError(
                f"{self.path} is not empty and no run: it holds {', '.join(found[:5])}{', ...' * (len(found) > 5)} but "
                "no config.toml. Choose another directory with --run, put its config.toml back, or empty it"
            )

    def create(self, plan: Plan[Experiment]) -> None:
        """Start a run here. Raises `UserError` if there is one already, or anything else."""
        self.refuse_taken()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self.refuse_taken()  # whoever came first has it
                text = to_toml(plan.config)
                text = text if plan.config.training.minutes is None else f"# {BY_CLOCK}\n{text}"
                settings = configuration.kept(tomllib.loads(text), plan.incidental)
                if artefact := plan.config.family.settings.get(artefacts.SETTING):
                    artefacts.bring_names([artefact], self.path)
                self.write_json("provenance.json", {**provenance(plan.items), configuration.KEY: settings})
                write_atomically(self.config, text.encode())  # last: its presence says that a run is here
        except OSError as error:
            raise UserError(
                f"{self.path} cannot hold a run ({error.strerror}): choose another place with --run, or make room"
            ) from error

    def locked(self) -> lock.Lock:
        """The lock of the run here, for whoever is about to train it. Raises `UserError` while another process does."""
        return lock.Lock(self.path)

    def started_with(self) -> dict[str, Any]:
        """The settings that the run was started with, as provenance.json keeps them; of old runs those of config.toml.

        Raises `CheckpointError`, naming what differs, where config.toml says something else.
        """
        tables = read_toml(self.config)
        provenance = self.path / "provenance.json"
        record = read_json(self.path, "provenance.json").get(configuration.KEY) if provenance.exists() else None
        if record is None:
            plan = load_experiment(str(self.config))
            return configuration.kept(tables, plan.incidental)
        if changed := configuration.refuse_altered(self.config, tables, record, provenance):
            configuration.remark(self.config, tuple(changed))
        return record

    def open(self, *, trackers: bool = True) -> Plan[Experiment]:
        """The experiment of the run here. Raises `UserError` if there is none, or if config.toml was altered.

        Without its `trackers`, which only training needs: their plugin may be gone.
        """
        if not self.config.is_file():
            raise UserError(f"{self.path} is not a run directory: it has no config.toml. `taskgen train` makes one.")
        artefacts.look_beside(self.config)
        self.started_with()
        return load_experiment(str(self.config), () if trackers else ("trackers=[]",))

    def same(self, plan: Plan[Experiment]) -> Plan[Experiment]:
        """The plan to go on with: `plan`, which may differ from what the run was started with in incidental settings.

        Raises `UserError`, naming what differs, if it is another experiment.
        """
        stored = self.open()
        old, new = stored.config.model_dump(mode="json"), plan.config.model_dump(mode="json")
        changed = [path for path in differing(old, new) if not inside(path, stored.incidental | plan.incidental)]
        if changed:
            raise UserError(
                f"{self.path} was started with other settings: {configuration.told(changed, old, new)}. Resume it as "
                f"it was by `{typed(f'train {self.config} --run {self.path} --resume')}`; or begin a new run, with "
                f"these settings and from what this one has learned, by `--from {self.path}` in place of --resume and "
                "another --run"
            )
        return plan

    def restore(self) -> dict[str, Any] | None:
        """The tree of the newest intact checkpoint, or None before the first.

        Raises `CheckpointError` when there are checkpoints and all are damaged, since starting over would lose the
        run; and when it is not of the run that config.toml describes.
        """
        newest = checkpoint.latest(self.checkpoints)
        if newest is not None:
            return self.read(newest)
        if any(self.checkpoints.glob("[0-9]*")):
            raise CheckpointError(
                f"{self.checkpoints}: every checkpoint is damaged; nothing was changed. Restore one from a copy, or "
                "remove the directory to train from the start with --resume."
            )
        return None

    def read(self, path: Path) -> dict[str, Any]:
        """The tree of the checkpoint at `path`. Raises `CheckpointError` where it is not of this run, or damaged."""
        tree = checkpoint.load(path)
        record = tree.get(configuration.KEY)
        if record is None:
            configuration.remark_old(self.config)
        else:
            configuration.refuse_altered(self.config, read_toml(self.config), record, path)
        return tree

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
        with archive_of(self.path, write=True) as archive:
            archive.add(train, generator=generator, version=version, split="train")
            archive.add(held_out, generator=generator, version=version, split=split)

    def archive_records(self, records: Iterable[Record]) -> None:
        """Keep what a runner says of its tasks; the latest scores replace those of before."""
        with archive_of(self.path, write=True) as archive:
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
        data = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in returns.items()})
        write_atomically(self.path / RETURNS, data)
        marks = {"returns_sha256": hashlib.sha256(data).hexdigest(), "run": seals.first(self.path)}
        self.write_json("evaluation.json", {**summary, **marks})

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace the file `name`; what it holds carries a hash of its own, whichever `value` has."""
        text = json.dumps(seals.sealed(value), indent=1, allow_nan=False)
        write_atomically(self.path / name, f"{text}\n".encode())

    def logged(self) -> int:
        """The iteration of the last line of metrics.jsonl, 0 without one."""
        return max((int(line["step"]) for line in self._lines("metrics.jsonl")), default=0)

    def evaluated(self) -> int:
        """The iteration of the last line of evaluations.jsonl, 0 without one."""
        return max((int(line["iteration"]) for line in self._lines("evaluations.jsonl")), default=0)

    def remark_lost(self) -> None:
        """Say where evaluations are gone that were made, as the archive tells."""
        if self.archive.is_file():
            with archive_of(self.path) as archive:
                until, _ = archive.marks().get("evaluations.jsonl", (0, ""))
            remark_end(self.path / "evaluations.jsonl", self.evaluated(), until)

    def append_evaluation(self, line: Mapping[str, Any]) -> None:
        """Add a line to evaluations.jsonl; the archive is marked with it, so that lines which are gone are told."""
        self.append_line("evaluations.jsonl", line)
        with archive_of(self.path, write=True) as archive:
            archive.mark("evaluations.jsonl", int(line["iteration"]))

    def append_line(self, name: str, line: Mapping[str, Any]) -> None:
        """Add a line to `name`, dropping lines of this or later iterations (left by a run that was cut)."""
        kept = [old for old in self._lines(name) if old["iteration"] < line["iteration"]]
        before = str(kept[-1].get(seals.KEY, "")) if kept else seals.first(self.path)
        lines = [*kept, seals.sealed(line, before)]
        data = "".join(f"{json.dumps(each, allow_nan=False)}\n" for each in lines).encode()
        write_atomically(self.path / name, data)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return list(read_lines(self.path, name)) if (self.path / name).exists() else []


_BEGUN = re.compile(r"lock|artefacts|provenance\.json|\..*\.staging")
"""What a run that was ended while it was being created has left: as good as nothing."""

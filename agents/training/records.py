"""What a run left on disk, read and checked for a report. Reads only; every refusal names the file and the remedy.

Longer than most files here: what one file says is checked against what the others do.
"""

import hashlib
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.training import configuration
from registry.config import read_toml
from registry.discovery import typed
from registry.errors import CheckpointError, TaskError, UserError
from taskgen import seals
from taskgen.archive import Archive
from taskgen.files import read_regular
from taskgen.spec import TaskSpec

STEPS, RETURN = "charts/steps", "meta/trial_return"
"""The metrics a learning curve is drawn from."""
KNOWLEDGE = "belief/kl"
"""The metric by which an agent says how many nats its belief is away from the prior after a trial."""
OPTIMISM = "memory/optimism"
"""The metric by which an agent says how far what it counts on lies above what then follows."""
RETURNS = "evaluation.safetensors"
ARCHIVE = "archive.sqlite"

_log = getLogger(__name__)

M = TypeVar("M", bound="Stored")


class Stored(BaseModel):
    """Base of what is read from a run's JSON files."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Estimate(Stored):
    """A mean with its 95% interval over tasks; None where there is but one."""

    mean: float
    low: float | None
    high: float | None


class Returns(Stored):
    """Return of each adaptation episode over tasks, [K] each: mean and interquartile mean with 95% intervals."""

    mean: list[float] = Field(min_length=1)
    low: list[float | None]
    high: list[float | None]
    iqm: list[float]
    iqm_low: list[float | None]
    iqm_high: list[float | None]


class Tail(Stored):
    """Mean trial return on the share of tasks where it is lowest; no interval where too few tasks are among them."""

    mean: float
    low: float | None
    high: float | None
    share: float
    tasks: int
    ranked: int
    """How many tasks were ranked, of which `tasks` are the share."""


class Shares(Stored):
    """Shares of tasks, [K] by episode, with 95% intervals, or none where a share is near 0 or 1."""

    mean: list[float] = Field(min_length=1)
    low: list[float | None]
    high: list[float | None]


class Success(Stored):
    """On which share of tasks a player succeeded in an episode: after any of its steps, and after its last one."""

    any_step: Shares
    last_step: Shares


class Belief(Stored):
    """How sure an agent was of its task: mean variance of its belief by step of the trial, the prior's being 1."""

    variance: list[float] = Field(min_length=1)
    tasks: int


class Player(Stored):
    """How one player did on one set of tasks."""

    returns: Returns
    trial: Estimate
    rounds: Returns | None = None
    """Of the mean episode of each round, for players that adapt between rounds of several episodes."""
    tail: Tail | None = None
    success: Success | None = None
    """Of families that tell."""
    belief: Belief | None = None
    exploration: int = 0
    """Episodes at the start of a trial in which it explores and does not mean to earn."""
    told: bool = False
    """Whether it is told the task's descriptor; not known of runs of before that was kept."""


class PlayedSet(Stored):
    """All players on one set of tasks; what these came from is not known of old runs."""

    source: str | None = None
    players: dict[str, Player] = Field(min_length=1)
    trained_on: int = 0
    """Tasks of the set that the run was trained on, as far as the sample in its archive tells."""
    tasks: int | None = None
    """Distinct ones; None of runs of before they were counted."""
    plays: int | None = None
    """Of all distinct tasks together."""
    content: str | None = None
    """A hash of the tasks and the order of their plays: where it is the same, so are tasks and luck."""


class Evaluation(Stored):
    """evaluation.json: the last evaluation, beside the reference players."""

    iteration: int
    steps: int
    episodes: int = Field(ge=1)
    tasks: int
    left_out: dict[str, str] = {}
    """Reference players that could not play, and why."""
    sets: dict[str, PlayedSet] = Field(min_length=1)
    returns_sha256: str | None = None
    """Of evaluation.safetensors; None of runs of before it was kept."""
    run: str | None = None
    """The hash of the run's provenance.json; None of runs of before it was kept."""

    @model_validator(mode="after")
    def _lengths(self) -> "Evaluation":
        for name, played in self.sets.items():
            for player, figures in played.players.items():
                if any(len(values) != self.episodes for values in figures.returns.model_dump().values()):
                    raise ValueError(f"{name}, {player}: expected {self.episodes} returns, one per episode")
                told = [] if figures.success is None else [figures.success.any_step, figures.success.last_step]
                if any(len(values) != self.episodes for share in told for values in share.model_dump().values()):
                    raise ValueError(f"{name}, {player}: expected {self.episodes} shares of success, one per episode")
                rounds = [] if figures.rounds is None else [*figures.rounds.model_dump().values()]
                if any(len(values) != len(rounds[0]) or self.episodes % len(values) for values in rounds):
                    raise ValueError(f"{name}, {player}: {self.episodes} episodes do not make {len(rounds[0])} rounds")
        return self


class Checkup(Stored):
    """A line of evaluations.jsonl: the agent alone, during training."""

    iteration: int
    steps: int
    seconds: float
    trial: Estimate


class Line(Stored):
    """A line of metrics.jsonl."""

    step: int
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Record:
    """One run directory."""

    path: Path
    config: Mapping[str, Any]
    config_text: str
    provenance: Mapping[str, Any]
    steps: NDArray[np.float64]
    """[iterations] environment steps taken so far."""
    returns: NDArray[np.float64]
    """[iterations] mean trial return of the training tasks."""
    knowledge: NDArray[np.float64]
    """[N] nats that the belief was away from the prior after a trial, of the iterations that measured it."""
    checkups: tuple[Checkup, ...]
    evaluation: Evaluation
    specs: tuple[TaskSpec, ...]
    """A sample of the training tasks."""
    marks: Mapping[str, tuple[int, str]]
    """Of the archive: until which iteration files were kept, by their names."""
    optimism: float | None = None
    """Mean of `OPTIMISM` in the last tenth of training; None of agents that do not measure it."""

    @property
    def agent(self) -> str:
        """Short name of the agent."""
        return short(self.config["agent"])

    def played(self, tasks: str, player: str) -> NDArray[np.float64]:
        """Returns [K, N] of one player on the distinct tasks of a set, which the last evaluation kept.

        Raises `CheckpointError` where they are missing or damaged.
        """
        name = f"{tasks}/{player}"
        found = self._stored.get(name)
        if found is None:
            raise _unread(self.path / RETURNS, self.path, f"it holds no {name!r}")
        return np.asarray(found, dtype=np.float64)

    def tail(self, tasks: str, player: str) -> NDArray[np.float64] | None:
        """`tail_values` [M] of one player on the tasks of a set that were ranked; None where they were not kept.

        Raises as `played`.
        """
        found = self._stored.get(f"tail/{tasks}/{player}")
        return None if found is None else np.asarray(found, dtype=np.float64)

    def succeeded(self, tasks: str, player: str) -> NDArray[np.float64] | None:
        """Shares of success [2, K, N] of one player on the distinct tasks of a set; None where none were kept.

        Raises as `played`.
        """
        found = self._stored.get(f"success/{tasks}/{player}")
        return None if found is None else np.asarray(found, dtype=np.float64)

    @cached_property
    def _stored(self) -> Mapping[str, NDArray[Any]]:
        """All that evaluation.safetensors holds."""
        file = self.path / RETURNS
        try:
            data = read_regular(file)
            stored = safetensors.numpy.load(data)
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise _unread(file, self.path, str(error)) from None
        if self.evaluation.returns_sha256 not in (None, hashlib.sha256(data).hexdigest()):
            raise _unread(file, self.path, "it is not the file that evaluation.json was written with")
        return stored

    @property
    def seed(self) -> int:
        """Root seed of the run."""
        return int(self.config["seed"])


def short(part: Any) -> str:
    """The name of a part of a configuration without its provider."""
    return str(part["name"] if isinstance(part, Mapping) else part).rpartition("/")[2]


def shown(value: Any) -> str:
    """A setting as a reader writes it: of a part its name, with its settings in brackets."""
    if isinstance(value, Mapping):
        own = ", ".join(f"{key}={shown(inner)}" for key, inner in value.items() if key != "name")
        return (
            shown(value["name"]).removeprefix("builtin/") + f"({own})" * bool(own) if "name" in value else f"{{{own}}}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def plugin_files(provenance: Mapping[str, Any]) -> str:
    """Options that name the plugins of one file that a run needs, each after a space: " --plugin mine.py"."""
    parts = provenance.get("parts")
    found = [part for part in parts.values() if isinstance(part, Mapping)] if isinstance(parts, Mapping) else []
    files = dict.fromkeys(str(part["file"]) for part in found if "file" in part)
    return "".join(f" --plugin {shlex.quote(file)}" for file in files)


def read_record(path: Path) -> Record:
    """Read the run directory `path`.

    Raises:
        UserError: it is not a run directory.
        CheckpointError: a file in it is missing or damaged.
        ConfigError: config.toml is damaged.
    """
    if not (path / "config.toml").is_file():
        raise UserError(f"{path} is not a run directory: it has no config.toml. `taskgen train` makes one.")
    provenance = read_json(path, "provenance.json")  # first: lines are checked by its hash
    logged = list(json_lines(path, "metrics.jsonl", Line))
    metrics = [line.metrics for line in logged]
    lines = [(row.get(STEPS), row.get(RETURN)) for row in metrics]
    known = [value for row in metrics if (value := row.get(KNOWLEDGE)) is not None]
    curve = np.array([pair for pair in lines if None not in pair], dtype=np.float64).reshape(-1, 2)
    late = [value for row in metrics[-math.ceil(len(metrics) / 10) :] if (value := row.get(OPTIMISM)) is not None]
    if not len(curve):
        raise CheckpointError(
            f"{path / 'metrics.jsonl'} holds no whole line with {STEPS} and {RETURN}: train for an iteration first, "
            "with the tracker jsonl among `trackers`; or restore it from a copy, where it is cut"
        )
    config = _config(path, provenance.pop(configuration.KEY, None))
    specs, marks = _archived(path)
    looked = (path / "evaluations.jsonl").exists()  # a run that was stopped early has had no evaluation of its own
    checkups = tuple(json_lines(path, "evaluations.jsonl", Checkup)) if looked else ()
    evaluation = _parse(Evaluation, read_json(path, "evaluation.json"), path / "evaluation.json")
    if evaluation.run not in (None, seals.first(path)):
        raise _unread(path / "evaluation.json", path, "it is that of another run")
    remark_end(path / "metrics.jsonl", logged[-1].step, evaluation.iteration)
    finished = _finished(config["training"], evaluation)  # and was evaluated at its end
    until = max(marks.get("evaluations.jsonl", (0, ""))[0], finished * evaluation.iteration)
    remark_end(path / "evaluations.jsonl", max((one.iteration for one in checkups), default=0), until)
    return Record(
        path=path,
        config=config,
        config_text=(path / "config.toml").read_text(encoding="utf-8"),
        provenance=provenance,
        steps=curve[:, 0],
        returns=curve[:, 1],
        knowledge=np.array(known, dtype=np.float64),
        checkups=checkups,
        evaluation=evaluation,
        specs=specs,
        marks=marks,
        optimism=float(np.mean(late)) if late else None,
    )


def _finished(training: Mapping[str, Any], evaluation: Evaluation) -> bool:
    """Whether the run's budget was spent when it was judged; of one by the clock that is not known."""
    if "minutes" in training:
        return False
    return (
        evaluation.steps >= training["steps"]
        if "steps" in training
        else evaluation.iteration >= training.get("iterations", 0)
    )


@lru_cache(maxsize=64)
def remark_end(file: Path, last: int, until: int) -> None:
    """Say, once, that the end of `file` is missing, or all of it: no hash tells of lines after the last one."""
    if last >= until:
        return
    if last:
        _log.warning("%s ends at iteration %d of %d: what is drawn of it lacks its end", file, last, until)
    else:
        _log.warning("%s is missing or empty, which went up to iteration %d: nothing is drawn of it", file, until)


def essential_of(path: Path, tables: Mapping[str, Any]) -> dict[str, Any]:
    """`tables`, the configuration of the run at `path`, without the settings that change no result.

    The run says itself which these are; of runs from before they did, the device alone is known to be.
    """
    kept: Mapping[str, Any] = {}
    if (path / "provenance.json").is_file():
        kept = read_json(path, "provenance.json").get(configuration.KEY, {})
    record = configuration.kept(tables, kept.get("incidental", ("device",)))
    return configuration.essential(record)["tables"]


_REMEDIES = {
    "provenance.json": "it is written when training starts: the directory is incomplete, restore it from a copy",
    "metrics.jsonl": "it is written by the tracker jsonl: keep it among `trackers` and train again",
    "evaluations.jsonl": "it is written when the first evaluation is over: go on with `taskgen train ... --resume`",
    "evaluation.json": "write it with `{evaluate}`",
    "highlights.jsonl": "it is written at every checkpoint of a curriculum: restore the directory from a copy",
    ARCHIVE: "it is written after the first iteration: train for one, or restore it from a copy",
}


_SINCE = {configuration.KEY, "returns_sha256"}
"""What files hold only since they carry digests: without one they are damaged, others are old."""


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in the file `name` of the run at `path`, without its hash. Raises `CheckpointError` for damage."""
    try:
        found = seals.loaded(_text(path, name))
    except ValueError as error:
        raise _damaged(path / name, str(error)) from None
    if seals.KEY not in found and found.keys() & _SINCE:
        raise _damaged(path / name, "its digest is missing")
    return {key: value for key, value in found.items() if key != seals.KEY}


def read_lines(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects in the lines of a file, with their hashes, which are checked.

    A last line that a killed process left unfinished does not count. Raises `CheckpointError` for damage.
    """
    *lines, _unfinished = _text(path, name).split("\n")
    before, begun = seals.first(path), False
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found = seals.loaded(line, before) if begun else _first(line, before)
        except ValueError as error:
            raise _damaged(path / name, f"line {number}: {error}") from None
        begun = True
        before = str(found.get(seals.KEY, ""))
        yield found


def _first(line: str, before: str) -> dict[str, Any]:
    """The first line of a file, whose hash covers the run's, or, in files that are old, nothing."""
    try:
        return seals.loaded(line)
    except ValueError:
        return seals.loaded(line, before)


def json_lines(path: Path, name: str, model: type[M]) -> Iterator[M]:
    """The lines of a file as `model` has them; see `read_lines`."""
    for number, line in enumerate(read_lines(path, name), 1):
        yield _parse(model, line, path / name, f"line {number}: ")


def _parse(model: type[M], value: Mapping[str, Any], file: Path, where: str = "") -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(file, f"{where}{place}{': ' if place else ''}{first['msg']}") from None


def _text(path: Path, name: str) -> str:
    try:
        return read_regular(path / name).decode()
    except OSError as error:
        remedy = _REMEDIES[name].format(evaluate=typed(f"evaluate {shlex.quote(str(path))}"))
        raise CheckpointError(f"{path / name} cannot be read ({error.strerror}): {remedy}") from None
    except UnicodeDecodeError as error:
        raise _damaged(path / name, f"byte {error.start} is not UTF-8 text") from None


def _config(path: Path, record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    config = read_toml(path / "config.toml")
    if record is not None and (
        changed := configuration.refuse_altered(path / "config.toml", config, record, path / "provenance.json")
    ):
        configuration.remark(path / "config.toml", tuple(changed))
    named = all(isinstance(config.get(part), dict) and "name" in config[part] for part in ("family", "source", "agent"))
    if not named or not isinstance(config.get("seed"), int) or not isinstance(config.get("training"), dict):
        raise _damaged(path / "config.toml", "it lacks seed, training, or the name of family, source or agent")
    return config


def _archived(path: Path) -> tuple[tuple[TaskSpec, ...], Mapping[str, tuple[int, str]]]:
    """The training tasks and the marks of a run's archive."""
    if not (path / ARCHIVE).is_file():
        _text(path, ARCHIVE)
    try:
        with archive_of(path) as archive:
            return tuple(record.spec for record in archive.records(split="train")), archive.marks()
    except TaskError as error:
        raise CheckpointError(f"{error}. Restore the run directory from a copy, or train again.") from None


def archive_of(run: Path, *, write: bool = False) -> Archive:
    """The archive of the run at `run`, opened. Raises `TaskError` as opening does, and for that of another run."""
    return Archive(run / ARCHIVE, write=write, of=seals.first(run))


def _damaged(file: Path, reason: str) -> CheckpointError:
    again = (
        f"write it anew with `{typed(f'evaluate {file.parent}')}`" if file.name == "evaluation.json" else "train again"
    )
    return CheckpointError(f"{file} is damaged: {reason}. Restore it from a copy, or {again}; it was not changed.")


def _unread(file: Path, run: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{file} cannot be read ({reason}): write it and evaluation.json with `{typed(f'evaluate {run}')}`"
    )

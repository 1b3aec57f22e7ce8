"""What a run left on disk, read and checked for a report. Reads only; every refusal names the file and the remedy."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.config import read_toml
from registry.errors import CheckpointError, TaskError
from taskgen.archive import Archive
from taskgen.spec import TaskSpec

STEPS, RETURN = "charts/steps", "meta/trial_return"
"""The metrics a learning curve is drawn from."""

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


class Player(Stored):
    """How one player did on one set of tasks."""

    returns: Returns
    trial: Estimate
    rounds: Returns | None = None
    """Of the mean episode of each round, for players that adapt between rounds of several episodes."""
    tail: Tail | None = None
    exploration: int = 0
    """Episodes at the start of a trial in which it explores and does not mean to earn."""


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

    @model_validator(mode="after")
    def _lengths(self) -> "Evaluation":
        for name, played in self.sets.items():
            for player, figures in played.players.items():
                if any(len(values) != self.episodes for values in figures.returns.model_dump().values()):
                    raise ValueError(f"{name}, {player}: expected {self.episodes} returns, one per episode")
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
    checkups: tuple[Checkup, ...]
    evaluation: Evaluation
    specs: tuple[TaskSpec, ...]
    """A sample of the training tasks."""

    @property
    def agent(self) -> str:
        """Short name of the agent."""
        return short(self.config["agent"])

    def played(self, tasks: str, player: str) -> NDArray[np.float64]:
        """Returns [K, N] of one player on the distinct tasks of a set, which the last evaluation kept.

        Raises `CheckpointError` where they are missing or damaged.
        """
        with self._stored() as stored:
            return np.asarray(stored.get_tensor(f"{tasks}/{player}"), np.float64)

    def tail(self, tasks: str, player: str) -> NDArray[np.float64] | None:
        """`tail_values` [M] of one player on the tasks of a set that were ranked; None where they were not kept.

        Raises as `played`.
        """
        name = f"tail/{tasks}/{player}"
        with self._stored() as stored:
            return np.asarray(stored.get_tensor(name), np.float64) if name in stored.keys() else None  # noqa: SIM118

    @contextmanager
    def _stored(self) -> Iterator[Any]:
        file = self.path / "evaluation.safetensors"
        try:
            with safetensors.safe_open(file, framework="numpy") as stored:
                yield stored
        except (OSError, safetensors.SafetensorError) as error:
            remedy = f"write it and evaluation.json with `taskgen evaluate {self.path}`"
            raise CheckpointError(f"{file} cannot be read ({error}): {remedy}") from None

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


def read_record(path: Path) -> Record:
    """Read the run directory `path`.

    Raises:
        CheckpointError: it is not a run directory, or a file in it is missing or damaged.
        ConfigError: config.toml is damaged.
    """
    if not (path / "config.toml").is_file():
        raise CheckpointError(f"{path} is not a run directory: it has no config.toml. `taskgen train` makes one.")
    lines = [(line.metrics.get(STEPS), line.metrics.get(RETURN)) for line in json_lines(path, "metrics.jsonl", Line)]
    curve = np.array([pair for pair in lines if None not in pair], dtype=np.float64).reshape(-1, 2)
    if not len(curve):
        raise CheckpointError(
            f"{path / 'metrics.jsonl'} holds no line with {STEPS} and {RETURN}: train for an iteration first, "
            "with the tracker jsonl among `trackers`"
        )
    return Record(
        path=path,
        config=_config(path),
        config_text=(path / "config.toml").read_text(encoding="utf-8"),
        provenance=_provenance(path),
        steps=curve[:, 0],
        returns=curve[:, 1],
        checkups=tuple(json_lines(path, "evaluations.jsonl", Checkup)),
        evaluation=_parse(Evaluation, _text(path, "evaluation.json"), path / "evaluation.json"),
        specs=_specs(path),
    )


_REMEDIES = {
    "provenance.json": "it is written when training starts: the directory is incomplete, restore it from a copy",
    "metrics.jsonl": "it is written by the tracker jsonl: keep it among `trackers` and train again",
    "evaluations.jsonl": "it is written when the first evaluation is over: go on with `taskgen train ... --resume`",
    "evaluation.json": "write it with `taskgen evaluate {run}`",
    "highlights.jsonl": "it is written at every checkpoint of a curriculum: restore the directory from a copy",
    "archive.sqlite": "it is written after the first iteration: go on with `taskgen train ... --resume`",
}


def _text(path: Path, name: str) -> str:
    try:
        return (path / name).read_text(encoding="utf-8")
    except OSError as error:
        remedy = _REMEDIES[name].format(run=path)
        raise CheckpointError(f"{path / name} cannot be read ({error.strerror}): {remedy}") from None
    except UnicodeDecodeError as error:
        raise _damaged(path / name, f"byte {error.start} is not UTF-8 text") from None


def _config(path: Path) -> Mapping[str, Any]:
    config = read_toml(path / "config.toml")
    named = all(isinstance(config.get(part), dict) and "name" in config[part] for part in ("family", "source", "agent"))
    if not named or not isinstance(config.get("seed"), int) or not isinstance(config.get("training"), dict):
        raise _damaged(path / "config.toml", "it lacks seed, training, or the name of family, source or agent")
    return config


def _provenance(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path, "provenance.json"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path / "provenance.json", str(error)) from None
    if not isinstance(found, dict):
        raise _damaged(path / "provenance.json", "it is not a JSON object")
    return found


def json_lines(path: Path, name: str, model: type[M]) -> Iterator[M]:
    """The lines of a file; a last line that a killed process left unfinished does not count."""
    *lines, _unfinished = _text(path, name).split("\n")
    for number, line in enumerate(lines, 1):
        if line:
            yield _parse(model, line, path / name, f"line {number}: ")


def _parse(model: type[M], text: str, file: Path, where: str = "") -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(file, f"{where}{place}{': ' if place else ''}{first['msg']}") from None


def _specs(path: Path) -> tuple[TaskSpec, ...]:
    if not (path / "archive.sqlite").is_file():
        _text(path, "archive.sqlite")
    try:
        with Archive(path / "archive.sqlite") as archive:
            return tuple(record.spec for record in archive.records(split="train"))
    except TaskError as error:
        raise CheckpointError(f"{error}. Restore the run directory from a copy, or train again.") from None


def _damaged(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} is damaged: {reason}. Restore it from a copy, or train again; it was not changed.")

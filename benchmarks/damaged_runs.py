"""Damage of run directories: files with a flipped bit, altered configurations, missing and foreign files, kills."""

import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import tomli_w

from agents.training.records import ARCHIVE, archive_of
from benchmarks.damage import PATIENCE, Found, Said, say
from registry.config import read_toml

SHORT = (
    *("agent.network.hidden_size=8", "training.iterations=6", "training.tasks=8", "training.episodes=3"),
    *("training.evaluate_every=2", "training.checkpoint_every=2", "evaluation.tasks=16", "evaluation.final_tasks=32"),
    'evaluation.players=["random", "greedy"]',
)
RUNS = {"plain": (), "curriculum": ('source={name="plr", score="gae", source="domain-randomization"}', "seed=1")}
"""The runs that are damaged, and a task file beside the first."""
TASKS = "tasks.jsonl"
FRESH = 0.1
"""Share of the kills in which each process is a new interpreter, which takes seconds; else it is a fork of this one."""


class Bench:
    """Intact runs, copies of them to damage, and what commands say of those."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._copies = 0
        self._known: dict[tuple[str, tuple[str, ...]], list[tuple[Said, str]]] = {}

    @cached_property
    def sound(self) -> dict[str, Path]:
        """The intact runs by name, trained when the first is asked for."""
        found: dict[str, Path] = {}
        for name, settings in RUNS.items():
            path = self._place / "sound" / name
            done = say("train", "rl2-bandit", *SHORT, *settings, "--run", path)
            if done.code:
                raise RuntimeError(f"training {name} failed: {done.error}{done.broke}")
            (path / "report.html").unlink()
            found[name] = path
            tasks = ("--family", "bandit", "-n", 12, "-o", path / TASKS)
            if say("generate", "domain-randomization", *tasks).code:
                raise RuntimeError("no tasks were generated")
        _leave_log(found["curriculum"])
        return found

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new directory, which goes afterwards."""
        self._copies += 1
        path = self._place / f"copy-{self._copies}"
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path)

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """A copy of an intact run that no command has heard of; it goes afterwards."""
        with self.folder() as folder:
            yield Path(shutil.copytree(self.sound[name], folder / name))

    def judge(self, found: Found, what: str, path: Path, verbs: tuple[str, ...]) -> None:
        """Enter a try: what `verbs` make of the damaged copy at `path`, beside what they make of the intact run."""
        name = path.name
        if (name, verbs) not in self._known:
            with self.copy(name) as sound:
                self._known[name, verbs] = [_command(sound, verb) for verb in verbs]
        results = [_command(path, verb) for verb in verbs]
        right = True
        for (said, result), (usual, good) in zip(results, self._known[name, verbs], strict=True):
            if _told(said, usual):  # what comes after follows from it
                break
            right = right and result == good
        found.enter(f"{name}: {what}", [said for said, _ in results], right=right)


def _leave_log(run: Path) -> None:
    """Leave the archive of `run` as a writer does that is killed: what it stored last is in SQLite's log alone."""
    kept = run.with_name("kept")
    kept.mkdir()
    with archive_of(run, write=True) as archive:
        archive.add_scores({record.spec.id: {"looked_at": 1.0} for record in archive.records()}, step=100)
        for file in run.glob(f"{ARCHIVE}*"):
            shutil.copy(file, kept)
    (kept / f"{ARCHIVE}-shm").unlink()
    for file in kept.iterdir():
        file.replace(run / file.name)
    kept.rmdir()


def _told(said: Said, usual: Said) -> bool:
    """Whether a command refused by a message, or said something that it says of no intact run."""
    more = set(said.error.splitlines()) - set(usual.error.splitlines())
    return bool(more) and (said.code != 0 or usual.code == 0)


def _command(path: Path, verb: str) -> tuple[Said, str]:
    """What `verb` says of the run at `path`, and what comes of it."""
    if verb == "report":
        page = path.parent / "page.html"
        said = say("report", path, "-o", page)
        result = page.read_text() if page.exists() else ""
    elif verb == "resume":
        said = say("train", path / "config.toml", "--run", path, "--resume")
        result = _digest(path)
    else:
        said = say("evaluate", path, "--json", *(["--tasks", path / TASKS] if verb == "tasks" else []))
        result = said.out.replace(str(path.parent), "")
    return replace(said, error=said.error.replace(str(path.parent), "")), result


def _digest(path: Path) -> str:
    """Of all files of the newest checkpoint of the run at `path`."""
    newest = max((path / "checkpoints").glob("[0-9]*"), default=None)
    files = [] if newest is None else [(file.name, file.read_bytes()) for file in sorted(newest.iterdir())]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size and file.suffix != ".lock")


def flips(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """One bit of a file; files are drawn alike, whatever their sizes."""
    with bench.copy(rng.choice(list(RUNS))) as path:
        file = rng.choice(_files(path))
        data = bytearray(file.read_bytes())
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        data[place] ^= 1 << bit
        file.write_bytes(data)
        bench.judge(found, f"{file.relative_to(path)}, byte {place}, bit {bit}", path, ("report", "tasks", "evaluate"))


def configurations(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """config.toml: cut short, a setting altered, removed or added."""
    with bench.copy(rng.choice(list(RUNS))) as path:
        file = path / "config.toml"
        kind = rng.choice(("cut", "altered", "removed", "added"))
        text, tables = file.read_text(), read_toml(file)
        place = ""
        if kind == "cut":
            cut = rng.randrange(len(text))
            file.write_text(text[:cut])
            place = str(cut)
        else:
            table, key = rng.choice([*_settings(tables)])
            place = key
            if kind == "removed":
                del table[key]
            elif kind == "added":
                table["horizon" if rng.random() < 0.5 else f"{key}_too"] = 3
            else:
                table[key] = _other(table[key], rng)
            file.write_text(tomli_w.dumps(tables))
        verbs = ("report", "evaluate", "resume") if rng.random() < 0.5 else ("resume", "report")
        bench.judge(found, f"config.toml {kind} at {place}", path, verbs)


def _settings(tables: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every key with its table."""
    for key, value in tables.items():
        yield tables, key
        if isinstance(value, dict):
            yield from _settings(value)


def _other(value: Any, rng: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((value + 1, value * 2 + 1, -value - 1, value / 2))
    return rng.choice(("", "x", 1)) if isinstance(value, str) else rng.choice((1, "x"))


def directories(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """A file of a run is gone, empty, cut, a pipe, a directory, a link to itself, or that of another run."""
    with bench.copy(rng.choice(list(RUNS))) as path:
        file = rng.choice([*_files(path), path / "checkpoints"])
        kind = rng.choice(("gone", "empty", "cut", "pipe", "directory", "loop", "another's"))
        name = file.relative_to(path)
        data = file.read_bytes() if file.is_file() else b""
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        if kind in ("empty", "cut"):
            file.write_bytes(data[: rng.randrange(len(data)) if kind == "cut" and data else 0])
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "directory":
            file.mkdir()
        elif kind == "loop":
            file.symlink_to(file.name)
        elif kind == "another's":
            other = bench.sound[rng.choice([one for one in RUNS if one != path.name])] / name
            if other.is_file():
                shutil.copy(other, file)
        verbs = rng.choice((("report", "tasks", "evaluate"), ("resume", "report"), ("evaluate", "report")))
        bench.judge(found, f"{name} {kind}, then {', '.join(verbs)}", path, verbs)


def kills(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """One training with as many kills as it takes, each at a random moment; it has to end in the same bytes."""
    with bench.folder() as folder:
        path, killed, fresh = folder / "run", 0, rng.random() < FRESH
        words = ["train", "rl2-bandit", *SHORT, "--run", str(path), "--resume"]
        while killed < 4 and _killed(words, path, rng.uniform(0.0, 0.8), fresh=fresh):
            killed += 1
        said = _in_new(words) if fresh else say(*words)
        right = said.code == 0 and _digest(path) == _digest(bench.sound["plain"])
        found.enter(f"{killed} kills; {said.error.strip()[-200:]}", [said], right=right)


def _killed(words: list[str], path: Path, after: float, *, fresh: bool) -> bool:
    """Run `words` in another process and kill it so many seconds after the run at `path` is there, unless it is over.

    Returns whether it was killed.
    """
    process = multiprocessing.get_context("fork").Process(target=_anew if fresh else _here, args=(words,))
    process.start()
    begun = time.monotonic()
    while process.is_alive() and not path.exists() and time.monotonic() - begun < PATIENCE:
        time.sleep(0.002)
    process.join(after)
    killed = process.is_alive()
    process.kill()
    process.join()
    return killed


def _here(words: list[str]) -> None:
    say(*words)


def _anew(words: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    os.execv(sys.executable, _command_line(words))


def _command_line(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "registry.cli", *words]


def _in_new(words: list[str]) -> Said:
    """What a new interpreter says."""
    try:
        ended = subprocess.run(_command_line(words), capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Said(-1, "", "", "waits")
    return Said(ended.returncode, ended.stdout, ended.stderr, "traceback" * ("Traceback" in ended.stderr))

"""What damage does: of so many tries each is told or does nothing, none is silent, a traceback or waited for.

    python -m benchmarks.reliability                               hours; resumable
    python -m benchmarks.reliability --sizes flips=300,kills=4 --parts flips,kills --dry

Each part is a function that tries one kind of damage, by a random stream of its own (seed, part, number of the try),
and says what became of it:

flips           one bit of a file that a command reads back is flipped
configurations  config.toml is cut short, or a setting of it altered, removed or added
directories     a file of a run is gone, empty, cut, a pipe, a directory, or that of another run
kills           training is killed and resumed until it is over, which has to give the same bytes

"Right" is what is refused or told by a message, or changes no output of any command. To add a part write one function
and name it in `PARTS`.

Longer than most files here: each kind of damage is a function, and all share what counts as told.
"""

import argparse
import contextlib
import hashlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import tomli_w

from benchmarks.harness import Resume, Row, record, row
from registry.cli import main as taskgen
from registry.config import read_toml

PATIENCE = 300.0
"""Seconds after which a command counts as waiting for ever."""
CHUNK = 25
"""Tries between two records of what was found."""
SIZES = {"flips": 10_000, "configurations": 500, "directories": 500, "kills": 300}
SHORT = (
    *("agent.network.hidden_size=8", "training.iterations=6", "training.tasks=8", "training.episodes=3"),
    *("training.evaluate_every=2", "training.checkpoint_every=2", "evaluation.tasks=16", "evaluation.final_tasks=32"),
    'evaluation.players=["random", "greedy"]',
)
RUNS = {"plain": (), "curriculum": ('source={name="plr", score="gae", source="domain-randomization"}', "seed=1")}
"""The runs that are damaged, and a task file beside the first."""
TASKS = "tasks.jsonl"


class WaitedError(BaseException):
    """A command was not over after `PATIENCE`."""


@dataclass
class Said:
    """What a command did."""

    code: int
    out: str
    error: str
    broke: str = ""
    """An exception that escaped, or that it waited."""


@dataclass
class Found:
    """What became of the tries of a part; descriptions of those that were not right."""

    tried: int = 0
    silent: list[str] = field(default_factory=list[str])
    traceback: list[str] = field(default_factory=list[str])
    wait: list[str] = field(default_factory=list[str])

    @property
    def right(self) -> int:
        """Tries that were told or changed nothing."""
        return self.tried - len(self.silent) - len(self.traceback) - len(self.wait)

    def enter(self, what: str, said: Sequence[Said], *, right: bool) -> None:
        """One try, `what` it was, what its commands said, and whether that is right if none of them broke."""
        self.tried += 1
        broken = [one.broke for one in said if one.broke]
        if any(broke == "waits" for broke in broken):
            self.wait.append(what)
        elif broken:
            self.traceback.append(f"{what}: {broken[0]}")
        elif not right:
            self.silent.append(what)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Raise `WaitedError` in here when so many seconds are over."""

    def over(*_: object) -> None:
        raise WaitedError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def say(*arguments: object) -> Said:
    """Run `taskgen` in this process."""
    out, error = io.StringIO(), io.StringIO()
    log = logging.StreamHandler(error)
    logging.getLogger().addHandler(log)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), patience(PATIENCE):
            code = taskgen([str(argument) for argument in arguments])
    except WaitedError:
        return Said(-1, out.getvalue(), error.getvalue(), "waits")
    except Exception as raised:  # noqa: BLE001 - which is what is counted
        return Said(-1, out.getvalue(), error.getvalue(), f"{type(raised).__name__}: {raised}"[:200])
    finally:
        logging.getLogger().removeHandler(log)
    return Said(code, out.getvalue(), error.getvalue(), "traceback" if "Traceback" in error.getvalue() else "")


class Bench:
    """Intact runs, copies of them to damage, and what commands say of those."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._copies = 0
        self._known: dict[tuple[str, tuple[str, ...]], list[tuple[Said, str]]] = {}
        self.sound: dict[str, Path] = {}
        for name, settings in RUNS.items():
            path = place / "sound" / name
            done = say("train", "rl2-bandit", *SHORT, *settings, "--run", path)
            if done.code:
                raise RuntimeError(f"training {name} failed: {done.error}{done.broke}")
            (path / "report.html").unlink()
            self.sound[name] = path
            tasks = ("--family", "bandit", "-n", 12, "-o", path / TASKS)
            if say("generate", "domain-randomization", *tasks).code:
                raise RuntimeError("no tasks were generated")

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """A copy of an intact run that no command has heard of; it goes afterwards."""
        self._copies += 1
        path = self._place / f"copy-{self._copies}" / name
        shutil.copytree(self.sound[name], path)
        try:
            yield path
        finally:
            shutil.rmtree(path.parent)

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
        result = said.out
    return replace(said, error=said.error.replace(str(path.parent), "")), result


def _digest(path: Path) -> str:
    """Of all files of the newest checkpoint of the run at `path`."""
    newest = max((path / "checkpoints").glob("[0-9]*"), default=None)
    files = [] if newest is None else [(file.name, file.read_bytes()) for file in sorted(newest.iterdir())]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _stream(seed: int, part: str, number: int) -> Random:
    return Random(f"{seed} {part} {number}")


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size and file.suffix != ".lock")


def flips(bench: Bench, rng: Random, found: Found) -> None:
    """One bit of a file; files are drawn alike, whatever their sizes."""
    with bench.copy(rng.choice(list(RUNS))) as path:
        file = rng.choice(_files(path))
        data = bytearray(file.read_bytes())
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        data[place] ^= 1 << bit
        file.write_bytes(data)
        bench.judge(found, f"{file.relative_to(path)}, byte {place}, bit {bit}", path, ("report", "tasks", "evaluate"))


def configurations(bench: Bench, rng: Random, found: Found) -> None:
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


def directories(bench: Bench, rng: Random, found: Found) -> None:
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


def kills(bench: Bench, rng: Random, found: Found) -> None:
    """One training with as many kills as it takes, each at a random moment; it has to end in the same bytes."""
    with bench.copy("plain") as sound, tempfile.TemporaryDirectory() as made:
        path, killed = Path(made) / "run", 0
        start = [sys.executable, "-m", "registry.cli", "train", "rl2-bandit", *SHORT, "--run", str(path), "--resume"]
        while killed < 4:
            process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            watched, until = time.monotonic(), rng.uniform(0.0, 1.5)
            while process.poll() is None and not path.exists() and time.monotonic() - watched < PATIENCE:
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(until)
            if process.poll() is not None:
                break
            process.kill()
            process.communicate()
            killed += 1
        try:
            ended = subprocess.run(start, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            said = Said(-1, "", "", "waits")
        else:
            said = Said(ended.returncode, ended.stdout, ended.stderr, "traceback" * ("Traceback" in ended.stderr))
        right = said.code == 0 and _digest(path) == _digest(sound)
        found.enter(f"{killed} kills; {said.error.strip()[-200:]}", [said], right=right)


PARTS: Mapping[str, Callable[[Bench, Random, Found], None]] = {
    "flips": flips,
    "configurations": configurations,
    "directories": directories,
    "kills": kills,
}
"""By name; each makes one try."""


def tried(bench: Bench, part: str, numbers: range, seed: int) -> Found:
    """The tries of `part` with these numbers."""
    found = Found()
    for number in numbers:
        PARTS[part](bench, _stream(seed, part, number), found)
    return found


def together(parts: Sequence[Mapping[str, Any]]) -> Found:
    """One count of several, as they were kept."""
    found = Found()
    for part in parts:
        found.tried += part["tried"]
        found.silent += part["silent"]
        found.traceback += part["traceback"]
        found.wait += part["wait"]
    return found


def table(found: Mapping[str, Found]) -> list[str]:
    """A line per part."""
    lines = [f"{'part':<16}{'tried':>8}{'right':>8}{'silent':>8}{'tracebacks':>12}{'waits':>7}"]
    for part, one in found.items():
        counts = f"{one.tried:>8}{one.right:>8}{len(one.silent):>8}{len(one.traceback):>12}{len(one.wait):>7}"
        lines.append(f"{part:<16}{counts}")
    return lines


def rows(found: Mapping[str, Found]) -> list[Row]:
    """What is recorded: the share that is right, and how many were not."""
    recorded: list[Row] = []
    for part, one in found.items():
        recorded.append(
            row(f"{part}: share of {one.tried:,} tries that were right", one.right / one.tried, target=">= 1")
        )
        wrong = {"silent": one.silent, "traceback": one.traceback, "wait": one.wait}
        recorded += [row(f"{part}: {name}", len(what), target="<= 0") for name, what in wrong.items()]
    return recorded


def main(arguments: Sequence[str] | None = None) -> dict[str, Found]:
    """Try, print the table and what was not right, and record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, by commas")
    parser.add_argument("--sizes", default="", help="tries of parts, such as flips=300,kills=4")
    parser.add_argument("--seed", type=int, default=0, help="root of all random streams")
    parser.add_argument("--dry", action="store_true", help="keep and record nothing")
    given = parser.parse_args(arguments)
    sizes = SIZES | {
        part: int(size) for part, _, size in (text.partition("=") for text in given.sizes.split(",") if text)
    }
    kept = None if given.dry else Resume("reliability", {"seed": given.seed, "chunk": CHUNK})
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place))
        for part in given.parts.split(","):
            chunks = [range(first, min(first + CHUNK, sizes[part])) for first in range(0, sizes[part], CHUNK)]
            counts: list[Mapping[str, Any]] = []
            for chunk in chunks:

                def measure(part: str = part, chunk: range = chunk) -> dict[str, Any]:
                    return vars(tried(bench, part, chunk, given.seed))

                counts.append(measure() if kept is None else kept.part(f"{part} {chunk.start}-{chunk.stop}", measure))
            found[part] = together(counts)
    print("\n".join(table(found)))
    for part, one in found.items():
        for name in ("silent", "traceback", "wait"):
            for what in getattr(one, name):
                print(f"{part}: {name}: {what}")
    if kept is not None:
        record("reliability", rows(found), [given.seed], kept.notes)
        kept.done()
    return found


if __name__ == "__main__":
    main()

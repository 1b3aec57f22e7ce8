"""What there is on a GPU, in one command of eight minutes: tests, engine, RL^2 to the optimum, mazes, half-cheetahs.

    python -m benchmarks.gpu                   all parts that this commit has no record of
    python -m benchmarks.gpu engine bandit     these, anew; what is recorded of the others stays

Each part is a process of its own with its share of the minutes, recorded when it ends. It says its figures as it has
them: of one that is cut, or that breaks, those that it said are kept, and the notes say how it ended. Nothing is
downloaded. Without a card it refuses, with exit code 2; no figure stands for one that was not taken.

tests: those marked `cuda`, those on every family and agent last. engine: eager steps, chunks of 8 captured
as a CUDA graph, and, where JAX sees the card, its scan of 8; bytes are the most that was allocated, by slot. bandit:
`rl2-bandit` until 20,000 held-out trials earn 6.6, from the start of the process. mazes: `dr-maze` with 1,024 trials an
iteration. cheetahs: `half-cheetah` by velocity, whose physics stays on the host, so that the card only learns.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from benchmarks.harness import ROOT, Row, record, record_of, row, source_commit
from benchmarks.tensor_families import STEPS, Contestant, Engine, Jax, speeds
from registry.errors import UserError, suggest

NAME = "gpu"
SLOTS = (16_384, 262_144)
SOLVED, JUDGED_ON = 6.6, 20_000
MINIMAX = "minimax (paper): 100+ hours to less than 3 on one GPU; for 250 million steps that is 23,000 a second"
WARM_UP = 3
"""Iterations that rates leave out."""
SINCE = "TASKGEN_GPU_SINCE"
"""When the part's process was started, in seconds of `time.time`."""


class Part(NamedTuple):
    """What is measured, and for how long."""

    rows: Callable[[str, float], Iterator[Row]]
    """From a device and the seconds to spend: figures, one after another."""
    seconds: float


class Count:
    """A plugin of pytest that counts how tests end."""

    def __init__(self) -> None:
        self.ended = dict.fromkeys(("passed", "failed", "skipped"), 0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that is skipped, or breaks before it begins, has no call."""
        if report.when == "call" or report.outcome != "passed":
            self.ended[report.outcome] += 1


class Until:
    """A watcher that stops a run when its time is over, or an evaluation is good enough."""

    def __init__(self, run: RunDirectory, seconds: float, solved: float = float("inf")) -> None:
        self._evaluations, self._solved = run.path / "evaluations.jsonl", solved
        self._end = time.monotonic() + seconds

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Nothing is drawn."""

    def say(self, text: str) -> None:
        """To whoever looks on."""
        print(text, file=sys.stderr, flush=True)

    def stop_requested(self) -> bool:
        """Whether it is time, or done."""
        return time.monotonic() > self._end or self.latest >= self._solved

    @property
    def latest(self) -> float:
        """Of the last evaluation, the mean return of a trial."""
        lines = self._evaluations.read_text().splitlines() if self._evaluations.exists() else []
        return float(json.loads(lines[-1])["trial"]["mean"]) if lines else -float("inf")


def tests(device: str, seconds: float) -> Iterator[Row]:  # noqa: ARG001 - marks say where, and who cuts says until when
    """How those that need a card end there, file by file."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in path.read_text()]
    for path in sorted(files, key=lambda path: "emulated" in path.parts):
        count = Count()
        with redirect_stdout(sys.stderr):
            pytest.main(["-q", "-m", "cuda", "-p", "no:cacheprovider", str(path)], plugins=[count])
        for outcome, number in count.ended.items():
            target = None if outcome == "passed" else "<= 0"
            yield row(f"tests marked cuda, {path.stem}: {outcome}", number, target=target)


def engine(
    device: str,
    seconds: float,  # noqa: ARG001 - turns are of one length
    slots: Sequence[int] = SLOTS,
    families: Sequence[str] = ("cartpole", "maze"),
) -> Iterator[Row]:
    """Steps per second, and bytes by slot."""
    for name in families:
        for count in slots:
            ways: dict[str, Callable[[], Contestant]] = {
                "eager": lambda name=name, count=count: Engine(name, count, device),
                f"chunk of {STEPS} as a graph": lambda name=name, count=count: Engine(name, count, device, STEPS),
            }
            if name == "cartpole" and _jax_sees_it():
                ways[f"JAX scan of {STEPS}"] = lambda count=count: Jax(count, STEPS)
            contestants: dict[str, Contestant] = {}
            for way, make in ways.items():
                before = _allocated(device)
                contestants[way] = make()
                contestants[way].play(1)
                if way != f"JAX scan of {STEPS}" and before is not None:
                    taken = (torch.cuda.max_memory_allocated() - before) / count
                    yield row(f"{name}, {count:,} slots, {way}: bytes a slot", taken)
            rates = speeds(contestants)
            for way, values in rates.items():
                yield _spread(f"{name}, {count:,} slots, {way}: steps per second", values)
            for way in list(rates)[2:]:
                ratio = rates[f"chunk of {STEPS} as a graph"] / rates[way]
                yield _spread(f"{name}, {count:,} slots: chunk times {way}", ratio, ">= 1")


def bandit(device: str, seconds: float, settings: Sequence[str] = ()) -> Iterator[Row]:
    """The seconds after which RL^2 plays bandits as it should, with start-up."""
    changes = [
        f"evaluation.tasks={JUDGED_ON}",
        f"evaluation.final_tasks={JUDGED_ON}",
        "training.evaluate_every=50",
        *settings,
    ]
    judged, found = _run("rl2-bandit", device, seconds, [*changes, *settings], solved=SOLVED)
    title = f"rl2-bandit, {JUDGED_ON:,} held-out trials"
    yield row(f"{title}: return when stopped", judged, target=f">= {SOLVED}")
    yield row(f"{title}: seconds until stopped, with start-up", time.time() - float(os.environ[SINCE]), target="<= 10")
    yield _spread("rl2-bandit: steps per second of training", found)


def mazes(device: str, seconds: float, settings: Sequence[str] = ("training.tasks=1024",)) -> Iterator[Row]:
    """The rate of training on mazes."""
    _, found = _run("dr-maze", device, seconds, ["training.iterations=100000", "training.evaluate_every=0", *settings])
    yield _spread("dr-maze, 1,024 trials: steps per second of training", found, ">= 23000", MINIMAX)


def cheetahs(device: str, seconds: float, settings: Sequence[str] = ()) -> Iterator[Row]:
    """Half-cheetahs that are to run at a speed of the task's."""
    family = 'family={name = "half-cheetah", task = "velocity"}'
    for experiment in ("rl2-navigation", "maml-navigation", "pearl-sparse-point"):
        agent = experiment.partition("-")[0]
        changes = [family, "source={name = 'domain-randomization'}", "training.evaluate_every=0", *settings]
        changes += ["evaluation.out_of_distribution={}", "evaluation.players=[]"]
        _, found = _run(experiment, device, seconds / 3, changes)
        yield _spread(f"half-cheetah by velocity, {agent}: steps per second of training", found)


PARTS: Mapping[str, Part] = {
    "tests": Part(tests, 60),
    "engine": Part(engine, 150),
    "bandit": Part(bandit, 70),
    "mazes": Part(mazes, 50),
    "cheetahs": Part(cheetahs, 120),
}
GRACE = 6.0
"""Seconds beyond its own after which a part is cut; all parts together end within eight minutes."""


def measured(command: Sequence[str], seconds: float) -> tuple[list[Row], str]:
    """The rows that a part's process said within so many seconds, and how it ended; nothing: well."""
    rows: list[Row] = []
    environment = {**os.environ, SINCE: str(time.time())}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    cut = threading.Event()

    def end() -> None:
        cut.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            rows.append(json.loads(line))
            print(f"{rows[-1]['what']}: {rows[-1]['value']:,.6g}", flush=True)
    code = process.wait()
    timer.cancel()
    return rows, f"was cut after {seconds:g} s" if cut.is_set() else f"broke with exit code {code}" if code else ""


def main(arguments: list[str] | None = None) -> None:
    """Measure and record; with `--part`, a part's own process, say its rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    missing = "left out: those that this commit has no record of"
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; {missing}")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    for name in given.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}. {suggest(name, PARTS)}")
    if not torch.cuda.is_available():
        print("benchmarks.gpu: torch sees no CUDA device here, and there is nothing to measure", file=sys.stderr)
        raise SystemExit(2)
    if given.part:
        torch.set_num_threads(1)
        for found in PARTS[given.part].rows("cuda", PARTS[given.part].seconds):
            print(json.dumps(found), flush=True)
        return
    ended = record_of(NAME).get("ended", {})
    for name in given.parts or _missing():
        command = [sys.executable, "-m", f"benchmarks.{NAME}", "--part", name]
        rows, ended[name] = measured(command, PARTS[name].seconds + GRACE)
        notes = [torch.cuda.get_device_name(), *(f"{part} {how}" for part, how in ended.items() if how)]
        if rows:
            record(NAME, rows, seeds=[0], notes="; ".join(notes), part_of=part_of, ended=ended)


def _run(
    experiment: str, device: str, seconds: float, changes: Sequence[str], solved: float = float("inf")
) -> tuple[float, np.ndarray]:
    """Of a run that was stopped in time, its last evaluation, and the steps per second of its iterations."""
    plan = load_experiment(experiment, [*changes, f"device={device}"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / experiment)
        run.create(plan)
        watcher = Until(run, seconds, solved)
        train(plan, run, watcher)
        judged = watcher.latest
        lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    rates = np.array([line["charts/SPS"] for line in lines[WARM_UP:] if "charts/SPS" in line])
    if not len(rates):
        raise UserError(f"{experiment}: {len(lines)} iterations in {seconds:g} s say nothing of its rate")
    return judged, rates


def _missing() -> list[str]:
    """Parts that were not measured, to their end, at this commit."""
    recorded, here = record_of(NAME), source_commit()
    whole = {part for part, when in recorded.get("parts", {}).items() if when["commit"] == here}
    return [name for name in PARTS if name not in whole or recorded["ended"].get(name)]


def part_of(what: str) -> str:
    """Which part a row belongs to, by its name."""
    begins = {"tests": "tests", "rl2-bandit": "bandit", "dr-maze": "mazes", "half-cheetah": "cheetahs"}
    return next((part for start, part in begins.items() if what.startswith(start)), "engine")


def _spread(what: str, values: np.ndarray, target: str | None = None, source: str = "") -> Row:
    """The median, with the tenths at either end."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9]).tolist()
    return row(f"{what} (median, 10-90%)", middle, low, high, target, source)


def _allocated(device: str) -> int | None:
    """Bytes that are taken on the card, of which the most is counted from now on; none where it is none."""
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _jax_sees_it() -> bool:
    if find_spec("jax") is None:
        return False
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # or it takes most of the card, and torch finds none
    import jax  # pyright: ignore[reportMissingImports]

    return bool(jax.devices()[0].platform == "gpu")


if __name__ == "__main__":
    main()

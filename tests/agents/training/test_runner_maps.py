"""One POET run in this process, in worker processes and by Ray: the same bytes, also where workers are killed."""

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import wait

import pytest
import units_of_work as units

from agents.training.experiment import build_parts, load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from plugins.runners.work import Examination
from taskgen import lineage, maps
from tests.agents.training.test_loop import Quiet, digest
from tests.agents.training.test_runner_runs import archived
from tests.taskgen.test_maps import RAY, wait_until_gone

pytestmark = pytest.mark.slow

EVOLVING = (
    "name=tiny-poet",
    "family={name='cartpole', horizon=100}",
    "source={name='domain-randomization', fixed={force=5.0, pole_mass=0.3}}",
    "agent={name='es', hidden=[4], learning_rate=0.02}",
    "runner={name='poet', novelty='pata-ec', reproduce_from=10.0, lowest=5.0, highest=100.0, solved=40.0}",
    "runner.reproduce_every=2",
    "runner.transfer_every=2",
    "runner.max_active=3",
    "runner.admitted=2",
    "runner.children=4",
    "runner.judged_episodes=2",
    "runner.proposals=1",
    "training={iterations=6, tasks=1, episodes=8, checkpoint_every=2}",
    "evaluation.players=['random']",
)
MAPS = ["processes", pytest.param("ray", marks=RAY)]


def run_on(path, map_, watch=lambda crew: Quiet()):
    """The finished run, and who watched its map's workers."""
    plan = load_experiment("ppo-navigation", [*EVOLVING, f"runner.map={map_}", "runner.workers=2"])
    run = RunDirectory(path)
    run.create(plan)
    parts = build_parts(plan.config)
    watcher = watch(parts.runner._map)
    assert train(plan, run, watcher, parts)
    return run, watcher


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run_on(tmp_path_factory.mktemp("run") / "serial", "serial")[0]


def test_the_run_does_every_kind_of_work(alone):
    records = archived(alone)
    scores = [set(record.scores) for record in records]
    assert sum(bool(record.parents) for record in records) >= 3
    assert sum(any(name.startswith(lineage.TRANSFERS) for name in known) for known in scores) >= 3
    assert sum(lineage.RETIRED in known for known in scores) >= 2
    assert sum(lineage.SOLVED in known for known in scores) >= 3
    last = json.loads((alone.path / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    assert (last["tasks/active"], last["tasks/failed"]) == (3, 0)


@pytest.mark.parametrize("map_", MAPS)
def test_every_map_gives_the_same(alone, tmp_path, map_):
    run, _ = run_on(tmp_path / "run", map_)
    assert archived(run) == archived(alone)
    assert digest(run) == digest(alone)


def kind_of(work):
    if isinstance(work, Examination):
        return "examination"
    return "learning" if work.start is None else "proposal"


class Killer(Quiet):
    """Kills workers of a run: some with a unit in their hands, and after an iteration all that wait for one."""

    NTH, AFTER = 3, 3
    """Of the units of each kind, counted from 1; and the iteration."""

    def __init__(self, crew, directory):
        super().__init__()
        self._crew, self._directory = crew, directory
        self._hire, crew.hire = crew.hire, self._hire_watched
        self._submitted = Counter()
        """Units by kind."""
        self._ask = {}
        """By worker: how it is given a unit that does not count."""
        self.units = []
        """Futures of the units that were lost, each with what futures of workers that died raise."""
        self.at_work, self.idle = [], []
        """Process ids."""

    def _hire_watched(self):
        worker = self._hire()
        submit = self._ask[worker] = worker.submit

        def watched(function, unit):
            kind = kind_of(*unit)
            self._submitted[kind] += 1
            if self._submitted[kind] != self.NTH:
                return submit(function, unit)
            note = self._directory / kind
            future = submit(units.computes_and_waits, (str(note), function, *unit))
            self.units.append((future, worker.died))
            threading.Thread(target=self._kill_once_noted, args=[note], daemon=True).start()
            return future

        worker.submit = watched
        return worker

    def _kill_once_noted(self, note):
        while not note.exists():
            time.sleep(0.01)
        self.at_work.append(int(note.read_text()))
        os.kill(self.at_work[-1], signal.SIGKILL)

    def iteration(self, done, total, metrics):
        if done == self.AFTER:
            waiting = [*self._crew._idle, *self._crew._starting]
            wait([worker.ready for worker in waiting])
            self.idle = [maps._result(self._ask[worker](os.getpid, ())) for worker in waiting]
            for pid in self.idle:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("map_", MAPS)
def test_workers_that_are_killed_change_nothing(alone, tmp_path, map_):
    run, killer = run_on(tmp_path / "run", map_, lambda crew: Killer(crew, tmp_path))
    assert len(set(killer.at_work)) == len(killer.units) == 3
    assert all(isinstance(future.exception(), died) for future, died in killer.units)
    assert len(set(killer.idle)) == 2
    wait_until_gone([*killer.at_work, *killer.idle])
    assert archived(run) == archived(alone)
    assert digest(run) == digest(alone)

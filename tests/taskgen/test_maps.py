"""Maps: the same results in the same order wherever they are computed, and what becomes of workers that die or hang."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import units_of_work as units
from deap import base

from registry.config import parse
from registry.errors import ConfigError, UserError
from taskgen import artefacts
from taskgen.maps import Failed, MapConfig

RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs Ray: pip install "taskgen-metarl[ray]"')


def opened(name, **settings):
    return MapConfig(map=name, workers=2, **settings).open_map()


def both_workers(mapper):
    """Their process ids; the first to start may do all of the work of a call."""
    pids, until = set(), time.monotonic() + 60
    while len(pids) < 2:
        assert time.monotonic() < until, "one worker alone has started"
        pids |= set(mapper(units.process, range(4)))
    return pids


@pytest.fixture(scope="module")
def processes():
    mapper = opened("processes")
    yield mapper
    mapper.close()


@pytest.fixture(scope="module")
def on_ray():
    mapper = opened("ray")
    yield mapper
    mapper.close()


@pytest.fixture(params=["serial", "processes", pytest.param("ray", marks=[pytest.mark.slow, RAY])])
def mapper(request):
    if request.param == "serial":
        return opened("serial")
    return request.getfixturevalue("processes" if request.param == "processes" else "on_ray")


@pytest.fixture(params=["processes", pytest.param("ray", marks=[pytest.mark.slow, RAY])])
def hurried(request):
    """A map that waits three seconds for a result."""
    if request.param == "ray":
        request.getfixturevalue("on_ray").close()  # its idle workers hold the CPUs of the cluster
    mapper = opened(request.param, deadline=3.0)
    yield mapper
    mapper.close()


def test_results_are_in_the_order_of_the_arguments(mapper):
    assert mapper(units.power, range(7), [3] * 7) == [0, 1, 8, 27, 64, 125, 216]
    assert mapper(units.power, [], []) == []
    with pytest.raises(ValueError, match="shorter"):
        mapper(units.power, [1, 2], [3])


def test_deap_takes_it(mapper):
    toolbox = base.Toolbox()
    toolbox.register("map", mapper)
    toolbox.register("evaluate", units.power, exponent=2)
    assert toolbox.map(toolbox.evaluate, [1, 2, 3]) == [1, 4, 9]


def test_results_are_the_same_to_the_bit(mapper):
    """One thread in a worker and in this process, which may have more."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = mapper(units.long_sum, range(3))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    torch.set_num_threads(1)
    sums = [units.long_sum(seed) for seed in range(3)]
    torch.set_num_threads(before)
    assert found == sums


def test_what_a_unit_raises_is_its_own_failure(mapper):
    found = mapper(units.raises, range(4))
    assert found == [0, 1, Failed("ValueError: 2 is not for me"), 3]
    assert "units_of_work.py" in found[2].trace


def test_workers_compute_alone_and_are_kept(processes):
    assert set(processes(units.alone, range(4))) == {("1", "1", "SIG_IGN")}
    pids = both_workers(processes)
    assert set(processes(units.process, range(4))) <= pids


def test_a_result_that_does_not_pickle_is_a_failure(processes):
    good, bad = processes(units.unpicklable, range(2))
    assert good == 0
    assert isinstance(bad, Failed)
    assert "pickle" in bad.reason
    assert processes(units.power, [2], [5]) == [32]


@pytest.mark.parametrize("unit", [units.dies_once, units.hangs_once])
def test_a_worker_that_died_or_hung_is_replaced_and_its_work_redone(hurried, unit, tmp_path):
    flag = tmp_path / "flag"
    assert hurried(unit, [str(flag)] * 5, range(5)) == [0, 10, 20, 30, 40]
    assert flag.exists()


@pytest.mark.parametrize(
    ("unit", "reason"), [(units.dies, "its worker died, 2 times"), (units.hangs, "not done after 3 s, 2 times")]
)
def test_a_unit_that_takes_its_worker_along_twice_is_given_up(hurried, unit, reason):
    assert hurried(unit, range(4)) == [0, Failed(reason), 20, 30]
    assert hurried(units.power, [3], [2]) == [9]


def test_workers_that_died_while_idle_are_replaced(hurried):
    """All of them at once: a unit is not given up because it was handed to one after the other."""
    pids = both_workers(hurried)
    for pid in pids:
        os.kill(pid, 9)
    wait_until_gone(pids)
    assert hurried(units.power, [3], [2]) == [9]
    assert hurried(units.power, range(4), [2] * 4) == [0, 1, 4, 9]


def test_workers_that_die_while_they_start_are_replaced():
    mapper = opened("processes")
    hire, killed = mapper.hire, []

    def deadly():
        worker = hire()
        if len(killed) < 2:
            killed.extend(worker._pool._processes)
            os.kill(killed[-1], 9)
        return worker

    mapper.hire = deadly
    assert mapper(units.power, range(3), [2] * 3) == [0, 1, 4]
    wait_until_gone(killed)
    assert len(killed) == 2
    mapper.close()


def test_workers_find_the_artefacts_that_their_parent_knows_of(tmp_path):
    name = artefacts.save(artefacts.Artefact({"x": np.arange(3)}, {}), tmp_path)
    mapper = opened("processes")
    (found,) = mapper(artefacts.load, [name])
    mapper.close()
    assert found.tensors["x"].tolist() == [0, 1, 2]


def test_a_closed_map_starts_again():
    mapper = opened("processes")
    first = mapper(units.process, range(1))
    mapper.close()
    assert mapper(units.process, range(1)) != first
    mapper.close()


SCRIPT = """
import os, signal, sys, threading, time
sys.path.insert(0, {toys!r})
import units_of_work as units
from taskgen.maps import MapConfig
if __name__ == "__main__" or {unguarded}:
    mapper = MapConfig(map="processes", workers=2).open_map()
    print(*mapper(units.process, range(2)), flush=True)
    {then}
"""


def _script(tmp_path, then, *, unguarded=False):
    path = tmp_path / "script.py"
    toys = str(Path(units.__file__).parent)
    path.write_text(SCRIPT.format(toys=toys, then=then, unguarded=unguarded))
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def _gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # reaped since, or a system without /proc: the next look tells
        return False
    return stat.rsplit(")", 1)[1].split()[0] == "Z"


def wait_until_gone(pids):
    until = time.monotonic() + 20
    while not all(map(_gone, pids)):
        assert time.monotonic() < until, f"{pids} live on"
        time.sleep(0.1)


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("os.kill(os.getpid(), 9)", id="killed"),
        pytest.param("pass", id="ended"),
        pytest.param(
            "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a job in the background ignores it
            "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start(); mapper(units.hangs, [1, 1])",
            id="interrupted",
        ),
    ],
)
def test_workers_do_not_outlive_their_parent(then, tmp_path):
    script = _script(tmp_path, then)
    pids = [int(pid) for pid in script.stdout.readline().split()]
    assert len(set(pids)) >= 1
    script.wait(timeout=30)
    wait_until_gone(pids)
    if "SIGINT" in then:
        assert "KeyboardInterrupt" in script.stderr.read()


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = _script(tmp_path, "pass", unguarded=True)
    assert 'needs `if __name__ == "__main__":`' in script.communicate(timeout=60)[1]


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"taskgen-metarl\[ray\]"):
        opened("ray")


CLUSTER = """
import time
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print(ray.get_runtime_context().gcs_address, flush=True)
time.sleep(600)
"""


@RAY
@pytest.mark.slow
def test_a_running_cluster_is_found_by_its_address(on_ray):
    on_ray.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    cluster = subprocess.Popen([sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        mapper = MapConfig(map="ray", address=cluster.stdout.readline().strip()).open_map()
        assert mapper(units.power, range(3), [2] * 3) == [0, 1, 4]
        assert mapper.workers == 2
        mapper.close()
    finally:
        cluster.terminate()
        cluster.wait(timeout=30)


@RAY
@pytest.mark.slow
def test_a_cluster_that_is_not_there():
    mapper = opened("ray", address="127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster at address = '127.0.0.1:1'"):
        mapper(units.power, [1], [1])


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="serial"):
        parse(MapConfig, {"map": "threads"}, "runner")


TENSORS = """
import os, signal
import units_of_work as units
import torch
from taskgen.maps import MapConfig

if __name__ == "__main__":
    mapper = MapConfig(map="processes", workers=2).open_map()
    assert [value.tolist() for value in mapper(units.doubled, [torch.ones(2)] * 3)] == [[2.0, 2.0]] * 3
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Tensors go between processes as bytes, not as files in directories that nobody removes after a kill."""
    (tmp_path / "script.py").write_text(TENSORS)
    (tmp_path / "places").mkdir()
    paths = os.pathsep.join([str(Path(units.__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "TMPDIR": str(tmp_path / "places"), "PYTHONPATH": paths}
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], env=environment, stderr=-1, timeout=120, check=False
    )
    assert ended.returncode == -9, ended.stderr
    assert list((tmp_path / "places").iterdir()) == []

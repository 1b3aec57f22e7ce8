"""What use had found, by number: an assertion each through a public face, so that it can be tried on any commit."""

import json
import os
import pickle
import sqlite3
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

import taskgen
from registry.cli import main
from registry.config import Part
from registry.discovery import FILES_VARIABLE
from taskgen.engines.testing import sample_actions

QUICK = (
    *("training.iterations=4", "training.tasks=4", "training.episodes=2", "training.evaluate_every=0"),
    *("training.checkpoint_every=1", "evaluation.tasks=4", "evaluation.final_tasks=4", "evaluation.players=[]"),
    "agent.network.hidden_size=4",
)
PLANE = """<mujoco><option><flag contact="disable"/></option><worldbody><geom name="floor" type="plane" size="1 1 1"/>
<body name="torso"><joint name="x" type="slide" axis="1 0 0"/><geom name="ball" size="0.1"/></body></worldbody>
<actuator><motor name="push" joint="x" ctrlrange="-1 1" ctrllimited="true"/></actuator></mujoco>"""
SLOW = """
import time
from registry import Entry, hookimpl
from plugins.families.bandit import Bandit, BanditConfig

class Slow(Bandit):
    def batch(self, slots, device="cpu"):
        made = super().batch(slots, device)
        step = made.step
        def slow(action):
            time.sleep(0.0 if slots == 1 else 60.0)
            return step(action)
        made.step = slow
        return made

class Nothing:
    feedback = False
    def __init__(self, config, *, family, seed): ...
    def ask(self, n): return None
    def tell(self, results): ...
    def state_dict(self): return {}
    def load_state_dict(self, state): ...

@hookimpl
def register_task_families():
    offers = ("bandit", "discrete-actions")
    return [Entry("slow", "found_by_use:Slow", "S.", "plugins.families.bandit:BanditConfig", offers=offers)]

@hookimpl
def register_task_generators():
    return [Entry("nothing", "found_by_use:Nothing", "N.")]
"""


def tried(call):
    """What `call` gives, or what it raised instead."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 (a traceback is what is looked for)
        return error


def refusal(call):
    """What `call` was refused with, if it was."""
    found = tried(call)
    return str(found) if isinstance(found, Exception) else ""


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    assert main(["train", "rl2-bandit", *QUICK, "--run", str(path)]) == 0
    return path


@pytest.fixture
def plugin(tmp_path, plugin_environment, monkeypatch):
    file = tmp_path / "found_by_use.py"
    file.write_text(SLOW)
    monkeypatch.setenv(FILES_VARIABLE, str(file))
    return file


def test_u1_what_reaches_a_family_lies_in_its_action_space():
    from taskgen.interaction.build import build_agent, problem_of
    from taskgen.interaction.collect import collect

    family = taskgen.build_family("point-navigation", {"horizon": 5})
    family = type(family)(family.config, name=family.name)
    family.action_space = gym.spaces.Box(np.float32([0.0, -0.05]), np.float32([0.05, 0.05]))
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part(name="rl2"), problem)
    batch, seen = family.batch(16), []
    step = batch.step
    batch.step = lambda action: (seen.append(action), step(action))[1]
    collect(agent, batch, [family.spec(seed=seed) for seed in range(16)], plan=agent.plan(1))
    sent = torch.stack(seen)
    assert float(sent[..., 0].min()) >= 0.0
    assert float(sent.abs().max()) <= 0.0501


def test_u2_a_knob_that_cannot_change_anything_is_named(tmp_path, capsys):
    model = json.dumps(PLANE)
    words = ["generate", "domain-randomization", "--family", "mujoco-any", "-n", "2", "-o", str(tmp_path / "t.jsonl")]
    tried(lambda: main([*words, f"family.model={model}", 'family.fields=["geom_friction.ball"]']))
    said = capsys.readouterr()
    assert "friction" in said.err


def test_u3_a_model_is_named_by_its_file(tmp_path):
    file = tmp_path / "mine.xml"
    file.write_text(PLANE)
    words = ["generate", "domain-randomization", "--family", "mujoco-any", "-n", "2", "-o", str(tmp_path / "t.jsonl")]
    assert tried(lambda: main([*words, f"family.model={file}"])) == 0


def test_u4_a_request_that_cannot_be_honoured_is_refused():
    env = taskgen.make(taskgen.build_family("bandit").spec())
    assert isinstance(tried(lambda: env.reset(options={"reset_maks": 1})), Exception)


def test_u5_a_plugin_that_breaks_its_contract_is_told_so(plugin, tmp_path, capsys):
    words = ["generate", "nothing", "--family", "bandit", "-n", "3", "-o", str(tmp_path / "tasks.jsonl")]
    assert tried(lambda: main(words)) in (2, 3)
    assert "found_by_use/nothing: ask(3) gave None" in " ".join(capsys.readouterr().err.split())


def test_u6_environments_of_mujoco_are_copied_in_the_middle_of_an_episode():
    env = taskgen.make(taskgen.build_family("hopper").spec())
    env.reset(seed=1)
    env.step(env.action_space.sample())
    again = tried(lambda: pickle.loads(pickle.dumps(env)))
    assert isinstance(again, gym.Env)
    action = np.zeros(3, np.float32)
    assert (env.step(action)[0] == again.step(action)[0]).all()


@pytest.mark.parametrize("kind", ["family", "reward", "agent", "network", "curriculum", "tracker"])
def test_u7_a_plugin_of_every_kind_is_begun(kind, tmp_path):
    assert tried(lambda: main(["new-plugin", "my-part", "--kind", kind, "--directory", str(tmp_path)])) == 0


def test_u9_every_design_of_a_walkers_course_is_a_task():
    from taskgen.engines.design import DesignConfig, DesignFamily

    family = taskgen.build_family("terrain-walker")
    designs = DesignFamily(DesignConfig(), family)
    specs = [designs.spec(seed=seed) for seed in range(60)]
    batch = designs.batch(60)
    batch.set_tasks(specs)
    batch.reset()
    for action in sample_actions(designs, designs.horizon, 60):
        batch.step(action)
    refused = [error for context in designs.contexts(batch) if (error := refusal(lambda c=context: family.spec(c)))]
    assert not refused


def test_r1_an_archive_that_lost_a_row_is_told(run, capsys):
    database = sqlite3.connect(run / "archive.sqlite")
    table = next(row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'task%'"))
    database.execute(f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})")
    database.commit()
    database.close()
    assert tried(lambda: main(["report", str(run)])) not in (0, None)
    assert "archive.sqlite" in capsys.readouterr().err


def test_r2_a_configuration_that_was_cut_is_not_completed_by_defaults(run):
    before = (run / "evaluation.json").read_bytes()
    lines = (run / "config.toml").read_text().splitlines()
    (run / "config.toml").write_text("\n".join(line for line in lines if not line.startswith("final_tasks")))
    assert tried(lambda: main(["evaluate", str(run)])) != 0
    assert (run / "evaluation.json").read_bytes() == before


@pytest.mark.slow
def test_r3_a_run_is_trained_by_one_process(tmp_path):
    from agents.training.experiment import load_experiment
    from agents.training.loop import train
    from agents.training.run import RunDirectory

    plan = load_experiment("rl2-bandit", QUICK)
    run, codes = RunDirectory(tmp_path / "run"), []
    run.create(plan)

    class Watcher:
        def iteration(self, done, total, metrics):
            if done == 2:
                words = ["train", str(run.config), "--run", str(run.path), "--resume"]
                call = [sys.executable, "-m", "registry.cli", *words]
                codes.append(subprocess.run(call, capture_output=True, check=False, timeout=60).returncode)

        def say(self, text): ...

        def stop_requested(self):
            return bool(codes)

    train(plan, run, Watcher())
    assert codes[0] != 0


def test_r4_a_run_goes_on_with_its_own_settings_alone(run):
    config = run / "config.toml"
    config.write_text(config.read_text().replace("iterations = 4", "iterations = 6").replace("tasks = 4", "tasks = 5"))
    assert tried(lambda: main(["train", str(config), "--run", str(run), "--resume"])) != 0


def test_r5_a_new_run_does_not_begin_where_checkpoints_lie(run):
    (run / "config.toml").unlink()
    assert tried(lambda: main(["train", "rl2-bandit", *QUICK, "--run", str(run)])) not in (0, None)


def test_r6_a_wrong_type_in_a_task_is_a_sentence(tmp_path, capsys):
    words = ["generate", "domain-randomization", "--family", "half-cheetah", "-n", "1", "-o", str(tmp_path / "t.jsonl")]
    assert tried(lambda: main([*words, "family.task=[1]"])) in (2, 3, 4)
    assert "task = [1]: should be" in capsys.readouterr().err


def test_r7_a_figure_that_was_changed_is_told(run):
    file = run / "evaluation.json"
    found = json.loads(file.read_text())
    next(iter(next(iter(found["sets"].values()))["players"].values()))["trial"]["mean"] += 1.0
    file.write_text(json.dumps(found))
    assert tried(lambda: main(["report", str(run)])) not in (0, None)


@pytest.mark.slow
def test_r8_nobody_waits_for_a_pipe_in_a_run_directory(run):
    (run / "evaluation.json").unlink()
    os.mkfifo(run / "evaluation.json")
    call = [sys.executable, "-m", "registry.cli", "report", str(run)]
    ended = tried(lambda: subprocess.run(call, capture_output=True, check=False, timeout=40).returncode)
    assert not isinstance(ended, subprocess.TimeoutExpired)
    assert ended != 0


@pytest.mark.slow
def test_r9_a_step_that_does_not_return_ends_the_run(plugin, tmp_path):
    words = ["train", "rl2-bandit", *QUICK, "family=slow", "training.deadline=1.0", "--run", str(tmp_path / "run")]
    call = [sys.executable, "-m", "registry.cli", *words]
    ended = tried(lambda: subprocess.run(call, capture_output=True, check=False, timeout=50, text=True))
    assert not isinstance(ended, subprocess.TimeoutExpired)
    assert "has not returned" in ended.stderr

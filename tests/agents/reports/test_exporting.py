"""A policy as an ONNX file, played by ONNX Runtime beside the agent that it was made of."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import taskgen
from agents.api import load, train
from agents.reports.exporting import KEY, export, write_policy
from agents.training import checkpoint
from agents.training.run import RunDirectory
from registry.cli import main
from registry.config import Part
from registry.errors import PluginError, TaskError, UserError
from taskgen.interaction.agent import Action, Agent, Carry, Problem, Step, judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.testing import toy_families

onnxruntime = pytest.importorskip("onnxruntime", reason="taskgen-metarl[onnx] is not installed")
pytest.importorskip("onnx", reason="taskgen-metarl[onnx] is not installed")
pytest.importorskip("onnxscript", reason="taskgen-metarl[onnx] is not installed")

ROWS, STEPS = 3, 80


def made(settings: dict[str, Any], family: Any) -> tuple[Agent, Problem]:
    """An agent whose weights are none of those that it began with, which say the same of everything."""
    problem = problem_of(family, episodes=8, seed=3, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate(settings), problem)
    modules = [part for part in vars(agent).values() if isinstance(part, nn.Module)]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in (weights for module in modules for weights in module.parameters()):
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return agent, problem


def session_of(path: Path) -> tuple[Any, dict[str, Any]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map[KEY])


def beside(agent: Agent, problem: Problem, path: Path) -> float:
    """The widest gap between file and agent over 80 steps of three trials, each of which ends when no other does.

    The agent plays each by itself, with a memory of its own.
    """
    session, told = session_of(path)
    names = [one["name"] for one in told["outputs"]]
    given = {one["name"]: np.full([ROWS, *one["shape"][1:]], 7, one["type"]) for one in told["inputs"]}
    player, random, gap = judged(agent), np.random.default_rng(2), 0.0
    carries: list[Any] = [None] * ROWS
    single = isinstance(problem.action_space, gym.spaces.Discrete)
    for time in range(STEPS):
        starts = np.array([time == 0 or time % 37 == 9 * row for row in range(ROWS)])
        seen = {
            "observation": random.normal(size=(ROWS, *problem.observation_space.shape)).astype(np.float32),
            "previous_action": random.integers(0, 5, ROWS) if single else random.normal(size=(ROWS, 2)).astype("f"),
            "previous_reward": random.normal(size=ROWS).astype(np.float32),
            "episode_start": random.random(ROWS) < 0.2,
            "trial_start": starts,
            "episode_index": np.full(ROWS, time // 20),
        }
        if player.needs_descriptor:
            seen["descriptor"] = random.normal(size=(ROWS, problem.descriptor_size)).astype(np.float32)
        given = {name: seen.get(name, value) for name, value in given.items()}
        found = dict(zip(names, session.run(None, given), strict=True))
        given |= {name: found[after] for name, after in told["memory"].items()}
        for row in range(ROWS):
            own = {name: torch.as_tensor(value[row : row + 1]) for name, value in seen.items()}
            if starts[row]:
                carries[row] = player.begin_trial(1)
                own |= {name: torch.zeros_like(own[name]) for name in ("previous_action", "previous_reward")}
                own["episode_start"] = torch.ones(1, dtype=torch.bool)
            action, after = acted(player, carries[row], Step(**own))
            decided, _ = player.decide(carries[row], Step(**own))  # type: ignore[attr-defined]
            carries[row] = after
            one = {name: torch.as_tensor(value[row : row + 1]) for name, value in found.items()}
            gaps = [(one[name] - value).abs().max() for name, value in decided.items()]
            if "action" in one:
                gaps.append((one["action"] - action.value).abs().max())
            elif single:
                gaps.append((one["logits"][0, action.value[0]] - action.record["log_prob"]).abs().max())
            elif "mean" in one:
                density = Normal(one["mean"], one["deviation"]).log_prob(action.value).sum(-1)
                gaps.append(0.1 * (density - action.record["log_prob"]).abs().max())
            gap = max(gap, *(float(each.detach()) for each in gaps))
    return gap


@torch.no_grad()
def acted(player: Agent, carry: Carry, step: Step) -> tuple[Action, Carry]:
    return player.act(carry, step)


SMALL = {"truncate": True, "window": 32}  # less than is played: memories grow, are whole and forget
NETWORKS = {
    "gru": {},
    "lstm": {},
    "snail": {**SMALL, "filters": 8, "blocks": 1},
    "transformer": {**SMALL, "layers": 1},
    "fast-weights": {},
    "linear-recurrence": {},
    "memoryless": {},
}
MADE = {
    **{name: ({"name": "rl2", "network": {"name": name, **rest}}, "tabular-mdp") for name, rest in NETWORKS.items()},
    "standardised": ({"name": "rl2", "reward_input": "standardised", "normalize": True}, "point-navigation"),
    "episode": ({"name": "rl2", "memory": "episode", "hidden": [16]}, "tabular-mdp"),
    "ppo": ({"name": "ppo"}, "point-navigation"),
    "sac": ({"name": "sac"}, "point-navigation"),
    "sac that draws": ({"name": "sac", "judged": "sampled", "context": "none"}, "point-navigation"),
    "varibad": ({"name": "varibad"}, "tabular-mdp"),
}
EXTRA = {
    "lstm",
    "snail",
    "fast-weights",
    "linear-recurrence",
    "memoryless",
    "standardised",
    "episode",
    "sac that draws",
    "varibad",
}


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in EXTRA)) for one in MADE])
def test_a_file_decides_as_the_agent_acts(name: str, tmp_path: Path) -> None:
    settings, world = MADE[name]
    agent, problem = made(settings, taskgen.build_family(world))
    write_policy(agent, problem, tmp_path / "policy.onnx")
    assert beside(agent, problem, tmp_path / "policy.onnx") < 1e-5


def test_metadata_say_what_all_of_it_means(tmp_path: Path) -> None:
    """Two states that are lists of numbers would do as well: names, shapes and types are those that the file has."""
    family = taskgen.build_family("tabular-mdp")
    agent, problem = made({"name": "rl2", "network": {"name": "lstm", "hidden_size": 6}}, family)
    told = write_policy(agent, problem, tmp_path / "policy.onnx", facts={"run": "this one"})
    session, kept = session_of(tmp_path / "policy.onnx")
    assert kept == told
    assert (told["format"], told["version"], told["run"]) == ("taskgen-policy", 1, "this one")
    size = problem.observation_space.shape[0]
    assert [(one["name"], one["shape"], one["type"]) for one in told["inputs"]] == [
        ("observation", ["batch", size], "float32"),
        ("previous_action", ["batch"], "int64"),
        ("previous_reward", ["batch"], "float32"),
        ("episode_start", ["batch"], "bool"),
        ("trial_start", ["batch"], "bool"),
        ("memory.0", ["batch", 6], "float32"),
        ("memory.1", ["batch", 6], "float32"),
    ]
    assert [(one["name"], one["shape"]) for one in told["outputs"]] == [
        ("logits", ["batch", 5]),
        ("next_memory.0", ["batch", 6]),
        ("next_memory.1", ["batch", 6]),
    ]
    assert told["memory"] == {"memory.0": "next_memory.0", "memory.1": "next_memory.1"}
    assert all(one["meaning"] for one in told["inputs"] + told["outputs"])
    assert (told["play"], told["choices"]) == ("drawn", [5])
    names = {kind: [one["name"] for one in told[kind]] for kind in ("inputs", "outputs")}
    assert [one.name for one in session.get_inputs()] == names["inputs"]
    assert [one.shape for one in session.get_inputs()] == [one["shape"] for one in told["inputs"]]
    assert [one.name for one in session.get_outputs()] == names["outputs"]
    assert str(Path.cwd()).encode() not in (tmp_path / "policy.onnx").read_bytes()  # nor any other trace of the machine


def test_what_is_not_read_is_no_input(tmp_path: Path) -> None:
    family = taskgen.build_family("point-navigation")
    agent, problem = made({"name": "sac", "context": "none"}, family)
    told = write_policy(agent, problem, tmp_path / "policy.onnx", family.action_space)
    assert [one["name"] for one in told["inputs"]] == ["observation"]
    assert [one["name"] for one in told["outputs"]] == ["mean_before_tanh", "deviation_before_tanh", "action"]
    assert told["play"] == "action"
    limit = float(np.float32(0.1))
    assert (told["environment"]["low"], told["environment"]["high"]) == ([-limit] * 2, [limit] * 2)
    with pytest.raises(TaskError, match="exists"):
        write_policy(agent, problem, tmp_path / "policy.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("world", ["observed-multi-discrete", "acted-dict"])
def test_choices_need_not_count_from_0(world: str, tmp_path: Path) -> None:
    family = next(toy for toy in toy_families() if toy.name == f"toys/{world}")
    agent, problem = made({"name": "rl2"}, family)
    told = write_policy(agent, problem, tmp_path / "policy.onnx", family.action_space)
    shown, played = [one["name"] for one in told["outputs"]][:-1], ["mean", "deviation", "logits"]
    assert (shown, told["choices"]) == ((played, [2]) if world == "acted-dict" else (played[2:], [3]))


@pytest.mark.parametrize("name", ["maml", "mfec"])
def test_agents_without_a_fixed_function_are_refused_by_name(name: str, tmp_path: Path) -> None:
    agent, problem = made({"name": name}, taskgen.build_family("grid-navigation"))
    with pytest.raises(UserError, match=rf"builtin/{name} has no `decide`.* there are, .*ppo, .*rl2, .*sac") as caught:
        write_policy(agent, problem, tmp_path / "policy.onnx")
    assert not {"maml", "mfec"} & set(str(caught.value).partition("there are")[2].replace(",", "").split())
    assert list(tmp_path.iterdir()) == []


class Counting:
    """Decides by how often it was asked: no function of what it carries."""

    needs_descriptor = False

    def __init__(self, carry: str = "") -> None:
        self.asked, self.kind = 0, carry

    def begin_trial(self, batch: int) -> Any:
        return torch.zeros(batch, 1)

    def decide(self, carry: Any, step: Step) -> Any:
        self.asked += 1
        grown = torch.cat([carry, carry[:, :1]], 1) if self.kind == "growing" else carry + 1
        logits = torch.zeros(step.trial_start.shape[0], 5) + self.asked
        return ({"logits": logits}, grown) if self.kind != "lost" else ({"logits": logits}, (carry, carry))


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("", UserError, r"at step 0 the file's logits is \d off the agent's; nothing was written"),
        ("growing", UserError, "after 16,384 steps its memory still grows"),
        ("lost", PluginError, "decide gave a carry of other parts"),
    ],
)
def test_what_a_file_cannot_hold_is_told(
    kind: str, error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(taskgen.build_family("tabular-mdp"), episodes=2, seed=0, device=torch.device("cpu"))
    monkeypatch.setattr("agents.reports.exporting.judged", lambda agent: agent)
    with pytest.raises(error, match=said):
        write_policy(Counting(kind), problem, tmp_path / "policy.onnx")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_page_fills_every_input_that_changes() -> None:
    """Who explores in its first episodes would explore for ever where their number stays 0."""
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    filled = set(re.findall(r'given\["(\w+)"\]\[0\]', page.partition("## A policy as a file")[2]))
    assert filled == {field.name for field in fields(Step)} - {"descriptor"}  # which is the task's


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("training.iterations=2", "training.tasks=8", "training.episodes=2", "agent.network.hidden_size=8")
    run = train("rl2-bandit", *small, run=tmp_path / "run", judge=False)
    assert main(["export", "run", "-o", "policy.onnx"]) == 0
    said = "policy.onnx: builtin/rl2 after 32 steps, from observation, previous_action, "
    assert said in capsys.readouterr().out
    _, told = session_of(tmp_path / "policy.onnx")
    newest = checkpoint.latest(RunDirectory(run).checkpoints)
    assert newest is not None
    assert told["checkpoint"] == checkpoint.digest(newest)
    assert told["commit"] == json.loads((run / "provenance.json").read_text())["commit"]
    assert (told["family"]["name"], told["experiment"], told["iteration"]) == ("builtin/bandit", "rl2-bandit", 2)
    loaded = load(run)
    assert beside(loaded.agent, loaded.problem, tmp_path / "policy.onnx") < 1e-5
    assert main(["export", "run", "-o", "policy.onnx"]) == 4
    assert main(["export", "run", "-o", "policy.onnx", "--force"]) == 0
    assert main(["export", "run", "-o", "policy.txt"]) == 2
    assert "name the output .onnx" in capsys.readouterr().err
    for held in (run / "checkpoints").iterdir():
        held.rename(tmp_path / held.name)
    with pytest.raises(UserError, match="has no checkpoint yet"):
        export(RunDirectory(run), tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()

"""Trials so short that the agent would never adapt are refused before the run; what is not, adapts."""

import pytest
import torch

import registry
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.cli import main
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Decoupled
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.guard import exploration_of
from tests.agents.training.test_loop import Quiet

GRADIENT = ("maml", "promp", "reptile", "maesn")
QUICK = (
    *("training.iterations=1", "training.tasks=2", "evaluation.tasks=2", "evaluation.final_tasks=2"),
    *("family={name='point-navigation', horizon=5}", "evaluation.players=['random']"),
)
PEARL = "agent={name='pearl', exploration=3, hidden=[4], encoder_hidden=[4], batch=4, meta_batch=2, warm_up=0}"


def small(agent):
    return f"agent={{name='{agent}', hidden=[4], trajectories=4}}"


def begun(path, *settings):
    plan = load_experiment("rl2-bandit", [*QUICK, *settings])
    run = RunDirectory(path / "run")
    run.create(plan)
    return plan, run


@pytest.mark.parametrize("agent", GRADIENT)
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("training.episodes=4",), r"training.episodes = 4: .* 8 episodes or more .*agent.trajectories = 4"),
        (("training.episodes=10",), r"training.episodes = 10: .* \(agent.trajectories\): ask for 8 or 12"),
        (("training.episodes=2",), r"training.episodes = 2: .* 8 episodes or more"),
        (("training.episodes=8", "evaluation.episodes=4"), r"evaluation.episodes = 4: .* 8 episodes or more"),
        (
            ("training.episodes=8", "evaluation.episodes=10"),
            r"evaluation.episodes = 10: 10 episodes do not divide into rounds of 4",
        ),
        (
            ("training.episodes=8", "source={name='staged', stages=[{episodes=4, iterations=1}, {}]}"),
            r"episodes of a stage of the source = 4: .* 8 episodes or more",
        ),
        (("training.episodes=4", "runner={name='paired', teacher_objective='random'}"), r"training.episodes = 4: "),
    ],
)
def test_fewer_than_two_rounds_are_refused(tmp_path, agent, settings, said):
    plan, run = begun(tmp_path, small(agent), *settings)
    with pytest.raises(UserError, match=said):
        train(plan, run, Quiet())


@pytest.mark.parametrize("agent", GRADIENT)
def test_two_rounds_are_not(tmp_path, agent):
    plan, run = begun(tmp_path, small(agent), "training.episodes=8", "evaluation.episodes=12")
    assert train(plan, run, Quiet())
    assert evaluate_run(run, episodes=4)["episodes"] == 4  # round 0 alone: who asks for that may have it


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("training.episodes=3",), r"training.episodes = 3: the agent explores for 3 episodes .* at least 4"),
        (
            ("training.episodes=4", "evaluation.episodes=2"),
            r"evaluation.episodes = 2: the agent explores for 3 .* at least 4",
        ),
    ],
)
def test_pearl_that_only_explores_is_refused(tmp_path, settings, said):
    plan, run = begun(tmp_path, PEARL, *settings)
    with pytest.raises(UserError, match=said):
        train(plan, run, Quiet())


def test_the_command_refuses_before_it_writes(tmp_path, capsys):
    overrides = [*QUICK, "agent=maml"]  # ten episodes, and rounds of twenty
    assert main(["train", "rl2-bandit", *overrides, "--run", str(tmp_path / "run")]) != 0
    assert "training.episodes = 10" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_agent_that_adapts_between_rounds_says_how_many_episodes_that_takes():
    """An agent whose long trials have rounds and whose short ones have one says where the line is."""
    family = build_family("point-navigation", {"horizon": 5})
    found = {}
    for item in registry.catalogue().items("agents"):
        if "reference" in item.entry.tags:
            continue
        problem = problem_of(family, episodes=120, seed=1, device=torch.device("cpu"))
        try:
            agent = build_agent(Part(name=item.full_name), problem)
        except UserError:  # an agent of other actions
            continue
        if agent.plan(120).rounds > 1:
            least = 1 + exploration_of(agent) if isinstance(agent, Decoupled) else agent.least_episodes()[0]
            found[item.entry.name] = least, agent.plan(least).rounds
    assert found == {
        **dict.fromkeys(("maml", "promp", "reptile", "maesn"), (40, 2)),
        **dict.fromkeys(("epg", "ppo-from-scratch"), (8, 2)),
        **dict.fromkeys(("dream", "pearl"), (2, 2)),
    }


@pytest.mark.parametrize("item", registry.catalogue().items("experiments"), ids=lambda item: item.entry.name)
def test_shipped_experiments_are_long_enough(item):
    from agents.training.experiment import build_parts, refuse_too_short

    plan = load_experiment(item.full_name, ["device=cpu"])
    if plan.config.agent.name.partition("/")[2] in (*GRADIENT, "pearl", "dream"):
        refuse_too_short(plan.config, build_parts(plan.config))

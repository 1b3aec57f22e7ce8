"""An agent that is told the task is judged on descriptors of the kind that it learned from, or the run is refused."""

import pytest

from agents.sweeps.outlook import outlook
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import UserError
from taskgen.build import build_family, build_source
from tests.agents.training.test_loop import Quiet

PPO = "agent={name='ppo', hidden=[4]}"
PLANE = (
    *("family={name='point-navigation', goals='half-circle', horizon=3}", PPO, "evaluation.players=[]"),
    *("training.iterations=1", "training.tasks=2", "training.episodes=1", "evaluation.tasks=2"),
    "evaluation.final_tasks=2",
)
PAID = "{name='random-rewards', skills=5}"


def planned(*settings):
    return load_experiment("rl2-bandit", [*PLANE, *settings])


def test_a_run_judged_on_other_descriptors_is_refused_before_it_begins():
    """A goal is told by 2 numbers, one of 5 skills by 5 more."""
    source = f"source={PAID}"
    with pytest.raises(UserError, match=r"evaluation\.source: .* 7 numbers where it learns and 2 here"):
        outlook(planned(source, "evaluation.source=domain-randomization"))
    beyond = "evaluation.out_of_distribution={plain='domain-randomization'}"
    with pytest.raises(UserError, match=r"out_of_distribution\.plain: .* 7 numbers where it learns and 2 here"):
        outlook(planned(source, f"evaluation.source={PAID}", beyond))
    with pytest.raises(UserError, match=r"evaluation\.source: .* 2 numbers where it learns and 7 here"):
        outlook(planned(f"evaluation.source={PAID}"))


@pytest.mark.parametrize(
    "settings",
    [
        ("agent.context=none", "evaluation.source=domain-randomization"),
        (f"evaluation.source={PAID}",),
        ("agent={name='rl2', network={name='gru', hidden_size=4}}", "evaluation.source=domain-randomization"),
    ],
)
def test_who_is_told_nothing_or_the_same_is_not(settings):
    assert outlook(planned(f"source={PAID}", *settings)).iteration["tasks"] == 2


def test_tasks_of_another_kind_are_refused_when_a_run_is_evaluated(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create(planned())
    assert train(planned(), run, Quiet())
    family = build_family("point-navigation", {"goals": "half-circle", "horizon": 3})
    paid = build_source({"name": "random-rewards", "skills": 5}, family, 0).ask(2)
    with pytest.raises(UserError, match=r"^tasks: .* 2 numbers where it learns and 7 here"):
        evaluate_run(run, tasks=paid)
    assert evaluate_run(run, tasks=build_source("domain-randomization", family, 1).ask(2))["tasks"] == 2

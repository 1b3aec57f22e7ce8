"""The comparison of ways of adapting: the same steps for everybody, and goals that were none in training."""

import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluation_sets
from benchmarks.adaptation import WORLDS, plays
from taskgen.build import build_family, build_source
from taskgen.streams import seed_sequence


@pytest.mark.parametrize(("world", "agent"), plays())
def test_an_agent_trains_for_the_worlds_steps_on_the_worlds_goals(world: str, agent: str) -> None:
    setting = WORLDS[world]
    experiment = load_experiment(setting.agents[agent], setting.overrides(agent)).config
    family = build_family(experiment.family.name, experiment.family.settings)
    training = experiment.training
    steps = training.iterations * training.tasks * training.episodes * family.horizon
    assert steps == pytest.approx(setting.steps, rel=0.01)
    assert experiment.agent.name == f"builtin/{agent}"
    held_out, *others = (
        {str(spec.context["goal"]) for spec in specs} for specs in evaluation_sets(experiment, family).values()
    )
    source = build_source(experiment.source, family, seed_sequence(0, "source"))
    goals = {str(spec.context["goal"]) for spec in source.ask(400)}
    assert len(held_out) > 10
    assert [goals & other for other in others] == [set()] * len(setting.others)


def test_pearl_comes_last() -> None:
    assert plays()[-1][1] == "pearl"

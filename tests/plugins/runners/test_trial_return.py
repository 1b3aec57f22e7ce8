"""What every runner reports as a trial's return is what the training loop calls so."""

from typing import Any

import pytest
import torch

import registry
from agents.training.loop import trial_metrics
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.runner import Assignment
from taskgen.streams import seed_sequence

AGENT = Part.model_validate({"name": "ppo", "context": "none", "hidden": [4], "epochs": 1, "minibatches": 1})
LOSSES = Part.model_validate({"name": "epg", "hidden": [4], "trajectories": 1, "pairs": 1})
EPISODES = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "pbt": {"population": 2, "judged_tasks": 2},
    "poet": {"novelty": "pata-ec"},
}


@pytest.mark.parametrize("name", [item.entry.name for item in registry.catalogue().items("runners")])
def test_runners_report_the_return_of_a_trial(name: str) -> None:
    """Every pole stands for three steps, whoever plays, so that every trial of three episodes returns nine."""
    family, device = build_family("cartpole", {"horizon": 3}), torch.device("cpu")
    agent = build_agent(AGENT, problem_of(family, episodes=EPISODES, seed=0, device=device))
    specs = [family.spec(seed=seed) for seed in range(2)]
    usual = trial_metrics(collect(agent, family.batch(2), specs, plan=agent.plan(EPISODES)))
    assert usual["meta/trial_return"] == 9.0
    assignment = Assignment(
        family=family,
        source=Part(name="domain-randomization"),
        agent=LOSSES if name == "epg" else AGENT,
        iterations=2,
        tasks=2,
        episodes=EPISODES,
        seed=seed_sequence(0, "runner"),
        device=device,
    )
    runner = registry.catalogue().get("runners", name).build(SETTINGS.get(name, {}), assignment=assignment)
    metrics = runner.iterate()
    runner.close()
    assert {key: metrics[key] for key in usual if key in metrics} == {
        key: usual[key] for key in usual if key in metrics
    }
    assert "meta/trial_return" in metrics

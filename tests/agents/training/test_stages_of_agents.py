"""Every agent under trials whose length changes from stage to stage: it learns in each of them."""

import json

import pytest

from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import UserError
from tests.agents.training.test_loop import Quiet

SMALL = "hidden=[4], batch=4, warm_up=0, updates_per_step=0.2"
AGENTS = {
    "rl2": "name='rl2', network={name='gru', hidden_size=4}",
    "rl2, memory of an episode": "name='rl2', network={name='gru', hidden_size=4}, memory='episode'",
    "rl2, standardised": "name='rl2', network={name='gru', hidden_size=4}, reward_input='standardised'",
    "maml": "name='maml', hidden=[4], trajectories=2",
    "promp": "name='promp', hidden=[4], trajectories=2",
    "reptile": "name='reptile', hidden=[4], trajectories=2",
    "pearl": f"name='pearl', {SMALL}, encoder_hidden=[4], meta_batch=2",
    "pearl, all": f"name='pearl', {SMALL}, encoder_hidden=[4], meta_batch=2, context='all'",
    "pearl, exploring": f"name='pearl', {SMALL}, encoder_hidden=[4], meta_batch=2, exploration=3",
    "ppo": "name='ppo', hidden=[4]",
    "sac": f"name='sac', {SMALL}",
    "es": "name='es', hidden=[4]",
    "epg": "name='epg', hidden=[4], trajectories=2",
    "ppo-from-scratch": "name='ppo-from-scratch', hidden=[4], trajectories=2",
}
STAGES = {
    "more episodes": "{episodes=4, iterations=1}, {episodes=6, iterations=1}, {episodes=8}",
    "fewer episodes": "{episodes=8, iterations=1}, {episodes=6, iterations=1}, {episodes=4}",
    "longer episodes": "{horizon=2, iterations=1}, {horizon=4, iterations=1}, {}",
    "shorter episodes": "{iterations=1}, {horizon=4, iterations=1}, {horizon=2}",
}
LENGTHS = {
    "more episodes": [4 * 6, 6 * 6, 8 * 6],
    "fewer episodes": [8 * 6, 6 * 6, 4 * 6],
    "longer episodes": [8 * 2, 8 * 4, 8 * 6],
    "shorter episodes": [8 * 6, 8 * 4, 8 * 2],
}


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_learns_in_every_stage(tmp_path, agent, stages):
    plan = load_experiment(
        "rl2-bandit",
        [
            *("training.iterations=3", "training.tasks=3", "training.episodes=8", "training.evaluate_every=0"),
            *("evaluation.tasks=2", "evaluation.final_tasks=2", "evaluation.players=['random']"),
            "family={name='point-navigation', goals='half-circle', horizon=6}",
            f"agent={{{AGENTS[agent]}}}",
            f"source={{name='staged', stages=[{STAGES[stages]}]}}",
        ],
    )
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    failed = None
    watcher = Quiet()
    try:
        train(plan, run, watcher)
    except UserError as error:  # perturbations are as many as a trial has episodes: refused before the first iteration
        refused = agent, stages, watcher.done, "learn from trials of 8 episodes side by side" in str(error)
        assert refused in {("es", "more episodes", 0, True), ("es", "fewer episodes", 0, True)}
        return
    except RuntimeError as error:
        failed = str(error)
    assert failed is None
    lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    booked = [line["charts/steps"] for line in lines]
    assert [after - before for before, after in zip([0, *booked], booked, strict=False)] == [
        3 * steps for steps in LENGTHS[stages]
    ]

"""Every agent under trials whose length changes from stage to stage: it learns in each of them."""

import json

import pytest

import registry
from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import UserError
from tests.agents.training.test_loop import Quiet

SMALL = "hidden=[4], batch=4, warm_up=0, updates_per_step=0.2"
BELIEF = "epochs=1, minibatches=1, encoder_updates=1"
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
    "maesn": "name='maesn', hidden=[4], trajectories=2",
    "meta-gradient": "name='meta-gradient', hidden=[4], trajectories=2, lifetime='trial'",
    "varibad": f"name='varibad', {BELIEF}",
    "hyperx": f"name='hyperx', {BELIEF}, novelty_hidden=[4], novelty_batch=8",
    "prediction-gain": f"name='prediction-gain', {BELIEF}, informed_updates=1, informed_batch=8",
    "dream": f"name='dream', {SMALL}, width=4",
    "dqn": f"name='dqn', {SMALL}",
    "mfec": "name='mfec', neighbours=2",
    "nec": f"name='nec', {SMALL}, neighbours=2, n_step=2",
}
MOVES = ("dqn", "mfec", "nec")
"""Agents of numbered actions."""
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


def test_every_agent_is_here():
    learning = {"on-policy", "off-policy", "episodic"}
    known = {i.entry.name for i in registry.catalogue().items("agents") if learning & set(i.entry.tags)}
    assert {name.partition(",")[0] for name in AGENTS} == known


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_learns_in_every_stage(tmp_path, agent, stages):
    moves = "family={name='darkroom', size=4, horizon=6}", "evaluation.same_tasks=true"
    points = ("family={name='point-navigation', goals='half-circle', horizon=6}",)
    plan = load_experiment(
        "rl2-bandit",
        [
            *("training.iterations=3", "training.tasks=3", "training.episodes=8", "training.evaluate_every=0"),
            *("evaluation.tasks=2", "evaluation.final_tasks=2", "evaluation.players=['random']"),
            *(moves if agent in MOVES else points),
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

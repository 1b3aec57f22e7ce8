"""A loss that evolves on goals of a half circle: new policies learn by it what they never learn by a random one."""

import pytest
import torch

from agents.reports.report import write_report
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from tests.agents.training.test_loop import Quiet


@pytest.mark.slow
def test_policies_learn_by_a_loss_that_evolved(tmp_path):
    """After a quarter of the shipped experiment; nothing is learned between trials but the loss."""
    torch.set_num_threads(1)
    beside = "evaluation.players=['random', {name='epg', hidden=[16]}]"
    changes = ["seed=100", "training.iterations=400", "evaluation.out_of_distribution={}", beside]
    plan = load_experiment("epg-navigation", changes)
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    players = evaluate_run(run)["sets"]["held-out"]["players"]
    ours, chance = (players[name]["rounds"]["mean"] for name in ("epg", "epg(hidden=[16])"))
    assert ours[-1] > max(ours[0], chance[-1]) + 3
    assert ours[-1] > -14.5  # straight ways that look at no reward earn -14.9 at best
    write_report([run.path], tmp_path / "report.html")
    assert "What was learned about learning" in (tmp_path / "report.html").read_text()

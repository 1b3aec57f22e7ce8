"""What several tests of runs look at."""

import pytest

from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from tests.agents.training.test_loop import Quiet, start


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that has been trained and evaluated; nobody changes it."""
    plan, run = start(tmp_path_factory.mktemp("finished") / "run")
    assert train(plan, run, Quiet())
    evaluate_run(run)
    return run

"""The maze benchmark: as many updates for everybody, and solve rates filed under the right maze."""

import pytest
import torch

from agents.training.experiment import build_parts, load_experiment
from benchmarks.maze_ood import PUBLISHED, names
from plugins.generators.named_mazes import named_maze
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.interaction.score import check_scores
from taskgen.source import Curriculum
from taskgen.streams import seed_sequence


@pytest.mark.parametrize("name", PUBLISHED)
def test_everybody_has_the_same_number_of_updates(name: str) -> None:
    experiment = load_experiment(name, ["device=cpu"]).config
    parts = build_parts(experiment)
    assert parts.problem.updates == pytest.approx(500, abs=2)
    assert experiment.training.tasks == 64
    if isinstance(parts.source, Curriculum):
        check_scores(parts.source.scores, parts.player, parts.family, 1)
    assert parts.problem.device == torch.device("cpu")


def test_the_twelve_come_in_the_order_of_their_names() -> None:
    family = build_family("maze", {"size": 19})
    seed = seed_sequence(3, "named")
    specs = build_source(Part(name="named-mazes"), family, seed).ask(24)
    expected = [named_maze(name, family, seed, variant) for variant in (0, 1) for name in names()]
    assert specs == expected

"""Six packs by one command, each a run again."""

from pathlib import Path

import pytest

from agents.sweeps.packing import unpack
from agents.training.experiment import load_experiment
from agents.training.run import RunDirectory
from benchmarks import packs


def test_six_experiments_that_are_there() -> None:
    assert len({load_experiment(name).config.name for name in packs.EXPERIMENTS}) == 6


def test_a_pack_of_the_command_is_a_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packs, "EXPERIMENTS", ("rl2-grid",))
    packs.main(["packs", "training.iterations=1", "training.tasks=4", "evaluation.tasks=4", "evaluation.final_tasks=4"])
    unpack(Path("packs/rl2-grid.zip"), Path("again"))
    assert RunDirectory(Path("again")).open().config.seed == 0
    with pytest.raises(SystemExit, match="say where the packs go"):
        packs.main([])

"""Reports on runs that evolved tasks: the tree, the transfers, what was solved, films; nothing to load or run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from agents.reports.evolution import Niche, evolves, read_evolution
from agents.reports.evolution_figures import family_order
from agents.reports.film import film
from agents.reports.report import write_report
from agents.training.loop import train
from registry.errors import CheckpointError, UserError
from taskgen import lineage
from taskgen.record import Record
from taskgen.spec import TaskSpec
from tests.agents.reports.made_up_run import make_run
from tests.agents.reports.test_report import Page
from tests.agents.training.test_loop import Quiet
from tests.agents.training.test_runner_runs import start


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan, directory = start(
        tmp_path_factory.mktemp("run") / "poet-0", "runner.transfer_every=1", "agent.learning_rate=0.05"
    )
    assert train(plan, directory, Quiet())
    return directory.path


def niche(number: int, parent: int | None, **scores: float) -> Niche:
    spec = TaskSpec("builtin/cartpole", {}, seed=number)
    parents = () if parent is None else (str(parent),)
    return Niche(number, Record(spec, "builtin/poet", "1", parents, 0, "train", scores), parent)


def test_children_come_below_their_parents() -> None:
    niches = [niche(0, None), niche(1, 0), niche(2, 0), niche(3, 1), niche(4, 2), niche(5, 1), niche(6, None)]
    assert family_order(niches) == [0, 1, 3, 5, 2, 4, 6]


def test_solve_times() -> None:
    assert niche(0, None, **{lineage.CREATED: 4.0, lineage.SOLVED: 9.0}).solve_time == 5.0
    assert niche(0, None, **{lineage.CREATED: 4.0}).solve_time is None


def test_what_is_read_is_what_the_runner_knew(run: Path) -> None:
    assert evolves(run)
    read = read_evolution(run)
    population = read.population()
    assert [one.spec for one in read.niches] == [one.spec for one in population.pairs.niches]  # type: ignore[attr-defined]
    assert [one.parent for one in read.niches] == [one.parent for one in population.pairs.niches]  # type: ignore[attr-defined]
    assert read.iterations == 6
    assert read.history[lineage.NICHES][-1] == len(read.niches)
    taken = np.zeros_like(read.transfers)
    for one in population.pairs.niches:  # type: ignore[attr-defined]
        for source, count in one.transfers.items():
            taken[one.number, int(source)] = count
    assert read.transfers.tolist() == taken.tolist()
    assert read.transfers.sum() == read.history[lineage.TRANSFERRED][-1] > 0


def test_the_page_tells_the_run_and_loads_nothing(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page, read = Page(text), read_evolution(run)
    for expected in (
        "tasks of the family cartpole evolved together with the agents that solve them ( poet , agents ppo , seed 0)",
        "6 iterations",
        "ANNECS",
        "reproduce_from",
        "Minimal criterion: below it a task is too hard",
        "taskgen train config.toml --run again",
    ):
        assert expected in page.text, expected
    assert page.open == []
    assert [load for load in page.loads if "data:image/" not in load] == []
    assert page.runs == []
    assert len(page.ids) == len(set(page.ids))
    assert text.count("data:image/png") == len(read.niches)
    assert 1 <= text.count("data:image/gif") <= 4
    for one in read.niches:
        assert text.count(one.spec.id) == 2  # in the tree and in the table
    assert str(run.parent) not in text
    assert not re.findall(r"@import|url\((?!#)", text)


def test_two_runs_share_a_page(run: Path, tmp_path: Path) -> None:
    plan, other = start(tmp_path / "poet-1", "seed=1", "training.iterations=2", "name=other")
    train(plan, other, Quiet())
    write_report([run, other.path], tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert "Family tree: tiny-poet" in page.headings
    assert "Family tree: other" in page.headings
    assert len(page.ids) == len(set(page.ids))


def test_other_runs_are_reported_apart(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reports of their own"):
        write_report([run, make_run(tmp_path / "rl2")], tmp_path / "report.html")


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    _, begun = start(tmp_path / "begun")
    with pytest.raises(CheckpointError, match="until the first checkpoint"):
        write_report([begun.path], tmp_path / "report.html")


def test_a_line_that_a_killed_run_left_unfinished_does_not_count(run: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(run, killed)
    with (killed / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 7, "metr')
    assert read_evolution(killed).iterations == read_evolution(run).iterations == 6


def test_a_task_is_played_by_the_agent_it_has_in_the_run(run: Path) -> None:
    spec = read_evolution(run).niches[-1].spec
    watched = film(spec, str(run), every=0)
    assert watched.moments[-1].episode == 1
    with pytest.raises(UserError, match="is not among the"):
        film(TaskSpec(spec.family, spec.context, seed=4), str(run), every=0)

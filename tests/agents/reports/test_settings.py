"""Runs are called by what differs in their settings, never by where they lie."""

import dataclasses
from pathlib import Path

import pytest

from agents.reports.results import group, grouped
from agents.training.records import read_record
from tests.agents.reports.made_up_run import make_run
from tests.agents.reports.test_report import render


@dataclasses.dataclass(frozen=True)
class Run:
    path: Path
    config: dict
    agent: str = "rl2"

    @property
    def seed(self) -> int:
        return self.config["seed"]


def run(directory, *, name="x", seed=0, device="cpu", agent=None, **training) -> Run:
    agent = {"name": "builtin/rl2", "rate": 0.1} if agent is None else agent
    config = {"name": name, "seed": seed, "device": device, "agent": agent, "training": training}
    return Run(Path(directory), config, agent["name"].rpartition("/")[2])


RL2 = "builtin/rl2"


@pytest.mark.parametrize(
    ("runs", "labels"),
    [
        ([run("a"), run("b", seed=1, device="cuda")], ["x"]),
        ([run("a", tasks=1), run("b", name="y", tasks=2)], ["x", "y"]),
        ([run("a"), run("b", agent={"name": RL2, "rate": 0.2})], ["x (agent.rate=0.1)", "x (agent.rate=0.2)"]),
        ([run("a"), run("b", agent={"name": "p/maml", "steps": 2})], ["x (agent=rl2)", "x (agent=p/maml)"]),
        ([run("a", tasks=1), run("b", tasks=1, more=True)], ["x (training.more=-)", "x (training.more=true)"]),
        (
            [run("a", a=1, b=1), run("b", a=2, b=1), run("c", a=1, b=2), run("d", name="y", a=7, b=7)],
            [
                "x (training.a=1, training.b=1)",
                "x (training.a=2, training.b=1)",
                "x (training.a=1, training.b=2)",
                "y",
            ],
        ),
        # four settings are too many for a label: the first tells the runs apart already
        ([run("a", a=1, b=1, c=1, d=1), run("b", a=2, b=2, c=2, d=2)], ["x (training.a=1)", "x (training.a=2)"]),
        (
            [run("a", a=1, b=1, c=1, d=1), run("b", a=1, b=2, c=2, d=2), run("c", a=2, b=2, c=3, d=2)],
            ["x (training.a=1, training.b=1)", "x (training.a=1, training.b=2)", "x (training.a=2, training.b=2)"],
        ),
    ],
)
def test_labels(runs, labels) -> None:
    assert list(grouped(runs)) == labels


def test_parts_within_parts() -> None:
    wrapped = [
        run("a", agent={"name": RL2, "network": {"name": "builtin/gru", "size": 8}}),
        run("b", agent={"name": RL2, "network": {"name": "builtin/lstm", "size": 8}}),
        run("c", agent={"name": RL2, "network": {"name": "builtin/lstm", "size": 16}}),
    ]
    assert list(grouped(wrapped[:2])) == ["x (agent.network=gru)", "x (agent.network=lstm)"]
    assert list(grouped(wrapped[1:])) == ["x (agent.network.size=8)", "x (agent.network.size=16)"]
    assert list(grouped(wrapped)) == [
        "x (agent.network=gru, agent.network.size=8)",
        "x (agent.network=lstm, agent.network.size=8)",
        "x (agent.network=lstm, agent.network.size=16)",
    ]


def test_no_experiment_is_lost_to_a_label() -> None:
    like = [run("a", agent={"name": "p/maml"}), run("b", agent={"name": "q/maml"})]
    assert list(grouped(like)) == ["x (agent=p/maml)", "x (agent=q/maml)"]
    alike = [run("a", steps=1), run("b", steps="1")]
    assert len(grouped(alike)) == 2


def test_a_joint_report_names_the_settings_that_differ(tmp_path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", iterations=60), make_run(tmp_path / "c", seed=1)]
    config = runs[1] / "config.toml"
    config.write_text(config.read_text().replace("learning_rate = 0.002", "learning_rate = 0.01"))
    labels = ["rl2-bandit (agent.learning_rate=0.002)", "rl2-bandit (agent.learning_rate=0.01)"]
    assert [experiment.label for experiment in group([read_record(path) for path in runs])] == labels
    page = render(tmp_path / "report.html", *runs)[1]
    assert page.headings[0] == "Settings that differ"
    text = " ".join(page.text.split())
    assert f"setting {labels[0]} {labels[1]} agent.learning_rate 0.002 0.01 " in text
    assert "Settings that differ" not in render(tmp_path / "one.html", runs[0], runs[2])[1].text

"""Comparing runs: the same tasks for all, seeds pooled, and errors that name the run that does not fit."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

import agents.reports.comparison
from agents.reports.comparison import compare
from agents.reports.comparison_report import table, write_comparison
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from registry.cli import main
from registry.errors import TaskError, UserError
from taskgen.archive import Archive
from taskgen.build import build_family
from taskgen.taskset import write_tasks
from tests.agents.reports.test_report import Page
from tests.agents.training.test_loop import QUICK, Quiet

SHORT = (*QUICK, "training.iterations=2", "training.evaluate_every=0")
ROUNDS = (
    *(setting for setting in SHORT if not setting.startswith("agent.")),
    'agent={name = "maml", hidden = [4], trajectories = 2}',
    "name=gradient",
    "training.episodes=4",
)


def trained(path, *overrides):
    plan = load_experiment("rl2-bandit", overrides)
    run = RunDirectory(path)
    run.create(plan)
    assert train(plan, run, Quiet())
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of rl2 with trials of 3 episodes, and maml with 2 rounds of 2 episodes."""
    directory = tmp_path_factory.mktemp("runs")
    seeds = [trained(directory / f"rl2-{seed}", *SHORT, f"seed={seed}") for seed in (0, 1)]
    return [*seeds, trained(directory / "maml", *ROUNDS)]


def of(comparison, player, tasks="held-out"):
    return next(course for course in comparison.sets[tasks] if course.name == player)


def test_one_run_is_judged_as_its_evaluation_judges_it(runs) -> None:
    comparison = compare(runs[:1])
    players = evaluate_run(RunDirectory(runs[0]))["sets"]["held-out"]["players"]
    assert {course.name for course in comparison.sets["held-out"]} == set(players) == {"rl2", "random", "greedy"}
    for player, figures in players.items():
        course = of(comparison, player)
        assert [interval.value for interval in course.mean] == pytest.approx(figures["returns"]["mean"])
        assert [interval.value for interval in course.middle] == pytest.approx(figures["returns"]["iqm"])
        assert course.trial.value == pytest.approx(figures["trial"]["mean"])
    assert comparison.tasks == comparison.plays == {"held-out": 32}
    assert comparison.remarks == []


def test_the_tail_is_that_of_the_evaluation(runs) -> None:
    comparison = compare(runs[:1])
    players = evaluate_run(RunDirectory(runs[0]))["sets"]["held-out"]["players"]
    for player, figures in players.items():
        assert of(comparison, player).tail.value == figures["tail"]["mean"]
    assert any("worst 10%" in line for line in table(comparison))
    assert comparison.summary()["sets"]["held-out"]["players"]["rl2"]["tail"]["mean_low"] is None  # 3 tasks of 32


def test_seeds_are_one_agent_on_the_first_runs_tasks(runs) -> None:
    both = of(compare(runs[:2], with_players=False), "rl2")
    specs = evaluation_tasks(runs[0])
    means = [
        evaluate_run(RunDirectory(run), tasks=specs, with_players=False)["sets"]["tasks"]["players"]["rl2"]["returns"]
        for run in runs[:2]
    ]
    assert both.seeds == 2
    expected = np.mean([figures["mean"] for figures in means], axis=0)
    assert [interval.value for interval in both.mean] == pytest.approx(expected)
    assert all(math.isnan(interval.low) for interval in (*both.mean, *both.middle, both.trial))
    assert both.basis == "none: two seeds are too few, it takes 3"


def evaluation_tasks(run):
    from agents.training.judge import evaluation_sets

    experiment = RunDirectory(run).open().config
    return evaluation_sets(experiment, build_family(experiment.family.name, experiment.family.settings))["held-out"]


def test_episodes_of_a_round_are_one_stretch(runs) -> None:
    comparison = compare(runs, with_players=False)
    assert list(comparison.agents) == ["rl2", "maml"]
    maml, rl2 = of(comparison, "maml"), of(comparison, "rl2")
    assert (maml.episodes, maml.abreast, len(maml.mean), maml.by_round) == (4, 2, 2, True)
    assert (rl2.episodes, rl2.abreast, len(rl2.mean), rl2.by_round) == (3, 1, 3, False)
    assert maml.trial.value == pytest.approx(2 * sum(interval.value for interval in maml.mean))
    course = comparison.summary()["sets"]["held-out"]["players"]["maml"]["course"]
    assert [(point["first_episode"], point["last_episode"]) for point in course] == [(1, 2), (3, 4)]


def test_everybody_plays_as_many_episodes_as_asked_for(runs) -> None:
    comparison = compare(runs, episodes=6)
    assert {course.episodes for course in comparison.sets["held-out"]} == {6}
    assert len(of(comparison, "maml").mean) == 3
    with pytest.raises(UserError, match=r"5 episodes do not divide into rounds of 2"):
        compare(runs, episodes=5)


def test_the_same_comparison_twice(runs) -> None:
    assert compare(runs).summary() == compare(runs).summary()


def test_experiments_of_one_agent_go_by_their_names(runs, tmp_path) -> None:
    other = trained(tmp_path / "other", *SHORT, "name=slow", "agent.learning_rate=1e-4")
    assert list(compare([*runs[:2], other], with_players=False).agents) == ["rl2-bandit", "slow"]


def test_runs_that_cannot_play_the_tasks_are_named(runs, tmp_path) -> None:
    more = trained(tmp_path / "more", *SHORT, "family.arms=7")
    with pytest.raises(UserError, match=r"more cannot play the tasks of .*rl2-0: arms = 7 instead of 5"):
        compare([runs[0], more])
    tables = (setting for setting in SHORT if "players" not in setting)
    other = trained(tmp_path / "tables", *tables, "family=tabular-mdp", 'evaluation.players=["random"]')
    with pytest.raises(UserError, match=r"family = builtin/tabular-mdp instead of builtin/bandit"):
        compare([runs[0], other])
    foreign = build_family("bandit", {"arms": 7})
    with pytest.raises(TaskError, match="foreign, task 0: expected tasks of builtin/bandit with arms = 5, found 7"):
        compare(runs[:1], tasks={"foreign": [foreign.spec(seed=seed) for seed in range(2)]})


def test_a_run_without_a_checkpoint_or_twice_is_named(runs, tmp_path) -> None:
    RunDirectory(tmp_path / "empty").create(load_experiment("rl2-bandit", SHORT))
    with pytest.raises(UserError, match="empty has no checkpoint yet"):
        compare([runs[0], tmp_path / "empty"])
    with pytest.raises(UserError, match="same experiment with the same seed"):
        compare([runs[0], runs[0]])
    with pytest.raises(UserError, match="at least one run"):
        compare([])


def test_a_runner_of_many_agents_is_refused(runs, monkeypatch) -> None:
    trained = load_trained(RunDirectory(runs[0]))
    many = dataclasses.replace(trained, parts=dataclasses.replace(trained.parts, learner=None))
    monkeypatch.setattr(agents.reports.comparison, "load_trained", lambda run: many)
    with pytest.raises(UserError, match="rl2-0: its runner trains many agents"):
        compare(runs[:1])


def test_an_agent_told_something_else_is_refused(runs, tmp_path) -> None:
    told = trained(
        tmp_path / "told",
        *(setting for setting in SHORT if not setting.startswith("agent.")),
        'agent={name = "ppo", hidden = [4]}',
    )
    comparison = compare([runs[0], told])
    assert of(comparison, "ppo").told
    assert not of(comparison, "rl2").told
    family = build_family("bandit")
    reward = load_reward(family)
    specs = [family.spec(seed=seed, reward=reward) for seed in range(2)]
    with pytest.raises(
        UserError, match="new tasks: the agent is told the task.s descriptor, 5 numbers where it learns"
    ):
        compare([runs[0], told], tasks={"new": specs})


def load_reward(family):
    from registry.config import Part
    from taskgen.build import build_source
    from taskgen.streams import seed_sequence

    return build_source(Part(name="random-rewards"), family, seed_sequence(0, "rewards")).ask(1)[0].reward


def test_training_tasks_among_those_compared_on_are_told(runs) -> None:
    with Archive(RunDirectory(runs[1]).archive) as archive:
        specs = [record.spec for record in archive.records(split="train")][:3]
    comparison = compare(runs[:2], tasks={"mine": [*evaluation_tasks(runs[0]), *specs]})
    assert comparison.remarks == [f"{runs[1]} was trained on 3 or more of the 35 mine tasks"]
    assert list(table(comparison))[-1] == f"Note: {comparison.remarks[0]}."


def test_the_page_is_whole_and_loads_nothing(runs, tmp_path) -> None:
    comparison = compare(runs)
    write_comparison({"bandit": comparison}, tmp_path / "deep" / "page.html")
    page = Page((tmp_path / "deep" / "page.html").read_text())
    assert page.loads == page.runs == page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert "maml: return of an episode by steps of adaptation, each on 2 episodes side by side" in page.text
    assert any("rl2 from" in label and "maml from" in label for label in page.labels)
    assert any(label.startswith("Share of tasks on which each player earns more") for label in page.labels)
    assert (tmp_path / "deep" / "page.html").read_text().count("<svg") == sum(
        label.startswith(("Mean return", "Mean trial return", "Share of tasks")) for label in page.labels
    )  # each picture has a text
    for course in comparison.sets["held-out"]:
        assert course.name in page.text
    assert str(runs[2]) in page.text
    write_comparison({"bandit": comparison, "twice": comparison}, tmp_path / "two.html")
    two = Page((tmp_path / "two.html").read_text())
    assert two.loads == two.runs == two.open == []
    assert len(set(two.ids)) == len(two.ids)
    assert {"bandit: adaptation to held-out tasks", "twice: adaptation to held-out tasks"} < set(two.headings)


def test_learning_curves_of_runs_and_kept_ones(runs, tmp_path) -> None:
    file = tmp_path / "kept.json"
    file.write_text(json.dumps({f"other-{seed}": {"steps": [10, 20], "return": [seed, 2]} for seed in range(3)}))
    comparison = compare(runs, with_players=False, curves=[file])
    rl2, maml, other = comparison.learning
    assert (rl2.label, maml.label, other.label) == ("rl2", "maml", "other (kept.json)")
    logged = [[json.loads(line)["metrics"] for line in (run / "metrics.jsonl").open()] for run in runs[:2]]
    returns = [[line["meta/trial_return"] for line in lines] for lines in logged]
    assert rl2.mean.mean.tolist() == pytest.approx(np.mean(returns, axis=0))
    assert rl2.mean.x.tolist() == [line["charts/steps"] for line in logged[0]]
    assert other.mean.mean.tolist() == [1, 2]
    assert other.mean.high[0] - 1 == pytest.approx(4.302653 / np.sqrt(3))
    assert comparison.summary()["learning"]["other (kept.json)"]["steps"] == [10, 20]
    write_comparison({"bandit": comparison}, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "Learning curves" in page.headings
    assert "rl2 3, maml 4" in page.text  # trials of training
    assert "nothing here tells whether of the same tasks: other (kept.json)" in page.text
    assert any("other (kept.json) ends at 2" in label for label in page.labels)


def test_a_run_without_metrics_has_no_learning_curve(runs, tmp_path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(runs[0], bare)
    (bare / "metrics.jsonl").unlink()
    comparison = compare([bare], with_players=False)
    assert not comparison.learning
    assert comparison.remarks == [f"{bare} kept no metrics: its learning curve is left out"]
    write_comparison({"bandit": comparison}, tmp_path / "page.html")
    assert "Learning curves" not in (tmp_path / "page.html").read_text()


def test_trials_of_different_lengths_are_judged_by_their_last_episodes(runs) -> None:
    found = compare(runs, with_players=False).aggregates["held-out"]  # 3 episodes and 4
    assert found.score.startswith("mean return of the last episode")
    assert 0 <= found.middle["maml"].value <= 1  # not of a trial
    same = compare(runs, with_players=False, episodes=6).aggregates["held-out"]
    assert same.score == "return of a whole trial"


def test_divergence_is_told(runs) -> None:
    comparison = compare(runs[:1], with_players=False)
    (course,) = comparison.sets["held-out"]
    faulty = dataclasses.replace(comparison, sets={"held-out": [dataclasses.replace(course, faults=2)]})
    assert any(line.endswith("2 episodes diverged") for line in table(faulty))


def test_the_verb(runs, tmp_path, capsys) -> None:
    tasks = tmp_path / "far.jsonl"
    write_tasks(tasks, evaluation_tasks(runs[1])[:8])
    command = ["compare", *map(str, runs), "--tasks", str(tasks), "-o", str(tmp_path / "page.html")]
    (tmp_path / "kept.json").write_text('{"other-0": {"steps": [1], "return": [2]}}')
    assert main([*command, "--curves", str(tmp_path / "kept.json")]) == 0
    assert "other (kept.json)" in (tmp_path / "page.html").read_text()
    out, err = capsys.readouterr()
    assert "rl2 earns more than maml with probability" in out
    assert "far: rl2 plays 8 tasks with 2 seeds ..." in err
    assert "far: 8 tasks, the same for all" in out
    assert "maml, mean episode after 0, 1, ... steps of adaptation: " in out
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert main([*command, "--json", "--no-players"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["sets"]["far"]["players"]) == {"rl2", "maml"}
    assert summary["agents"]["rl2"]["seeds"] == [0, 1]
    assert main([*command, "--tasks", str(tmp_path / "." / "far.jsonl")]) == 2
    assert "which must differ" in capsys.readouterr().err
    write_tasks(tasks, evaluation_tasks(runs[1])[:1], overwrite=True)
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "far: 1 task, the same for all" in out
    assert "95% intervals of rl2, random, greedy: none: two seeds" in out.replace("greedy, random", "random, greedy")
    tasks.write_text("")
    assert main(command) == 2
    assert "far holds no task to compare on" in capsys.readouterr().err

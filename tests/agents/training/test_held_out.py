"""What a run is judged on is not what it was trained on: kept apart, refused, or said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import registry
from agents.reports.report import write_report
from agents.training.experiment import Experiment, held_out_source, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.start import started
from registry.errors import UserError
from taskgen.build import build_family, build_source
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

QUICK = (
    "agent.network.hidden_size=8",
    "training.iterations=2",
    "training.tasks=40",
    "training.episodes=2",
    "training.evaluate_every=0",
    "training.checkpoint_every=2",
    "evaluation.tasks=40",
    "evaluation.final_tasks=60",
    'evaluation.players=["random"]',
    "device=cpu",
)
RECURRING = ("builtin/barcode-bandit", "builtin/re-seen-choice", "builtin/two-step")
COURSES = ("builtin/terrain-walker", "builtin/bipedal-walker")
DRAWN_FROM_SEED = ("builtin/tabular-mdp", "builtin/tabular-pomdp", *COURSES, *RECURRING)
JUDGED = [
    item.full_name
    for item in registry.catalogue().items("experiments")
    if not item.entry.name.startswith("poet") and "diayn" not in item.entry.name
]
"""Shipped experiments whose agent is judged, and whose tasks are not learned first."""


class Quiet:
    def iteration(self, done, total, metrics):
        pass

    def say(self, text):
        pass

    def stop_requested(self):
        return False


def content(spec: TaskSpec) -> str:
    """What the task is, told without the machinery under test; a flat course is nobody's here."""
    return spec.id if spec.family in DRAWN_FROM_SEED else replace(spec, seed=0).id


def share(experiment: Experiment) -> float:
    """Of held-out tasks that occur among training tasks."""
    family = build_family(experiment.family.name, experiment.family.settings)
    source = build_source(experiment.source, family, seed_sequence(experiment.seed, "source"))
    met = {content(spec) for spec in source.ask(100)}
    held_out = held_out_source(experiment, family).ask(50)
    return sum(content(spec) in met for spec in held_out) / 50


@pytest.mark.parametrize("name", JUDGED)
def test_shipped_experiments_are_judged_on_other_tasks_or_say_so(name):
    experiment = load_experiment(name).config
    assert share(experiment) == 0.0 or getattr(experiment.evaluation, "same_tasks", False)


FAMILIES = [item.full_name for item in registry.catalogue().items("families")]
FEW = {
    *("builtin/grid-navigation", "builtin/darkroom", "builtin/bus", "builtin/mujoco-any"),
    *("builtin/discounting-chain", "builtin/sign-post"),
}
ONE = {"builtin/catch", "builtin/frozen-lake"}
"""Families that draw from a finite set, of which none are set apart unless somebody asks; or nothing at all."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", ["domain-randomization", "deduplicated"])
def test_every_family_is_judged_on_other_tasks_or_refused(family, source, tmp_path):
    agent = ["agent=random"]
    plan = load_experiment("rl2-bandit", [f"family={family}", f"source={source}", *QUICK[1:], *agent])
    if share(plan.config) == 0.0:
        return
    assert family in FEW | ONE | {"builtin/ant", "builtin/half-cheetah", *COURSES}
    with pytest.raises(UserError, match=r"source and held-out set both hold task .*evaluation.same_tasks=true") as told:
        started(plan, RunDirectory(tmp_path / "run"), resume=False)
    sides = build_family(plan.config.family.name, plan.config.family.settings).split is not None
    assert ("train on one side of the family's split" in str(told.value)) is sides
    assert not (tmp_path / "run").exists()


CROSSED = [
    ("bus", ["family.variant=distraction"], "permutation", 53, 523),
    ("cooking", [], "kitchen", 63, 1),
    ("grid-navigation", ["source.name=domain-randomization", "source.split=train"], "goal", 17, 4),
    ("darkroom", ["source.name=domain-randomization", "source.split=train"], "goal", 80, 20),
]


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize(("family", "settings", "knob", "trained", "judged"), CROSSED)
def test_training_on_one_side_is_judged_on_the_other(family, settings, knob, trained, judged, around):
    if around:
        given = [text.replace("source.", "source.source.source.") for text in settings]
        settings = ['source={name = "plr", source = {name = "deduplicated", source = {name = "domain-randomization"}}}']
        settings += given
    plan = load_experiment("rl2-bandit", [f"family={family}", *settings, *QUICK])
    experiment = plan.config
    built = build_family(experiment.family.name, experiment.family.settings)
    plain = build_source(experiment.source, built, seed_sequence(0, "source"))
    held_out = {spec.context[knob] for spec in held_out_source(experiment, built).ask(judged if around else 6000)}
    training = {spec.context[knob] for spec in plain.ask(50 if around else 2000)}
    assert training & held_out == set()
    assert len(held_out) <= judged
    if not around:
        assert (len(training), len(held_out)) == (trained, judged)


def test_same_tasks_are_judged_on_by_name(tmp_path: Path):
    """The first paragraph of the report says it; the archive keeps tasks in one split at most."""
    plan = load_experiment("rl2-bandit", ["family=bus", "evaluation.same_tasks=true", *QUICK])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    train(plan, run, Quiet())
    evaluated = evaluate_run(run)["sets"]["held-out"]
    assert 0 < evaluated["trained_on"] <= 60
    write_report([run.path], tmp_path / "report.html")
    first = (tmp_path / "report.html").read_text().split('<p class="lede">')[1].split("</p>")[0]
    assert re.search(r"it met \d\d training tasks, played 60 times in all with fresh luck", " ".join(first.split()))
    assert "same tasks, new luck" in first
    assert "held-out" not in first


def test_held_out_tasks_are_held_out_in_the_report(tmp_path: Path):
    plan = load_experiment("rl2-bandit", ["family=cooking", *QUICK])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    train(plan, run, Quiet())
    assert "trained_on" not in evaluate_run(run)["sets"]["held-out"]
    write_report([run.path], tmp_path / "report.html")
    first = (tmp_path / "report.html").read_text().split('<p class="lede">')[1].split("</p>")[0]
    assert "it met 1 held-out task, played 60 times in all with fresh luck" in " ".join(first.split())
    assert "new luck" not in first
    stored = run.path / "evaluation.json"
    told = json.loads(stored.read_text())
    told["sets"]["held-out"]["trained_on"] = 7
    run.write_json("evaluation.json", told)
    write_report([run.path], tmp_path / "report.html")
    first = (tmp_path / "report.html").read_text().split('<p class="lede">')[1].split("</p>")[0]
    assert "Of these 7 or more were trained on: <strong>same tasks, new luck</strong>" in " ".join(first.split())


def test_a_task_that_comes_later_is_refused_before_it_is_trained_on(tmp_path: Path):
    """Edited across: a source of both sides whose first tasks are none of those that are judged on."""
    held_out = '{name = "domain-randomization", fixed = {kitchen = 10}}'
    stages = '{name = "domain-randomization", fixed = {kitchen = 3}}'
    later = '{name = "domain-randomization", fixed = {kitchen = 10}}'
    schedule = (
        f'{{name = "schedule", sources = {{a = {stages}, b = {later}}}, '
        "points = [{iteration = 0, weights = {a = 1.0, b = 0.0}}, {iteration = 1, weights = {a = 0.0, b = 1.0}}]}"
    )
    settings = ["family=cooking", f"source={schedule}", f"evaluation.source={held_out}", *QUICK]
    plan = load_experiment("rl2-bandit", settings)
    run = RunDirectory(tmp_path / "run")
    started(plan, run, resume=False)
    with pytest.raises(UserError, match=r"'kitchen': 10.*whatever the luck"):
        train(plan, run, Quiet())
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "runner",
    [
        '{name = "pbt", population = 2, judged_tasks = 2, explore = {learning_rate = {low = 0.001, high = 0.002}}}',
        '{name = "paired", teacher_objective = "random"}',
    ],
)
def test_runners_do_not_train_on_what_their_agent_is_judged_on(runner, tmp_path: Path):
    plan = load_experiment("rl2-bandit", ["family=bus", f"runner={runner}", *QUICK])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    with pytest.raises(UserError, match="source and held-out set both hold task"):
        train(plan, run, Quiet())

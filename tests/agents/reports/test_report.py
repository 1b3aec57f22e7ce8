"""Reports: everything in one page, nothing to load, nothing that runs, and errors that name the file."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.statistics import mean_interval
from agents.reports.figures import Band, spread
from agents.reports.report import write_report
from agents.reports.results import curve, group, standings, varying_knobs
from agents.training.records import read_record
from registry.errors import CheckpointError, ConfigError, UserError
from taskgen.spec import TaskSpec
from tests.agents.reports.made_up_run import PLAYERS, make_run


class Page(HTMLParser):
    """What a page would load or run, its text, its ids and whether its tags are balanced."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.runs: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self._look(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    def _look(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset", "action") and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.runs.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-label":
                self.labels.append(value or "")
        if tag in ("script", "iframe", "object", "embed", "link", "base"):
            self.runs.append(tag)


def render(output: Path, *runs: Path) -> tuple[str, Page]:
    write_report(runs, output)
    text = output.read_text()
    return text, Page(text)


def test_one_run_is_told_in_full(tmp_path: Path) -> None:
    text, page = render(tmp_path / "out" / "report.html", make_run(tmp_path / "rl2-bandit-0"))
    evaluation = json.loads((tmp_path / "rl2-bandit-0" / "evaluation.json").read_text())
    rl2 = evaluation["sets"]["held-out"]["players"]["rl2"]
    for expected in (
        "rl2-bandit",
        "The agent rl2 was trained on tasks of the family bandit from the source domain-randomization",
        "600 iterations of 500 tasks, 10 episodes on each, 3 million environment steps in all, with seed 0",
        "it met 20,000 held-out tasks",
        f"{rl2['trial']['mean']:.2f}",
        f"{rl2['returns']['iqm'][-1]:.3f}",
        f"[{rl2['returns']['low'][-1]:.3f}, {rl2['returns']['high'][-1]:.3f}]",
        "the best reference player, bandit-oracle",
        "1 min 12 s",
        "Processor 3000",
        "probabilities (5 entries pooled)",
        "taskgen train config.toml --seed 0 --run again-0",
        "learning_rate = 0.002",
        "Needs these plugins beside the built-in parts: mine 1.2",
        "abc12",
        "charts/steps",
        "Agarwal et al. 2021",
    ):
        assert expected in page.text, expected
    for name in PLAYERS:
        assert text.count(f">{name}<") >= 4  # both figures, both tables
    assert page.open == []
    assert len(page.labels) == 5
    assert page.labels[0].startswith("Mean trial return against environment steps: rl2-bandit ends at 6.6")
    assert f"rl2 from {rl2['returns']['mean'][0]:.4g} to" in page.labels[1]
    assert str(tmp_path) not in text


def test_running_it_again_names_plugins_of_one_file(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    data = json.loads((run / "provenance.json").read_text())
    data["parts"]["mine/walls"]["file"] = "walls.py"
    (run / "provenance.json").write_text(json.dumps(data))
    _, page = render(tmp_path / "report.html", run)
    assert "taskgen --plugin walls.py train config.toml --seed 0 --run again-0" in page.text
    assert "taskgen --plugin walls.py report again-0" in page.text


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    text, page = render(tmp_path / "report.html", make_run(tmp_path / "a"), make_run(tmp_path / "b", agent="other"))
    assert page.loads == []
    assert page.runs == []
    assert re.findall(r"@import|url\((?!#)", text) == []
    assert len(page.ids) == len(set(page.ids)) > 50
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert (target[0] or target[1]) in page.ids


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    knob = "<img src=x onerror=alert(2)>"
    specs = [TaskSpec("builtin/bandit", {knob: i / 9, "fixed": attack}, seed=i) for i in range(9)]
    run = make_run(
        tmp_path / "x", name=attack, players=["random", attack, "$\\frac$", '"><b onload=x>', "_hidden"], specs=specs
    )
    data = json.loads((run / "provenance.json").read_text())
    data["machine"] = attack
    data["parts"]["evil"] = {"provider": attack, "version": attack}
    (run / "provenance.json").write_text(json.dumps(data))
    text, page = render(tmp_path / "report.html", run)
    assert page.runs == page.loads == page.open == []
    assert "<script" not in text
    assert "<img" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    for name in ("$\\frac$", '"><b onload=x>', "_hidden", knob):
        assert name in page.text


def test_equal_runs_give_equal_pages(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert render(tmp_path / "a.html", run)[0] == render(tmp_path / "b.html", run)[0]


def test_seeds_of_one_experiment_are_pooled_over_runs(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"s{seed}", seed=seed) for seed in (2, 0, 1)]
    (experiment,) = group([read_record(run) for run in runs])
    assert [run.seed for run in experiment.runs] == [0, 1, 2]
    means = [run.evaluation.sets["held-out"].players["rl2"].trial.mean for run in experiment.runs]
    (row,) = [row for row in standings([experiment], "held-out") if row.lead]
    assert row.trial == mean_interval(means)
    lasts = [run.evaluation.sets["held-out"].players["rl2"].returns.iqm[-1] for run in experiment.runs]
    assert row.middle[-1] == mean_interval(lasts)
    drawn = curve(experiment)
    assert len(drawn.runs) == 3
    assert len(drawn.mean.x) == 120
    assert drawn.mean.mean[7] == pytest.approx(np.mean([y[7] for _, y in drawn.runs]))
    assert drawn.held_out.x.tolist() == [500_000, 1e6, 1.5e6, 2e6, 2.5e6, 3e6]
    text = render(tmp_path / "report.html", *runs)[1].text
    assert "once with each of the seeds 0, 1, 2" in text
    assert "taskgen report again-0 again-1 again-2 -o report.html" in text


def test_two_seeds_get_no_interval(tmp_path: Path) -> None:
    (experiment,) = group([read_record(make_run(tmp_path / f"s{seed}", seed=seed)) for seed in range(2)])
    for row in standings([experiment], "held-out"):
        assert np.isnan([row.trial.low, row.trial.high, row.middle[0].low, row.episodes[-1].high]).all()
    assert np.isnan(curve(experiment).mean.low).all()
    page = render(tmp_path / "report.html", tmp_path / "s0", tmp_path / "s1")[1]
    assert not re.search(r"\bnan\b", page.text)


def test_one_run_shows_its_own_intervals(tmp_path: Path) -> None:
    (experiment,) = group([read_record(make_run(tmp_path / "run"))])
    stored = experiment.first.evaluation.sets["held-out"].players
    rows = standings([experiment], "held-out")
    assert [row.trial.value for row in rows] == sorted((row.trial.value for row in rows), reverse=True)
    for row in rows:
        assert row.trial == (stored[row.name].trial.mean, stored[row.name].trial.low, stored[row.name].trial.high)
        assert [interval.high for interval in row.episodes] == stored[row.name].returns.high
        assert [interval.low for interval in row.middle] == stored[row.name].returns.iqm_low


def test_runs_cut_at_different_lengths_share_what_all_reached(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"s{seed}", seed=seed) for seed in range(2)]
    for name, kept in (("metrics.jsonl", 301), ("evaluations.jsonl", 3)):
        lines = (runs[1] / name).read_text().splitlines(keepends=True)
        (runs[1] / name).write_text("".join(lines[:kept]) + lines[kept][:9])  # and a line cut by a kill
    (experiment,) = group([read_record(run) for run in runs])
    drawn = curve(experiment)
    assert drawn.mean.x[-1] <= 301 * 5000
    assert drawn.held_out.x.tolist() == [500_000, 1e6, 1.5e6]


def test_agents_on_one_problem_share_their_figures(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a"),
        make_run(tmp_path / "b", agent="maml", final=6.1),
        make_run(tmp_path / "c", name="x"),
    ]
    experiments = group([read_record(run) for run in runs])
    assert [experiment.label for experiment in experiments] == [
        "rl2-bandit (agent=rl2)",
        "rl2-bandit (agent=maml)",
        "x",
    ]
    rows = standings(experiments, "held-out")
    assert {row.name for row in rows if row.lead} == {"rl2-bandit (agent=rl2)", "rl2-bandit (agent=maml)", "x"}
    assert sorted(row.name for row in rows if not row.lead) == sorted(PLAYERS)
    page = render(tmp_path / "report.html", *runs)[1]
    assert page.headings.count("Learning curve") == page.headings.count("Adaptation to held-out tasks") == 1
    assert "Training tasks: rl2-bandit (agent=maml)" in page.headings


def test_other_problems_get_figures_of_their_own(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", name="short", episodes=1, iterations=1)]
    page = render(tmp_path / "report.html", *runs)[1]
    for heading in ("Learning curve: rl2-bandit", "Learning curve: short", "Adaptation to held-out tasks: short"):
        assert heading in page.headings


def test_one_seed_twice_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", iterations=6)
    with pytest.raises(UserError, match="same experiment with the same seed"):
        write_report([run, run], tmp_path / "report.html")


def test_tasks_that_differ_in_their_seed_only(tmp_path: Path) -> None:
    specs = [TaskSpec("builtin/tabular-mdp", {"states": 10, "actions": 5}, seed=i) for i in range(40)]
    page = render(tmp_path / "report.html", make_run(tmp_path / "run", specs=specs))[1]
    assert "the 40 sampled training tasks (40 distinct) share one context and differ in their seed" in page.text
    assert "One histogram per context knob" not in page.text
    assert "states 10 " in page.text


def test_varying_knobs() -> None:
    contexts = [
        {"n": 3, "p": [0.1, 0.9], "kind": "a", "grid": [[0, 1], [1, 0]], "on": True},
        {"n": 3, "p": [0.2, 0.9], "kind": "b", "grid": [[0, 1], [1, 0]], "on": False},
    ]
    knobs = varying_knobs([TaskSpec("f", context) for context in contexts])
    assert {name: values.tolist() for name, values in knobs.items()} == {
        "p": [0.1, 0.9, 0.2, 0.9],
        "kind": [],
        "on": [1.0, 0.0],
    }


def test_labels_are_pushed_apart_and_kept_inside() -> None:
    assert spread([0.0, 5.0], 1.0, 0.0, 10.0) == [0.0, 5.0]
    assert spread([5.0, 5.0, 5.0], 1.0, 0.0, 10.0) == [4.0, 5.0, 6.0]
    assert spread([0.0, 0.1], 1.0, 0.0, 10.0) == [0.0, 1.0]
    assert spread([9.8, 9.9], 1.0, 0.0, 10.0) == [9.0, 10.0]
    places = spread(sorted([6.5, 6.6, 6.61, 6.66, 7.4, 8.3]), 0.3, 4.0, 9.0)
    assert all(later - earlier >= 0.3 - 1e-9 for earlier, later in itertools.pairwise(places))
    assert max(abs(place - value) for place, value in zip(places, [6.5, 6.6, 6.61, 6.66, 7.4, 8.3], strict=True)) < 0.5


def test_a_band_without_interval_is_drawn(tmp_path: Path) -> None:
    from agents.reports.figures import adaptation_figure

    nan = np.full(1, np.nan)
    svg = adaptation_figure({"rl2": Band(np.ones(1), np.ones(1), nan, nan)}, {}, "one")
    assert svg.startswith("<svg")
    assert "nan" not in svg


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("config.toml", "not a run directory: it has no config.toml"),
        ("provenance.json", "restore it from a copy"),
        ("metrics.jsonl", "tracker jsonl"),
        ("evaluation.json", "taskgen evaluate"),
        ("archive.sqlite", "restore it from a copy"),
    ],
)
def test_a_missing_file_is_named_with_its_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    run = make_run(tmp_path / "run", iterations=6)
    (run / name).unlink()
    with pytest.raises(UserError, match=f"{re.escape(name)}.*{re.escape(remedy)}|{re.escape(remedy)}"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("provenance.json", "[]", "it is not a JSON object"),
        ("provenance.json", "[" * 100_000, "provenance.json is damaged"),
        ("metrics.jsonl", '{"step": 1, "metrics": {}}\n{"step": "two", "metrics": {}}\n', r"line 2: step: "),
        ("metrics.jsonl", '{"step": 1, "metrics": {"x": 1}}\n', "holds no whole line with charts/steps"),
        ("metrics.jsonl", "{}}\n", "line 1: Extra data"),
        ("evaluations.jsonl", '{"iteration": 1}\n', r"line 1: steps: Field required"),
        ("evaluation.json", "{", "evaluation.json is damaged: Expecting property name"),
        ("evaluation.json", '{"sets": {}}', "evaluation.json is damaged: iteration: Field required"),
        ("config.toml", "name = ", "not valid TOML"),
        ("config.toml", "seed = 1", "lacks seed, training, or the name of family"),
        ("archive.sqlite", "not a database at all, only some text", "archive.sqlite"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    run = make_run(tmp_path / "run", iterations=6)
    (run / name).write_text(content)
    with pytest.raises((CheckpointError, ConfigError), match=message) as caught:
        write_report([run], tmp_path / "report.html")
    assert name in str(caught.value)


def test_figures_of_unequal_length_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", iterations=6)
    data = json.loads((run / "evaluation.json").read_text())
    data["sets"]["held-out"]["players"]["random"]["returns"]["iqm"].pop()
    (run / "evaluation.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="held-out, random: expected 10 returns"):
        read_record(run)


def test_seeds_evaluated_beside_different_players_are_refused(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1, players=["random"])]
    with pytest.raises(CheckpointError, match=r"b/evaluation\.json has other task sets.*taskgen evaluate"):
        write_report(runs, tmp_path / "report.html")


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one run"):
        write_report([], tmp_path / "report.html")
    run = make_run(tmp_path / "run", iterations=6)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(UserError, match="cannot write .*taken"):
        write_report([run], tmp_path / "taken")

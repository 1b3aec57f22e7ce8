"""Success by step: told by an environment's info, counted by episode, in scores, metrics, evaluations and reports."""

import json
from dataclasses import replace
from typing import Any

import gym_toys
import numpy as np
import pytest
import torch

import taskgen
from agents.api import compare, evaluate, train
from agents.evaluation.play import play_distinct
from agents.reports.comparison_report import table, write_comparison
from agents.reports.report import write_report
from agents.training.loop import trial_metrics
from agents.training.records import read_record
from registry.config import Part
from registry.errors import PluginError, UserError
from taskgen.batch import Transition
from taskgen.build import build_family
from taskgen.engines import slots
from taskgen.faces import trials
from taskgen.interaction.agent import CollectionPlan, Rollout, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.score import check_scores, score, score_returns
from taskgen.source import Curriculum
from tests.agents.training.test_loop import Quiet

BANDIT = build_family("bandit")


def tells(id_: str = "Tells", **settings: Any) -> Any:
    return build_family("gymnasium", {"id": f"{gym_toys.__name__}:{id_}", "success": "there", "horizon": 6, **settings})


def walked(family: Any, moves: list[int]) -> list[Transition]:
    """What comes of always the same moves in two slots."""
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=1), family.spec(seed=2)])
    batch.reset()
    return [batch.step(torch.tensor([move, move])) for move in moves]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_succeeds_as_the_info_says(workers: int) -> None:
    """Right from about 0: beyond 2 after the third step, and no more once two steps were taken back."""
    family = tells(workers=workers, deadline=20.0)
    told = [outcome.success for outcome in walked(family, [1, 1, 1, 0, 0, 1])]
    assert torch.stack(told)[:, 0].tolist() == [False, False, True, False, False, False]
    assert all(outcome.success is None for outcome in walked(tells(success=""), [1, 1]))


def test_it_is_no_part_of_a_task() -> None:
    assert tells().tells_success
    assert not tells(success="").tells_success
    assert tells().spec(seed=1).id == tells(success="").spec(seed=1).id


@pytest.mark.parametrize(
    ("id_", "said"), [("TellsNumbers", "there = 0.5, expected a bool, or 0 or 1"), ("Corridor", "info without there")]
)
def test_an_info_that_does_not_tell_costs_the_episode(id_: str, said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        family = tells(id_)
    batch = family.batch(1)
    batch.set_tasks([family.spec()])
    batch.reset()
    outcome = batch.step(torch.tensor([1]))
    assert outcome.truncated.tolist() == [True]
    assert outcome.success is not None
    assert outcome.success.tolist() == [False]
    assert said in next(iter(batch.faults.reasons))


def test_a_misspelt_entry_is_told_before_anything_is_played() -> None:
    with pytest.warns(UserWarning, match=r"step gave an info without their, expected after every step.*'there'\?$"):
        tells(success="their")


def trial(success: Any, ends: Any, index: Any, valid: Any, slots: int = 1) -> Trial:
    """Of one round of two episodes."""
    zeros = torch.zeros(len(success), len(success[0]))
    flags = zeros.bool()
    rollout = Rollout(
        zeros, zeros, zeros, torch.tensor(ends), flags, zeros, flags, flags, torch.tensor(index), torch.tensor(valid),
        {"x": zeros}, success=torch.tensor(success),
    )  # fmt: skip
    return Trial(
        [BANDIT.spec(seed=n) for n in range(len(success[0]) // slots)], [rollout], CollectionPlan(1, 2, slots > 1)
    )


def test_an_episode_counts_both_ways() -> None:
    """One trial succeeds on the way in its first episode and at the end of its second, the other while it waits."""
    found = trial(
        [[True, False], [False, False], [True, True]],
        [[False, True], [True, True], [True, True]],
        [[0, 0], [0, 1], [1, 2]],
        [[True, True], [True, True], [True, False]],
    )
    assert found.successes().tolist() == [[[True, False], [True, False]], [[False, False], [True, False]]]
    metrics = trial_metrics(found)
    assert (metrics["charts/success"], metrics["charts/success_at_end"]) == (0.5, 0.25)
    assert trial_metrics(replace(found, rounds=[replace(found.rounds[0], success=None)])).keys() == (
        metrics.keys() - {"charts/success", "charts/success_at_end"}
    )


def test_episodes_side_by_side_count_in_their_slots() -> None:
    found = trial(
        [[False, True], [True, False]],
        [[False, True], [True, True]],
        [[0, 1], [0, 3]],
        [[True, True], [True, False]],
        2,
    )
    assert found.successes().tolist() == [[[True], [True]], [[True], [True]]]


def test_scores_count_it() -> None:
    family = tells()
    agent = build_agent(Part(name="random"), problem_of(family, episodes=2, seed=0, device=torch.device("cpu")))
    check_scores(("success", "learnability"), agent, family, 2)
    with pytest.raises(UserError, match="it has no solved_return and tells no success"):
        check_scores(("success",), agent, tells(success=""))
    specs = [family.spec(seed=seed) for seed in range(8)]
    played = collect(agent, family.batch(8), specs, plan=agent.plan(2))
    rates = played.successes()[0].float().mean(0).tolist()
    assert 0 < sum(rates) < 8
    assert [result.scores["success"] for result in score(played, agent, family, ("success",))] == rates
    alone = score_returns(
        specs[:2], np.zeros((2, 2)), np.zeros((2, 2)), family, ("success",), [[True, False], [False, False]]
    )
    assert [result.scores["success"] for result in alone] == [0.5, 0.0]


def test_faces_hand_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a learner that plays them has its scores, of the whole episode."""
    family = tells(horizon=4)
    for module in (slots, trials):
        monkeypatch.setattr(module, "family_of", lambda spec: family)  # a task does not say which entry tells
    env = taskgen.make(family.spec(seed=1))
    env.reset(seed=0)
    assert [env.step(1)[4]["success"] for _ in range(4)] == [False, False, True, True]
    source = Listening(family)
    envs = trials.TrialVectorEnv(source, episodes=2, num_envs=1)
    envs.reset(seed=0)
    for move in (1, 1, 1, 0, 0, 0, 0, 0):
        *_, infos = envs.step(np.array([move]))
    assert infos["success"].tolist() == [False]
    assert source.heard == [0.5]
    for move in (0, 1, 1, 1, 0, 1, 1, 1, 0):  # the first one begins the next trial, whatever it is
        envs.step(np.array([move]))
    assert source.heard == [0.5, 1.0]


class Listening(Curriculum):
    """Always the same task, scored by success."""

    scores = frozenset({"success"})
    feedback = True

    def __init__(self, family: Any) -> None:
        self.family, self.heard = family, []

    def ask(self, n: int) -> list[Any]:
        return [self.family.spec(seed=1)] * n

    def tell(self, results: Any) -> None:
        self.heard += [result.scores["success"] for result in results]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.heard = []


class Lying:
    """A batch that tells other success in its second step."""

    def __init__(self, batch: Any, success: Any) -> None:
        self._batch, self._success, self._steps = batch, success, 0

    def step(self, action: Any) -> Transition:
        self._steps += 1
        outcome = self._batch.step(action)
        return replace(outcome, success=self._success) if self._steps == 2 else outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


@pytest.mark.parametrize(
    ("family", "success", "said"),
    [
        (tells(), torch.zeros(3), r"success \[3\] torch.float32.*\[1\] torch.bool"),
        (tells(), 1.0, r"success = 1.0.*\[1\] torch.bool"),
        (tells(), None, r"success = None.*\[1\] torch.bool, its tells_success being True"),
        (BANDIT, torch.zeros(1, dtype=torch.bool), r"success \[1\] torch.bool.*None, its tells_success being False"),
    ],
)
def test_a_batch_that_tells_what_is_none_is_named(family: Any, success: Any, said: str) -> None:
    agent = build_agent(Part(name="random"), problem_of(family, episodes=2, seed=0, device=torch.device("cpu")))
    with pytest.raises(PluginError, match=said):
        collect(agent, Lying(family.batch(1), success), [family.spec()], plan=agent.plan(2))


def test_repeated_tasks_count_once() -> None:
    family = tells()
    agent = build_agent(Part(name="random"), problem_of(family, episodes=2, seed=0, device=torch.device("cpu")))
    did = play_distinct(agent, family, [family.spec(seed=n) for n in range(20)], 2)
    assert did.success is not None
    assert did.success.shape == (2, 2, 1)
    assert did.success[0].mean() * 40 == pytest.approx(round(did.success[0].mean() * 40))
    assert (did.success[0] >= did.success[1]).all()
    assert 0 < did.success[0].mean() < 1


SETTINGS = (
    "family.id=gym_toys:Tells", "family.success=there", "family.horizon=6",
    "family.knobs={length={low=3.0,high=9.0}}", "agent.hidden=[8]", "training.iterations=2", "training.tasks=4",
    "training.evaluate_every=1", "evaluation.tasks=6", "evaluation.final_tasks=12", 'evaluation.players=["random"]',
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Three seeds."""
    path = tmp_path_factory.mktemp("runs")
    return [
        train("rl2-gymnasium", *SETTINGS, f"seed={seed}", run=path / str(seed), watcher=Quiet()) for seed in range(3)
    ]


def test_a_run_keeps_it(runs: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    assert all(
        0 <= line["metrics"]["charts/success_at_end"] <= line["metrics"]["charts/success"] <= 1 for line in lines
    )
    checkup = json.loads((runs[0] / "evaluations.jsonl").read_text().splitlines()[0])
    assert len(checkup["success"]["any_step"]["mean"]) == 2
    figures = evaluate(runs[0])["sets"]["held-out"]["players"]["random"]["success"]
    record = read_record(runs[0])
    kept = record.succeeded("held-out", "random")
    assert kept.shape == (2, 2, 12)
    assert figures["any_step"]["mean"] == kept[0].mean(1).tolist()
    assert figures["last_step"]["mean"] == kept[1].mean(1).tolist()
    assert record.evaluation.sets["held-out"].players["random"].success.any_step.mean == figures["any_step"]["mean"]


def test_one_run_that_tells_is_enough_for_a_comparison(runs: list[Any], tmp_path: Any) -> None:
    """Whether success is told changes no task: those of a run that was not asked are played with one that was."""
    silent = train("rl2-gymnasium", *SETTINGS, "family.success=", "seed=5", run=tmp_path / "silent", watcher=Quiet())
    for order in ((silent, runs[0]), (runs[0], silent)):
        assert all(len(course.success) == 2 for course in compare(*order).sets["held-out"])


def test_reports_and_comparisons_show_it(runs: list[Any], tmp_path: Any) -> None:
    write_report(runs, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("succeeds<small>last episode, after any step") == 1
    kept = np.stack([read_record(run).succeeded("held-out", "rl2")[:, -1] for run in runs])
    assert f"<td>{kept[:, 0].mean():.3f}<small>" in page
    assert f"<td>{kept[:, 1].mean():.3f}<small>" in page
    found = compare(*runs)
    told = next(course for course in found.sets["held-out"] if course.trained).success
    assert [share.value for share in told] == pytest.approx(kept.mean((0, 2)).tolist())
    assert found.summary()["sets"]["held-out"]["players"]["rl2"]["success"]["any_step"]["mean"] == told[0].value
    lines = list(table(found))
    assert any(line.endswith(f"{told[0].value:>8.1%} {told[1].value:>8.1%}") for line in lines)
    assert sum("success: share of tasks done after any step" in line for line in lines) == 1
    write_comparison({"one": found}, tmp_path / "comparison.html")
    assert "succeeds<small>last episode, at its end" in (tmp_path / "comparison.html").read_text()

"""Players of recurring situations against exact values: by hand, by dynamic programming, by going through all cases."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from agents.evaluation.play import play
from agents.reference import barcode_bayes, two_step_bayes
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of


def returns(player, family, settings, tasks, memory="trial", **context):
    """[visits] mean return of a visit, and its standard error."""
    family = build_family(family, settings)
    episodes = family.config.situations * family.config.visits
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate({"name": player, "memory": memory}), problem)
    rng = np.random.default_rng(1)
    name = next(name for name, knob in family.context_space.knobs.items() if knob.shape)
    knob = family.context_space.knobs[name]
    drawn = rng.integers(0, int(knob.high) + 1, (tasks, *knob.shape)).tolist()
    specs = [family.spec({name: row, **context}, seed=seed) for seed, row in enumerate(drawn)]
    found = np.asarray(play(agent, family, specs, episodes)).reshape(episodes, tasks)
    rounds = found.reshape(family.config.visits, family.config.situations, tasks).mean(1)
    return rounds.mean(1), rounds.std(1, ddof=1) / tasks**0.5


def test_what_visits_are_worth_to_one_who_remembers():
    """The anchors of ten arms, one at .9 and the rest at .1, ten pulls a visit."""
    expected = barcode_bayes.expected_returns(10, 10, 5)
    assert expected == pytest.approx([4.4364, 8.1473, 8.8309, 8.9679, 8.9939], abs=1e-4)
    found, error = returns("barcode-bayes", "barcode-bandit", {"situations": 4}, 300)
    assert (np.abs(found - expected) < 4 * error).all()
    found, error = returns("barcode-bayes", "barcode-bandit", {"situations": 4, "visits": 2}, 300, "episode")
    assert (np.abs(found - expected[0]) < 4 * error).all()


@lru_cache
def most(counts: tuple[tuple[int, int], ...], left: int, good: float, bad: float) -> float:
    """What the best player can expect of `left` pulls after `counts` of arms, by dynamic programming."""
    if not left:
        return 0.0
    weight = [(good / bad) ** wins * ((1 - good) / (1 - bad)) ** losses for wins, losses in counts]
    values = []
    for arm, (wins, losses) in enumerate(counts):
        share = weight[arm] / sum(weight)
        success = share * good + (1 - share) * bad
        rest = [
            most(tuple(sorted((*counts[:arm], new, *counts[arm + 1 :]))), left - 1, good, bad)
            for new in ((wins + 1, losses), (wins, losses + 1))
        ]
        values.append(success * (1 + rest[0]) + (1 - success) * rest[1])
    return max(values)


@pytest.mark.parametrize(("arms", "pulls", "good", "bad"), [(3, 5, 0.9, 0.1), (2, 6, 0.6, 0.3), (4, 1, 0.7, 0.2)])
def test_nothing_is_better_than_the_likeliest_arm(arms, pulls, good, bad):
    best = most(((0, 0),) * arms, pulls, good, bad)
    assert barcode_bayes.expected_returns(arms, pulls, 1, good, bad) == pytest.approx([best])
    (found,), (error,) = returns(
        "barcode-bayes",
        "barcode-bandit",
        {"situations": 4, "visits": 1, "arms": arms, "pulls": pulls},
        500,
        good=good,
        bad=bad,
    )
    assert abs(found - best) < 4 * error


@pytest.mark.parametrize(("memory", "second"), [("trial", 4.0), ("episode", None)])
def test_a_choice_that_was_seen_is_right_at_once(memory, second):
    """Three choices, four steps: found at the first, second, third try with 1/3 each, so 4/3 + 3/3 + 2/3 of 4."""
    settings = {"situations": 4, "choices": 3, "steps": 4}
    found, error = returns("barcode-bayes", "re-seen-choice", settings, 300, memory)
    assert abs(found[0] - 3.0) < 4 * error[0]
    assert found[1] == second if second else abs(found[1] - 3.0) < 4 * error[1]


def test_what_a_second_decision_is_worth():
    """.5 at first; then it is .9 that the one that paid is the better state, or the one that did not is not."""
    expected = two_step_bayes.expected_returns(4)
    right, wrong = 0.9 * 0.9 + 0.1 * 0.1, 0.9 * 0.1 + 0.1 * 0.9
    second = 0.9 * right + 0.1 * wrong
    agree = 0.9**2 + 0.1**2  # both decisions say the same: 81 to 1; or they cancel
    third = agree * (81 / 82 * right + 1 / 82 * wrong) + (1 - agree) * 0.5
    assert expected[:3] == pytest.approx([0.5, second, third])
    assert two_step_bayes.expected_returns(30)[-1] == pytest.approx(right, abs=0.01)
    found, error = returns("two-step-bayes", "two-step", {"situations": 5, "visits": 4}, 1500)
    assert (np.abs(found - expected) < 4 * error).all()
    found, error = returns("two-step-bayes", "two-step", {"situations": 5, "visits": 2}, 1500, "episode")
    assert (np.abs(found - 0.5) < 4 * error).all()


def test_two_steps_with_other_numbers():
    numbers = {"common": 0.7, "good": 0.6, "bad": 0.3}
    found, error = returns("two-step-bayes", "two-step", {"situations": 5, "visits": 3}, 3000, **numbers)
    assert (np.abs(found - two_step_bayes.expected_returns(3, **numbers)) < 4 * error).all()


@pytest.mark.parametrize(("reversal", "common"), [(0.1, 0.8), (0.9, 1.0)])
def test_a_row_of_decisions_is_filtered(reversal, common):
    """Against the value of the filter by running through all that may happen, of an episode of four decisions."""
    states, expected = {0.5: 1.0}, 0.0  # probability that state 1 is better
    for _ in range(4):
        following = {}
        for better, share in states.items():
            choice = int(better > 0.5)
            for state, chance in ((choice, common), (1 - choice, 1 - common)):
                here = better if state else 1 - better
                success = here * 0.9 + (1 - here) * 0.1
                expected += share * chance * success
                for pay, outcome in ((0.9, success), (0.1, 1 - success)):
                    if not chance * outcome:
                        continue
                    posterior = here * pay / (here * pay + (1 - here) * (1 - pay))
                    posterior = posterior if state else 1 - posterior
                    after = round(posterior * (1 - reversal) + (1 - posterior) * reversal, 9)
                    following[after] = following.get(after, 0.0) + share * chance * outcome
        states = following
    family = build_family("two-step", {"form": "incremental", "decisions": 4})
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part(name="two-step-bayes"), problem)
    specs = [family.spec({"reversal": reversal, "common": common}, seed=seed) for seed in range(4000)]
    found = np.asarray(play(agent, family, specs, 2)).reshape(2, -1)
    error = found.std(1) / 4000**0.5
    assert (np.abs(found.mean(1) - expected) < 4 * error).all()


def test_a_better_state_that_never_changes_or_always_does():
    """p after the chance of a reversal, by hand; with odds as long as they get nothing is infinite."""
    odds = torch.tensor([[1.0, -2.0, 40.0, -40.0]])
    for reversal in (0.0, 0.025, 0.5, 1.0):
        found = two_step_bayes._after_reversal(odds, torch.tensor([[reversal]]))
        p = odds.double().sigmoid()
        expected = (p * (1 - reversal) + (1 - p) * reversal).logit()
        assert found.isfinite().all()
        torch.testing.assert_close(found[:, :2], expected[:, :2].float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(two_step_bayes._after_reversal(odds, torch.tensor([[0.0]])), odds)
    torch.testing.assert_close(two_step_bayes._after_reversal(odds, torch.tensor([[1.0]])), -odds)

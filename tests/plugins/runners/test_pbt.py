"""PBT on scripted scores, and on a tiny population."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from agents.training.tree import flatten, restore
from plugins.runners.pbt import Pbt, PbtConfig, Reach, Return
from plugins.runners.work import Practised
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.build import build_family
from taskgen.maps import Failed
from taskgen.runner import Assignment, Runner
from taskgen.streams import seed_sequence

FAMILY = build_family("cartpole", {"horizon": 10})
AGENT = {"name": "ppo", "context": "none", "hidden": [4], "epochs": 1, "minibatches": 1}
RATE = {"low": 0.01, "high": 0.1, "logarithmic": True}


def make(
    agent: Any = AGENT, family: Any = FAMILY, episodes: int = 2, source: str = "domain-randomization", **settings: Any
) -> Pbt:
    assignment = Assignment(
        family=family,
        source=Part(name=source),
        agent=Part.model_validate(agent),
        iterations=10,
        tasks=2,
        episodes=episodes,
        seed=seed_sequence(0, "runner"),
        device=torch.device("cpu"),
    )
    quick = {"population": 5, "ready_every": 2, "judged_tasks": 2, "explore": {"learning_rate": RATE}}
    return Pbt(PbtConfig.model_validate({**quick, **settings}), assignment=assignment)


def test_curricula_that_are_told_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="the runner pbt does not say how tasks went, and plr decides by that"):
        make(source="plr")


def scored(pbt: Pbt, *scores: float) -> Pbt:
    for member, score in zip(pbt.members, scores, strict=True):
        member.fitness = Return((score,))
    return pbt


def test_the_worst_take_over_from_the_best_and_explore() -> None:
    pbt = scored(make(share=0.4, redrawn=0.0), 3.0, 5.0, 1.0, 4.0, 2.0)
    before = [dict(member.settings) for member in pbt.members]
    weights = [member.state["model"]["actor.0.weight"] for member in pbt.members]
    pbt._exploit()
    for place, member in enumerate(pbt.members):
        weight = member.state["model"]["actor.0.weight"]
        if place in (2, 4):
            origin = next(best for best in (1, 3) if torch.equal(weight, weights[best]))
            ratio = member.settings["learning_rate"] / before[origin]["learning_rate"]
            assert (
                ratio == pytest.approx(0.8)
                or ratio == pytest.approx(1.2)
                or member.settings["learning_rate"] in (0.01, 0.1)
            )
        else:
            assert torch.equal(weight, weights[place])
            assert member.settings == before[place]


def test_of_equals_no_member_is_both_best_and_worst() -> None:
    pbt = scored(make(share=0.4), *[0.0] * 5)
    before = [member.state for member in pbt.members]
    pbt._exploit()
    assert [member.state is state for member, state in zip(pbt.members, before, strict=True)] == [True] * 3 + [
        False
    ] * 2


def test_settings_stay_within_reach_and_are_drawn_anew() -> None:
    pbt = make(redrawn=1.0, explore={"learning_rate": RATE, "entropy": {"low": 0.0, "high": 0.5}})
    rng = pbt._rng("test")
    drawn = [pbt._explored({"learning_rate": 0.05, "entropy": 0.1}, rng) for _ in range(50)]
    assert len({one["entropy"] for one in drawn}) == 50
    assert all(0.01 <= one["learning_rate"] <= 0.1 and 0.0 <= one["entropy"] <= 0.5 for one in drawn)
    still = make(redrawn=0.0)
    assert still._explored({"learning_rate": 0.1}, rng)["learning_rate"] in (pytest.approx(0.08), 0.1)


def test_a_member_that_fails_is_worst_and_nothing_left_is_an_error() -> None:
    pbt = make()
    states = [member.state for member in pbt.members]
    real = pbt._map
    pbt._toolbox.register("map", lambda function, work: [Failed("boom"), *real(function, work[1:])])
    metrics = pbt.iterate()
    assert pbt.members[0].fitness.values[0] == -math.inf
    assert pbt.members[0].state is states[0]
    assert metrics["pbt/failed"] == 1
    assert all(map(math.isfinite, metrics.values()))
    pbt._toolbox.register("map", lambda function, work: [Failed("boom") for _ in work])
    with pytest.raises(UserError, match="every member of the population has failed; the last: boom"):
        pbt.iterate()


@pytest.mark.parametrize("agent", [AGENT, {"name": "es", "hidden": [4]}])
def test_resuming_is_identical_and_the_best_is_who_is_judged(agent: Any) -> None:
    whole, cut, resumed = make(agent), make(agent), make(agent)
    for _ in range(4):
        whole.iterate()
    for _ in range(2):
        cut.iterate()
    resumed.load_state_dict(restore(*flatten(cut.state_dict())))
    for _ in range(2):
        resumed.iterate()
    (mine, tensors), (other, others) = flatten(resumed.state_dict()), flatten(whole.state_dict())
    assert mine == other
    assert all(torch.equal(tensors[name], others[name]) for name in others)
    assert isinstance(whole, Runner)
    assert whole.agent is not None
    assert len(list(whole.records())) == 2


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"explore.learning_rat: ppo has no such setting. Did you mean 'learning_rate'"
    ):
        make(explore={"learning_rat": RATE})
    with pytest.raises(ConfigError, match="discount"):
        make(explore={"discount": {"low": 0.5, "high": 2.0}})
    for wrong in ({"low": 1.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "logarithmic": True}):
        with pytest.raises(ValueError, match="must be below"):
            Reach.model_validate(wrong)


POINTS = build_family("point-navigation", {"horizon": 10})
MAML = {"name": "maml", "hidden": [4], "trajectories": 5, "conjugate_steps": 2}


def of_inner_rates(**settings: Any) -> Pbt:
    """Three members that are alike but for their inner steps, a long one, one as usual and one that does nothing."""
    reach = {"inner_rate": {"low": 0.01, "high": 10.0, "logarithmic": True}}
    pbt = make(MAML, POINTS, episodes=10, population=3, explore=reach, ready_every=9, **settings)
    for member, rate in zip(pbt.members, (10.0, 0.1, 0.01), strict=True):
        member.settings, member.state = {"inner_rate": rate}, pbt.members[0].state
    return pbt


def test_members_are_selected_by_what_they_earn_once_they_have_adapted() -> None:
    pbt = of_inner_rates()
    metrics = pbt.iterate()
    scores = [member.fitness.values[0] for member in pbt.members]
    assert len(set(scores)) == 3
    best = pbt.members[scores.index(max(scores))]
    assert metrics["meta/trial_return"] == max(scores)
    assert metrics["pbt/inner_rate"] == best.settings["inner_rate"]
    assert pbt.agent.config.inner_rate == best.settings["inner_rate"]  # type: ignore[attr-defined]


def test_who_is_judged_has_the_settings_of_the_best_also_once_resumed() -> None:
    pbt = of_inner_rates()
    for wanted in range(3):
        fixed = {0: -math.inf, 1: -math.inf, 2: -math.inf, wanted: 1.0}
        pbt._learn = lambda fixed=fixed: len(scored(pbt, *fixed.values()).members)  # type: ignore[method-assign]
        pbt.iterate()
        rate = pbt.members[wanted].settings["inner_rate"]
        assert pbt.agent.config.inner_rate == rate  # type: ignore[attr-defined]
        state = restore(*flatten(pbt.state_dict()))
        for older in (False, True):  # older checkpoints do not say whose settings the agent has
            kept = {name: value for name, value in state.items() if not (older and name == "settings")}
            resumed = of_inner_rates()
            resumed.load_state_dict(kept)
            assert resumed.agent.config.inner_rate == rate  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("agent", "optimizers"),
    [("sac", ("critic_optimizer", "policy_optimizer")), ("promp", ("optimizer",)), ("pearl", ("critic_optimizer",))],
)
def test_explored_learning_rates_are_those_that_are_learned_with(agent: str, optimizers: tuple[str, ...]) -> None:
    small = {"trajectories": 1} if agent == "promp" else {"capacity": 50}
    pbt = scored(make({"name": agent, "hidden": [4], **small}, POINTS), 3.0, 5.0, 1.0, 4.0, 2.0)
    pbt._exploit()
    for member in pbt.members:
        state = pbt._trainee_of(member.settings).build(state=member.state).state_dict()
        for optimizer in optimizers:
            assert [group["lr"] for group in state[optimizer]["param_groups"]] == [member.settings["learning_rate"]]


@pytest.mark.parametrize("agent", [AGENT, {"name": "es", "hidden": [4]}, {"name": "reptile", "hidden": [4]}])
def test_heirs_have_random_streams_of_their_own(agent: Any) -> None:
    name = {"reptile": "outer_rate"}.get(agent["name"], "learning_rate")
    pbt = scored(make(agent, share=0.4, explore={name: RATE}), 3.0, 5.0, 1.0, 4.0, 2.0)
    pbt._exploit()
    streams = [
        member.state["generator"].numpy().tobytes() if "generator" in member.state else member.state["seed"]
        for member in pbt.members
    ]
    assert len(set(streams)) == 5


def test_schedules_fall_to_the_end_of_the_run() -> None:
    """Ten iterations of two steps: the fourth update of twenty has 17/20 of the way left, and then comes the end."""
    pbt = make({**AGENT, "final_learning_rate": 0.001}, steps=2, ready_every=99)
    for iteration in range(1, 11):
        pbt.iterate()
        if iteration in (2, 10):
            left = {2: 17 / 20, 10: 1 / 20}[iteration]
            for member in pbt.members:
                (group,) = member.state["optimizer"]["param_groups"]
                assert group["lr"] == pytest.approx(0.001 + (member.settings["learning_rate"] - 0.001) * left)


def test_what_selection_could_not_see_is_refused_before_anything_is_played() -> None:
    with pytest.raises(UserError, match=r"judged_episodes = 5: maml plays them in one round and is judged before"):
        of_inner_rates(judged_episodes=5).iterate()
    of_inner_rates(judged_episodes=15).iterate()
    with pytest.raises(ConfigError, match=r"explore.std: ppo begins with it"):
        make(explore={"std": {"low": 0.1, "high": 1.0}}).iterate()
    with pytest.raises(ConfigError, match="explore: agent.epochs = 1.0: .*integer"):
        make(explore={"epochs": {"low": 1.0, "high": 4.0}})


def test_figures_of_scripted_scores() -> None:
    """Scores are means of an episode; of trials of two they are twice that. One of five members fails."""
    pbt = make(ready_every=3)
    exploited: list[int] = []
    pbt._exploit = lambda: exploited.append(pbt._iteration)  # type: ignore[method-assign]
    scores = [1.0, 7.0, math.nan, 2.0, 4.0]
    pbt._toolbox.register(
        "map",
        lambda _, work: [
            Practised(one.state, score, 10, "" if math.isfinite(score) else "its return is nan")
            for one, score in zip(work, scores, strict=True)
        ],
    )
    metrics = [pbt.iterate() for _ in range(7)][-1]
    assert exploited == [3, 6]
    assert [member.fitness.values[0] for member in pbt.members] == [2.0, 14.0, -math.inf, 4.0, 8.0]
    assert (metrics["meta/trial_return"], metrics["charts/episodic_return"]) == (14.0, 7.0)
    assert (metrics["charts/batch_steps"], metrics["pbt/failed"], metrics["pbt/median_return"]) == (50, 1, 0.0)
    assert metrics["pbt/learning_rate"] == pbt.members[1].settings["learning_rate"]
    scores[2] = 3.0
    assert pbt.iterate()["pbt/median_return"] == 6.0  # of 2 14 6 4 8


@pytest.mark.parametrize(("share", "replaced"), [(0.2, 1), (0.3, 1), (0.4, 2), (0.01, 1)])
def test_the_share_that_is_replaced_is_rounded_down_but_for_one(share: float, replaced: int) -> None:
    pbt = scored(make(share=share, redrawn=0.0), 3.0, 5.0, 1.0, 4.0, 2.0)
    before = [member.settings for member in pbt.members]
    pbt._exploit()
    assert sum(member.settings is not old for member, old in zip(pbt.members, before, strict=True)) == replaced


def test_settings_are_drawn_evenly_or_evenly_in_their_logarithm() -> None:
    rng = np.random.default_rng(0)
    even = [Reach(low=1.0, high=100.0).draw(rng) for _ in range(2000)]
    logarithmic = np.log10([Reach(low=1.0, high=100.0, logarithmic=True).draw(rng) for _ in range(2000)])
    assert np.mean(even) == pytest.approx(50.5, abs=2.6)  # 4 standard errors of 99 / sqrt(12 * 2000)
    assert np.mean(logarithmic) == pytest.approx(1.0, abs=0.052)
    assert 1.0 <= min(even) < 2.0 < 99.0 < max(even) <= 100.0
    assert Reach(low=0.0, high=1.0).draw(rng) < 1.0  # 0 has no logarithm, and needs none


def test_a_setting_is_multiplied_by_a_factor_and_kept_within_its_reach() -> None:
    pbt = make(redrawn=0.0, factors=[3.0])
    rng = pbt._rng("test")
    assert [pbt._explored({"learning_rate": rate}, rng)["learning_rate"] for rate in (0.02, 0.05)] == [
        pytest.approx(0.06),
        0.1,
    ]

"""Scores of POET: what an agent earns, whole trials, other luck, and nobody beside it."""

import math
from typing import Any

import pytest
import torch

from plugins.runners import work
from plugins.runners.pairs import Offer
from plugins.runners.work import Examination
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.streams import integer_seed
from tests.plugins.runners.test_poet import grown, make


@pytest.mark.parametrize(
    "agent",
    [
        {"name": "es", "hidden": [4], "normalise": True},
        {"name": "ppo", "context": "none", "hidden": [4], "epochs": 1, "minibatches": 1},
        {"name": "rl2", "normalize": True, "epochs": 1, "minibatches": 1},
        {"name": "maml", "trajectories": 2, "hidden": [4], "conjugate_steps": 1},
    ],
    ids=lambda agent: agent["name"],
)
def test_an_accepted_score_is_what_the_pair_earns_afterwards(agent: dict[str, Any]) -> None:
    family = build_family("cartpole", {"horizon": 60})
    poet = make(
        family, agent=Part.model_validate(agent), episodes=4, first_tasks=3, reproduce_every=99, judged_episodes=4
    )
    grown(poet, 1)
    specs = [niche.spec for niche in poet.pairs.niches]
    source, heir = poet.pairs.niches[1:]
    heir.agent = poet.pairs.new_agent("test")
    (scores,) = poet.pairs.examine([source], {1: specs}).values()
    ((transfer, state),) = poet.pairs.best_transfers([Offer(heir.spec, heir.agent, -math.inf, {1: 1e9})])
    assert transfer is not None
    assert (transfer.source, transfer.proposal) == (1, False)
    heir.agent = state
    if agent["name"] == "es":
        assert torch.equal(state["normalizer"]["mean"], source.agent["normalizer"]["mean"])
    assert poet.pairs.examine([heir], {2: specs}) == {2: scores}
    key = "seed" if agent["name"] == "es" else "generator"
    assert not _same(heir.agent[key], source.agent[key])


def _same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_agents_that_adapt_are_judged_by_whole_trials() -> None:
    maml = Part.model_validate({"name": "maml", "trajectories": 1, "hidden": [4], "conjugate_steps": 1})
    poet = make(agent=maml, episodes=4, judged_episodes=None)
    assert poet.pairs.trainee.build().plan(poet.pairs.trainee.judged).rounds == 4
    with pytest.raises(UserError, match="judged_episodes = 1: maml plays them in one round"):
        make(agent=maml, episodes=4, judged_episodes=1).iterate()


def test_further_trials_have_luck_of_their_own() -> None:
    """Two trials on a task are those of its luck and of another; the mean of both is its score."""
    poet = make(first_tasks=2)
    first, second = (niche.spec for niche in poet.pairs.niches)
    oracle = Part(name="cartpole-oracle")
    family = build_family("cartpole", {"horizon": 200})
    specs = [family.spec({"force": 2.0, "initial_range": 0.2}, seed=spec.seed) for spec in (first, second)]

    def earned(trials: int, luck: tuple[int, ...]) -> tuple[float, ...]:
        trainee = work.Trainee(oracle, specs[0].to_json(), 1, 1, 1, trials=trials)
        state = trainee.build().state_dict()
        return work.examine(Examination(trainee, state, tuple(spec.to_json() for spec in specs), luck)).scores

    other = tuple(integer_seed(seed, "trial", 1) for seed in (5, 6))
    both = [sum(pair) / 2 for pair in zip(earned(1, (5, 6)), earned(1, other), strict=True)]
    assert earned(1, (5, 6)) != earned(1, other)
    assert earned(2, (5, 6)) == pytest.approx(both)


def test_what_stays_as_it_begins_is_said(caplog: pytest.LogCaptureFixture) -> None:
    grown(make(), 2)
    assert (
        caplog.text.count("no end of learning is planned: of agent ppo these stay as they begin: entropy, learn") == 1
    )


def test_a_score_does_not_depend_on_what_else_is_judged() -> None:
    family = build_family("cartpole", {"horizon": 200})
    specs = [family.spec({"initial_range": 0.2}, seed=seed) for seed in (1, 2, 3)]
    ppo = Part.model_validate({"name": "ppo", "context": "none", "hidden": [4]})
    trainee = work.Trainee(ppo, specs[0].to_json(), 1, 1, 1)
    state = trainee.build().state_dict()

    def earned(*which: int) -> tuple[float, ...]:
        tasks = tuple(specs[n].to_json() for n in which)
        return work.examine(Examination(trainee, state, tasks, tuple(5 + n for n in which))).scores

    assert earned(0, 1, 2) == (*earned(0), *earned(1), *earned(2))
    assert earned(2, 0) == (*earned(2), *earned(0))

"""The bipedal heuristic does what Gymnasium's own does."""

import numpy as np
import pytest
import torch
from gymnasium.envs.box2d.bipedal_walker import BipedalWalkerHeuristics

from agents.reference.bipedal_heuristic import BipedalHeuristic, BipedalHeuristicConfig
from taskgen.build import build_family
from taskgen.interaction.agent import Step
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

FAMILY = build_family("bipedal-walker")


def player():
    problem = problem_of(FAMILY, episodes=1, seed=0, device=torch.device("cpu"))
    return BipedalHeuristic(BipedalHeuristicConfig(), problem)


def played(context, seeds, **settings):
    family = build_family("bipedal-walker", settings)
    specs = [family.spec(context, seed=seed) for seed in seeds]
    return collect(player(), family.batch(len(specs)), specs, plan=player().plan(1))


def test_every_action_is_gymnasiums():
    """Along its own walks on flat and rough ground: all phases, both legs, falls."""
    steps = played({"roughness": 1.0}, range(3), horizon=400).rollout
    seen, acted, valid = steps.steps.observation, steps.action, steps.valid
    for slot in range(3):
        theirs, phases = BipedalWalkerHeuristics(), set()
        for t in range(int(valid[:, slot].sum())):
            expected = theirs.step_heuristic(seen[t, slot].numpy())
            phases.add((theirs.state, theirs.moving_leg))
            np.testing.assert_allclose(acted[t, slot].numpy(), expected, atol=1e-5)
        assert len(phases) >= 5


def test_rows_are_on_their_own_and_begin_anew_with_an_episode():
    rng = np.random.default_rng(0)
    seen = torch.from_numpy(rng.normal(0, 0.5, (40, 2, 24)).astype(np.float32))
    seen[:, :, [8, 13]] = (seen[:, :, [8, 13]] > 0).float()
    begins = torch.zeros(40, 2, dtype=torch.bool)
    begins[20, 1] = True
    one = player()
    carry, fresh, theirs = one.begin_trial(2), one.begin_trial(1), BipedalWalkerHeuristics()
    for t in range(40):
        step = _step(seen[t], begins[t])
        action, carry = one.act(carry, step)
        if t >= 20:
            alone, fresh = one.act(fresh, _step(seen[t, 1:], begins[t, 1:]))
            assert torch.equal(action.value[1:], alone.value)
        expected = theirs.step_heuristic(seen[t, 0].numpy())
        np.testing.assert_allclose(action.value[0].numpy(), expected, atol=1e-5)


def _step(observation, begins):
    nothing = torch.zeros(len(observation))
    return Step(
        observation=observation,
        previous_action=torch.zeros(len(observation), 4),
        previous_reward=nothing,
        episode_start=begins,
        trial_start=begins,
        episode_index=nothing.long(),
    )


def test_it_walks_on_flat_ground():
    """Its first falls come after 40 m and 25 m and at the start; whoever stumbles at the start earns about -100."""
    assert float(played({}, range(3)).episode_returns().max()) > 100.0


def test_the_first_tall_stump_ends_its_walk():
    """It stands 4.7 m ahead, and a metre pays 4.3."""
    trial = played({"stump_height": (3.0, 3.0)}, range(3), horizon=400)
    assert float(trial.episode_returns().max()) < 4.7 * 130 / 30


@pytest.mark.parametrize("name", ["terrain-walker", "bandit"])
def test_other_families_refuse_it(name):
    import registry

    catalogue = registry.catalogue()
    items = [catalogue.get("agents", "bipedal-heuristic"), catalogue.get("families", name)]
    assert catalogue.incompatibilities(items)

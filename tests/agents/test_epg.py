"""Evolved policy gradients: who learns by which loss, inner steps, what counts, updates by hand, lives that diverge."""

import math
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.common.distributions import DiagonalGaussian, Mixed, MultiCategorical
from agents.common.evolution import centred_ranks
from agents.common.learned_loss import LossNetwork
from agents.epg import CENTRE, FIRST, PPO, Outcome
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

SMALL = {
    "hidden": [4],
    "trajectories": 2,
    "channels": [3, 3],
    "context_width": 3,
    "loss_width": 3,
    "memory": 2,
    "pairs": 2,
}
ROUNDS, TASKS = 3, 2
MEMBERS = 6


def made(family="point-navigation", name="epg", seed=1, horizon=6, **settings):
    tasks = build_family(family, {"horizon": horizon})
    problem = problem_of(tasks, episodes=2 * ROUNDS, seed=seed, device=torch.device("cpu"))
    small = SMALL if name == "epg" else {key: SMALL[key] for key in ("hidden", "trajectories")}
    return build_agent(Part.model_validate({"name": name, **small, **settings}), problem), tasks


def lived(agent, family, tasks=TASKS, seed=0, alike=True):
    """A turn of all members on each of some tasks, with the same luck."""
    specs = [family.spec(seed=seed + task) for task in range(tasks) for _ in range(MEMBERS)]
    plan = agent.plan(2 * ROUNDS)
    seeds = [spec.seed if alike else place for place, spec in enumerate(specs)]
    return collect(agent, family.batch(len(specs) * plan.slots), specs, plan=plan, seeds=seeds)


def round_of(agent, family, lives):
    """Lives that begin, and their first round."""
    plan = agent.plan(2)
    carry = agent.begin_trial(lives)
    state = agent.generator.get_state()
    agent.begin_trial, begin = (lambda batch: carry), agent.begin_trial
    try:
        rollout = collect(
            agent, family.batch(lives * 2), [family.spec(seed=i) for i in range(lives)], plan=plan
        ).rounds[0]
    finally:
        agent.begin_trial = begin
    agent.generator.set_state(state)
    return carry, rollout


def test_trials_take_turns_at_the_members_and_begin_a_turn_alike():
    agent, _ = made()
    life = agent.begin_trial(2 * MEMBERS + 1)
    assert life.member.tolist() == [*range(MEMBERS), *range(MEMBERS), 0]
    first, second, third = life.parameters[:MEMBERS], life.parameters[MEMBERS:-1], life.parameters[-1]
    assert (first == first[0]).all()
    assert (second == second[0]).all()
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(second[0], third)
    assert not life.parameters[:, -2:].any()  # the memory begins empty


def test_losses_are_antithetic_and_twice_the_one_that_evolves():
    agent, _ = made(noise=0.25)
    losses, eps = agent.losses(), agent.perturbations()
    assert losses.shape == (MEMBERS, len(agent.weights))
    assert torch.equal(losses[CENTRE], agent.weights)
    assert torch.equal(losses[PPO], agent.weights)
    torch.testing.assert_close(losses[FIRST::2] - agent.weights, 0.25 * eps)
    torch.testing.assert_close(losses[FIRST + 1 :: 2] - agent.weights, -0.25 * eps)


@pytest.mark.parametrize("family", ["point-navigation", "grid-navigation"])
def test_an_inner_step_is_down_the_slope_of_the_loss(family):
    """By finite differences in every parameter of policy and memory, for continuous and discrete actions."""
    agent, tasks = made(family, guided=0, steps=1, inner_rate=1e-3, inner_norm=1e9)
    agent.weights.mul_(3.0)  # so that slopes are well above rounding
    agent = judged(agent)
    carry, rollout = round_of(agent, tasks, 2)
    rollout.reward.copy_(torch.linspace(-1, 2, rollout.reward.numel()).view_as(rollout.reward).sin())
    after = agent.adapt(carry, rollout)
    assert not after.diverged.any()
    wide, steps = after.lived.double(), _standard(after.lived.double(), tasks.observation_space.shape[0])
    by = agent.losses()[carry.member].double()

    def loss(parameters):
        return agent.loss(by, agent._told(parameters, wide, steps), wide[:, :, -6:, -1])

    start, step = carry.parameters.double(), 1e-5
    slope = torch.zeros_like(start)
    for place in range(start.shape[1]):
        away = torch.zeros_like(start)
        away[:, place] = step
        slope[:, place] = (loss(start + away) - loss(start - away)) / (2 * step)
    assert (slope[:, -2:].abs().amax(0) > 1e-6).all()  # the memory has a slope too
    moved = (after.parameters.double() - start) / -1e-3
    torch.testing.assert_close(moved, slope, rtol=0.02, atol=2e-4)


def _standard(lived, seen):
    """Observations and rewards by mean and standard deviation of what is remembered, written out."""
    standard = lived.clone()
    for life, rows in enumerate(lived):
        on = rows[..., -1] > 0
        for entry in (*range(seen), -3):
            values = rows[..., entry][on]
            spread = values.std(correction=0)
            standard[life, ..., entry][on] = (values - values.mean()) / spread if spread > 1e-4 else 0.0
    return standard


def test_equal_rewards_tell_the_loss_nothing():
    agent, family = made()
    carry, rollout = round_of(agent, family, 2)
    rollout.reward.fill_(3.3)
    found = agent.adapt(carry, rollout)
    assert found.parameters.isfinite().all()
    rollout.reward.fill_(-700.1)
    assert torch.equal(agent.adapt(carry, rollout).parameters[CENTRE], found.parameters[CENTRE])


def test_the_loss_reads_rewards_of_any_currency_alike():
    agent, family = made()
    carry, rollout = round_of(agent, family, 1)
    found = agent.adapt(carry, rollout).parameters
    rollout.reward.mul_(50.0).add_(7.0)
    torch.testing.assert_close(agent.adapt(carry, rollout).parameters, found, rtol=1e-3, atol=1e-4)


def test_the_second_member_is_ppo_and_all_are_while_they_are_guided():
    agent, family = made(guided=4)
    other, _ = made(name="ppo-from-scratch")
    carry, rollout = round_of(agent, family, MEMBERS)
    policy = carry.parameters[:, : agent.policy.size]
    found = agent.adapt(carry, rollout).parameters[:, : agent.policy.size]
    expected = other.adapt(policy, rollout)
    torch.testing.assert_close(found[PPO:], expected[PPO:])
    assert not torch.allclose(found[CENTRE], expected[CENTRE], atol=1e-3)
    agent.updates = 4
    later = agent.adapt(carry, rollout).parameters[:, : agent.policy.size]
    torch.testing.assert_close(later[PPO], expected[PPO])
    torch.testing.assert_close(later[CENTRE], found[CENTRE])
    assert not torch.allclose(later[FIRST], expected[FIRST], atol=1e-3)


def test_guidance_falls_in_a_straight_line():
    agent, _ = made(guided=4)
    seen = []
    for update in (0, 1, 2, 3, 4, 5):
        agent.updates = update
        seen.append(agent.guidance)
    assert seen == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert made(guided=0)[0].guidance == 0.0


def test_half_guided_is_down_the_mean_of_both_slopes():
    agent, family = made(guided=4, steps=1, inner_norm=1e9)
    carry, rollout = round_of(agent, family, MEMBERS)
    moved = {}
    for update in (0, 2, 4):
        agent.updates = update
        agent._all = torch.zeros(MEMBERS, len(agent.weights)) + agent.weights  # the same loss each time
        moved[update] = agent.adapt(carry, rollout).parameters[FIRST:] - carry.parameters[FIRST:]
    torch.testing.assert_close(moved[2], (moved[0] + moved[4]) / 2, rtol=1e-3, atol=1e-6)


def test_the_loss_reads_policies_of_numbers_and_choices():
    """Means and log standard deviations in units of half the range, then the log-probabilities of each choice."""
    numbers = gym.spaces.Box(np.float32(2.0), np.float32(10.0), (1,))
    space = gym.spaces.Tuple((numbers, gym.spaces.MultiDiscrete([2, 3])))
    family = build_family("point-navigation", {"horizon": 6})
    problem = replace(problem_of(family, episodes=6, seed=0, device=torch.device("cpu")), action_space=space)
    agent = build_agent(Part.model_validate({"name": "epg", **SMALL}), problem)
    choices = MultiCategorical(torch.tensor([[[0.0, 0.0, 0.0, 0.0, 50.0]]]), [2, 3])
    policy = Mixed(DiagonalGaussian(torch.tensor([[[8.0]]]), torch.tensor([[[4.0]]]).log()), choices)
    told = torch.cat(agent._outputs(policy), dim=-1)[0, 0]
    half = -math.log(2)
    torch.testing.assert_close(told, torch.tensor([0.5, 0.0, half, half, -50.0, -50.0, 0.0]))
    assert agent.loss.size == LossNetwork(2 + 6 + 3 + 7 + 2, (3, 3), 3, 3).size


def test_what_was_longest_ago_is_forgotten():
    agent, family = made(remembered=2)
    carry, rollout = round_of(agent, family, 1)
    one = agent.adapt(carry, rollout)
    assert not one.lived[:, :, :6].any()
    two = agent.adapt(one, rollout)
    assert torch.equal(two.lived[:, :, :6], one.lived[:, :, 6:])
    assert torch.equal(two.lived[:, :, 6:], one.lived[:, :, 6:])
    torch.testing.assert_close(one.lived[0, :, 6:, -3], rollout.reward.T)


def test_what_came_of_lives():
    agent, family = made(counted=2)
    trial = lived(agent, family)
    for number, rollout in enumerate(trial.rounds):
        rollout.reward.zero_()
        rollout.reward[0] = torch.arange(24.0) * 10.0**number
    trial.rounds[-1].record["diverged"][:, 2] = trial.rounds[-1].record["diverged"][:, 3] = True  # the second life
    trial.rounds[1].reward[1, 4] = math.nan  # the third
    trial.rounds[0].reward[1, 6], trial.rounds[1].reward[1, 6], trial.rounds[2].reward[1, 6] = (
        math.inf,
        math.nan,
        math.nan,
    )
    outcome = agent.outcome(trial)
    assert outcome.member.tolist() == [*range(MEMBERS)] * 2
    # a life's episodes have places 2 i and 2 i + 1: 10^r (2 i + 0.5) an episode
    assert outcome.score[0] == pytest.approx(0.5 * (10 + 100) / 2)
    assert outcome.earned[5] == pytest.approx(2 * 10.5 * 111)
    assert outcome.score[1] == pytest.approx(2.5)  # its worst
    assert outcome.score[2] == pytest.approx(4.5)  # its worst that is finite
    assert outcome.score[3] == -math.inf
    assert outcome.failed.tolist() == [False, True, True, True, *[False] * 8]


def outcome_of(score, member=None):
    score = torch.tensor(score, dtype=torch.float64)
    member = torch.arange(len(score)) % MEMBERS if member is None else torch.tensor(member)
    return Outcome(member, score, score, torch.zeros(len(score), dtype=torch.bool))


def test_one_update_by_hand():
    """Adam's first step is the learning rate times the sign of the slope; ranks are of means over a member's lives."""
    agent, _ = made(l2=0.5, learning_rate=0.03)
    eps, start, sigma = agent.perturbations(), agent.weights, agent.noise
    metrics = agent.evolve(outcome_of([9, 5, 1, 4, 6, 2, 7, 6, 9, 0, 2, 2]))
    # means of the pairs: 5, 2, 4, 2: ranks 0.5, -1/3, 1/6, -1/3
    gradient = ((0.5 + 1 / 3) * eps[0] + (1 / 6 + 1 / 3) * eps[1]) / (2 * sigma)
    slope = 0.5 * start - gradient
    torch.testing.assert_close(agent.weights, start - 0.03 * slope.sign(), atol=1e-5, rtol=1e-4)
    assert metrics["losses/gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-4)
    assert (metrics["epg/loss_return"], metrics["epg/ppo_return"], metrics["epg/lead"]) == (8.0, 5.5, 2.5)
    assert metrics["epg/updates_ahead"] == 1.0


def test_the_lead_is_a_mean_that_forgets():
    agent, _ = made()
    found = [agent.evolve(outcome_of([own, 2.0, 0, 0, 0, 0])) for own in (1.0, 3.0, 20.0)]
    assert [metrics["epg/lead"] for metrics in found] == pytest.approx([-1.0, -0.8, 1.08])
    assert [metrics["epg/updates_ahead"] for metrics in found] == [0.0, 0.0, 1.0]


def test_a_pair_of_which_one_did_not_live_has_no_say():
    agent, _ = made(l2=0.0)
    eps, start = agent.perturbations(), agent.weights
    metrics = agent.evolve(outcome_of([1.0, 1.0, 3.0, 8.0, 4.0], [0, 1, 4, 2, 5]))
    assert metrics["epg/pairs"] == 1
    torch.testing.assert_close(agent.weights, start + 0.02 * (-eps[1]).sign(), atol=1e-5, rtol=1e-4)
    agent, _ = made()
    metrics = agent.evolve(outcome_of([3.0], [4]))
    assert metrics["epg/pairs"] == 0
    assert "epg/lead" not in metrics
    assert torch.equal(agent.weights, made()[0].weights)


def test_updates_without_a_pair_do_not_shorten_the_steps_after_them():
    """Adam's first step is the learning rate times the sign of the slope however late it comes, its second by hand."""
    agent, _ = made(l2=0.0, learning_rate_decay=1.0, noise_decay=1.0)
    for _ in range(4):
        agent.evolve(outcome_of([1.0, 1.0, 3.0]))
    assert agent.updates == 4
    first = agent.weights
    one = _slope(agent)
    agent.evolve(outcome_of([1, 1, 3, 8, 4, 2]))
    second = agent.weights
    torch.testing.assert_close(second, first - 0.02 * one.sign(), atol=1e-6, rtol=1e-4)
    agent.evolve(outcome_of([1.0, 1.0, 3.0]))
    restored, _ = made(seed=9, l2=0.0, learning_rate_decay=1.0, noise_decay=1.0)
    restored.load_state_dict(pickle.loads(pickle.dumps(agent.state_dict())))
    two = _slope(restored)
    restored.evolve(outcome_of([1, 1, 3, 8, 4, 2]))
    mean = (0.9 * 0.1 * one + 0.1 * two) / (1 - 0.9**2)
    spread = (0.999 * 0.001 * one.square() + 0.001 * two.square()) / (1 - 0.999**2)
    torch.testing.assert_close(restored.weights, second - 0.02 * mean / spread.sqrt(), atol=1e-6, rtol=1e-4)


def _slope(agent):
    """Down which the losses move by scores 3 and 8 of the first pair, 4 and 2 of the second: ranks -1/6, 1/2, ..."""
    eps = agent.perturbations()
    return -((-1 / 6 - 1 / 2) * eps[0] + (1 / 6 + 1 / 2) * eps[1]) / (2 * agent.noise)


def test_the_lead_begins_with_the_first_update_that_compares():
    agent, _ = made()
    assert "epg/lead" not in agent.evolve(outcome_of([3.0]))
    found = [agent.evolve(outcome_of([own, 2.0, 0, 0, 0, 0])) for own in (1.0, 3.0)]
    assert [metrics["epg/lead"] for metrics in found] == pytest.approx([-1.0, -0.8])


def test_batches_in_which_no_pair_ever_lives_are_refused_by_name():
    agent, _ = made()
    for _ in range(9):
        agent.evolve(outcome_of([1.0, 1.0, 3.0]))
    agent.evolve(outcome_of([1.0, 1.0, 3.0, 4.0]))
    for _ in range(9):
        agent.evolve(outcome_of([1.0, 1.0, 3.0]))
    with pytest.raises(UserError, match="set training.tasks to 6 or a multiple of it, or use the runner epg"):
        agent.evolve(outcome_of([1.0, 1.0, 3.0]))


def test_members_of_no_finite_return_are_the_worst():
    updated = []
    for worst in (-math.inf, -1e9):
        agent, _ = made()
        metrics = agent.evolve(outcome_of([0, 0, 1, worst, 3, 2]))
        assert all(math.isfinite(value) for value in metrics.values())
        updated.append(agent.weights)
    assert torch.equal(*updated)


def test_lives_that_diverge_are_counted_and_hurt_nobody():
    agent, family = made()
    clean = agent.outcome(lived(agent, family))
    agent, _ = made()
    agent.losses()[3] = math.nan
    trial = lived(agent, family)
    outcome = agent.outcome(trial)
    assert outcome.failed.tolist() == [False, False, False, True, False, False] * 2
    assert torch.equal(outcome.score[clean.member != 3], clean.score[clean.member != 3])
    returns = trial.episode_returns().view(ROUNDS, 2, -1).mean(1).double()
    torch.testing.assert_close(outcome.score[3], returns[:, 3].min())
    assert all(rollout.action.isfinite().all() for rollout in trial.rounds)
    assert agent.evolve(outcome)["epg/diverged"] == 2
    assert agent.weights.isfinite().all()


def test_when_it_is_judged_every_life_is_new_and_learns_by_the_loss_itself():
    agent, family = made()
    player = judged(agent)
    stream = agent.generator.get_state()
    life = player.begin_trial(3)
    player.reseed(4)
    assert torch.equal(agent.generator.get_state(), stream)
    assert life.member.tolist() == [CENTRE] * 3
    assert not torch.equal(life.parameters[0], life.parameters[1])
    agent.generator.manual_seed(5)
    carry, rollout = round_of(agent, family, MEMBERS)
    torch.testing.assert_close(
        player.adapt(carry._replace(member=torch.zeros_like(carry.member)), rollout).parameters[CENTRE],
        agent.adapt(carry, rollout).parameters[CENTRE],
    )
    assert agent.trains


def test_rates_decay_to_their_least():
    agent, _ = made(noise=1.0, noise_decay=0.1, least_noise=0.05, learning_rate=0.1, learning_rate_decay=0.5)
    seen = []
    for update in range(3):
        agent.updates = update
        seen.append((agent.noise, agent.learning_rate))
    assert seen == [(1.0, 0.1), (pytest.approx(0.1), 0.05), (0.05, 0.025)]


def test_a_restored_agent_goes_on_identically():
    agent, family = made()
    agent.learn(lived(agent, family))
    restored, _ = made(seed=9)
    restored.load_state_dict(pickle.loads(pickle.dumps(agent.state_dict())))
    for turn in range(2):
        one, other = (lived(player, family, seed=turn) for player in (agent, restored))
        assert torch.equal(one.rollout.action, other.rollout.action)
        assert agent.learn(one) == restored.learn(other)
    assert torch.equal(agent.weights, restored.weights)
    with pytest.raises(ValueError, match="weights for a loss of"):
        made(context_width=4)[0].load_state_dict(agent.state_dict())
    earlier = {name: value for name, value in agent.state_dict().items() if name != "steps"}
    with pytest.raises(ValueError, match="did not read the newest steps; train it anew"):
        restored.load_state_dict(earlier)


def test_ranks_are_of_members_not_of_lives():
    """Two lives of a member count by their mean: one update by lives in any order is the same."""
    scores = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    one, other = (made()[0] for _ in range(2))
    one.evolve(outcome_of(scores.tolist()))
    other.evolve(outcome_of(scores[order].tolist(), (order % MEMBERS).tolist()))
    torch.testing.assert_close(one.weights, other.weights)
    assert centred_ranks(scores[:, None]).max() == 0.5

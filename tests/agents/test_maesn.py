"""MAESN: the latent's inner step against finite differences, whose latents are whose, and the prior that is judged."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from agents.common.inner_loop import policy_gradient_loss
from agents.maesn import MAESN, MAESNConfig, natural_gradient
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

SMALL = {"hidden": (6,), "trajectories": 3, "tasks": 4, "activation": "tanh", "inner_norm": 1e6}
GOALS = ((0.3, 0.3), (-0.4, 0.1), (0.1, -0.5))


def made(goals=GOALS, **settings):
    torch.manual_seed(0)
    family = build_family("point-navigation", {"horizon": 5})
    problem = problem_of(family, episodes=6, seed=1, device=torch.device("cpu"))
    agent = MAESN(MAESNConfig(**{**SMALL, **settings}), problem)
    return agent, family, [family.spec({"goal": goal}, seed=seed) for seed, goal in enumerate(goals)]


def play(agent, family, specs, episodes=6):
    plan = agent.plan(episodes)
    return collect(agent, family.batch(len(specs) * plan.slots), specs, plan=plan)


def numbered(agent, trial):
    """The agent with latents of the tasks' own, which it has met."""
    descriptor = trial.rounds[0].descriptor.view(len(trial.specs), trial.plan.slots, -1)[:, 0]
    agent._numbers.enter(descriptor)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        agent.latents.copy_(0.5 * torch.randn(agent.latents.shape, generator=generator))
    return agent._numbers(descriptor)


def doubled(agent):
    """The agent in double precision, as differences need it."""
    for name in ("weights", "latents", "log_steps"):
        setattr(agent, name, torch.nn.Parameter(getattr(agent, name).detach().double()))
    return agent


def differences(value, at, step=1e-6):
    """Central differences of the scalar `value` of the vector `at`."""
    found = torch.zeros_like(at)
    for i in range(at.numel()):
        ends = []
        for sign in (1, -1):
            moved = at.clone()
            moved.view(-1)[i] += sign * step
            ends.append(value(moved))
        found.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("adapt_policy", [False, True])
def test_the_pathwise_inner_step_is_the_gradient_of_its_surrogate(adapt_policy):
    agent, family, specs = made(
        latent_gradient="pathwise", step_size=0.7, policy_step_size=0.2, adapt_policy=adapt_policy
    )
    trial = play(agent, family, specs)
    played = doubled(agent).round(trial.rounds[0], 3)
    fast = agent._begun(0.3 * torch.randn(3, 4, dtype=torch.float64)).detach()

    def surrogate(task, latent):
        moved = fast.clone()
        moved[task, :4] = latent
        seen = agent._seen(moved, played)
        return policy_gradient_loss(agent.policy, agent._parameters(moved), seen, 0.0)[task].detach()

    stepped = agent.inner_step(fast, played)
    for task in range(3):
        # Likelihood ratios to what played are one where differences are taken from: the surrogate's slope is there.
        played = played._replace(data=replace(played.data, log_prob=agent._log_prob(fast, played).detach()))
        slope = differences(lambda latent, task=task: surrogate(task, latent), fast[task, :4])
        torch.testing.assert_close(stepped[task, :4], fast[task, :4] - 0.7 * slope, atol=1e-6, rtol=1e-5)
    moved = (stepped - fast)[:, 4:]
    assert moved.shape[1] == (agent.policy.size if adapt_policy else 0)
    assert moved.abs().sum() > 0 or not adapt_policy


def test_the_natural_gradient_is_that_of_the_likelihood_ratio_through_the_inverse_fisher_information():
    """Two dimensions, three draws: differences of -mean log N(z; mean, std^2) gain, times std^2 and 1/2."""
    torch.manual_seed(1)
    latents = torch.tensor([[0.4, -0.3, 0.2, -0.5]], dtype=torch.float64)
    latent, gain = torch.randn(1, 3, 2, dtype=torch.float64), torch.tensor([[1.2, 0.3, -1.5]], dtype=torch.float64)

    def surrogate(at):
        normal = torch.distributions.Normal(at[:2], at[2:].exp())
        return -(normal.log_prob(latent[0]).sum(-1) * gain[0]).mean()

    slope = differences(surrogate, latents[0])
    expected = slope * torch.cat([latents[0, 2:].exp().square(), torch.full((2,), 0.5)])
    torch.testing.assert_close(natural_gradient(latents, latent, gain)[0], expected, atol=1e-7, rtol=1e-6)


def test_where_all_episodes_earned_the_same_nothing_moves():
    """In whatever order: the mean of equal numbers may be one bit beside them."""
    agent, family, specs = made()
    rollout = play(agent, family, specs).rounds[0]
    for paid in (-0.1, -0.05, 0.3, 0.0):
        every = torch.full((5, 9), paid)
        played = agent.round(replace(rollout, reward=every, valid=torch.ones(5, 9, dtype=torch.bool)), 3)
        assert torch.equal(played.gain, torch.zeros(3, 3))


def test_latents_move_to_those_that_earned():
    """Mean 0, deviation 1, z = 2 and -1 with gains 1 and -1: mean 0 + .5 * 1.5, log deviation 0 + .5 * .5 * 1.5."""
    agent, family, specs = made(step_size=0.5, latent=1)
    played = agent.round(play(agent, family, specs[:1]).rounds[0], 1)
    played = played._replace(latent=torch.tensor([[[2.0], [-1.0]]]), gain=torch.tensor([[1.0, -1.0]]))
    moved = agent.inner_step(torch.zeros(1, 2), played)
    torch.testing.assert_close(moved, torch.tensor([[0.75, 0.375]]))


def test_an_episodes_gain_is_its_discounted_return_beside_the_others():
    agent, family, specs = made(discount=0.5)
    rollout = play(agent, family, specs).rounds[0]
    reward = torch.zeros(5, 9)
    reward[1, 0], reward[2, 1], reward[0, 2] = 4.0, 4.0, 0.0  # of the first task: 2, 1, 0
    valid = torch.ones(5, 9, dtype=torch.bool)
    played = agent.round(replace(rollout, reward=reward, valid=valid), 3)
    torch.testing.assert_close(played.gain[0], torch.tensor([1.5**0.5, 0.0, -(1.5**0.5)]))
    assert torch.equal(played.gain[1], torch.zeros(3))
    valid[1, 0] = False  # its episode was over: it earned nothing
    assert agent.round(replace(rollout, reward=reward, valid=valid), 3).gain[0].argmax() == 1


@pytest.mark.parametrize("latent_gradient", ["likelihood-ratio", "pathwise"])
def test_the_outer_gradient_reaches_latents_weights_and_step_sizes_through_the_inner_step(latent_gradient):
    agent, family, specs = made(kl_weight=0.0, latent_gradient=latent_gradient)
    trial = play(agent, family, specs)
    numbers = numbered(agent, trial).double()
    doubled(agent)
    rounds = [agent.round(rollout, 3) for rollout in trial.rounds]
    with torch.no_grad():
        chain = agent.adapted(numbers @ agent.latents, rounds)
        old = [agent._log_prob(fast, played) for fast, played in zip(chain, rounds, strict=True)]
    rounds = [played._replace(data=replace(played.data, log_prob=one)) for played, one in zip(rounds, old, strict=True)]
    with torch.enable_grad():
        loss, _, _ = agent.objective(numbers, rounds)
        gradients = torch.autograd.grad(loss, [agent.latents, agent.log_steps, agent.weights])

    for name, gradient in zip(("latents", "log_steps"), gradients, strict=False):
        kept = getattr(agent, name)

        def value(at, name=name, kept=kept):
            setattr(agent, name, torch.nn.Parameter(at.view_as(kept)))
            with torch.no_grad():
                return agent.objective(numbers, rounds)[0]

        found = differences(value, kept.detach().clone())
        setattr(agent, name, kept)
        torch.testing.assert_close(gradient, found, atol=1e-6, rtol=1e-4)
        assert gradient.abs().sum() > 0
    assert gradients[2].abs().sum() > 0


def test_a_latent_is_drawn_once_an_episode_from_the_tasks_own_distribution():
    agent, family, specs = made()
    trial = play(agent, family, specs)
    numbered(agent, trial)
    agent.latents.data[:, 2:] = math.log(1e-6)  # no spread: the latent is the mean
    seen = []
    agent.policy = Spy(agent.policy, seen)
    rollout = play(agent, family, specs, episodes=3).rounds[0]
    noise = rollout.record["noise"]
    assert torch.equal(noise, noise[:1].expand_as(noise))
    assert len(set(noise[0, :, 0].tolist())) == 9
    latent = seen[0][..., 2:]
    torch.testing.assert_close(latent, agent.latents[:3, None, :2].detach().expand(3, 3, 2), atol=1e-4, rtol=0)
    assert torch.equal(seen[4][..., 2:], latent)


class Spy:
    def __init__(self, policy, seen):
        self._policy, self._seen = policy, seen

    def __call__(self, parameters, observation):
        self._seen.append(observation.clone())
        return self._policy(parameters, observation)


def test_what_is_judged_begins_at_the_prior_and_is_told_nothing():
    agent, family, specs = made()
    numbered(agent, play(agent, family, specs))
    player = judged(agent)
    assert agent.needs_descriptor
    assert not player.needs_descriptor
    assert torch.equal(player.begin_trial(3).fast, torch.zeros(3, 4))
    one = play(player, family, specs)
    assert one.rounds[0].descriptor is None
    with torch.no_grad():
        agent.latents.add_(1.0)
    agent.reseed(4)
    first = play(judged(agent), family, specs).rounds[0].action
    with torch.no_grad():
        agent.latents.sub_(3.0)
    agent.reseed(4)
    assert torch.equal(first, play(judged(agent), family, specs).rounds[0].action)


def test_a_judge_that_shows_the_descriptor_is_refused():
    agent, family, specs = made()
    player = judged(agent)
    player.needs_descriptor = True
    trial = play(player, family, specs)
    agent.needs_descriptor = False
    with pytest.raises(UserError, match="maesn is shown the task descriptor in training"):
        agent.act(agent.begin_trial(3), first_step(trial))


def first_step(trial):
    from dataclasses import fields

    from taskgen.interaction.agent import Step

    shown = trial.rounds[0].steps
    return Step(*(value if value is None else value[0] for value in (getattr(shown, f.name) for f in fields(Step))))


def test_only_latents_adapt_by_default():
    agent, family, specs = made()
    assert agent.begin_trial(3).fast.shape == (3, 4)
    trial = play(agent, family, specs)
    carry = agent.adapt(agent.begin_trial(3), trial.rounds[0])
    assert not torch.equal(carry.fast, torch.zeros(3, 4))
    assert torch.equal(agent._parameters(carry.fast), agent.weights.expand(3, -1))


def test_learning_moves_the_latents_of_the_tasks_that_were_played_alone():
    agent, family, specs = made()
    metrics = agent.learn(play(agent, family, specs))
    assert metrics["meta/known_tasks"] == 0.0
    assert agent.latents[:3].abs().sum(1).min() > 0
    assert agent.latents[3].abs().sum() == 0
    before, steps = agent.latents.detach().clone(), agent.log_steps.detach().clone()
    metrics = agent.learn(play(agent, family, specs[:1]))
    assert metrics["meta/known_tasks"] == 1.0
    moved = (agent.latents - before).abs().sum(1) > 0
    assert moved.tolist() == [True, False, False, False]  # whatever momentum the others had
    assert not torch.equal(agent.log_steps, steps)


def test_the_divergence_from_the_prior_is_weighted():
    """With all weight on it, latents come nearer the prior."""
    agent, family, specs = made(kl_weight=1e4, learning_rate=0.05, epochs=3)
    numbered(agent, play(agent, family, specs))
    before = agent.latents[:3].detach().abs().mean()
    figures = agent.learn(play(agent, family, specs))
    assert agent.latents[:3].abs().mean() < before
    start = agent.latents[:3].detach()
    mean, log_std = start.chunk(2, -1)
    by_hand = (0.5 * ((2 * log_std).exp() + mean.square() - 1) - log_std).sum(-1).mean()
    assert figures["losses/latent_kl"] == pytest.approx(by_hand.item(), rel=1e-4)


def test_tasks_beyond_the_number_begin_at_the_prior():
    agent, family, specs = made(goals=(*GOALS, (0.2, 0.2), (0.5, 0.5)))
    agent.learn(play(agent, family, specs))
    assert agent._numbers.full
    fifth = agent._numbers(torch.tensor([[0.5, 0.5]])) @ agent.latents
    assert torch.equal(fifth, torch.zeros(1, 4))


def test_an_empty_descriptor_is_refused_by_name():
    problem = problem_of(build_family("point-navigation"), episodes=6, seed=1, device=torch.device("cpu"))
    with pytest.raises(UserError, match="builtin/point-navigation has an empty task descriptor: maesn"):
        MAESN(MAESNConfig(), replace(problem, descriptor_size=0))


def test_it_goes_on_identically_and_refuses_another_shape():
    agent, family, specs = made()
    agent.learn(play(agent, family, specs))
    other, _, _ = made()
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    assert agent.learn(play(agent, family, specs)) == other.learn(play(other, family, specs))
    with pytest.raises(RuntimeError, match="latents"):
        made(tasks=5)[0].load_state_dict(agent.state_dict())

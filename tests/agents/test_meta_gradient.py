"""Meta-gradients against finite differences on a chain, and what they come to on chains whose answer is known."""

import pytest
import torch

from agents.common.side_by_side import Played
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

SMALL = {"hidden": [3], "inner_norm": 1e9, "inner_rate": 0.7}


def made(family, settings, episodes=4, updates=0):
    problem = problem_of(family, episodes=episodes, seed=1, device=torch.device("cpu"), updates=updates)
    return build_agent(Part.model_validate({"name": "meta-gradient", **settings}), problem)


def rounds(agent, family, count, tasks=3):
    """As many rounds of tasks, in double precision, each played anew, as learned from by `tasks` lives or by one."""
    found = []
    for number in range(count):
        plan = agent.plan(4)
        specs = [family.spec(seed=10 * number + task) for task in range(tasks)]
        rollout = collect(agent, family.batch(tasks * plan.slots), specs, plan=plan).rounds[0]
        lives = 1 if agent.config.lifetime == "run" else tasks
        data = agent.played(rollout, lives)
        found.append(Played(*(column.double() if column.is_floating_point() else column for column in data)))
    return found


def set_up(family_name, settings, count):
    family = build_family(family_name, {"horizon": 6})
    agent = made(family, {**SMALL, **settings}, episodes=8)
    data = rounds(agent, family, count)
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(agent.parameters.shape, generator=generator, dtype=torch.float64) * 0.5
    eta = torch.randn(agent.eta.shape, generator=generator, dtype=torch.float64)
    agent.critic.data = torch.randn(agent.critic.shape, generator=generator, dtype=torch.float64)
    return agent, data, start.expand(len(data[0].weight), -1), eta


def differences(function, eta, step=1e-5):
    """Central differences of `function` in every element of `eta`, stacked along the last axes."""
    columns = []
    for place in range(eta.numel()):
        ahead, back = eta.clone(), eta.clone()
        ahead.view(-1)[place] += step
        back.view(-1)[place] -= step
        columns.append((function(ahead) - function(back)) / (2 * step))
    return torch.stack(columns, dim=-1).unflatten(-1, eta.shape)


FAMILIES = ["signal-noise-chain", "discounting-chain", "point-navigation"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("eta_form", ["scalar", "state"])
@pytest.mark.parametrize("updates", [1, 3])
def test_d_theta_d_eta_is_that_of_finite_differences(family, eta_form, updates):
    agent, data, start, eta = set_up(family, {"eta": eta_form, "updates": updates}, updates)
    eta.requires_grad_()
    weight = torch.linspace(-1, 1, start.shape[1], dtype=torch.float64)

    def reached(at):
        return (agent.chain(start, at, data)[-1] * weight).sum()

    (exact,) = torch.autograd.grad(reached(eta), eta)
    measured = differences(lambda at: reached(at).detach(), eta.detach())
    assert measured.abs().max() > 1e-3
    torch.testing.assert_close(exact, measured, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("lifetime", ["run", "trial"])
@pytest.mark.parametrize("critic", ["own", "shared"])
@pytest.mark.parametrize("updates", [1, 2])
def test_the_meta_gradient_is_that_of_finite_differences(lifetime, critic, updates):
    settings = {"lifetime": lifetime, "outer_critic": critic, "trajectories": 4, "outer_trace": 0.5}
    agent, data, start, eta = set_up("discounting-chain", settings, updates + 1)
    eta.requires_grad_()
    # returns and advantages of the judge are constants of its gradient: those of the theta' that is judged
    judged = agent.chain(start, eta.detach(), data[:-1])[-1].detach()
    slope = torch.autograd.grad(agent.objective(judged.requires_grad_(), data[-1]), judged)[0]
    loss = agent.objective(agent.chain(start, eta, data[:-1])[-1], data[-1])
    (exact,) = torch.autograd.grad(loss, eta)
    measured = differences(lambda at: (agent.chain(start, at, data[:-1])[-1] * slope).sum().detach(), eta.detach())
    assert measured.abs().max() > 1e-6
    torch.testing.assert_close(exact, measured, rtol=1e-4, atol=1e-10)
    if critic == "own":  # then nothing of the judge depends on theta' but log pi: the objective itself can be measured
        whole = differences(lambda at: agent.objective(agent.chain(start, at, data[:-1])[-1], data[-1]).detach(), eta)
        torch.testing.assert_close(exact, whole.detach(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"derivative_trace": 0.5}], ids=["exact", "trace"])
def test_updates_that_are_differentiated_are_those_that_are_made(settings):
    """In particular, returns are constants of the inner gradient, also from the second update on."""
    agent, data, start, eta = set_up("discounting-chain", settings, 3)
    made_of = start
    for batch in data:
        made_of = agent.inner_step(made_of, eta, batch)
    differentiated = agent.chain(start, eta.clone().requires_grad_(), data)[-1]
    torch.testing.assert_close(differentiated.detach(), made_of.detach())


@pytest.mark.parametrize("lifetime", ["run", "trial"])
@pytest.mark.parametrize("bootstrap", [1, 3])
def test_the_gradient_towards_a_target_is_that_of_finite_differences(lifetime, bootstrap):
    """The target and what it stands on are constants: those of the theta' that is led to it."""
    settings = {"lifetime": lifetime, "trajectories": 4, "updates": 2, "bootstrap": bootstrap}
    agent, data, start, eta = set_up("discounting-chain", settings, 3)
    eta.requires_grad_()
    goal = agent.target(agent.chain(start, eta.detach(), data[:-1])[-1], data[-1])
    with torch.no_grad():
        there = agent.policy(goal[:, : agent.policy.size], data[-1].observation.flatten(1, 2)).log_probabilities

    def distance(at):
        """Mean over lives of the mean KL(target || policy) over the steps that were played, written out."""
        reached = agent.chain(start, at, data[:-1])[-1]
        here = agent.policy(reached[:, : agent.policy.size], data[-1].observation.flatten(1, 2)).log_probabilities
        kl = (there.exp() * (there - here)).sum(-1)
        weight = data[-1].weight.flatten(1)
        return ((kl * weight).sum(1) / weight.sum(1)).mean()

    loss = agent.objective(agent.chain(start, eta, data[:-1])[-1], data[-1])
    assert loss.item() == pytest.approx(distance(eta.detach()).item(), rel=1e-6)
    (exact,) = torch.autograd.grad(loss, eta)
    measured = differences(lambda at: distance(at).detach(), eta.detach())
    assert measured.abs().max() > 1e-6
    torch.testing.assert_close(exact, measured, rtol=1e-4, atol=1e-10)


def test_a_target_is_updates_by_eta_and_one_by_what_judges():
    agent, data, start, _ = set_up("discounting-chain", {"bootstrap": 3}, 1)
    agent.eta.data = agent.eta.data.double()
    here = start
    for _ in range(2):
        here = agent.inner_step(here, agent.eta.detach(), data[0]).detach()
    here = here.requires_grad_()
    (slope,) = torch.autograd.grad(agent.judgement(here, data[0]).sum(), here)
    torch.testing.assert_close(agent.target(start, data[0]), (here - 0.7 * slope).detach())
    one, _, _, _ = set_up("discounting-chain", {"bootstrap": 1}, 1)
    one.critic.data = agent.critic.data
    near = start.detach().requires_grad_()
    (slope,) = torch.autograd.grad(one.judgement(near, data[0]).sum(), near)
    torch.testing.assert_close(one.target(start, data[0]), (near - 0.7 * slope).detach())


def test_a_target_is_better_by_what_judges():
    """So that matching it, however far it is, is in the interest of eta'."""
    agent, data, start, _ = set_up("discounting-chain", {"bootstrap": 1, "inner_rate": 0.05}, 1)
    before, after = (agent.judgement(where, data[0]) for where in (start, agent.target(start, data[0])))
    assert (after < before).all()


def test_one_update_by_hand():
    """A critic without hidden layers, one step of reward 2 to the end: v moves by rate * c * (G - v) along (o, 1)."""
    family = build_family("signal-noise-chain", {"horizon": 1})
    agent = made(family, {"hidden": [], "inner_norm": 1e9, "inner_rate": 0.1, "value_weight": 0.5, "entropy": 0.0})
    one = torch.ones(1, 1, 1)
    data = Played(one[..., None], 0 * one[..., None], one.long(), 2 * one, 0 * one, one)
    # parameters: policy's weights and biases of two actions, then the critic's weight and bias: v = 0.3 + 0.5
    start = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.3, 0.5]])
    # advantage 2 - 0.8 = 1.2; action 1 of two equal ones: its logit's slope is 1 - 0.5, the other's -0.5
    policy, critic = 0.1 * 1.2 * 0.5, 0.1 * 0.5 * 1.2
    expected = torch.tensor([[-policy, policy, -policy, policy, 0.3 + critic, 0.5 + critic]])
    torch.testing.assert_close(agent.inner_step(start, agent.eta.detach(), data).detach(), expected)


def test_the_paper_s_trace_by_its_recursion():
    """z <- mu z + df/deta, each update's own derivative."""
    agent, data, start, eta = set_up("discounting-chain", {"derivative_trace": 0.6, "updates": 3}, 3)
    eta.requires_grad_()
    weight = torch.linspace(-1, 1, start.shape[1], dtype=torch.float64)
    chain = agent.chain(start, eta, data)
    z = torch.zeros_like(eta)
    for before, batch in zip(chain[:-1], data, strict=True):
        here = before.detach()
        z = 0.6 * z + differences(lambda at, h=here, b=batch: (agent.inner_step(h, at, b) * weight).sum(), eta.detach())
    (found,) = torch.autograd.grad((chain[-1] * weight).sum(), eta)
    torch.testing.assert_close(found, z, rtol=1e-4, atol=1e-9)


def test_the_step_of_eta_is_down_the_meta_gradient():
    """What `learn` does, over two batches: Adam's first step is one rate against the gradient's sign."""
    family = build_family("discounting-chain", {"horizon": 6})
    agent = made(family, {**SMALL, "eta_rate": 0.125, "standardise": False})
    plan = agent.plan(4)
    specs = [family.spec(seed=seed) for seed in range(3)]
    trials = []
    for _ in range(2):
        trials.append(collect(agent, family.batch(3 * plan.slots), specs, plan=plan))
        if len(trials) == 2:
            break
        start, eta = agent.parameters.clone(), agent.eta.detach().clone().requires_grad_()
        assert "losses/outer" not in agent.learn(trials[0])
        assert torch.equal(agent.eta, eta)
    first, second = (agent.played(trial.rounds[0], 1) for trial in trials)
    moved = agent.chain(start, eta, [first])[-1]
    torch.testing.assert_close(moved, agent.parameters)
    (gradient,) = torch.autograd.grad(agent.objective(moved, second), eta)
    agent.learn(trials[1])
    torch.testing.assert_close(agent.eta.detach() - eta.detach(), -0.125 * gradient.sign(), rtol=1e-3, atol=1e-4)


def test_a_life_of_a_trial_begins_anew_and_adapts_on_its_own_rounds():
    family = build_family("discounting-chain", {"horizon": 6})
    agent = made(family, {**SMALL, "lifetime": "trial", "trajectories": 4}, episodes=8)
    plan = agent.plan(8)
    trial = collect(agent, family.batch(2 * plan.slots), [family.spec({"mapping": m}) for m in (0, 1)], plan=plan)
    start = agent.begin_trial(2)
    adapted = agent.adapt(start, trial.rounds[0])
    assert (adapted != start).any(1).all()
    assert not torch.equal(adapted[0], adapted[1])
    eta, parameters = agent.eta.detach().clone(), agent.parameters.clone()
    agent.learn(trial)
    assert torch.equal(agent.parameters, parameters)
    assert not torch.equal(agent.eta, eta)
    short = agent.plan(4)  # a curriculum over the length of trials may begin with one round: nothing is judged
    trial = collect(agent, family.batch(2 * short.slots), [family.spec(seed=seed) for seed in (0, 1)], plan=short)
    assert "losses/outer" not in agent.learn(trial)


def test_what_cannot_be_learned_is_refused_by_name():
    family = build_family("discounting-chain", {"horizon": 6})
    with pytest.raises(ConfigError, match=r"discount = 1: one that is learned begins between 0\.001 and 0\.999"):
        made(family, {"discount": 1.0})
    with pytest.raises(UserError, match="trajectories"):
        made(family, {"lifetime": "trial", "trajectories": 4}, episodes=4)
    assert made(family, {"discount": 1.0, "learned": "trace"}).config.discount == 1.0


def test_updates_at_bounds_are_counted():
    family = build_family("discounting-chain", {"horizon": 6})
    agent = made(family, {"hidden": [3], "discount": 0.5, "learned": "discount", "trace": 1.0})
    plan = agent.plan(4)
    trial = collect(agent, family.batch(2 * plan.slots), [family.spec(seed=0)] * 2, plan=plan)
    assert agent.learn(trial)["eta/updates_at_bounds"] == 0  # a trace of 1 that is not learned does not count
    agent.eta.data[0, 0] = 9.0  # sigmoid(9) = 0.99988
    assert [agent.learn(trial)["eta/updates_at_bounds"] for _ in range(2)] == [1, 2]
    agent.eta.data[0, 0] = 0.0
    assert agent.learn(trial)["eta/updates_at_bounds"] == 0


def test_estimates_are_in_units_of_reward():
    family = build_family("discounting-chain", {"horizon": 3})
    agent = made(family, {"hidden": [3], "outer_discount": 0.5})
    plan = agent.plan(2)
    trial = collect(agent, family.batch(2 * plan.slots), [family.spec(seed=0)] * 2, plan=plan)
    agent.learn(trial)
    assert agent.state_dict()["scale"] != 1
    rollout = trial.rounds[0]
    value, error = agent.estimates(rollout, trace=0.0)
    expected = rollout.reward[:2] + 0.5 * value[1:] - value[:2]
    torch.testing.assert_close(error[:2], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(error[2], rollout.reward[2] - value[2], rtol=1e-4, atol=1e-5)


def test_a_life_counts_as_one_however_many_steps_it_had():
    agent, data, start, _ = set_up("point-navigation", {"lifetime": "trial", "trajectories": 4}, 1)
    (one,) = data
    alone = []
    for life in range(len(one.weight)):
        part = Played(*(column[life : life + 1] for column in one))
        alone.append(agent.objective(start[life : life + 1], part))
    shorter = one._replace(weight=torch.cat([one.weight[:1], one.weight[1:] * (torch.arange(6) < 2)[:, None]]))
    assert agent.objective(start, one).item() == pytest.approx(torch.stack(alone).mean().item())
    halves = [
        agent.objective(start[life : life + 1], Played(*(column[life : life + 1] for column in shorter)))
        for life in range(len(one.weight))
    ]
    assert agent.objective(start, shorter).item() == pytest.approx(torch.stack(halves).mean().item())

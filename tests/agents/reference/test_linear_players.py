"""Players of linear systems against the Riccati recursion, exact expected costs and least squares done at once."""

import numpy as np
import pytest
import torch

from agents.reference.linear_quadratic import filter_gains, finite_gains, gains
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import stream

CPU = torch.device("cpu")


def drawn(family, tasks):
    """Tasks of the family's own distribution."""
    rng = stream(0, family.name)
    varied = {name: knob for name, knob in family.context_space.knobs.items() if knob.vary is not None}
    return [
        family.spec(
            {name: rng.uniform(knob.vary.low, knob.vary.high, knob.shape).tolist() for name, knob in varied.items()},
            seed=seed,
        )
        for seed in range(tasks)
    ]


def player(name, family, episodes, **settings):
    return build_agent(
        Part.model_validate({"name": name, **settings}), problem_of(family, episodes=episodes, seed=0, device=CPU)
    )


def trial(name, family, specs, episodes=1, **settings):
    built = player(name, family, episodes, **settings)
    return collect(built, family.batch(len(specs)), specs, plan=built.plan(episodes))


def random_plants(batch, states, controls, outputs):
    rng = np.random.default_rng(0)
    shapes = ((states, states), (states, controls), (outputs, states))
    return [torch.from_numpy(rng.normal(size=(batch, *shape)) / 2) for shape in shapes]


def test_gains_of_two_steps_by_hand():
    """a = 1.2, b = 0.5, R = 1: nothing in the last step, b a / (R + b^2) before it."""
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    found = finite_gains(1.2 * one, 0.5 * one, one, one[0, 0], 2)
    assert found.flatten().tolist() == pytest.approx([0.0, 0.48])


def test_gains_far_from_the_end_are_those_of_the_infinite_horizon():
    a, b, _ = random_plants(5, 3, 1, 1)
    cost, effort = torch.eye(3, dtype=torch.float64), torch.full((5,), 0.3, dtype=torch.float64)
    torch.testing.assert_close(finite_gains(a, b, cost, effort, 300)[:, -1, 0], gains(a, b[..., 0], cost, effort))


def expected_cost(a, b, feedback, effort, noise, start):
    """Exact, of u_t = -K_t x_t: by the covariance of the state, without a word of Riccati."""
    covariance, cost = start**2 * np.eye(len(a)), 0.0
    for gain in feedback:
        cost += np.trace(covariance) + effort * np.trace(gain @ covariance @ gain.T)
        closed = a - b @ gain
        covariance = closed @ covariance @ closed.T + noise**2 * np.eye(len(a))
    return cost


def test_no_perturbed_gain_costs_less():
    family = build_family("linear-system", {"states": 3, "horizon": 4})
    [spec] = drawn(family, 1)
    oracle = player("lqr-oracle", family, 1)
    batch = family.batch(1)
    batch.set_tasks([spec])
    plan = oracle._plan(batch.descriptor().double())
    a, b, feedback = (value[0].numpy() for value in (plan.dynamics, plan.control, plan.gains))
    numbers = [float(spec.context[name]) for name in ("effort", "process_noise", "start")]
    least = expected_cost(a, b, feedback, *numbers)
    assert least == pytest.approx(-family.optimal_return(spec), rel=1e-6)
    for place in np.ndindex(feedback.shape):
        for step in (-0.01, 0.01):
            other = feedback.copy()
            other[place] += step
            assert expected_cost(a, b, other, *numbers) > least


@pytest.mark.parametrize("settings", [{}, {"outputs": 1}, {"states": 3, "controls": 1, "outputs": 2, "horizon": 7}])
def test_the_oracle_earns_what_it_should(settings):
    """Its mean return lies within four standard errors of the exact value, over tasks, in each of three episodes."""
    family = build_family("linear-system", settings)
    specs = drawn(family, 1000)
    best = np.array([family.optimal_return(spec) for spec in specs])
    played = trial("lqr-oracle", family, specs, episodes=3)
    off = (played.episode_returns().double().numpy() - best) / -best  # in units of the task's own cost
    assert (np.abs(off.mean(1)) < 4 * off.std(1) / len(specs) ** 0.5).all()
    assert off.std() < 2
    if not settings:  # as the family's text has it
        assert float((played.rollout.action.abs() >= family.config.limit).double().mean()) < 1e-4


def test_the_filter_is_conditioning_on_all_outputs():
    """E[x_t | y_0 ... y_t] from the joint covariance of all states and outputs, at once."""
    steps, [a], [c] = 4, *random_plants(1, 3, 1, 2)[::2]
    noise, start = (0.3, 0.4), 1.5
    one = torch.ones(1, dtype=torch.float64)
    found = filter_gains(a[None], c[None], (noise[0] * one, noise[1] * one), start * one, steps)[0].numpy()
    a, c = a.numpy(), c.numpy()
    powers = [np.linalg.matrix_power(a, k) for k in range(steps)]
    sources = np.zeros((steps, 3, steps, 3))  # x_t = sum_k A^(t - k) e_k, with e_0 the start and others the noise
    for t in range(steps):
        for k in range(t + 1):
            sources[t, :, k] = powers[t - k] * (start if k == 0 else noise[0])
    flat = sources.reshape(3 * steps, -1)
    states = flat @ flat.T
    sensors = np.kron(np.eye(steps), c)
    outputs = sensors @ states @ sensors.T + noise[1] ** 2 * np.eye(2 * steps)
    seen = np.random.default_rng(1).normal(size=(steps, 2))
    expected = np.zeros(3)
    for t in range(steps):
        expected = expected + found[t] @ (seen[t] - c @ expected)
        upto = slice(0, 2 * (t + 1))
        weights = np.linalg.solve(outputs[upto, upto], (sensors @ states)[upto, 3 * t : 3 * t + 3])
        np.testing.assert_allclose(expected, weights.T @ seen[: t + 1].ravel(), rtol=1e-9)
        expected = a @ expected


def test_certainty_equivalence_is_ridge_regression_within_episodes():
    """Over two episodes of three tasks, without what lies between them."""
    family = build_family("linear-system", {"states": 3, "horizon": 6})
    specs, episodes, ridge = drawn(family, 3), 2, 0.7
    built = player("certainty-equivalent", family, episodes, ridge=ridge, dither=1.0)
    carries, act = [], built.act

    def watched(carry, step):
        action, following = act(carry, step)
        carries.append(following)
        return action, following

    built.act = watched
    rollout = collect(built, family.batch(3), specs, plan=built.plan(episodes)).rollout
    last = carries[11]
    for task in range(3):
        inputs = torch.cat([rollout.observation, rollout.action], dim=2)[:11, task].double()
        keep = [step for step in range(11) if step != 5]
        z, x = inputs[keep], rollout.observation[1:12, task].double()[keep]
        torch.testing.assert_close(last.inputs[task], z.T @ z + ridge * torch.eye(5, dtype=torch.float64))
        torch.testing.assert_close(last.outcomes[task], z.T @ x)
    assert last.steps.tolist() == [11] * 3
    assert last.time.tolist() == [5] * 3


def test_certainty_equivalence_knows_nothing_at_first_and_most_in_the_end():
    family = build_family("linear-system")
    specs, episodes = drawn(family, 300), 6
    learned, told, chance = (
        trial(name, family, specs, episodes) for name in ("certainty-equivalent", "lqr-oracle", "random")
    )
    assert float(learned.rollout.action[0].abs().mean()) == pytest.approx(0.1 * (2 / np.pi) ** 0.5, rel=0.1)
    lost = (told.episode_returns() - learned.episode_returns()).double()  # with the same noise
    cost = -told.episode_returns().double()
    assert float(lost[0].mean()) > 0.5 * float(cost[0].mean())
    assert 0.0 < float(lost[-1].mean()) < 0.1 * float(cost[-1].mean())
    assert float(chance.episode_returns().mean()) < 100 * float(learned.episode_returns()[-1].mean())


def test_certainty_equivalence_finds_a_plant_without_noise():
    """Then it plays as the oracle, who has no advantage but the first episode's."""
    family = build_family("linear-system")
    specs = [family.moved(spec, {**spec.context, "process_noise": 0.0}) for spec in drawn(family, 100)]
    learned, told = (
        trial(name, family, specs, 3, **settings).episode_returns().double()
        for name, settings in (("certainty-equivalent", {"ridge": 1e-6, "dither": 1e-3}), ("lqr-oracle", {}))
    )
    torch.testing.assert_close(learned[-1], told[-1], rtol=1e-2, atol=1e-2)


def test_certainty_equivalence_plans_to_the_end_or_as_far_as_it_looks_ahead():
    """Only its noise is left at first, in the last step, and always where one step is all that it looks ahead."""
    family = build_family("linear-system", {"horizon": 5})
    specs = drawn(family, 20)
    usual, idle = (
        trial("certainty-equivalent", family, specs, 2, ridge=1e-6, lookahead=ahead).rollout.action for ahead in (50, 1)
    )
    assert {step for step in range(10) if torch.equal(usual[step], idle[step])} == {0, 4, 9}
    sizes = idle.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(sizes, 0.1 * torch.arange(1, 11) ** -0.25, rtol=0.5, atol=0)


def test_a_hidden_state_is_refused_by_who_needs_to_see_it():
    with pytest.raises(UserError, match=r"outputs = 2 hides the state, from which certainty-equivalent learns"):
        player("certainty-equivalent", build_family("linear-system", {"outputs": 2}), 1)


def test_the_oracle_asks_for_the_descriptor():
    family = build_family("linear-system")
    built = player("lqr-oracle", family, 1)
    built.needs_descriptor = False
    with pytest.raises(UserError, match="lqr-oracle needs the task's descriptor"):
        collect(built, family.batch(1), [family.spec()], plan=built.plan(1))

"""Cart-pole and pendulum against Gymnasium's: the same numbers from the same states and actions.

Ours computes in single precision, Gymnasium's in double: one step agrees to 1e-5, forty steps to 1e-3.
"""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from plugins.families.cartpole import TILT, TRACK
from taskgen.build import build_family
from taskgen.streams import stream
from taskgen.testing import check_family


def set_state(batch, states):
    batch.reset()
    batch._state = torch.tensor(np.asarray(states), dtype=torch.float32)


def context_of(env):
    """The context under which our family is `env`."""
    if isinstance(env, CartPoleEnv):
        names = ("gravity", "masscart", "masspole", "length", "force_mag", "tau")
        ours = ("gravity", "cart_mass", "pole_mass", "half_length", "force", "timestep")
    else:
        names, ours = ("g", "m", "l", "dt", "max_speed"), ("gravity", "mass", "length", "timestep", "max_speed")
    return {name: float(getattr(env, theirs)) for name, theirs in zip(ours, names, strict=True)}


def cartpole(rng, randomise):
    env = CartPoleEnv()
    if randomise:
        env.gravity, env.force_mag, env.tau = rng.uniform(5, 20), rng.uniform(5, 30), rng.uniform(0.01, 0.05)
        env.masscart, env.masspole, env.length = rng.uniform(0.5, 2), rng.uniform(0.05, 1), rng.uniform(0.25, 2)
        env.total_mass, env.polemass_length = env.masspole + env.masscart, env.masspole * env.length
    return env, rng.uniform((-2.3, -2, -0.2, -2), (2.3, 2, 0.2, 2)), int(rng.integers(2))


def pendulum(rng, randomise):
    env = PendulumEnv()
    if randomise:
        env.g, env.m, env.l = rng.uniform(0, 20), rng.uniform(0.5, 2), rng.uniform(0.5, 2)
        env.dt, env.max_speed = rng.uniform(0.01, 0.1), float(rng.integers(2, 20))
    return env, rng.uniform((-3.1, -8), (3.1, 8)), rng.uniform(-2.5, 2.5, 1).astype(np.float32)


@pytest.mark.parametrize("randomise", [False, True])
@pytest.mark.parametrize(("name", "make"), [("cartpole", cartpole), ("pendulum", pendulum)])
def test_one_step_is_gymnasiums(name, make, randomise):
    family, rng = build_family(name), stream(0, name)
    cases = [make(rng, randomise) for _ in range(500)]
    batch = family.batch(len(cases))
    batch.set_tasks([family.spec(context_of(env)) for env, _, _ in cases])
    set_state(batch, [state for _, state, _ in cases])
    ours = batch.step(torch.tensor(np.array([action for _, _, action in cases])))
    for i, (env, state, action) in enumerate(cases):
        env.reset()
        env.state = np.float32(state).astype(np.float64)
        observation, reward, terminated, _, _ = env.step(action)
        np.testing.assert_allclose(ours.observation[i].numpy(), observation, rtol=1e-5, atol=1e-5)
        assert float(ours.reward[i]) == pytest.approx(reward, rel=1e-5, abs=1e-5)
        assert bool(ours.terminated[i]) == terminated


@pytest.mark.parametrize(("name", "gym_id"), [("cartpole", "CartPole-v1"), ("pendulum", "Pendulum-v1")])
def test_the_default_context_is_gymnasiums_episode(name, gym_id):
    family, slots = build_family(name), 20
    batch = family.batch(slots)
    batch.set_tasks([family.spec(seed=seed) for seed in range(slots)])
    assert family.horizon == gym.spec(gym_id).max_episode_steps
    rng = stream(1, name)
    envs = [gym.make(gym_id).unwrapped for _ in range(slots)]
    batch.reset()
    for env, state in zip(envs, batch._state.double().numpy(), strict=True):
        env.reset()
        env.state = state
    playing = np.ones(slots, dtype=bool)
    for _ in range(40):
        actions = (
            rng.integers(2, size=slots) if name == "cartpole" else rng.uniform(-2, 2, (slots, 1)).astype(np.float32)
        )
        ours = batch.step(torch.tensor(actions))
        for i in np.flatnonzero(playing):
            observation, reward, terminated, _, _ = envs[i].step(actions[i])
            np.testing.assert_allclose(ours.observation[i].numpy(), observation, rtol=1e-3, atol=1e-3)
            assert float(ours.reward[i]) == pytest.approx(reward, rel=1e-3, abs=1e-3)
            assert bool(ours.terminated[i]) == terminated
            playing[i] = not terminated
    assert name == "pendulum" or not playing.all()


def test_limits_and_start_are_gymnasiums():
    assert pytest.approx(CartPoleEnv().x_threshold) == TRACK
    assert pytest.approx(CartPoleEnv().theta_threshold_radians) == TILT
    for name, spread in (("cartpole", [0.05] * 4), ("pendulum", [math.pi, 1.0])):
        family = build_family(name)
        batch = family.batch(4000)
        batch.set_tasks([family.spec(seed=seed) for seed in range(4000)])
        batch.reset()
        # uniform from -spread to spread: standard deviation spread / sqrt(3); tolerance 4 standard errors
        assert batch._state.abs().amax(0).tolist() == pytest.approx(spread, rel=0.01)
        assert batch._state.std(0).tolist() == pytest.approx([s / math.sqrt(3) for s in spread], rel=0.04)
        assert (batch._state.mean(0).abs() < 4 * torch.tensor(spread) / math.sqrt(3 * 4000)).all()


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_extreme_contexts_stay_finite_even_past_the_end(name):
    family = build_family(name)
    knobs = family.context_space.knobs
    rng = stream(2, name)
    specs = [
        family.spec({key: float(rng.choice([knob.low, knob.high])) for key, knob in knobs.items()}, seed=seed)
        for seed in range(200)
    ]
    batch = family.batch(len(specs))
    batch.set_tasks(specs)
    batch.reset()
    for _ in range(300):
        action = rng.integers(2, size=200) if name == "cartpole" else rng.choice(np.float32([-2, 2]), (200, 1))
        outcome = batch.step(torch.tensor(action))
        assert torch.isfinite(outcome.observation).all()
        assert torch.isfinite(outcome.reward).all()
        assert family.observation_space.contains(outcome.observation[0].numpy())


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_a_mutant_differs_in_what_varies(name):
    family = build_family(name)
    context = family.spec().context
    child = family.mutate(context, np.random.Generator(np.random.PCG64(0)))
    varied = {key for key, knob in family.context_space.knobs.items() if knob.vary is not None}
    assert {key for key in context if child[key] != context[key]} == varied
    features = family.descriptor(context)
    assert ((features >= 0) & (features <= 1)).all()


@pytest.mark.parametrize("settings", [{"horizon": 20}])
@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_another_horizon_conforms(name, settings):
    check_family(build_family(name, settings))


def test_cartpole_is_solved_at_gymnasiums_threshold():
    assert build_family("cartpole").solved_return == gym.spec("CartPole-v1").reward_threshold == 475.0
    assert build_family("cartpole", {"horizon": 100}).solved_return == 95.0

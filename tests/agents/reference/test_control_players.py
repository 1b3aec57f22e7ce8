"""Players of the small continuous worlds against values computed exactly and against the literature's anchors."""

import math

import numpy as np
import pytest
import torch

from agents.random_policy import RandomPolicy
from agents.reference.cartpole_oracle import CartPoleOracle, CartPoleOracleConfig
from agents.reference.linear_quadratic import gains
from agents.reference.pendulum_oracle import PendulumOracle, PendulumOracleConfig
from agents.reference.point_navigation_oracle import PointNavigationOracle, PointNavigationOracleConfig
from agents.reference.treasure_climber import TreasureClimber, TreasureClimberConfig
from agents.reference.treasure_oracle import TreasureOracle, TreasureOracleConfig
from agents.reference.treasure_walker import TreasureWalker, TreasureWalkerConfig
from registry.config import Config
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import stream

CPU = torch.device("cpu")


def trial(player, config, family, specs, episodes=1):
    built = player(config, problem_of(family, episodes=episodes, seed=0, device=CPU))
    return collect(built, family.batch(len(specs)), specs, plan=built.plan(episodes))


def returns(player, config, family, specs, episodes=1):
    """[episodes] mean return over the tasks."""
    return trial(player, config, family, specs, episodes).episode_returns().double().mean(1).tolist()


def midpoints(n, low, high):
    """n equally likely values that stand for the uniform distribution."""
    return [low + (high - low) * (i + 0.5) / n for i in range(n)]


def test_navigation_oracle_on_the_square():
    family = build_family("point-navigation")
    ticks = midpoints(50, -0.5, 0.5)
    specs = [family.spec({"goal": (x, y)}) for x in ticks for y in ticks]
    x, y = np.abs(np.array([spec.context["goal"] for spec in specs])).T
    best = -sum(np.hypot(np.maximum(x - 0.1 * k, 0), np.maximum(y - 0.1 * k, 0)) for k in range(1, 6)).mean()
    [score] = returns(PointNavigationOracle, PointNavigationOracleConfig(), family, specs)
    assert score == pytest.approx(best, abs=1e-5)
    assert score == pytest.approx(-0.504, abs=0.005)  # the anchor; exact planning over all goals gives -0.5061


def test_navigation_oracle_on_the_half_circle():
    family = build_family("point-navigation", {"goals": "half-circle", "reward": "sparse"})
    specs = [family.spec({"angle": angle}) for angle in midpoints(2000, 0, math.pi)]
    [score] = returns(PointNavigationOracle, PointNavigationOracleConfig(), family, specs)
    assert family.horizon == 20
    assert score == pytest.approx(13.382, abs=0.001)  # exact planning over all goals
    assert score == pytest.approx(13.39, abs=0.01)  # the anchor


@pytest.fixture(scope="module")
def treasures():
    family = build_family("mountain-treasure")
    return family, [family.spec({"angle": angle}) for angle in midpoints(2000, 0, 2 * math.pi)]


def test_treasure_oracle_is_at_the_treasure_as_early_as_anybody(treasures):
    family, specs = treasures
    angle = np.array([spec.context["angle"] for spec in specs])
    way = np.abs(np.stack([np.cos(angle), np.sin(angle) + 1]))
    steps = np.full(len(specs), 100)
    for k in range(30, 0, -1):
        steps = np.where(np.hypot(*np.maximum(way - 0.1 * k, 0)) <= 0.1 + 1e-9, k, steps)
    bound = (10 * (101 - steps) - 5 * (steps - 1)).mean()  # nothing paid but 5 a step on the way
    [score] = returns(TreasureOracle, TreasureOracleConfig(), family, specs)
    assert score == pytest.approx(bound, abs=0.02)
    assert score == pytest.approx(853.5, abs=2.0)  # the anchor, a Monte-Carlo mean; exact planning gives 851.97


def test_treasure_climber(treasures):
    first, second = returns(TreasureClimber, TreasureClimberConfig(), *treasures, episodes=2)
    assert first == pytest.approx(735.7, abs=0.3)
    assert second > 845  # it remembers the treasure
    [fastest] = returns(TreasureClimber, TreasureClimberConfig(way="fastest"), *treasures)
    assert first + 1.0 < fastest < first + 1.5


def test_treasure_walker(treasures):
    first, second = returns(TreasureWalker, TreasureWalkerConfig(), *treasures, episodes=2)
    assert first == pytest.approx(602.9, abs=6.4)
    assert second > 845


@pytest.mark.parametrize("size", [1, 3])
def test_gains_solve_the_riccati_equation(size):
    rng = stream(0, "riccati", size)
    a, b = rng.normal(size=(5, size, size)), rng.normal(size=(5, size))
    q, r = np.eye(size), np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    found = gains(*(torch.as_tensor(value) for value in (a, b, q, r)))
    for i in range(5):
        p = q
        for _ in range(20_000):
            k = (b[i] @ p @ a[i]) / (r[i] + b[i] @ p @ b[i])
            p = q + a[i].T @ p @ (a[i] - np.outer(b[i], k))
        np.testing.assert_allclose(found[i].numpy(), k, rtol=1e-6, atol=1e-9)


def randomised(family, tasks):
    """Tasks drawn from the family's own variations."""
    rng = stream(0, family.name)
    varied = {name: knob.vary for name, knob in family.context_space.knobs.items() if knob.vary is not None}
    return [
        family.spec({name: rng.uniform(vary.low, vary.high) for name, vary in varied.items()}, seed=seed)
        for seed in range(tasks)
    ]


def test_cartpole_oracle_never_falls():
    family = build_family("cartpole")
    for specs in ([family.spec(seed=seed) for seed in range(100)], randomised(family, 100)):
        score = trial(CartPoleOracle, CartPoleOracleConfig(), family, specs).episode_returns()
        assert score.min() == 500


def test_cartpole_oracle_uses_what_it_is_told():
    """A heavy, strongly pushed, slowly sampled pole is balanced, which the default's controller cannot do."""
    family = build_family("cartpole")
    context = {"pole_mass": 1.0, "half_length": 1.0, "force": 30.0, "gravity": 20.0, "timestep": 0.03}
    specs = [family.spec(context, seed=seed) for seed in range(50)]
    assert returns(CartPoleOracle, CartPoleOracleConfig(), family, specs) == [500]


def test_pendulum_oracle_swings_up_and_holds():
    family = build_family("pendulum")
    for specs in ([family.spec(seed=seed) for seed in range(300)], randomised(family, 300)):
        played = trial(PendulumOracle, PendulumOracleConfig(), family, specs)
        assert played.rollout.next_observation[-1, :, 0].min() > 0.999  # upright in the end
        assert -165 < float(played.episode_returns().mean()) < -130  # -150 and -145 over 1000 tasks each


@pytest.mark.parametrize(
    ("name", "player", "config"),
    [
        ("point-navigation", PointNavigationOracle, PointNavigationOracleConfig()),
        ("mountain-treasure", TreasureOracle, TreasureOracleConfig()),
        ("cartpole", CartPoleOracle, CartPoleOracleConfig()),
        ("pendulum", PendulumOracle, PendulumOracleConfig()),
    ],
)
def test_oracles_ask_for_the_descriptor(name, player, config):
    family = build_family(name)
    built = player(config, problem_of(family, episodes=1, seed=0, device=CPU))
    built.needs_descriptor = False
    with pytest.raises(UserError, match="descriptor"):
        collect(built, family.batch(1), [family.spec()], plan=built.plan(1))


def test_steering_refuses_discrete_actions():
    with pytest.raises(UserError, match="continuous actions"):
        _ = RandomPolicy(Config(), problem_of(build_family("bandit"), episodes=1, seed=0, device=CPU)).bounds

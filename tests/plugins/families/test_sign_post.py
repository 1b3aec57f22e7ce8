"""The sign by hand, and what its players earn: exact values, and the loss of guessing that grows with the distance."""

import math

import numpy as np
import pytest
import torch

from agents.evaluation.play import play
from agents.reference.sign_plane_players import SignPlaneSampler, SignPlaneSamplerConfig
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import seed_sequence
from taskgen.testing import check_family


@pytest.mark.parametrize(
    ("name", "settings"),
    [("sign-post", {}), ("sign-post", {"arms": 2, "farthest": 3}), ("sign-plane", {}), ("sign-plane", {"farthest": 4})],
)
def test_they_conform(name, settings):
    check_family(build_family(name, settings))


def episode(name, context, actions):
    family = build_family(name)
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    seen = [batch.reset()[0].tolist()]
    rewards, ended = [], []
    for action in actions:
        outcome = batch.step(torch.tensor([action]))
        seen.append([round(value, 5) for value in outcome.observation[0].tolist()])
        rewards.append(round(float(outcome.reward), 5))
        ended.append(bool(outcome.terminated))
    return seen, rewards, ended


def test_a_path_of_the_star_out_back_and_to_the_sign():
    seen, rewards, ended = episode("sign-post", {"goal": 2, "distance": 2}, [1, 1, 1, 0, 4, 4, 4, 2, 2, 2])
    start = [0.0] * 10
    path = [[0.0, 1.0, 0, 0, depth, 0, 0, 0, 0, 0] for depth in (0.05, 0.1, 0.1, 0.05)]
    sign = [0.0, 0, 0, 0, 0, 1, 0, 0, 1, 0]
    out = [0.0, 0, 1, 0, 0.05, 0, 0, 0, 0, 0]
    assert seen == [start, *path, start, sign, sign, start, out, [0.0, 0, 1, 0, 0.1, 0, 0, 0, 0, 0]]
    assert rewards == [-0.1] * 9 + [1.0]
    assert ended == [False] * 9 + [True]


def test_the_star_gives_up_after_three_times_the_distance_and_four():
    _, rewards, ended = episode("sign-post", {"goal": 0, "distance": 3}, [1] * 13)
    assert ended == [False] * 12 + [True]
    assert sum(rewards) == pytest.approx(-1.3)


def test_the_plane_by_hand():
    down, right = (0.0, -1.0), (2.0, 1.0)  # moves are at most 1 along each axis
    seen, rewards, ended = episode("sign-plane", {"angle": 0.0, "distance": 4.0}, [down, right, (1.0, 0.0), (1.0, 0.0)])
    assert seen == [[0.0] * 4, [0.0, -1.0, 0.2, 0.0], [1.0, 0, 0, 0], [2.0, 0, 0, 0], [3.0, 0, 0, 0]]
    assert rewards == [-0.1, -0.1, -0.1, 1.0]
    assert ended[-1]
    _, _, ended = episode("sign-plane", {"angle": 0.0, "distance": 4.0}, [(-1.0, 0.0)] * 20)
    assert ended == [False] * 19 + [True]


def earned(player, contexts, episodes, name="sign-post", **settings):
    family = build_family(name, settings)
    problem = problem_of(family, episodes=episodes, seed=3, device=torch.device("cpu"))
    specs = [family.spec(context, seed=seed) for seed, context in enumerate(contexts)]
    return play(build_agent(Part(name=player), problem), family, specs, episodes)


@pytest.mark.parametrize("distance", [2, 7, 20])
def test_the_stars_oracle_and_reader_are_exact(distance):
    tasks = [{"goal": goal, "distance": distance} for goal in range(4)]
    straight = 1 - 0.1 * (distance - 1)
    assert earned("sign-post-oracle", tasks, 2) == pytest.approx(straight)
    found = earned("sign-post-reader", tasks, 3)
    assert found[0] == pytest.approx(straight - 0.2)
    assert found[1:] == pytest.approx(straight)
    family = build_family("sign-post")
    assert family.optimal_return(family.spec(tasks[0])) == pytest.approx(straight)


@pytest.mark.parametrize("distance", [4, 16])
def test_what_guessing_loses_grows_with_the_distance(distance):
    """(n - 1) / 2 wrong guesses in a trial long enough, each 1.5 + 0.2 d worse than the oracle's walk."""
    tasks = [{"goal": number % 4, "distance": distance} for number in range(2000)]
    found = earned("sign-post-sampler", tasks, 4)
    straight = 1 - 0.1 * (distance - 1)
    loss = 4 * straight - found.sum(0)
    wrong = loss / (1.5 + 0.2 * distance)
    assert wrong == pytest.approx(wrong.round(), abs=1e-4)
    assert set(wrong.round()) == {0, 1, 2, 3}
    assert wrong.mean() == pytest.approx(1.5, abs=4 * math.sqrt(1.25 / 2000))
    assert (found[-1] == pytest.approx(straight)) or (wrong.round() == 3).any()


def test_the_planes_oracle_arrives_as_soon_as_moves_allow_and_the_reader_reads_first():
    angles = [0.0, math.pi / 4, math.pi / 2, math.pi, 1.5 * math.pi]
    tasks = [{"angle": angle, "distance": 10.0} for angle in angles]
    # Along an axis 9 steps reach a circle of 1 around the goal; on the diagonal 10 / sqrt 2 = 7.07 along each, so 7.
    steps = [9, 7, 9, 9, 9]
    assert earned("sign-plane-oracle", tasks, 1, "sign-plane")[0] == pytest.approx(
        [1 - 0.1 * (n - 1) for n in steps], abs=1e-5
    )
    found = earned("sign-plane-reader", tasks, 2, "sign-plane")
    # From (0, -1): to the right as before, up two steps more, down one step nearer and one made.
    assert found[0] == pytest.approx([1 - 0.1 * (n - 1) for n in (10, 9, 11, 10, 9)], abs=1e-5)
    assert found[1] == pytest.approx([1 - 0.1 * (n - 1) for n in steps], abs=1e-5)


def steps_to(goal, guesses, distance):
    """[N] steps until a walk to each of the `guesses` is within 1 of `goal`; beyond the episode's where it never is."""
    times = np.arange(1, 3 * distance + 9)
    walks = np.sign(guesses)[:, None] * np.minimum(times[None, :, None], np.abs(guesses)[:, None])
    met = np.hypot(*(walks - goal).transpose(2, 0, 1)) <= 1 + 1e-4
    return np.where(met.any(1), met.argmax(1) + 1, times[-1] + 1)


@pytest.mark.parametrize("distance", [4, 10])
def test_what_the_planes_sampler_earns_at_first(distance):
    """By all walks to all guesses: the goal is met once in pi d times, about, in as many steps as the walk takes."""
    angles = (np.arange(4000) + 0.5) / 4000 * 2 * math.pi
    guesses = distance * np.stack([np.cos(angles), np.sin(angles)], 1)
    goals = guesses[::40]
    steps = np.stack([steps_to(goal, guesses, distance) for goal in goals])
    worth = np.where(steps <= 3 * distance + 8, 1 - 0.1 * (steps - 1), -0.1 * (3 * distance + 8))
    tasks = [{"angle": float(angle), "distance": float(distance)} for angle in np.tile(angles[::40], 10)]
    found = earned("sign-plane-sampler", tasks, 1, "sign-plane")[0]
    assert np.abs(found[:, None] - np.unique(worth)).min(1).max() < 1e-5
    assert found.mean() == pytest.approx(worth.mean(), abs=4 * worth.std() / math.sqrt(len(tasks)))
    assert (worth > -0.1 * (3 * distance + 8)).mean() == pytest.approx(1 / (math.pi * distance), rel=0.1)


def test_the_planes_sampler_goes_where_nothing_rules_the_goal_out():
    """Never near a place that it has been to in vain, near the one where it arrived, or just where the sign says."""
    distance, episodes = 4.0, 6
    family = build_family("sign-plane")
    problem = problem_of(family, episodes=episodes, seed=3, device=torch.device("cpu"))
    player, goals = SignPlaneSampler(SignPlaneSamplerConfig(), problem), []
    act = player.act

    def noted(carry, step):
        action, carry = act(carry, step)
        goals.append(carry.goal)
        return action, carry

    player.act = noted
    specs = [family.spec({"angle": 0.1 * number, "distance": distance}, seed=number) for number in range(60)]
    rollout = collect(player, family.batch(60), specs, plan=player.plan(episodes)).rollout
    met = {"in vain": 0, "arrived": 0, "told": 0}
    for trial, spec in enumerate(specs):
        true = distance * torch.tensor([math.cos(spec.context["angle"]), math.sin(spec.context["angle"])])
        for episode in range(1, episodes):
            before = rollout.valid[:, trial] & (rollout.episode_index[:, trial] < episode)
            now = rollout.valid[:, trial] & (rollout.episode_index[:, trial] == episode)
            guess = torch.stack([one[trial] for one, this in zip(goals, now, strict=True) if this]).unique(dim=0)
            assert len(guess) == 1
            if rollout.next_observation[before, trial, 2:].any():
                torch.testing.assert_close(guess[0], true)
                met["told"] += 1
                continue
            places, paid = rollout.next_observation[before, trial, :2], rollout.reward[before, trial] > 0
            near = (places - guess).norm(dim=1)
            assert (near[~paid] > 1).all()
            assert (near[paid] < 1 + 1e-3).all()
            met["in vain"] += int((~paid).sum())
            met["arrived"] += int(paid.sum())
    assert min(met.values()) > 5


def test_distance_is_a_knob():
    family = build_family("sign-post")
    vary = {"distance": {"kind": "integer-range", "low": 3, "high": 9}}
    part = Part.model_validate({"name": "domain-randomization", "vary": vary})
    specs = build_source(part, family, seed_sequence(0, "x")).ask(50)
    assert {spec.context["distance"] for spec in specs} <= set(range(3, 10))
    assert len({spec.context["distance"] for spec in specs}) > 3

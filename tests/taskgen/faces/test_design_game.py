"""The environment-design game against PettingZoo's test, and by hand."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from pettingzoo.test import api_test, seed_test

import taskgen
from registry.errors import ConfigError, UserError
from taskgen.faces.design_game import ANTAGONIST, PROTAGONIST, TEACHER, regret_of

LEFT, RIGHT, FORWARD = 0, 1, 2
SMALL = {"size": 3, "view": 3, "horizon": 4, "solvable": False}


@pytest.mark.parametrize(
    ("family", "settings", "design"),
    [
        ("maze", SMALL, {}),
        ("maze", {**SMALL, "solvable": True}, {"placements": 11, "noise": 3}),
        ("point-navigation", {"horizon": 5}, {}),
        ("cartpole", {}, {"knobs": ["gravity", "half_length"]}),
        ("bandit", {"pulls": 3}, {}),
    ],
)
def test_passes_the_test_of_pettingzoo(family, settings, design):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", "(Agents have different observation|Observations are different|Observation is)"
        )
        warnings.filterwarnings("ignore", "Observation numpy array is all zeros")  # a point at the origin
        api_test(taskgen.design_game(family, settings, episodes=2, render_mode=None, **design), num_cycles=100)
        seed_test(lambda: taskgen.design_game(family, settings, **design), num_cycles=20)


def play(game, seed, teacher, protagonist, antagonist):
    """The turns in order, and what each was paid in all. Students do the next of their actions, then the last."""
    scripts = {TEACHER: list(teacher), PROTAGONIST: list(protagonist), ANTAGONIST: list(antagonist)}
    turns, paid, told = [], dict.fromkeys(scripts, 0.0), {}
    game.reset(seed=seed)
    for agent in game.agent_iter():
        _, reward, terminated, truncated, info = game.last()
        paid[agent] += reward
        if terminated or truncated:
            told[agent] = info
            game.step(None)
            continue
        turns.append(agent)
        script = scripts[agent]
        game.step(script.pop(0) if len(script) > 1 else script[0])
    return turns, paid, told


def facing_right(game):
    """A seed with which the agent faces right."""
    for seed in range(100):
        game.reset(seed=seed)
        if game.observe(TEACHER)[27]:
            return seed
    raise AssertionError("never")


def test_a_game_by_hand():
    """Agent in the corner, goal two cells ahead, a wall below: 1 - 0.9 * 2 / 4 for walking straight."""
    game = taskgen.design_game("maze", SMALL, episodes=2, placements=3)
    seed = facing_right(game)
    # The protagonist arrives with its last step, and never again; the antagonist in its second episode.
    turns, paid, told = play(
        game, seed, [0, 2, 4], [LEFT, RIGHT, FORWARD, FORWARD, FORWARD, LEFT], [LEFT, LEFT, LEFT, LEFT, FORWARD]
    )
    first, second = 1 - 0.9 * 4 / 4, 1 - 0.9 * 2 / 4
    assert turns[:3] == [TEACHER] * 3
    assert turns[3:9] == [PROTAGONIST, ANTAGONIST] * 3
    assert (turns.count(PROTAGONIST), turns.count(ANTAGONIST)) == (8, 6)
    assert paid[PROTAGONIST] == pytest.approx(first)  # 0.1, then 0: forward, and it turns until the end
    assert paid[ANTAGONIST] == pytest.approx(second)  # 0, then 0.55
    regret = second - first / 2
    assert paid[TEACHER] == pytest.approx(regret)
    assert told[TEACHER]["regret"] == pytest.approx(regret)
    assert told[TEACHER]["walls"] == 1
    task = taskgen.TaskSpec.from_json(told[PROTAGONIST]["task"])
    assert json.loads(told[ANTAGONIST]["task"])["id"] == task.id
    assert task.context["walls"] == ((0, 0, 0), (0, 1, 0), (0, 0, 0))
    assert (task.context["start"], task.context["goal"], task.context["direction"]) == ((0, 0), (0, 2), 0)


def test_the_best_episode_of_the_antagonist_counts_and_the_mean_of_the_protagonist():
    assert regret_of([0.0, 0.5], [0.25, 1.0, 0.0]) == 0.75


def test_what_nobody_can_do_pays_nothing():
    game = taskgen.design_game("maze", SMALL, placements=5)
    turns, paid, told = play(game, 0, [0, 2, 1, 4, 7], [FORWARD, LEFT], [FORWARD])
    assert (turns.count(PROTAGONIST), turns.count(ANTAGONIST)) == (4, 4)
    assert paid == {TEACHER: 0.0, PROTAGONIST: 0.0, ANTAGONIST: 0.0}
    assert told[TEACHER]["unsolvable"] == 1


def test_a_design_that_the_family_refuses_is_not_played():
    game = taskgen.design_game("maze", {**SMALL, "solvable": True}, placements=5)
    turns, paid, told = play(game, 0, [0, 2, 1, 4, 7], [FORWARD], [FORWARD])
    assert turns == [TEACHER] * 5
    assert paid == {TEACHER: 0.0, PROTAGONIST: 0.0, ANTAGONIST: 0.0}
    assert all("unsolvable" in told[agent]["refused"] for agent in (TEACHER, PROTAGONIST, ANTAGONIST))
    assert game.task is None


def test_players_meet_the_same_noise():
    """Rewards of a bandit are random: the same arms, the same rewards, whoever pulls them."""
    game = taskgen.design_game("bandit", {"pulls": 20}, episodes=3)
    _, paid, _ = play(game, 4, [np.array([0.0], dtype=np.float32)], [1], [1])
    assert paid[PROTAGONIST] == paid[ANTAGONIST]
    assert 0 < paid[PROTAGONIST] < 60


def test_rendering():
    game = taskgen.design_game("maze", SMALL, placements=2, render_mode="rgb_array")
    game.reset(seed=0)
    assert game.render() is None
    game.step(0)
    game.step(8)
    assert game.render().shape == (60, 60, 3)


def test_bad_input_is_named():
    game = taskgen.design_game("maze", SMALL)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        game.step(0)
    game.reset()
    with pytest.raises(gym.error.InvalidAction, match="action 9 of teacher_0"):
        game.step(9)
    with pytest.raises(gym.error.UnsupportedMode):
        taskgen.design_game("maze", SMALL, render_mode="human")
    with pytest.raises(ConfigError, match="agent and goal take two"):
        taskgen.design_game("maze", SMALL, placements=1)
    with pytest.raises(ConfigError, match="placements"):
        taskgen.design_game("maze", SMALL, placement=9)
    with pytest.raises(UserError, match="episodes = 0"):
        taskgen.design_game("maze", SMALL, episodes=0)

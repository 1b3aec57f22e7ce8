"""Players of the grid worlds against the exact figures."""

import itertools

import numpy as np
import pytest
import torch

import registry
from agents.reference import grids
from agents.reference.grid_navigation_bayes import best_walk, gain
from agents.reference.grid_navigation_oracle import MOVES
from agents.testing import check_agent
from benchmarks.grid_players import grid_rows
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

GOALS = [goal for goal in range(25) if goal not in (0, 1, 5, 6)]


def play(name, family, specs, episodes=1, **settings):
    """The trial of a player on `specs`."""
    item = registry.catalogue().get("agents", name)
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    player = item.build(settings, problem=problem)
    return collect(player, family.batch(len(specs)), specs, plan=player.plan(episodes))


def returns(name, family, specs, episodes=1, **settings):
    """[episodes, B] in double precision."""
    return play(name, family, specs, episodes, **settings).episode_returns().double()


def test_grid_navigation_oracle_scores_44_29():
    family = build_family("grid-navigation")
    scores = returns("grid-navigation-oracle", family, [family.spec({"goal": goal}) for goal in GOALS], 4)
    steps = torch.tensor([goal // 5 + goal % 5 for goal in GOALS])
    torch.testing.assert_close(scores, (16 - steps - 0.1 * (steps - 1)).double().expand(4, -1), atol=1e-5, rtol=0)
    assert scores.sum(0).mean() == pytest.approx(44.29, abs=0.005)
    assert scores.mean() == pytest.approx(11.07, abs=0.005)


def test_grid_navigation_bayes_scores_37_21():
    family = build_family("grid-navigation")
    scores = returns("grid-navigation-bayes", family, [family.spec({"goal": goal}) for goal in GOALS], 4)
    assert scores.sum(0).mean() == pytest.approx(781.5 / 21, abs=1e-4)
    assert scores.sum(0).mean() >= 37.21
    oracle = returns("grid-navigation-oracle", family, [family.spec({"goal": goal}) for goal in GOALS], 4)
    assert torch.allclose(scores[3], oracle[3], atol=1e-5), "by the last episode every goal is known"
    assert bool((scores <= oracle + 1e-5).all())


@pytest.mark.parametrize("size", [3, 4])
def test_grid_players_play_other_grids_and_encodings(size):
    settings = {"size": size, "horizon": 9, "observation": "one-hot"}
    family = build_family("grid-navigation", settings)
    specs = [family.spec({"goal": goal}) for goal in range(size**2) if goal not in (0, 1, size, size + 1)]
    steps = torch.tensor([sum(divmod(spec.context["goal"], size)) for spec in specs])
    scores = returns("grid-navigation-oracle", family, specs)
    torch.testing.assert_close(scores[0], (10 - steps - 0.1 * (steps - 1)).double(), atol=1e-5, rtol=0)
    check_agent("grid-navigation-bayes", family="grid-navigation", family_settings=settings)


def worth(walk, size, horizon, episodes):
    """Mean return of a trial that follows `walk` until the goal is found, by `gain`."""
    after, gains = grids.neighbours(size, MOVES).numpy(), gain(size, horizon, episodes)
    seen, total = set(), 0
    for episode, actions in enumerate(walk):
        cell = 0
        for time, action in enumerate(actions):
            cell = after[cell, action]
            total += 0 if cell in seen else gains[episode * horizon + time, cell]
            seen.add(cell)
    return total / 10 / (size**2 - 4) - 0.1 * horizon * episodes


def test_the_walk_is_the_best_of_all_on_a_small_grid():
    found = worth(best_walk(3, 4, 2, 5000), 3, 4, 2)
    walks = [np.array(walk).reshape(2, 4) for walk in itertools.product(range(1, 5), repeat=8)]
    useful = [walk for walk in walks if set(walk[:, 0]) <= {1, 2}]  # the others stand still at first
    assert found == pytest.approx(max(worth(walk, 3, 4, 2) for walk in useful))


def test_the_gain_is_what_the_family_pays():
    family = build_family("grid-navigation")
    specs = [family.spec({"goal": goal}) for goal in GOALS]
    walk = best_walk(5, 15, 4, 50)
    scores = returns("grid-navigation-bayes", family, specs, 4, width=50)
    assert scores.sum(0).mean() == pytest.approx(worth(walk, 5, 15, 4), abs=1e-4)


def test_no_walk_is_better_than_the_bayes_players():
    shortfall = round((44 + 2 / 7 - 781.5 / 21) * 210)
    assert not walk_exists(shortfall)
    assert walk_exists(shortfall + 1)


def walk_exists(limit):
    """Whether some walk falls short of the oracle by less than `limit`: breadth-first, without those that cannot.

    In tenths and added over the goals, a walk falls short by w_g e + 11 (t - d_g) for a goal seen first at step t of
    episode e, w_g = 176 - 11 d_g, and by 4 w_g for one that is never seen. A walk sees at most one cell a step and none
    at an episode's first; `least_shortfall` is the least that is possible under that alone.
    """
    cells, after = np.arange(25), grids.neighbours(5, MOVES).numpy()[:, 1:]
    distance = cells // 5 + cells % 5
    weight = np.where(np.isin(cells, GOALS), 176 - 11 * distance, 0)
    unseen, cell, short = (weight > 0)[None], np.zeros(1, dtype=int), np.zeros(1, dtype=int)
    for moment in range(60):
        episode, time = divmod(moment, 15)
        row = np.repeat(np.arange(len(cell)), 4)
        end, left = after[cell].ravel(), unseen[row]
        new = left[np.arange(len(end)), end]
        short = short[row] + new * (weight[end] * episode + 11 * (time + 1 - distance[end]))
        left[np.arange(len(end)), end] = False
        cell = np.zeros_like(end) if time == 14 else end
        name = (left @ (1 << cells)) * 32 + cell
        order = np.lexsort((short, name))
        order = order[np.r_[True, np.diff(name[order]) != 0]]
        unseen, cell, short = left[order], cell[order], short[order]
        hopeful = short + least_shortfall(unseen, weight, distance, episode, time) < limit
        unseen, cell, short = unseen[hopeful], cell[hopeful], short[hopeful]
        if not len(cell):
            return False
    return True


def least_shortfall(unseen, weight, distance, episode, time):
    """[S] at least so much do the cells of `unseen` [S, C] fall short after step `time` (from 0) of `episode`."""
    heaviest_first = -np.sort(-(unseen * weight), axis=1)
    tail = np.pad(heaviest_first[:, ::-1].cumsum(1)[:, ::-1], ((0, 0), (0, 1))).T  # [k] what is put off after k cells
    best = np.zeros_like(tail)
    for later in range(3, episode - 1, -1):
        first = time + 2 if later == episode else 2
        put_off = tail + best
        best, spent = put_off.copy(), 0
        for count, step in enumerate(range(first, 16), 1):
            spent += 11 * step
            np.minimum(best[:-count], put_off[count:] + spent, out=best[:-count])
    return best[0] + tail[0] * episode - 11 * (unseen * distance).sum(1)


def test_darkroom_oracle_scores_100_less_the_steps_but_one():
    family = build_family("darkroom")
    scores = returns("darkroom-oracle", family, [family.spec({"goal": goal}) for goal in range(100)], 2)
    steps = torch.tensor([sum(divmod(goal, 10)) for goal in range(100)])
    assert torch.equal(scores, (100 - (steps - 1).clamp(min=0)).double().expand(2, -1))
    assert scores.mean() == pytest.approx(91.99)


@pytest.mark.parametrize(("variant", "tasks"), [("plain", 24), ("map", 24), ("distraction", 576)])
def test_bus_oracle_scores_0_8_on_every_task_and_goal(variant, tasks):
    family = build_family("bus", {"variant": variant})
    specs = [family.spec({"permutation": task}, seed=task) for task in range(tasks)]
    trial = play("bus-oracle", family, specs, 8)
    goals = trial.rollout.observation[..., 19:23].flatten(0, 1).unique(dim=0)
    assert len(goals) == 4
    scores = trial.episode_returns()
    torch.testing.assert_close(scores, torch.full_like(scores, 0.8))
    assert int(trial.rollout.valid.sum(0).max()) == 3 * 8


def test_bus_map_reader_knows_the_buses_from_the_second_episode_on():
    family = build_family("bus")
    specs = [family.spec({"permutation": seed % 24}, seed=seed) for seed in range(1200)]
    trial = play("bus-map-reader", family, specs, 3)
    scores = trial.episode_returns()
    torch.testing.assert_close(scores[1:], torch.full_like(scores[1:], 0.8))
    goals = trial.rollout.observation[0, :, 19:23].argmax(1).tolist()
    first = {(seed % 24, goal): score for seed, (goal, score) in enumerate(zip(goals, scores[0].tolist(), strict=True))}
    assert len(first) == 96
    # 4 steps to the map; from there to (8, 0) 4 on foot, to the other corners by the bus at (5, 4) or (4, 3) 5, by the
    # one at (4, 5) or (3, 4) 7, and to (8, 8) 6 on foot instead of these
    steps = {0: (5, 5, 7, 7), 1: (5, 5, 6, 6), 2: (5, 5, 7, 7), 3: (4, 4, 4, 4)}
    for goal, lengths in steps.items():
        expected = sorted(1 - 0.1 * (4 + length - 1) for length in lengths for _ in range(6))
        assert sorted(score for (_, seen), score in first.items() if seen == goal) == pytest.approx(expected, abs=1e-5)
    assert np.mean(list(first.values())) == pytest.approx(0.1625)


def test_bus_map_reader_needs_a_map():
    family = build_family("bus", {"variant": "plain"})
    with pytest.raises(UserError, match='variant = "plain"'):
        play("bus-map-reader", family, [family.spec()])


def test_cooking_oracle_scores_what_the_recipe_allows():
    family = build_family("cooking")
    specs = [family.spec({"kitchen": kitchen}, seed=kitchen) for kitchen in range(64)]
    trial = play("cooking-oracle", family, specs, 30)
    starts = trial.rollout.episode_start & trial.rollout.valid
    recipes = trial.rollout.observation[..., 28:36].unflatten(-1, (2, 4)).argmax(-1)
    scores = trial.episode_returns()
    for kitchen in range(64):
        expected = torch.tensor([best(kitchen, recipe) for recipe in recipes[:, kitchen][starts[:, kitchen]].tolist()])
        torch.testing.assert_close(scores[:, kitchen], expected)
    means = [np.mean([best(kitchen, recipe) for recipe in dishes(kitchen)]) for kitchen in range(64)]
    assert np.mean(means) == pytest.approx(0.400)
    assert means[10] == pytest.approx(0.467, abs=0.0005)


def held(kitchen):
    return [kitchen // 4**drawer % 4 for drawer in range(3)]


def dishes(kitchen):
    """The nine equally likely recipes."""
    return itertools.product(held(kitchen), repeat=2)


def best(kitchen, recipe):
    """Four parts of 0.25, and 0.1 for every step between the bowl and the nearest drawer, there and back."""
    near = [1 if held(kitchen)[1] == ingredient else 2 for ingredient in recipe]
    return 1 - 0.2 * sum(near)


@pytest.mark.parametrize(
    ("player", "family"),
    [
        ("grid-navigation-oracle", "grid-navigation"),
        ("grid-navigation-bayes", "grid-navigation"),
        ("darkroom-oracle", "darkroom"),
        ("bus-oracle", "bus"),
        ("bus-map-reader", "bus"),
        ("cooking-oracle", "cooking"),
        ("pursuit-chaser", "pursuit"),
    ],
)
def test_players_conform(player, family):
    check_agent(player, family=family)


def test_oracles_say_that_they_need_a_descriptor():
    for name in ("grid-navigation", "darkroom", "bus", "cooking"):
        family = build_family(name)
        item = registry.catalogue().get("agents", f"{name}-oracle")
        player = item.build({}, problem=problem_of(family, episodes=1, seed=0, device=torch.device("cpu")))
        player.needs_descriptor = False
        with pytest.raises(UserError, match="descriptor"):
            collect(player, family.batch(1), [family.spec()], plan=player.plan(1))


@pytest.mark.slow
def test_the_benchmark_meets_its_targets():
    rows = list(grid_rows())
    assert not [row for row in rows if row["met"] is False]
    assert sum(row["met"] is True for row in rows) == 13

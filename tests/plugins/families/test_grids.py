"""The grid worlds against transitions worked out by hand."""

import numpy as np
import pytest
import torch

from plugins.families import bus, cooking, grids
from plugins.families.bus import Bus, BusConfig
from plugins.families.cooking import Cooking, CookingConfig
from plugins.families.darkroom import Darkroom, DarkroomConfig
from plugins.families.grid_navigation import GridNavigation, GridNavigationConfig
from registry.errors import TaskError
from taskgen.testing import check_family

STAY, UP, RIGHT, DOWN, LEFT = range(5)


def navigation(**settings):
    return GridNavigation(GridNavigationConfig(**settings), name="builtin/grid-navigation")


def darkroom(**settings):
    return Darkroom(DarkroomConfig(**settings), name="builtin/darkroom")


def city(variant="plain", horizon=20):
    return Bus(BusConfig(variant=variant, horizon=horizon), name="builtin/bus")


def kitchen():
    return Cooking(CookingConfig(), name="builtin/cooking")


def play(family, context, actions, seed=0):
    """Observations before each step and after the last, rewards rounded, and whether it terminated at each step."""
    batch = family.batch(1)
    batch.set_tasks([family.spec(context, seed=seed)])
    seen, rewards, terminated = [batch.reset()[0].tolist()], [], []
    for action in actions:
        outcome = batch.step(torch.tensor([action]))
        seen.append(outcome.observation[0].tolist())
        rewards.append(round(float(outcome.reward), 6))
        terminated.append(bool(outcome.terminated))
    return seen, rewards, terminated


@pytest.mark.parametrize(
    "family",
    [
        navigation(size=3, horizon=4),
        navigation(observation="one-hot"),
        darkroom(size=2, horizon=7),
        darkroom(observation="one-hot"),
        city("plain"),
        city("distraction"),
    ],
    ids=lambda family: f"{family.name}-{'-'.join(map(str, family.structure.values()))}",
)
def test_settings_conform_too(family):
    check_family(family)


def test_grid_navigation_by_hand():
    # to (1, 2), one step past it and back, and a stay; the lower edge and the left edge hold the agent back
    actions = [DOWN, LEFT, UP, UP, RIGHT, UP, DOWN, STAY]
    seen, rewards, terminated = play(navigation(), {"goal": 5 * 1 + 2}, actions)
    assert seen == [[0, 0], [0, 0], [0, 0], [0, 1], [0, 2], [1, 2], [1, 3], [1, 2], [1, 2]]
    assert rewards == [-0.1, -0.1, -0.1, -0.1, 1, -0.1, 1, 1]
    assert not any(terminated)
    upper = play(navigation(), {}, [UP] * 5 + [RIGHT] * 5)
    assert upper[0][-1] == [4, 4]
    assert upper[1] == [-0.1] * 8 + [1] * 2


def test_grid_navigation_has_21_goals():
    family = navigation()
    goals = [goal for goal in range(25) if goal not in (0, 1, 5, 6)]
    assert family.context_space.knobs["goal"].vary.values == tuple(goals)
    assert len(goals) == 21
    for goal in goals:
        family.spec({"goal": goal})
    for goal in (0, 1, 5, 6):
        with pytest.raises(TaskError, match=rf"grid-navigation: goal = {goal} is cell .* none of 0, 1, 5, 6"):
            family.spec({"goal": goal})


def test_one_hot_cells():
    seen, _, _ = play(navigation(observation="one-hot"), {}, [UP, RIGHT])
    assert [cell.index(1.0) for cell in seen] == [0, 1, 6]
    assert all(sum(cell) == 1 for cell in seen)


def test_darkroom_by_hand():
    right, left, up, down, stay = range(5)
    seen, rewards, _ = play(darkroom(), {"goal": 10 * 1 + 1}, [left, down, right, up, stay, up, down])
    assert seen == [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1], [1, 1], [1, 2], [1, 1]]
    assert rewards == [0, 0, 0, 1, 1, 0, 1]
    assert play(darkroom(), {"goal": 0}, [stay, left, up])[1] == [1, 1, 0]


def test_goals_move_to_neighbours():
    rng = np.random.default_rng(0)
    family = navigation(size=3)
    reached = {int(family.mutate({"size": 3, "goal": 2}, rng)["goal"]) for _ in range(50)}
    assert reached == {5}  # (0, 2) has the neighbours (0, 1), closed, and (1, 2)
    assert {int(darkroom().mutate({"goal": 11}, rng)["goal"]) for _ in range(200)} == {1, 10, 12, 21}


# --- bus ---

(B_LEFT, B_UP, B_RIGHT, B_DOWN, B_STAY, RIDE, B_END) = range(7)


def place(observation):
    """Column and row told by a one-hot observation of the city, whether a bus stops there, and the goal."""
    column, row, stop, goal = observation[:9], observation[9:18], observation[18], observation[19:23]
    assert [sum(part) for part in (column, row, goal)] == [1, 1, 1]
    return (column.index(1), row.index(1)), stop == 1, bus.GOALS[goal.index(1)]


def seed_of(family, context, goal):
    """A seed whose first episode has `goal`."""
    return next(seed for seed in range(100) if place(play(family, context, [], seed)[0][0])[2] == goal)


def test_buses_by_hand():
    # permutation 0: (4, 5) to (0, 1); ride there, back, there again and walk down to the corner
    family = city()
    seed = seed_of(family, {"permutation": 0}, (0, 0))
    actions = [RIDE, B_UP, RIDE, RIDE, RIDE, B_STAY, B_DOWN]
    seen, rewards, terminated = play(family, {"permutation": 0}, actions, seed)
    here = [place(observation)[0] for observation in seen]
    assert here == [(4, 4), (4, 4), (4, 5), (0, 1), (4, 5), (0, 1), (0, 1), (0, 0)]
    assert [place(observation)[1] for observation in seen] == [False, False, True, True, True, True, True, False]
    assert rewards == [-0.1] * 6 + [1]
    assert terminated == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("permutation", "ends"),
    [
        (0, [(0, 1), (0, 7), (8, 1), (8, 7)]),
        (1, [(0, 1), (0, 7), (8, 7), (8, 1)]),
        (8, [(0, 7), (8, 1), (0, 1), (8, 7)]),
        (23, [(8, 7), (8, 1), (0, 7), (0, 1)]),
    ],
)
def test_permutations_are_in_lexicographic_order(permutation, ends):
    for walk, end in zip((B_UP, B_RIGHT, B_LEFT, B_DOWN), ends, strict=True):
        assert place(play(city(), {"permutation": permutation}, [walk, RIDE])[0][-1])[0] == end


def test_useless_buses():
    # task 24: the first useful permutation, the second useless one: (3, 5) and (5, 3) have exchanged their ends
    for task, ends in ((0, [(0, 4), (4, 0), (8, 4), (4, 8)]), (24, [(0, 4), (4, 0), (4, 8), (8, 4)])):
        for (across, along), end in zip(
            [(B_RIGHT, B_UP), (B_LEFT, B_DOWN), (B_LEFT, B_UP), (B_RIGHT, B_DOWN)], ends, strict=True
        ):
            seen, _, _ = play(city("distraction"), {"permutation": task}, [across, along, RIDE])
            assert place(seen[-1])[0] == end
        assert place(play(city("distraction"), {"permutation": task}, [B_UP, RIDE])[0][-1])[0] == (0, 1)
    assert place(play(city("plain"), {}, [B_RIGHT, B_UP, RIDE])[0][-1])[0] == (5, 5)


def test_distraction_trains_on_every_eleventh_task():
    train = city("distraction").context_space.knobs["permutation"].vary.values
    assert len(train) == 53
    assert train[:3] == (0, 11, 22)
    assert city("distraction").tasks == 576


def test_the_map_shows_the_task_at_its_place_only():
    seen, _, _ = play(city("map"), {"permutation": 17}, [B_RIGHT, B_RIGHT, B_RIGHT, B_DOWN, B_STAY, B_DOWN])
    shown = [observation[23:] for observation in seen]
    assert [sum(task) for task in shown] == [0, 0, 0, 0, 1, 1, 0]
    assert shown[4].index(1) == 17


def test_ending_an_episode_costs_what_the_steps_left_would_have():
    assert play(city(), {}, [B_END])[1:] == ([-2.0], [True])
    family = city(horizon=10)
    seed = seed_of(family, {}, (8, 8))
    assert play(family, {}, [B_LEFT, B_END], seed)[1:] == ([-0.1, -0.9], [False, True])


def test_walking_to_any_corner_returns_0_3():
    for x, y in bus.GOALS:
        walk = [B_RIGHT if x else B_LEFT] * 4 + [B_UP if y else B_DOWN] * 4
        rewards, terminated = play(city(), {}, walk, seed_of(city(), {}, (x, y)))[1:]
        assert sum(rewards) == pytest.approx(0.3)
        assert terminated == [False] * 7 + [True]


def test_all_corners_are_goals_equally_often():
    family = city()
    batch = family.batch(4000)
    batch.set_tasks([family.spec(seed=seed) for seed in range(4000)])
    share = batch.reset()[:, 19:23].mean(0)
    assert torch.allclose(share, torch.full((4,), 0.25), atol=4 * (0.25 * 0.75 / 4000) ** 0.5)


def test_mutation_exchanges_two_buses():
    rng = np.random.default_rng(0)
    for variant, tasks in (("plain", 24), ("distraction", 576)):
        family = city(variant)
        for task in range(0, tasks, 7):
            context = {"variant": variant, "horizon": 20, "permutation": task}
            before, after = family.descriptor(context), family.descriptor(family.mutate(context, rng))
            assert np.abs(before - after).sum() == 4


# --- cooking ---

(K_LEFT, K_UP, K_RIGHT, K_DOWN, K_STAY, K_END, PICK, DROP) = range(8)


def told(observation):
    """Cell, bowl here, drawer here, hand, bowl and recipe told by an observation of the kitchen; 4 is nothing."""
    sizes = [3, 3, 1, 1, *[5] * 4, *[4] * 2]
    parts = np.split(np.array(observation), np.cumsum(sizes)[:-1])
    x, y, hand, *rest = [int(part.argmax()) for part in (parts[0], parts[1], *parts[4:])]
    return (x, y), bool(parts[2][0]), bool(parts[3][0]), hand, tuple(rest[:3]), tuple(rest[3:])


def recipe_seed(context, recipe):
    return next(seed for seed in range(200) if told(play(kitchen(), context, [], seed)[0][0])[5] == recipe)


# drawers hold 0, 1, 2 from (2, 0) up: 0 + 4 * 1 + 16 * 2
OWN = {"kitchen": 36}


def test_a_dish_by_hand():
    # ingredient 1 from the middle drawer, then 2 from the upper one, put in the bowl
    actions = [K_RIGHT, PICK, K_LEFT, DROP, K_RIGHT, K_UP, PICK, K_DOWN, K_LEFT, DROP]
    seen, rewards, terminated = play(kitchen(), OWN, actions, recipe_seed(OWN, (1, 2)))
    assert rewards == [-0.1, 0.25, -0.1, 0.25, -0.1, -0.1, 0.25, -0.1, -0.1, 0.25]
    assert terminated == [False] * 9 + [True]
    cells = [(1, 1), (2, 1), (2, 1), (1, 1), (1, 1), (2, 1), (2, 2), (2, 2), (2, 1), (1, 1), (1, 1)]
    assert [told(observation)[0] for observation in seen] == cells
    assert [told(observation)[3] for observation in seen] == [4, 4, 1, 1, 4, 4, 4, 2, 2, 2, 4]
    assert told(seen[0])[1:3] == (True, False)
    assert told(seen[1])[1:3] == (False, True)
    assert told(seen[-1])[4] == (1, 2, 4)


def test_wrong_steps_cost_more():
    seed = recipe_seed(OWN, (0, 2))
    # at the bowl nothing is picked up; the wrong ingredient; a right one, dropped on the floor; none to drop
    actions = [PICK, K_RIGHT, PICK, K_DOWN, PICK, K_LEFT, DROP, DROP]
    seen, rewards, _ = play(kitchen(), OWN, actions, seed)
    assert rewards == [-0.35, -0.1, -0.35, -0.1, 0.25, -0.1, -0.35, -0.1]
    assert [told(observation)[3] for observation in seen] == [4, 4, 4, 1, 1, 0, 0, 4, 4]
    # picking up again and again earns nothing: the part is there only once
    seen, rewards, _ = play(kitchen(), OWN, [K_RIGHT, K_DOWN, PICK, PICK, K_UP, PICK, K_DOWN, PICK], seed)
    assert rewards == [-0.1, -0.1, 0.25, -0.1, -0.1, -0.35, -0.1, 0.25]


def test_the_second_part_can_be_lost_and_found():
    # 1 in the bowl; 1 again is wrong; 2 is right, dropped on the floor, picked up again, put in the bowl
    actions = [K_RIGHT, PICK, K_LEFT, DROP, K_RIGHT, PICK, K_UP, PICK, DROP, PICK, K_LEFT, K_DOWN, DROP]
    _, rewards, terminated = play(kitchen(), OWN, actions, recipe_seed(OWN, (1, 2)))
    assert rewards == [-0.1, 0.25, -0.1, 0.25, -0.1, -0.35, -0.1, 0.25, -0.35, 0.25, -0.1, -0.1, 0.25]
    assert terminated == [False] * 12 + [True]


def test_a_wrong_ingredient_in_the_bowl_stays():
    # 1 goes in first although 0 is called for; 0 then lies second, which completes nothing; the fourth finds no room
    once = [K_RIGHT, PICK, K_LEFT, DROP]
    other = [K_RIGHT, K_DOWN, PICK, K_UP, K_LEFT, DROP]
    seen, rewards, terminated = play(kitchen(), OWN, once + other + once + once, recipe_seed(OWN, (0, 0)))
    assert told(seen[4])[4] == (1, 4, 4)
    assert told(seen[10])[4] == (1, 0, 4)
    assert told(seen[14])[4] == told(seen[18])[4] == (1, 0, 1)
    assert rewards[:10] == [-0.1, -0.35, -0.1, -0.1, -0.1, -0.1, 0.25, -0.1, -0.1, -0.35]
    assert not any(terminated)


def test_ending_early_in_the_kitchen():
    assert play(kitchen(), {}, [K_END])[1:] == ([-2.0], [True])
    assert play(kitchen(), {}, [K_STAY] * 19 + [K_END])[1:] == ([-0.1] * 20, [False] * 19 + [True])


def test_kitchens_are_numbers_in_base_4():
    assert cooking.drawers(10) == (2, 2, 0)
    assert cooking.drawers(36) == (0, 1, 2)
    assert cooking.drawers(63) == (3, 3, 3)
    vary = kitchen().context_space.knobs["kitchen"].vary.values
    assert (len(vary), 10.0 in vary) == (63, False)


def test_recipes_are_drawn_from_the_drawers():
    family = kitchen()
    batch = family.batch(9000)
    batch.set_tasks([family.spec(OWN, seed=seed) for seed in range(9000)])
    recipes = [told(row)[5] for row in batch.reset().numpy()]
    for recipe in ((0, 0), (0, 1), (2, 0), (2, 2)):
        assert recipes.count(recipe) / 9000 == pytest.approx(1 / 9, abs=4 * (8 / 81 / 9000) ** 0.5)
    assert set(recipes) == {(a, b) for a in range(3) for b in range(3)}


def test_mutation_changes_one_drawer():
    rng = np.random.default_rng(0)
    for number in range(64):
        after = kitchen().mutate({"horizon": 20, "kitchen": number}, rng)["kitchen"]
        assert sum(a != b for a, b in zip(cooking.drawers(number), cooking.drawers(after), strict=True)) == 1


# --- pictures ---


def test_pictures_show_goal_and_agent():
    family = navigation()
    picture = family.render(family.spec({"goal": 22}))
    assert picture.shape == (80, 80, 3)
    assert tuple(picture[40, 72]) == grids.GOAL  # (4, 2) is the third row from below
    assert tuple(picture[72, 8]) == grids.AGENT
    assert tuple(picture[56 + 8, 8]) != grids.AGENT
    assert tuple(family.frame(family.spec({"goal": 22}), torch.tensor([5]))[72, 24]) == grids.AGENT


def test_texts():
    assert navigation(size=3).text(navigation(size=3).spec()) == ". . G\nx x .\nS x ."
    assert darkroom(size=2).text(darkroom(size=2).spec({"goal": 2})) == ". .\nS G"
    assert kitchen().text(kitchen().spec({"kitchen": 10})) == ". . 0\n. S 2\n. . 2"
    lines = city("map").text(city("map").spec({"permutation": 0})).split("\n")
    assert lines[3] == ". . . . A . . . ."
    assert lines[4] == ". . . C S B . . ."
    assert lines[5] == ". . . . D . . m ."
    assert lines[7] == "a . . . . . . . c"


@pytest.mark.slow
@pytest.mark.parametrize("kitchen_number", [10, 36, 57])
def test_no_way_of_cooking_pays_more_than_fetching_from_the_nearest_drawers(kitchen_number):
    """All states that can be reached, each with the highest return so far: no loop of rewards, no short cut."""
    family, held = kitchen(), cooking.drawers(kitchen_number)
    dynamics = cooking._Kitchen(family.config, "cpu")
    one = dynamics.tables([family.spec({"kitchen": kitchen_number})])
    for recipe in {(a, b) for a in held for b in held}:
        begin = torch.tensor([[dynamics.empty, cooking._BOWLS - 1, 0, 4 * recipe[0] + recipe[1], 0]])
        states, value, highest = begin, torch.zeros(1), -torch.inf
        for _ in range(family.horizon):
            states, value = states.repeat_interleave(8, 0), value.repeat_interleave(8)
            tables = {name: table.expand(len(states), *table.shape[1:]) for name, table in one.items()}
            actions = torch.arange(8).repeat(len(states) // 8)
            states, reward, ended = dynamics.step(tables, states, actions, torch.empty(len(states), 0))
            value = value + reward
            highest = max(highest, float(value[ended].max()))
            states, where = states[~ended].unique(dim=0, return_inverse=True)
            value = torch.full((len(states),), -torch.inf).scatter_reduce(0, where, value[~ended], "amax")
        best = 1 - 0.2 * sum(1 if held[1] == ingredient else 2 for ingredient in recipe)
        assert max(highest, float(value.max())) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(
    ("family", "goal", "walk", "expected"),
    [
        (navigation(), 5 * 2 + 1, [RIGHT, RIGHT, UP] + [STAY] * 12, -0.2 + 13),  # 3 steps away, 15 in all
        (navigation(horizon=2), 5 * 2 + 1, [RIGHT, RIGHT], -0.2),  # out of reach
        (darkroom(), 0, [4] * 100, 100.0),  # at the start
        (darkroom(), 10 * 1 + 0, [0] + [4] * 99, 100.0),  # the first step ends on it
        (darkroom(), 10 * 3 + 2, [0, 0, 0, 2, 2] + [4] * 95, 96.0),
    ],
)
def test_optimal_return_is_that_of_walking_straight_there(family, goal, walk, expected):
    assert family.optimal_return(family.spec({"goal": goal})) == pytest.approx(expected)
    _, rewards, _ = play(family, {"goal": goal}, walk)
    assert sum(rewards) == pytest.approx(expected)


@pytest.mark.parametrize(("family", "once"), [(navigation(), 1 - 1.4), (darkroom(), 1.0)])
def test_solved_is_coming_across_the_goal(family, once):
    never = once - (1.1 if family.horizon == 15 else 1.0)
    assert never < family.solved_return < once

"""The belief oracle against the tiger's numbers, all ways to play and all paths that states may take."""

import itertools

import numpy as np
import pytest
import torch

from agents.reference.belief_oracle import Model, expected_returns, foreseen, normalised
from agents.reference.tables import Tables, action_values
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CPU = torch.device("cpu")
START = torch.zeros(1, dtype=torch.int64)


def model_of(reward, moves, heard, horizon):
    """From R [S, A], P [S, A, S] and what is heard [A, S, K]; no look at the first state, which is any."""
    reward, moves, heard = (torch.tensor(values, dtype=torch.float64) for values in (reward, moves, heard))
    outcome = moves[:, :, None] * heard.transpose(1, 2)[None]
    values = action_values(Tables(reward[None], moves[None]), horizon)
    values = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
    first = torch.full((1, 1, len(reward)), 1 / len(reward), dtype=torch.float64)
    return Model(first, reward[None], outcome[None], values)


def tiger(horizon):
    """Kaelbling, Littman and Cassandra 1998, section 5.1: states left and right; listen, open left, open right."""
    reward = [[-1, -100, 10], [-1, 10, -100]]
    moves = [[[1, 0], [0.5, 0.5], [0.5, 0.5]], [[0, 1], [0.5, 0.5], [0.5, 0.5]]]
    heard = [[[0.85, 0.15], [0.15, 0.85]], [[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2]
    return model_of(reward, moves, heard, horizon)


@pytest.mark.parametrize(
    ("horizon", "value"),
    [
        (1, -1.0),  # listen
        (2, -2.0),  # and listen: having heard it once on the left, opening is worth .85 * 10 - .15 * 100 = -6.5
        (3, -2 + 0.85**2 * 10 - 0.15**2 * 100 - (1 - 0.85**2 - 0.15**2)),  # open where it was heard twice on one side
    ],
)
def test_the_tiger_by_hand(horizon, value):
    assert expected_returns(tiger(horizon), horizon - 1).item() == pytest.approx(value)


def test_the_last_door_is_opened_beyond_nine_tenths():
    """One step before the end: 10 p - 100 (1 - p) against -1."""
    for left, action in ((0.05, 1), (0.11, 0), (0.89, 0), (0.91, 2)):
        belief = torch.tensor([[[left, 1 - left]]], dtype=torch.float64)
        assert foreseen(tiger(4), belief, START + 3, 3)[0, 0].argmax() == action
    for depth in (0, 1, 3):
        belief = torch.tensor([[[0.25, 0.75]]], dtype=torch.float64)
        expected = [-1.0, -0.25 * 100 + 0.75 * 10, 0.25 * 10 - 0.75 * 100]
        assert foreseen(tiger(4), belief, START + 3, depth)[0, 0].tolist() == pytest.approx(expected)
        assert foreseen(tiger(4), belief, START + 4, depth)[0, 0].tolist() == [0, 0, 0]


def test_qmdp_values_what_it_would_know():
    """Knowing where the tiger is, one earns 10 a step: listening now costs 11, whatever it may tell."""
    belief = torch.tensor([[[0.5, 0.5]]], dtype=torch.float64)
    assert foreseen(tiger(3), belief, START, 0)[0, 0].tolist() == pytest.approx([19, -25, -25])
    # One step foreseen: listening is followed by the better of listening and opening under the belief of then.
    heard = max(-1 + 10, 0.85 * 20 + 0.15 * (-100 + 10))
    assert foreseen(tiger(3), belief, START, 1)[0, 0, 0].item() == pytest.approx(-1 + heard)


def test_the_value_is_that_of_the_best_of_all_ways_to_play():
    """2 states, 2 actions, 2 symbols, 3 steps: 2^7 plans, each by going through all that may happen."""
    rng = np.random.default_rng(1)
    reward, moves = rng.normal(size=(2, 2)), rng.dirichlet([1, 1], size=(2, 2))
    heard = rng.dirichlet([1, 1], size=(2, 2))
    histories = [history for length in range(3) for history in itertools.product(range(2), repeat=length)]

    def worth(plan, state, history=()):
        if len(history) == 3:
            return 0.0
        action = plan[history]
        later = sum(
            moves[state, action, after] * heard[action, after, symbol] * worth(plan, after, (*history, symbol))
            for after in range(2)
            for symbol in range(2)
        )
        return reward[state, action] + later

    plans = (dict(zip(histories, choice, strict=True)) for choice in itertools.product(range(2), repeat=7))
    best = max(0.5 * worth(plan, 0) + 0.5 * worth(plan, 1) for plan in plans)
    model = model_of(reward.tolist(), moves.tolist(), heard.tolist(), 3)
    bounds = [expected_returns(model, depth).item() for depth in range(5)]
    assert bounds[2] == pytest.approx(best)
    assert bounds[3:] == pytest.approx([best] * 2)
    assert bounds[0] > bounds[1] + 1e-3 > bounds[2] + 2e-3


def family_of(**settings):
    return build_family("tabular-pomdp", settings)


def oracle(family, depth, episodes=1):
    problem = problem_of(family, episodes=episodes, seed=0, device=CPU)
    return build_agent(Part.model_validate({"name": "belief-oracle", "depth": depth}), problem)


def test_the_belief_is_that_of_all_paths():
    """By the probability of every path of states with what was seen and paid, over two episodes of three tasks."""
    family, tasks, steps = family_of(states=3, horizon=4), 3, 8
    specs = [family.spec({"concentration": 0.7, "blur": 0.8}, seed=seed) for seed in range(tasks)]
    built, carries = oracle(family, 1, 2), []
    act = built.act

    def watched(carry, step):
        action, following = act(carry, step)
        carries.append(following)
        return action, following

    built.act = watched
    batch = family.batch(tasks)
    rollout = collect(built, batch, specs, plan=built.plan(2)).rollout
    told = batch.descriptor().double().numpy()
    for task in range(tasks):
        paid, moves, looks = np.split(told[task], [9, 36])
        paid, moves, looks = paid.reshape(3, 3), moves.reshape(3, 3, 3), looks.reshape(3, 2)
        seen, actions = rollout.observation[:, task].argmax(-1), rollout.action[:, task]
        for last in range(steps):
            begun, belief = 4 * (last // 4), np.zeros(3)
            for path in itertools.product(range(3), repeat=last - begun + 1):
                share = looks[path[0], seen[begun]]
                for step, (here, there) in enumerate(itertools.pairwise(path), begun):
                    chance = paid[here, actions[step]]
                    share *= chance if rollout.reward[step, task] else 1 - chance
                    share *= moves[here, actions[step], there] * looks[there, seen[step + 1]]
                belief[path[-1]] += share
            np.testing.assert_allclose(carries[last].belief[task], belief / belief.sum(), atol=1e-5)
    assert carries[steps - 1].time.tolist() == [3] * tasks


def test_play_earns_what_was_foreseen_and_nobody_more():
    family, tasks = family_of(states=3, actions=2, horizon=3), 4000
    specs = [family.spec(seed=seed) for seed in range(tasks)]
    batch = family.batch(tasks)
    batch.set_tasks(specs)
    found = {}
    for depth in (0, 2):
        built = oracle(family, depth)
        found[depth] = collect(built, batch, specs, plan=built.plan(1)).episode_returns()[0].double()
    model = oracle(family, 2)._model(batch.descriptor())
    exact = expected_returns(model, 2).double()
    error = (found[2] - exact).std() / tasks**0.5
    assert abs(float((found[2] - exact).mean())) < 4 * float(error)
    assert float(found[0].mean() - exact.mean()) < 4 * float(error)
    assert (expected_returns(model, 0) >= expected_returns(model, 2) - 1e-5).all()


def test_what_tables_call_impossible_leaves_nothing_known():
    assert normalised(torch.tensor([[0.0, 0.0], [1.0, 3.0]])).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_looking_too_far_is_refused():
    with pytest.raises(UserError, match=r"depth = 9 looks at 12\^9 beliefs over 4 states, .* Lower depth"):
        oracle(family_of(), 9)
    oracle(family_of(horizon=3), 9)  # no deeper than there are steps

"""Catch against transitions worked out by hand."""

import pytest
import torch

import registry
from taskgen.build import build_family
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.testing import check_family

LEFT, STAY, RIGHT = range(3)


def returns(player, family, specs, episodes):
    """[episodes, tasks] of a reference player."""
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    agent = registry.catalogue().get("agents", player).build({}, problem=problem)
    return collect(agent, family.batch(len(specs)), specs, plan=agent.plan(episodes)).episode_returns()


def _batch(seeds, context=None, **settings):
    family = build_family("catch", settings)
    batch = family.batch(len(seeds))
    batch.set_tasks([family.spec(context or {}, seed=seed) for seed in seeds])
    return batch


def test_the_ball_falls_a_row_a_step_and_the_paddle_moves_a_column():
    batch = _batch([3])
    column = batch.reset()[0, 0].item()
    assert batch.step(torch.tensor([LEFT])).observation.tolist() == [[column, 1.0, 1.0]]
    assert batch.step(torch.tensor([STAY])).observation.tolist() == [[column, 2.0, 1.0]]
    assert batch.step(torch.tensor([RIGHT])).observation.tolist() == [[column, 3.0, 2.0]]


def test_the_edge_holds_the_paddle_and_the_last_step_alone_pays():
    batch = _batch(range(64))
    column = batch.reset()[:, 0]
    for _ in range(8):
        outcome = batch.step(torch.full((64,), LEFT))
        assert not outcome.reward.any()
        assert not outcome.terminated.any()
    outcome = batch.step(torch.full((64,), LEFT))
    assert outcome.terminated.all()
    assert torch.equal(outcome.observation[:, 2], torch.zeros(64))
    assert torch.equal(outcome.reward, torch.where(column == 0, 1.0, -1.0))
    assert set(column.tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_the_board_shows_ball_and_paddle():
    batch = _batch([3], observation="board", rows=3, columns=3)
    board = batch.reset()
    assert board.dtype == torch.uint8
    assert board.shape == (1, 3, 3, 1)
    column = int(board[0, 0, :, 0].argmax())
    assert board[0, 2, :, 0].tolist() == [0, 1, 0]
    after = batch.step(torch.tensor([RIGHT])).observation[0, ..., 0]
    assert after.nonzero().tolist() == [[1, column], [2, 2]]


def test_noise_is_on_every_reward():
    batch = _batch(range(2000), {"reward_noise": 0.5})
    batch.reset()
    reward = batch.step(torch.full((2000,), STAY)).reward
    assert abs(float(reward.mean())) < 0.05
    assert float(reward.std()) == pytest.approx(0.5, abs=0.03)


def test_balls_out_of_reach_count_in_the_optimum():
    family = build_family("catch", {"rows": 2, "columns": 5})
    assert family.optimal_return(family.spec()) == pytest.approx((3 - 2) / 5)
    assert build_family("catch").optimal_return(build_family("catch").spec()) == 1.0


@pytest.mark.parametrize("observation", ["numbers", "board"])
def test_the_oracle_catches_every_ball(observation):
    family = build_family("catch", {"observation": observation})
    scores = returns("catch-oracle", family, [family.spec(seed=seed) for seed in range(20)], 3)
    assert scores.tolist() == [[1.0] * 20] * 3


def test_the_board_conforms_too():
    check_family(build_family("catch", {"observation": "board"}))

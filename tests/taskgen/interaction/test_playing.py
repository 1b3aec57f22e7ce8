"""`TrialPlayer`: what an agent sees and does by hand is what it sees and does in `collect`."""

from typing import Any

import numpy as np
import pytest
import torch

import taskgen
from registry.config import Part
from registry.errors import UserError
from taskgen.interaction.agent import Action, CollectionPlan, Problem, Rollout
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.playing import TrialPlayer
from taskgen.testing import toy_families

CPU = torch.device("cpu")


def by_hand(trial: TrialPlayer, env: Any, seeds: list[int | None]) -> list[float]:
    """Returns of the episodes."""
    returns: list[float] = []
    while not trial.over:
        observation, _ = env.reset(seed=seeds[trial.episode])
        returns.append(0.0)
        ended = False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(trial.act(observation))
            trial.observe(observation, reward, terminated, truncated)
            returns[-1] += reward
            ended = terminated or truncated
    return returns


def test_every_space_is_played_by_hand() -> None:
    """What `act` gives lies in the family's own action space, whatever agents answer in."""
    for toy in toy_families():
        problem = problem_of(toy, episodes=1, seed=1, device=CPU)
        trial = TrialPlayer(build_agent(Part(name="random"), problem), problem, action_space=toy.action_space)
        seen = toy.observation_space.sample()
        for _ in range(3):
            action = trial.act(seen)
            assert toy.action_space.contains(np.int64(action) if isinstance(action, int) else action), toy.name
            trial.observe(seen, 0.0, False, False)


def test_what_is_no_outcome_is_refused() -> None:
    problem = problem_of(taskgen.build_family("bandit"), episodes=2, seed=1, device=CPU)
    agent = build_agent(Part(name="rl2"), problem)
    for episodes in (0, -3, 2.5, "3", True):
        with pytest.raises(UserError, match=r"episodes = .*: expected an integer from 1 on"):
            TrialPlayer(agent, problem, episodes=episodes)  # type: ignore[arg-type]
    trial = TrialPlayer(agent, problem)
    with pytest.raises(UserError, match="observation 'hello': expected an element of"):
        trial.act("hello")
    trial.act(np.zeros(problem.observation_space.shape))
    for reward in (float("nan"), float("inf"), "1"):
        with pytest.raises(UserError, match="expected a finite number"):
            trial.observe(np.zeros(problem.observation_space.shape), reward, False, False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("agent", "family", "episodes"),
    [
        ("rl2", "bandit", 6),
        ("rl2", "point-navigation", 2),
        ("varibad", "grid-navigation", 3),
        ("mfec", "catch", 3),
        ("thompson", "bandit", 8),
        ("ppo", "grid-navigation", 2),
    ],
)
def test_equals_collect(agent: str, family: str, episodes: int) -> None:
    built = taskgen.build_family(family)
    spec = built.spec(seed=3)
    problem = problem_of(built, episodes=episodes, seed=1, device=CPU)
    batch = built.batch(1)
    batch.set_tasks([spec])
    player = build_agent(Part(name=agent), problem)
    plan = player.plan(episodes)
    assert plan.slots == 1 or not plan.side_by_side
    expected = collect(player, built.batch(plan.slots), [spec], plan=plan).episode_returns()[:, 0].tolist()
    again = build_agent(Part(name=agent), problem)  # with the same random stream
    trial = TrialPlayer(again, problem, descriptor=batch.descriptor()[0])
    env = taskgen.make(spec)
    assert by_hand(trial, env, [3] + [None] * (episodes - 1)) == pytest.approx(expected, abs=1e-5)


class Scripted:
    """Acts by place, time and what it was adapted to; keeps every rollout it adapts to."""

    needs_descriptor = False

    def __init__(self, plan: CollectionPlan) -> None:
        self.kept: list[Rollout] = []
        self._plan = plan

    def plan(self, episodes: int) -> CollectionPlan:
        return self._plan

    def begin_trial(self, batch: int) -> Any:
        return torch.zeros(batch)

    def act(self, carry: Any, step: Any) -> tuple[Action, Any]:
        push = 0.01 * step.episode_index + 0.1 * step.observation[:, 0] + carry + 0.2 * step.previous_reward
        value = torch.stack([push, -push], 1).clamp(-1, 1)
        return Action(value, {"push": push, "start": step.trial_start}), carry

    def adapt(self, carry: Any, rollout: Rollout) -> Any:
        self.kept.append(rollout)
        return carry + 0.05

    def learn(self, trial: Any) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("side_by_side", [True, False])
def test_an_agent_that_adapts_between_rounds_sees_the_same_rounds(side_by_side: bool) -> None:
    family = taskgen.build_family("point-navigation", {"horizon": 4})
    spec = family.spec(seed=7)
    plan = CollectionPlan(3, 2, side_by_side=side_by_side)
    problem = problem_of(family, episodes=6, seed=0, device=CPU)
    played, hand = Scripted(plan), Scripted(plan)
    trial = collect(played, family.batch(plan.slots), [spec], plan=plan)
    player = TrialPlayer(hand, problem)
    returns = by_hand(player, taskgen.make(spec), [7, *[None] * 5])
    assert returns == pytest.approx(trial.episode_returns()[:, 0].tolist(), abs=1e-5)
    assert len(hand.kept) == len(played.kept) == 2
    for ours, theirs in zip(hand.kept, played.kept, strict=True):
        for name in ("observation", "action", "reward", "terminated", "truncated", "next_observation", "episode_start"):
            assert torch.allclose(getattr(ours, name).float(), getattr(theirs, name).float(), atol=1e-6), name
        for name in ("trial_start", "episode_index", "valid"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert torch.allclose(ours.record["push"], theirs.record["push"], atol=1e-6)
        assert torch.equal(ours.record["start"], theirs.record["start"])


def test_places_that_are_done_before_others_wait() -> None:
    """Two episodes side by side, of 3 steps and of 1."""
    problem = Problem(
        *(
            taskgen.build_family("point-navigation").observation_space,
            taskgen.build_family("point-navigation").action_space,
        ),
        *(9, 4, 0, "builtin/point-navigation", {}, 0, CPU),
    )
    agent = Scripted(CollectionPlan(2, 2, side_by_side=True))
    trial = TrialPlayer(agent, problem)
    for reward, ended in ((1.0, False), (2.0, False), (3.0, True), (4.0, True)):
        trial.act(np.zeros(2, dtype=np.float32))
        trial.observe(np.ones(2, dtype=np.float32), reward, ended, False)
    (rollout,) = agent.kept
    assert rollout.valid.tolist() == [[True, True], [True, False], [True, False]]
    assert rollout.reward[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert float(rollout.reward[0, 1]) == 4.0
    assert rollout.terminated[:, 0].tolist() == [False, False, True]
    assert rollout.episode_index[0].tolist() == [0, 1]
    assert rollout.trial_start.tolist()[0] == [True, True]
    assert trial.episode == 2


def test_what_is_out_of_turn_is_refused() -> None:
    family = taskgen.build_family("bandit")
    problem = problem_of(family, episodes=2, seed=0, device=CPU)
    trial = TrialPlayer(build_agent(Part(name="rl2"), problem), problem)
    env = taskgen.make(family.spec())
    observation, _ = env.reset(seed=0)
    with pytest.raises(UserError, match="observe was called before act"):
        trial.observe(observation, 0.0, False, False)
    trial.act(observation)
    with pytest.raises(UserError, match="act was called twice"):
        trial.act(observation)
    trial.observe(observation, 1.0, True, False)
    with pytest.raises(UserError, match=r"observation .*: expected an element of"):
        trial.act(np.zeros(7))
    trial.act(observation)
    trial.observe(observation, 1.0, False, True)
    assert trial.over
    with pytest.raises(UserError, match="the trial is over after 2 episodes"):
        trial.act(observation)
    with pytest.raises(UserError, match="oracle"):
        TrialPlayer(build_agent(Part(name="ppo"), problem), problem)

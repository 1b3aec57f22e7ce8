"""`collect` against one environment per slot, played alone, and its bookkeeping by hand."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import taskgen
from taskgen.batch import TaskBatch
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Action, CollectionPlan, Rollout, Step, Trial
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec

pytestmark = pytest.mark.usefixtures("scripted_families")


@dataclass
class Scripted:
    """Acts on what it sees alone, and keeps everything it is given. Its carry counts steps and adaptations."""

    needs_descriptor: bool = False
    steps: list[Step] = field(default_factory=list)
    adapted: list[tuple[Tensor, Rollout]] = field(default_factory=list)

    def begin_trial(self, batch: int) -> Tensor:
        return torch.zeros(batch, 2, dtype=torch.int64)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        self.steps.append(step)
        chosen = (997 * step.observation[:, 0] + 10 * step.previous_reward).to(torch.int64) + step.previous_action
        return Action(chosen % 3, {"seen": step.observation[:, 1]}), carry + torch.tensor([1, 0])

    def adapt(self, carry: Tensor, rollout: Rollout) -> Tensor:
        self.adapted.append((carry, rollout))
        return carry + torch.tensor([0, 1])

    def plan(self, episodes: int) -> CollectionPlan:
        return CollectionPlan(1, episodes)

    def learn(self, trial: Trial) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state == {}


def alone(spec: TaskSpec, episodes: int, seed: int, first: int = 0, stride: int = 1) -> list[dict[str, Any]]:
    """The steps of one slot, in an environment of its own, with the agent's rule.

    Played are the episodes number first, first + stride, ...; those between are passed over.
    """
    env = taskgen.make(spec)
    rows: list[dict[str, Any]] = []
    action, reward = 0, 0.0
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        for _ in range(stride - 1 if episode else first):
            observation, _ = env.reset()
        ended = False
        while not ended:
            previous = (action, reward)
            action = int((997 * torch.tensor(observation[0]) + 10 * torch.tensor(reward)).to(torch.int64) + action) % 3
            following, reward, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            rows.append(
                {
                    "observation": observation.tolist(),
                    "previous_action": previous[0],
                    "previous_reward": previous[1],
                    "action": action,
                    "reward": reward,
                    "terminated": terminated,
                    "truncated": truncated,
                    "next_observation": following.tolist(),
                    "episode_start": not rows or rows[-1]["terminated"] or rows[-1]["truncated"],
                    "trial_start": not rows,
                    "episode_index": episode,
                }
            )
            observation = following
    return rows


def seen(agent: Scripted, rollout: Rollout, slot: int) -> list[dict[str, Any]]:
    """The valid steps of a slot, as recorded and as the agent saw them."""
    rows: list[dict[str, Any]] = []
    for time, step in enumerate(agent.steps):
        if rollout.valid[time, slot]:
            names = ("action", "reward", "terminated", "truncated", "next_observation")
            row = {name: getattr(rollout, name)[time, slot].tolist() for name in names}
            for name in ("observation", "episode_start", "trial_start", "episode_index"):
                row[name] = getattr(rollout, name)[time, slot].tolist()
                assert getattr(step, name)[slot].tolist() == row[name]
            row["previous_action"] = step.previous_action[slot].tolist()
            row["previous_reward"] = step.previous_reward[slot].tolist()
            rows.append(row)
    return rows


def coins(stop: float = 0.3, slots: int = 6) -> tuple[TaskFamily, list[TaskSpec], TaskBatch]:
    family = taskgen.build_family("scripted_families/coins")
    return family, [family.spec({"stop": stop}, seed=100 + slot) for slot in range(slots)], family.batch(slots)


@pytest.mark.parametrize(("rounds", "episodes"), [(1, 1), (1, 4), (4, 1), (3, 2)])
@pytest.mark.parametrize("stop", [0.0, 0.3, 1.0])
def test_every_slot_plays_as_if_it_were_alone(rounds: int, episodes: int, stop: float) -> None:
    _, specs, batch = coins(stop)
    agent = Scripted()
    trial = collect(agent, batch, specs, plan=CollectionPlan(rounds, episodes))
    assert len(trial.rollout.reward) == len(agent.steps)
    for slot, spec in enumerate(specs):
        assert seen(agent, trial.rollout, slot) == alone(spec, rounds * episodes, seed=spec.seed)


def test_given_seeds_replace_those_of_the_tasks() -> None:
    _, specs, batch = coins()
    agent = Scripted()
    trial = collect(agent, batch, specs, plan=CollectionPlan(1, 3), seeds=[7] * 6)
    for slot, spec in enumerate(specs):
        assert seen(agent, trial.rollout, slot) == alone(spec, 3, seed=7)


def test_a_batch_can_be_used_again() -> None:
    _, specs, batch = coins()
    plan = CollectionPlan(1, 3)
    first = collect(Scripted(), batch, specs, plan=plan)
    second = collect(Scripted(), batch, specs, plan=plan)
    assert torch.equal(first.rollout.reward, second.rollout.reward)
    assert torch.equal(first.rollout.observation, second.rollout.observation)


@pytest.mark.parametrize(("rounds", "episodes"), [(1, 4), (3, 2)])
def test_flags_of_a_trial_with_staggered_ends(rounds: int, episodes: int) -> None:
    family, specs, batch = coins()
    rollout = collect(Scripted(), batch, specs, plan=CollectionPlan(rounds, episodes)).rollout
    ended = rollout.terminated | rollout.truncated
    assert rollout.trial_start[0].all()
    assert not rollout.trial_start[1:].any()
    assert rollout.episode_start[0].all()
    assert (rollout.terminated & rollout.valid).any()
    assert (rollout.truncated & rollout.valid).any()
    assert not rollout.valid.all()
    assert rollout.valid[-1].any()
    finished = torch.zeros(6, dtype=torch.int64)
    for time in range(len(ended)):
        assert torch.equal(rollout.episode_index[time], finished)
        finished += ended[time] & rollout.valid[time]
    assert finished.tolist() == [rounds * episodes] * 6
    within = rollout.valid[1:] & rollout.valid[:-1]
    assert torch.equal(rollout.episode_start[1:][within], ended[:-1][within])
    going_on = within & ~ended[:-1]
    assert torch.equal(rollout.observation[1:][going_on], rollout.next_observation[:-1][going_on])
    reset = within & ended[:-1]
    assert (rollout.observation[1:][reset] != rollout.next_observation[:-1][reset]).all()
    assert torch.equal(rollout.record["seen"], rollout.observation[..., 1])
    assert len(ended) <= rounds * episodes * family.horizon


def test_the_steps_of_a_rollout_are_those_that_act_saw() -> None:
    _, specs, batch = coins()
    for plan in (CollectionPlan(1, 4), CollectionPlan(3, 2)):
        agent = Scripted(needs_descriptor=True)
        steps = collect(agent, batch, specs, plan=plan).rollout.steps
        names = ("observation", "previous_action", "previous_reward", "episode_start", "trial_start", "episode_index")
        for name in (*names, "descriptor"):
            assert torch.equal(getattr(steps, name), torch.stack([getattr(step, name) for step in agent.steps])), name


def test_adapt_is_called_between_rounds_with_the_round_that_was_played() -> None:
    _, specs, batch = coins()
    agent = Scripted()
    rollout = collect(agent, batch, specs, plan=CollectionPlan(3, 2)).rollout
    assert len(agent.adapted) == 2
    begin = 0
    for number, (carry, played) in enumerate(agent.adapted):
        end = begin + len(played.reward)
        for name in ("observation", "action", "reward", "terminated", "valid", "episode_index", "next_observation"):
            assert torch.equal(getattr(played, name), getattr(rollout, name)[begin:end]), name
        assert torch.equal(played.record["seen"], rollout.record["seen"][begin:end])
        assert played.episode_index[played.valid].unique().tolist() == [2 * number, 2 * number + 1]
        assert carry.tolist() == [[end, number]] * 6
        begin = end
    assert rollout.episode_index[begin:][rollout.valid[begin:]].unique().tolist() == [4, 5]


def test_waiting_does_not_leak_into_the_next_round() -> None:
    """With others that end early or late, the slot's own trial is the same."""
    family, _, _ = coins()
    mine = family.spec({"stop": 0.4}, seed=5)
    rewards = []
    for stop in (0.0, 1.0):
        agent = Scripted()
        others = [family.spec({"stop": stop}, seed=seed) for seed in range(3)]
        rollout = collect(agent, family.batch(4), [mine, *others], plan=CollectionPlan(4, 1)).rollout
        rewards.append(rollout.reward[:, 0][rollout.valid[:, 0]].tolist())
    assert rewards[0] == rewards[1]


def test_the_descriptor_is_shown_to_those_who_need_it() -> None:
    family, _, batch = coins()
    specs = [family.spec({"stop": 0.5, "worth": slot / 8}, seed=slot) for slot in range(6)]
    for needs in (False, True):
        agent = Scripted(needs_descriptor=needs)
        rollout = collect(agent, batch, specs, plan=CollectionPlan(2, 1)).rollout
        shown = [agent.steps[0].descriptor, agent.steps[-1].descriptor, rollout.descriptor]
        if needs:
            assert all(value.tolist() == [[0.5, slot / 8] for slot in range(6)] for value in shown)
        else:
            assert shown == [None, None, None]


def test_continuous_actions() -> None:
    family = taskgen.build_family("scripted_families/drift")
    specs = [family.spec(seed=seed) for seed in range(3)]

    class Pushing(Scripted):
        def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
            self.steps.append(step)
            return Action(torch.full((3, 2), 0.25) - step.previous_action, {}), carry

    agent = Pushing()
    rollout = collect(agent, family.batch(3), specs, plan=CollectionPlan(2, 2)).rollout
    assert rollout.action.shape == (len(agent.steps), 3, 2)
    assert agent.steps[0].previous_action.tolist() == [[0.0, 0.0]] * 3
    assert agent.steps[1].previous_action.tolist() == [[0.25, 0.25]] * 3
    assert agent.steps[2].previous_action.tolist() == [[0.0, 0.0]] * 3


def test_returns_of_episodes_by_hand() -> None:
    reward = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]])
    episode_index = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 2]])
    valid = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    nothing = torch.zeros(4, 2, dtype=torch.bool)
    rollout = Rollout(
        observation=reward[..., None],
        action=episode_index,
        reward=reward,
        terminated=nothing,
        truncated=nothing,
        next_observation=reward[..., None],
        episode_start=nothing,
        trial_start=nothing,
        episode_index=episode_index,
        valid=valid,
        record={},
    )
    assert Trial([], [rollout], CollectionPlan(1, 2)).episode_returns().tolist() == [[3.0, 10.0], [12.0, 60.0]]


def test_returns_of_a_played_trial() -> None:
    _, specs, batch = coins()
    trial = collect(Scripted(), batch, specs, plan=CollectionPlan(2, 2))
    returns = trial.episode_returns()
    for slot, spec in enumerate(specs):
        expected = [0.0] * 4
        for row in alone(spec, 4, seed=spec.seed):
            expected[row["episode_index"]] += row["reward"]
        assert returns[:, slot].tolist() == pytest.approx(expected)


def beside(stop: float = 0.3, tasks: int = 3, abreast: int = 4) -> tuple[list[TaskSpec], TaskBatch]:
    family = taskgen.build_family("scripted_families/coins")
    return [family.spec({"stop": stop}, seed=100 + task) for task in range(tasks)], family.batch(tasks * abreast)


@pytest.mark.parametrize("stop", [0.0, 0.3, 1.0])
def test_side_by_side_every_slot_plays_its_own_episodes_of_the_task_with_their_luck(stop: float) -> None:
    specs, batch = beside(stop)
    agent = Scripted()
    trial = collect(agent, batch, specs, plan=CollectionPlan(2, 4, side_by_side=True))
    for slot in range(12):
        task, place = divmod(slot, 4)
        rows = alone(specs[task], 2, specs[task].seed, first=place, stride=4)
        expected = [{**row, "episode_index": place + 4 * row["episode_index"]} for row in rows]
        assert seen(agent, trial.rollout, slot) == expected
    assert len({tuple(row) for row in trial.rounds[0].observation[0].tolist()}) == 12


def test_side_by_side_carry_and_adaptation_are_by_task() -> None:
    specs, batch = beside()
    agent = Scripted()
    trial = collect(agent, batch, specs, plan=CollectionPlan(3, 4, side_by_side=True))
    assert [len(carry) for carry, _ in agent.adapted] == [3, 3]
    assert [len(step.observation) for step in agent.steps] == [12] * len(agent.steps)
    assert [rollout is played for rollout, (_, played) in zip(trial.rounds, agent.adapted, strict=False)] == [True] * 2
    for number, rollout in enumerate(trial.rounds):
        valid = rollout.valid.unflatten(1, (3, 4))
        assert valid[0].all()
        index = rollout.episode_index.unflatten(1, (3, 4))
        assert index[0].tolist() == [[4 * number + place for place in range(4)]] * 3
        ended = ((rollout.terminated | rollout.truncated) & rollout.valid).sum(0)
        assert ended.tolist() == [1] * 12


def test_side_by_side_returns_are_those_of_each_episode() -> None:
    specs, batch = beside()
    trial = collect(Scripted(), batch, specs, plan=CollectionPlan(2, 4, side_by_side=True))
    returns = trial.episode_returns()
    assert returns.shape == (8, 3)
    for task, spec in enumerate(specs):
        for place in range(4):
            expected = [0.0, 0.0]
            for row in alone(spec, 2, spec.seed, first=place, stride=4):
                expected[row["episode_index"]] += row["reward"]
            assert [returns[place, task], returns[4 + place, task]] == pytest.approx(expected)


def test_side_by_side_tasks_and_places_do_not_depend_on_how_many_there_are() -> None:
    specs, batch = beside()
    many = collect(Scripted(), batch, specs, plan=CollectionPlan(2, 4, side_by_side=True)).episode_returns()
    family = batch.family
    alone_task = collect(Scripted(), family.batch(4), specs[1:2], plan=CollectionPlan(2, 4, side_by_side=True))
    assert torch.equal(alone_task.episode_returns()[:, 0], many[:, 1])
    two = collect(Scripted(), family.batch(6), specs, plan=CollectionPlan(1, 2, side_by_side=True)).episode_returns()
    assert torch.equal(two, many[:2])


def test_one_episode_side_by_side_is_one_after_another() -> None:
    _, specs, batch = coins()
    plans = [CollectionPlan(3, 1, side_by_side=side) for side in (False, True)]
    one, other = (collect(Scripted(), batch, specs, plan=plan).rollout for plan in plans)
    assert torch.equal(one.reward, other.reward)
    assert torch.equal(one.episode_index, other.episode_index)


def test_episodes_that_depend_on_their_number_are_the_same_side_by_side() -> None:
    family = taskgen.build_family("barcode-bandit", {"situations": 3, "visits": 2, "pulls": 3})
    specs = [family.spec(seed=seed) for seed in range(3)]
    one, other = (
        collect(Scripted(), family.batch(3 * plan.slots), specs, plan=plan).rollout
        for plan in (CollectionPlan(2, 4), CollectionPlan(2, 4, side_by_side=True))
    )
    expected = one.observation.view(8, 3, 3, -1)  # episode, step, task
    found = other.observation.view(2, 3, 3, 4, -1)  # round, step, task, place
    assert torch.equal(found.permute(0, 3, 1, 2, 4).flatten(0, 1), expected)
    assert len(set(map(tuple, expected[:3, 0, 0].tolist()))) == 3
    batch = family.batch(3)
    batch.number([1, 2, 3])  # of other trials
    again = collect(Scripted(), batch, specs, plan=CollectionPlan(1, 1)).rollout
    assert torch.equal(again.observation, expected[0])


def test_a_horizon_cuts_longer_episodes_and_nothing_else() -> None:
    family = taskgen.build_family("scripted_families/coins")
    specs = [family.spec({"stop": stop}, seed=seed) for seed, stop in enumerate((0.0, 0.5, 1.0))]
    plan = CollectionPlan(1, 2)
    whole, cut, same = (
        collect(Scripted(), family.batch(3), specs, plan=plan, horizon=horizon).rollout for horizon in (None, 2, 99)
    )
    assert (same.reward == whole.reward).all()
    assert cut.episode_start[:, 0].tolist() == [True, False, True, False]  # the first task never stops by itself
    assert cut.truncated[:, 0].tolist() == [False, True, False, True]
    assert (cut.reward[:2] == whole.reward[:2]).all()
    ended = cut.terminated | cut.truncated
    assert (ended & cut.valid).sum(0).tolist() == [2, 2, 2]
    assert cut.truncated[:, 2].tolist()[:2] == [False, False]  # it ends in every step

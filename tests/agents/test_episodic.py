"""MFEC, NEC and DQN against values worked out by hand, and on small worlds."""

from dataclasses import replace

import pytest
import torch

from agents.common.episodic_memory import Memory, Steps
from agents.dqn import transitions
from agents.nec import kernel_value
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Rollout, Step, Trial, judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CPU = torch.device("cpu")
HOLES = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def _agent(name, family, settings=None, episodes=3, seed=0, **more):
    problem = problem_of(family, episodes=episodes, seed=seed, device=CPU, **more)
    return build_agent(Part.model_validate({"name": name, **(settings or {})}), problem)


def _rollout(rewards, ended, valid=None, terminated=True, value=None, actions=None, cells=None):
    """One slot; cell t is seen before step t."""
    length = len(rewards)
    cells = list(range(length)) if cells is None else cells
    seen = torch.tensor([[[float(cell), 0.0]] for cell in cells])
    after = torch.tensor([[[float(cell) + 100, 0.0]] for cell in cells])
    flags = torch.tensor(ended)[:, None]
    none = torch.zeros(length, 1, dtype=torch.bool)
    return Rollout(
        observation=seen,
        action=torch.zeros(length, 1, dtype=torch.int64) if actions is None else torch.tensor(actions)[:, None],
        reward=torch.tensor(rewards)[:, None],
        terminated=flags if terminated else none,
        truncated=none if terminated else flags,
        next_observation=after,
        episode_start=none,
        trial_start=none,
        episode_index=none.long(),
        valid=torch.ones(length, 1, dtype=torch.bool) if valid is None else torch.tensor(valid)[:, None],
        record={} if value is None else {"value": torch.tensor(value)[:, None]},
    )


def _step(cell):
    none = torch.zeros(1, dtype=torch.bool)
    return Step(torch.tensor([[float(cell), 0.0]]), none.long(), none.float(), none, none, none.long())


def test_kernel_weights_sum_to_one_and_favour_the_near():
    squared = torch.tensor([0.0, 1.0, torch.inf])
    assert kernel_value(squared, torch.tensor([1.0, 1.0, 9.0]), 0.5) == pytest.approx(1.0)
    # 1 / .5 = 2 and 1 / 1.5 = 2 / 3: shares of 3/4 and 1/4.
    assert kernel_value(squared, torch.tensor([4.0, 8.0, 9.0]), 0.5) == pytest.approx(0.75 * 4 + 0.25 * 8)
    assert kernel_value(torch.full((2,), torch.inf), torch.ones(2), 0.5) == 0.0


def test_nec_moves_keys_and_values_towards_the_target():
    """Entries of value 0 and 1 at distance 1 on either side of the state: the target 1 draws the second nearer."""
    family = build_family("grid-navigation")
    agent = _agent("nec", family, {"width": 1, "neighbours": 2, "capacity": 2, "delta": 1.0, "descent_rate": 0.1})
    memory = Memory.empty(1, 5, 2, 1, CPU)
    code = torch.tensor([[1], [2]])
    key, value = torch.tensor([[[-1.0]], [[1.0]]]), torch.tensor([[0.0], [1.0]])
    action, valid = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.bool)
    memory = memory.write(Steps(code, key, action, value, valid))
    one = Steps(code[:1], torch.zeros(1, 1, 1), action[:1], torch.ones(1, 1), valid[:1])
    moved = agent._descend(memory, one)  # Q = 1/2, w = 1/2 each: dL/dQ = -1, dQ/dv = 1/2, dQ/dh = -/+ 1/4
    order = memory.value[0, 0].argsort()
    assert moved.value[0, 0][order].tolist() == pytest.approx([0.05, 1.05])
    assert moved.key[0, 0][order].flatten().tolist() == pytest.approx([-1.025, 0.975])


def test_nec_learns_its_embedding_through_states_and_keys():
    family = build_family("grid-navigation", {"horizon": 5})
    agent = _agent("nec", family, {"warm_up": 0, "updates_per_step": 0.2, "batch": 2}, updates=4)
    before = [weight.clone() for weight in agent._embedding.parameters()]
    specs = [family.spec(seed=seed) for seed in range(4)]
    agent.learn(collect(agent, family.batch(4), specs, plan=agent.plan(3)))
    assert all(not torch.equal(*pair) for pair in zip(before, agent._embedding.parameters(), strict=True))


def test_nec_bootstraps_from_the_value_after_n_steps():
    family = build_family("grid-navigation")
    agent = _agent("nec", family, {"n_step": 2, "discount": 0.5})
    rollout = _rollout([1.0, 2.0, 4.0, 0.0], [False, False, True, False], value=[10.0, 20.0, 40.0, 80.0])
    # 1 + .5 2 + .25 40; 2 + .5 4, ended; 4, ended.
    assert agent._targets(rollout)[:3, 0].tolist() == [12.0, 4.0, 4.0]


@pytest.mark.parametrize(("terminated", "expected"), [(True, 0.0), (False, 0.25)])
def test_dqn_bootstraps_after_the_horizon_but_not_after_the_end(terminated, expected):
    rollout = _rollout([1.0, 2.0, 4.0], [False, False, True], terminated=terminated)
    returns, following, counts = transitions(rollout, 0.5, 2)
    assert returns[:, 0].tolist() == [2.0, 4.0, 4.0]
    assert following[:, 0, 0].tolist() == [101.0, 102.0, 102.0]
    assert counts[:, 0].tolist() == [0.25, expected, 2 * expected]


def test_mfec_enters_returns_and_hits_them_exactly():
    family = build_family("grid-navigation")
    agent = _agent("mfec", family, {"discount": 0.5, "epsilon": 0.0, "epsilon_first": 0.0, "neighbours": 1})
    carry = agent.begin_trial(1)
    carry = agent.adapt(
        carry, _rollout([0.0, 4.0, 0.0], [False, True, False], valid=[True, True, False], actions=[3, 1, 2])
    )
    values = _values(agent, carry, 0)
    assert values[3] == 2.0  # of cell 0 itself
    assert values[1] == 4.0  # of cell 1, the only neighbour
    assert values[2] == 0.0  # the step that was not played
    carry = agent.adapt(carry, _rollout([1.0], [True], actions=[3]))
    assert _values(agent, carry, 0)[3] == 2.0
    carry = agent.adapt(carry, _rollout([3.0], [True], actions=[3]))
    assert _values(agent, carry, 0)[3] == 3.0
    action, _ = agent.act(carry, _step(0))
    assert action.value.tolist() == [1]


def test_mfec_means_the_values_of_the_nearest():
    family = build_family("grid-navigation")
    agent = _agent("mfec", family, {"discount": 0.0, "neighbours": 2})
    carry = agent.begin_trial(1)
    carry = agent.adapt(carry, _rollout([1.0, 3.0, 50.0], [False, False, True], cells=[0, 2, 9]))
    assert _values(agent, carry, 1)[0] == 2.0
    assert _values(agent, carry, 2)[0] == 3.0


def _values(agent, carry, cell):
    observation = torch.tensor([[float(cell), 0.0]])
    return agent._look_up(carry, agent.code(observation), observation @ agent._projection, carry.episodes)[0][
        0
    ].tolist()


@pytest.mark.parametrize("name", ["mfec", "nec"])
def test_full_memories_say_so_in_the_metrics(name):
    family = build_family("grid-navigation")
    agent = _agent(name, family, {"capacity": 1, "neighbours": 1})
    specs = [family.spec(seed=seed) for seed in range(2)]
    metrics = agent.learn(collect(agent, family.batch(2), specs, plan=agent.plan(3)))
    assert metrics["memory/evicted"] > 0
    assert metrics["memory/held"] <= 5


@pytest.mark.parametrize("name", ["mfec", "nec"])
def test_more_neighbours_than_entries_are_refused(name):
    with pytest.raises(ConfigError, match="neighbours = 9 of a .* for capacity = 5"):
        _agent(name, build_family("grid-navigation"), {"capacity": 5, "neighbours": 9})


@pytest.mark.parametrize("name", ["mfec", "nec", "dqn"])
def test_continuous_actions_are_refused(name):
    with pytest.raises(UserError, match="discrete actions"):
        _agent(name, build_family("point-navigation"))


def test_dqn_explores_less_and_less_and_is_judged_with_the_last_epsilon():
    family = build_family("grid-navigation", {"horizon": 5})
    agent = _agent("dqn", family, {"epsilon_first": 1.0, "epsilon": 0.2, "epsilon_steps": 20}, episodes=1)
    assert (agent.epsilon, judged(agent).epsilon, agent.epsilon) == (1.0, pytest.approx(0.2), 1.0)
    specs = [family.spec(seed=seed) for seed in range(2)]
    agent.learn(collect(agent, family.batch(2), specs, plan=agent.plan(1)))
    assert agent.epsilon == pytest.approx(0.6)


TRIAL = {"capacity": 100, "width": 16, "neighbours": 3, "epsilon_first": 1.0, "epsilon_episodes": 25}


def _returns(name, family, context, **settings):
    """[50] mean returns of the episodes of a trial, over 16 trials."""
    agent = _agent(name, family, {**TRIAL, **settings}, episodes=50)
    specs = [family.spec(context, seed=seed) for seed in range(16)]
    return collect(agent, family.batch(16), specs, plan=agent.plan(50)).episode_returns().mean(1)


@pytest.mark.parametrize("name", ["mfec", "nec"])
def test_the_lake_is_crossed_within_tens_of_episodes(name):
    """In one trial on ice that does not slip; the optimum is 1. Nothing is meta-learned before."""
    returns = _returns(name, build_family("frozen-lake", {"horizon": 30}), {"holes": HOLES, "slipperiness": 0.0})
    assert returns[:5].mean() < 0.3
    assert returns[40:].mean() > 0.7


def test_mfec_finds_the_goal_of_the_darkroom_and_a_short_way_to_it():
    family = build_family("darkroom", {"size": 5, "horizon": 30})
    optimum = family.optimal_return(family.spec({"goal": 12}))
    returns = _returns("mfec", family, {"goal": 12}, discount=0.9)
    assert returns[:5].mean() < 0.3 * optimum
    assert returns[40:].mean() > 0.8 * optimum


def test_mfec_is_optimistic_under_noise():
    """Of m returns of one action it believes the highest, not the mean."""
    agent = _agent("mfec", build_family("grid-navigation"))
    carry = agent.begin_trial(1)
    for reward in (0.0, 1.0, 0.0, 0.5):
        carry = agent.adapt(carry, _rollout([reward], [True]))
    assert _values(agent, carry, 0)[0] == 1.0


def test_mfec_measures_its_optimism():
    """What entries of the actions that were taken promised, less what followed: (5 - 4 + 7 - 2) / 2 by hand."""
    agent = _agent("mfec", build_family("grid-navigation"), {"discount": 0.5})
    rollout = _rollout([3.0, 2.0, 9.0, 9.0], [False, True, True, True], valid=[True, True, True, False])
    record = {"promised": [5.0, 7.0, 70.0, 80.0], "own": [True, True, False, True], "held": [0] * 4, "evicted": [0] * 4}
    rollout = replace(rollout, record={name: torch.tensor(column)[:, None] for name, column in record.items()})
    metrics = agent.learn(Trial([], [rollout], agent.plan(1)))
    assert metrics["memory/optimism"] == pytest.approx((5.0 - 4.0 + 7.0 - 2.0) / 2)


@pytest.mark.parametrize(("slipperiness", "low", "high"), [(0.0, -0.05, 0.1), (0.6, 0.2, 1.0)])
def test_optimism_is_where_outcomes_are_luck(slipperiness, low, high):
    family = build_family("frozen-lake", {"horizon": 30})
    agent = _agent("mfec", family, {**TRIAL, "epsilon_first": 0.3}, episodes=40)
    specs = [family.spec({"holes": HOLES, "slipperiness": slipperiness}, seed=seed) for seed in range(8)]
    assert low <= agent.learn(collect(agent, family.batch(8), specs, plan=agent.plan(40)))["memory/optimism"] <= high

"""VariBAD: what the belief is taught, and that the policy's gradient never reaches it."""

import torch

from agents.varibad import VariBAD, VariBADConfig
from taskgen.build import build_family
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

SMALL = {"encoder_width": 16, "decoder_hidden": (16,), "latent": 3, "beliefs": 4, "encoder_trials": 8}


def _play(**settings):
    torch.manual_seed(0)
    family = build_family("grid-navigation", {"horizon": 5})
    problem = problem_of(family, episodes=2, seed=1, device=torch.device("cpu"), updates=4)
    agent = VariBAD(VariBADConfig(**{**SMALL, **settings}), problem)
    specs = [family.spec({"goal": goal}) for goal in (8, 12, 24, 14)]
    return agent, collect(agent, family.batch(4), specs, plan=agent.plan(2))


def _parameters(part):
    return torch.cat([parameter.detach().flatten().clone() for parameter in part.networks.parameters()])


def test_the_policy_leaves_encoder_and_decoder_alone():
    agent, trial = _play(learning_rate=1e-2)
    belief, policy = _parameters(agent.belief), _parameters(agent.policy)
    agent.policy.learn(trial.rollout, agent.inputs(trial.rollout), trial.rollout.reward)
    assert torch.equal(belief, _parameters(agent.belief))
    assert not torch.equal(policy, _parameters(agent.policy))
    assert all(parameter.grad is None for parameter in agent.belief.networks.parameters())


def test_encoder_and_decoder_leave_the_policy_alone():
    agent, trial = _play()
    agent.belief.keep(trial.rollout)
    belief, policy = _parameters(agent.belief), _parameters(agent.policy)
    metrics = agent.belief.learn()
    assert torch.equal(policy, _parameters(agent.policy))
    assert not torch.equal(belief, _parameters(agent.belief))
    assert metrics["losses/negative_elbo"] > 0


def test_the_belief_is_kept_across_episodes_and_begins_anew_with_the_trial():
    agent, trial = _play()
    belief = trial.rollout.record["belief"]
    sequence = agent.belief.encoder.sequence(agent.encode(trial.rollout.steps))
    torch.testing.assert_close(belief, sequence)  # over both episodes, from one empty state
    again = agent.belief.encoder.sequence(agent.encode(trial.rollout.steps)[5:])
    assert not torch.allclose(belief[5:], again)


def test_importance_ratios_begin_at_one():
    agent, trial = _play(epochs=1, minibatches=1)
    metrics = agent.policy.learn(trial.rollout, agent.inputs(trial.rollout), trial.rollout.reward)
    assert metrics["losses/approx_kl"] < 1e-8


def test_the_decoder_learns_where_the_goal_is_from_the_belief():
    """Reward of the second episode, from the belief in which the first ended, once the goal has been seen."""
    agent, trial = _play(encoder_rate=1e-2, encoder_updates=150, kl_weight=0.0, beliefs=10)
    first = agent.learn(trial)["losses/belief_reward"]
    second = agent.learn(trial)["losses/belief_reward"]
    assert second < 0.3 * first

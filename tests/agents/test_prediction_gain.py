"""Exploration by prediction: what it is paid, whose turn it is, and that only exploration is context."""

from dataclasses import replace

import pytest
import torch

from agents.common import belief as beliefs
from agents.common.belief import drawn, evidence_terms
from agents.prediction_gain import PredictionGain, PredictionGainConfig
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import problem_of, refuse_unadapted
from taskgen.interaction.collect import collect

SMALL = {"encoder_width": 8, "decoder_hidden": (8,), "latent": 2, "beliefs": 2, "encoder_trials": 4, "hidden": (8,)}
LONG = 4
FAMILY = build_family("grid-navigation", {"horizon": LONG})


def made(family=FAMILY, episodes=3, **settings):
    torch.manual_seed(0)
    problem = problem_of(family, episodes=episodes, seed=1, device=torch.device("cpu"), updates=4)
    return PredictionGain(PredictionGainConfig(**{**SMALL, "minibatches": 2, **settings}), problem)


def play(agent, episodes=3):
    specs = [FAMILY.spec({"goal": goal}, seed=goal) for goal in (8, 12, 24, 14)]
    return collect(agent, FAMILY.batch(4), specs, plan=agent.plan(episodes))


def parameters(part):
    return torch.cat([parameter.detach().flatten().clone() for parameter in part.parameters()])


@pytest.mark.parametrize("states", [False, True])
def test_the_gain_is_what_knowing_the_task_would_improve(states):
    agent = made(decode_states=states)
    rollout = play(agent).rollout
    state = agent.generator.get_state()
    gain = agent.gain(rollout)
    agent.generator.set_state(state)
    belief = rollout.record["belief"]
    noise = torch.randn(*belief.shape[:2], 2, generator=agent.generator)
    described = agent.belief.described(rollout)
    for t, b in ((0, 0), (5, 1), (11, 3)):
        steps = {name: column[t : t + 1, b : b + 1] for name, column in described.items()}
        latents = (drawn(belief[t, b], noise[t, b]), rollout.descriptor[b])
        with torch.no_grad():
            without, informed = (
                sum(decoder.errors(latent[None, None], steps).values())[0, 0, 0]
                for decoder, latent in zip((agent.belief.decoder, agent.informed), latents, strict=True)
            )
        torch.testing.assert_close(gain[t, b], 0.5 * (without - informed))


@pytest.mark.parametrize("exploration", [1, 2])
def test_the_belief_is_that_of_the_exploration_episodes_alone(exploration):
    agent = made(exploration=exploration)
    rollout = play(agent).rollout
    belief, end = rollout.record["belief"], exploration * LONG
    whole = agent.belief.encoder.sequence(agent.encode(rollout.steps))
    torch.testing.assert_close(belief[: end + 1], whole[: end + 1])  # the last step of exploration is seen too
    assert torch.equal(belief[end:], belief[end : end + 1].expand_as(belief[end:]))
    assert not torch.allclose(belief[end], belief[end - 1])


def test_the_encoder_learns_from_the_one_pull_that_exploration_is():
    """The one belief that has read a pull is that on which exploitation acts, at its first step."""
    family = build_family("bandit")
    agent = made(family, episodes=4, kl_weight=0.0)
    trial = collect(agent, family.batch(4), [family.spec(seed=seed) for seed in range(4)], plan=agent.plan(4))
    weight = agent.belief.encoder.embedding[0].weight
    before = weight.detach().clone()
    for _ in range(3):
        agent.learn(trial)
    moved = (weight - before).abs().sum(0)
    seen, acted = agent.encode.observation_size, agent.encode.action_size
    pulled = trial.rollout.action[0].unique()
    assert (moved[seen + pulled] > 0).all()
    assert (moved[seen + acted :] > 0).all()  # reward, an episode starts, the trial starts


@pytest.mark.parametrize("exploration", [1, 2])
def test_the_beliefs_of_exploration_and_the_one_it_ends_in_are_judged_by_what_exploration_paid(
    exploration, monkeypatch
):
    agent = made(exploration=exploration, beliefs=500)
    trial, judged_steps = play(agent), []

    def spy(found, decoder, steps, valid, which, noise):
        judged_steps.append((valid, which))
        return evidence_terms(found, decoder, steps, valid, which, noise)

    monkeypatch.setattr(beliefs, "evidence_terms", spy)
    agent.learn(trial)
    end = exploration * LONG
    valid, which = judged_steps[0]
    assert valid[:end].all()
    assert not valid[end:].any()
    assert which.unique().tolist() == list(range(end + 1))


def test_each_policy_plays_its_own_episodes():
    agent = made()
    with torch.no_grad():
        for policy, action in ((agent.explorer, 0), (agent.exploiter, 3)):
            policy.networks.policy_head.linear.bias[action] = 50.0
    rollout = play(agent).rollout
    assert (rollout.action[:LONG] == 0).all()
    assert (rollout.action[LONG:] == 3).all()
    inputs = torch.cat([agent.encode.observation(rollout.observation), rollout.record["belief"]], -1)
    with torch.no_grad():
        values = [policy.networks(inputs)[1] for policy in (agent.explorer, agent.exploiter)]
    torch.testing.assert_close(rollout.record["value"][:LONG], values[0][:LONG])
    torch.testing.assert_close(rollout.record["value"][LONG:], values[1][LONG:])


def test_exploration_is_paid_the_gain_and_exploitation_the_reward(monkeypatch):
    agent = made()
    trial = play(agent)
    paid = {}
    for name in ("explorer", "exploiter"):
        policy = getattr(agent, name)

        def learn(rollout, inputs, reward, name=name):
            paid[name] = (rollout.valid, reward)
            return {"losses/policy_loss": 0.0}

        monkeypatch.setattr(policy, "learn", learn)
    gains = []
    monkeypatch.setattr(agent, "gain", lambda rollout: gains.append(torch.full_like(rollout.reward, 7.0)) or gains[0])
    metrics = agent.learn(trial)
    valid = trial.rollout.valid
    assert torch.equal(paid["explorer"][0].nonzero(), valid[:LONG].nonzero())
    assert not paid["exploiter"][0][:LONG].any()
    assert torch.equal(paid["exploiter"][0][LONG:], valid[LONG:])
    assert paid["explorer"][1] is gains[0]
    assert torch.equal(paid["exploiter"][1], trial.rollout.reward)
    assert metrics["bonus/gain"] == 7.0
    assert {"losses/explore_policy_loss", "losses/policy_loss"} <= metrics.keys()


def test_the_predictor_that_is_told_learns_and_only_it_from_being_told():
    agent = made(informed_updates=200, informed_rate=1e-2, informed_batch=32)
    rollout = play(agent).rollout
    belief, explorer = parameters(agent.belief.networks), parameters(agent.explorer.networks)
    first = agent._inform(rollout)["losses/informed_error"]
    assert agent._inform(rollout)["losses/informed_error"] < 0.5 * first
    assert torch.equal(belief, parameters(agent.belief.networks))
    assert torch.equal(explorer, parameters(agent.explorer.networks))
    told = parameters(agent.informed)
    agent.belief.keep(rollout)
    agent.belief.learn()
    assert torch.equal(told, parameters(agent.informed))


def test_what_is_judged_is_told_nothing_and_leaves_the_agent_as_it_is():
    agent = made()
    player = judged(agent)
    assert agent.needs_descriptor
    assert not player.needs_descriptor
    state = agent.generator.get_state()
    one = play(player)
    assert one.rollout.descriptor is None
    assert torch.equal(agent.generator.get_state(), state)
    assert torch.equal(one.rollout.action, play(agent).rollout.action)  # by the same draws


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(UserError, match="training.episodes = 2: the agent explores for 2 episodes"):
        refuse_unadapted(made(exploration=2), 2, "training.episodes")
    problem = problem_of(FAMILY, episodes=3, seed=1, device=torch.device("cpu"))
    with pytest.raises(UserError, match="builtin/grid-navigation has an empty task descriptor: prediction-gain"):
        PredictionGain(PredictionGainConfig(), replace(problem, descriptor_size=0))

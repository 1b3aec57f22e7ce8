"""HyperX: what the bonuses are, that they fall to zero, and that nothing of them is judged."""

import dataclasses

import pytest
import torch

from agents.common.belief import drawn
from agents.hyperx import HyperX, HyperXConfig
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

SMALL = {"encoder_width": 8, "decoder_hidden": (8,), "latent": 2, "beliefs": 2, "encoder_trials": 4, "hidden": (8,)}
NOVELTY = {"novelty_hidden": (8,), "novelty_outputs": 4, "novelty_batch": 8}


def play(updates=4, family="grid-navigation", horizon=5, **settings):
    torch.manual_seed(0)
    world = build_family(family, {"horizon": horizon})
    problem = problem_of(world, episodes=2, seed=1, device=torch.device("cpu"), updates=updates)
    agent = HyperX(HyperXConfig(**{**SMALL, **NOVELTY, **settings}), problem)
    specs = [world.spec(seed=seed) for seed in range(4)]
    return agent, collect(agent, world.batch(4), specs, plan=agent.plan(2))


@pytest.mark.parametrize(("share", "expected"), [(1.0, [1, 0.75, 0.5, 0.25, 0]), (0.5, [1, 0.5, 0, 0, 0])])
def test_bonuses_fall_to_zero_in_a_straight_line(share, expected):
    agent, trial = play(bonus_share=share)
    found = [agent.left]
    for _ in range(4):
        agent.learn(trial)
        found.append(agent.left)
    assert found == pytest.approx(expected)
    torch.testing.assert_close(agent.paid(trial.rollout), trial.rollout.reward)
    agent, _ = play(updates=0)
    agent.learn(trial)
    assert agent.left == 1.0  # no end is planned


def test_hyper_states_are_what_the_policy_reads_next():
    agent, trial = play()
    rollout, states = trial.rollout, agent.hyper_states(trial.rollout)
    width = agent.encode.observation_size
    assert torch.equal(states[..., :width], agent.encode.observation(rollout.next_observation))
    torch.testing.assert_close(states[:-1, :, width:], rollout.record["belief"][1:])
    assert not torch.allclose(states[-1, :, width:], states[-2, :, width:])  # the last step has been seen too


def test_novelty_is_the_same_alone_and_in_company():
    """Of trials of different lengths: of all but the longest the others' rollout goes on beyond the end."""
    agent, trial = play(family="cartpole", horizon=40)
    rollout = trial.rollout
    states = agent.hyper_states(rollout)
    agent._novelty.visit(states[rollout.valid], agent.generator, updates=1, batch=8)
    novelty = agent.bonuses(rollout, states)["bonus/novelty"]
    lengths = rollout.valid.sum(0).tolist()
    assert len(set(lengths)) > 1
    for slot, length in enumerate(lengths):
        alone = _first(rollout.of(torch.tensor([slot])), length)
        assert (alone.terminated | alone.truncated)[-1].all()
        found = agent.bonuses(alone, agent.hyper_states(alone))["bonus/novelty"]
        torch.testing.assert_close(found[:, 0], novelty[:length, slot])


def _first(rollout, length):
    """Its first `length` steps."""
    columns = {field.name: getattr(rollout, field.name) for field in dataclasses.fields(rollout)}
    kept = {name: value[:length] for name, value in columns.items() if torch.is_tensor(value)}
    record = {name: value[:length] for name, value in rollout.record.items()}
    return dataclasses.replace(rollout, **kept, record=record)


def test_the_policy_is_paid_reward_and_both_bonuses():
    agent, trial = play(novelty_weight=2.0, error_weight=3.0)
    rollout = trial.rollout
    agent._novelty.visit(agent.hyper_states(rollout)[rollout.valid], agent.generator, updates=0, batch=1)
    state = agent.generator.get_state()
    paid = agent.paid(rollout)
    agent.generator.set_state(state)
    states = agent.hyper_states(rollout)
    belief = states[..., agent.encode.observation_size :]
    noise = torch.randn(*belief.shape[:2], 2, generator=agent.generator)
    for t, b in ((0, 0), (4, 1), (9, 3)):
        steps = {name: column[t : t + 1, b : b + 1] for name, column in agent.belief.described(rollout).items()}
        latent = drawn(belief[t, b], noise[t, b])[None, None]
        with torch.no_grad():
            error = 0.5 * agent.belief.decoder.errors(latent, steps)["reward"][0, 0, 0]
        expected = rollout.reward[t, b] + 2.0 * agent._novelty(states)[t, b] + 3.0 * error
        torch.testing.assert_close(paid[t, b], expected)


def test_states_count_among_the_decoders_errors_where_it_predicts_them():
    agent, trial = play(decode_states=True, novelty_weight=0.0)
    without, same = play(decode_states=False, novelty_weight=0.0)
    with_states = agent.bonuses(trial.rollout, agent.hyper_states(trial.rollout))["bonus/error"]
    assert with_states.mean() > without.bonuses(same.rollout, without.hyper_states(same.rollout))["bonus/error"].mean()


def test_without_weights_it_is_paid_what_varibad_is():
    agent, trial = play(novelty_weight=0.0, error_weight=0.0)
    assert torch.equal(agent.paid(trial.rollout), trial.rollout.reward)
    assert agent.annealed_settings == {"entropy"}


def test_what_is_judged_is_the_policy_alone():
    agent, trial = play()
    assert judged(agent) is agent  # returns are of the reward that tasks pay; bonuses exist in `learn` alone
    figures = agent.learn(trial)
    assert figures["bonus/novelty"] == pytest.approx(1.0)
    assert figures["bonus/error"] > 0
    assert agent.annealed_settings == {"entropy", "novelty_weight", "error_weight"}

"""Meta-gradients find discounts whose best values are known: on signal and noise, and on the discounting chain.

The agents are those of the shipped experiments.
"""

import pytest
import torch

from agents.training.experiment import load_experiment
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect


def learned(experiment, context, updates, changes=()):
    """The experiment's agent after so many updates on the task of `context` alone, with changes of its settings."""
    torch.set_num_threads(1)
    config = load_experiment(experiment, changes).config
    family = build_family(config.family.name, config.family.settings)
    agent = build_agent(config.agent, problem_of(family, episodes=1, seed=0, device=torch.device("cpu")))
    tasks = config.training.tasks
    batch, plan = family.batch(tasks), agent.plan(1)
    for update in range(updates):
        specs = [family.spec(context, seed=update * tasks + task) for task in range(tasks)]
        figures = agent.learn(collect(agent, batch, specs, plan=plan))
    return agent, family, figures


@pytest.mark.slow
def test_discounts_are_high_before_signal_and_low_before_noise():
    agent, _, _ = learned("meta-gradient-noise", {}, 2500)
    discount, _ = agent.returns_at(agent.eta.detach(), torch.eye(10))
    signal, noise = discount[2::2], discount[1::2]  # by the state entered: leaving even ones pays the signal
    assert signal.min() > noise.max() + 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("critic", "least", "most"), [("own", 1.09, 1.11), ("shared", 0.99, 1.01)])
def test_a_critic_of_its_own_sees_beyond_the_discount_that_is_learned(critic, least, most):
    """The return of the likeliest first action, from a discount of 0.95: by which the first chain is the best."""
    agent, family, _ = learned("meta-gradient-chain", {"mapping": 3}, 600, [f"agent.outer_critic={critic}"])
    seen = family.batch(1)
    seen.set_tasks([family.spec({"mapping": 3})])
    policy = agent.policy(agent.parameters[:, : agent.policy.size], seen.reset()[None])
    mode = int(policy.log_probabilities[0, 0].argmax())
    assert least <= family.returns(family.spec({"mapping": 3}).context)[mode] <= most

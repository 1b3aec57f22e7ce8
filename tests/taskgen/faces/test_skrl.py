"""skrl on our environments by its own wrapper: which mode it wants, and a memory that learns as it acted."""

import numpy as np
import pytest
import torch

pytest.importorskip("skrl", reason="taskgen-metarl[skrl] is not installed")

from skrl.agents.torch.ppo import PPO_RNN
from skrl.agents.torch.ppo.ppo_rnn import compute_gae
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer

import taskgen

PULLS, SLOTS = 5, 4


def bandits(mode="SameStep"):
    how = {"family": "bandit", "episodes": PULLS, "num_envs": SLOTS, "flat": True}
    return taskgen.make_trials_vec("domain-randomization", autoreset_mode=mode, **how)


class Remembering(Model):
    def __init__(self, outputs, env):
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        super().__init__(**spaces, device="cpu")
        self.memory = torch.nn.GRU(self.num_observations, 16, batch_first=True)
        self.outputs = torch.nn.Linear(16, outputs)

    def get_specification(self):
        return {"rnn": {"sequence_length": PULLS, "sizes": [(1, SLOTS, 16)]}}

    def compute(self, inputs, role=""):
        steps = PULLS if self.training else 1
        seen = inputs["observations"].view(-1, steps, self.num_observations)
        remembered, state = self.memory(seen, None if self.training else inputs["rnn"][0])
        return self.outputs(remembered.flatten(0, 1)), {"rnn": [state]}


class Policy(CategoricalMixin, Remembering):
    def __init__(self, env):
        Remembering.__init__(self, env.action_space.n, env)
        CategoricalMixin.__init__(self)


class Value(DeterministicMixin, Remembering):
    def __init__(self, env):
        Remembering.__init__(self, 1, env)
        DeterministicMixin.__init__(self)


def played(timesteps):
    """A learner that has played `timesteps` steps in each slot and learned every 10; its policy and memory."""
    torch.manual_seed(0)
    env = wrap_env(bandits(), verbose=False)
    policy = Policy(env)
    learner = PPO_RNN(
        models={"policy": policy, "value": Value(env)},
        memory=RandomMemory(memory_size=2 * PULLS, num_envs=SLOTS),
        observation_space=env.observation_space,
        action_space=env.action_space,
        cfg={"rollouts": 2 * PULLS, "experiment": {"write_interval": 0, "checkpoint_interval": 0}},
    )
    how = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(env=env, agents=learner, cfg={"timesteps": timesteps, **how}).train()
    return policy, learner.memory.get_tensor_by_name


def test_its_wrapper_shows_what_trials_show():
    plain, wrapped = bandits(), wrap_env(bandits(), verbose=False)
    seen, _ = plain.reset(seed=5)
    wrapped._seed = 5
    shown, _ = wrapped.reset()
    rng = np.random.default_rng(0)
    for step in range(2 * PULLS):
        assert np.array_equal(shown.numpy(), seen)
        actions = rng.integers(0, 5, SLOTS)
        seen, reward, over, cut, _ = plain.step(actions)
        shown, *outcome, _ = wrapped.step(torch.from_numpy(actions)[:, None])
        for given, expected in zip(outcome, (reward, over, cut), strict=True):
            assert np.array_equal(given[:, 0].numpy(), expected)
        assert over.all() == ((step + 1) % PULLS == 0)


@pytest.mark.parametrize(("mode", "ended"), [("SameStep", 0.0), ("NextStep", 1.0)])
def test_what_a_new_memory_is_shown_first(mode, ended):
    """In the default mode the end of the trial before, whose last action and reward give away another task."""
    env = wrap_env(bandits(mode), verbose=False)
    env.reset()
    for _ in range(PULLS):
        shown, _, over, _, _ = env.step(torch.zeros(SLOTS, 1, dtype=torch.int64))
    assert over.all()
    assert (shown[:, -1] == ended).all()


def test_a_memory_learns_from_whole_trials_as_it_acted():
    """A step before the first update; the state kept beside each step is the one after it, in all but the first."""
    policy, kept = played(2 * PULLS - 1)
    steps = slice(0, PULLS)
    observations = kept("observations")[steps].transpose(0, 1)
    states, _ = policy.memory(observations, torch.zeros(1, SLOTS, 16))
    logits = policy.outputs(states)
    chosen = kept("actions")[steps, :, 0].transpose(0, 1)
    learned = torch.distributions.Categorical(logits=logits).log_prob(chosen)
    assert torch.allclose(learned, kept("log_prob")[steps, :, 0].transpose(0, 1), atol=1e-5)
    late = kept("rnn_policy_0")[PULLS]  # at the start of the second trial, where there is nothing to remember
    after, _ = policy.memory(kept("observations")[PULLS][:, None], torch.zeros(1, SLOTS, 16))
    assert torch.allclose(late[:, 0], after[:, 0], atol=1e-5)


def test_advantages_stop_at_the_end_of_a_trial():
    """They do at ends that are terminated, as those of trials are; nothing is said of others to what computes them."""
    column = lambda *values: torch.tensor(values).view(-1, 1, 1)  # noqa: E731
    how = {"discount_factor": 1.0, "lambda_coefficient": 1.0, "next_values": column(5.0)[0]}
    rewards, values = column(1.0, 2.0, 4.0), torch.zeros(3, 1, 1)
    returns, _ = compute_gae(rewards=rewards, terminated=column(False, True, False), values=values, **how)
    assert returns.flatten().tolist() == [3.0, 2.0, 9.0]
    _, kept = played(2 * PULLS)
    assert kept("terminated")[..., 0].nonzero()[:, 0].unique().tolist() == [PULLS - 1, 2 * PULLS - 1]
    assert not kept("truncated").any()

"""TorchRL on our environments by its own wrapper: successors at ends, seeds, and a memory that learns as it acted."""

import numpy as np
import pytest
import torch

pytest.importorskip("torchrl", reason="taskgen-metarl[torchrl] is not installed")

from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, GymWrapper, InitTracker, TransformedEnv, check_env_specs
from torchrl.modules import LSTMModule, OneHotCategorical, ProbabilisticActor, set_recurrent_mode
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import taskgen
from taskgen.build import build_family, build_source
from taskgen.faces.trials import TrialEnv, TrialVectorEnv
from tests.taskgen.faces.test_trials import Listening

MODES = ("SameStep", "Disabled")
"""Those that TorchRL 0.14 takes."""


def bandits(mode, slots=4, **how):
    settings = {"family": "bandit", "episodes": 5, "flat": True, **how}
    return taskgen.make_trials_vec("domain-randomization", num_envs=slots, autoreset_mode=mode, **settings)


@pytest.mark.parametrize("family", ["bandit", "point-navigation"])
def test_its_own_checks_pass(family):
    how = {"family": family, "episodes": 2, "flat": True}
    check_env_specs(GymWrapper(taskgen.make_trials("domain-randomization", **how)))
    check_env_specs(GymEnv("taskgen/Trials-v0", source="domain-randomization", **how))
    check_env_specs(GymWrapper(taskgen.make_sampler("domain-randomization", family=family)))
    for mode in MODES:
        check_env_specs(GymWrapper(bandits(mode, family=family)))


def test_what_it_refuses():
    with pytest.raises(RuntimeError, match="must be one of SAME_STEP or DISABLED"):
        GymWrapper(bandits("NextStep"))
    with pytest.raises(RuntimeError, match="keys of one spec collides.*reward"):
        GymWrapper(bandits("Disabled", flat=False))


@pytest.mark.parametrize("mode", MODES)
def test_slots_play_what_one_alone_plays(mode):
    """Poles fall at different times: every successor, end and start is that of a trial by itself."""
    spec = build_family("cartpole", {"horizon": 30}).spec()
    how = {"episodes": 2, "history": "flat"}
    alone = [TrialEnv(Listening([spec]), **how) for _ in range(2)]
    env = GymWrapper(TrialVectorEnv(Listening([spec]), num_envs=2, autoreset_mode=mode, **how))
    expected = [one.reset(seed=slot)[0] for slot, one in enumerate(alone)]
    now, rng, ends = env.reset(seed=0), np.random.default_rng(0), []
    for _ in range(200):
        assert np.array_equal(now["observation"].numpy(), np.stack(expected))
        actions = rng.integers(0, 2, 2)
        now["action"] = torch.nn.functional.one_hot(torch.from_numpy(actions), 2)
        played, now = env.step_and_maybe_reset(now)
        for slot, one in enumerate(alone):
            after, paid, over, cut, _ = one.step(actions[slot])
            assert np.array_equal(played["next", "observation"][slot].numpy(), after)
            assert played["next", "reward"][slot].item() == paid
            for flag, said in (("done", over), ("terminated", over), ("truncated", cut)):
                assert played["next", flag][slot].item() is said
            expected[slot] = one.reset()[0] if over else after
        ends.append(played["next", "done"][:, 0].tolist())
    assert [True, False] in ends
    assert [False, True] in ends


@pytest.mark.slow  # worker processes, each of which imports all of it
def test_many_by_their_id_end_in_an_observation_of_zeros():
    """What `GymEnv(num_envs=)` does, which the page warns of: Gymnasium's default mode."""
    how = {"source": "domain-randomization", "family": "bandit", "episodes": 2, "flat": True}
    taskgen.register_envs()
    env = GymEnv("taskgen:taskgen/Trials-v0", num_envs=2, **how)
    played = env.rollout(2, break_when_any_done=False)["next"]
    env.close()
    assert played["done"][:, 1].all()
    assert not played["observation"][:, 1].any()  # where the last action and the flag of an end would be


def test_a_seed_resets_and_the_next_reset_goes_on():
    trials = taskgen.make_trials("domain-randomization", family="bandit", episodes=2, flat=True)
    env = GymWrapper(trials)
    tasks = build_source("domain-randomization", build_family("bandit"), 3).ask(2)
    env.set_seed(3)
    assert trials.task == tasks[0]
    env.reset()
    assert trials.task == tasks[1]


def learner(trials, primed=True):
    torch.manual_seed(0)
    memory = LSTMModule(8, 16, in_key="observation", out_key="remembered")
    env = TransformedEnv(GymWrapper(trials), InitTracker())
    if primed:
        env.append_transform(memory.make_tensordict_primer())
    logits = TensorDictModule(torch.nn.Linear(16, 5), ["remembered"], ["logits"])
    value = TensorDictModule(torch.nn.Linear(16, 1), ["remembered"], ["state_value"])
    how = {"distribution_class": OneHotCategorical, "return_log_prob": True}
    policy = ProbabilisticActor(TensorDictSequential(memory, logits), ["logits"], **how)
    how = {"auto_register_policy_transforms": False} if not primed else {}
    slots = trials.num_envs
    (played,) = Collector(env, policy, frames_per_batch=slots * 10, total_frames=slots * 10, **how)
    return policy, TensorDictSequential(memory, value), played


@pytest.mark.parametrize("mode", MODES)
def test_a_memory_lasts_a_trial_and_learns_as_it_acted(mode):
    """Two trials of 5 pulls in each of 4 slots: PPO's ratio is 1 before the first update, and no advantage crosses."""
    policy, value, played = learner(bandits(mode))
    assert played["is_init"][..., 0].int().tolist() == [[1, 0, 0, 0, 0] * 2] * 4
    empty = (played["recurrent_state_h"] == 0).flatten(2).all(-1)
    assert torch.equal(empty, played["is_init"][..., 0])
    acted = played["action_log_prob"].clone()
    with set_recurrent_mode(True), torch.no_grad():
        assert torch.allclose(policy.get_dist(played).log_prob(played["action"]), acted, atol=1e-5)
        GAE(gamma=0.9, lmbda=0.8, value_network=value, shifted=True)(played)
        assert ClipPPOLoss(policy, value)(played)["kl_approx"].abs().max() < 1e-5
    reward, estimate = played["next", "reward"][..., 0], played["state_value"][..., 0]
    expected = torch.zeros(4, 11)
    for step in reversed(range(10)):
        inside = 0.0 if step % 5 == 4 else 1.0
        following = estimate[:, step + 1] if step < 9 else 0.0
        surprise = reward[:, step] + 0.9 * inside * following - estimate[:, step]
        expected[:, step] = surprise + 0.9 * 0.8 * inside * expected[:, step + 1]
    assert torch.allclose(played["advantage"][..., 0], expected[:, :10], atol=1e-5)


def test_without_a_primer_there_is_no_memory():
    """What the page warns of: each step is acted on as if it were the first, and learned from as if it were not."""
    policy, _, played = learner(bandits("Disabled"), primed=False)
    assert "recurrent_state_h" not in played.keys()  # noqa: SIM118 - a TensorDict is not asked without
    with set_recurrent_mode(True), torch.no_grad():
        learned = policy.get_dist(played).log_prob(played["action"])
    assert (learned - played["action_log_prob"]).abs().max() > 1e-4

"""Stable-Baselines3 on our environments: its own contract, last observations, attributes, and a learner that learns."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="taskgen-metarl[sb3] is not installed")
pytest.importorskip("sb3_contrib", reason="taskgen-metarl[sb3] is not installed")

import taskgen
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.faces.stable_baselines import SlotVecEnv
from tests.taskgen.faces.test_trials import Listening


def bandits(slots, **how):
    settings = {"family": "bandit", "episodes": 3, "flat": True, "autoreset_mode": "SameStep", **how}
    return SlotVecEnv(taskgen.make_trials_vec("domain-randomization", num_envs=slots, **settings))


def test_trials_end_with_their_last_observation():
    envs = bandits(2)
    first = envs.reset()
    assert first.shape == (2, envs.observation_space.shape[0])
    for number in range(3):
        observation, reward, done, infos = envs.step(np.array([0, 1]))
        assert done.tolist() == [number == 2] * 2
        assert reward.dtype == np.float32
    for slot, info in enumerate(infos):
        assert info["terminal_observation"][-2] == reward[slot]
        assert info["terminal_observation"][-1] == 1.0
        assert info["TimeLimit.truncated"] is False
    assert (observation[:, -7:] == 0).all()  # a new trial: nothing is fed back


def test_episodes_cut_at_the_horizon_say_so():
    family = build_family("cartpole", {"horizon": 2})
    envs = SlotVecEnv(taskgen.make_vec([family.spec(seed=1), family.spec(seed=2)], autoreset_mode="SameStep"))
    envs.seed(3)
    envs.reset()
    envs.step(np.array([0, 1]))
    _, _, done, infos = envs.step(np.array([0, 1]))
    assert done.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [True, True]
    assert all(info["terminal_observation"].shape == (4,) for info in infos)
    envs.seed(3)
    again = envs.reset()
    envs.seed(3)
    assert np.array_equal(envs.reset(), again)


def test_attributes_and_methods():
    family = build_family("cartpole")
    specs = [family.spec(seed=seed) for seed in range(3)]
    envs = SlotVecEnv(taskgen.make_vec(specs, autoreset_mode="SameStep"))
    assert envs.get_attr("task", [0, 2]) == [specs[0], specs[2]]
    assert envs.get_attr("render_mode") == [None] * 3
    other = family.spec({"force": 5.0})
    envs.env_method("set_task", other, indices=[1])
    envs.reset()
    assert envs.get_attr("task") == [specs[0], other, specs[2]]
    assert envs.env_is_wrapped(object) == [False] * 3
    with pytest.raises(AttributeError, match="no method but set_task"):
        envs.env_method("seed")
    with pytest.raises(AttributeError, match="cannot be set slot by slot"):
        envs.set_attr("x", 1)
    with pytest.raises(UserError, match="3 is none of taskgen.make_vec"):
        SlotVecEnv(3)
    with pytest.raises(UserError, match="autoreset_mode='SameStep'"):
        SlotVecEnv(taskgen.make_vec(specs))


def test_its_learners_run():
    from sb3_contrib import RecurrentPPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    envs = VecMonitor(bandits(4))
    RecurrentPPO("MlpLstmPolicy", envs, n_steps=6, batch_size=12, n_epochs=1).learn(48)
    assert envs.episode_count == 16  # trials of 3 steps
    PPO("MultiInputPolicy", bandits(4, flat=False), n_steps=6, batch_size=12, n_epochs=1).learn(48)


@pytest.mark.slow
def test_a_memory_learns_which_arm_pays():
    """Two arms, one of which always pays: of 10 pulls who remembers earns 9.5, who does not 5."""
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.vec_env import VecMonitor

    family = build_family("bandit", {"arms": 2})
    source = Listening([family.spec({"probabilities": pays}) for pays in ([1.0, 0.0], [0.0, 1.0])])
    trials = taskgen.make_trials_vec(source, num_envs=32, episodes=10, flat=True, autoreset_mode="SameStep")
    how = {"n_steps": 20, "batch_size": 160, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.02, "gamma": 0.9}
    model = RecurrentPPO(
        "MlpLstmPolicy", VecMonitor(SlotVecEnv(trials)), seed=0, policy_kwargs={"lstm_hidden_size": 32}, **how
    )
    model.learn(60_000)
    assert np.mean([info["r"] for info in model.ep_info_buffer]) > 9.4  # on some machines 30,000 steps end at 8.76

"""Trials as environments: what is fed back, when they are over, what the source is told, what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten
from gymnasium.utils.env_checker import check_env

import taskgen
from registry.errors import UserError
from taskgen.build import build_family, build_source
from taskgen.faces.making import make_sampler, make_trials, make_trials_vec
from taskgen.faces.trials import TrialEnv, TrialVectorEnv
from taskgen.spaces import flattened, pack

SURE = {"name": "domain-randomization", "vary": {"probabilities": {"kind": "choice", "values": [[1.0, 0.0]]}}}
BANDIT = {"name": "bandit", "arms": 2, "pulls": 2}


class Listening:
    """A source that gives these tasks by turns and remembers what it is told."""

    feedback = True

    def __init__(self, specs):
        self.specs, self.given, self.told = specs, 0, []

    def ask(self, n):
        self.given += n
        return [self.specs[number % len(self.specs)] for number in range(self.given - n, self.given)]

    def tell(self, results):
        self.told.append(list(results))

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


def sure_arms(count=3):
    """Bandits whose first arm always pays and whose second never does; a pull is an episode."""
    family = build_family("bandit", {"arms": 2})
    return [family.spec({"probabilities": [1.0, 0.0]}, seed=seed) for seed in range(count)]


def grids(count):
    family = build_family("grid-navigation", {"horizon": 5})
    return [family.spec({"goal": 2 + number}, seed=number) for number in range(count)]


def test_a_trial_by_hand():
    env = TrialEnv(Listening(sure_arms()), episodes=3)
    first, _ = env.reset(seed=0)
    assert {name: value.tolist() for name, value in first.items() if name != "observation"} == {
        "action": [0.0, 0.0], "reward": [0.0], "ended": [0.0],
    }  # fmt: skip
    outcomes = [env.step(action) for action in (1, 0, 0)]
    assert [reward for _, reward, *_ in outcomes] == [0.0, 1.0, 1.0]
    assert [over for _, _, over, *_ in outcomes] == [False, False, True]
    assert not any(truncated for *_, truncated, _ in outcomes)
    assert [seen["action"].tolist() for seen, *_ in outcomes] == [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    assert [seen["reward"].tolist() for seen, *_ in outcomes] == [[0.0], [1.0], [1.0]]
    assert [seen["ended"].tolist() for seen, *_ in outcomes] == [[1.0], [1.0], [1.0]]  # an episode is one pull
    with pytest.raises(gym.error.ResetNeeded, match="the trial is over: call reset"):
        env.step(0)
    again, _ = env.reset()
    assert not again["action"].any()
    assert not again["ended"].any()


def test_an_episode_goes_on_until_it_ends_and_the_next_one_begins_at_once():
    env = TrialEnv(Listening(grids(2)), episodes=2)
    first, _ = env.reset(seed=0)
    ends = []
    for number in range(10):
        seen, _, over, _, _ = env.step(0)
        ends.append(float(seen["ended"][0]))
        if number == 4:
            assert np.array_equal(seen["observation"], first["observation"])
    assert ends == [0, 0, 0, 0, 1] * 2
    assert over


def test_flat_is_the_same_side_by_side():
    flat, nested = (TrialEnv(Listening(grids(2)), episodes=2, history=history) for history in ("flat", "dict"))
    for number in range(12):
        one, other = (env.reset(seed=0)[0] if number % 11 == 0 else env.step(number % 4)[0] for env in (flat, nested))
        parts = [flatten(nested.observation_space["observation"], other["observation"])]
        parts += [other[name] for name in ("action", "reward", "ended")]
        assert np.array_equal(one, np.concatenate(parts))
        assert one.dtype == np.float32
        if number == 10:
            flat.reset(), nested.reset()


SPACES = [
    Discrete(3, start=-1),
    MultiDiscrete([2, 3], start=[1, 0]),
    MultiBinary(3),
    Box(-1.0, 2.0, (2, 2)),
    Dict({"b": Discrete(2), "a": Box(0.0, 1.0, (2,)), "c": Tuple([MultiDiscrete([2, 2]), Discrete(3)])}),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_flattened_is_gymnasiums(space):
    space.seed(0)
    values = [space.sample() for _ in range(20)]
    rows = np.stack([pack(space, value) for value in values])
    assert np.allclose(flattened(space, rows), [flatten(space, value) for value in values])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_slots_play_what_one_alone_plays(mode):
    """The same tasks, luck and actions, whatever the way of starting anew; trials of slot 1 are shorter."""
    specs = grids(2)
    alone = [TrialEnv(Listening([spec]), episodes=2) for spec in specs]
    envs = TrialVectorEnv(Listening(specs), episodes=2, num_envs=2, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    expected = [env.reset(seed=slot)[0] for slot, env in enumerate(alone)]
    seen, _ = envs.reset(seed=[0, 1])
    waiting = np.zeros(2, bool)
    for _ in range(40):
        actions = rng.integers(0, 5, 2)
        seen, reward, over, _, infos = envs.step(actions)
        for slot, env in enumerate(alone):
            if waiting[slot]:
                expected[slot] = env.reset()[0]
                continue
            expected[slot], paid, end, _, _ = env.step(actions[slot])
            assert (paid, end) == (reward[slot], over[slot])
            if end and mode == "SameStep":
                final = infos["final_obs"][slot]
                assert all(np.array_equal(final[name], expected[slot][name]) for name in final)
                expected[slot] = env.reset()[0]
        waiting = over if mode == "NextStep" else waiting
        if mode == "Disabled" and over.any():
            with pytest.raises(gym.error.ResetNeeded):
                envs.step(actions)
            seen, _ = envs.reset(options={"reset_mask": over})
            expected = [alone[slot].reset()[0] if over[slot] else expected[slot] for slot in range(2)]
        for slot in range(2):
            for name in seen:
                assert np.array_equal(seen[name][slot], expected[slot][name]), name


def test_the_source_is_told_and_asked_in_turns():
    source = Listening(sure_arms(8))
    envs = TrialVectorEnv(source, episodes=2, num_envs=4, autoreset_mode="SameStep")
    first = envs.tasks
    envs.reset(seed=0)
    envs.step(np.array([0, 0, 1, 1]))
    assert source.told == []
    envs.step(np.array([0, 1, 0, 1]))
    (told,) = source.told
    assert [result.spec for result in told] == list(first)
    assert [result.returns for result in told] == [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
    assert source.given == 8
    assert set(envs.tasks).isdisjoint(first)
    envs.reset()  # a trial that is cut is not told
    assert len(source.told) == 1


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_every_task_of_the_source_is_played_in_its_turn(mode):
    specs = sure_arms(8)
    envs = TrialVectorEnv(Listening(specs), episodes=1, num_envs=1, autoreset_mode=mode)
    envs.reset()
    played = []
    while len(played) < 5:
        before = envs.tasks[0]
        _, _, over, _, _ = envs.step(np.array([0]))
        played += [before] * int(over[0])
        if mode == "Disabled":
            envs.reset(options={"reset_mask": over})
    assert played == specs[:5]
    envs.reset()  # of a trial that is over, or one that has not begun: no task is passed over
    assert envs.tasks[0] == specs[6 if mode == "SameStep" or mode == "Disabled" else 5]
    env = TrialEnv(Listening(specs), episodes=1)
    alone = []
    for _ in range(4):
        env.reset()
        alone.append(env.task)
        env.step(0)
    assert alone == specs[:4]


def test_scores_are_those_of_our_own_loop():
    """Success and learnability of trials of 4 episodes, of which the goal beside the start is reached in 3."""
    family = build_family("darkroom", {"size": 3, "horizon": 3})
    told = []
    source = build_source({"name": "plr", "capacity": 4, "score": "learnability"}, family, 0)
    source.tell = told.extend
    envs = TrialVectorEnv(source, episodes=4, num_envs=2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    while len(told) < 40:
        envs.step(rng.integers(0, 5, 2))
    shares = {result.scores["learnability"] for result in told}
    assert shares <= {0.0, 3 / 16, 1 / 4}
    assert len(shares) > 1
    for result in told:
        share = np.mean([value >= family.solved_return for value in result.returns])
        assert result.scores["learnability"] == pytest.approx(share * (1 - share))


def test_rewards_of_their_own_are_told_in_both_currencies():
    family = build_family("darkroom", {"size": 3, "horizon": 4})
    inner = build_source({"name": "dense-rewards", "reach": 3.0}, family, 0)
    source = Listening(inner.ask(2))
    envs = TrialVectorEnv(source, episodes=1, num_envs=2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.array([1, 2]))
    for result in source.told[0]:
        assert len(result.family_returns) == 1
        assert result.family_returns != result.returns


def test_a_sampler_shows_what_the_task_shows():
    env = make_sampler("domain-randomization", family="cartpole", seed=3)
    assert env.observation_space == build_family("cartpole").observation_space
    seen, _ = env.reset()
    assert seen.shape == (4,)
    one = env.task
    assert one in build_source("domain-randomization", build_family("cartpole"), 3).ask(1)
    env.reset()
    assert env.task != one


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("family", ["bandit", "point-navigation", "grid-navigation"])
def test_gymnasiums_checker_passes(family, flat):
    check_env(make_trials("domain-randomization", episodes=2, family=family, flat=flat), skip_render_check=True)


def test_a_seeded_reset_begins_anew():
    env = make_trials("domain-randomization", episodes=2, family="cartpole", seed=3)
    env.reset()
    first = env.task
    env.reset()
    assert env.task != first
    env.reset(seed=3)
    assert env.task == first  # the tasks of seed 3
    env.reset(seed=4)
    assert env.task == build_source("domain-randomization", build_family("cartpole"), 4).ask(1)[0]
    source = build_source("domain-randomization", build_family("cartpole"), 5)
    envs = TrialVectorEnv(source, episodes=1, num_envs=2)
    first = envs.tasks
    envs.reset()
    envs.reset()
    assert set(envs.tasks).isdisjoint(first)
    envs.reset(seed=[None, np.int64(7)])
    assert envs.tasks == first  # where the source was when it was given


def test_vector_spaces_and_values_agree():
    envs = make_trials_vec("domain-randomization", episodes=2, num_envs=3, family="point-navigation", flat=True)
    seen, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(seen)
    envs.action_space.seed(0)
    for _ in range(5):
        seen, reward, *_ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(seen)
        assert np.array_equal(seen[:, -2], reward.astype(np.float32))
    assert taskgen.make_trials is make_trials


REFUSED = [
    ({"name": "plr", "score": "gae"}, {}, "score 'gae' needs a value function: YourLearner has none"),
    ({"name": "robust-plr"}, {}, "RobustLevelReplay scores tasks that are not to be learned from"),
    ({"name": "sfl"}, {}, "SamplingForLearnability scores tasks"),
    ({"name": "staged", "stages": [{"episodes": 1, "iterations": 1}, {}]}, {}, "Staged decides how long trials are"),
    ({"name": "plr", "score": "learnability"}, {"episodes": 1}, "is the same for every task where a trial has fewer"),
    ("domain-randomization", {"episodes": 0}, "episodes = 0: expected an integer from 1 on"),
    ("domain-randomization", {"episodes": "3"}, "episodes = '3': expected an integer from 1 on"),
    ("domain-randomization", {"family": {"arms": 5}}, "which family is it"),
    ("domain-randomization", {"family": None}, "needs a family: family='bandit'"),
]


@pytest.mark.parametrize(("source", "changed", "message"), REFUSED, ids=[message[:24] for *_, message in REFUSED])
def test_what_cannot_be_honoured_is_refused(source, changed, message):
    with pytest.raises(UserError, match=message):
        make_trials(source, **{"family": "grid-navigation", "episodes": 2, **changed})


def test_a_source_has_its_family_already():
    source = build_source("domain-randomization", build_family("bandit"), 0)
    with pytest.raises(UserError, match="leave family out"):
        make_trials(source, episodes=2, family="bandit")
    with pytest.raises(UserError, match="autoreset_mode = 'Same': expected one of NextStep, SameStep, Disabled"):
        TrialVectorEnv(source, episodes=2, num_envs=2, autoreset_mode="Same")
    with pytest.raises(UserError, match="history = 'both'"):
        TrialEnv(source, episodes=2, history="both")

"""Policies that are not ours as players beside ours."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import taskgen
from agents.api import compare, evaluate, train
from agents.reference.guest import Guest
from registry.cli import main
from registry.errors import PluginError, UserError
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect

K = 3


def guest(policy: Any, family: Any, **how: Any) -> Guest:
    problem = problem_of(family, episodes=K, seed=0, device=torch.device("cpu"))
    return Guest(policy, problem, family.action_space, name="mine", **how)


def trial(policy: Any, family: Any, specs: Any, seeds: Any = None) -> Any:
    player = guest(policy, family)
    return collect(player, family.batch(len(specs)), specs, plan=player.plan(K), seeds=seeds)


class Recorder:
    """Acts by what it sees, and keeps it."""

    def __init__(self, space: gym.Space[Any] | None, act: Any) -> None:
        if space is not None:
            self.observation_space = space
        self.act, self.seen = act, []

    def __call__(self, observation: Any) -> Any:
        self.seen.append(observation)
        return self.act(observation)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["bandit", "point-navigation"])
def test_it_sees_what_trials_show(flat: bool, name: str, tmp_path: Path) -> None:
    """Step by step the observations of `make_trials_vec`, of the same tasks with the same luck."""
    family = taskgen.build_family(name)
    specs = taskgen.build_source("domain-randomization", family, 0).ask(4)
    envs = taskgen.make_trials_vec("domain-randomization", family=name, episodes=K, num_envs=4, flat=flat)
    assert list(envs.tasks) == specs

    def act(observation: Any) -> Any:
        told = observation[:, -2] if flat else observation["reward"][:, 0]
        if name == "bandit":
            return (told > 0.5).astype(np.int64)
        return np.clip(np.stack([told, told], axis=1), -0.1, 0.1).astype(np.float32)

    expected, _ = envs.reset(seed=[5, 6, 7, 8])
    recorder = Recorder(envs.single_observation_space, act)
    steps = trial(recorder, family, envs.tasks, seeds=[5, 6, 7, 8]).rounds[0].observation.shape[0]
    for step in range(steps):
        seen = recorder.seen[step]
        pairs = [(seen, expected)] if flat else [(seen[key], expected[key]) for key in expected]
        for one, other in pairs:
            assert np.array_equal(one, other), step
        expected, *_ = envs.step(act(expected))


def test_a_callable_sees_the_tasks_and_acts_in_the_familys_space() -> None:
    family = taskgen.build_family("bandit", {"arms": 2, "pulls": 1})
    specs = [family.spec({"probabilities": [0.0, 1.0]}, seed=seed) for seed in range(5)]
    assert trial(lambda seen: np.ones(len(seen), dtype=np.int64), family, specs).rounds[0].reward.sum() == 5 * K
    assert trial(lambda seen: [0] * len(seen), family, specs).rounds[0].reward.sum() == 0
    from taskgen.engines.toys import acted_toys

    for toy in acted_toys():
        drawn: list[Any] = []

        def act(seen: Any, toy: Any = toy, drawn: list[Any] = drawn) -> Any:
            from gymnasium.vector.utils import batch_space

            drawn.append(batch_space(toy.action_space, len(seen)).sample())
            return drawn[-1]

        player = guest(act, toy)
        from taskgen.interaction.acting import Acting
        from taskgen.spaces import pack

        step = _step(toy)
        answer, _ = player.act(player.begin_trial(2), step)
        given = Acting(toy.action_space)(answer.value)
        assert np.array_equal(given.numpy().reshape(2, -1), pack(toy.action_space, drawn[-1]).reshape(2, -1)), toy.name


def _step(family: Any) -> Any:
    from taskgen.interaction.agent import Step

    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=1), family.spec(seed=2)])
    true = torch.ones(2, dtype=torch.bool)
    zero = torch.zeros(2)
    return Step(batch.reset(), zero, zero, true, true, torch.zeros(2, dtype=torch.int64), None)


def test_what_is_no_policy_or_no_action_is_refused_by_name() -> None:
    family = taskgen.build_family("bandit", {"arms": 2})
    with pytest.raises(UserError, match="mine = 5: expected a callable, or what has a method `predict`"):
        guest(5, family)
    with pytest.raises(UserError, match="mine sees Box.*bandit shows .* and a trial of it"):
        guest(Recorder(gym.spaces.Box(0, 1, (99,)), None), family)
    odd = Recorder(None, None)
    odd.action_space = gym.spaces.Discrete(3)
    with pytest.raises(UserError, match=r"mine acts in Discrete\(3\)"):
        guest(odd, family)
    specs = [family.spec(seed=seed) for seed in range(2)]
    for action, words in (
        ([0, 2], r"mine gave the action \[2\], expected one in Discrete\(2\)"),
        ([0, 1, 1], "expected 2 actions of"),
        (None, "mine gave None, expected 2 actions"),
        ([0.7, 0.2], r"of float64: choices of Discrete\(2\) are whole numbers"),  # of one who answers probabilities
        (np.eye(2, dtype=np.int64), "expected 2 actions of"),
    ):
        with pytest.raises(PluginError, match=words):
            trial(lambda seen, action=action: action, family, specs)
    family = taskgen.build_family("point-navigation")
    specs = [family.spec(seed=seed) for seed in range(2)]
    for action, words in (
        (np.full((2, 2), np.nan), r"gave the action \[nan nan\]"),
        (np.zeros(2), "expected 2 actions"),
    ):
        with pytest.raises(PluginError, match=words):
            trial(lambda seen, action=action: action, family, specs)


class Stateful:
    """Speaks as Stable-Baselines3 does: its state counts steps since its beginning, and its action is its parity."""

    def __init__(self) -> None:
        self.starts: list[Any] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        assert deterministic
        self.starts.append(episode_start)
        count = np.where(episode_start, 0, 0 if state is None else state[0] + 1)
        return count % 2, (count,)


def test_predict_is_handed_its_state_and_told_where_it_begins() -> None:
    family = taskgen.build_family("bandit", {"arms": 2, "pulls": 4})
    policy = Stateful()
    played = trial(policy, family, [family.spec(seed=seed) for seed in range(2)]).rounds[0]
    assert played.action[: 4 * K, 0].tolist() == [0, 1, 0, 1] * K
    assert [int(start[0]) for start in policy.starts[: 4 * K]] == [1, 0, 0, 0] * K


def test_stable_baselines_policies_play_along(tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib", reason="taskgen-metarl[sb3] is not installed")
    from sb3_contrib import RecurrentPPO

    from taskgen.faces.stable_baselines import SlotVecEnv

    how = {"family": "bandit", "episodes": K, "num_envs": 4, "autoreset_mode": "SameStep"}
    envs = SlotVecEnv(taskgen.make_trials_vec("domain-randomization", flat=True, **how))
    learner = RecurrentPPO("MlpLstmPolicy", envs, n_steps=8, batch_size=32, n_epochs=1, seed=0)
    small = ("training.iterations=1", "training.tasks=4", f"training.episodes={K}", "evaluation.final_tasks=8")
    run = train("rl2-bandit", *small, "evaluation.tail=0", run=tmp_path / "run", judge=False)
    players = {"recurrent": learner, "left": lambda seen: np.zeros(len(seen), dtype=np.int64)}
    found = evaluate(run, players=players)["sets"]["held-out"]["players"]
    assert {"rl2", "random", "recurrent", "left"} <= set(found)
    again = {course.name: course.trial.value for course in compare(run, players=players).sets["held-out"]}
    for name in players:
        assert again[name] == pytest.approx(found[name]["trial"]["mean"])
    with pytest.raises(UserError, match="rl2: another player is called so"):
        evaluate(run, players={"rl2": learner})


def test_guests_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leftmost.py").write_text(
        "import numpy as np\n\n\ndef policy():\n    return lambda seen: np.zeros(len(seen), dtype=np.int64)\n"
    )
    small = ("training.iterations=1", "training.tasks=4", "evaluation.final_tasks=8", "evaluation.tail=0")
    run = train("rl2-bandit", *small, run=tmp_path / "run", judge=False)
    place = f"{tmp_path}/leftmost.py"
    assert main(["evaluate", str(run), "--guest", f"left={place}:policy"]) == 0
    assert "  left " in capsys.readouterr().out
    page = str(tmp_path / "page.html")
    assert main(["compare", str(run), "--no-players", "--guest", f"left={place}:policy", "-o", page]) == 0
    assert "left" in capsys.readouterr().out
    for given, words in ((f"{place}:polcy", "expected NAME=FILE.py"), (f"a={place}:polcy", "Did you mean 'policy'")):
        assert main(["evaluate", str(run), "--guest", given]) == 2
        assert words in capsys.readouterr().err

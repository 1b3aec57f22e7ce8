"""The family `metaworld`: Meta-World's own environments and protocols, and none of what is wrong around them.

In an environment where Meta-World is not installed it is skipped here, and played by
`tests/documents/test_own_environments.py` in one where it is.
"""

import inspect
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

pytest.importorskip("metaworld", reason="Meta-World pins an older MuJoCo; see tests/documents/test_own_environments.py")

import metaworld
from metaworld.types import Task

import agents.api
import taskgen
from agents.evaluation.metaworld import MetaLearner, Told, environments, judge
from registry.cli import main
from registry.config import Part
from registry.errors import ConfigError, TaskError, UserError
from taskgen.build import build_family, build_source, task_key
from taskgen.engines import sawyer
from taskgen.engines.gym_testing import check_environment
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.playing import TrialPlayer
from taskgen.source import side_of
from taskgen.streams import seed_sequence
from taskgen.testing import check_family
from tests.agents.training.test_loop import Quiet

SHORT = {"horizon": 20}


def drawn(family: Any, n: int, **settings: Any) -> list[Any]:
    part = Part.model_validate({"name": "domain-randomization", **settings})
    return build_source(part, family, seed_sequence(0, "tasks")).ask(n)


def placements(family: Any, specs: Any) -> set[Any]:
    return {(name, *at.tolist()) for name, at in (family.placed(spec.context) for spec in specs)}


# ------------------------------------------------------------------------------------------------ tasks
@pytest.mark.parametrize("settings", [{}, {"benchmark": "ML10"}, {"goals": 0}, {"goal_shown": True}], ids=str)
def test_it_keeps_the_contract_of_every_family(settings: dict[str, Any]) -> None:
    check_family(build_family("metaworld", {**SHORT, **settings}))


def test_the_sides_are_those_of_meta_world() -> None:
    ml1 = build_family("metaworld")
    assert (len(ml1.split.train), len(ml1.split.test)) == (50, 50)
    for name in ("ML10", "ML45"):
        family, split = build_family("metaworld", {"benchmark": name}), getattr(metaworld.env_dict, f"{name}_V3")
        assert [family.environments[number] for number in sorted(family.split.train)] == list(split["train"])
        assert [family.environments[number] for number in sorted(family.split.test)] == list(split["test"])
        assert not split["train"].keys() & split["test"].keys()


@pytest.mark.parametrize("settings", [{}, {"environment": "push-v3"}, {"benchmark": "ML10"}, {"goals": 3}], ids=str)
def test_training_and_test_tasks_have_nothing_in_common(settings: dict[str, Any]) -> None:
    """By what they hold, not by their numbers; training draws one side unasked."""
    family = build_family("metaworld", settings)
    train, test = drawn(family, 400), drawn(family, 400, split="test")
    assert not {task_key(spec) for spec in train} & {task_key(spec) for spec in test}
    assert not placements(family, train) & placements(family, test)
    source = build_source("domain-randomization", family, seed_sequence(0, "tasks"))
    assert side_of(source) == "train"


@pytest.mark.slow  # makes all environments once
def test_all_goals_of_all_environments_are_others_within_their_bounds() -> None:
    for environment in sawyer.classes():
        family = build_family("metaworld", {"environment": environment})
        low, high = sawyer.bounds(environment)
        found = np.stack([family.placed({"goal": goal})[1] for goal in range(100)])
        assert len(np.unique(found, axis=0)) == 100
        assert (found >= low).all()
        assert (found <= high).all()
        assert not any(sawyer.too_near(environment, at) for at in found)


def test_goals_follow_from_their_seed_and_name_alone() -> None:
    one, other = build_family("metaworld"), build_family("metaworld", {"goals": 7})
    assert one.placed({"goal": 3})[1].tolist() == other.placed({"goal": 3})[1].tolist()
    assert (
        one.placed({"goal": 3})[1].tolist()
        != build_family("metaworld", {"goals_seed": 1}).placed({"goal": 3})[1].tolist()
    )
    many = build_family("metaworld", {"benchmark": "ML10"})
    assert many.placed({"number": 0, "goal": 3})[1].tolist() == one.placed({"goal": 3})[1].tolist()


def test_a_placement_is_between_the_bounds() -> None:
    """Of reach: an object from -0.1, 0.6 to 0.1, 0.7 on the table, a goal from -0.1, 0.8, 0.05 to 0.1, 0.9, 0.3."""
    family = build_family("metaworld", {"goals": 0})
    _, at = family.placed({"placement": (0.0, 1.0, 0.5, 0.25, 1.0)})
    assert at.tolist() == pytest.approx([-0.1, 0.7, 0.02, 0.0, 0.825, 0.3])
    spec = family.spec({"placement": (0.0, 1.0, 0.5, 0.25, 1.0)})
    assert family.features(spec) == pytest.approx([0, 1, 0, 0.5, 0.25, 1])
    many = build_family("metaworld", {"benchmark": "ML10"})
    assert many.features(many.spec({"number": 2}))[:15] == [float(place == 2) for place in range(15)]
    assert len(many.features(many.spec({"number": 3}))) == 21


@pytest.mark.slow  # makes all environments once
def test_what_meta_world_would_draw_again_is_refused_before_it_is_made() -> None:
    for name, kind in sawyer.classes().items():
        rule = re.search(r"while np\.linalg\.norm\(.*\) < ([\d.]+):", inspect.getsource(kind.reset_model))
        assert sawyer._APART.get(name.removesuffix("-v3"), 0.0) == (float(rule[1]) if rule else 0.0), name
    family = build_family("metaworld", {"goals": 0, "environment": "box-close-v3"})
    rng = np.random.default_rng(0)
    tried = [tuple(rng.random(len(family.spec().context["placement"])).tolist()) for _ in range(50)]
    refused = [one for one in tried if sawyer.too_near(*family.placed({"placement": one}))]
    assert 0 < len(refused) < 50
    with pytest.raises(TaskError, match=r"placement: box-close-v3: the object is 0\.\d+ m from its goal, .* 0.25 m"):
        family.spec({"placement": refused[0]})
    with pytest.raises(ValueError, match="wants at least 0.25 m"):
        sawyer.Sawyer("box-close-v3", tuple(family.placed({"placement": refused[0]})[1].tolist()))


def test_a_placement_that_is_not_taken_all_the_same_is_not_asked_for_without_an_end() -> None:
    once = sawyer._Once(np.zeros(3))
    once(), once()
    with pytest.raises(ValueError, match=r"does not take the placement \[0.0, 0.0, 0.0\]"):
        once()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"environment": "reach-v2"}, "Did you mean 'reach-v3'"),
        ({"benchmark": "ML10", "environment": "push-v3"}, "ML10 has its own; say benchmark=ML1"),
        ({"benchmark": "ML45", "goals": 0}, "placements of their own; say benchmark=ML1"),
        ({"horizon": 501}, "500"),
        ({"benchmark": "ML25"}, "ML25"),
    ],
)
def test_what_there_is_not_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_family("metaworld", settings)


# ------------------------------------------------------------------------------------------------ play
def own_env(environment: str, at: Any, *, hidden: bool = True) -> Any:
    """Meta-World's environment as its benchmarks make one."""
    import pickle

    kind = sawyer.classes()[environment]
    env = kind()
    env.set_task(Task(environment, pickle.dumps({"env_cls": kind, "rand_vec": at, "partially_observable": hidden})))
    return env


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("environment", ["reach-v3", "door-open-v3", "peg-insert-side-v3"])
def test_it_is_meta_worlds_environment(environment: str, shown: bool) -> None:
    """Bit for bit, whatever was played in the slot before and beside it."""
    family = build_family("metaworld", {"environment": environment, "goal_shown": shown})
    batch = family.batch(2)
    batch.set_tasks([family.spec({"goal": 4}), family.spec({"goal": 5})])
    batch.reset()
    batch.step(torch.ones(2, 4))
    batch.set_tasks([family.spec({"goal": 4}), family.spec({"goal": 3})])
    seen = batch.reset()
    env = own_env(environment, family.placed({"goal": 3})[1], hidden=not shown)
    expected, _ = env.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        assert seen[1].tolist() == expected.astype(np.float32).tolist()
        assert np.abs(expected[-3:]).any() == shown
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        outcome = batch.step(torch.from_numpy(np.stack([action, action])))
        expected, reward, *_, info = env.step(action)
        seen = outcome.observation
        assert outcome.reward[1].item() == np.float32(reward)
        assert outcome.success[1].item() == bool(info["success"])


def test_a_goal_stays_through_the_episodes_of_a_trial_and_ends_are_told() -> None:
    """`reset(seed=...)` is luck, of which there is none; 500 steps are the longest, and a recurrent agent sees ends."""
    family = build_family("metaworld", {"horizon": 7})
    agent = build_agent(Part(name="random"), problem_of(family, episodes=3, seed=0, device=torch.device("cpu")))
    specs = [family.spec({"goal": goal}, seed=goal) for goal in (1, 2)]
    rollout = collect(agent, family.batch(2), specs, plan=agent.plan(3)).rollout
    starts = rollout.episode_start.nonzero()[:, 0].unique().tolist()
    assert starts == [0, 7, 14]
    assert rollout.truncated.nonzero()[:, 0].unique().tolist() == [6, 13, 20]
    first = rollout.observation[starts]
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0, 0], first[0, 1])


@pytest.mark.slow  # starts two processes
def test_workers_give_the_same() -> None:
    specs = [build_family("metaworld", SHORT).spec({"goal": goal}) for goal in range(3)]
    seen = []
    for workers in (0, 2):
        family = build_family("metaworld", {**SHORT, "workers": workers})
        batch = family.batch(3)
        batch.set_tasks(specs)
        batch.reset()
        outcomes = [batch.step(torch.full((3, 4), 0.3)) for _ in range(20)]
        seen.append([torch.cat([o.observation.flatten(), o.reward, o.success.float()]) for o in outcomes])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


@pytest.mark.slow  # whole episodes in two processes
def test_it_keeps_the_rules_of_gymnasium() -> None:
    check_environment(f"{sawyer.__name__}:Sawyer")


def test_experts_succeed_on_our_tasks() -> None:
    """Reach with three goals: at the goal after some 50 steps, and there to stay."""
    from benchmarks.metaworld_experts import successes

    assert successes("reach-v3", steps=100).all()
    assert not successes("reach-v3", steps=3).any()


# ------------------------------------------------------------------------------------------------ around it
@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The experiment, as small as it gets."""
    small = (
        "family.horizon=6", "family.workers=0", "training.iterations=2", "training.tasks=4",
        "training.evaluate_every=1", "evaluation.tasks=3", "evaluation.final_tasks=5", "agent.minibatches=2",
    )  # fmt: skip
    return agents.api.train("ml1-reach", *small, run=tmp_path_factory.mktemp("runs") / "reach", watcher=Quiet())


def test_the_experiment_is_judged_on_other_goals(run: Any) -> None:
    assert "success" in (run / "metrics.jsonl").read_text()
    found = agents.api.evaluate(run)["sets"]["held-out"]
    assert "trained_on" not in found
    assert found["players"]["rl2"]["success"].keys() == {"any_step", "last_step"}


def test_ids_of_meta_world_serve_test_goals_in_training_and_are_not_ours() -> None:
    """What is avoided, so that it is noticed where it is mended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metaworld, "_N_GOALS", 2)
        envs = gym.make_vec("Meta-World/ML1-train", env_name="reach-v3", seed=0, meta_batch_size=2, num_envs=2)
        benchmark = metaworld.ML1("reach-v3", seed=0)
        served = {task.data for tasks in envs.get_attr("tasks") for task in tasks}
        envs.close()
    assert served == {task.data for task in benchmark.test_tasks}
    assert served.isdisjoint(task.data for task in benchmark.train_tasks)
    known = metaworld.env_dict.ML25_V3
    assert set(known["train"]) & set(known["test"]) == {"basketball-v3"}  # so ML25 is not offered


def player(name: str, episodes: int, **settings: Any) -> Any:
    """Makes trials of an agent that was not trained."""
    family = build_family("metaworld")
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate({"name": name, **settings}), problem)
    return lambda count: TrialPlayer(agent, problem, episodes=count)


@pytest.mark.slow  # four episodes of 500 steps
def test_their_evaluation_judges_our_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", 2)
    found = judge(player("random", 1), evals=1, adaptation_episodes=1, evaluation_episodes=2)
    assert found.by_environment == {"reach-v3": found.success}
    assert found.success in (0.0, 0.5, 1.0)
    assert found.episodic_return > 0.0


class Steps:
    """Environments of two classes whose episodes have two steps; a third shows the end of the second."""

    num_envs = 2

    def __init__(self, *names: str) -> None:
        self.names, self.time = names, 0

    def get_attr(self, name: str) -> Any:
        return self.names

    def step(self, actions: Any) -> Any:
        self.time += 1
        ended = np.full(2, self.time % 2 == 0)
        seen = np.full((2, 39), 0.01 * self.time)
        infos = {"final_obs": np.array([np.full(39, 0.5), np.full(39, 0.25)])} if ended.any() else {}
        return seen, np.array([self.time, -self.time], dtype=np.float64), np.zeros(2, dtype=bool), ended, infos


def test_an_agent_is_told_of_rewards_and_ends_in_both_parts() -> None:
    """Which Meta-World keeps from agents in the evaluation; its episodes go on from where adaptation has led."""
    heard: list[Any] = []

    class Spy(TrialPlayer):
        def observe(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> None:
            heard.append((round(float(observation[0]), 2), reward, terminated, truncated))
            super().observe(observation, reward, terminated, truncated)

    make = player("random", 1)
    plain = make(1)
    learner = MetaLearner(lambda count: Spy(plain._agent, plain._problem, episodes=count), 2, 1)
    envs = Told(Steps("SawyerReachEnvV3", "SawyerPushEnvV3"), learner)
    learner.init()
    shown = np.zeros((2, 39))
    for _ in range(2):
        actions, _ = learner.adapt_action(shown)
        assert actions.shape == (2, 4)
        envs.step(actions)
    assert heard == [(0.01, 1, False, False), (0.01, -1, False, False), (0.5, 2, False, True), (0.25, -2, False, True)]
    learner.adapt()
    adapted = learner._trials
    for _ in range(3):
        learner.reset(np.array([True, True]))
        assert [trial.episode for trial in learner._trials] == [1, 1]
        for _ in range(2):
            envs.step(learner.eval_action(shown))
        assert [trial.episode for trial in learner._trials] == [2, 2]
        assert [trial.episode for trial in adapted] == [1, 1]
    assert len(heard) == 16


def test_what_would_falsify_their_evaluation_is_refused() -> None:
    with pytest.raises(UserError, match="2 environments of 1 classes: .* with meta_batch_size"):
        Told(Steps("SawyerReachEnvV3", "SawyerReachEnvV3"), MetaLearner(player("random", 1), 2))
    gradient = player("maml", 8, trajectories=4, hidden=[4])
    with pytest.raises(UserError, match="adaptation_episodes = 10: this agent adapts after every 4"):
        MetaLearner(gradient, 1)
    assert MetaLearner(gradient, 1, 8)._episodes == 12
    with pytest.raises(UserError, match="ML25, test: expected ML10, ML45 or an environment"):
        environments("ML25")


def test_the_command_line_describes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "metaworld", "family.benchmark=ML10"]) == 0
    told = capsys.readouterr().out
    assert "number" in told
    assert "Which environment." in told


def test_a_picture_or_what_is_in_the_way_of_it() -> None:
    family = build_family("metaworld", SHORT)
    shown = family.render(family.spec())
    assert "reach-v3" in shown if isinstance(shown, str) else shown.ndim == 3


def test_a_learner_of_somebodys_has_success_in_the_info() -> None:
    env = taskgen.make(build_family("metaworld", SHORT).spec({"goal": 1}))
    env.reset(seed=0)
    assert env.step(np.zeros(4, dtype=np.float32))[4]["success"] is False
